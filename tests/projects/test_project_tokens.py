"""Tokens of a project, of narrow scopes, of one project alone, and their successors."""

import re
from datetime import timedelta

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from projects.models import ApiToken, Membership, Project, Role, User
from projects.services import accounts, projects, tokens
from tests import make
from tests.conftest import api_of, signed_in


def bearer(raw: str) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {raw}")
    return client


def of_project(project: Project, by: User, scope: str = "write") -> APIClient:
    return bearer(tokens.create_for_project(project=project, name="ci", scope=scope, by=by)[1])


def test_a_projects_token_edits_that_project_and_nothing_else(
    project: Project, alice: User
) -> None:
    make.project("elsewhere", owner=alice)
    client = of_project(project, alice)
    me = client.get("/api/v1/me/").json()
    assert [one["slug"] for one in me["projects"]] == [project.slug]
    assert me["token"]["project"] == project.slug
    assert client.get(f"/api/v1/projects/{project.slug}/runs/").status_code == 200
    made = client.post(
        f"/api/v1/projects/{project.slug}/templates/", {"name": "x", "text": "{text}"}
    )
    assert made.status_code == 201
    assert client.get("/api/v1/projects/elsewhere/").status_code == 404
    assert client.get("/api/v1/projects/").status_code == 403
    assert client.get("/api/v1/workers/").status_code == 403
    # An editor, not an owner.
    assert client.patch(f"/api/v1/projects/{project.slug}/", {"name": "x"}).status_code == 403
    assert client.post("/api/v1/tokens/", {"name": "more"}).status_code == 403
    assert client.get(f"/api/v1/projects/{project.slug}/tokens/").status_code == 403


def test_it_outlives_who_made_it_and_is_no_member_to_look_at(
    project: Project, alice: User, erin: User
) -> None:
    Membership.objects.filter(project=project, user=erin).update(role=Role.OWNER)
    client = of_project(project, alice)
    projects.remove_member(project=project, user=alice, by=erin)
    alice.is_active = False
    alice.save()
    assert client.get(f"/api/v1/projects/{project.slug}/runs/").status_code == 200
    members = api_of(erin).get(f"/api/v1/projects/{project.slug}/members/").json()["results"]
    assert {one["username"] for one in members} == {"erin", "vera"}
    page = signed_in(erin).get(f"/p/{project.slug}/settings/").content.decode()
    assert ".tokens" not in page
    assert tokens.service_of(project).has_usable_password() is False


def test_two_tokens_of_a_project_act_as_one_who_never_takes_anybodys_name(
    project: Project, alice: User
) -> None:
    make.user("intents.tokens")
    first, _ = tokens.create_for_project(project=project, name="one", by=alice)
    second, _ = tokens.create_for_project(project=project, name="two", by=alice)
    assert first.user == second.user
    assert first.user.username == "intents.tokens-2"


@pytest.mark.parametrize(
    ("scope", "opens", "refuses"),
    [
        ("track", ["track"], ["predict", "read", "write"]),
        ("infer", ["predict"], ["track", "read", "write"]),
        ("read", ["read"], ["track", "write"]),
        ("write", ["track", "predict", "read", "write"], []),
    ],
)
def test_a_scope_opens_what_it_is_for(
    scope: str, opens: list[str], refuses: list[str], project: Project, alice: User
) -> None:
    make.model_version(project, "small", labels=["no", "yes"])
    client = of_project(project, alice, scope=scope)
    at = f"/api/v1/projects/{project.slug}"
    answers = {
        "track": client.post(f"{at}/runs/track/", {}),
        "predict": client.post(f"{at}/models/small/predict/", {}),
        "read": client.get(f"{at}/runs/"),
        "write": client.post(f"{at}/templates/", {}),
    }
    for what in opens:
        assert answers[what].status_code != 403, what
    for what in refuses:
        assert answers[what].status_code == 403, what
        assert "may only" in answers[what].json()["detail"]


def test_a_person_may_make_a_token_for_one_of_their_projects(
    project: Project, alice: User, charlie: User
) -> None:
    make.project("elsewhere", owner=alice)
    made = api_of(alice).post("/api/v1/tokens/", {"name": "one", "project": project.slug})
    client = bearer(made.json()["token"])
    assert client.patch(f"/api/v1/projects/{project.slug}/", {"name": "New"}).status_code == 200
    assert client.get("/api/v1/projects/elsewhere/").status_code == 404
    refused = api_of(charlie).post("/api/v1/tokens/", {"name": "one", "project": project.slug})
    assert refused.status_code == 404


def test_a_successor_has_the_same_life_and_the_old_one_a_while(
    project: Project, alice: User
) -> None:
    old, raw = accounts.create_token(
        user=alice, name="nightly", scope="read", expires_at=timezone.now() + timedelta(days=30)
    )
    answer = api_of(alice).post(f"/api/v1/tokens/{old.pk}/rotate/", {"grace_hours": 2})
    assert answer.status_code == 201
    new = ApiToken.objects.get(pk=answer.json()["id"])
    old.refresh_from_db()
    assert (new.name, new.scope) == ("nightly", "read")
    assert new.expires_at is not None
    assert old.expires_at is not None
    assert timedelta(days=29) < new.expires_at - timezone.now() <= timedelta(days=30)
    assert old.expires_at - timezone.now() <= timedelta(hours=2)
    for one in (raw, answer.json()["token"]):
        assert bearer(one).get("/api/v1/me/").status_code == 200
    again = api_of(alice).post(f"/api/v1/tokens/{old.pk}/rotate/", {})
    assert (again.status_code, again.json()["code"]) == (409, "replaced")


def test_without_a_grace_the_old_one_ends_at_once(alice: User) -> None:
    old, raw = accounts.create_token(user=alice, name="leaked")
    api_of(alice).post(f"/api/v1/tokens/{old.pk}/rotate/", {"grace_hours": 0})
    assert bearer(raw).get("/api/v1/me/").status_code == 401


def test_a_token_cannot_give_itself_a_longer_life(alice: User) -> None:
    until = timezone.now() + timedelta(hours=3)
    old, raw = accounts.create_token(user=alice, name="short", expires_at=until)
    ApiToken.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(days=60))
    answer = bearer(raw).post(f"/api/v1/tokens/{old.pk}/rotate/", {"grace_hours": 1})
    made = ApiToken.objects.get(pk=answer.json()["id"])
    assert made.expires_at is not None
    assert made.expires_at <= until


def test_owners_make_replace_and_revoke_them_on_a_page(
    project: Project, alice: User, erin: User
) -> None:
    client = signed_in(alice)
    address = f"/p/{project.slug}/settings/tokens/"
    made = client.post(address, {"name": "ci", "scope": "track", "life": "90"})
    raw = re.findall(r'value="(dh_[^"]+)"', made.content.decode())[0]
    row = ApiToken.objects.get(name="ci")
    assert raw not in client.get(address).content.decode()
    replaced = client.post(f"{address}{row.pk}/rotate/")
    new = re.findall(r'value="(dh_[^"]+)"', replaced.content.decode())[0]
    assert new != raw
    client.post(f"{address}{row.pk}/revoke/")
    assert bearer(raw).get("/api/v1/me/").status_code == 401
    assert bearer(new).get("/api/v1/me/").status_code == 200
    assert signed_in(erin).get(address).status_code == 403
