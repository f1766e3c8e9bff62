"""What people do to runs: the table of docs/runs.md holds for every status and action, and of a
person and a worker at the same moment exactly one wins. Real rows and threads; nothing trains."""

import re
import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from distillhub.lib.errors import Conflict, Invalid
from projects.models import Project, User
from tests import make
from training.models import MetricSeries, Run, Worker
from training.services import queue, runs
from training.worker import claims, metrics, outcomes, reaper, waiting

pytestmark = pytest.mark.django_db(transaction=True)

DOCUMENT = Path(__file__).resolve().parent.parent.parent / "docs/runs.md"
ACTS: dict[str, Callable[..., Run]] = {
    "pause": runs.pause,
    "resume": runs.resume,
    "retry": runs.retry,
    "cancel": runs.cancel,
    "move": lambda run, by: queue.move(run=run, to="up", by=by),
}


def table() -> list[tuple[str, str, str]]:
    """Status, action and what comes of it, as the document has them."""
    lines = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| ")]
    head = [cell.strip() for cell in lines[0].strip("|").split("|")]
    found = []
    for line in lines[1:]:
        cells = [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        if len(cells) != len(head) or cells[0] == "who":
            break
        found += [
            (cells[0], action, then) for action, then in zip(head[1:], cells[1:], strict=True)
        ]
    return found


def in_status(project: Project, status: str, **fields: Any) -> Run:
    if status == "pausing":
        return make.run(project, status="training", pause_requested_at=timezone.now(), **fields)
    return make.run(project, status=status, **fields)


def at_once(*acts: Callable[[], Any]) -> list[Any]:
    """What each gave, or raised, when all began at the same moment."""
    gate, found = threading.Barrier(len(acts)), [None] * len(acts)

    def one(place: int) -> None:
        gate.wait()
        try:
            found[place] = acts[place]()
        except Exception as error:
            found[place] = error  # type: ignore[call-overload]
        finally:
            connection.close()

    threads = [threading.Thread(target=one, args=(place,)) for place in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def asked(act: Callable[..., Run], pk: int, by: User) -> Run:
    """As a request does it: by a row of its own reading."""
    return act(run=Run.objects.get(pk=pk), by=by)


def told(run: Run) -> list[str]:
    return [event.sentence for event in run.events.all()]


def test_the_table_names_every_status_and_action() -> None:
    rows = table()
    assert {status for status, _, _ in rows} == {*Run.Status.values, "pausing"}
    assert {action for _, action, _ in rows} == set(ACTS) == set(runs.ACTIONS)


@pytest.mark.parametrize(("status", "action", "then"), table())
def test_an_action_does_what_the_table_says(
    project: Project, alice: User, status: str, action: str, then: str
) -> None:
    run = in_status(project, status)
    before = Run.objects.values().get(pk=run.pk)
    if then == "409":
        with pytest.raises(Conflict):
            ACTS[action](run=run, by=alice)
        assert Run.objects.values().get(pk=run.pk) == before
        assert told(run) == []
        return
    ACTS[action](run=run, by=alice)
    run = Run.objects.get(pk=run.pk)
    if then == "pausing":
        assert run.is_pausing
        assert run.status == before["status"]
    elif then == "goes on":
        assert (run.is_pausing, run.status) == (False, "training")
    else:
        assert run.status == then
    changed = run.status != before["status"] or run.is_pausing != (status == "pausing")
    assert bool(told(run)) == changed  # each transition is told, and nothing else is
    offered = action in runs.actions(in_status(project, status))
    assert offered or not changed


@pytest.mark.parametrize("status", [*Run.Status.values, "pausing"])
def test_what_is_offered_is_what_the_table_lets_change(project: Project, status: str) -> None:
    allowed = {action for at, action, then in table() if at == status and then not in ("409", at)}
    kept = {"move"} if status == "queued" else set()
    assert set(runs.actions(in_status(project, status))) == allowed | kept


# -- of several at the same moment one wins -------------------------------------------------------


def test_of_cancel_pause_and_finish_exactly_one_ends_the_run(
    project: Project, worker: Worker, alice: User, tmp_path: Path
) -> None:
    control_of = make.run(project, status="finished")
    for _ in range(8):
        run = make.run(project, control_of=control_of)
        held = claims.claim(run.pk, worker)
        assert held is not None
        at_once(
            partial(asked, runs.cancel, run.pk, alice),
            partial(asked, runs.pause, run.pk, alice),
            partial(outcomes.finish, held, tmp_path / "none", {"steps": 1}, 1),
        )
        run.refresh_from_db()
        if run.status == "cancelling":  # finish came between the wish and its end
            outcomes.cancel(held)
            run.refresh_from_db()
        assert run.status in ("finished", "cancelled")
        kinds = [event.kind for event in run.events.all()]
        assert kinds.count("finished") + kinds.count("cancelled") == 1
        assert (run.lease_until, run.is_pausing) == (None, False)


def test_no_pause_is_lost_when_the_worker_gives_back_at_that_moment(
    project: Project, worker: Worker, alice: User
) -> None:
    for _ in range(8):
        run = make.run(project)
        held = claims.claim(run.pk, worker)
        assert held is not None
        _, paused = at_once(
            partial(outcomes.give_back, held, "The worker was stopped."),
            partial(asked, runs.pause, run.pk, alice),
        )
        assert isinstance(paused, Run), paused
        run.refresh_from_db()
        assert (run.status, run.pause_requested_at, run.lease_until) == ("paused", None, None)


def test_of_a_claim_and_a_pause_one_comes_first_and_both_are_kept(
    project: Project, worker: Worker, alice: User
) -> None:
    for _ in range(8):
        run = make.run(project)
        held, paused = at_once(
            partial(claims.claim, run.pk, worker),
            partial(asked, runs.pause, run.pk, alice),
        )
        assert isinstance(paused, Run), paused
        run.refresh_from_db()
        if held is None:
            assert (run.status, run.attempt) == ("paused", 0)
        else:
            assert run.is_pausing
            outcomes.give_back(held, "It left.")
            run.refresh_from_db()
            assert run.status == "paused"


def test_many_who_resume_queue_it_once(project: Project, alice: User) -> None:
    run = make.run(project, status="paused")
    found = at_once(*[partial(asked, runs.resume, run.pk, alice)] * 6)
    assert sum(isinstance(one, Run) for one in found) == 1
    assert sum(isinstance(one, Conflict) for one in found) == 5
    assert len(told(run)) == 1


def test_reordering_by_many_loses_no_run_and_gives_no_place_twice(
    project: Project, alice: User, erin: User
) -> None:
    made = [make.run(project) for _ in range(5)]
    moves = ["up", "down", "front", "up", "front"]
    acts = [
        partial(queue.move, run=run, to=to, by=by)
        for run, to, by in zip(made, moves, [alice, erin, alice, erin, alice], strict=True)
    ]
    for one in at_once(*acts):
        assert isinstance(one, Run), one
    places = [run.place or run.queued_at for run in Run.objects.all()]
    assert len(set(places)) == 5


# -- pausing --------------------------------------------------------------------------------------


def test_a_run_in_training_pauses_at_its_checkpoint_and_goes_on_from_it(
    held: claims.Held, worker: Worker, alice: User
) -> None:
    run = held.run
    held.write(step=40, journal_offset=7, job_home="here")
    runs.pause(run=run, by=alice)
    outcomes.leave(held, 40, 9)
    run.refresh_from_db()
    assert (run.status, run.worker, run.lease_until) == ("paused", None, None)
    assert (run.step, run.journal_offset, run.job_home) == (40, 9, "here")
    assert "Paused at step 40; resumed, it goes on from there." in told(run)
    runs.resume(run=run, by=alice)
    assert (run.status, run.job_home, run.place) == ("queued", "here", None)
    assert claims.claim(run.pk, worker) is not None


@pytest.mark.parametrize("action", ["pause", "cancel"])
def test_a_worker_that_dies_while_it_is_asked_leaves_what_was_asked_for(
    held: claims.Held, alice: User, action: str
) -> None:
    ACTS[action](run=held.run, by=alice)
    Run.objects.update(step=3, lease_until=timezone.now() - timedelta(seconds=1))
    reaper.reap()
    run = Run.objects.get()
    assert run.status == {"pause": "paused", "cancel": "cancelled"}[action]
    assert "went silent at step 3." in told(run)[-1]


def test_a_run_that_is_complete_before_it_can_pause_says_so(
    held: claims.Held, alice: User, project: Project, tmp_path: Path
) -> None:
    Run.objects.filter(pk=held.run.pk).update(control_of=make.run(project, status="finished"))
    held.run.refresh_from_db()
    runs.pause(run=held.run, by=alice)
    outcomes.finish(held, tmp_path / "none", {"steps": 3}, 1)
    held.run.refresh_from_db()
    assert held.run.status == "finished"
    assert told(held.run)[-1].endswith("It was complete before it could pause.")


def test_a_pause_can_be_withdrawn_before_it_comes(held: claims.Held, alice: User) -> None:
    runs.pause(run=held.run, by=alice)
    runs.resume(run=held.run, by=alice)
    outcomes.leave(held, 5, 1)  # it was already on its way
    assert Run.objects.get().status == "queued"


# -- trying again ---------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", sorted(runs.INCURABLE))
@pytest.mark.parametrize("act", [runs.retry, runs.resume])
def test_what_would_fail_in_the_same_way_is_not_tried_again(
    project: Project, alice: User, fault: str, act: Callable[..., Run]
) -> None:
    error = {"code": fault, "detail": "So it is."}
    run = make.run(project, status="failed", error=error)
    with pytest.raises(Conflict, match="clone it") as refused:
        act(run=run, by=alice)
    assert refused.value.code == "would_fail_again"
    assert runs.actions(run) == []


@pytest.mark.parametrize("beginning", [False, True])
def test_a_retry_keeps_or_forgets_what_was_measured(
    project: Project, alice: User, beginning: bool
) -> None:
    error = {"code": "killed", "detail": "It died."}
    run = make.run(
        project, status="failed", error=error, step=30, fraction=0.5, job_home="here", attempt=2,
        times_lost=5, death_step=30, deaths_there=3, journal_offset=99, metrics={"train/loss": 1.0},
    )  # fmt: skip
    metrics.append(run, [metrics.Measured("train/loss", 30, 1.0, 0.0)])
    runs.retry(run=run, beginning=beginning, by=alice)
    run.refresh_from_db()
    assert (run.status, run.error, run.attempt) == ("queued", None, 2)
    assert (run.times_lost, run.death_step, run.deaths_there) == (0, None, 0)
    kept = (run.step, run.fraction, run.job_home, run.journal_offset)
    assert kept == ((0, 0.0, "", 0) if beginning else (30, 0.5, "here", 99))
    assert MetricSeries.objects.filter(run=run).exists()  # until a worker begins anew
    assert ("from the beginning" in told(run)[0]) == beginning


# -- runs that wait for this one ------------------------------------------------------------------


@pytest.fixture
def awaited(project: Project) -> tuple[Run, Run]:
    """A run, and one that waits for its model."""
    first, second = make.run(project), make.run(project, status="waiting")
    second.config["student"] = f"run/{first.number}"
    second.save()
    second.waits_for.add(first)
    return first, second


def test_who_waits_is_told_of_a_pause_and_of_its_end(awaited: tuple[Run, Run], alice: User) -> None:
    first, second = awaited
    runs.pause(run=first, by=alice)
    assert told(second) == [
        "Run 1, whose model it needs, was paused; it waits until that is resumed and finished."
    ]
    assert queue.places([second])[second.pk].said == "It waits for the model of run 1 (paused)."
    runs.resume(run=first, by=alice)
    assert told(second)[1:] == ["Run 1, whose model it needs, goes on."]


@pytest.mark.parametrize("how", ["cancel", "fail"])
def test_who_waits_is_told_why_its_input_never_comes(
    awaited: tuple[Run, Run], alice: User, worker: Worker, how: str
) -> None:
    first, second = awaited
    if how == "cancel":
        runs.cancel(run=first, by=alice)
    else:
        held = claims.claim(first.pk, worker)
        assert held is not None
        outcomes.fail(held, code="out_of_memory", detail="It was too large.")
    second.refresh_from_db()
    assert second.status == "failed"
    why = {"cancel": "was cancelled", "fail": "failed (out of memory)"}[how]
    assert told(second)[-1].startswith(f"Run 1, whose model it needs, {why}.")


def test_a_run_that_was_paused_while_it_waited_waits_again(
    awaited: tuple[Run, Run], alice: User, project: Project
) -> None:
    first, second = awaited
    runs.pause(run=second, by=alice)
    made = make.model_version(project)
    Run.objects.filter(pk=first.pk).update(status="finished", output=made)
    first.refresh_from_db()
    waiting.settle(first)  # leaves it in peace
    second.refresh_from_db()
    assert second.status == "paused"
    runs.resume(run=second, by=alice)
    second.refresh_from_db()
    assert (second.status, second.config["student"]) == ("queued", made.reference)


# -- priority -------------------------------------------------------------------------------------


def test_a_priority_is_a_word_and_changes_until_the_run_is_over(
    project: Project, alice: User
) -> None:
    run = make.run(project)
    queue.prioritise(run=run, priority="high", by=alice)
    queue.prioritise(run=run, priority="high", by=alice)
    assert run.priority == Run.Priority.HIGH
    assert told(run) == ["alice set its priority to high."]
    with pytest.raises(Invalid, match="low, normal, high"):
        queue.prioritise(run=run, priority="highest", by=alice)
    Run.objects.update(status="finished")
    with pytest.raises(Conflict):
        queue.prioritise(run=run, priority="low", by=alice)


def test_the_document_says_which_faults_are_not_tried_again() -> None:
    said = re.search(r"would come again:\n\s+(.*) are mended", DOCUMENT.read_text())
    assert said is not None
    assert set(re.findall(r"`(\w+)`", said[1])) == set(runs.INCURABLE)
