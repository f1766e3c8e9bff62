"""Sweeps: trials within what was asked, each once, judged on validation rows alone."""

import threading
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from projects.models import Project, User
from tests import make
from tests.conftest import api_of
from training.models import MetricSeries, Run, Study, Trial, Worker
from training.services import runs, studies, sweeps
from training.worker import claims, metrics, reaper, sweep_search
from training.worker import studies as telling
from training.worker import sweeps as worker_sweeps

pytestmark = pytest.mark.django_db(transaction=True)

STUDIES = "/api/v1/projects/intents/studies/"
SPACE: dict[str, Any] = {
    "losses.0.temperature": {"low": 1, "high": 8},
    "training.learning_rate": {"low": 0.0001, "high": 0.1, "log": True},
}


@pytest.fixture
def client(erin: User, project: Project) -> APIClient:
    return api_of(erin)


def launch(project: Project, base: dict[str, Any], **how: Any) -> Study:
    body = {"kind": "sweep", "base": base, "space": SPACE, "trials": 6, "name": "S"}
    body |= {"control": False} | how
    study = studies.launch(project=project, asked=body, by=project.created_by)
    telling.tell(study.pk)
    study.refresh_from_db()
    return study


def end(trial: Trial, value: float | None = None, status: str = "finished", **more: Any) -> None:
    """Its run is over, as a worker would have left it."""
    summary = {"best_value": value, "selection_metric": "val/accuracy", "headline": "accuracy"}
    assert trial.run is not None
    Run.objects.filter(pk=trial.run.pk).update(status=status, summary=summary, **more)
    telling.tell(trial.study.pk)


def carry_out(study: Study, score: Any = lambda parameters: 0.5) -> None:
    """Every trial that is asked for, as if it had been trained."""
    while trial := study.trials.filter(state="running").select_related("run", "study").first():
        end(trial, score(trial.parameters))


def numbers(study: Study, **wanted: Any) -> list[int]:
    return list(study.trials.filter(**wanted).values_list("number", flat=True))


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


# Both ways ---------------------------------------------------------------------------------------


def test_a_control_is_searched_as_long_over_what_both_have(
    project: Project, taught: dict[str, Any]
) -> None:
    study = launch(project, taught, control=True, trials=5, at_once=2)
    assert [one.arm for one in study.trials.all()] == ["distilled", "control"]  # in turn
    carry_out(study)
    for arm in ("distilled", "control"):
        assert study.trials.filter(arm=arm).count() == 5
    for trial in study.trials.filter(arm="control").select_related("run"):
        assert set(trial.parameters) == {"training.learning_rate"}
        assert trial.run is not None
        assert trial.run.config["teachers"] == []
        assert [one["kind"] for one in trial.run.config["losses"]] == ["hard_labels"]
        rate = trial.parameters["training.learning_rate"]
        assert trial.run.config["training"]["learning_rate"] == rate


def test_a_control_with_nothing_to_vary_is_tried_once(
    project: Project, taught: dict[str, Any]
) -> None:
    study = launch(project, taught, control=True, space={"losses.0.temperature": [1, 2, 3]})
    carry_out(study)
    study.refresh_from_db()
    counts = [study.trials.filter(arm=arm).count() for arm in study.asked["arms"]]
    assert (study.status, counts) == ("finished", [3, 1])


# Several workers, and machines that die ----------------------------------------------------------


def test_of_several_workers_that_ask_at_once_none_asks_twice(
    project: Project, taught: dict[str, Any]
) -> None:
    study = launch(project, taught, at_once=3)
    trial = study.trials.select_related("run").first()
    assert trial is not None
    assert trial.run is not None
    summary = {"best_value": 0.5, "selection_metric": "val/accuracy"}
    Run.objects.filter(pk=trial.run.pk).update(status="finished", summary=summary)
    barrier = threading.Barrier(4)

    def ask() -> None:
        barrier.wait()
        try:
            telling.tell(study.pk)
        finally:
            connection.close()

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert numbers(study) == [1, 2, 3, 4]
    assert study.runs.count() == 4


