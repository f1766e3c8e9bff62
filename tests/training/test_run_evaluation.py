"""What the evaluation's tab and the verdict tell of how sure it all is."""

from pathlib import Path

from projects.models import Project, User
from tests import make
from tests.conftest import signed_in
from tests.training.test_run_pages import evaluated, page
from training.charts import confusions, fidelity
from training.models import Run
from training.views import run_evaluation


def test_columns_come_by_how_far_their_parts_differ_and_few_rows_do_not_count() -> None:
    def column(name: str, *parts: tuple[int, float]) -> dict[str, object]:
        told = [{"name": str(rows), "rows": rows, "student": worth} for rows, worth in parts]
        return {"column": name, "parts": told}

    shown = [
        run_evaluation._sliced(one)
        for one in (
            column("lone", (500, 0.8), (500, 0.81), (1, 0.0)),
            column("telling", (500, 0.9), (500, 0.6)),
        )
    ]
    assert shown[0]["reach"] < shown[1]["reach"]
    assert [part["is_few"] for part in shown[0]["parts"]] == [False, False, True]


def test_shares_are_in_percent_everywhere_and_few_rows_are_faint(
    vera: User, project: Project, tmp_path: Path
) -> None:
    run = make.distillation(project)
    run.summary["student"]["accuracy_interval"] = [0.861, 0.897]
    run.save()
    evaluated(run, tmp_path)
    shown = page(signed_in(vera), run, "evaluation")
    assert "88.0 %" in shown
    assert "86.1 to 89.7 %" in shown
    assert "0.8800" not in shown
    assert 'class="few"' in shown
    assert "86.1 to 89.7 %" in page(signed_in(vera), run, "overview")


def test_a_large_gain_of_calibration_stands_beside_the_verdict(
    vera: User, project: Project
) -> None:
    run = make.distillation(project)
    control = run.controls.get()
    assert run_evaluation.calibration(run, control) == ""
    control.summary["student"]["ece"] = 0.185
    control.save()
    said = "It knows better how sure it may be: its calibration error is 3.0 %"
    assert said in page(signed_in(vera), run, "overview")
    worse = Run(summary={"student": {"ece": 0.4}})
    assert "knows worse" in run_evaluation.calibration(worse, control)


def test_bins_of_few_rows_are_joined_and_keep_every_row() -> None:
    bins = [
        {"count": count, "confidence": sure, "accuracy": right}
        for count, sure, right in ((1, 0.1, 1.0), (0, 0.0, 0.0), (9, 0.3, 0.0), (40, 0.9, 0.9),
                                   (2, 0.97, 0.0))
    ]  # fmt: skip
    found = fidelity.joined(bins)
    assert [one["count"] for one in found] == [10, 42]
    assert found[0]["accuracy"] == 0.1
    assert sum(one["count"] * one["accuracy"] for one in found) == 1 + 36


def test_a_matrix_of_many_classes_is_a_small_part_of_a_page() -> None:
    labels = [f"a label with a long name {place}" for place in range(77)]
    counts = [[int(row == column) * 40 for column in range(77)] for row in range(77)]
    assert len(str(confusions.of(labels, counts))) < 60_000
