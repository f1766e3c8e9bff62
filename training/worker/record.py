"""Turning events into rows: a batch, its effects and the new journal offset in one transaction.

Because the offset is committed with what was read, a batch is recorded exactly once, whoever is
killed when; because the row is written first and under the attempt's fence, a stale attempt records
nothing.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from django.db import transaction

from distillhub.lib import storage
from training.models import Artifact, Run
from training.worker import logs, metrics
from training.worker.claims import Held
from training.worker.journal import Batch, moment

#: What stays: a model, what it was measured to be, what it answered. Checkpoints stay in the
#: job folder; they are there to resume, and go when the run is over.
KEPT_KINDS = frozenset({"model", "evaluation", "predictions"})
EVALUATING = frozenset({"evaluating", "saving"})
PREPARING = frozenset({"preparing data", "training tokenizer"})


class StoredFile(NamedTuple):
    kind: str
    name: str
    blob: storage.Blob
    step: int | None


def record(held: Held, folder: Path, batch: Batch) -> None:
    """Write what a batch of events says. Raises claims.Fenced, and DatabaseError when away."""
    stored = list(_store_files(folder, batch.events))
    with transaction.atomic():
        before = held.now()
        facts = _facts(before, batch.events)
        held.write(journal_offset=batch.offset, **facts)
        status = _move(held, batch.events)
        _tell(held, before, batch.events, status, facts.get("step", before.step))
        latest = _measure(held.run, batch.events, dict(before.metrics))
        if latest != before.metrics:
            held.write(metrics=latest)
        lines = list(_lines(batch.events))
        if lines:
            logs.append(held.run, lines)
        for file in stored:
            Artifact.objects.update_or_create(
                run=held.run,
                name=file.name,
                defaults={
                    "kind": file.kind,
                    "sha256": file.blob.sha256,
                    "bytes": file.blob.bytes,
                    "step": file.step,
                },
            )


def whole(value: Any, default: int = 0) -> int:
    """A whole number out of an event; what is none counts as `default`."""
    number = metrics.from_json(value)
    return int(number) if number == number and abs(number) < 2**62 else default


def _facts(before: Run, events: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The columns of the run that show how far it is."""
    facts: dict[str, Any] = {}
    for event in events:
        match event["type"]:
            case "stage":
                facts["stage"] = str(event.get("name", ""))[:100]
            case "progress":
                steps, fraction = (
                    whole(event.get("steps")),
                    metrics.from_json(event.get("fraction")),
                )
                known = steps > 0
                if known:
                    facts["step"], facts["steps"] = whole(event.get("step")), steps
                # A resumed attempt that does not know its steps yet begins its count at nought.
                if 0 <= fraction <= 1 and (known or fraction > before.fraction):
                    facts["fraction"] = fraction
                eta = metrics.from_json(event.get("eta_seconds"))
                facts["eta_seconds"] = eta if 0 <= eta < 1e10 else None
            case "resumed":
                facts["step"] = whole(event.get("step"))
    return facts


def _move(held: Held, events: Iterable[dict[str, Any]]) -> str | None:
    """The status that it came to have, if any."""
    moved = None
    for event in events:
        if event["type"] != "stage":
            continue
        name = str(event.get("name", ""))
        if name in PREPARING:
            continue
        status = Run.Status.EVALUATING if name in EVALUATING else Run.Status.TRAINING
        if held.move(status):
            moved = status
    return moved


def _tell(
    held: Held, before: Run, events: Iterable[dict[str, Any]], status: str | None, step: int
) -> None:
    """Lines of the timeline for what a batch tells: it went on, it trains, it is evaluated."""
    name = before.worker.name if before.worker is not None else "its worker"
    for event in events:
        if event["type"] == "resumed":
            at = whole(event.get("step"))
            told = f"Continued from step {at} on {name}." if at else f"Begun again on {name}."
            if before.step > at:
                told += f" Steps {at + 1} to {before.step} are trained once more."
            held.run.tell("continued", told)
    if status is None or status == before.status:
        return
    if status == Run.Status.TRAINING:
        held.run.tell("training", f"Training on {name}.")
    else:
        if before.status == Run.Status.STARTING:  # a quick training, told in one batch
            held.run.tell("training", f"Training on {name}.")
        held.run.tell("evaluating", f"Trained to step {step}; being evaluated on {name}.")


def _measure(run: Run, events: Iterable[dict[str, Any]], latest: dict[str, Any]) -> dict[str, Any]:
    """Store points, cutting off at every `resumed`; returns the latest value of every series."""
    points: list[metrics.Measured] = []
    for event in events:
        if event["type"] == "measured" and isinstance(event.get("values"), dict):
            step, time = whole(event.get("step")), moment(event)
            points += [
                metrics.Measured(str(name), step, metrics.from_json(value), time)
                for name, value in event["values"].items()
            ]
        elif event["type"] == "resumed":
            latest |= metrics.append(run, points)
            points = []
            latest = metrics.truncate(run, after=whole(event.get("step")))
    return latest | metrics.append(run, points)


def _lines(events: Iterable[dict[str, Any]]) -> Iterator[logs.Line]:
    for event in events:
        at = moment(event)
        match event["type"]:
            case "logged":
                yield logs.Line(at, str(event.get("level", "info")), str(event.get("text", "")))
            case "stage":
                yield logs.Line(at, "info", f"— {event.get('name', '')}")
            case "resumed":
                yield logs.Line(at, "info", f"— going on from step {whole(event.get('step'))}")


def _store_files(folder: Path, events: Iterable[dict[str, Any]]) -> Iterator[StoredFile]:
    """Put saved files into storage, before the transaction: it must not wait for a disk."""
    for event in events:
        if event["type"] != "saved" or event.get("kind") not in KEPT_KINDS:
            continue
        path = (folder / str(event.get("path", ""))).resolve()
        if not path.is_relative_to(folder.resolve()) or not path.is_file():
            continue
        name = path.relative_to(folder.resolve()).as_posix().removeprefix("output/")
        blob = storage.put(path)
        step = event.get("step")
        yield StoredFile(event["kind"], name[:255], blob, None if step is None else whole(step))