def test_the_reaper_asks_where_a_machine_died_between_two_trials(
    project: Project, taught: dict[str, Any]
) -> None:
    study = launch(project, taught, at_once=2)
    for trial in study.trials.select_related("run"):  # over, and nobody told it
        assert trial.run is not None
        summary = {"best_value": 0.5, "selection_metric": "val/accuracy"}
        Run.objects.filter(pk=trial.run.pk).update(status="finished", summary=summary)
        reaper.reap()
    assert numbers(study) == [1, 2, 3, 4]
    assert numbers(study, state="complete") == [1, 2]


# Stopping, going on, adding ----------------------------------------------------------------------


def test_a_sweep_is_stopped_goes_on_and_gets_more_trials(
    client: APIClient, project: Project, taught: dict[str, Any]
) -> None:
    study = launch(project, taught, at_once=1, trials=3)
    at = f"{STUDIES}{study.number}"
    assert client.post(f"{at}/stop/").json()["sweep"]["stopped"]
    carry_out(study)  # what trains goes on to its end
    study.refresh_from_db()
    assert (study.status, numbers(study)) == ("finished", [1])
    assert client.post(f"{at}/resume/").json()["status"] == "running"
    telling.tell(study.pk)
    carry_out(study)
    assert numbers(study) == [1, 2, 3]
    assert client.post(f"{at}/resume/").status_code == 409  # there is nothing to resume
    told = client.post(f"{at}/trials/", {"trials": 2}).json()
    assert (told["status"], told["sweep"]["trials"]) == ("running", 5)
    telling.tell(study.pk)
    carry_out(study)
    study.refresh_from_db()
    assert (study.status, numbers(study)) == ("finished", [1, 2, 3, 4, 5])
    assert client.post(f"{at}/trials/", {"trials": 900}).json()["fields"] == {
        "trials": ["It must be a whole number from 1 to 495."]
    }
    assert client.post(f"{at}/stop/").status_code == 409


def test_cancelling_a_sweep_stops_it_and_ends_what_trains(
    client: APIClient, project: Project, taught: dict[str, Any]
) -> None:
    study = launch(project, taught, at_once=2)
    client.post(f"{STUDIES}{study.number}/cancel/")
    telling.tell(study.pk)
    study.refresh_from_db()
    assert (study.status, numbers(study, state="cancelled")) == ("failed", [1, 2])


