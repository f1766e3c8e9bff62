"""Attacks on the ways in, beside those that each way's own tests refuse (docs/security.md has the
table): codes written another way, links and half-finished sign-ins that outlive a password, guesses
through side doors, letters with a second head, and hosts that are made up."""

import base64
import io
import random
from collections.abc import Iterator
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django.conf import LazySettings
from django.core import mail
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from PIL import Image

from distillhub.lib import storage
from distillhub.lib.errors import Invalid
from projects.models import Invitation, Project, SignInLink, User
from projects.services import accounts, avatars, invitations, people, second_factor, tokens
from tests import make
from tests.conftest import api_of, signed_in
from tests.projects.test_people_second_factor import code_of, password, secret, who  # noqa: F401
from tests.projects.test_people_single_sign_on import come, provider, running  # noqa: F401

PASSWORD = "correct horse battery"


@pytest.fixture
def mail_server(settings: LazySettings) -> Iterator[None]:
    cache.clear()  # of allauth's own limits
    settings.EMAIL_URL = "smtp://mail.example"
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    yield
    cache.clear()


# The second factor ----------------------------------------------------------------------------


@pytest.mark.parametrize("dressed", ["{0} {1}", "{0}-{1}", " {0}{1} "])
def test_a_used_code_is_used_however_it_is_written(secret: str, dressed: str) -> None:  # noqa: F811
    """By another web process: what a process remembers of its own is not there."""
    one, other = Client(), Client()
    password(one)
    password(other)
    code = code_of(secret)
    assert one.post("/sign-in/code/", {"code": code}).status_code == 302
    cache.clear()
    other.post("/sign-in/code/", {"code": dressed.format(code[:3], code[3:])})
    assert who(other) == ""


def test_the_code_that_turned_it_on_signs_nobody_in(alice: User) -> None:
    client = Client()
    client.post("/sign-in/", {"username": "alice", "password": PASSWORD})
    client.post("/account/confirm/?next=/account/second-factor/on/", {"password": PASSWORD})
    client.get("/account/second-factor/on/")
    code = code_of(client.session["mfa.totp.secret"])
    client.post("/account/second-factor/on/", {"code": code})
    assert second_factor.is_on(alice)
    cache.clear()
    over_the_shoulder = Client()
    password(over_the_shoulder)
    over_the_shoulder.post("/sign-in/code/", {"code": code})
    assert who(over_the_shoulder) == ""


def test_half_a_sign_in_opens_nothing(secret: str, project: Project) -> None:  # noqa: F811
    """Pages, REST, MLflow, and neither turning the second factor off nor new codes."""
    client = Client()
    password(client)
    for address in ("/", f"/p/{project.slug}/", "/account/second-factor/recovery-codes/"):
        assert "/sign-in/" in client.get(address).headers["Location"]
    assert client.post("/account/second-factor/off/").status_code == 302
    assert client.get("/api/v1/projects/").status_code == 401
    assert client.get(f"/mlflow/{project.slug}/api/2.0/mlflow/experiments/list").status_code == 401
    assert Authenticator.objects.filter(type="totp").exists()


@pytest.mark.parametrize("header", ["Basic", "Bearer"])
def test_a_password_is_no_token(secret: str, project: Project, header: str) -> None:  # noqa: F811
    """Nor is it a way around the second factor."""
    for text in (f"alice:{PASSWORD}", PASSWORD):
        told = base64.b64encode(text.encode()).decode() if header == "Basic" else text
        for address in (
            "/api/v1/me/",
            f"/mlflow/{project.slug}/api/2.0/mlflow/experiments/list",
        ):
            answer = Client().get(address, headers={"Authorization": f"{header} {told}"})
            assert answer.status_code == 401, (address, text)


def test_single_sign_on_asks_for_the_code_too(provider: Any, alice: User) -> None:  # noqa: F811
    SocialAccount.objects.create(user=alice, provider="oidc", uid="0001")
    Authenticator.objects.create(
        user=alice,
        type="totp",
        data={"secret": second_factor.Adapter().encrypt("JBSWY3DPEHPK3PXP")},
    )
    other = Client()
    assert come(other).headers["Location"].startswith("/sign-in/code/")
    assert who(other) == ""


def test_who_is_shut_out_before_the_code_stays_out(secret: str, alice: User) -> None:  # noqa: F811
    client = Client()
    password(client)
    people.deactivate(user=alice, by=User.objects.create_superuser("root"))
    client.post("/sign-in/code/", {"code": code_of(secret)})
    assert who(client) == ""
    people.activate(user=alice, by=User.objects.get(username="root"))
    assert who(client) == ""  # nothing that was begun before goes on by itself


# Passwords ------------------------------------------------------------------------------------


