"""Runs that are put away, coloured, tagged, cancelled and deleted, one by one and many at once."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from projects.models import Project, User
from tests import make
from tests.conftest import api_of, signed_in
from training.charts import run_colours
from training.models import Run
from training.services import runs

RED = run_colours.LIGHT[2]


@pytest.fixture
def many(project: Project) -> list[Run]:
    """Three that are over, of which the first has a control, and one in training."""
    data, student = make.dataset_version(project), make.model_version(project)
    shared = {"dataset_version": data, "student": student}
    first = make.run(project, number=1, status="finished", **shared)
    make.run(project, number=2, status="finished", control_of=first, **shared)
    make.run(project, number=3, status="failed", tags=["old"], **shared)
    make.run(project, number=4, status="training", **shared)
    return list(project.runs.order_by("number"))


@pytest.fixture
def api(erin: User) -> APIClient:
    return api_of(erin)


def listed(api: APIClient, project: Project, query: str = "") -> list[int]:
    answer = api.get(f"/api/v1/projects/{project.slug}/runs/?order=number{query}")
    assert answer.status_code == 200, answer.json()
    return [run["number"] for run in answer.json()["results"]]


def bulk(api: APIClient, project: Project, **asked: Any) -> dict[str, Any]:
    answer = api.post(f"/api/v1/projects/{project.slug}/runs/bulk/", asked, format="json")
    return {"status": answer.status_code, **answer.json()}


def test_what_is_put_away_is_in_no_list_unless_asked(
    api: APIClient, project: Project, many: list[Run], erin: User
) -> None:
    address = f"/api/v1/projects/{project.slug}/runs/1/"
    answer = api.patch(address, {"archived": True}, format="json")
    assert answer.json()["archived_at"] is not None
    assert listed(api, project) == [3, 4]  # its control went with it
    assert listed(api, project, "&archived=only") == [1, 2]
    assert listed(api, project, "&archived=all") == [1, 2, 3, 4]
    assert listed(api, project, "&archived=only&status=failed") == []
    assert api.get(f"/api/v1/projects/{project.slug}/runs/?archived=x").status_code == 400
    pages = signed_in(erin)
    table = pages.get(f"/p/{project.slug}/runs/").content.decode()
    assert 'id="run-3"' in table
    assert 'id="run-1"' not in table
    assert 'All <span class="faint num">2</span>' in table
    table = pages.get(f"/p/{project.slug}/runs/?archived=only").content.decode()
    assert 'id="run-1"' in table
    assert 'id="run-3"' not in table
    assert "run 1" not in pages.get("/").content.decode()
    assert api.patch(address, {"archived": False}, format="json").json()["archived_at"] is None
    assert listed(api, project) == [1, 2, 3, 4]


def test_what_goes_on_is_not_put_away_and_what_is_resumed_comes_back(
    api: APIClient, project: Project, many: list[Run], alice: User
) -> None:
    answer = api.patch(
        f"/api/v1/projects/{project.slug}/runs/4/", {"archived": True}, format="json"
    )
    assert (answer.status_code, answer.json()["code"]) == (409, "not_over")
    third = many[2]
    runs.archive(run=third, by=alice)
    runs.retry(run=third, by=alice)
    assert third.archived_at is None
    assert listed(api, project) == [1, 2, 3, 4]


def test_a_chosen_colour_is_one_of_the_twenty_and_charts_use_it(
    api: APIClient, project: Project, many: list[Run], erin: User
) -> None:
    address = f"/api/v1/projects/{project.slug}/runs/1/"
    for wrong in ("red", "#123456", "#12"):
        refused = api.patch(address, {"colour": wrong}, format="json")
        assert refused.status_code == 400
        assert "colour" in refused.json()["fields"]
    assert api.patch(address, {"colour": RED.upper()}, format="json").json()["colour"] == RED
    page = signed_in(erin).get(f"/p/{project.slug}/compare/?runs=1,3").content.decode()
    assert "color:var(--run-3)" in page
    assert "color:var(--run-1)" not in page
    # Run 3 would have had it by its number.
    looks = run_colours.of({1: RED, 3: ""})
    assert (looks[1].tone, looks[3].tone) == ("run-3", "run-4")
    assert api.patch(address, {"colour": ""}, format="json").json()["colour"] == ""


def test_runs_with_one_chosen_colour_have_dashes_apart() -> None:
    looks = run_colours.of({1: RED, 2: RED, 3: "", 4: RED})
    assert [looks[number].tone for number in (1, 2, 4)] == ["run-3"] * 3
    assert [looks[number].dash for number in (1, 2, 4)] == ["solid", "dash", "dot"]
    whole = {number: run_colours.LIGHT[number % 3] if number % 2 else "" for number in range(30)}
    found = run_colours.of(whole)
    assert len({(look.tone, look.dash) for look in found.values()}) == 30


def test_many_are_changed_at_once_and_each_refusal_is_told(
    api: APIClient, project: Project, many: list[Run]
) -> None:
    said = bulk(api, project, runs=[1, 4, 9], action="archive")
    assert (said["status"], said["done"]) == (200, [1])
    assert {one["run"]: one["code"] for one in said["refused"]} == {4: "not_over", 9: "not_found"}
    assert bulk(api, project, runs=[1], action="restore")["done"] == [1]
    assert bulk(api, project, runs=[1, 3], action="tag", value=" new ")["done"] == [1, 3]
    assert bulk(api, project, runs=[1, 3], action="untag", value="old")["done"] == [1, 3]
    assert bulk(api, project, runs=[1, 3], action="colour", value=RED)["done"] == [1, 3]
    assert [(run.tags, run.colour) for run in project.runs.filter(number__in=[1, 3])] == [
        (["new"], RED)
    ] * 2
    said = bulk(api, project, runs=[3, 4], action="cancel")
    assert (said["done"], said["refused"][0]["run"]) == ([4], 3)


def test_owners_alone_delete_and_a_control_goes_with_its_run(
    api: APIClient, project: Project, many: list[Run], alice: User, erin: User
) -> None:
    assert bulk(api, project, runs=[1], action="delete")["status"] == 403
    signed_in(erin).post(f"/p/{project.slug}/runs/bulk/", {"runs": "1", "action": "delete"})
    assert project.runs.count() == 4
    said = bulk(api_of(alice), project, runs=[1, 2, 4], action="delete")
    assert said["done"] == [1, 2]
    assert [one["run"] for one in said["refused"]] == [4]
    assert [run.number for run in project.runs.order_by("number")] == [3, 4]


@pytest.mark.parametrize(
    "asked",
    [
        {"runs": [], "action": "archive"},
        {"runs": list(range(1, 502)), "action": "archive"},
        {"runs": [1], "action": "explode"},
        {"runs": [1], "action": "tag"},
        {"runs": [1], "action": "tag", "value": "x" * 51},
        {"runs": [1], "action": "colour", "value": "red"},
        {"runs": ["one"], "action": "archive"},
        {"action": "archive"},
    ],
)
def test_what_makes_no_sense_is_refused(
    api: APIClient, project: Project, many: list[Run], asked: dict[str, Any]
) -> None:
    assert bulk(api, project, **asked)["status"] == 400
    assert not project.runs.exclude(archived_at=None).exists()


def test_the_table_changes_what_was_chosen_and_stays_as_it_was(
    project: Project, many: list[Run], erin: User
) -> None:
    pages = signed_in(erin)
    sent = {"runs": "3,4", "action": "archive", "back": "status=failed&q=x"}
    answer = pages.post(f"/p/{project.slug}/runs/bulk/", sent)
    assert answer.headers["Location"] == f"/p/{project.slug}/runs/?status=failed&q=x"
    said = pages.get(f"/p/{project.slug}/runs/").content.decode()
    assert "1 run archived." in said
    assert "Run 4 is training; cancel it, or wait for its end." in said
    away = {"runs": "3", "action": "tag", "value": "t", "back": "//evil.example/?x"}
    moved = pages.post(f"/p/{project.slug}/runs/bulk/", away)
    assert moved.headers["Location"].startswith(f"/p/{project.slug}/runs/?")
    assert pages.post(f"/p/{project.slug}/runs/3/restore/").status_code == 302
    assert Run.objects.get(number=3).archived_at is None
