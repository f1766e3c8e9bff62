"""Runs that wait for another run's output: released when it is there, failed when it never will."""

from typing import Any

from django.db.models.functions import Now

from projects.models import ModelVersion
from training.models import Run
from training.worker import dispatch

UPSTREAM_FAILED = "upstream_failed"


def settle(run: Run) -> None:
    """After a run ended: go on with those that waited for it, and tell its study. Call it in the
    same transaction."""
    if run.study_id is not None:
        dispatch.tell_study(run.study_id)
    for waiting in run.awaited_by.filter(status=Run.Status.WAITING):
        if run.status == Run.Status.FINISHED:
            release(waiting)
        else:
            fail(waiting, upstream=run)


def tell(run: Run, sentence: str) -> None:
    """Say it on the timeline of those that wait for this run."""
    for one in run.awaited_by.filter(status=Run.Status.WAITING):
        one.tell("waiting", sentence)


def look_again(run: Run) -> None:
    """Settle a waiting run whose upstream ended while nobody told it."""
    for upstream in run.waits_for.all():
        if upstream.status in (Run.Status.FAILED, Run.Status.CANCELLED):
            fail(run, upstream=upstream)
            return
    release(run)


def release(run: Run) -> bool:
    """Queue a waiting run once everything it waits for is finished, its references pinned."""
    awaited = list(run.waits_for.select_related("output__model"))
    if any(one.status != Run.Status.FINISHED or one.output is None for one in awaited):
        return False
    outputs = {f"run/{one.number}": one.output for one in awaited if one.output is not None}
    config, pinned = pin(run.config, outputs)
    student = outputs.get(run.config["student"], run.student)
    if not run.move_to(
        Run.Status.QUEUED,
        among=[Run.Status.WAITING],
        config=config,
        student=student,
        queued_at=Now(),
    ):
        return False
    run.teachers.add(*pinned)
    numbers = ", ".join(str(one.number) for one in awaited)
    run.tell("queued", f"Run {numbers} is finished, so this one can begin.")
    dispatch.wake(run)
    return True


def fail(run: Run, *, upstream: Run) -> None:
    """A run whose input will never come fails, and so do those that wait for it in turn."""
    why = (upstream.error or {}).get("code", "")
    ended = "was cancelled" if upstream.status == Run.Status.CANCELLED else "failed"
    reason = f" ({why.replace('_', ' ')})" if why and ended == "failed" else ""
    again = "Resume" if upstream.status == Run.Status.CANCELLED else "Retry"
    detail = (
        f"Run {upstream.number}, whose model it needs, {ended}{reason}. "
        f"{again} run {upstream.number} first, then retry this one."
    )
    moved = run.move_to(
        Run.Status.FAILED,
        among=[Run.Status.WAITING],
        error={"code": UPSTREAM_FAILED, "detail": detail},
        finished_at=Now(),
    )
    if moved:
        run.tell("failed", detail)
        settle(run)


def pin(
    config: dict[str, Any], outputs: dict[str, ModelVersion]
) -> tuple[dict[str, Any], list[ModelVersion]]:
    """The configuration with `run/12` replaced by what it made; and the teachers among those."""
    teachers: list[Any] = []
    pinned: list[ModelVersion] = []
    for asked in config["teachers"]:
        reference = asked if isinstance(asked, str) else asked["model"]
        version = outputs.get(reference)
        if version is None:
            teachers.append(asked)
            continue
        pinned.append(version)
        if isinstance(asked, str):
            teachers.append(version.reference)
        else:
            teachers.append({**asked, "model": version.reference})
    student = outputs.get(config["student"])
    name = config["student"] if student is None else student.reference
    return {**config, "student": name, "teachers": teachers}, pinned