def test_a_stolen_browser_guesses_the_password_no_longer_than_the_front_door(
    settings: LazySettings, alice: User
) -> None:
    settings.DISTILLHUB_GUESSES = 3
    client = signed_in(alice)
    new = {"password": "some other long words", "repeated": "some other long words"}
    for _ in range(3):
        page = client.post("/account/password/", {"old_password": "wrong", **new})
        assert "not your current password" in page.content.decode()
    page = client.post("/account/password/", {"old_password": PASSWORD, **new})
    assert "too many tries" in page.content.decode()
    alice.refresh_from_db()
    assert alice.check_password(PASSWORD)


def test_a_found_browser_sets_no_first_password_where_there_is_a_second_factor(db: None) -> None:
    user = User.objects.create_user("linked")
    key = second_factor.Adapter().encrypt("JBSWY3DPEHPK3PXP")
    Authenticator.objects.create(user=user, type="totp", data={"secret": key})
    new = {"password": "some other long words", "repeated": "some other long words"}
    answer = signed_in(user).post("/account/password/", new)
    assert answer.headers["Location"].startswith("/account/confirm/")
    assert not User.objects.get(pk=user.pk).has_usable_password()


def test_a_new_password_ends_the_links_that_were_sent_before(alice: User) -> None:
    link = accounts.make_sign_in_link(user=alice)
    accounts.change_password(user=alice, password="some other long words")
    answer = Client().get(f"/sign-in/link/{link}/")
    assert answer.status_code == 404
    assert not SignInLink.objects.filter(used_at=None).exists()


def test_a_password_by_mail_ends_other_browsers_and_asks_for_the_code(
    mail_server: None,
    secret: str,  # noqa: F811
    alice: User,
) -> None:
    thief = signed_in(alice)
    link = accounts.make_sign_in_link(user=alice)
    client = Client()
    client.post("/forgotten/", {"email": alice.email})
    address = mail.outbox[-1].body.partition("localhost:8000")[2].split()[0]
    form = client.get(address).headers["Location"]  # its secret leaves the address bar
    new = {"password1": "some other long words", "password2": "some other long words"}
    client.post(form, new)
    assert who(thief) == ""
    assert who(client) == ""
    assert Client().get(f"/sign-in/link/{link}/").status_code == 404
    assert Client().post(address, new).status_code in {200, 302}
    answer = client.post("/sign-in/", {"username": "alice", "password": new["password1"]})
    assert answer.headers["Location"] == "/sign-in/code/"
    again = Client().get(address)
    assert "some other" not in again.content.decode()
    assert again.status_code == 200  # "this link was used"


def test_the_forgetful_and_the_unknown_get_one_answer(mail_server: None, alice: User) -> None:
    known = Client().post("/forgotten/", {"email": alice.email})
    unknown = Client().post("/forgotten/", {"email": "nobody@example.org"})
    assert (known.status_code, known.headers["Location"]) == (
        unknown.status_code,
        unknown.headers["Location"],
    )
    assert [letter.to for letter in mail.outbox] == [[alice.email]]


# Letters --------------------------------------------------------------------------------------


