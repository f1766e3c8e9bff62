"""Guessing ends: by name, by address, in parallel, and for tokens and codes."""

import threading
from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.core.exceptions import ValidationError
from django.db import connections
from django.db.models import F
from django.test import Client, RequestFactory

from distillhub.lib import visitors
from projects.models import AuditEntry, Guess, User
from projects.services import accounts, guesses, second_factor

PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def few(settings: LazySettings, db: None) -> None:
    settings.DISTILLHUB_GUESSES = 3
    settings.DISTILLHUB_GUESSES_OF_ADDRESS = 8


def try_in(username: str, password: str, address: str = "192.0.2.1", client: Client | None = None):  # type: ignore[no-untyped-def]
    client = client or Client()
    body = {"username": username, "password": password}
    return client.post("/sign-in/", body, REMOTE_ADDR=address)


def wait(*, minutes: int = 60) -> None:
    Guess.objects.update(since=F("since") - timedelta(minutes=minutes))


def test_a_name_is_locked_whatever_address_guesses_and_whether_anybody_has_it(
    alice: User,
) -> None:
    for name in ("alice", "nobody"):
        for n in range(3):
            assert try_in(name, "wrong", f"198.51.100.{n}").status_code == 200
        locked = try_in(name, PASSWORD, "203.0.113.9")
        assert locked.status_code == 429
        assert 0 < int(locked.headers["Retry-After"]) <= 900
        assert "too many tries" in locked.content.decode()
    wait()
    assert try_in("alice", PASSWORD).status_code == 302


def test_how_the_name_is_written_makes_no_other_name(alice: User) -> None:
    for name in ("alice", "ALICE ", "\uff41lice"):
        try_in(name, "wrong")
    assert try_in("Alice", "wrong").status_code == 429


def test_an_address_is_locked_after_many_names_and_an_office_after_none_of_its_own(
    alice: User, erin: User
) -> None:
    for n in range(8):
        assert try_in(f"person{n}", "wrong").status_code == 200
    assert try_in("person9", "wrong").status_code == 429
    assert try_in("alice", PASSWORD).status_code == 429
    assert try_in("alice", PASSWORD, "192.0.2.2").status_code == 302  # elsewhere
    wait()
    for _ in range(20):  # people who sign in do not count
        assert try_in("erin", PASSWORD).status_code == 302
    assert try_in("alice", PASSWORD).status_code == 302


def test_a_household_of_ipv6_is_one_address() -> None:
    for n in range(8):
        try_in(f"person{n}", "wrong", f"2001:db8:1:2::{n}")
    assert try_in("person9", "wrong", "2001:db8:1:2:ffff::1").status_code == 429
    assert try_in("person9", "wrong", "2001:db8:1:3::1").status_code == 200


def test_who_guesses_a_persons_password_does_not_lock_their_own_browser_out(alice: User) -> None:
    hers = Client()
    assert try_in("alice", PASSWORD, client=hers).status_code == 302
    hers.post("/sign-out/")
    for _ in range(5):
        try_in("alice", "wrong")
    for n in range(10):  # and of her office
        try_in(f"person{n}", "wrong")
    assert try_in("alice", PASSWORD).status_code == 429
    assert try_in("alice", PASSWORD, client=hers).status_code == 302
    hers.post("/sign-out/")
    for _ in range(3):  # what is known of it opens nothing by itself
        assert try_in("alice", "wrong", client=hers).status_code == 200
    assert try_in("alice", PASSWORD, client=hers).status_code == 429
    assert try_in("erin", "wrong", "192.0.2.7", client=hers).status_code == 200


def test_a_forged_browser_is_none(alice: User) -> None:
    for _ in range(3):
        try_in("alice", "wrong")
    forged = Client()
    forged.cookies[guesses.KNOWN] = "WzEsICJ4Il0:1x:y"
    assert try_in("alice", PASSWORD, client=forged).status_code == 429


def test_a_right_password_forgets_the_wrong_ones_before(alice: User) -> None:
    for _ in range(3):
        try_in("alice", "wrong")
        try_in("alice", "wrong")
        assert try_in("alice", PASSWORD).status_code == 302


@pytest.mark.django_db(transaction=True)
def test_parallel_guesses_are_counted_before_they_are_judged() -> None:
    refused: list[bool] = []
    begun = threading.Barrier(12)

    def guess() -> None:
        begun.wait()
        try:
            guesses.take("name", "alice", most=3)
            refused.append(False)
        except guesses.TooMany:
            refused.append(True)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=guess) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused.count(False) == 3
    assert len(refused) == 12


