"""Two students on the same rows: counts that can be told by hand, and the rows themselves."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from django.urls import reverse

from distillhub.lib import storage
from distillhub.lib.errors import Conflict, Invalid
from projects.models import DatasetVersion, Project, ReviewItem, User
from tests import make
from tests.conftest import api_of, signed_in
from tests.training.conftest import sentences
from tests.training.test_run_slices import answered
from training.engine import paired
from training.models import Artifact, Run
from training.services import disagreement

KEPT = ("labels", "splits", "rows", "file_sha256", "file_bytes", "fingerprint")


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    """The thirty rows of `dataset` that are scored."""
    return [one for one in sentences(300) if one["split"] == "test"]


@pytest.fixture
def pair(
    dataset: DatasetVersion, project: Project, tmp_path: Path, rows: list[Any]
) -> tuple[Run, Run]:
    """A is wrong about rows 0 and 1, B about rows 1 to 6."""
    columns = [{"name": "text", "type": "string", "role": "input"}]
    # A ready version does not change: this one is made again with the column that it has.
    fields = {name: getattr(dataset, name) for name in KEPT}
    version = make.dataset_version(project, "told", columns=columns, **fields)
    a = make.distillation(project)
    b = a.controls.get()
    Run.objects.filter(project=project).update(dataset_version=version)
    ids = [one["row_id"] for one in rows]
    answered(a, tmp_path, rows, set(ids[:2]))
    answered(b, tmp_path, rows, set(ids[1:7]))
    a.refresh_from_db()
    b.refresh_from_db()
    return a, b


def asked(project: Project) -> str:
    return f"/api/v1/projects/{project.slug}/compare/disagreement/"


def test_rows_are_counted_by_who_is_right_and_mcnemar_is_that_of_the_counts(
    pair: tuple[Run, Run], rows: list[Any]
) -> None:
    found = disagreement.of(a=pair[0], b=pair[1])
    assert found.counts == {"both_right": 23, "only_a": 5, "only_b": 1, "both_wrong": 1}
    assert found.differ == 6
    assert found.values == pytest.approx((28 / 30, 24 / 30))
    assert found.difference["difference"] == pytest.approx(4 / 30)
    assert found.difference["mcnemar_p"] == pytest.approx(paired.mcnemar(5, 1))
    assert found.sentence.startswith("No evidence that runs")
    assert "McNemar's p is 0.22" in found.sentence
    turned = disagreement.of(a=pair[1], b=pair[0])
    assert turned.counts["only_a"] == 1
    assert turned.difference["difference"] == pytest.approx(-4 / 30)


def test_rows_of_a_kind_are_told_with_both_answers_and_their_text(
    pair: tuple[Run, Run], rows: list[Any]
) -> None:
    found = disagreement.of(a=pair[0], b=pair[1], kind="only_b")
    (row,) = found.rows
    assert row["row_id"] == rows[0]["row_id"]
    assert (row["a"], row["b"]) == ("?", rows[0]["label"])
    assert row["a_confidence"] == 0.9
    assert row["input"] == rows[0]["text"]
    label = rows[2]["label"]
    of_label = disagreement.of(a=pair[0], b=pair[1], kind="only_a", label=label)
    assert {one["label"] for one in of_label.rows} == {label}
    assert of_label.found == sum(one["label"] == label for one in rows[2:7])
    page = disagreement.of(a=pair[0], b=pair[1], offset=28, limit=50)
    assert (page.found, len(page.rows)) == (30, 2)


def test_numbers_are_told_by_who_is_nearer(
    pair: tuple[Run, Run], tmp_path: Path, rows: list[Any]
) -> None:
    Artifact.objects.filter(kind="predictions").delete()
    for run, errors in zip(pair, ([0.0, 1.0, 2.0], [1.0, 1.0, 1.0]), strict=True):
        run.summary |= {"problem": "regression"}
        run.save()
        table = {
            "row_id": [one["row_id"] for one in rows[:3]],
            "split": ["test"] * 3,
            "label": ["5"] * 3,
            "student": [f"{5 + error:g}" for error in errors],
            "student_confidence": pa.array([None] * 3, pa.float64()),
            "teacher": pa.array([None] * 3, pa.string()),
            "teacher_confidence": pa.array([None] * 3, pa.float64()),
            "student_value": [error**2 for error in errors],
        }
        path = tmp_path / f"numbers-{run.number}.parquet"
        parquet.write_table(pa.table(table), path)
        blob = storage.put(path)
        Artifact.objects.create(
            run=run, kind="predictions", name="p.parquet", sha256=blob.sha256, bytes=blob.bytes
        )
    found = disagreement.of(a=pair[0], b=pair[1])
    assert found.counts == {"a_better": 1, "b_better": 1, "alike": 1}
    assert not found.is_binary
    assert next(row["row_id"] for row in found.rows) == rows[2]["row_id"]  # the furthest apart
    assert found.difference["mcnemar_p"] is None


def test_what_was_not_judged_on_the_same_rows_is_refused(
    pair: tuple[Run, Run], project: Project
) -> None:
    a, b = pair
    with pytest.raises(Invalid):
        disagreement.of(a=a, b=a)
    with pytest.raises(Invalid):
        disagreement.of(a=a, b=b, kind="a_better")
    with pytest.raises(Conflict, match="same dataset version"):
        disagreement.of(a=a, b=make.distillation(project))
    with pytest.raises(Conflict, match="same dataset version"):
        disagreement.of(a=make.tracked(project), b=b)
    b.artifacts.all().delete()
    with pytest.raises(Conflict, match="has left no predictions"):
        disagreement.of(a=a, b=b)


def test_disagreement_through_rest(vera: User, project: Project, pair: tuple[Run, Run]) -> None:
    a, b = pair
    query = {"runs": f"{a.number},{b.number}", "kind": "only_a", "limit": "2"}
    answer = api_of(vera).get(asked(project), query).json()
    assert (answer["a"], answer["b"]) == (a.number, b.number)
    assert answer["counts"]["only_a"] == answer["found"] == 5
    assert len(answer["results"]) == 2
    assert api_of(vera).get(asked(project), {"runs": str(a.number)}).status_code == 400
    assert api_of(vera).get(asked(project), query | {"kind": "odd"}).status_code == 400
    other = make.distillation(project)
    refused = api_of(vera).get(asked(project), {"runs": f"{a.number},{other.number}"})
    assert refused.status_code == 409
    assert refused.json()["code"] == "other_data"


def test_the_page_lists_the_rows_and_sends_them_to_review(
    erin: User, project: Project, pair: tuple[Run, Run], rows: list[Any]
) -> None:
    a, b = pair
    client, address = signed_in(erin), reverse("training:compare", args=[project.slug])
    query = {"runs": f"{a.number},{b.number}", "tab": "rows"}
    shown = client.get(address, query)
    assert shown.context["found"].found == 6
    text = shown.content.decode()
    assert rows[0]["text"] in text
    assert "Send to review" in text
    sent = client.post(
        reverse("training:compare_review", args=[project.slug]),
        {"a": a.number, "b": b.number, "kind": "only_a"},
    )
    assert sent.status_code == 302
    items = ReviewItem.objects.all()
    assert {item.row_id for item in items} == {one["row_id"] for one in rows[2:7]}
    assert items[0].said[f"run {b.number}"] == "?"
    page = client.get(sent.headers["Location"])
    assert "Where two runs disagree" in page.content.decode()
    work = client.get(reverse("projects:review_work", args=[project.slug, items[0].queue_id]))
    assert f"run {a.number}" in work.content.decode()


def test_runs_without_answers_say_what_is_needed(vera: User, project: Project) -> None:
    one, other = make.tracked(project), make.distillation(project)
    client, address = signed_in(vera), reverse("training:compare", args=[project.slug])
    query = {"runs": f"{one.number},{other.number}", "tab": "rows"}
    assert "Two evaluated runs are needed" in client.get(address, query).content.decode()
    control = other.controls.get()
    query["runs"] = f"{other.number},{control.number}"
    assert "has left no predictions" in client.get(address, query).content.decode()
