"""Who may make an account, invitations, and addresses that are confirmed by mail."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from allauth.account.models import EmailAddress
from django.conf import LazySettings
from django.core import mail
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from distillhub.lib.errors import DomainError
from projects.models import ApiToken, Event, Invitation, Project, User
from projects.services import invitations, projects
from tests.conftest import api_of, signed_in

PASSWORD = "a few unrelated words"


@pytest.fixture
def mail_server(settings: LazySettings) -> None:
    """What settings say with EMAIL_URL; Django's tests keep the letters in `mail.outbox`."""
    cache.clear()  # of allauth's own limits
    settings.EMAIL_URL = "smtp://mail.example"
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    settings.ACCOUNT_EMAIL_NOTIFICATIONS = True
    settings.SITE_URL = "https://hub.example"


def sign_up(client: Client, name: str = "nora", email: str = "nora@example.org"):  # type: ignore[no-untyped-def]
    body = {"username": name, "email": email, "password1": PASSWORD, "password2": PASSWORD}
    return client.post("/sign-up/", body)


def who(client: Client) -> str:
    return str(client.get("/api/v1/me/").json().get("username", ""))


def link_in(letter: mail.EmailMessage) -> str:
    """The path of the link; it names the site and not the Host header."""
    found = re.search(r"https://hub\.example(/\S+)", str(letter.body))
    assert found, letter.body
    return found[1]


# Sign-up ----------------------------------------------------------------------------------------


def test_everybody_may_sign_up_where_it_is_open(
    client: Client, settings: LazySettings, db: None
) -> None:
    settings.SIGN_UP = "open"
    assert "Make an account" in client.get("/sign-in/").content.decode()
    assert sign_up(client).headers["Location"] == "/"
    assert who(client) == "nora"
    again = Client()
    assert again.post("/sign-in/", {"username": "nora", "password": PASSWORD}).status_code == 302


@pytest.mark.parametrize("rule", ["invitation", "closed"])
def test_nobody_may_where_it_is_not(
    client: Client, settings: LazySettings, db: None, rule: str
) -> None:
    settings.SIGN_UP = rule
    assert "Make an account" not in client.get("/sign-in/").content.decode()
    answer = sign_up(client)
    assert "By invitation" in answer.content.decode()
    assert not User.objects.exists()


def test_a_weak_password_and_a_taken_name_are_said_at_the_field(
    client: Client, settings: LazySettings, alice: User
) -> None:
    settings.SIGN_UP = "open"
    body = {"username": "ALICE", "email": "x@example.org", "password1": "12345", "password2": "1"}
    page = client.post("/sign-up/", body).content.decode()
    assert page.count("field-error") >= 2
    assert "12345" not in page
    assert User.objects.count() == 1


def test_nobody_signs_up_as_more_than_an_ordinary_person(
    client: Client, settings: LazySettings, db: None
) -> None:
    settings.SIGN_UP = "open"
    client.post(
        "/sign-up/",
        {
            "username": "nora",
            "email": "n@example.org",
            "password1": PASSWORD,
            "password2": PASSWORD,
            "is_staff": "on",
            "is_superuser": "on",
            "is_service": "on",
        },
    )
    user = User.objects.get()
    assert not user.is_staff
    assert not user.is_superuser
    assert not user.is_service


def test_an_address_is_confirmed_before_anybody_is_in(
    client: Client, settings: LazySettings, mail_server: None, db: None
) -> None:
    settings.SIGN_UP = "open"
    assert sign_up(client).headers["Location"] == "/sign-up/confirm/"
    assert who(client) == ""
    link = link_in(mail.outbox[-1])
    elsewhere = Client()
    assert "Is this your address?" in elsewhere.get(link).content.decode()
    assert not EmailAddress.objects.get().verified  # looking confirms nothing
    assert client.post(link).headers["Location"] == "/"
    assert who(client) == "nora"
    assert elsewhere.post(link).status_code in {302, 404}
    assert who(elsewhere) == ""


