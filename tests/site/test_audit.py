"""The audit log: what is in it, that it only grows, and that a change to it shows."""

import json
import re
import threading
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.models import QuerySet

from projects.models import AuditEntry, AuditHead, Project, User
from projects.services import acts, audit
from tests.conftest import api_of, audit_guard, signed_in
from tests.site.test_permission_table import ROUTES, RULES

CANARY = "canary-7f3d9b1c5e"
CHANGING = set(acts.CHANGING)


def done() -> QuerySet[AuditEntry]:
    """Without what signing in left there."""
    return AuditEntry.objects.exclude(action__startswith="sign_").order_by("number")


# What is recorded ------------------------------------------------------------------------------


def test_a_change_is_recorded_by_page_and_by_rest_under_one_name(
    project: Project, alice: User, charlie: User
) -> None:
    page = signed_in(alice).post(
        f"/p/{project.slug}/settings/members/", {"email": "charlie", "role": "viewer"}
    )
    rest = api_of(alice).patch(
        f"/api/v1/projects/{project.slug}/members/charlie/", {"role": "editor"}
    )
    again = api_of(alice).post(
        f"/api/v1/projects/{project.slug}/members/", {"email": "charlie", "role": "editor"}
    )
    assert (page.status_code, rest.status_code, again.status_code) == (302, 200, 409)
    first, second = done()
    assert (first.actor, first.via, first.action) == ("alice", "page", "member.add")
    assert first.detail["role"] == "viewer"
    assert (second.via, second.action, second.subject) == ("rest", "member.change", "charlie")
    assert second.detail == {"role": "editor"}
    assert first.project == second.project == project.slug
    assert first.address == second.address == "127.0.0.1"
    assert len(first.request_id) > 7


def test_what_was_refused_or_only_looked_at_is_not_recorded(
    project: Project, alice: User, vera: User
) -> None:
    members = f"/p/{project.slug}/settings/members"
    signed_in(alice).get(f"/p/{project.slug}/settings/")
    signed_in(vera).post(f"{members}/", {"email": "charlie", "role": "owner"})
    signed_in(alice).post(f"{members}/", {"email": "nobody", "role": "owner"})  # shown again
    # A redirect that says why not: a project keeps an owner.
    assert signed_in(alice).post(f"{members}/alice/remove/").status_code == 302
    assert not done().exists()


def test_what_was_made_is_named_and_a_repetition_is_not_made_twice(alice: User) -> None:
    for _ in range(2):
        answer = api_of(alice).post(
            "/api/v1/projects/", {"name": "Parcels"}, headers={"Idempotency-Key": "one"}
        )
        assert answer.status_code == 201
    signed_in(alice).post("/projects/new/", {"name": "Letters"})
    parcels, letters = done()
    assert (parcels.action, parcels.project, parcels.subject) == (
        "project.create",
        "parcels",
        "Parcels",
    )
    assert (letters.action, letters.project) == ("project.create", "letters")


def test_a_token_is_named_by_what_it_may_be_recognised_by(project: Project, alice: User) -> None:
    from rest_framework.test import APIClient

    made = api_of(alice).post("/api/v1/tokens/", {"name": "nightly"}).json()
    client = APIClient(headers={"Authorization": f"Bearer {made['token']}"})
    assert client.patch(f"/api/v1/projects/{project.slug}/", {"name": "x"}).status_code == 200
    entry = AuditEntry.objects.get(action="project.change")
    assert entry.token == f"nightly ({made['prefix']}…)"
    assert made["token"] not in json.dumps(list(AuditEntry.objects.values()), default=str)


def test_a_service_that_records_itself_is_recorded_once(alice: User) -> None:
    asked = audit.Asked(via="page", address="192.0.2.7")
    with audit.answering(asked):
        entry = audit.record("sign_in.done", by=alice)
    assert asked.recorded
    assert (entry.via, entry.address) == ("page", "192.0.2.7")
    assert audit.record("run.promote", by=None).via == "worker"
    assert audit.record("backup.make", by="root", via="command").actor == "root"


