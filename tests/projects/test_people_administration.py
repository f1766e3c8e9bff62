"""Administrators look after people; who is shut out is out at once; pictures; browsers."""

import io

import pytest
from allauth.mfa.models import Authenticator
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from PIL import Image

from projects.models import ApiToken, AuditEntry, Project, User
from projects.services import accounts, invitations, people
from tests import make
from tests.conftest import api_of, signed_in

PASSWORD = "correct horse battery"


@pytest.fixture
def root(db: None) -> User:
    user = make.user("root")
    user.is_superuser = user.is_staff = True
    user.save()
    return user


def who(client: Client) -> str:
    return str(client.get("/api/v1/me/").json().get("username", ""))


def by_password(user: User, **more: str) -> Client:
    client = Client(**more)  # type: ignore[arg-type]
    client.post("/sign-in/", {"username": user.username, "password": PASSWORD})
    return client


def test_everybody_is_listed_and_found_with_few_queries(
    root: User, project: Project, django_assert_max_num_queries: object
) -> None:
    for _ in range(20):
        make.user()
    User.objects.create_user("robot", is_service=True)
    client = signed_in(root)
    with django_assert_max_num_queries(12):  # type: ignore[operator]
        page = client.get("/people/").content.decode()
    assert page.count("data-person") == 24
    assert "robot" not in page
    assert 'data-person="erin"' in client.get("/people/?q=ERIN@").content.decode()
    assert "Nobody found" in client.get("/people/?q=zzz").content.decode()


def test_only_administrators_see_it(alice: User) -> None:
    assert signed_in(alice).get("/people/").status_code == 403
    assert api_of(alice).get("/api/v1/people/").status_code == 403
    assert "People" not in signed_in(alice).get("/").content.decode().partition("Everywhere")[2]


def test_who_is_shut_out_is_out_at_once(
    root: User, project: Project, alice: User, erin: User
) -> None:
    browser = by_password(erin)
    _, raw = accounts.create_token(user=erin, name="mine")
    bearer = {"Authorization": f"Bearer {raw}"}
    link = accounts.make_sign_in_link(user=erin)
    assert who(browser) == "erin"
    assert Client().get("/api/v1/me/", headers=bearer).status_code == 200

    answer = api_of(root).patch("/api/v1/people/erin/", {"is_active": False})
    assert answer.json()["is_active"] is False
    assert who(browser) == ""
    assert Client().get("/api/v1/me/", headers=bearer).status_code == 401
    assert Client().get(f"/sign-in/link/{link}/").status_code == 404
    assert who(by_password(erin)) == ""

    api_of(root).patch("/api/v1/people/erin/", {"is_active": True})
    assert who(browser) == ""  # what ended stays ended
    assert Client().get("/api/v1/me/", headers=bearer).status_code == 401
    assert ApiToken.objects.usable().count() == 0
    assert who(by_password(erin)) == "erin"
    told = list(AuditEntry.objects.filter(subject="erin").values_list("action", flat=True))
    assert {"person.deactivate", "person.activate"} <= set(told)


def test_who_leaves_a_project_loses_pages_rest_and_invitations_at_once(
    project: Project, alice: User, erin: User
) -> None:
    from projects.services import projects

    projects.change_role(project=project, user=erin, role="owner", by=alice)
    _, link = invitations.invite(project=project, role="viewer", by=erin)
    browser = by_password(erin)
    _, raw = accounts.create_token(user=erin, name="mine")
    rest = f"/api/v1/projects/{project.slug}/"
    bearer = {"Authorization": f"Bearer {raw}"}
    assert browser.get(f"/p/{project.slug}/").status_code == 200
    projects.remove_member(project=project, user=erin, by=alice)
    assert browser.get(f"/p/{project.slug}/").status_code == 404
    assert Client().get(rest, headers=bearer).status_code == 404
    assert link
    assert Client().get("/invitations/" + link.split("/")[-2] + "/").status_code == 404


def test_an_installation_keeps_an_administrator_and_nobody_shuts_themselves_out(
    root: User, alice: User
) -> None:
    api = api_of(root)
    for change in ({"is_active": False}, {"is_administrator": False}):
        assert api.patch("/api/v1/people/root/", change).json()["code"] == "yourself"
    api.patch("/api/v1/people/alice/", {"is_administrator": True})
    alice.refresh_from_db()
    assert alice.is_staff
    people.make_ordinary(user=root, by=alice)
    with pytest.raises(people.LastAdministrator):
        people.deactivate(user=alice, by=User.objects.create_superuser("ghost", is_active=False))


def test_an_administrator_makes_people_who_come_by_a_link(root: User) -> None:
    page = signed_in(root).post("/people/", {"username": "nora", "email": ""})
    assert page.headers["Cache-Control"] == "no-store"
    assert "/sign-in/link/" in page.content.decode()
    made = api_of(root).post("/api/v1/people/", {"username": "otto", "email": "otto@example.org"})
    assert made.status_code == 201
    client = Client()
    client.get(
        made.json()["link"].partition("/sign-in")[1] + made.json()["link"].split("/sign-in")[1]
    )
    assert who(client) == "otto"
    taken = api_of(root).post("/api/v1/people/", {"username": "OTTO"})
    assert taken.status_code == 400
    assert taken.json()["fields"]["username"]


