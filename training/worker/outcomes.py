"""How an attempt ends: finished, failed, cancelled, or back to the queue; each one transaction."""

import logging
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from distillhub.lib import leases
from distillhub.templatetags import ui
from projects.models import ModelVersion
from projects.services import registry
from training.engine import events
from training.models import Artifact, Run
from training.worker import (
    afterwards,
    bests,
    checkpoints,
    dispatch,
    exports,
    failures,
    folders,
    logs,
    teacher_store,
    waiting,
)
from training.worker.claims import Held

log = logging.getLogger(__name__)

MOST_LOSSES = 5  # machines a run may lose
STORAGE_PAUSE = timedelta(minutes=1)  # between two tries when storage is away
MOST_DEATHS = 3  # deaths in a row at one step
DIED = (
    "died {here} times in a row at step {step}, so it was not tried again: probably out of memory. "
    "Try a smaller batch_size or student."
)
POISON = {
    "hung": "hung or died {here} times in a row at step {step}, so it was not tried again. The end "
    "of its console says where it stood."
}
LET_GO: dict[str, Any] = {
    "lease_until": None,
    "worker": None,
    "eta_seconds": None,
    "retry_at": None,
    "pause_requested_at": None,
}


def finish(held: Held, folder: Path, summary: dict[str, Any], offset: int) -> None:
    """The training is complete. A person who cancelled first has won."""
    run = held.run
    with transaction.atomic():
        pausing = held.now().is_pausing
        done = held.move(
            Run.Status.FINISHED,
            journal_offset=offset,
            finished_at=Now(),
            summary=events.finite(summary),
            fraction=1.0,
            stage="",
            **LET_GO | {"worker": F("worker")},
        )
        if not done:
            cancel(held, offset)
            return
        run.refresh_from_db()
        kept = run.control_of_id is None and not hasattr(run, "trial")
        made = _add_version(run, folder) if kept else None
        if made is not None:
            Run.objects.filter(pk=run.pk).update(output=made)
            run.output = made
            exports.queue(run, made)
        too_late = " It was complete before it could pause." if pausing else ""
        run.tell("finished", _told(run, made) + too_late)
        bests.announce(run)
        waiting.settle(run)
    folders.clear(folder)
    checkpoints.free(run)
    afterwards.tell(run)
    if run.config.get("teachers"):
        teacher_store.tell()  # at once, not within a minute: people look now


def fail(held: Held, *, code: str, detail: str, trace: str = "", offset: int | None = None) -> None:
    """The attempt ended for a reason that trying again would meet again."""
    changes: dict[str, Any] = {} if offset is None else {"journal_offset": offset}
    with transaction.atomic():
        done = held.move(
            Run.Status.FAILED,
            error=failures.report(held.now(), code=code, detail=detail, trace=trace),
            finished_at=Now(),
            **changes,
            **LET_GO | {"worker": F("worker")},
        )
        if not done:
            cancel(held, offset)
            return
        run = held.run
        run.refresh_from_db()
        logs.append(run, [logs.Line(time.time(), "error", detail)])
        run.tell("failed", detail)
        waiting.settle(run)


def cancel(held: Held, offset: int | None = None) -> None:
    """A person wished it to end. Raises claims.Fenced."""
    changes: dict[str, Any] = {} if offset is None else {"journal_offset": offset}
    with transaction.atomic():
        held.write(
            status=Run.Status.CANCELLED,
            finished_at=Now(),
            **changes,
            **LET_GO | {"worker": F("worker")},
        )
        run = held.run
        run.refresh_from_db()
        run.tell("cancelled", f"Stopped at step {run.step}{_where(run)}.")
        waiting.settle(run)


def give_back(
    held: Held, sentence: str, offset: int | None = None, *, step: int | None = None
) -> None:
    """Politely: this worker leaves, and the run goes on from its checkpoint (of `step`, where it is
    known) elsewhere, or rests where a person asked for a pause. Not counted as a loss."""
    changes: dict[str, Any] = {} if offset is None else {"journal_offset": offset}
    if step:  # one that left while it prepared says none
        changes["step"] = step
    with transaction.atomic():
        if not held.put_back(stage="", **changes, **LET_GO):
            cancel(held, offset)
            return
        run = held.run
        run.refresh_from_db()
        if run.status == Run.Status.PAUSED:
            run.tell("paused", f"Paused at step {run.step}; resumed, it goes on from there.")
            return
        run.tell("queued", sentence)
        dispatch.wake(run)


def rest(held: Held, why: str) -> None:
    """What the run needs cannot be had just now, and nothing is wrong with it: back to the queue
    for a minute. Not counted as a loss."""
    with transaction.atomic():
        changes = LET_GO | {"retry_at": leases.in_future(STORAGE_PAUSE)}
        if not held.move(Run.Status.QUEUED, stage="", **changes):
            cancel(held)
            return
        held.run.refresh_from_db()
        _tell_once(held.run, "queued", f"{why} It is tried again every minute.")
        dispatch.wake(held.run, after=STORAGE_PAUSE.total_seconds())


def wait_for_storage(held: Held, why: str, *, over: bool) -> bool:
    """What the training left cannot be stored just now: it stays on this machine until it can be.
    True when this attempt ends anyway, because a person cancelled it or the worker leaves; `over`
    says that the training process is gone. Raises claims.Fenced."""
    run = held.now()
    with transaction.atomic():
        held.write()
        _tell_once(run, "storage", f"{why} What it left is kept on its machine until then.")
    if over and run.cancel_requested_at is not None:
        cancel(held)
        return True
    if over and leases.stopping.is_set():
        give_back(held, "The worker was stopped before what the run left could be stored.")
        return True
    return False


