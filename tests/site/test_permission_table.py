"""Every route, every method, as everybody: generated from the URL resolver, held to the table in
permission_table.py. Real requests against real rows; each is undone before the next."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import LazySettings, settings
from django.db import transaction
from django.http.response import HttpResponseBase, StreamingHttpResponse
from django.test import Client, override_settings
from django.urls import reverse
from pytest_django import DjangoDbBlocker

from projects.models import StagedUpload, User
from tests import make
from tests.conftest import signed_in
from tests.site.permission_table import MLFLOW, REST, Needs
from tests.site.world import METHODS, ROUTES, RULES, Route, World, make_world

NESTED = [r for r in ROUTES if "project_slug" in r.kwargs and len(r.kwargs) > 1]


@pytest.fixture(scope="module")
def made(
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    """One world for all tests, in a transaction that ends with them: each is undone within it."""
    place = tmp_path_factory.mktemp("world")
    with django_db_blocker.unblock(), transaction.atomic():
        with override_settings(MEDIA_ROOT=place / "files", DISTILLHUB_HOME=place / "home"):
            alice, erin, vera, charlie = map(make.user, ("alice", "erin", "vera", "charlie"))
            project = make.project("intents", owner=alice, editor=erin, viewer=vera)
            world = make_world(project, alice, erin, vera, charlie, place=place)
        yield world
        transaction.set_rollback(True)


@pytest.fixture
def world(made: World, db: None, settings: LazySettings) -> World:
    settings.MEDIA_ROOT, settings.DISTILLHUB_HOME = made.place / "files", made.place / "home"
    return made


HELD = {
    "anonymous": Needs.NOTHING,
    "charlie": Needs.ACCOUNT,
    "vera": Needs.VIEWER,
    "erin": Needs.EDITOR,
    "alice": Needs.OWNER,
}
#: Who may what is no matter of the database; whether there is an answer is.
ASKED = ["alice"] if os.environ.get("TEST_DATABASE") == "postgres" else list(HELD)


def ask(
    world: World, who: str, method: str, address: str, body: dict[str, Any] | None = None
) -> HttpResponseBase:
    """One request whose effects are undone."""
    client = Client()
    if address.startswith("/mlflow/"):
        if who in world.tokens:
            client.defaults["HTTP_AUTHORIZATION"] = f"Bearer {world.tokens[who]}"
    elif who in world.sessions:
        client.cookies[settings.SESSION_COOKIE_NAME] = world.sessions[who]
    data: dict[str, Any] = {} if method == "GET" else {"data": body}
    if method not in {"GET", "POST"} or body is not None:
        data["content_type"] = "application/json"
    with transaction.atomic():
        response: HttpResponseBase = getattr(client, method.lower())(address, **data)
        if isinstance(response, StreamingHttpResponse):
            b"".join(response)  # read to its end, which closes the file
        transaction.set_rollback(True)
    return response


def verdict(response: HttpResponseBase, *, rest: bool) -> str:
    """What an answer means for who asked."""
    status = response.status_code
    if status == 302 and response.headers["Location"].startswith("/sign-in/?next="):
        return "sign in first"
    named = {401: "sign in first", 403: "forbidden", 404: "missing", 405: "no such method"}
    if status in named:
        return named[status] if rest or status != 401 else f"{status} on a page"
    return "allowed" if status < 500 else f"failed with {status}"


def expected(needs: Needs, held: Needs) -> str:
    if held >= needs:
        return "allowed"
    if held == Needs.NOTHING:
        return "sign in first"
    if needs == Needs.ADMINISTRATOR:
        return "forbidden"
    return "missing" if held == Needs.ACCOUNT else "forbidden"


def test_every_route_has_a_rule_and_every_rule_a_route() -> None:
    names = {route.name for route in ROUTES}
    without_rule = sorted(names - set(RULES))
    assert not without_rule, f"add these to tests/site/permission_table.py: {without_rule}"
    assert not sorted(set(RULES) - names), "rules for routes that do not exist"


BY_MAIL = (
    *("account_email_verification_sent", "account_confirm_email", "account_reset_password"),
    *("account_reset_password_done", "account_reset_password_from_key"),
    "account_reset_password_from_key_done",
)
FAULT_OF_MLFLOW = {"error_code", "message"}

# What an empty request cannot reach although it is allowed: (route, method, person).
SPECIAL = {
    ("projects:sign_in_link", "GET"): {"missing", "allowed"},  # a spent link, said on a page
    ("projects:token_revoke", "POST"): {"missing", "allowed"},  # only one's own tokens exist
    ("projects:avatar", "GET"): {"missing"},  # of who has none
    ("api_person_picture", "GET"): {"missing"},
    ("api_my_session", "DELETE"): {"missing"},  # only one's own browsers are there
    ("projects:session_end", "POST"): {"missing"},  # only one's own browsers are there
    ("projects:invitation", "GET"): {"missing"},  # nobody opened one in this browser
    ("projects:invitation", "POST"): {"missing", "allowed"},
    ("projects:invitation_link", "GET"): {"missing"},  # a guessed link
    # Without a mail server, or a provider
    **{(name, "GET"): {"missing"} for name in BY_MAIL},
    ("account_confirm_email", "POST"): {"missing"},
    ("account_reset_password", "POST"): {"missing"},
    ("account_reset_password_from_key", "POST"): {"missing"},
    ("openid_connect_login", "POST"): {"missing"},
    ("openid_connect_callback", "GET"): {"missing"},
    ("account_signup", "GET"): {"forbidden", "allowed"},  # not open, and nobody is invited
    ("account_signup", "POST"): {"forbidden", "allowed"},
    ("mfa_view_recovery_codes", "GET"): {"missing"},  # of who has none
    ("mfa_download_recovery_codes", "GET"): {"missing"},
    ("mfa_deactivate_totp", "GET"): {"missing"},
    ("mfa_deactivate_totp", "POST"): {"missing"},
    ("training:report_shared", "GET"): {"missing"},  # a guessed link
    ("projects:token_rotate", "POST"): {"missing", "allowed"},
    ("api_token", "DELETE"): {"missing", "allowed"},
    ("api_token_rotate", "POST"): {"missing", "allowed"},
    ("projects:notifications_unsubscribe", "POST"): {"missing"},  # a guessed link
    ("api_favourite", "DELETE"): {"missing", "allowed"},  # only one's own exist
    ("api_notification", "GET"): {"missing", "allowed"},
    ("api_notification", "PATCH"): {"missing", "allowed"},
    ("projects:comment_edit", "POST"): {"forbidden", "allowed"},  # one's own
    ("projects:comment_delete", "POST"): {"forbidden", "allowed"},
    ("api_comment", "PATCH"): {"forbidden", "allowed"},
    ("api_comment", "DELETE"): {"forbidden", "allowed"},
    ("api_upload", "GET"): {"missing", "allowed"},  # only one's own uploads exist
    ("api_upload", "PATCH"): {"missing", "allowed"},
    ("api_upload", "DELETE"): {"missing", "allowed"},
    ("api_pending_change", "DELETE"): {"missing", "allowed"},  # of who changed nothing yet
    ("api_review_undo", "POST"): {"missing", "allowed"},  # of who said nothing yet
    ("projects:review_row", "GET"): {"missing", "allowed"},  # likewise
    ("projects:review_row", "POST"): {"missing", "allowed"},
    ("projects:dataset_image", "GET"): {"missing", "allowed"},  # a dataset of texts has none
    ("api_dataset_image", "GET"): {"missing", "allowed"},
    ("projects:dataset_sound", "GET"): {"missing", "allowed"},  # likewise
    ("training:monitor_row_file", "GET"): {"missing", "allowed"},  # of a row that nobody names
    ("training:monitor_rows_collect", "POST"): {"missing", "allowed"},  # of a window likewise
    ("api_monitor_rows_review", "POST"): {"refused", "missing", "allowed"},
    ("projects:dataset_upload_sound", "GET"): {"missing", "allowed"},
    ("projects:dataset_waveform", "GET"): {"missing", "allowed"},
    ("projects:dataset_upload_waveform", "GET"): {"missing", "allowed"},
    ("api_dataset_sound", "GET"): {"missing", "allowed"},
}
# A viewer may remove herself: the rule speaks of others.
LEAVING = {("projects:member_remove", "POST", "vera"), ("api_member", "DELETE", "vera")}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_a_route_answers_everybody_as_the_table_says(route: Route, world: World) -> None:
    rest, rules = route.name in REST | MLFLOW, RULES[route.name]
    address = world.address(route)
    wrong = []
    for method in METHODS:
        for who in ASKED:
            answer = ask(world, who, method, address)
            found = verdict(answer, rest=rest)
            if method in rules:
                wanted = {expected(rules[method], HELD[who])}
                if wanted == {"allowed"}:
                    wanted |= SPECIAL.get((route.name, method), set())
                if (route.name, method, who) in LEAVING:
                    wanted = {"allowed"}
            elif who == "alice":
                wanted = {"no such method"}
            else:  # refused one way or the other, and never carried out
                wanted = {"no such method", "sign in first", "missing", "forbidden"}
            if found not in wanted:
                wrong.append(f"{method} as {who}: {found} ({answer.status_code}), not {wanted}")
            if rest and answer.status_code >= 400:
                body = answer.json()  # type: ignore[attr-defined]
                shape = FAULT_OF_MLFLOW if route.name in MLFLOW else {"detail", "code", "fields"}
                assert set(body) == shape, (method, who, body)
    assert not wrong, "\n".join([address, *wrong])


# Bodies with which the request would be carried out, if the address were one's own.
GOOD_BODIES: dict[str, dict[str, Any]] = {
    "api_member": {"role": "viewer"},
    "api_run": {"name": "mine now"},
    "api_run_end": {"status": "finished"},
    "api_run_metrics": {"points": []},
    "api_run_logs": {"lines": []},
    "api_prompt_versions": {"text": "{text}!"},
    "api_review_take": {"many": 1},
    "api_review_verdicts": {"row_id": 0, "verdict": "skip"},
    "api_review_close": {"winner": "majority"},
    "api_model": {"description": "mine now"},
    "api_comment": {"text": "Look again."},
    "api_model_alias": {"version": 1},
    "api_model_versions": {"source": {"kind": "architecture", "architecture": "mlp"}},
    "mlflow:logged_model": {"status": "LOGGED_MODEL_READY"},
    "mlflow:logged_model_params": {"params": []},
    "mlflow:logged_model_tag": {"tags": []},
    "mlflow:logged_model_untag": {},
}


@pytest.mark.parametrize("route", NESTED, ids=lambda route: route.name)
def test_what_is_in_one_project_does_not_exist_in_another(route: Route, world: World) -> None:
    """Alice owns both projects; the nested names and numbers are those of the first."""
    alice = User.objects.get(username="alice")
    make.project("elsewhere", owner=alice)
    address = world.address(route, project_slug="elsewhere")
    for method in RULES[route.name]:
        if route.name == "projects:dataset_discard":  # what is not there is gone already
            assert signed_in(alice).post(address).status_code == 302
            assert StagedUpload.objects.exists()
            continue
        answer = ask(world, "alice", method, address, GOOD_BODIES.get(route.name))
        assert answer.status_code == 404, f"{method} {address}: {answer.status_code}"


@pytest.mark.parametrize(
    "part", ["index", "projects_user_changelist", "projects_apitoken_changelist"]
)
def test_the_administration_is_for_staff(part: str, world: World) -> None:
    address = reverse(f"admin:{part}")
    for who in HELD:
        answer = ask(world, who, "GET", address)
        assert answer.status_code == 302, who
        assert (
            "/admin/login/" in answer.headers["Location"]
            or "/sign-in/" in (answer.headers["Location"])
        )
    assert signed_in(User.objects.create_superuser("root")).get(address).status_code == 200


def test_any_other_rest_address_is_404_in_the_one_shape(world: World) -> None:
    for address in ("/api/v1/", "/api/v1/nothing/", "/api/v1/projects", "/api/v1/me/x/y"):
        for method in METHODS:
            for who in HELD:
                answer = ask(world, who, method, address)
                assert answer.status_code == 404
                assert set(answer.json()) == {"detail", "code", "fields"}  # type: ignore[attr-defined]