def test_a_second_factor_is_reset_for_who_lost_it(root: User, alice: User) -> None:
    Authenticator.objects.create(user=alice, type="totp", data={"secret": "x"})
    assert api_of(root).get("/api/v1/people/alice/").json()["second_factor"] is True
    signed_in(root).post("/people/alice/second-factor/")
    assert not Authenticator.objects.exists()
    assert AuditEntry.objects.filter(action="person.reset_second_factor", subject="alice").exists()


def test_mass_assignment_changes_nobody(root: User, alice: User) -> None:
    api_of(alice).patch("/api/v1/me/", {"is_superuser": True, "is_administrator": True})
    made = api_of(root).post("/api/v1/people/", {"username": "nora", "is_superuser": True})
    assert made.json()["is_administrator"] is False
    alice.refresh_from_db()
    assert not alice.is_superuser


# Browsers -----------------------------------------------------------------------------------------


def test_a_person_sees_and_ends_where_they_are_signed_in(alice: User, erin: User) -> None:
    firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
    here, there = by_password(alice), by_password(alice, HTTP_USER_AGENT=firefox)
    theirs = by_password(erin)
    page = here.get("/account/browsers/").content.decode()
    assert "Firefox on Linux" in page
    assert page.count("this one") == 1
    listed = here.get("/api/v1/me/sessions/").json()["results"]
    assert [one["current"] for one in listed] == [True, False]
    foreign = theirs.get("/api/v1/me/sessions/").json()["results"][0]["id"]
    assert here.post(f"/account/browsers/{foreign}/end/").status_code == 404
    here.post(f"/account/browsers/{listed[1]['id']}/end/")
    assert (who(here), who(there), who(theirs)) == ("alice", "", "erin")
    another = by_password(alice)
    here.post("/account/browsers/end-others/")
    assert (who(here), who(another)) == ("alice", "")


def test_a_changed_password_keeps_this_browser_in_the_list(alice: User) -> None:
    here, there = by_password(alice), by_password(alice)
    words = {"password": "another few words", "repeated": "another few words"}
    here.post("/account/password/", {"old_password": PASSWORD, **words})
    assert (who(here), who(there)) == ("alice", "")
    assert len(here.get("/api/v1/me/sessions/").json()["results"]) == 1


def test_a_token_that_asks_is_no_browser(alice: User) -> None:
    _, raw = accounts.create_token(user=alice, name="mine")
    bearer = {"Authorization": f"Bearer {raw}"}
    answer = Client().get("/api/v1/me/sessions/", headers=bearer)
    assert answer.json()["results"] == []
    assert "Set-Cookie" not in answer.headers
    browser = by_password(alice)
    assert Client().delete("/api/v1/me/sessions/", headers=bearer).status_code == 204
    assert who(browser) == ""


# Pictures -----------------------------------------------------------------------------------------


def picture(kind: str = "JPEG", size: tuple[int, int] = (640, 320)) -> SimpleUploadedFile:
    out = io.BytesIO()
    image = Image.new("RGB", size, "teal")
    exif = Image.Exif()
    exif[0x010E] = "where I live"
    image.save(out, kind, exif=exif)
    return SimpleUploadedFile("me.jpg", out.getvalue())


def test_a_picture_is_drawn_anew_as_a_square(alice: User, charlie: User) -> None:
    client = signed_in(alice)
    client.post("/account/picture/", {"avatar": picture()})
    answer = signed_in(charlie).get("/people/alice/picture/")
    assert answer.headers["Content-Type"] == "image/png"
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    with Image.open(io.BytesIO(answer.content)) as shown:
        assert (shown.format, shown.size) == ("PNG", (256, 256))
        assert not shown.info.get("exif")
    assert b"where I live" not in answer.content
    assert "/people/alice/picture/?v=" in client.get("/account/").content.decode()
    assert Client().get("/people/alice/picture/").status_code == 302
    client.post("/account/picture/remove/")
    assert client.get("/people/alice/picture/").status_code == 404


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no picture",
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"\x89PNG\r\n\x1a\n" + b"\x00" * 40,
        b"GIF89a<script>alert(1)</script>",
    ],
    ids=["empty", "words", "svg", "cut png", "gif with words"],
)
def test_what_is_no_picture_is_refused(alice: User, content: bytes) -> None:
    client = signed_in(alice)
    client.post("/account/picture/", {"avatar": SimpleUploadedFile("me.png", content)})
    alice.refresh_from_db()
    assert alice.avatar == ""


def test_a_bomb_is_refused_before_it_is_decoded(alice: User) -> None:
    out = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(out, "PNG")
    bomb = SimpleUploadedFile("me.png", out.getvalue())
    answer = api_of(alice).put("/api/v1/me/picture/", {"avatar": bomb}, format="multipart")
    assert answer.status_code == 400
    alice.refresh_from_db()
    assert alice.avatar == ""


def test_through_rest_as_well(alice: User) -> None:
    api = api_of(alice)
    assert (
        api.put("/api/v1/me/picture/", {"avatar": picture("PNG")}, format="multipart").status_code
        == 204
    )
    answer = api.get("/api/v1/people/alice/picture/")
    assert answer.headers["ETag"]
    assert api.delete("/api/v1/me/picture/").status_code == 204
    assert api.get("/api/v1/people/alice/picture/").status_code == 404
