"""What a sweep is asked for, and the trials that come of it: within the space, each once."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from projects.models import Project, User
from tests import make
from tests.conftest import api_of
from tests.training.sweep_trials import SPACE, STUDIES, carry_out, end, launch, numbers
from training.models import Run, Study
from training.services import runs, studies
from training.worker import studies as telling

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def client(erin: User, project: Project) -> APIClient:
    return api_of(erin)


# What is asked -----------------------------------------------------------------------------------


def test_every_fault_of_the_space_is_named_at_once(
    client: APIClient, taught: dict[str, Any]
) -> None:
    space = {
        "training.learning_rate": {"low": 0, "high": 0.1, "log": True},
        "dataset": ["tickets@1", "tickets@2"],
        "training.seed": [1, 2],
        "training.epochs": {"low": 2, "high": 1},
        "losses.0.temperature": [4, 4.0],
    }
    answer = client.post(STUDIES, {"kind": "sweep", "base": taught, "space": space})
    assert answer.status_code == 400
    assert set(answer.json()["fields"]) == {f"space.{path}" for path in space}
    assert not Study.objects.exists()


def test_values_are_held_against_the_options_own_limits(
    client: APIClient, taught: dict[str, Any]
) -> None:
    space = {
        "training.epochs": {"low": 1, "high": 20_000},
        "training.batch_size": {"low": 1.5, "high": 8},
        "training.optimizer": {"low": 1, "high": 2},
        "training.schedule": ["cosine", "sideways"],
        "losses.0.temperature": {"low": -1, "high": 4},
        "losses.7.weight": {"low": 0.1, "high": 1},
        "losses.7.temperature": {"low": 1, "high": 4},
        "losses.0.schedule.low": {"low": 0, "high": 1, "step": 0.5},
        "student": ["tiny@1", "nobody"],
        "training.nothing": [1, 2],
    }
    answer = client.post(STUDIES, {"kind": "sweep", "base": taught, "space": space})
    fields = answer.json()["fields"]
    assert set(fields) == {f"space.{path}" for path in space}
    assert "20000" in fields["space.training.epochs"][0]
    assert "list of values" in fields["space.training.optimizer"][0]
    assert "sideways" in fields["space.training.schedule"][0]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"sampler": "guess"}, "sampler"),
        ({"trials": 0}, "trials"),
        ({"trials": True}, "trials"),
        ({"at_once": 99}, "at_once"),
        ({"pruning": 1}, "pruning"),
        ({"metric": 3}, "metric"),
        ({"metric": "val/loss"}, "metric"),
        ({"metric": "agreement", "control": True}, "metric"),
        ({"metric": "beauty"}, "base.training.selection_metric"),
        ({"space": {}}, "space"),
        ({"space": {"training.learning_rate": 3}}, "space.training.learning_rate"),
        (
            {"space": {"losses.0.temperature": {"low": 1, "high": 2, "step": 5e-324}}},
            "space.losses.0.temperature",
        ),
        ({"sampler": "grid"}, "space.losses.0.temperature"),
        ({"seeds": 0}, "seeds"),
        ({"teacher_training": {}}, "teacher_training"),
        ({"base": {"task": "text-classification"}}, "base.dataset"),
    ],
)
def test_what_is_no_sweep_is_refused_by_name(
    client: APIClient, taught: dict[str, Any], changes: dict[str, Any], field: str
) -> None:
    body = {"kind": "sweep", "base": taught, "space": SPACE, **changes}
    answer = client.post(STUDIES, body)
    assert answer.status_code == 400, answer.json()
    assert field in answer.json()["fields"], answer.json()
    assert not Study.objects.exists()


def test_a_control_is_of_a_student_whom_somebody_teaches(
    client: APIClient, taught: dict[str, Any]
) -> None:
    body = {"kind": "sweep", "base": taught | {"teachers": []}, "control": True}
    space = {"training.epochs": [1, 2]}
    assert "control" in client.post(STUDIES, {**body, "space": space}).json()["fields"]


@pytest.mark.parametrize(
    ("metric", "teachers", "arms"),
    [
        (None, ["big@1"], ["distilled", "control"]),
        ("agreement", ["big@1"], ["distilled"]),  # which a control has not
        (None, [], ["trained"]),
    ],
)
def test_its_control_is_searched_for_unless_somebody_says_otherwise_or_it_cannot_be(
    project: Project, taught: dict[str, Any], metric: str | None, teachers: list[str],
    arms: list[str],
) -> None:  # fmt: skip
    base = {**taught, "teachers": teachers}
    if not teachers:
        base["losses"] = [{"kind": "hard_labels", "weight": 1.0}]
    body = {"kind": "sweep", "base": base, "space": {"training.epochs": [1, 2]}, "metric": metric}
    study = studies.launch(project=project, asked=body, by=project.created_by)
    assert (study.asked["arms"], study.asked["control"]) == (arms, "control" in arms)


def test_references_are_pinned_when_the_sweep_is_launched(
    project: Project, taught: dict[str, Any]
) -> None:
    make.model_version(project, "small")
    base = {**taught, "dataset": "tickets", "teachers": ["big"], "student": "nobody"}
    study = launch(project, base, space={"student": ["tiny", "small@1"]})
    assert study.asked["space"]["student"]["values"] == ["tiny@1", "small@1"]
    assert study.asked["base"]["dataset"] == "tickets@1"
    assert study.asked["base"]["teachers"] == ["big@1"]
    make.model_version(project, "tiny")
    carry_out(study)
    assert {run.config["student"] for run in study.runs.all()} == {"tiny@1", "small@1"}


def test_a_reference_that_is_varied_begins_with_the_one_in_the_base(
    project: Project, taught: dict[str, Any]
) -> None:
    make.model_version(project, "small")
    study = launch(project, taught, space={"student": ["small@1", "tiny@1"]})
    assert study.asked["base"]["student"] == "tiny@1"
    assert study.trials.get(number=1).parameters == {"student": "tiny@1"}


# Which trials come -------------------------------------------------------------------------------


def test_trials_are_runs_within_the_space_that_look_at_no_test_row(
    client: APIClient, project: Project, taught: dict[str, Any]
) -> None:
    study = launch(project, taught | {"exports": ["onnx"]}, at_once=2)
    assert numbers(study) == [1, 2]  # no more than may train at once
    carry_out(study)
    study.refresh_from_db()
    assert (study.status, numbers(study)) == ("finished", [1, 2, 3, 4, 5, 6])
    for trial in study.trials.select_related("run"):
        assert trial.run is not None
        config = trial.run.config
        assert config["evaluation"] == {"test": False}
        assert (config["control"], config["exports"]) == (False, [])
        assert config["losses"][0]["temperature"] == trial.parameters["losses.0.temperature"]
        assert 1 <= config["losses"][0]["temperature"] <= 8
        assert 0.0001 <= config["training"]["learning_rate"] <= 0.1
        assert (trial.run.arm, trial.run.name) == ("distilled", f"S, trial {trial.number}")
    first = study.trials.get(number=1).parameters  # the configuration as it was given
    assert first == {"losses.0.temperature": 4.0, "training.learning_rate": 0.01}


def test_the_same_seed_and_results_ask_for_the_same_trials(
    project: Project, taught: dict[str, Any]
) -> None:
    def score(parameters: dict[str, Any]) -> float:
        return -abs(float(parameters["losses.0.temperature"]) - 3)

    made = []
    for seed in (7, 7, 8):
        study = launch(project, taught, at_once=1, trials=6, seed=seed)
        carry_out(study, score)
        made.append(list(study.trials.values_list("parameters", flat=True)))
    assert made[0] == made[1]
    assert made[0][1:] != made[2][1:]


def test_a_sampler_that_learns_looks_where_it_was_good(
    project: Project, taught: dict[str, Any]
) -> None:
    def score(parameters: dict[str, Any]) -> float:
        return -abs(float(parameters["losses.0.temperature"]) - 6.5)

    study = launch(project, taught, at_once=1, trials=24, sampler="tpe", seed=3)
    carry_out(study, score)
    apart = [-score(one) for one in study.trials.values_list("parameters", flat=True)]
    assert sum(apart[-8:]) < sum(apart[:8]) / 2
    assert study.trials.count() == 24


def test_a_grid_is_tried_whole_and_each_point_once(
    project: Project, taught: dict[str, Any]
) -> None:
    space = {
        "losses.0.temperature": [1, 2, 4],
        "training.epochs": {"low": 2, "high": 6, "step": 2},
        "losses.0.weight": {"low": 0.5, "high": 1.0, "step": 0.5},
    }
    study = launch(project, taught, sampler="grid", space=space, trials=None, at_once=4)
    assert study.asked["trials"] == 18
    carry_out(study)
    points = [tuple(one.parameters.values()) for one in study.trials.all()]
    assert len(points) == len(set(points)) == 18


def test_a_small_space_ends_when_all_of_it_was_tried(
    project: Project, taught: dict[str, Any]
) -> None:
    study = launch(project, taught, space={"losses.0.temperature": [1, 2, 3]}, trials=40)
    carry_out(study)
    study.refresh_from_db()
    assert (study.status, study.trials.count()) == ("finished", 3)


def test_a_configuration_that_cannot_be_trained_is_a_trial_that_failed(
    project: Project, taught: dict[str, Any]
) -> None:
    study = launch(project, taught, at_once=1)
    Study.objects.filter(pk=study.pk).update(
        asked=study.asked | {"base": study.asked["base"] | {"student": "gone@1"}}
    )
    carry_out(study)
    study.refresh_from_db()
    failed = study.trials.filter(state="failed")
    assert (study.status, failed.count()) == ("finished", 5)
    assert all("gone" in one.told for one in failed)


def test_runs_that_failed_or_were_cancelled_are_counted_and_told_of(
    project: Project, taught: dict[str, Any]
) -> None:
    study = launch(project, taught, at_once=1, trials=4)
    ends: list[tuple[str, dict[str, Any] | None]] = [
        ("failed", {"code": "diverged", "detail": "The loss is not finite."}),
        ("cancelled", None),
        ("cancelled", {"code": "pruned", "detail": "Pruned after 2 epochs."}),
        ("finished", None),
    ]
    for number, (status, error) in enumerate(ends, 1):
        end(study.trials.get(number=number), 0.5 * (number == 4), status, error=error)
    states = list(study.trials.values_list("state", flat=True))
    assert states == ["failed", "cancelled", "pruned", "complete"]
    assert study.trials.get(number=1).told == "The loss is not finite."
    study.refresh_from_db()
    assert study.report is not None
    assert study.report["sweep"]["best"] == {"distilled": {"trial": 4, "value": 0.5}}


def test_a_failed_trial_that_is_tried_again_is_complete_after_all(
    project: Project, taught: dict[str, Any]
) -> None:
    study = launch(project, taught, at_once=1, trials=1)
    trial = study.trials.get()
    end(trial, None, "failed", error={"code": "killed", "detail": "Killed."})
    assert trial.run is not None
    runs.retry(run=Run.objects.get(pk=trial.run.pk), by=project.created_by)
    telling.tell(study.pk)
    assert study.trials.get().state == "running"
    end(trial, 0.7)
    assert (study.trials.get().state, study.trials.get().value) == ("complete", 0.7)