def test_who_has_not_confirmed_is_sent_another_link_and_stays_out(
    client: Client, settings: LazySettings, mail_server: None, db: None
) -> None:
    settings.SIGN_UP = "open"
    sign_up(client)
    cache.clear()
    other = Client()
    answer = other.post("/sign-in/", {"username": "nora", "password": PASSWORD})
    assert answer.headers["Location"] == "/sign-up/confirm/"
    assert who(other) == ""
    assert len(mail.outbox) == 2


def test_signing_up_with_a_taken_address_looks_the_same_and_tells_its_owner(
    settings: LazySettings, mail_server: None, alice: User
) -> None:
    settings.SIGN_UP = "open"
    taken, free = Client(), Client()
    answers = [sign_up(taken, "one", alice.email), sign_up(free, "two", "free@example.org")]
    assert len({(one.status_code, one.headers["Location"]) for one in answers}) == 1
    assert not User.objects.filter(username="one").exists()
    assert mail.outbox[0].to == [alice.email]
    assert "There is one already" in str(mail.outbox[0].body)


def test_people_from_before_a_mail_server_still_sign_in(mail_server: None, alice: User) -> None:
    client = Client()
    body = {"username": "alice", "password": "correct horse battery"}
    assert client.post("/sign-in/", body).headers["Location"] == "/"


# Passwords and addresses --------------------------------------------------------------------------


def test_a_forgotten_password_is_chosen_anew_by_a_link_that_works_once(
    client: Client, mail_server: None, alice: User
) -> None:
    before = signed_in(alice)
    assert client.post("/forgotten/", {"email": alice.email}).headers["Location"] == (
        "/forgotten/sent/"
    )
    link = link_in(mail.outbox[0])
    form = client.get(link).headers["Location"]  # the secret leaves the address
    assert form.endswith("/set-password/")
    assert "Referrer-Policy" in client.get(form).headers
    body = {"password1": PASSWORD, "password2": PASSWORD}
    assert client.post(form, body).headers["Location"] == "/forgotten/done/"
    alice.refresh_from_db()
    assert alice.check_password(PASSWORD)
    assert who(before) == ""  # other browsers are out
    assert "too old" in Client().get(link).content.decode()


def test_an_unknown_address_gets_the_same_answer_and_no_letter(
    client: Client, mail_server: None, alice: User
) -> None:
    answer = client.post("/forgotten/", {"email": "nobody@example.org"})
    assert answer.headers["Location"] == "/forgotten/sent/"
    assert not mail.outbox


def test_a_forged_host_is_in_no_letter(client: Client, mail_server: None, alice: User) -> None:
    client.post("/forgotten/", {"email": alice.email}, headers={"Host": "localhost"})
    assert "https://hub.example/forgotten/" in str(mail.outbox[0].body)
    assert "localhost" not in str(mail.outbox[0].body)


def test_without_a_mail_server_no_page_promises_one(client: Client, db: None) -> None:
    assert "Forgotten" not in client.get("/sign-in/").content.decode()
    assert client.get("/forgotten/").status_code == 404


def test_a_new_address_counts_once_it_is_confirmed(mail_server: None, alice: User) -> None:
    client = signed_in(alice)
    body = {"email": "new@example.org", "time_zone": "UTC", "first_name": "", "last_name": ""}
    page = client.post("/account/", body, follow=True).content.decode()
    assert "is not confirmed yet" in page
    alice.refresh_from_db()
    assert alice.email == "alice@example.org"
    client.post(link_in(mail.outbox[0]))
    alice.refresh_from_db()
    assert alice.email == "new@example.org"
    assert any(letter.to == ["alice@example.org"] for letter in mail.outbox[1:])  # is told


def test_through_rest_as_well(mail_server: None, alice: User) -> None:
    answer = api_of(alice).patch("/api/v1/me/", {"email": "new@example.org"})
    assert answer.json()["email"] == "alice@example.org"
    assert mail.outbox[0].to == ["new@example.org"]
    assert api_of(alice).patch("/api/v1/me/", {"email": ""}).json()["email"] in {
        *("", "alice@example.org"),
    }


