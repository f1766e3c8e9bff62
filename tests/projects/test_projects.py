"""Making, changing, archiving projects, on pages and through REST."""

import pytest
from django.urls import reverse

from projects.models import Membership, Project, User
from projects.services import projects
from tests import make
from tests.conftest import api_of, signed_in


def test_who_makes_a_project_owns_it(alice: User) -> None:
    response = signed_in(alice).post("/projects/new/", {"name": "Support intents"})
    assert response.headers["Location"] == "/p/support-intents/"
    project = Project.objects.get()
    assert project.created_by == alice
    assert project.memberships.get().role == "owner"


def test_projects_of_one_name_get_addresses_of_their_own(alice: User, charlie: User) -> None:
    slugs = [projects.create(name="Café ☕", by=person).slug for person in (alice, charlie)]
    assert slugs == ["cafe", "cafe-2"]
    assert projects.create(name="日本語", by=alice).slug == "project"


def test_a_project_is_made_read_changed_and_archived_through_rest(alice: User) -> None:
    client = api_of(alice)
    made = client.post("/api/v1/projects/", {"name": "Intents", "description": "of messages"})
    assert made.status_code == 201
    body = made.json()
    assert (body["slug"], body["role"], body["created_by"]) == ("intents", "owner", "alice")
    assert client.get("/api/v1/projects/intents/").json() == body

    changed = client.patch("/api/v1/projects/intents/", {"name": "Intents 2"}).json()
    assert (changed["name"], changed["description"]) == ("Intents 2", "of messages")

    assert client.delete("/api/v1/projects/intents/").status_code == 204
    assert client.get("/api/v1/projects/").json()["results"] == []
    [archived] = client.get("/api/v1/projects/?archived=true").json()["results"]
    assert archived["archived_at"] is not None
    restored = client.patch("/api/v1/projects/intents/", {"archived": False}).json()
    assert restored["archived_at"] is None


def test_an_archived_project_is_read_but_not_changed(alice: User, project: Project) -> None:
    client = api_of(alice)
    client.delete("/api/v1/projects/intents/")
    assert client.get("/api/v1/projects/intents/members/").status_code == 200
    refused = client.post("/api/v1/projects/intents/members/", {"email": "erin"})
    assert refused.status_code == 409
    assert refused.json()["code"] == "archived"
    page = signed_in(alice).get("/p/intents/settings/").content.decode()
    assert "This project is archived." in page
    assert signed_in(alice).post("/p/intents/settings/", {"name": "x"}).status_code == 409
    signed_in(alice).post("/p/intents/settings/restore/")
    project.refresh_from_db()
    assert project.archived_at is None


def test_the_list_shows_my_projects_with_my_role(
    vera: User, project: Project, charlie: User
) -> None:
    make.project("secret", owner=charlie)
    [mine] = api_of(vera).get("/api/v1/projects/").json()["results"]
    assert (mine["slug"], mine["role"]) == ("intents", "viewer")
    me = api_of(vera).get("/api/v1/me/").json()
    assert me["projects"] == [{"slug": "intents", "name": "intents", "role": "viewer"}]


def test_a_list_takes_few_queries_however_long(
    alice: User,
    django_assert_max_num_queries: object,
) -> None:
    for _ in range(20):
        make.project(owner=alice)
    with django_assert_max_num_queries(4):  # type: ignore[operator]
        assert len(api_of(alice).get("/api/v1/projects/").json()["results"]) == 20


def test_a_list_is_walked_page_by_page(alice: User) -> None:
    names = [make.project(owner=alice).slug for _ in range(5)]
    client, seen, address = api_of(alice), [], "/api/v1/projects/?limit=2"
    while address:
        page = client.get(address).json()
        assert set(page) == {"results", "next", "previous"}
        seen += [row["slug"] for row in page["results"]]
        address = page["next"]
    assert seen == names[::-1]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "   "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "a", "description": "x" * 2001}, "description"),
        ({"name": ["a"]}, "name"),
        ({}, "name"),
    ],
)
def test_a_bad_project_is_refused_at_its_field(
    alice: User, body: dict[str, object], field: str
) -> None:
    refused = api_of(alice).post("/api/v1/projects/", body)
    assert refused.status_code == 400
    assert list(refused.json()["fields"]) == [field]
    assert Project.objects.count() == 0


def test_a_bad_project_is_refused_on_the_page_at_its_field(alice: User) -> None:
    page = signed_in(alice).post("/projects/new/", {"name": " "}).content.decode()
    assert "field-error" in page
    assert Project.objects.count() == 0


def test_nobody_sets_what_is_not_theirs_to_set(alice: User, charlie: User) -> None:
    body = {"name": "a", "slug": "taken", "created_by": "charlie", "role": "viewer", "id": 77}
    made = api_of(alice).post("/api/v1/projects/", body).json()
    assert (made["slug"], made["created_by"], made["role"]) == ("a", "alice", "owner")


def test_viewers_read_the_settings_and_change_nothing(vera: User, project: Project) -> None:
    client = signed_in(vera)
    page = client.get(reverse("projects:project_settings", args=["intents"])).content.decode()
    assert "Your role" in page
    assert "Add member" not in page
    assert client.post("/p/intents/settings/", {"name": "mine"}).status_code == 403


def test_the_owner_renames_and_the_address_stays(alice: User, project: Project) -> None:
    form = {"name": "Other", "description": "Now described."}
    page = signed_in(alice).post("/p/intents/settings/", form, follow=True).content.decode()
    assert "The project is saved." in page
    project.refresh_from_db()
    assert (project.name, project.slug) == ("Other", "intents")


def test_a_stranger_gets_404_for_a_project(charlie: User, project: Project) -> None:
    assert signed_in(charlie).get("/p/intents/settings/").status_code == 404
    refused = api_of(charlie).get("/api/v1/projects/intents/")
    assert refused.status_code == 404
    assert refused.json()["code"] == "not_found"
    nowhere = api_of(charlie).get("/api/v1/projects/nowhere/")
    assert nowhere.json() == refused.json()


def test_a_removed_member_loses_access_at_once(vera: User, project: Project) -> None:
    client = api_of(vera)
    assert client.get("/api/v1/projects/intents/").status_code == 200
    Membership.objects.filter(user=vera).delete()
    assert client.get("/api/v1/projects/intents/").status_code == 404