def test_every_address_that_changes_something_has_an_act_or_stands_in_the_list() -> None:
    for route in ROUTES:
        for method in CHANGING & set(RULES.get(route.name, {})):
            name = acts.act(route.name, method)
            if name:
                assert re.fullmatch(r"[a-z_]+\.[a-z_]+", name), (route.name, name)
            else:
                assert route.name in acts.UNRECORDED


def test_the_lists_name_no_address_that_is_gone() -> None:
    known = {route.name for route in ROUTES}
    assert not set(acts.UNRECORDED) - known
    assert not set(acts.ACTS) - known
    assert not {route for route, _ in acts.ALL_THE_SAME} - known


#: Acts that REST has under another name, and how.
OTHERWISE = {
    "project.restore": 'PATCH {"archived": false}',
    "run.archive": "runs/bulk/",
    "run.restore": "runs/bulk/",
    "person.activate": 'PATCH {"is_active": true}',
    "person.deactivate": 'PATCH {"is_active": false}',
    "person.make_administrator": 'PATCH {"is_administrator": true}',
    "person.make_ordinary": 'PATCH {"is_administrator": false}',
    "person.reset_second_factor": "DELETE people/{username}/second-factor/",
}
#: What is about a browser and whoever sits before it.
WAYS_IN = ("account.", "mfa.", "second_factor.", "socialaccount.", "openid_connect.")


def test_everything_that_pages_do_rest_does_too() -> None:
    done: dict[bool, set[str]] = {True: set(), False: set()}
    for route in ROUTES:
        if route.name.startswith("mlflow:"):  # neither; MLflow's clients have words of their own
            continue
        for method in CHANGING & set(RULES.get(route.name, {})):
            done[route.name.startswith("api_")].add(acts.act(route.name, method))
    alone = done[False] - done[True] - OTHERWISE.keys() - {""}
    assert not {name for name in alone if not name.startswith(WAYS_IN)}


# Secrets ---------------------------------------------------------------------------------------

SECRETS: list[dict[str, Any]] = [
    {"password": CANARY, "old_password": CANARY, "repeated": CANARY},
    {"source": {"kind": "api", "key": CANARY, "base_url": f"https://api.example.org/{CANARY}"}},
    {"url": f"https://hooks.example.org/services/{CANARY}", "secret": f"whsec_{CANARY}"},
    {"hub_token": CANARY, "headers": {"Authorization": CANARY}, "csrfmiddlewaretoken": CANARY},
    {"code": CANARY, "recovery_codes": [CANARY], "cookies": {"a": CANARY}},
    {"notes": f"my token is dh_{CANARY}-0123456789 and Bearer {CANARY}0123"},
    {"text": f"postgres://me:{CANARY}@db/x", "deep": [[{"api_key": {"value": CANARY}}]]},
]


@pytest.mark.parametrize("asked", SECRETS, ids=lambda asked: "-".join(asked))
def test_no_secret_is_kept_in_any_dress(asked: dict[str, Any]) -> None:
    assert CANARY not in json.dumps(audit.shown(asked))


def test_an_address_keeps_its_host_and_other_words_stay() -> None:
    shown = audit.shown(
        {"url": "https://me:pw@hooks.example.org:8443/x?y", "role": "owner", "max_tokens": 64}
    )
    assert shown == {"url": "https://hooks.example.org", "role": "owner", "max_tokens": 64}


def test_what_is_long_or_deep_is_cut() -> None:
    deep: Any = "end"
    for _ in range(20):
        deep = {"in": deep}
    many = {f"field-{n}": "x" * 5000 for n in range(50)}
    for told in (deep, many, {"rows": list(range(10_000))}, {"half\ud800": "\x00"}):
        kept = json.dumps(audit.shown(told))
        assert len(kept) <= audit.MOST_CHARACTERS + 200
        kept.encode()


