"""How runs end, and what becomes of those that wait for them. Nothing trains here."""

from pathlib import Path

import pytest

from distillhub.lib.errors import Conflict
from projects.models import Project, User
from tests import make
from training.models import Run, Worker
from training.services import runs
from training.worker import claims, outcomes, waiting

pytestmark = pytest.mark.django_db(transaction=True)


def test_whoever_comes_first_of_cancellation_and_completion_wins(
    project: Project, worker: Worker, alice: User, tmp_path: Path
) -> None:
    first, second = make.run(project, control_of=make.run(project)), make.run(project)
    held = claims.claim(first.pk, worker)
    assert held is not None
    runs.cancel(run=first, by=alice)
    assert first.status == "cancelling"
    outcomes.finish(held, tmp_path, {"steps": 3}, 10)
    first.refresh_from_db()
    assert (first.status, first.summary) == ("cancelled", {})

    Run.objects.filter(pk=second.pk).update(control_of=first.pk)
    held = claims.claim(second.pk, worker)
    assert held is not None
    outcomes.finish(held, tmp_path, {"steps": 3, "ece": float("nan")}, 10)
    with pytest.raises(Conflict):
        runs.cancel(run=second, by=alice)
    second.refresh_from_db()
    assert (second.status, second.summary) == ("finished", {"steps": 3, "ece": "NaN"})


@pytest.mark.parametrize(
    ("status", "then"),
    [
        ("waiting", "cancelled"),
        ("queued", "cancelled"),
        ("paused", "cancelled"),
        ("starting", "cancelling"),
        ("training", "cancelling"),
        ("evaluating", "cancelling"),
        ("cancelling", "cancelling"),
        ("cancelled", "cancelled"),
    ],
)
def test_a_run_can_be_cancelled_at_every_moment(
    project: Project, alice: User, status: str, then: str
) -> None:
    run = make.run(project, status=status)
    assert runs.cancel(run=run, by=alice).status == then
    run.refresh_from_db()
    assert run.status == then
    assert (run.finished_at is not None) == (then == "cancelled" and status != "cancelled")


def test_a_run_given_back_counts_no_loss(held: claims.Held) -> None:
    outcomes.give_back(held, "The worker was stopped.", 7)
    run = Run.objects.get()
    assert (run.status, run.worker, run.lease_until) == ("queued", None, None)
    assert (run.times_lost, run.retry_at, run.journal_offset) == (0, None, 7)


def test_runs_that_wait_for_a_failed_run_fail_and_can_be_resumed_after_it(
    project: Project, worker: Worker, alice: User
) -> None:
    upstream = make.run(project)
    middle, last = make.run(project, status="waiting"), make.run(project, status="waiting")
    for run, awaited in ((middle, upstream), (last, middle)):
        run.config["student"] = f"run/{awaited.number}"
        run.waits_for.add(awaited)
        run.save()
    held = claims.claim(upstream.pk, worker)
    assert held is not None
    outcomes.fail(held, code="out_of_memory", detail="The machine ran out of memory.")
    for run in (middle, last):
        run.refresh_from_db()
        assert run.status == "failed"
        assert run.error is not None
        assert run.error["code"] == "upstream_failed"
    with pytest.raises(Conflict, match="Retry run 1 first"):
        runs.resume(run=middle, by=alice)
    upstream.refresh_from_db()
    runs.resume(run=upstream, by=alice)
    assert upstream.status == "queued"
    assert runs.resume(run=middle, by=alice).status == "waiting"


def test_a_waiting_run_is_released_with_its_reference_pinned(project: Project) -> None:
    made = make.model_version(project, "big", role="teacher")
    upstream = make.run(project, status="finished", output=made)
    run = make.run(project, status="waiting")
    run.config["teachers"] = [{"model": f"run/{upstream.number}", "weight": 0.5}]
    run.save()
    run.waits_for.add(upstream)
    assert waiting.release(run)
    run.refresh_from_db()
    assert run.status == "queued"
    assert run.config["teachers"] == [{"model": "big@1", "weight": 0.5}]
    assert list(run.teachers.all()) == [made]
