"""Names of things: each has a page where it is said to be, is found by its name, and is let go."""

import pytest
from django.urls import reverse

from distillhub.lib.errors import Missing
from projects.models import Favourite, Project, User
from projects.services import favourites, subjects
from tests import make
from tests.conftest import api_of, signed_in
from training.models import Report, Run, Study
from training.services import runs, studies

PAGES: dict[str, tuple[str, list[str | int], str]] = {
    "project": ("training:project_overview", [], ""),
    "run": ("training:run_detail", [12], "12"),
    "study": ("training:study_detail", [3], "3"),
    "dataset": ("projects:dataset_detail", ["my data"], "my data"),
    "dataset_version": ("projects:dataset_version", ["my data", 3], "my data@3"),
    "model": ("training:model_detail", ["small"], "small"),
    "model_version": ("training:model_version", ["small", 2], "small@2"),
    "monitor": ("training:monitor_health", ["live"], "live"),
    "incident": ("training:incident_detail", [4], "4"),
    "retraining": ("training:retraining_detail", [5], "5"),
    "report": ("training:report_detail", [6], "6"),
    "review": ("projects:review_detail", [7], "7"),
    "import": ("training:import_detail", [8], "8"),
    "member": ("projects:project_settings", [], "vera"),
}


def test_every_kind_has_its_page() -> None:
    assert set(PAGES) == set(subjects.PLACES)
    for kind, (name, values, reference) in PAGES.items():
        made = subjects.path(slug="intents", kind=kind, reference=reference)
        assert made == reverse(name, args=["intents", *values])
    assert subjects.path(slug="intents", kind="anything", reference="x") == "/p/intents/"
    assert subjects.path(slug="intents", kind="model_version", reference="odd") == "/p/intents/"


@pytest.fixture
def one_of_each(project: Project, alice: User) -> dict[str, str]:
    run = make.run(project, number=1, name="small")
    Study.objects.create(
        project=project, number=1, kind="seeds", name="sure", asked={}, created_by=alice
    )
    Report.objects.create(project=project, number=1, title="told", body="", created_by=alice)
    data, version = make.dataset_version(project, "intents"), make.model_version(project, "tiny")
    monitor = make.monitor(version, name="live")
    make.incident(monitor)
    make.retraining(monitor)
    assert run.number == 1
    return {
        **dict.fromkeys(("run", "study", "report", "incident", "retraining"), "1"),
        "project": "",
        "dataset": "intents",
        "dataset_version": data.reference,
        "model": "tiny",
        "model_version": version.reference,
        "monitor": "live",
    }


def test_each_is_found_in_its_project_alone(
    project: Project, alice: User, one_of_each: dict[str, str]
) -> None:
    other = make.project("elsewhere", owner=alice)
    for kind, reference in one_of_each.items():
        found = subjects.find(project=project, kind=kind, reference=reference)
        assert found.title
        if kind != "project":
            with pytest.raises(Missing):
                subjects.find(project=other, kind=kind, reference=reference)
    for kind in ("run", "study", "dataset", "model", "monitor"):
        mine = subjects.people_of(project=project, kind=kind, reference=one_of_each[kind])
        assert mine == {alice.pk}


def test_a_star_keeps_what_a_page_is_about(
    project: Project, vera: User, one_of_each: dict[str, str]
) -> None:
    pages = signed_in(vera)
    address = f"/p/{project.slug}/star/"
    for kind in subjects.KEPT:
        sent = {"subject": f"{kind}/{one_of_each[kind]}"}
        answer = pages.post(address, sent, headers={"HX-Request": "true"}).content.decode()
        assert 'aria-pressed="true"' in answer
        pages.post(address, sent)  # twice is once
    assert Favourite.objects.filter(user=vera).count() == len(subjects.KEPT)
    home = pages.get("/").content.decode()
    assert 'title="small, intents"' in home
    run_page = pages.get(f"/p/{project.slug}/runs/1/").content.decode()
    assert 'class="btn btn-icon btn-quiet star is-on"' in run_page
    pages.post(address, {"subject": "run/1", "on": "false"})
    run_page = pages.get(f"/p/{project.slug}/runs/1/").content.decode()
    assert "star is-on" not in run_page


def test_favourites_are_a_persons_own_and_end_with_their_membership(
    project: Project, alice: User, vera: User, charlie: User, one_of_each: dict[str, str]
) -> None:
    api = api_of(vera)
    made = api.post("/api/v1/favourites/", {"project": project.slug, "subject": "run/1"})
    assert made.status_code == 201
    assert made.json()["title"] == "small"
    mine = f"/api/v1/favourites/{made.json()['id']}/"
    assert api_of(alice).delete(mine).status_code == 404
    asked = {"project": project.slug, "subject": "run/1"}
    assert api_of(charlie).post("/api/v1/favourites/", asked).status_code == 404
    again = {"project": project.slug, "subject": "run/9"}
    assert api.post("/api/v1/favourites/", again).status_code == 404
    runs.edit(run=Run.objects.get(number=1), name="renamed", by=alice)
    studies.edit(study=Study.objects.get(number=1), name="surer")
    [one] = api.get("/api/v1/favourites/").json()["results"]
    assert (one["subject"], one["title"]) == ("run/1", "renamed")
    assert [kept.title for kept in favourites.at_hand(user=vera).favourites] == ["renamed"]
    api_of(alice).delete(f"/api/v1/projects/{project.slug}/members/vera/")
    assert not Favourite.objects.filter(user=vera).exists()


def test_what_every_page_shows_is_one_query(
    project: Project,
    vera: User,
    one_of_each: dict[str, str],
    django_assert_max_num_queries: object,
) -> None:
    for kind in subjects.KEPT:
        subject = subjects.find(project=project, kind=kind, reference=one_of_each[kind])
        favourites.add(user=vera, project=project, subject=subject)
    with django_assert_max_num_queries(1):  # type: ignore[operator]
        found = favourites.at_hand(user=vera)
    assert [one.kind for one in found.favourites] == list(reversed(subjects.KEPT))
    assert [one.slug for one in found.projects] == ["intents"]
