"""Who belongs to a project: adding, changing roles, removing, leaving."""

import pytest

from distillhub.lib.errors import Forbidden, Missing
from projects.models import Project, User
from projects.services import projects
from tests import make
from tests.conftest import api_of, signed_in

MEMBERS = "/api/v1/projects/intents/members/"


def roles(project: Project) -> dict[str, str]:
    return {m.user.username: m.role for m in project.memberships.select_related("user")}


@pytest.mark.parametrize("named", ["charlie", "charlie@example.org", " CHARLIE@example.org "])
def test_a_member_is_added_by_username_or_address(
    alice: User, charlie: User, project: Project, named: str
) -> None:
    form = {"email": named, "role": "editor"}
    page = signed_in(alice).post("/p/intents/settings/members/", form, follow=True)
    assert "charlie is a member now." in page.content.decode()
    assert roles(project)["charlie"] == "editor"


def test_nobody_of_that_name_is_said_at_the_field(alice: User, project: Project) -> None:
    form = {"email": "nobody@example.org", "role": "viewer"}
    page = signed_in(alice).post("/p/intents/settings/members/", form).content.decode()
    assert "Nobody here has this e-mail address or username." in page
    refused = api_of(alice).post(MEMBERS, {"email": ""})
    assert refused.status_code == 400
    assert list(refused.json()["fields"]) == ["email"]


def test_members_are_managed_through_rest(alice: User, charlie: User, project: Project) -> None:
    client = api_of(alice)
    made = client.post(MEMBERS, {"email": "charlie@example.org", "role": "viewer"})
    assert made.status_code == 201
    assert made.json()["username"] == "charlie"
    assert [m["username"] for m in client.get(MEMBERS).json()["results"]] == [
        "alice",
        "erin",
        "vera",
        "charlie",
    ]
    assert client.patch(f"{MEMBERS}charlie/", {"role": "editor"}).json()["role"] == "editor"
    assert client.get(f"{MEMBERS}charlie/").json()["role"] == "editor"
    assert client.delete(f"{MEMBERS}charlie/").status_code == 204
    assert "charlie" not in roles(project)


def test_adding_a_member_twice_is_a_conflict(alice: User, erin: User, project: Project) -> None:
    refused = api_of(alice).post(MEMBERS, {"email": "erin", "role": "owner"})
    assert (refused.status_code, refused.json()["code"]) == (409, "already_member")
    assert roles(project)["erin"] == "editor"


def test_editors_and_viewers_manage_nobody(
    erin: User, vera: User, charlie: User, project: Project
) -> None:
    before = roles(project)
    for person in (erin, vera):
        client = api_of(person)
        for refused in (
            client.post(MEMBERS, {"email": "charlie", "role": "owner"}),
            client.patch(f"{MEMBERS}{person.username}/", {"role": "owner"}),
            client.delete(f"{MEMBERS}alice/"),
        ):
            assert refused.status_code == 403
    assert roles(project) == before


def test_everybody_may_leave(vera: User, erin: User, project: Project) -> None:
    assert api_of(vera).delete(f"{MEMBERS}vera/").status_code == 204
    left = signed_in(erin).post("/p/intents/settings/members/erin/remove/")
    assert left.headers["Location"] == "/"
    assert roles(project) == {"alice": "owner"}


def test_the_last_owner_stays(alice: User, project: Project) -> None:
    client = api_of(alice)
    for refused in (
        client.delete(f"{MEMBERS}alice/"),
        client.patch(f"{MEMBERS}alice/", {"role": "editor"}),
    ):
        assert (refused.status_code, refused.json()["code"]) == (409, "last_owner")
    page = signed_in(alice).post("/p/intents/settings/members/alice/remove/", follow=True)
    assert "A project keeps at least one owner" in page.content.decode()
    assert roles(project)["alice"] == "owner"


def test_an_owner_may_go_when_another_stays(alice: User, erin: User, project: Project) -> None:
    signed_in(alice).post("/p/intents/settings/members/erin/role/", {"role": "owner"})
    assert api_of(alice).delete(f"{MEMBERS}alice/").status_code == 204
    assert roles(project) == {"erin": "owner", "vera": "viewer"}


def test_a_role_that_is_none_is_refused(alice: User, project: Project) -> None:
    assert api_of(alice).patch(f"{MEMBERS}vera/", {"role": "admin"}).status_code == 400
    page = signed_in(alice).post(
        "/p/intents/settings/members/vera/role/", {"role": "admin"}, follow=True
    )
    assert "The role is viewer, editor or owner." in page.content.decode()
    assert roles(project)["vera"] == "viewer"


def test_members_of_other_projects_are_not_reached(
    alice: User, charlie: User, project: Project
) -> None:
    make.project("theirs", owner=charlie)
    for refused in (
        api_of(alice).patch(f"{MEMBERS}charlie/", {"role": "viewer"}),
        api_of(alice).delete(f"{MEMBERS}charlie/"),
        signed_in(alice).post("/p/intents/settings/members/charlie/remove/"),
    ):
        assert refused.status_code == 404


def test_the_service_itself_lets_only_owners_remove_others(
    erin: User, vera: User, charlie: User, project: Project
) -> None:
    with pytest.raises(Forbidden):
        projects.remove_member(project=project, user=vera, by=erin)
    with pytest.raises(Missing):
        projects.remove_member(project=project, user=charlie, by=erin)


def test_names_of_members_show_as_text(alice: User, vera: User, project: Project) -> None:
    vera.first_name = '"><img src=x onerror=alert(1)>'
    vera.save()
    page = signed_in(alice).get("/p/intents/settings/").content.decode()
    assert "<img src=x" not in page
