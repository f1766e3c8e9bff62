"""What the browser is told: strict policies on every answer, CSRF on every change."""

import re
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse

from projects.models import Project, User
from tests.conftest import signed_in

ROOT = Path(__file__).resolve().parent.parent.parent

ANSWERS = ["/sign-in/", "/nothing/", "/api/v1/me/", "/api/v1/nothing/", "/api/docs/", "/healthz"]


@pytest.mark.parametrize("address", ANSWERS)
def test_every_answer_carries_the_policies(client: Client, db: None, address: str) -> None:
    headers = client.get(address).headers
    policy = dict(
        part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";")
    )
    assert policy["default-src"] == "'self'"
    assert policy["script-src"] == "'self'"
    assert policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["object-src"] == policy["base-uri"] == "'none'"
    assert policy["form-action"] == "'self'"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] in {"same-origin", "no-referrer"}
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "camera=()" in headers["Permissions-Policy"]
    assert "Access-Control-Allow-Origin" not in headers


def test_no_template_holds_a_script_or_style_the_policy_would_refuse() -> None:
    inline = re.compile(
        r"<script(?![^>]*\bsrc=)(?![^>]*application/json)|<style|\son(?!e=)[a-z]+=", re.I
    )
    for template in (ROOT / "templates").rglob("*.html"):
        found = inline.search(template.read_text())
        assert found is None, f"{template}: {found}"


def test_no_page_asks_another_host(client: Client, db: None) -> None:
    for address in ("/sign-in/", "/api/docs/", "/nothing/"):
        page = client.get(address).content.decode()
        assert not re.findall(r'(?:src|href)="(?:https?:)?//(?!testserver)[^"]*"', page)


def test_cookies_are_kept_from_scripts_and_other_sites(client: Client, alice: User) -> None:
    client.post("/sign-in/", {"username": "alice", "password": "correct horse battery"})
    session = client.cookies["distillhub_session"]
    assert session["httponly"]
    assert session["samesite"] == "Lax"


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("projects:sign_in", {}),
        ("projects:sign_out", {}),
        ("projects:account", {}),
        ("projects:change_password", {}),
        ("projects:tokens", {}),
        ("projects:project_new", {}),
        ("projects:project_settings", {"project_slug": "intents"}),
        ("projects:member_add", {"project_slug": "intents"}),
        ("projects:project_archive", {"project_slug": "intents"}),
        ("api_projects", {}),
        ("api_me", {}),
    ],
)
def test_a_change_without_the_csrf_token_is_refused(
    name: str, kwargs: dict[str, str], alice: User, project: Project
) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    address = reverse(name, kwargs=kwargs)
    if name == "api_me":
        refused = client.patch(address, {}, content_type="application/json")
    else:
        refused = client.post(address, {"name": "x"})
    assert refused.status_code == 403
    if name.startswith("api_"):
        assert set(refused.json()) == {"detail", "code", "fields"}


def test_another_host_than_ours_is_refused(client: Client, db: None) -> None:
    refused = client.get("/sign-in/", headers={"Host": "evil.example"})
    assert refused.status_code == 400
    assert "evil.example" not in refused.content.decode()
    refused = client.get("/api/v1/me/", headers={"Host": "evil.example"})
    assert set(refused.json()) == {"detail", "code", "fields"}


def test_pages_of_people_are_not_cached(alice: User) -> None:
    client = signed_in(alice)
    for address in ("/account/tokens/",):
        assert "no-store" in client.get(address).headers["Cache-Control"]


def test_an_unknown_page_is_a_plain_404(client: Client, db: None) -> None:
    answer = client.get("/nothing/<script>alert(1)</script>/")
    assert answer.status_code == 404
    assert "<script>alert" not in answer.content.decode()


def test_the_process_says_that_it_lives_and_is_ready(client: Client, db: None) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json()["database"] == "ok"