def _tell_once(run: Run, kind: str, sentence: str) -> None:
    """Unless it was the last thing of its kind that was told."""
    last = run.events.filter(kind=kind).order_by("-pk").first()
    if last is None or last.sentence != sentence[:500]:
        run.tell(kind, sentence)


def leave(held: Held, step: int, offset: int) -> None:
    """The training left between two steps, because it was asked to."""
    if held.now().cancel_requested_at is not None:
        cancel(held, offset)
        return
    name = held.run.worker.name if held.run.worker is not None else "its worker"
    why = f"Worker {name} was stopped" if leases.stopping.is_set() else "It was asked to leave"
    now = held.now().worker
    if now is not None and now.is_leaving:
        why = f"Worker {name} was drained"
    give_back(held, f"{why}; it goes on from its checkpoint at step {step}.", offset, step=step)


def lose(run: Run, *, sentence: str, code: str) -> None:
    """A death: of the worker, or of the training process by somebody's hand. Back to the queue with
    a growing pause, unless it has died too often, or three times at the same step.

    `run` is the row as read inside the transaction of the caller, who has fenced it.
    """
    here = run.deaths_there + 1 if run.death_step == run.step else 1
    losses = run.times_lost + 1
    counted = {"death_step": run.step, "deaths_there": here, "times_lost": losses}
    if run.status == Run.Status.CANCELLING:
        run.move_to(
            Run.Status.CANCELLED,
            among=[Run.Status.CANCELLING],
            finished_at=Now(),
            **counted,
            **LET_GO,
        )
        run.tell("cancelled", f"{sentence} It was to be cancelled, so it is.")
        waiting.settle(run)
        return
    poison = here >= MOST_DEATHS
    if poison or losses > MOST_LOSSES:
        detail = (
            f"{sentence} It {POISON.get(code, DIED).format(here=here, step=run.step)}"
            if poison
            else f"{sentence} That was the {losses}th loss, so it was not tried again."
        )
        error = failures.report(run, code=code, detail=detail)
        run.move_to(
            Run.Status.FAILED,
            among=Run.LEASED,
            error=error,
            finished_at=Now(),
            **counted,
            **LET_GO,
        )
        run.tell("failed", detail)
        waiting.settle(run)
        return
    if run.is_pausing:
        run.move_to(Run.Status.PAUSED, among=Run.WORKING, stage="", **counted, **LET_GO)
        rests = "It was to pause, so it rests; resumed, it goes on from its newest checkpoint."
        run.tell("paused", f"{sentence} {rests}")
        return
    pause = timedelta(seconds=min(60, 2**losses))
    run.move_to(
        Run.Status.QUEUED,
        among=Run.LEASED,
        stage="",
        **counted,
        **LET_GO | {"retry_at": leases.in_future(pause)},
    )
    run.tell(
        "lost",
        f"{sentence} It goes on from its newest checkpoint, in {pause.total_seconds():.0f} s or "
        "later.",
    )
    dispatch.wake(run, after=pause.total_seconds())


def _add_version(run: Run, folder: Path) -> ModelVersion:
    """The next version of the student's model, made of the files this run saved."""
    assert run.student is not None
    described = folders.read_json(folder / "output/model/distillhub.json") or {}
    saved = Artifact.objects.filter(run=run, kind="model").order_by("name")
    files = [
        {"name": one.name.removeprefix("model/"), "sha256": one.sha256, "bytes": one.bytes}
        for one in saved
    ]
    size = sum(one.bytes for one in saved if one.name.endswith(".safetensors"))
    told = run.summary.get("student") or {}
    return registry.add_version(
        model=run.student.model,
        source={"kind": "run", "run": run.number},
        architecture=described.get("architecture") or run.student.architecture,
        config=described.get("config") or run.student.config,
        labels=described.get("labels") or run.data.labels,
        problem=described.get("problem") or run.data.problem,
        tokenizer=described.get("tokenizer") or run.student.tokenizer,
        parameters=described.get("parameters") or told.get("parameters"),
        size_bytes=told.get("size_bytes") or size,
        files=files,
        metrics={
            name: value for name, value in run.metrics.items() if name.startswith(("val/", "test/"))
        },
        status=ModelVersion.Status.READY,
        by=run.created_by,
    )


def _where(run: Run) -> str:
    return f" on {run.worker.name}" if run.worker is not None else ""


def _told(run: Run, made: ModelVersion | None) -> str:
    name = run.summary.get("headline", "accuracy")
    value = (run.summary.get("student") or {}).get(name, run.summary.get(name))
    scored = ""
    if isinstance(value, int | float):
        spelt = ui.measure(name)
        split = run.summary.get("split", "test")
        scored = f" {spelt[:1].upper()}{spelt[1:]} {ui.metric(value, name)} on the {split} rows."
    elif run.config.get("evaluation", {}).get("test") is False:
        judged = str(run.summary.get("selection_metric", "")).removeprefix("val/")
        best = ui.metric(run.summary.get("best_value"), judged)
        scored = f" Validation {ui.measure(judged)} {best}; no test row was looked at."
    kept = f" Its model is {made.reference}." if made is not None else ""
    return f"Finished after {run.summary.get('steps', run.step):,} steps.{scored}{kept}"
