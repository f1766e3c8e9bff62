"""Single sign-on, against a real provider of OpenID Connect on loopback."""

import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount
from django.conf import LazySettings
from django.test import Client

from projects.models import Project, User
from projects.services import invitations
from tests.conftest import signed_in
from tests.projects import openid_provider
from tests.projects.openid_provider import Provider

ANNA = {
    "sub": "0001",
    "email": "anna@corp.example",
    "email_verified": True,
    "preferred_username": "anna",
    "given_name": "Anna",
    "family_name": "Arendt",
}


@pytest.fixture(scope="module")
def running() -> Iterator[Provider]:
    with openid_provider.running() as provider:
        yield provider


@pytest.fixture
def provider(running: Provider, settings: LazySettings, db: None) -> Provider:
    running.person = dict(ANNA)
    openid_provider.known(settings, running)
    return running


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


def to_provider(client: Client, query: str = "") -> str:
    """The address that the provider sends the browser back to."""
    page = client.post(f"/sign-in/with/oidc/{query}").content.decode()
    away = unescape(re.search(r'content="0;url=([^"]+)"', page)[1])  # type: ignore[index]
    try:
        urllib.request.build_opener(_Stay).open(away)
    except urllib.error.HTTPError as redirect:
        return str(redirect.headers["Location"])
    raise AssertionError("the provider sent nobody back")


def come(client: Client, query: str = "") -> Any:
    back = to_provider(client, query)
    return client.get(back.partition("testserver")[2])


def who(client: Client) -> str:
    return str(client.get("/api/v1/me/").json().get("username", ""))


def test_whoever_the_provider_knows_gets_an_account_where_sign_up_is_open(
    provider: Provider, settings: LazySettings, client: Client
) -> None:
    settings.SIGN_UP = "open"
    assert come(client).headers["Location"] == "/"
    assert who(client) == "anna"
    user = User.objects.get(username="anna")
    assert (user.email, user.display_name) == ("anna@corp.example", "Anna Arendt")
    assert not user.has_usable_password()
    client.post("/sign-out/")
    assert come(client).headers["Location"] == "/"
    assert User.objects.count() == 1


def test_after_signing_in_the_page_that_was_asked_for_opens(
    provider: Provider, settings: LazySettings, client: Client
) -> None:
    settings.SIGN_UP = "open"
    page = client.get("/sign-in/?next=/account/").content.decode()
    assert "Sign in with Corp" in page
    assert come(client, "?next=/account/").headers["Location"] == "/account/"
    client.post("/sign-out/")
    assert come(client, "?next=//evil.example/").headers["Location"] == "/"


@pytest.mark.parametrize("rule", ["invitation", "closed"])
def test_strangers_get_none_where_sign_up_is_not_open(
    provider: Provider, settings: LazySettings, client: Client, rule: str
) -> None:
    settings.SIGN_UP = rule
    answer = come(client)
    assert "By invitation" in answer.content.decode()
    assert who(client) == ""
    assert not User.objects.exists()


def test_who_is_invited_comes_in_by_single_sign_on(
    provider: Provider, client: Client, project: Project, alice: User
) -> None:
    _, link = invitations.invite(project=project, role="editor", by=alice)
    assert link
    client.get("/invitations/" + link.rstrip("/").rpartition("/")[2] + "/")
    assert come(client).headers["Location"] == "/invitations/"
    client.post("/invitations/")
    assert project.memberships.get(user__username="anna").role == "editor"


def test_only_people_of_the_named_domains_come_in(
    provider: Provider, settings: LazySettings, client: Client
) -> None:
    settings.OIDC_DOMAINS = ["corp.example"]
    assert come(client).headers["Location"] == "/"  # although sign-up is by invitation
    for email, verified in [
        ("eve@elsewhere.example", True),
        ("eve@corp.example", False),
        ("eve@corp.example.evil", True),
        ("eve@notcorp.example", True),
    ]:
        provider.person = {"sub": email, "email": email, "email_verified": verified}
        stranger = Client()
        assert come(stranger).headers["Location"] == "/sign-in/"
        assert "Only addresses at corp.example" in stranger.get("/sign-in/").content.decode()
        assert who(stranger) == ""
    assert User.objects.count() == 1


