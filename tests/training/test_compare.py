"""Runs side by side: which numbers stand beside which, what is marked, and what it costs."""

from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from projects.models import Project, User
from tests import make
from tests.conftest import api_of, signed_in
from training.models import Run
from training.services import compare, metrics, run_curves, run_fields
from training.services.metrics import Measured

TABS = ["table", "curves", "relations", "configuration", "rows"]


def address(project: Project) -> str:
    return reverse("training:compare", args=[project.slug])


def asked(project: Project) -> str:
    return f"/api/v1/projects/{project.slug}/compare/"


def like(run: Run, *, accuracy: float, **training: Any) -> Run:
    """A finished run of the same data and student, with other settings."""
    made = make.run(
        run.project,
        dataset_version=run.dataset_version,
        student=run.student,
        status=Run.Status.FINISHED,
        summary=run.summary | {"best_value": accuracy},
        started_at=run.started_at,
        finished_at=run.finished_at,
    )
    made.config |= {"training": made.config["training"] | training}
    points = [
        Measured("val/accuracy", step, accuracy * step / 50, 1.7e9 + 36 * step)
        for step in range(10, 51, 10)
    ]
    made.metrics = metrics.append(made, points) | {"test/accuracy": accuracy - 0.02}
    made.save()
    return made


@pytest.fixture
def runs(project: Project) -> list[Run]:
    """A distillation, its control, another run of the same data, and one trained elsewhere."""
    first = make.distillation(project)
    third = like(first, accuracy=0.93, learning_rate=0.01)
    elsewhere = make.tracked(project, config={"params": {"lr": 0.1}}, status="finished")
    elsewhere.metrics = metrics.append(
        elsewhere, [Measured("val/accuracy", step, 0.5, 1.7e9) for step in (1, 2)]
    )
    elsewhere.save()
    return [first, first.controls.get(), third, elsewhere]


# Fields -------------------------------------------------------------------------------------------


def test_a_configuration_is_spread_into_paths_that_name_losses_and_stages() -> None:
    config = {
        "name": "left out",
        "scheme": {"kind": "offline", "on_teacher": True},
        "losses": [{"kind": "soft_targets", "weight": 0.9}, {"kind": "hard_labels"}],
        "stages": [{"name": "warm", "losses": [{"kind": "mse", "weight": 1}], "epochs": 2}],
        "teachers": ["a@1", "b@2"],
        "resources": {},
    }
    assert run_fields.settings(config) == {
        "scheme": "offline",
        "scheme.on_teacher": True,
        "losses.soft_targets.weight": 0.9,
        "losses.hard_labels": True,
        "stages.warm.losses.mse.weight": 1,
        "stages.warm.epochs": 2,
        "teachers": ["a@1", "b@2"],
        "resources": {},
    }


def test_equal_numbers_do_not_differ_and_yes_is_no_number() -> None:
    assert run_fields.differing([{"a": 1, "b": True}, {"a": 1.0, "b": 1}]) == ["b"]
    assert run_fields.differing([{"a": 1}, {}]) == ["a"]
    assert run_fields.differing([{"a": [1]}, {"a": [1]}]) == []


@pytest.mark.parametrize(
    ("name", "falls"),
    [
        ("val/accuracy", False),
        ("val/loss", True),
        ("test/rmse", True),
        ("val/macro_f1", False),
        ("train/samples_per_second", False),
        ("val/teacher_rmse", True),
        ("layer/norm", None),
    ],
)
def test_which_way_is_better_is_known_by_name(name: str, falls: bool | None) -> None:
    assert run_fields.falls(name) is falls


# Metrics and settings side by side --------------------------------------------------------------


def test_metrics_stand_side_by_side_with_the_best_and_differences(
    vera: User, project: Project, runs: list[Run]
) -> None:
    first, _control, third, _elsewhere = runs
    numbers = [run.number for run in runs]
    response = api_of(vera).get(
        asked(project), {"runs": ",".join(map(str, numbers)), "base": str(first.number)}
    )
    assert response.status_code == 200, response.content
    answer = response.json()
    assert [run["number"] for run in answer["runs"]] == numbers
    assert answer["baseline"] == first.number
    assert answer["runs"][3]["origin"] == "tracked"
    assert answer["runs"][3]["dataset"] is None
    assert answer["runs"][1]["control_of"] == first.number
    found = {one["name"]: one for one in answer["metrics"]}
    accuracy = found["val/accuracy"]
    assert accuracy["values"] == pytest.approx([0.88, None, 0.93, 0.5], nan_ok=True)
    assert accuracy["differences"][2] == pytest.approx(0.05)
    assert accuracy["differences"][0] is None
    assert accuracy["best"] == [third.number]
    assert found["test/accuracy"]["best"] == [third.number]  # as validation rows choose
    assert found["train/loss"]["best"] == []