def test_a_channel_with_its_secret_leaves_none(project: Project, alice: User) -> None:
    answer = api_of(alice).post(
        f"/api/v1/projects/{project.slug}/alert-channels/",
        {
            "name": "ops",
            "kind": "webhook",
            "url": f"https://hooks.example.org/{CANARY}",
            "secret": "whsec_" + "QUJD" * 8,
        },
    )
    assert answer.status_code == 201
    told = json.dumps(list(AuditEntry.objects.values()), default=str)
    assert "alert_channel.create" in told
    assert CANARY not in told
    assert "QUJD" not in told


# The chain -------------------------------------------------------------------------------------


@pytest.fixture
def guarded(db: None) -> None:
    """As every installation has it: tests alone go without (tests/conftest.py)."""
    is_sqlite = connection.vendor == "sqlite"
    with connection.cursor() as cursor:
        for statement in audit_guard.SQLITE if is_sqlite else audit_guard.POSTGRESQL:
            cursor.execute(statement)


def wrote(number: int, by: User) -> list[AuditEntry]:
    numbers = (0, 1, 2.5, 1e300, 1e-9, 4.0, -0.0, 2**60)
    return [
        audit.record("run.cancel", by=by, subject=f"ü{n}", detail={"n": numbers[n % 8], "ß": "→"})
        for n in range(number)
    ]


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize(
    "spoil",
    [
        lambda: AuditEntry.objects.filter(number=2).update(actor="nobody"),
        lambda: AuditEntry.objects.filter(number=2).delete(),
        lambda: AuditEntry.objects.all().delete(),
        lambda: connection.cursor().execute("UPDATE projects_auditentry SET action = 'x'"),
    ],
)
def test_the_database_refuses_to_change_or_forget_what_was_done(spoil: Any, alice: User) -> None:
    wrote(3, alice)
    with pytest.raises(DatabaseError, match="only added to"), transaction.atomic():
        spoil()
    assert audit.verify().fault == ""


def test_numbers_and_letters_of_every_kind_are_the_same_when_read_again(alice: User) -> None:
    last = wrote(16, alice)[-1]
    assert audit.verify() == audit.Verified(16, f"16:{last.digest}")


def test_an_empty_log_is_in_order(db: None) -> None:
    assert audit.verify() == audit.Verified(0, f"0:{audit.BEGINNING}")


@pytest.mark.parametrize(
    ("spoil", "at"),
    [
        (lambda: AuditEntry.objects.filter(number=3).update(actor="nobody"), 3),
        (lambda: AuditEntry.objects.filter(number=3).update(detail={"n": 7}), 3),
        (lambda: AuditEntry.objects.filter(number=3).delete(), 3),
        (lambda: AuditEntry.objects.filter(number=5).delete(), 5),
        (lambda: AuditEntry.objects.filter(number=1).delete(), 1),
        (lambda: AuditHead.objects.update(number=4), 6),
        (lambda: AuditHead.objects.all().delete(), 6),
    ],
)
def test_a_change_shows_at_its_place(spoil: Any, at: int, alice: User) -> None:
    wrote(5, alice)
    spoil()
    found = audit.verify()
    assert found.fault
    assert found.at == at


def test_a_chain_that_was_written_anew_is_found_by_a_head_that_was_kept(alice: User) -> None:
    wrote(5, alice)
    kept = audit.verify().head
    assert audit.verify(against=kept).fault == ""
    AuditEntry.objects.all().delete()
    AuditHead.objects.all().delete()
    wrote(6, alice)
    assert audit.verify().fault == ""  # a chain like any other
    assert audit.verify(against=kept).at == 5
    AuditEntry.objects.filter(number__gt=2).delete()
    last = AuditEntry.objects.get(number=2)
    AuditHead.objects.update(number=2, digest=last.digest)
    assert "missing" in audit.verify(against=kept).fault


@pytest.mark.django_db(transaction=True)
def test_many_at_once_make_one_chain(alice: User) -> None:
    faults: list[Exception] = []

    def add() -> None:
        try:
            for _ in range(10):
                audit.record("run.cancel", by=alice)
        except Exception as fault:  # told by the assertion
            faults.append(fault)
        finally:
            connection.close()

    threads = [threading.Thread(target=add) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    assert audit.verify().entries == 60
    assert audit.verify().fault == ""