def test_an_account_with_the_same_confirmed_address_is_theirs(
    provider: Provider, client: Client, alice: User
) -> None:
    EmailAddress.objects.create(user=alice, email=alice.email, verified=True, primary=True)
    provider.person |= {"email": alice.email}
    assert come(client).headers["Location"] == "/"
    assert who(client) == "alice"
    assert SocialAccount.objects.get().user == alice


@pytest.mark.parametrize(("here", "there"), [(False, True), (True, False), (None, True)])
def test_an_address_that_one_side_has_not_confirmed_opens_no_account(
    provider: Provider,
    settings: LazySettings,
    client: Client,
    alice: User,
    here: bool | None,
    there: bool,
) -> None:
    """Whoever signs up with somebody else's address would else get their account, or give it."""
    settings.SIGN_UP = "open"
    if here is not None:
        EmailAddress.objects.create(user=alice, email=alice.email, verified=here, primary=True)
    provider.person |= {"email": alice.email, "email_verified": there}
    assert come(client).headers["Location"] == "/sign-in/"
    assert who(client) == ""
    assert not SocialAccount.objects.exists()
    assert "has not confirmed" in client.get("/sign-in/").content.decode()
    alice.refresh_from_db()
    assert alice.check_password("correct horse battery")


def test_a_person_connects_and_disconnects_by_themselves(provider: Provider, alice: User) -> None:
    client = signed_in(alice)
    provider.person |= {"email": alice.email}  # as she has here, unconfirmed
    asked = come(client, "?process=connect")
    assert asked.headers["Location"] == "/account/confirm/"  # is it her?
    assert not SocialAccount.objects.exists()
    done = client.post("/account/confirm/", {"password": "correct horse battery"})
    assert done.headers["Location"] == "/account/connections/"
    page = client.get("/account/connections/").content.decode()
    assert alice.email in page
    other = Client()
    come(other)
    assert who(other) == "alice"
    client.post("/account/connections/", {"account": SocialAccount.objects.get().pk})
    assert not SocialAccount.objects.exists()


def test_who_has_no_address_there_is_asked_for_one(
    provider: Provider, settings: LazySettings, client: Client, alice: User
) -> None:
    settings.SIGN_UP = "open"
    provider.person = {"sub": "0002", "preferred_username": "alice"}
    asked = come(client)
    assert asked.headers["Location"] == "/sign-in/with/new/"
    assert "What shall we call you?" in client.get("/sign-in/with/new/").content.decode()
    body = {"username": "alice", "email": "new@example.org"}
    assert "field-error" in client.post("/sign-in/with/new/", body).content.decode()  # taken
    client.post("/sign-in/with/new/", body | {"username": "alma"})
    assert who(client) == "alma"


def test_a_person_who_is_shut_out_stays_out(
    provider: Provider, settings: LazySettings, client: Client
) -> None:
    settings.SIGN_UP = "open"
    come(client)
    User.objects.update(is_active=False)
    assert who(client) == ""
    again = Client()
    assert come(again).headers["Location"] == "/sign-in/"
    assert who(again) == ""


def test_a_state_of_another_browser_and_a_code_of_another_signing_in_are_refused(
    provider: Provider, settings: LazySettings, client: Client
) -> None:
    settings.SIGN_UP = "open"
    back = to_provider(client).partition("testserver")[2]
    victim = Client()
    assert victim.get(back).headers["Location"] == "/sign-in/"  # forged signing in
    assert who(victim) == ""
    theirs = to_provider(victim).partition("testserver")[2]
    mixed = re.sub(r"code=[^&]+", re.search(r"code=[^&]+", back)[0], theirs)  # type: ignore[index]
    assert victim.get(mixed).headers["Location"] == "/sign-in/"
    assert provider.refusals[-1] == "another verifier"
    assert who(victim) == ""
    assert not User.objects.exists()


def test_without_a_provider_there_is_no_such_address(client: Client, db: None) -> None:
    assert client.post("/sign-in/with/oidc/").status_code == 404
    assert client.get("/sign-in/with/oidc/back/").status_code == 404
    assert "Sign in with" not in client.get("/sign-in/").content.decode()


def test_the_way_there_takes_a_post_and_the_policy_stays_closed(
    provider: Provider, client: Client
) -> None:
    assert client.get("/sign-in/with/oidc/").status_code == 405
    away = client.post("/sign-in/with/oidc/")
    assert "form-action 'self'" in away.headers["Content-Security-Policy"]
    assert "<script" not in away.content.decode()