def test_the_test_score_that_is_marked_is_that_of_the_run_which_validation_chooses(
    project: Project,
) -> None:
    first = make.distillation(project, accuracy=0.8)
    lucky = like(first, accuracy=0.7)
    Run.objects.filter(pk=lucky.pk).update(metrics=lucky.metrics | {"test/accuracy": 0.99})
    found = compare.side_by_side(project=project, runs=[first.number, lucky.number])
    marked = {one.name: one.best for one in found.metrics}
    assert marked["test/accuracy"] == [0]


def test_scores_of_different_data_are_not_ranked(project: Project) -> None:
    one, other = make.distillation(project), make.distillation(project, accuracy=0.95)
    found = compare.side_by_side(project=project, runs=[one.number, other.number])
    assert all(metric.best == [] for metric in found.metrics)


def test_the_configuration_diff_tells_what_changed_what_is_new_and_what_is_gone(
    vera: User, project: Project, runs: list[Run]
) -> None:
    first, _, third, elsewhere = runs
    numbers = f"{third.number},{first.number},{elsewhere.number}"
    answer = api_of(vera).get(asked(project), {"runs": numbers}).json()
    found = {one["path"]: one for one in answer["configuration"]}
    assert found["training.learning_rate"]["changes"] == ["same", "removed", "removed"]
    assert found["training.learning_rate"]["values"] == [0.01, None, None]
    assert found["params.lr"]["changes"] == ["none", "none", "added"]
    assert found["training.epochs"]["changes"][:2] == ["same", "same"]
    assert "name" not in found
    alike = api_of(vera).get(asked(project), {"runs": f"{third.number}"}).json()
    assert alike["configuration"] == []
    assert alike["same"] > 10


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"runs": "1,x"}, 400),
        ({"runs": ""}, 400),
        ({}, 400),
        ({"runs": "1,99"}, 404),
        ({"runs": "1", "base": "2"}, 400),
        ({"runs": ",".join(map(str, range(1, 300)))}, 400),
        ({"runs": "1", "colour": "red"}, 400),
    ],
)
def test_what_cannot_be_compared_is_refused(
    vera: User, project: Project, query: dict[str, str], status: int
) -> None:
    make.run(project)
    assert api_of(vera).get(asked(project), query).status_code == status


def test_runs_of_another_project_are_not_there(vera: User, alice: User, project: Project) -> None:
    other = make.run(make.project(owner=alice), number=77)
    assert api_of(vera).get(asked(project), {"runs": str(other.number)}).status_code == 404


# Curves -----------------------------------------------------------------------------------------


def test_curves_run_along_steps_hours_or_epochs(project: Project, runs: list[Run]) -> None:
    first, _control, third, elsewhere = runs
    Run.objects.filter(pk=third.pk).update(started_at=None)
    third.refresh_from_db()
    chosen = [first, third, elsewhere]
    by_step = run_curves.read(runs=chosen, names=["val/accuracy"])["val/accuracy"]
    assert by_step[third.number]["x"] == [10, 20, 30, 40, 50]
    by_time = run_curves.read(runs=[third], names=["val/accuracy"], x="time")["val/accuracy"]
    assert by_time[third.number]["x"] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    epochs = run_curves.read(runs=chosen, names=["val/accuracy"], x="epoch")["val/accuracy"]
    assert epochs[third.number]["x"] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert elsewhere.number not in epochs  # it has told no epochs


def test_a_tracked_run_may_tell_its_epochs_as_a_series(project: Project) -> None:
    run = make.tracked(project)
    points = [Measured("epoch", step, step / 10, 0.0) for step in (0, 10, 30)]
    run.metrics = metrics.append(run, [*points, Measured("loss", 5, 1.0, 0.0),
                                       Measured("loss", 20, 0.5, 0.0)])  # fmt: skip
    run.save()
    read = run_curves.read(runs=[run], names=["loss"], x="epoch")["loss"]
    assert read[run.number]["x"] == pytest.approx([0.5, 2.0])


def test_curves_through_rest_are_those_of_each_run(
    vera: User, project: Project, runs: list[Run]
) -> None:
    numbers = ",".join(str(run.number) for run in runs)
    query = {"runs": numbers, "names": "val/accuracy,train/loss", "max_points": "5"}
    answer = api_of(vera).get(f"{asked(project)}curves/", query).json()
    mine = metrics.read(run=runs[0], names=["train/loss"], max_points=5)["series"]["train/loss"]
    told = answer["series"]["train/loss"][str(runs[0].number)]
    assert told["values"] == mine["values"]
    assert told["thinned"]
    assert set(answer["series"]["val/accuracy"]) == {
        str(runs[0].number), str(runs[2].number), str(runs[3].number)
    }  # fmt: skip


# The page ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("tab", TABS)
def test_every_tab_shows_tracked_runs_beside_ours(
    vera: User, project: Project, runs: list[Run], tab: str
) -> None:
    query = {"runs": ",".join(str(run.number) for run in runs), "tab": tab}
    shown = signed_in(vera).get(address(project), query)
    assert shown.status_code == 200
    for run in runs:
        assert f'data-run="{run.number}"' in shown.content.decode()


