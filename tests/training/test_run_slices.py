"""Slices of a dataset in the evaluation of its runs: kept at launch, told at the end, and those
that are saved later from the answers that are stored."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from django.urls import reverse

from distillhub.lib import storage
from projects.models import DatasetVersion, Project, User
from projects.services import slices
from tests import make
from tests.conftest import api_of, signed_in
from tests.training.conftest import sentences
from tests.training.test_run_pages import evaluated, page
from training.models import Artifact, Run
from training.services import run_slices

REFUND = {"q": "refund"}
DELIVERY = {"label": "delivery"}


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    """The rows of `dataset` that are scored."""
    return [one for one in sentences(300) if one["split"] == "test"]


def save(dataset: DatasetVersion, name: str, conditions: dict[str, Any]) -> None:
    by = dataset.dataset.project.created_by
    slices.create(version=dataset, name=name, conditions=conditions, by=by)


def answered(run: Run, folder: Path, rows: list[dict[str, Any]], wrong: set[int]) -> None:
    """Give a run the predictions of a version before: no worth, no log loss. Its teacher is wrong
    about every fifth row, the run's network about those named."""
    table = {
        "row_id": [one["row_id"] for one in rows],
        "split": [one["split"] for one in rows],
        "label": [one["label"] for one in rows],
        "student": ["?" if one["row_id"] in wrong else one["label"] for one in rows],
        "student_confidence": [0.9] * len(rows),
        "teacher": ["?" if at % 5 == 0 else one["label"] for at, one in enumerate(rows)],
        "teacher_confidence": [0.8] * len(rows),
    }
    path = folder / f"{run.number}.parquet"
    parquet.write_table(pa.table(table), path)
    blob = storage.put(path)
    Artifact.objects.create(
        run=run, kind="predictions", name="predictions.parquet", sha256=blob.sha256,
        bytes=blob.bytes,
    )  # fmt: skip


@pytest.fixture
def run(dataset: DatasetVersion, project: Project, tmp_path: Path, rows: list[Any]) -> Run:
    """A distillation that was right on all but three rows, and its control on all but nine."""
    made = make.distillation(project)
    control = made.controls.get()
    Run.objects.filter(project=project).update(dataset_version=dataset)
    wrong = [one["row_id"] for one in rows if one["label"] == "delivery"]
    answered(made, tmp_path, rows, set(wrong[:3]))
    answered(control, tmp_path, rows, set(wrong[:9]))
    evaluated(made, tmp_path)
    made.refresh_from_db()
    return made


def test_a_run_that_is_over_is_told_by_slices_saved_since(
    run: Run, dataset: DatasetVersion, rows: list[dict[str, Any]]
) -> None:
    save(dataset, "delivery", DELIVERY)
    assert run_slices.further(run, run_slices.of(run)) == ["delivery"]
    (told,) = run_slices.evaluate(run=run)
    assert run_slices.further(run, run_slices.of(run)) == []
    assert (told["name"], told["conditions"]) == ("delivery", DELIVERY)
    assert told["told"] == "with label delivery"
    scores = told["scores"]
    many = sum(one["label"] == "delivery" for one in rows)
    assert (scores["split"], scores["rows"], scores["labelled"]) == ("test", many, many)
    assert scores["metric"] == "accuracy"
    assert scores["student"]["accuracy"] == pytest.approx(1 - 3 / many)
    assert scores["control"]["accuracy"] == pytest.approx(1 - 9 / many)
    low, high = scores["student"]["interval"]
    assert low < scores["student"]["accuracy"] < high
    both = [
        (row["row_id"], at % 5 == 0) for at, row in enumerate(rows) if row["label"] == "delivery"
    ]
    assert scores["teacher"]["accuracy"] == pytest.approx(1 - sum(b for _, b in both) / many)
    wrong = {row_id for row_id, _ in both[:3]}
    alike = sum((row_id in wrong) == theirs for row_id, theirs in both)
    assert scores["agreement"] == pytest.approx(alike / many)
    assert scores["difference"]["difference"] == pytest.approx(6 / many)
    assert scores["difference"]["answer"] == "helped"


def test_a_slice_keeps_its_meaning_in_a_run(run: Run, dataset: DatasetVersion) -> None:
    save(dataset, "hard", REFUND)
    (before,) = run_slices.evaluate(run=run)
    slices.delete(dataset=dataset.dataset, name="hard")
    assert run_slices.of(run) == [before]
    save(dataset, "hard", DELIVERY)
    assert run_slices.further(run, run_slices.of(run)) == ["hard"]
    after = run_slices.evaluate(run=run)
    assert after[0] == before
    assert [one["conditions"] for one in after] == [REFUND, DELIVERY]


def test_a_slice_without_rows_of_the_split_is_told_without_scores(
    run: Run, dataset: DatasetVersion
) -> None:
    save(dataset, "training", {"split": "train"})
    (told,) = run_slices.evaluate(run=run)
    assert told["scores"]["rows"] == 0
    assert told["scores"]["student"] is None
    assert told["scores"]["difference"] is None