def test_a_password_that_is_asked_for_again_is_counted_too(alice: User) -> None:
    client = Client()
    try_in("alice", PASSWORD, client=client)
    for _ in range(3):
        page = client.post("/account/confirm/", {"password": "wrong"}, REMOTE_ADDR="192.0.2.1")
        assert "not your password" in page.content.decode()
    page = client.post("/account/confirm/", {"password": PASSWORD}, REMOTE_ADDR="192.0.2.1")
    assert "too many tries" in page.content.decode()


def test_the_administration_asks_for_no_password_of_its_own(alice: User) -> None:
    answer = Client().post("/admin/login/", {"username": "alice", "password": PASSWORD})
    assert answer.headers["Location"].startswith("/sign-in/")


def test_guessed_tokens_end_in_429_while_good_ones_are_answered(alice: User) -> None:
    _, good = accounts.create_token(user=alice, name="mine")
    client = Client(REMOTE_ADDR="192.0.2.1")

    def ask(token: str) -> int:
        return client.get("/api/v1/me/", headers={"Authorization": f"Bearer {token}"}).status_code

    assert [ask(f"dh_{n}") for n in range(9)] == [401] * 8 + [429]
    limited = client.get("/api/v1/me/", headers={"Authorization": "Bearer dh_x"})
    assert limited.json()["code"] == "too_many_tries"
    assert int(limited.headers["Retry-After"]) > 0
    assert ask(good) == 200


def test_codes_are_counted_and_good_once(alice: User) -> None:
    request = RequestFactory().get("/")
    for _ in range(3):
        second_factor.begin(alice, request)
    with pytest.raises(ValidationError):
        second_factor.begin(alice, request)
    second_factor.accept(alice, "123456", "totp", request)
    second_factor.begin(alice, request)  # a right one forgets the wrong ones
    with pytest.raises(ValidationError):
        second_factor.accept(alice, "123456", "totp", request)


def test_a_day_has_a_number_of_codes_too_which_a_new_password_ends(alice: User) -> None:
    """Three codes of a million are right at a moment: 960 tries a day meet one within a year."""
    request = RequestFactory().get("/")
    for _ in range(5):
        for _ in range(3):
            second_factor.begin(alice, request)
        wait(minutes=16)
    with pytest.raises(ValidationError, match="Wait 23 hours"):
        second_factor.begin(alice, request)
    wait(minutes=16)
    Guess.objects.all().over().delete()
    assert Guess.objects.count() == 1
    with pytest.raises(ValidationError):
        second_factor.begin(alice, request)
    accounts.change_password(user=alice, password="another horse, another battery")
    second_factor.begin(alice, request)


def test_the_audit_log_tells_of_failures_and_never_of_a_password_in_the_wrong_field(
    alice: User,
) -> None:
    try_in("my secret password", "alice")
    for _ in range(6):
        try_in("alice", "wrong")
    wait()
    try_in("alice", PASSWORD)
    told = list(AuditEntry.objects.order_by("number").values_list("action", "actor"))
    assert told == [
        ("sign_in.failed", ""),
        *[("sign_in.failed", "alice")] * 3,
        ("sign_in.locked", "alice"),  # once
        ("sign_in.done", "alice"),
    ]
    assert "secret" not in str(list(AuditEntry.objects.values()))


@pytest.mark.parametrize(
    ("behind", "count", "header", "peer", "told"),
    [
        (False, 1, "203.0.113.7", "192.0.2.1", "192.0.2.1"),
        (True, 1, "203.0.113.7", "10.0.0.1", "203.0.113.7"),
        (True, 1, "1.2.3.4, 203.0.113.7", "10.0.0.1", "203.0.113.7"),  # the first is made up
        (True, 2, "1.2.3.4, 203.0.113.7, 10.0.0.2", "10.0.0.1", "203.0.113.7"),
        (True, 1, "", "10.0.0.1", "10.0.0.1"),
        (True, 1, "nonsense", "10.0.0.1", "10.0.0.1"),
        (True, 2, "203.0.113.7", "10.0.0.1", "10.0.0.1"),
        (True, 1, "[2001:db8::1]:443", "10.0.0.1", "2001:db8::1"),
        (True, 1, "203.0.113.7:5678", "10.0.0.1", "203.0.113.7"),
        (False, 1, "", "::ffff:192.0.2.1", "192.0.2.1"),
        (False, 1, "", "", ""),
    ],
)
def test_whose_address_is_believed(
    settings: LazySettings, behind: bool, count: int, header: str, peer: str, told: str
) -> None:
    settings.BEHIND_PROXY, settings.PROXY_COUNT = behind, count
    headers = {"X-Forwarded-For": header} if header else {}
    request = RequestFactory().get("/", headers=headers, REMOTE_ADDR=peer)
    assert visitors.address(request) == told
