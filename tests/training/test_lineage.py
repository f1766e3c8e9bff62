"""Where a version comes from, back to the rows, and what came of it."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from projects.models import DatasetVersion, ModelVersion, Project, User
from tests import make
from tests.conftest import api_of, signed_in
from training.charts import lineage as drawing
from training.models import Run

pytestmark = pytest.mark.django_db

MADE_WITH = {"python": "3.11.2", "torch": "2.13.0", "distillhub": "0.6.0", "code": "0" * 16}


@pytest.fixture
def story(project: Project) -> ModelVersion:
    """Rows that were filtered, a teacher that was trained on them, a student that it taught, and
    what was made of the student."""
    raw = make.dataset_version(project, "tickets", source_name="tickets.csv")
    clean = make.dataset_version(
        project,
        "tickets",
        parent=raw,
        operation={"operation": "filter", "told": "Kept short rows", "options": {}, "others": []},
    )
    big = make.model_version(project, "big", role="teacher", architecture="bert")
    make.run(
        project, dataset_version=clean, student=big, status="finished", output=_left(project, "big")
    )
    taught = make.model_version(project, "small")
    small = _left(project, "small")
    run = make.run(
        project,
        dataset_version=clean,
        student=taught,
        status="finished",
        output=small,
        summary={"made_with": MADE_WITH},
    )
    run.teachers.add(ModelVersion.objects.get(model__name="big", number=2))
    make.export(small, clean)
    later = make.run(project, dataset_version=clean, student=make.model_version(project, "tiny"))
    later.teachers.add(small)
    make.model_version(project, "cut", source={"kind": "derived", "from": "small@2"})
    return small


def _left(project: Project, name: str) -> ModelVersion:
    run = project.runs.count() + 1
    file = {"name": "model.safetensors", "sha256": "0" * 64, "bytes": 1}
    return make.model_version(
        project, name, source={"kind": "run", "run": run}, files=[file], labels=["no", "yes"]
    )


def _graph(user: User, name: str = "small", number: int = 2) -> dict[str, Any]:
    answer = api_of(user).get(f"/api/v1/projects/intents/models/{name}/versions/{number}/lineage/")
    assert answer.status_code == 200, answer.json()
    found: dict[str, Any] = answer.json()
    return found


def test_a_version_leads_back_to_its_rows_and_on_to_what_came_of_it(
    story: ModelVersion, vera: User
) -> None:
    graph = _graph(vera)
    edges = {(one["from"], one["to"], one["as"]) for one in graph["edges"]}
    export = story.exports.get()
    assert edges == {
        ("tickets@1", "tickets@2", "filter"),
        ("tickets@2", "run/1", "dataset"),
        ("big@1", "run/1", "student"),
        ("run/1", "big@2", "output"),
        ("tickets@2", "run/2", "dataset"),
        ("small@1", "run/2", "student"),
        ("big@2", "run/2", "teacher"),
        ("run/2", "small@2", "output"),
        ("small@2", f"export/{export.pk}", "export"),
        ("small@2", "run/3", "teacher"),
        ("small@2", "cut@1", "weights"),
    }
    nodes = {one["id"]: one for one in graph["nodes"]}
    assert {one for pair in edges for one in pair[:2]} == set(nodes)
    assert nodes["tickets@1"]["fingerprint"] == "f" * 64
    assert nodes["tickets@2"]["told"] == "Kept short rows"
    assert nodes["run/2"]["made_with"] == MADE_WITH
    assert len(nodes["run/2"]["configuration"]) == 64
    assert graph["complete"] is True


def test_a_run_that_is_configured_otherwise_has_another_digest(
    story: ModelVersion, vera: User
) -> None:
    before = {one["id"]: one.get("configuration") for one in _graph(vera)["nodes"]}
    run = Run.objects.get(number=2)
    run.config["training"]["seed"] = 1
    run.save()
    after = {one["id"]: one.get("configuration") for one in _graph(vera)["nodes"]}
    assert {key for key in before if before[key] != after[key]} == {"run/2"}


def test_rows_that_were_joined_and_teachers_that_were_asked_stand_in_the_graph(
    project: Project, vera: User
) -> None:
    teacher = make.model_version(project, "asked", role="teacher", source={"kind": "api"})
    other = make.dataset_version(project, "orders")
    first = make.dataset_version(project, "tickets")
    said = {"teacher": teacher.reference}
    done = {"operation": "annotate", "told": "", "options": said, "others": [other.pk]}
    second = make.dataset_version(project, "tickets", parent=first, operation=done)
    small = make.model_version(project, "small", files=[{"name": "x", "sha256": "", "bytes": 1}])
    make.run(project, dataset_version=second, status="finished", output=small)
    edges = {(one["from"], one["to"], one["as"]) for one in _graph(vera, number=1)["edges"]}
    assert ("orders@1", "tickets@2", "annotate") in edges
    assert ("asked@1", "tickets@2", "answers") in edges


def test_the_page_draws_it_with_links_and_tells_it_as_a_table(
    story: ModelVersion, vera: User
) -> None:
    client = signed_in(vera)
    with CaptureQueriesContext(
        connection,
    ) as asked:
        page = client.get("/p/intents/models/small/2/lineage/")
    text = page.content.decode()
    assert page.status_code == 200
    for one in ("runs/1/", "datasets/tickets/1/", "models/big/2/"):
        assert f'href="/p/intents/{one}"' in text
    assert "The same as a table" in text
    assert "Kept short rows" in text
    assert MADE_WITH["code"] in text
    assert len(asked) <= 30
    assert 'href="/p/intents/models/small/2/lineage/" aria-current="page"' in text


def test_a_version_of_nothing_says_so(project: Project, vera: User) -> None:
    make.model_version(project, "alone")
    page = signed_in(vera).get("/p/intents/models/alone/1/lineage/").content.decode()
    assert "Nothing was used to make it" in page
    assert "Nobody noted it" in page


def test_columns_follow_the_longest_way_and_boxes_do_not_overlap() -> None:
    nodes = [{"id": one} for one in "abcdef"]
    pairs = ["ab", "bc", "cd", "ad", "ae", "ec", "af"]
    edges = [{"from": one[0], "to": one[1], "as": "x"} for one in pairs]
    drawn = drawing.drawn(nodes, edges)
    columns = {key: box["column"] for key, box in drawn["boxes"].items()}
    assert columns == {"a": 0, "b": 1, "e": 1, "f": 1, "c": 2, "d": 3}
    places = {(box["x"], box["y"]) for box in drawn["boxes"].values()}
    assert len(places) == len(nodes)
    assert len(drawn["lines"]) == len(edges)
    assert all(box["x"] + drawing.WIDTH <= drawn["width"] for box in drawn["boxes"].values())
    assert all(box["y"] + drawing.HEIGHT <= drawn["height"] for box in drawn["boxes"].values())
    again = drawing.drawn(nodes, [*edges, {"from": "d", "to": "a", "as": "x"}])
    assert set(again["boxes"]) == set("abcdef")
    assert drawing.drawn([], [])["boxes"] == {}


def test_strangers_see_no_lineage(story: ModelVersion, charlie: User) -> None:
    answer = api_of(charlie).get("/api/v1/projects/intents/models/small/versions/2/lineage/")
    assert answer.status_code == 404
    assert DatasetVersion.objects.exists()