def test_the_evaluation_and_the_verdict_tell_slices(
    run: Run, dataset: DatasetVersion, erin: User, vera: User
) -> None:
    save(dataset, "delivery", DELIVERY)
    save(dataset, "training", {"split": "train"})
    seen = signed_in(vera)
    assert "Evaluate them" not in page(seen, run, "evaluation")
    editor = signed_in(erin)
    assert "Not evaluated yet: delivery, training." in page(editor, run, "evaluation")
    address = reverse("training:run_slices", args=[run.project.slug, run.number])
    assert seen.post(address).status_code == 403
    assert editor.post(address).status_code == 302
    shown = page(seen, run, "evaluation")
    assert "Saved slices" in shown
    assert "with label delivery" in shown
    assert "label=delivery&amp;split=test" in shown or "split=test&amp;label=delivery" in shown
    assert "Evaluate them" not in page(editor, run, "evaluation")
    assert "By slice, it helped on delivery (+" in page(seen, run)


def test_rest_lists_and_scores_slices_and_the_evaluation_holds_them(
    run: Run, dataset: DatasetVersion, erin: User, vera: User
) -> None:
    save(dataset, "delivery", DELIVERY)
    address = f"/api/v1/projects/{run.project.slug}/runs/{run.number}"
    assert api_of(vera).get(f"{address}/slices/").json() == {
        "slices": [], "further": ["delivery"],
    }  # fmt: skip
    assert api_of(vera).post(f"{address}/slices/").status_code == 403
    made = api_of(erin).post(f"{address}/slices/").json()
    assert made["further"] == []
    assert made["slices"][0]["scores"]["metric"] == "accuracy"
    assert api_of(vera).get(f"{address}/evaluation/").json()["saved_slices"] == made["slices"]


def test_a_run_without_predictions_says_so(project: Project, erin: User) -> None:
    run = make.run(project)
    found = api_of(erin).post(f"/api/v1/projects/{project.slug}/runs/{run.number}/slices/")
    assert found.status_code == 409
    assert found.json()["code"] == "not_evaluated"


# Reviews -----------------------------------------------------------------------------------------


def begin(client: Any, run: Run, **asked: Any) -> Any:
    address = f"/api/v1/projects/{run.project.slug}/runs/{run.number}/reviews/"
    return client.post(address, asked, format="json")


def test_rows_are_reviewed_by_what_a_run_answered(
    run: Run, dataset: DatasetVersion, rows: list[dict[str, Any]], erin: User
) -> None:
    client = api_of(erin)
    made = begin(client, run, how="student_wrong").json()
    assert made["dataset"] == dataset.reference
    assert made["choice"]["run"] == run.number
    assert made["rows"] == 3
    address = f"/api/v1/projects/{run.project.slug}/reviews/{made['id']}"
    (first,) = client.post(f"{address}/take/", {"many": 1}, format="json").json()["results"]
    assert first["label"] == "delivery"
    assert first["said"]["student"] == "?"
    assert first["said"]["student_confidence"] == 0.9
    wrong = {one["row_id"] for one in rows if one["label"] == "delivery"}
    assert first["row_id"] in wrong
    unsure = begin(client, run, how="student_unsure", many=7).json()
    assert unsure["rows"] == 7
    differ = begin(client, run, how="student_teacher", conditions={"label": "billing"}).json()
    expected = sum(row["label"] == "billing" and at % 5 == 0 for at, row in enumerate(rows))
    assert differ["rows"] == expected
    shown = signed_in(erin).get(f"/p/{run.project.slug}/reviews/{differ['id']}/").content.decode()
    assert "where student and teacher disagree" in shown


def test_a_blind_review_tells_no_answers(run: Run, erin: User) -> None:
    client = api_of(erin)
    made = begin(client, run, how="student_wrong", blind=True).json()
    address = f"/api/v1/projects/{run.project.slug}/reviews/{made['id']}/take/"
    (first,) = client.post(address, {"many": 1}, format="json").json()["results"]
    assert first["said"] is None
    work = f"/p/{run.project.slug}/reviews/{made['id']}/rows/"
    assert 'class="role role-student"' not in signed_in(erin).get(work).content.decode()


def test_a_page_begins_a_review_of_a_run(run: Run, erin: User) -> None:
    client = signed_in(erin)
    address = reverse("training:run_review", args=[run.project.slug, run.number])
    assert address in page(client, run, "evaluation")
    asked = {"how": "student_wrong", "kind": "labels", "many": "2", "reviews_per_row": "1"}
    answer = client.post(address, asked)
    assert answer.status_code == 302
    shown = client.get(answer.headers["Location"]).content.decode()
    assert 'class="role role-student"' in shown
    assert "90 % sure" in shown
    run.artifacts.filter(kind="predictions").delete()
    refused = client.post(address, asked)
    assert refused.status_code == 400
    assert "has left no predictions" in refused.content.decode()


def test_what_no_run_can_say_is_refused(run: Run, erin: User) -> None:
    client = api_of(erin)
    assert begin(client, run, how="random").status_code == 400
    run.artifacts.filter(kind="predictions").delete()
    refused = begin(client, run, how="student_wrong")
    assert (refused.status_code, refused.json()["code"]) == (409, "not_evaluated")