# Invitations --------------------------------------------------------------------------------------


def token_of(link: str | None) -> str:
    assert link
    return link.rstrip("/").rpartition("/")[2]


def test_whoever_has_a_link_joins_once(project: Project, alice: User, charlie: User) -> None:
    page = signed_in(alice).post(f"/p/{project.slug}/settings/invitations/", {"role": "editor"})
    link = re.search(r'value="http[^"]*(/invitations/[^"]+)"', page.content.decode())
    assert link
    assert page.headers["Cache-Control"] == "no-store"
    client = signed_in(charlie)
    opened = client.get(link[1])
    assert opened.headers["Location"] == "/invitations/"  # the secret leaves the address
    assert opened.headers["Referrer-Policy"] == "no-referrer"
    assert f"Join {project.name}" in client.get("/invitations/").content.decode()
    assert not project.memberships.filter(user=charlie).exists()  # looking joins nobody
    assert client.post("/invitations/").headers["Location"] == f"/p/{project.slug}/"
    assert project.memberships.get(user=charlie).role == "editor"
    assert Client().get(link[1]).status_code == 404
    kinds = set(Event.objects.filter(project=project).values_list("kind", flat=True))
    assert {"invitation.accepted", "member.added"} <= kinds


def test_who_has_no_account_makes_one_and_joins(
    client: Client, project: Project, alice: User
) -> None:
    _, link = invitations.invite(project=project, role="viewer", by=alice)
    client.get(f"/invitations/{token_of(link)}/")
    assert "Make an account" in client.get("/invitations/").content.decode()
    assert sign_up(client).headers["Location"] == "/invitations/"
    client.post("/invitations/")
    assert project.memberships.get(user__username="nora").role == "viewer"
    client.post("/sign-out/")
    assert "By invitation" in client.get("/sign-up/").content.decode()  # it was for once


def test_nobody_signs_up_by_invitation_where_sign_up_is_closed(
    client: Client, settings: LazySettings, project: Project, alice: User
) -> None:
    settings.SIGN_UP = "closed"
    _, link = invitations.invite(project=project, role="viewer", by=alice)
    client.get(f"/invitations/{token_of(link)}/")
    assert "Make an account" not in client.get("/invitations/").content.decode()
    assert "By invitation" in sign_up(client).content.decode()


def test_an_invitation_is_sent_and_confirms_the_address_it_was_sent_to(
    client: Client, mail_server: None, project: Project, alice: User
) -> None:
    answer = api_of(alice).post(
        f"/api/v1/projects/{project.slug}/invitations/",
        {"email": "Nora@example.org", "role": "viewer"},
    )
    assert answer.status_code == 201
    assert answer.json()["link"] is None  # only who reads that mail has it
    client.get(link_in(mail.outbox[0]))
    assert 'value="nora@example.org"' in client.get("/sign-up/").content.decode()
    assert sign_up(client).headers["Location"] == "/invitations/"
    assert EmailAddress.objects.get().verified


def test_a_link_that_was_shown_to_its_maker_confirms_no_address(
    client: Client, mail_server: None, project: Project, alice: User
) -> None:
    """Else they would make an account with somebody else's address, and wait for them in it."""
    made, _ = invitations.invite(project=project, role="viewer", email="vip@example.org", by=alice)
    link = invitations.renew(invitation=made, by=alice, by_mail=False)
    client.get(f"/invitations/{token_of(link)}/")
    answer = sign_up(client, "vip", "vip@example.org")
    assert answer.headers["Location"] == "/sign-up/confirm/"
    assert not EmailAddress.objects.get().verified


def test_a_mail_server_that_is_away_leaves_the_link(
    mail_server: None, settings: LazySettings, project: Project, alice: User
) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
    made, link = invitations.invite(
        project=project, role="viewer", email="nora@example.org", by=alice
    )
    assert link
    assert made.emailed_at is None


