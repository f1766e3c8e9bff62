"""Sweeps go on, stop, prune and end, with their best judged on validation rows alone."""

import threading
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from projects.models import Project, User
from tests import make
from tests.conftest import api_of
from tests.training.sweep_trials import STUDIES, carry_out, end, launch, numbers
from training.models import MetricSeries, Run, Study, Trial, Worker
from training.services import sweeps
from training.worker import claims, metrics, reaper, sweep_search
from training.worker import studies as telling
from training.worker import sweeps as worker_sweeps

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def client(erin: User, project: Project) -> APIClient:
    return api_of(erin)


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
