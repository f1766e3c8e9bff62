"""Attacks through a browser, tried on every page there is, as the URL resolver names them: changes
that another site asks for, what people type as markup, and answers without their policies."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.db import IntegrityError, models, transaction
from django.http.response import StreamingHttpResponse
from django.test import Client
from django.urls import reverse

from projects.models import User
from tests.site.permission_table import PAGES, REST
from tests.site.world import ROUTES, Route, World, world  # noqa: F401

CHANGING = ("POST", "PUT", "PATCH", "DELETE")
#: Posted by a mail program, which has no session and no cookie; its link can do that alone.
WITHOUT_CSRF = {"projects:notifications_unsubscribe"}


@pytest.fixture
def root(world: World, alice: User) -> World:  # noqa: F811
    """With Alice as administrator of the installation, for whom every address is there."""
    User.objects.filter(pk=alice.pk).update(is_superuser=True, is_staff=True)
    return world


def browser(world: World, *, who: str = "alice", **more: Any) -> Client:  # noqa: F811
    client = Client(**more)
    if who:
        client.cookies[settings.SESSION_COOKIE_NAME] = world.sessions[who]
    return client


def test_no_change_is_made_for_another_site(root: World) -> None:
    """Without our token every POST of a page and every change of REST by session is 403: signed in,
    and where an account is not needed signed out, too (nobody is signed in by another site)."""
    carried_out = []
    for route in ROUTES:
        rules = PAGES.get(route.name) or REST.get(route.name, {})
        for method in set(CHANGING) & set(rules):
            people = ["alice", ""] if route.name in PAGES and not rules[method] else ["alice"]
            for who in people:
                client = browser(root, who=who, enforce_csrf_checks=True)
                with transaction.atomic():
                    answer = client.generic(
                        method,
                        root.address(route),
                        "name=x",
                        "application/x-www-form-urlencoded",
                        headers={"Origin": "https://evil.example"},
                    )
                    transaction.set_rollback(True)
                if answer.status_code != 403:
                    carried_out.append((route.name, method, who, answer.status_code))
    assert {name for name, *_ in carried_out} == WITHOUT_CSRF, carried_out


def test_the_administration_makes_no_change_for_another_site(root: World) -> None:
    client = browser(root, enforce_csrf_checks=True)
    for name in ("projects_user_add", "projects_user_changelist", "logout", "login"):
        answer = client.post(reverse(f"admin:{name}"), {"username": "eve"})
        assert answer.status_code == 403, name


# What people type -----------------------------------------------------------------------------

MARKUP = "\"'><img src=x onerror=alert(1)>"
NO_TEXT = re.compile(
    r"(slug|username|digest|sha256|password|sealed|secret|kind|status|task|email|url|address"
    r"|path|fingerprint|reference|version|key|zone|state|role|scope|device|home|host|origin"
    r"|query|code|schedule|architecture|format|subject|action|actor|via|prefix|queue|algorithm"
    r"|previous|revision|repository|topic|number|file|alias|metric|split|message_id|avatar|sha"
    r"|library|how|unit|colour|sums|owner|language)$"
)
IN_ADDRESSES = {"dataset", "registeredmodel", "prompt", "slice", "monitor", "artifact", "alias"}


def _typed() -> list[tuple[type[models.Model], str]]:
    """Columns that hold what somebody typed."""
    found = []
    for app in ("projects", "training"):
        for model in apps.get_app_config(app).get_models():
            for field in model._meta.get_fields():
                if not isinstance(field, models.CharField | models.TextField) or field.choices:
                    continue
                if NO_TEXT.search(field.name):
                    continue
                if field.name == "name" and model._meta.model_name in IN_ADDRESSES:
                    continue
                if field.max_length is None or field.max_length >= len(MARKUP):
                    found.append((model, field.name))
    return found


def _type_everywhere() -> list[str]:
    """Markup in all of them; the names of those where a row has it."""
    typed = []
    for model, name in _typed():
        try:
            with transaction.atomic():
                if models.QuerySet(model).update(**{name: MARKUP}):
                    typed.append(f"{model.__name__}.{name}")
        except IntegrityError:  # one of several must stay another
            first = models.QuerySet(model).order_by("pk").first()
            if first is not None:
                models.QuerySet(model).filter(pk=first.pk).update(**{name: MARKUP})
    return typed


class Looked(HTMLParser):
    """What of a page a browser would run, or ask of another host."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        runs = tag == "script" and "src" not in given and given.get("type") != "application/json"
        if runs or tag in {"style", "iframe", "object", "embed", "base", "svg:script"}:
            self.found.append(f"<{tag}>")
        for name, value in given.items():
            if name.startswith("on") or value.lower().lstrip().startswith("javascript:"):
                self.found.append(f"<{tag} {name}={value[:40]}>")
            if name == "src" and not value.startswith(("/", "data:", "blob:")):
                self.found.append(f"<{tag} src={value[:40]}>")
        if tag == "link" and not given.get("href", "/").startswith("/"):
            self.found.append(f"<link href={given['href'][:40]}>")


def _pages(root: World) -> list[tuple[Route, Any]]:
    client, answers = browser(root), []
    for route in ROUTES:
        if "GET" not in PAGES.get(route.name, {}) or route.name == "projects:sign_in_link":
            continue
        with transaction.atomic():
            answer = client.get(root.address(route))
            if isinstance(answer, StreamingHttpResponse):
                b"".join(answer)
            transaction.set_rollback(True)
        answers.append((route, answer))
    return answers


def test_every_page_shows_what_people_type_as_text_and_carries_its_policies(root: World) -> None:
    typed = _type_everywhere()
    assert len(typed) > 30, typed
    seen = 0
    for route, answer in _pages(root):
        where = f"{route.name} ({answer.status_code})"
        assert answer.status_code < 500, where
        headers = answer.headers
        policy = headers.get("Content-Security-Policy", "")
        assert "default-src 'self'" in policy or "default-src 'none'; sandbox" in policy, where
        assert "unsafe-inline" not in policy.partition("style-src-attr")[0], where
        assert "unsafe-eval" not in policy, where
        assert headers["X-Content-Type-Options"] == "nosniff", where
        assert headers["X-Frame-Options"] == "DENY", where
        assert headers["Referrer-Policy"] in {"same-origin", "no-referrer"}, where
        assert "camera=()" in headers["Permissions-Policy"], where
        assert "Access-Control-Allow-Origin" not in headers, where
        if not headers.get("Content-Type", "").startswith("text/html"):
            continue
        page = answer.content.decode()
        assert "<img src=x" not in page, where
        assert not Looked(page).found, (where, Looked(page).found)
        seen += "img src=x" in page
    assert seen > 30  # pages on which some of it was shown, escaped
