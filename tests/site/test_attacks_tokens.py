"""Tokens, tried at every address that there is: what is narrow opens no more than its list says,
what is a project's opens no other, and what has ended opens nothing."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.http.response import HttpResponseBase, StreamingHttpResponse
from django.test import Client
from django.urls import resolve
from django.utils import timezone

from projects.models import ApiToken, Project, ResumableUpload, User
from projects.services import accounts, resumable, tokens
from tests import make
from tests.site.permission_table import MLFLOW, REST
from tests.site.world import ROUTES, World, world  # noqa: F401

ASKED = ("GET", "POST", "PUT", "PATCH", "DELETE")


def asked(world: World) -> Iterator[tuple[str, str, str]]:  # noqa: F811
    for route in ROUTES:
        rules = REST.get(route.name) or MLFLOW.get(route.name, {})
        for method in ASKED:
            if method in rules:
                yield route.name, method, world.address(route)


def ask(raw: str, method: str, address: str) -> HttpResponseBase:
    client = Client(headers={"Authorization": f"Bearer {raw}"})
    with transaction.atomic():
        answer: HttpResponseBase = client.generic(method, address, b"{}", "application/json")
        if isinstance(answer, StreamingHttpResponse):
            b"".join(answer)
        transaction.set_rollback(True)
    return answer


def only_reads(address: str) -> bool:
    func: Any = resolve(address).func
    kept = getattr(func, "initkwargs", None) or getattr(func, "view_initkwargs", None) or {}
    return bool(kept.get("only_reads", getattr(func.view_class, "only_reads", False)))


def test_a_reading_token_of_an_owner_changes_nothing_anywhere(world: World, alice: User) -> None:  # noqa: F811
    User.objects.filter(pk=alice.pk).update(is_superuser=True)
    _, raw = accounts.create_token(user=alice, name="read", scope="read")
    opened = []
    for name, method, address in asked(world):
        if method != "GET" and ask(raw, method, address).status_code != 403:
            opened.append((name, method, only_reads(address)))
    assert opened
    assert not [one for one in opened if not one[2]]


@pytest.mark.parametrize("scope", ["track", "infer"])
def test_a_narrow_token_opens_its_list_and_nothing_else(
    world: World,  # noqa: F811
    alice: User,
    scope: str,
) -> None:
    User.objects.filter(pk=alice.pk).update(is_superuser=True)
    _, raw = accounts.create_token(user=alice, name=scope, scope=scope)
    opened = {
        (method, resolve(address).view_name)
        for _, method, address in asked(world)
        if ask(raw, method, address).status_code != 403
    }
    assert opened == {place for place, scopes in tokens.OPEN_TO.items() if scope in scopes}
    assert not {name for method, name in opened if "token" in name or "member" in name}


def test_the_token_of_one_project_opens_no_other(world: World, alice: User) -> None:  # noqa: F811
    """Alice owns both, and the installation: her token of the one, and the one's own."""
    User.objects.filter(pk=alice.pk).update(is_superuser=True)
    other = make.project("elsewhere", owner=alice)
    _, hers = accounts.create_token(user=alice, name="mine", project=other)
    _, its = tokens.create_for_project(project=other, name="its", by=alice)
    wrong = []
    for name, method, address in asked(world):
        of_project = "project_slug" in resolve(address).kwargs
        for raw in (hers, its) if of_project else (hers,):
            status = ask(raw, method, address).status_code
            refused = status == 404 if of_project else status == 403
            free = name in tokens.OF_NO_PROJECT and (name != "api_me" or method == "GET")
            if not refused and not free:
                wrong.append((name, method, status))
    assert not wrong


ENDS = ["expired", "revoked", "rotated", "its person is shut out", "its person has left"]


@pytest.mark.parametrize("end", ENDS)
def test_what_has_ended_opens_nothing_by_any_door(project: Project, erin: User, end: str) -> None:
    """REST, uploads that go on piece by piece, and MLflow."""
    token, raw = accounts.create_token(user=erin, name="once", project=project)
    upload = resumable.begin(name="big.csv", size=4, by=erin)
    doors = [
        ("GET", f"/api/v1/projects/{project.slug}/"),
        ("GET", f"/mlflow/{project.slug}/api/2.0/mlflow/experiments/list"),
        ("PATCH", f"/api/v1/uploads/{upload.pk}/"),
    ]
    assert [ask(raw, *door).status_code for door in doors[:2]] == [200, 200]
    if end == "expired":
        ApiToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    elif end == "revoked":
        tokens.revoke(token=token)
    elif end == "rotated":
        tokens.rotate(token=token, grace=timedelta(), by=erin)
    elif end == "its person is shut out":
        User.objects.filter(pk=erin.pk).update(is_active=False)
    else:
        project.memberships.filter(user=erin).delete()
        assert [ask(raw, *door).status_code for door in doors[:2]] == [404, 404]
        return
    assert [ask(raw, *door).status_code for door in doors] == [401, 401, 401]
    assert ResumableUpload.objects.get(pk=upload.pk).received == 0


def test_a_successor_of_a_token_that_ends_ends_with_it(alice: User) -> None:
    """Neither by itself nor by another that never ends does a token live on."""
    soon = timezone.now() + timedelta(hours=1)
    short, raw = accounts.create_token(user=alice, name="short", expires_at=soon)
    for_ever, _ = accounts.create_token(user=alice, name="for ever")
    client = Client(headers={"Authorization": f"Bearer {raw}"})
    for one in (for_ever, short):
        made = client.post(f"/api/v1/tokens/{one.pk}/rotate/", {}, content_type="application/json")
        assert made.status_code == 201
        assert ApiToken.objects.get(pk=made.json()["id"]).expires_at <= soon  # type: ignore[operator]


@pytest.mark.parametrize("place", ["?token={}", "?access_token={}", "?api_key={}", "#{}"])
def test_no_token_is_taken_from_an_address(alice: User, project: Project, place: str) -> None:
    _, raw = accounts.create_token(user=alice, name="all")
    for address in ("/api/v1/me/", f"/mlflow/{project.slug}/api/2.0/mlflow/experiments/list"):
        assert Client().get(address + place.format(raw)).status_code == 401