@pytest.mark.parametrize("how", ["revoked", "old", "renewed", "archived", "demoted", "shut out"])
def test_an_invitation_ends(
    project: Project, alice: User, erin: User, charlie: User, how: str
) -> None:
    made, link = invitations.invite(project=project, role="viewer", by=alice)
    if how == "revoked":
        invitations.revoke(invitation=made, by=alice)
    elif how == "old":
        Invitation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    elif how == "renewed":
        invitations.renew(invitation=made, by=alice)
    elif how == "archived":
        projects.archive(project=project, by=alice)
    elif how == "demoted":
        projects.change_role(project=project, user=erin, role="owner", by=alice)
        projects.change_role(project=project, user=alice, role="editor", by=erin)
    else:
        User.objects.filter(pk=alice.pk).update(is_active=False)
    client = signed_in(charlie)
    assert client.get(f"/invitations/{token_of(link)}/").status_code == 404
    answer = api_of(charlie).post("/api/v1/invitations/accept/", {"token": token_of(link)})
    assert (answer.status_code, answer.json()["code"]) == (404, "invitation_spent")
    assert not project.memberships.filter(user=charlie).exists()


def test_a_member_keeps_their_role_and_leaves_the_invitation_to_others(
    project: Project, alice: User, vera: User, charlie: User
) -> None:
    _, link = invitations.invite(project=project, role="owner", by=alice)
    answer = api_of(vera).post("/api/v1/invitations/accept/", {"token": token_of(link)})
    assert answer.status_code == 409
    assert project.memberships.get(user=vera).role == "viewer"
    answer = api_of(charlie).post("/api/v1/invitations/accept/", {"token": token_of(link)})
    assert answer.json()["role"] == "owner"


def test_only_digests_are_stored_and_only_owners_invite(
    project: Project, alice: User, erin: User
) -> None:
    _, link = invitations.invite(project=project, role="viewer", by=alice)
    assert token_of(link) not in str(list(Invitation.objects.values()))
    listed = api_of(alice).get(f"/api/v1/projects/{project.slug}/invitations/").json()
    assert "link" not in listed["results"][0]
    refused = api_of(erin).post(f"/api/v1/projects/{project.slug}/invitations/", {"role": "owner"})
    assert refused.status_code == 403


def test_a_repeated_post_makes_one_invitation_and_forgets_its_link(
    project: Project, alice: User
) -> None:
    address, key = f"/api/v1/projects/{project.slug}/invitations/", {"Idempotency-Key": "one"}
    first = api_of(alice).post(address, {"role": "viewer"}, headers=key)
    again = api_of(alice).post(address, {"role": "viewer"}, headers=key)
    assert first.json()["link"]
    assert again.json()["link"] is None
    assert Invitation.objects.count() == 1


def test_what_cannot_be_invited_is_said(project: Project, alice: User, vera: User) -> None:
    for email, role in [
        ("no address", "viewer"),
        ("x@example.org", "king"),
        (vera.email, "viewer"),
    ]:
        with pytest.raises(DomainError):
            invitations.invite(project=project, role=role, email=email, by=alice)


def test_letters_are_plain_and_come_from_the_site(
    mail_server: None, project: Project, alice: User, settings: LazySettings
) -> None:
    invitations.invite(project=project, role="viewer", email="nora@example.org", by=alice)
    letter = mail.outbox[0]
    assert letter.from_email == settings.DEFAULT_FROM_EMAIL
    assert letter.extra_headers["Auto-Submitted"] == "auto-generated"
    assert "\n" not in letter.subject


def test_no_template_of_ours_extends_one_of_theirs() -> None:
    """Pages of django-allauth would look like another product's."""
    templates = Path(__file__).parents[2] / "templates"
    for folder in ("account", "mfa", "socialaccount"):
        for page in (templates / folder).rglob("*.html"):
            extended = re.search(r'extends "([^"]+)"', page.read_text())
            assert extended is None or (templates / extended[1]).exists(), page
    assert not ApiToken.objects.none()