def test_letters_name_our_site_whatever_host_is_asked(
    mail_server: None, settings: LazySettings, project: Project, alice: User
) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    evil = Client(headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example"})
    evil.post("/forgotten/", {"email": alice.email})
    evil.force_login(alice)
    address = f"/p/{project.slug}/settings/invitations/"
    evil.post(address, {"email": "nora@example.org", "role": "viewer"})
    evil.post("/account/", {"email": "alice@new.example", "time_zone": "UTC"})
    assert len(mail.outbox) == 3, [letter.subject for letter in mail.outbox]
    for letter in mail.outbox:
        assert "evil.example" not in letter.message().as_string()
        assert settings.SITE_URL in letter.body


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\u2028"])
def test_no_name_adds_a_line_to_the_head_of_a_letter(
    mail_server: None, project: Project, alice: User, end: str
) -> None:
    told = f"Alice{end}Bcc: everybody@example.org"
    User.objects.filter(pk=alice.pk).update(first_name=told)
    Project.objects.filter(pk=project.pk).update(name=f"p{end}Bcc: x@example.org")
    answer = api_of(User.objects.get(pk=alice.pk)).post(
        f"/api/v1/projects/{project.slug}/invitations/",
        {"email": "nora@example.org", "role": "viewer"},
    )
    assert answer.status_code == 201
    letter = mail.outbox[0].message()
    assert letter["Bcc"] is None
    assert mail.outbox[0].recipients() == ["nora@example.org"]


# Invitations ----------------------------------------------------------------------------------


def test_nobody_invites_above_what_they_are_or_into_what_is_not_theirs(
    project: Project, erin: User, alice: User, charlie: User
) -> None:
    theirs = make.project("theirs", owner=charlie)
    made, _ = invitations.invite(project=theirs, role="viewer", by=charlie)
    here = f"/api/v1/projects/{project.slug}/invitations/"
    for role in ("owner", "editor", "viewer"):
        assert api_of(erin).post(here, {"role": role}).status_code == 403
    assert api_of(alice).delete(f"{here}{made.pk}/").status_code == 404
    assert api_of(alice).post(f"{here}{made.pk}/renew/").status_code in {404, 405}
    page = f"/p/{project.slug}/settings/invitations/{made.pk}"
    for act in ("renew", "revoke"):
        assert signed_in(alice).post(f"{page}/{act}/").status_code == 404
    made.refresh_from_db()
    assert made.revoked_at is None
    assert Invitation.objects.count() == 1


def test_what_is_posted_beside_an_invitation_changes_nothing(
    project: Project, alice: User, charlie: User
) -> None:
    theirs = make.project("theirs", owner=charlie)
    _, link = invitations.invite(project=project, role="viewer", by=alice)
    assert link
    secret_ = link.rstrip("/").rpartition("/")[2]
    answer = api_of(charlie).post(
        "/api/v1/invitations/accept/",
        {"token": secret_, "role": "owner", "project": theirs.slug, "user": "alice"},
    )
    assert answer.status_code in {200, 201, 400}
    assert set(project.memberships.filter(user=charlie).values_list("role", flat=True)) <= {
        "viewer"
    }
    again = api_of(make.user("dora")).post("/api/v1/invitations/accept/", {"token": secret_})
    assert again.status_code == 404 or answer.status_code == 400


def test_a_project_s_own_account_never_comes_in(
    mail_server: None, project: Project, alice: User
) -> None:
    """It has no address, cannot be given one with its token, and no link is made for it."""
    _, raw = tokens.create_for_project(project=project, name="ci", by=alice)
    service = tokens.service_of(project)
    client = Client(headers={"Authorization": f"Bearer {raw}"})
    answer = client.patch(
        "/api/v1/me/", {"email": "thief@example.org"}, content_type="application/json"
    )
    assert answer.status_code == 403
    root = User.objects.create_superuser("root", password=PASSWORD)
    assert api_of(root).post(f"/api/v1/people/{service.username}/link/").status_code == 404
    Client().post("/forgotten/", {"email": "thief@example.org"})
    assert not mail.outbox
    service.refresh_from_db()
    assert service.email == ""


def test_no_token_moves_a_person_to_another_address(mail_server: None, alice: User) -> None:
    """Where a new password would be sent: a token ends one day, an account does not."""
    _, raw = accounts.create_token(user=alice, name="all")
    client = Client(headers={"Authorization": f"Bearer {raw}"})
    answer = client.patch(
        "/api/v1/me/", {"email": "thief@example.org"}, content_type="application/json"
    )
    assert answer.status_code == 403
    assert not mail.outbox
    kept = client.patch("/api/v1/me/", {"first_name": "Al"}, content_type="application/json")
    assert kept.json()["email"] == alice.email


# Pictures -------------------------------------------------------------------------------------


def _encoded(kind: str, size: tuple[int, int] = (40, 30)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, "red").save(out, kind)
    return out.getvalue()


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


@pytest.mark.parametrize(
    "attack",
    [
        SVG,
        b"\x89PNG\r\n\x1a\n" + SVG,
        b"GIF89a<script>alert(1)</script>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n",
        b"",
    ],
)
def test_what_is_no_picture_is_no_picture(alice: User, attack: bytes) -> None:
    with pytest.raises(Invalid):
        avatars.change(user=alice, file=io.BytesIO(attack))
    assert User.objects.get(pk=alice.pk).avatar == ""


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_nothing_but_the_picture_is_kept_of_a_polyglot(alice: User, kind: str) -> None:
    client = signed_in(alice)
    both = _encoded(kind) + SVG
    client.post("/account/picture/", {"avatar": SimpleUploadedFile("x.svg.html", both)})
    user = User.objects.get(pk=alice.pk)
    assert user.avatar
    with storage.open_blob(user.avatar) as stream:
        kept = stream.read()
    assert b"script" not in kept
    assert kept.startswith(b"\x89PNG")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_spoiled_picture_is_refused_and_never_a_fault_of_ours(alice: User, kind: str) -> None:
    whole, chance = _encoded(kind), random.Random(7)
    for n in range(120):
        spoiled = bytearray(whole)
        for _ in range(1 + n % 6):
            spoiled[chance.randrange(4, len(spoiled))] = chance.randrange(256)
        if n % 3 == 0:
            del spoiled[chance.randrange(8, len(spoiled)) :]
        try:
            avatars.change(user=alice, file=io.BytesIO(bytes(spoiled)))
        except Invalid:
            continue
