"""Codes of an authenticator app, and recovery codes: asked for after the password, good once."""

import argparse
import re
import time

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.conf import LazySettings
from django.core import mail
from django.test import Client

from distillhub.lib import secrets
from projects.models import AuditEntry, User
from projects.services import accounts, second_factor
from tests.conftest import signed_in

PASSWORD = "correct horse battery"


def code_of(secret: str, steps: int = 0) -> str:
    return str(format_hotp_value(hotp_value(secret, int(time.time()) // 30 + steps)))


def who(client: Client) -> str:
    return str(client.get("/api/v1/me/").json().get("username", ""))


@pytest.fixture
def secret(alice: User) -> str:
    """Of Alice, who has turned it on in her browser."""
    return set_up(Client())


def set_up(client: Client) -> str:
    client.post("/sign-in/", {"username": "alice", "password": PASSWORD})
    asked = client.get("/account/second-factor/on/")
    assert asked.headers["Location"].startswith("/account/confirm/?next=")  # is it you?
    client.post(asked.headers["Location"], {"password": PASSWORD})
    page = client.get("/account/second-factor/on/").content.decode()
    found = re.search(r'factor-key">([A-Z2-7]+)<', page)
    assert found
    wrong = client.post("/account/second-factor/on/", {"code": "000000"})
    assert "not right" in wrong.content.decode()
    done = client.post("/account/second-factor/on/", {"code": code_of(found[1], -1)})
    assert done.headers["Location"] == "/account/second-factor/recovery-codes/"
    return found[1]


def recovery_codes(user: User) -> list[str]:
    kept = Authenticator.objects.get(user=user, type="recovery_codes")
    codes: list[str] = kept.wrap().get_unused_codes()
    return codes


def password(client: Client) -> str:
    answer = client.post("/sign-in/", {"username": "alice", "password": PASSWORD})
    return str(answer.headers["Location"])


def test_a_password_alone_signs_nobody_in(secret: str) -> None:
    client = Client()
    assert password(client) == "/sign-in/code/"
    assert who(client) == ""
    assert client.get("/account/").status_code == 302
    page = client.post("/sign-in/code/", {"code": "000000"}).content.decode()
    assert "not right" in page
    assert client.post("/sign-in/code/", {"code": code_of(secret)}).headers["Location"] == "/"
    assert who(client) == "alice"


def test_a_code_is_good_once(secret: str) -> None:
    one, other = Client(), Client()
    password(one)
    password(other)
    code = code_of(secret)
    assert one.post("/sign-in/code/", {"code": code}).status_code == 302
    assert "not right" in other.post("/sign-in/code/", {"code": code}).content.decode()
    assert who(other) == ""


def test_codes_without_a_password_before_them_open_nothing(secret: str) -> None:
    client = Client()
    answer = client.post("/sign-in/code/", {"code": code_of(secret)})
    assert answer.headers["Location"] == "/sign-in/"
    assert who(client) == ""


def test_a_sign_in_link_asks_for_the_code_too(secret: str, alice: User) -> None:
    client = Client()
    token = accounts.make_sign_in_link(user=alice)
    answer = client.get(f"/sign-in/link/{token}/")
    assert answer.headers["Location"] == "/sign-in/code/"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert who(client) == ""


def test_recovery_codes_stand_in_once_each(secret: str, alice: User) -> None:
    codes = recovery_codes(alice)
    client = Client()
    password(client)
    assert client.post("/sign-in/code/", {"code": codes[0]}).headers["Location"] == "/"
    page = client.get("/account/second-factor/recovery-codes/")
    assert page.headers["Location"].startswith("/account/confirm/")  # shown to who repeats it
    other = Client()
    password(other)
    assert "not right" in other.post("/sign-in/code/", {"code": codes[0]}).content.decode()
    assert other.post("/sign-in/code/", {"code": codes[1]}).headers["Location"] == "/"


def known(browser: Client) -> Client:
    """Signed out again, as who comes back another day."""
    browser.post("/sign-out/")
    assert password(browser) == "/sign-in/code/"
    return browser


def guess_codes(client: Client) -> str:
    for _ in range(10):
        client.post("/sign-in/code/", {"code": "000000"})
    return client.post("/sign-in/code/", {"code": "000000"}).content.decode()


def test_guessed_codes_end_and_their_owner_hears_of_it(
    secret: str, alice: User, settings: LazySettings
) -> None:
    settings.ACCOUNT_EMAIL_NOTIFICATIONS, settings.EMAIL_URL = True, "smtp://mail.example"
    client = Client()
    password(client)
    assert "too many tries" in guess_codes(client)
    page = client.post("/sign-in/code/", {"code": code_of(secret)}).content.decode()
    assert "too many tries" in page
    assert who(client) == ""
    [letter] = mail.outbox
    assert letter.to == [alice.email]
    assert letter.subject == "Somebody tries codes of your account"
    assert "choose another password at once" in letter.body
    assert AuditEntry.objects.filter(action="sign_in.codes_locked", subject="alice").count() == 1


def test_who_knows_a_password_does_not_lock_the_code_of_its_owners_browsers(
    alice: User,
) -> None:
    hers, other = Client(), Client()
    secret = set_up(hers)
    password(other)
    other.post("/sign-in/code/", {"code": code_of(secret)})  # has used a code, too
    stranger = Client()
    password(stranger)
    guess_codes(stranger)
    for browser in (hers, other):
        code = recovery_codes(alice)[0]
        assert known(browser).post("/sign-in/code/", {"code": code}).headers["Location"] == "/"
    page = stranger.post("/sign-in/code/", {"code": code_of(secret, 1)}).content.decode()
    assert "too many tries" in page  # what she gave right elsewhere opens nothing here
    assert "too many tries" in guess_codes(known(other))  # and is no way to guess for ever


def test_a_browser_that_knew_the_password_before_there_was_a_factor_has_no_tries_of_its_own(
    alice: User,
) -> None:
    early = [Client() for _ in range(2)]
    for one in early:
        password(one)
    set_up(Client())
    for one in early:
        known(one)
    assert "too many tries" in guess_codes(early[0])
    page = early[1].post("/sign-in/code/", {"code": "000000"}).content.decode()
    assert "too many tries" in page


def test_what_codes_are_made_of_is_sealed_and_sealed_again(secret: str, alice: User) -> None:
    stored = str(list(Authenticator.objects.values_list("data", flat=True)))
    assert secret not in stored
    secrets.write([secrets.make_key(), *secrets.keys()])
    done, closed = second_factor.seal_again()
    assert (done, closed) == (2, [])
    assert str(list(Authenticator.objects.values_list("data", flat=True))) != stored
    secrets.write(secrets.keys()[:1])
    client = Client()
    password(client)
    assert client.post("/sign-in/code/", {"code": code_of(secret)}).headers["Location"] == "/"


def test_it_is_turned_off_by_who_repeats_their_password(secret: str, alice: User) -> None:
    client = Client()
    password(client)
    client.post("/sign-in/code/", {"code": code_of(secret)})
    asked = client.post("/account/second-factor/off/")
    assert asked.headers["Location"].startswith("/account/confirm/")
    assert second_factor.is_on(alice)
    client.post("/account/confirm/?next=/account/second-factor/off/", {"password": PASSWORD})
    client.post("/account/second-factor/off/")
    assert not second_factor.is_on(alice)
    assert not Authenticator.objects.exists()


def test_who_came_by_a_link_sets_it_up_without_a_password(db: None) -> None:
    user = User.objects.create_user("linked")
    client = signed_in(user)
    assert client.get("/account/second-factor/on/").status_code == 200


def test_whoever_sits_at_the_terminal_resets_it(
    secret: str, alice: User, capsys: pytest.CaptureFixture[str]
) -> None:
    from distillhub.cli import people

    assert people.reset_second_factor(argparse.Namespace(username="alice")) == 0
    assert "no second factor any more" in capsys.readouterr().out
    client = Client()
    assert password(client) == "/"
    assert people.reset_second_factor(argparse.Namespace(username="nobody")) == 1
    told = AuditEntry.objects.get(action="person.reset_second_factor")
    assert (told.subject, told.via) == ("alice", "command")


def test_pages_show_no_code_that_others_could_keep(secret: str, alice: User) -> None:
    client = signed_in(alice)
    page = client.get("/account/second-factor/")
    assert secret not in page.content.decode()
    assert "no-store" in page.headers["Cache-Control"]
