"""What is secret about people and programs, looked for wherever it could have been written down;
an audit log that somebody would like to have said otherwise; and what reaches into other projects
through lists of numbers."""

import csv
import io
import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.apps import apps
from django.conf import LazySettings
from django.contrib.sessions.models import Session
from django.core import mail, serializers
from django.core.cache import cache
from django.db import DatabaseError, connection, transaction
from django.test import Client

from projects.models import AuditEntry, Project, User
from projects.services import audit, audit_guard
from tests import make
from tests.conftest import api_of, signed_in
from tests.projects.test_people_second_factor import code_of

ROOT = Path(__file__).resolve().parent.parent.parent
PASSWORD = "correct horse battery"
NEW = "Zebra-canary-7f31 on a bicycle"
HOOK = "https://hooks.example.com/services/canary-91ab?token=canary-52cd"


def rows() -> str:
    """All that the database holds."""
    return "\n".join(
        serializers.serialize("json", model._default_manager.all()) for model in apps.get_models()
    )


def test_no_secret_of_today_is_written_down(
    project: Project,
    alice: User,
    settings: LazySettings,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Passwords, tokens, links, codes and webhooks: made, used, refused, and never told again."""
    caplog.set_level(logging.DEBUG)
    cache.clear()
    settings.EMAIL_URL = "smtp://mail.example"
    at, secrets, said = f"/api/v1/projects/{project.slug}", [NEW, PASSWORD], []
    root = User.objects.create_superuser("root", "root@example.org", PASSWORD)

    browser = Client(raise_request_exception=False)
    browser.post("/sign-in/", {"username": "alice", "password": PASSWORD})
    browser.post("/sign-in/", {"username": NEW, "password": "alice"})  # in the wrong field
    browser.post("/account/confirm/?next=/account/second-factor/on/", {"password": PASSWORD})
    browser.get("/account/second-factor/on/")
    factor = browser.session["mfa.totp.secret"]
    browser.post("/account/second-factor/on/", {"code": code_of(factor)})
    codes = Authenticator.objects.get(user=alice, type="recovery_codes").wrap().get_unused_codes()
    secrets += [factor, *codes]
    change = {"old_password": PASSWORD, "password": NEW, "repeated": NEW}
    said.append(browser.post("/account/password/", change).content)
    said.append(browser.post("/account/password/", {**change, "repeated": "x"}).content)

    api = api_of(alice)
    raw = api.post("/api/v1/tokens/", {"name": "one"}).json()
    secrets.append(raw["token"])
    secrets.append(api.post(f"/api/v1/tokens/{raw['id']}/rotate/", {}).json()["token"])
    secrets.append(api.post(f"{at}/tokens/", {"name": "its"}).json()["token"])
    token = Client(headers={"Authorization": f"Bearer {secrets[-1]}"})
    said.append(token.get("/api/v1/me/").content)
    said.append(token.post(f"{at}/runs/", {"x": secrets[-1]}, "application/json").content)
    wrong = "dh_canaryguessedbysomebodyelse0000000000000"
    said.append(Client(headers={"Authorization": f"Bearer {wrong}"}).get(f"{at}/").content)
    secrets.append(wrong)

    link = api.post(f"{at}/invitations/", {"role": "viewer"}).json()["link"]
    secrets.append(link.rstrip("/").rpartition("/")[2])
    Client().get(link.partition("8000")[2] or link)
    link = api_of(root).post("/api/v1/people/alice/link/").json()["link"]
    secrets.append(link.rstrip("/").rpartition("/")[2])
    Client().get(link.partition("8000")[2])
    Client().post("/forgotten/", {"email": alice.email})
    found = re.search(r"/forgotten/[^/]+/([^/\s]+)/", str(mail.outbox[-1].body))
    assert found
    secrets.append(reset := found[1])
    Client().get(found[0])

    settings.DISTILLHUB_OUTGOING_ALLOW = ["hooks.example.com"]
    made = api.post(f"{at}/webhooks/", {"name": "ci", "url": HOOK})
    assert made.status_code == 201, made.json()
    secrets += [made.json()["secret"], "canary-91ab", "canary-52cd"]
    number = made.json()["id"]
    rotated = api.post(f"{at}/webhooks/{number}/rotate/", {}).json()["secret"]
    secrets.append(rotated)
    said.append(api.get(f"{at}/webhooks/{number}/").content)
    said.append(api.get(f"{at}/webhooks/{number}/deliveries/").content)
    said += [signed_in(alice).get(f"/p/{project.slug}/{page}/").content for page in (
        "activity", "settings/audit", "settings/tokens", "settings/webhooks", "settings",
    )]  # fmt: skip
    said.append(b"".join(api_of(root).get("/api/v1/audit/").content.splitlines()))

    places = {
        "rows": rows(),
        "answers": b"\n".join(said).decode(),
        "lines": "\n".join(f"{r.getMessage()} {r.exc_text or ''}" for r in caplog.records),
        # Of sessions too, which hold no more than a key before it is turned on
        "sessions": str([row.get_decoded() for row in Session.objects.all()]),
    }
    written = {
        (place, secret[:12])
        for place, text in places.items()
        for secret in secrets
        if secret in text
    }
    # In the session of who followed the link: their form does not show it in its address.
    assert written <= {("sessions", reset[:12])}


# The audit log --------------------------------------------------------------------------------


@pytest.fixture
def guarded(db: None) -> None:
    """As every installation has it: tests alone go without (tests/conftest.py)."""
    audit_guard.put_on(connection)


COLUMNS = (
    "id, number, at, actor_id, actor, via, token, address, request_id, action, project_id, "
    "project, subject, detail, previous, digest"
)
COPY = f"SELECT {COLUMNS.replace(' actor,', ' %s,')} FROM projects_auditentry WHERE number = 2"
SAME = f"INSERT INTO projects_auditentry ({COLUMNS}) {COPY}"
REWRITES = {
    "sqlite": [
        SAME.replace("INSERT", "INSERT OR REPLACE"),
        SAME.replace("INSERT", "REPLACE"),
        f"{SAME} ON CONFLICT (number) DO UPDATE SET actor = 'eve'",
    ],
    "postgresql": [
        f"{SAME} ON CONFLICT (number) DO UPDATE SET actor = 'eve'",
        "TRUNCATE projects_auditentry",
    ],
}


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize("turn", range(3))
def test_no_row_takes_the_place_of_another(alice: User, turn: int) -> None:
    """SQLite's REPLACE deletes without asking the triggers of a deletion."""
    for _ in range(3):
        audit.record("run.cancel", by=alice)
    statement = REWRITES[connection.vendor][turn % len(REWRITES[connection.vendor])]
    given = ["eve"] if "%s" in statement else []
    if connection.vendor == "sqlite" and "ON CONFLICT" in statement:
        statement = statement.replace("number = 2 ON", "number = 2 AND true ON")
    with pytest.raises(DatabaseError, match="only added to"), transaction.atomic():
        connection.cursor().execute(statement, given)
    assert audit.verify().fault == ""
    assert not AuditEntry.objects.filter(actor="eve").exists()


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t"])
def test_a_formula_in_the_log_is_a_text_in_a_table(
    project: Project, alice: User, begin: str
) -> None:
    told = f"{begin}HYPERLINK('https://evil.example')"
    audit.record("run.cancel", by=told, project=project, subject=told)
    answer: Any = signed_in(alice).get(f"/p/{project.slug}/settings/audit/export/?format=csv")
    table = list(csv.DictReader(io.StringIO(b"".join(answer).decode())))
    assert table[-1]["subject"] == table[-1]["actor"] == f"'{told}"


def test_nobody_reads_the_log_of_another_project(
    project: Project, alice: User, charlie: User, erin: User
) -> None:
    theirs = make.project("theirs", owner=charlie)
    audit.record("member.add", by=charlie, project=theirs, subject="canary-person")
    for who in (alice, erin):
        for address in ("/api/v1/audit/", "/audit/"):
            assert "canary-person" not in api_of(who).get(address).content.decode()
            assert signed_in(who).get(address).status_code == 403
    for query in ("", "?project=theirs", "?q=canary", "?actor=charlie"):
        mine = api_of(alice).get(f"/api/v1/projects/{project.slug}/audit/{query}")
        assert "canary-person" not in mine.content.decode()


# Lists of numbers and names -------------------------------------------------------------------


def test_what_is_done_to_many_is_done_in_one_project(
    project: Project, alice: User, charlie: User
) -> None:
    theirs = make.project("theirs", owner=charlie)
    for number in (71, 72):
        make.run(theirs, number=number, status="finished")
    mine = make.run(project, number=1, status="finished")
    api = api_of(alice)
    for action, value in [("archive", ""), ("tag", "x"), ("colour", "#1f77b4"), ("delete", "")]:
        body = {"runs": [71, 72, mine.number], "action": action, "value": value}
        answer = api.post(f"/api/v1/projects/{project.slug}/runs/bulk/", body, format="json")
        assert {71, 72}.isdisjoint(answer.json().get("done", [])), answer.json()
        address = f"/p/{theirs.slug}/runs/bulk/"
        page = signed_in(alice).post(address, {"runs": "71,72", "action": action, "value": value})
        assert page.status_code == 404
    assert theirs.runs.filter(archived_at=None, tags=[], colour="").count() == 2


@pytest.mark.parametrize(
    "subject",
    ["run/71", "project/", "project/theirs", "run/1 OR 1=1", "../theirs/run/71", "user/1"],
)
def test_nothing_of_others_is_kept_or_talked_about(
    project: Project, alice: User, charlie: User, subject: str
) -> None:
    theirs = make.project("theirs", owner=charlie)
    make.run(theirs, number=71)
    api, slug = api_of(alice), project.slug
    kept = api.post("/api/v1/favourites/", {"project": "theirs", "subject": subject}, format="json")
    assert kept.status_code in {400, 404}
    said = api.post(
        f"/api/v1/projects/{slug}/comments/", {"subject": subject, "text": "x"}, format="json"
    )
    assert said.status_code in {400, 404} or subject.startswith("project/")
    assert "theirs" not in api.get("/api/v1/favourites/").content.decode()
    page = signed_in(alice).post("/p/theirs/star/", {"subject": subject})
    assert page.status_code == 404


# Settings -------------------------------------------------------------------------------------


def test_an_installation_for_others_raises_no_question(tmp_path: Path) -> None:
    ours = {name: told for name, told in os.environ.items() if not name.startswith("DJANGO_")}
    safe = {
        "DISTILLHUB_HOME": str(tmp_path),
        "SITE_URL": "https://hub.example.org",
        "ALLOWED_HOSTS": "hub.example.org",
        "BEHIND_PROXY": "true",
        "EMAIL_URL": "smtps://me:canary-41aa@mail.example.org",
        "OIDC_ISSUER": "https://id.example.org",
        "OIDC_CLIENT_ID": "hub",
        "OIDC_CLIENT_SECRET": "canary-41aa",
        "DJANGO_SETTINGS_MODULE": "distillhub.settings",
    }
    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=ROOT,
        env=ours | safe,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "canary-41aa" not in done.stdout + done.stderr
    assert "no issues" in done.stdout + done.stderr