def test_a_sweep_that_gets_trials_while_it_is_told_of_goes_on(
    project: Project, taught: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = launch(project, taught, at_once=1, trials=1)
    whole = worker_sweeps.report

    def report(telling_of: Study, members: Any) -> dict[str, Any]:
        sweeps.add_trials(study=Study.objects.get(), trials=1, by=project.created_by)
        return whole(telling_of, members)

    monkeypatch.setitem(telling.TELLERS, "sweep", report)
    end(study.trials.get(), 0.5)
    study.refresh_from_db()
    assert study.status == "running"
    telling.tell(study.pk)
    assert numbers(study) == [1, 2]


def test_in_an_archived_project_a_sweep_waits(project: Project, taught: dict[str, Any]) -> None:
    study = launch(project, taught, at_once=1)
    Project.objects.filter(pk=project.pk).update(archived_at=study.created_at)
    carry_out(study)
    study.refresh_from_db()
    assert (study.status, numbers(study)) == ("running", [1])
    Project.objects.filter(pk=project.pk).update(archived_at=None)
    reaper.reap()
    assert numbers(study) == [1, 2]


# The best of it ----------------------------------------------------------------------------------


def test_the_best_is_tested_beside_its_control_and_once(
    client: APIClient, project: Project, taught: dict[str, Any]
) -> None:
    study = launch(project, taught, at_once=1, trials=3)
    at = f"{STUDIES}{study.number}"
    assert client.post(f"{at}/best/").json()["code"] == "not_over"
    carry_out(study, lambda parameters: float(parameters["losses.0.temperature"]))
    best = max(study.trials.all(), key=lambda one: one.value or 0)
    shown = client.get(f"{at}/").json()["sweep"]["best"]["distilled"]
    assert (shown["trial"], shown["parameters"]) == (best.number, best.parameters)
    answer = client.post(f"{at}/best/", {"seeds": 2})
    assert answer.status_code == 201, answer.json()
    told = answer.json()
    assert (told["kind"], len(told["runs"])) == ("seeds", 4)
    for run in Run.objects.filter(study__number=told["number"], arm="distilled"):
        assert "evaluation" not in run.config  # it looks at test rows
        assert run.config["losses"][0]["temperature"] == best.value
        rate = best.parameters["training.learning_rate"]
        assert run.config["training"]["learning_rate"] == rate
        assert run.controls.exists()
    again = client.post(f"{at}/best/")
    assert (again.status_code, again.json()["number"]) == (200, told["number"])
    assert client.get(f"{at}/").json()["sweep"]["tested_by"] == [told["number"]]


def test_the_best_of_both_ways_meet_on_the_same_seeds(
    client: APIClient, project: Project, taught: dict[str, Any]
) -> None:
    study = launch(project, taught, control=True, trials=3, at_once=2)
    carry_out(study, lambda parameters: float(parameters["training.learning_rate"]))
    told = client.post(f"{STUDIES}{study.number}/best/").json()
    assert (told["kind"], len(told["runs"])) == ("finals", 6)
    assert told["asked"]["comparisons"] == [["distilled", "control"]]
    for arm in ("distilled", "control"):
        best = max(study.trials.filter(arm=arm), key=lambda one: one.value or 0)
        made = Run.objects.filter(study__number=told["number"], arm=arm)
        assert {run.config["training"]["learning_rate"] for run in made} == {best.value}
        assert sorted(run.config["training"]["seed"] for run in made) == [0, 1, 2]
        assert {bool(run.config["teachers"]) for run in made} == {arm == "distilled"}


def test_of_nothing_complete_there_is_no_best(
    client: APIClient, project: Project, taught: dict[str, Any]
) -> None:
    study = launch(project, taught, trials=1)
    end(study.trials.get(), None, "failed", error={"code": "diverged", "detail": "No."})
    assert client.post(f"{STUDIES}{study.number}/best/").json()["code"] == "no_trial"
    client.post(STUDIES, {"kind": "seeds", "base": taught, "seeds": 1})
    assert client.post(f"{STUDIES}2/best/").json()["code"] == "no_sweep"
    assert client.get(f"{STUDIES}2/trials/").status_code == 409


def test_trials_are_listed_in_order(
    client: APIClient, project: Project, taught: dict[str, Any]
) -> None:
    study = launch(project, taught, trials=3)
    carry_out(study)
    found = client.get(f"{STUDIES}{study.number}/trials/?limit=2").json()
    assert [one["number"] for one in found["results"]] == [1, 2]
    assert found["next"]
    first = found["results"][0]
    assert (first["state"], first["value"], first["arm"]) == ("complete", 0.5, "distilled")
    assert first["run"] == study.trials.get(number=1).run.number  # type: ignore[union-attr]


# Pruning -----------------------------------------------------------------------------------------


def measured(run: Run, values: list[float]) -> None:
    metrics.append(
        run,
        [metrics.Measured("val/accuracy", 10 * at, value, 0.0) for at, value in enumerate(values)],
    )


@pytest.mark.parametrize(
    ("curve", "behind"),
    [([0.1], False), ([0.1, 0.2], True), ([0.1, 0.9], False), ([0.9, 0.1], False), ([], False)],
)
def test_who_is_behind_the_median_after_its_first_epoch_is_pruned(
    curve: list[float], behind: bool
) -> None:
    asked_of = {"falls": False}
    others = [
        Trial(number=number, state="complete", value=0.8, curve=[0.3, 0.6, 0.8])
        for number in range(5)
    ]
    found = bool(curve) and sweep_search.falls_behind(asked_of, curve, others)
    assert found is behind
    if curve:
        assert not sweep_search.falls_behind(asked_of, curve, others[:3])  # too few to tell
        falling = [Trial(number=one.number, state="complete", value=0.1, curve=[0.2, 0.15, 0.1])
                   for one in others]  # fmt: skip
        worse = sweep_search.falls_behind({"falls": True}, curve, falling)
        assert worse is (len(curve) > 1 and min(curve) > 0.15)


def test_a_trial_that_falls_behind_is_told_to_leave_and_is_no_failure(
    project: Project, taught: dict[str, Any], worker: Worker
) -> None:
    study = launch(project, taught, at_once=1, trials=9, pruning=True)
    for _ in range(4):
        trial = study.trials.select_related("run").get(state="running")
        assert trial.run is not None
        measured(trial.run, [0.3, 0.6, 0.8])
        end(trial, 0.8)
    trial = study.trials.select_related("run").get(state="running")
    assert trial.run is not None
    held = claims.claim(trial.run.pk, worker)
    assert held is not None
    held.move(Run.Status.TRAINING)
    watch = worker_sweeps.watch(held.run)
    assert watch is not None
    assert not watch.look(held.now())
    measured(held.run, [0.1, 0.2])
    assert watch.look(held.now())
    run = held.now()
    assert run.error is not None
    assert (run.status, run.error["code"]) == ("cancelling", "pruned")
    assert run.error["detail"] == (
        "Pruned after 2 epochs: its best accuracy of 20.0 % is worse than the median of the trials "
        "before it."
    )
    assert not watch.look(run)  # once
    end(trial, None, "cancelled")
    trial.refresh_from_db()
    assert (trial.state, trial.value, trial.curve) == ("pruned", None, [0.1, 0.2])
    assert study.trials.filter(state="running").count() == 1  # the next one has its machine


def test_a_sweep_that_prunes_nothing_watches_nothing(
    project: Project, taught: dict[str, Any]
) -> None:
    study = launch(project, taught, pruning=False)
    trial = study.trials.select_related("run__study").first()
    assert trial is not None
    assert trial.run is not None
    assert worker_sweeps.watch(trial.run) is None
    assert worker_sweeps.watch(make.run(project)) is None
    assert not MetricSeries.objects.exists()


# What came of it ---------------------------------------------------------------------------------


def test_the_report_tells_the_best_of_each_way_and_what_mattered(
    project: Project, taught: dict[str, Any]
) -> None:
    def score(parameters: dict[str, Any]) -> float:
        return 1 - abs(float(parameters.get("losses.0.temperature", 9)) - 3) / 10

    study = launch(project, taught, control=True, trials=12, sampler="random", at_once=4)
    carry_out(study, score)
    study.refresh_from_db()
    assert study.report is not None
    told = study.report["sweep"]
    best = max(study.trials.filter(arm="distilled"), key=lambda one: one.value or 0)
    assert told["best"]["distilled"] == {"trial": best.number, "value": best.value}
    assert set(told["best"]) == {"distilled", "control"}
    shares = told["importance"]
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["losses.0.temperature"] > 0.8 > shares["training.learning_rate"]


def test_where_less_is_better_the_least_is_the_best() -> None:
    trials = [Trial(number=at, state="complete", value=value) for at, value in
              enumerate([0.5, 0.2, 0.2, 0.9])]  # fmt: skip
    trials.append(Trial(number=9, state="pruned", value=0.01))
    lowest = sweep_search.best_of({"falls": True}, trials)
    highest = sweep_search.best_of({"falls": False}, trials)
    assert lowest is not None
    assert highest is not None
    assert (lowest.number, highest.number) == (1, 3)


# What may go wrong -------------------------------------------------------------------------------


def test_what_is_over_costs_no_further_queries(
    project: Project, taught: dict[str, Any], django_assert_num_queries: Any
) -> None:
    study = launch(project, taught, trials=8, at_once=8)
    trials = list(study.trials.select_related("run", "study"))
    end(trials[0], 0.5)
    with CaptureQueriesContext(connection) as one:
        telling.tell(study.pk)
    for trial in trials[1:7]:
        end(trial, 0.5)
    with django_assert_num_queries(len(one)):
        telling.tell(study.pk)


def test_a_trial_that_cannot_be_judged_trains_on(
    project: Project, taught: dict[str, Any], worker: Worker
) -> None:
    study = launch(project, taught, at_once=8, trials=8, pruning=True)
    trials = list(study.trials.select_related("run", "study"))
    for trial in trials[:5]:
        end(trial, 0.5)
    del study.asked["falls"]  # without which nobody knows what is better
    study.save()
    assert trials[6].run is not None
    held = claims.claim(trials[6].run.pk, worker)
    assert held is not None
    held.move(Run.Status.TRAINING)
    measured(held.run, [0.1, 0.2])
    watch = worker_sweeps.watch(held.run)
    assert watch is not None
    assert not watch.look(held.now())
    assert held.now().status == "training"
