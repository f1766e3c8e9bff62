"""The audit log: what is in it, that it only grows, and that a change to it shows."""

import json
import os
import re
import signal
import threading
import warnings
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
from django.conf import LazySettings
from django.core.files.base import ContentFile
from django.core.management.sql import emit_post_migrate_signal
from django.db import DatabaseError, connection, transaction
from django.db.models import Field, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import path

from projects.models import AuditEntry, AuditHead, AuditPromise, Project, User
from projects.services import acts, audit, audit_guard, webhooks
from tests.conftest import api_of, signed_in
from tests.site.world import ROUTES, RULES
from tests.training.mlflow_calls import Caller
from training import retraining, worker
from training.models import RunImport

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


def test_what_mlflows_clients_did_is_named_by_what_they_sent(project: Project, erin: User) -> None:
    caller = Caller(project, erin)
    key = caller.begin(name="small")
    caller.post("runs/delete", run_id=key)
    caller.post("registered-models/create", name="student")
    caller.post("experiments/create", name="first tries")
    told = {entry.action: entry.subject for entry in done()}
    assert told["run.track"] == "small"
    assert told["run.archive"] == key
    assert told["model.create"] == "student"
    assert told["experiment.create"] == "first tries"


def test_what_address_and_answer_name_is_said_once(project: Project, erin: User) -> None:
    report = {"runs": 0, "points": 0, "known": 0, "left_out": [], "found": []}
    row = RunImport.objects.create(
        project=project, created_by=erin, kind="file", place="x", status="ready", report=report
    )
    address = f"/api/v1/projects/{project.slug}/imports/{row.pk}/take/"
    assert api_of(erin).post(address, {}).status_code == 202
    RunImport.objects.update(status="ready")
    page = f"/p/{project.slug}/runs/import/{row.pk}/take/"
    assert signed_in(erin).post(page, {"all": "yes"}).status_code == 302  # leads back there
    assert [entry.subject for entry in done()] == [str(row.pk)] * 2


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
    assert asked.is_carried()
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


def test_what_workers_record_stands_in_their_list() -> None:
    folders = (worker, retraining)
    found = [path for one in folders for path in Path(one.__path__[0]).glob("*.py")]
    said = "".join(path.read_text() for path in (*found, Path(webhooks.__file__)))
    names = re.findall(r'(?:audit\.record|_record)\(\s*"(\w+\.\w+)"', said)
    assert set(names) == acts.BY_WORKERS.keys()


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


# Act and entry in one transaction ---------------------------------------------------------------