def test_without_runs_the_page_says_what_to_do(vera: User, project: Project) -> None:
    assert "Choose runs in their table" in signed_in(vera).get(address(project)).content.decode()


def test_boxes_and_added_runs_become_one_address(
    vera: User, project: Project, runs: list[Run]
) -> None:
    one, two, three, _ = (run.number for run in runs)
    response = signed_in(vera).get(f"{address(project)}?runs={one}&runs={two}&add={three},{one}")
    assert response.status_code == 302
    assert response.headers["Location"] == f"{address(project)}?runs={one},{two},{three}"


def test_the_table_tells_differences_to_the_pinned_run_and_marks_the_best(
    vera: User, project: Project, runs: list[Run]
) -> None:
    query = {"runs": ",".join(str(run.number) for run in runs[:3]), "base": str(runs[0].number)}
    response = signed_in(vera).get(address(project), query)
    columns = {one.label: one for one in response.context["columns"]}
    assert columns["Best validation accuracy"].best == [2]
    rows = response.context["rows"]
    assert rows[0]["is_base"]
    place = list(columns).index("Best validation accuracy")
    told = {row["run"].number: row["cells"][place] for row in rows}
    assert told[runs[2].number].apart == "+5.0"
    assert told[runs[2].number].is_best
    assert "learning rate" in columns
    down = signed_in(vera).get(address(project), query | {"order": "-val.accuracy"})
    assert [row["run"].number for row in down.context["rows"]][:2] == [
        runs[0].number, runs[2].number
    ]  # fmt: skip


def test_the_teacher_is_a_line_across_charts_of_accuracy(
    vera: User, project: Project, runs: list[Run]
) -> None:
    query = {"runs": ",".join(str(run.number) for run in runs), "tab": "curves"}
    charts = signed_in(vera).get(address(project), query).context["charts"]
    accuracy = next(one for one in charts if one["name"] == "val/accuracy")["figure"]
    assert [shape["y0"] for shape in accuracy["layout"]["shapes"]] == [0.91]
    assert [trace["meta"]["run"] for trace in accuracy["data"]] == [
        run.number for run in (runs[0], runs[2], runs[3])
    ]


def test_points_are_drawn_for_runs_that_have_both_numbers(
    vera: User, project: Project, runs: list[Run]
) -> None:
    query = {
        "runs": ",".join(str(run.number) for run in runs),
        "tab": "relations",
        "sx": "step",
        "sy": "metrics.val/accuracy",
    }
    context = signed_in(vera).get(address(project), query).context
    drawn = {trace["customdata"][0]: trace["y"][0] for trace in context["scatter"]["data"]}
    assert drawn == {runs[0].number: 0.88, runs[2].number: 0.93, runs[3].number: 0.5}
    odd = signed_in(vera).get(address(project), query | {"sx": "nonsense", "axis": "nothing"})
    assert odd.status_code == 200


def test_points_begin_with_a_setting_that_tells_all_runs_apart(
    vera: User, project: Project, runs: list[Run]
) -> None:
    first, control, third, _ = runs
    for run, rate in ((first, 0.001), (control, 0.002), (third, 0.003)):
        losses: list[dict[str, Any]] = [{"kind": "hard_labels"}]
        if run is not control:
            losses.append({"kind": "hidden_match", "weight": 0.5})
        run.config = run.config | {"losses": losses, "training": {"learning_rate": rate}}
        run.save()
    query = {"runs": f"{first.number},{control.number},{third.number}", "tab": "relations"}
    context = signed_in(vera).get(address(project), query).context
    assert "config.losses.hidden_match.weight" in context["axes"]  # the control has none
    assert context["sx"] == "config.training.learning_rate"


# Cost -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tab", TABS[:4])
def test_a_comparison_costs_the_same_however_many_runs(
    vera: User, project: Project, django_assert_max_num_queries: Any, tab: str
) -> None:
    for _ in range(10):
        make.distillation(project)
    client = signed_in(vera)
    numbers = ",".join(str(run.number) for run in project.runs.all())
    with django_assert_max_num_queries(12):
        assert client.get(address(project), {"runs": numbers, "tab": tab}).status_code == 200
    api = api_of(vera)
    with django_assert_max_num_queries(5):
        assert api.get(asked(project), {"runs": numbers}).status_code == 200


def test_a_run_that_is_not_over_is_compared_as_it_is_now(project: Project) -> None:
    begun = timezone.now() - timedelta(minutes=1)
    going = make.run(project, status="training", started_at=begun)
    waiting = make.run(project, status="waiting")
    found = compare.side_by_side(project=project, runs=[going.number, waiting.number])
    assert run_fields.seconds(found.runs[0]) == pytest.approx(60, abs=30)
    assert run_fields.seconds(found.runs[1]) is None