class Killed:
    """The process ends when all is done and nothing is answered, as with SIGKILL."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response: HttpResponse = self.get_response(request)
        if request.method != "GET" and request.headers.get("X-Kill"):
            os.kill(os.getpid(), signal.SIGKILL)
        return response


ALONE = {
    "in a transaction": ("POST", "members/", {"email": "charlie", "role": "viewer"}, "member.add"),
    "a statement alone": ("PATCH", "", {"name": "Another name"}, "project.change"),
    "a row alone": ("POST", "invitations/", {"role": "viewer"}, "invitation.create"),
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("asked", ALONE.values(), ids=ALONE)
def test_a_process_that_is_killed_before_it_answers_leaves_the_act_and_its_entry(
    asked: tuple[str, str, dict[str, str], str],
    project: Project,
    alice: User,
    charlie: User,
    settings: LazySettings,
) -> None:
    method, path, body, action = asked
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.Killed"]
    api = api_of(alice)
    connection.close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside a server's thread
        child = os.fork()
    if child == 0:
        try:
            address = f"/api/v1/projects/{project.slug}/{path}"
            api.generic(
                method, address, json.dumps(body), "application/json", headers={"X-Kill": "1"}
            )
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert not done().exists()
    assert audit.complete() == 0  # it may be answered yet
    for _ in range(2):  # and once only
        audit.complete(after=timedelta(0))
    (entry,) = done()
    assert (entry.action, entry.actor, entry.via) == (action, "alice", "rest")
    assert (entry.project_id, entry.project) == (project.pk, project.slug)
    assert entry.detail == body | {"unanswered": True}
    assert audit.verify().fault == ""


def answered(view: Any, project: Project, alice: User, settings: LazySettings) -> HttpResponse:
    routes = [path("<slug:project_slug>/", view, name="api_runs")]
    settings.ROOT_URLCONF = type("Routes", (), {"urlpatterns": routes})
    client = signed_in(alice)
    client.raise_request_exception = False
    return cast(HttpResponse, client.post(f"/{project.slug}/"))


class Looks:
    """How many promises there are when all is done and nothing is answered."""

    seen: ClassVar[list[int]] = []

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response: HttpResponse = self.get_response(request)
        self.seen.append(AuditPromise.objects.count())
        return response


@pytest.mark.django_db(transaction=True)
def test_rows_that_are_made_alone_carry_the_promise_too(
    project: Project, alice: User, settings: LazySettings
) -> None:
    """On SQLite only what stands in a transaction does: it cannot commit a row that is read."""
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.Looks"]
    Looks.seen.clear()
    api, table = api_of(alice), ContentFile(b"text,label\na,b\nc,d\n", "rows.csv")
    mine = f"/api/v1/projects/{project.slug}"
    hook = {"name": "ops", "kind": "webhook", "url": "https://hooks.example.org/x"}
    word = {"task": "text-classification", "input": "a", "label": "b"}
    for address, asked in (
        ("/api/v1/tokens/", {"name": "nightly"}),
        (f"{mine}/webhooks/", {"name": "ops", "url": "https://hooks.example.org/x"}),
        (f"{mine}/alert-channels/", hook),
        (f"{mine}/feedback/", word),
    ):
        answer = api.post(address, asked, format="json")
        assert answer.status_code == 201, (address, answer.content)
    page = signed_in(alice).post(f"/p/{project.slug}/datasets/new/", {"file": table})
    assert page.status_code == 302
    assert Looks.seen == [1] * 5
    assert done().count() == 5
    assert not AuditPromise.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_what_was_rolled_back_leaves_no_entry_and_what_came_after_it_does(
    project: Project, alice: User, settings: LazySettings
) -> None:
    mine = Project.objects.filter(pk=project.pk)

    def rolled_back(request: HttpRequest, **kwargs: str) -> HttpResponse:
        with suppress(KeyError), transaction.atomic():
            mine.update(name="never")
            raise KeyError
        with transaction.atomic(), suppress(KeyError), transaction.atomic():
            mine.update(name="nor this")
            raise KeyError
        return HttpResponse()

    def fails() -> None:
        raise KeyError

    def then_done(request: HttpRequest, **kwargs: str) -> HttpResponse:
        rolled_back(request)
        with suppress(KeyError), transaction.atomic():
            transaction.on_commit(fails)  # so that nobody tells us of the commit
            mine.update(name="done")
        mine.update(description="by a statement alone")
        with transaction.atomic():
            mine.update(name="done again")
        return HttpResponse()

    answered(rolled_back, project, alice, settings)
    assert not done().exists()
    answered(then_done, project, alice, settings)
    assert [entry.action for entry in done()] == ["run.create"]
    assert not AuditPromise.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_an_error_after_it_was_done_is_an_entry_and_a_refusal_is_none(
    project: Project, alice: User, settings: LazySettings
) -> None:
    mine = Project.objects.filter(pk=project.pk)

    def failing(request: HttpRequest, **kwargs: str) -> HttpResponse:
        with transaction.atomic():
            mine.update(name="done")
        raise KeyError

    def refusing(request: HttpRequest, **kwargs: str) -> HttpResponse:
        mine.update(name="tried")
        return HttpResponse(status=409)

    answered(refusing, project, alice, settings)
    assert not done().exists()
    assert answered(failing, project, alice, settings).status_code == 500
    assert [entry.detail for entry in done()] == [{"answered": 500}]
    assert not AuditPromise.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_was_quicker_than_the_answer_has_written_the_only_entry(
    project: Project, alice: User, settings: LazySettings
) -> None:
    def slow(request: HttpRequest, **kwargs: str) -> HttpResponse:
        Project.objects.filter(pk=project.pk).update(name="done")
        audit.complete(after=timedelta(0))
        return HttpResponse()

    answered(slow, project, alice, settings)
    assert done().count() == 1


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
    audit_guard.put_on(connection)


def wrote(number: int, by: User) -> list[AuditEntry]:
    numbers = (0, 1, 2.5, 1e300, 1e-9, 4.0, -0.0, 2**60)
    return [
        audit.record("run.cancel", by=by, subject=f"ü{n}", detail={"n": numbers[n % 8], "ß": "→"})
        for n in range(number)
    ]


@pytest.mark.django_db(transaction=True)
def test_a_migration_that_builds_the_table_anew_leaves_it_guarded() -> None:
    audit_guard.put_on(connection)
    was = cast("Field[Any, Any]", AuditEntry._meta.get_field("action"))
    now = was.clone()
    now.max_length = 61
    now.set_attributes_from_name(was.name)
    for old, new in ((was, now), (now, was)):
        with connection.schema_editor() as editor:
            editor.alter_field(AuditEntry, old, new)
    assert bool(audit_guard.missing(connection)) is (connection.vendor == "sqlite")
    try:
        emit_post_migrate_signal(verbosity=0, interactive=False, db="default", plan=[])
        assert not audit_guard.missing(connection)
    finally:
        audit_guard.take_off(connection)  # else no test empties its tables
    emit_post_migrate_signal(verbosity=0, interactive=False, db="default")  # as `flush` does
    assert audit_guard.missing(connection)


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
