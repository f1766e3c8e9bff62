"""What a finished job leaves: the model, its evaluation, and its predictions row by row."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from training.engine import (
    evaluate,
    latency,
    measures,
    networks,
    predictions,
    shares,
    side_by_side,
    slices,
    softened,
    spans,
)
from training.engine.data import Dataset, Indices, Inputs, Targets
from training.engine.events import Saved, SavedKind, finite
from training.engine.job_config import Machine, Problem
from training.engine.networks import Network, Place
from training.engine.recorded import spoke

JSON = dict[str, Any]
MOST_POINTS = 1000  # of a scatter of numbers


@dataclass(frozen=True, slots=True)
class Scored:
    """A network's answers to one split, and what they are worth."""

    logits: np.ndarray[Any, np.dtype[np.float32]]  # [rows, classes]
    summary: JSON
    details: JSON


def scored(
    network: Network,
    logits: Any,
    labels: Targets,
    dataset: Dataset,
    speed: JSON,
    words: Indices | None = None,
) -> Scored:
    """The contract's description of one network: summary for tables, details for its page."""
    sizes = {"parameters": network.parameters, "size_bytes": size_bytes(network)}
    return judged(network.name, logits, labels, dataset, sizes | speed, words)


def judged(
    name: str,
    logits: Any,
    labels: Targets,
    dataset: Dataset,
    more: JSON,
    words: Indices | None = None,
    *,
    gaps: bool = False,
) -> Scored:
    """The same of answers, whoever gave them. Where there may be `gaps`, units without an answer
    (NaN) do not count, and `rows` says how many have one. Where units are words, each row's begin
    at `words`; they stand in sentences, so the interval of a share, which wants rows apart from
    each other, is told of rows alone."""
    there = spoke(logits) if gaps else np.ones(len(logits), dtype=bool)
    said, truth = (logits, labels) if there.all() else (logits[there], labels[there])
    scores = evaluate.score(said, truth, dataset.problem, names=dataset.names, starts=words)
    rows = _labelled(truth, dataset.problem)
    sure = rows and words is None and "accuracy" in scores
    summary = {
        "name": name,
        **scores,
        **({"accuracy_interval": shares.wilson(scores["accuracy"], rows)} if sure else {}),
        **({} if there.all() else {"rows": int(there.sum())}),
        **more,
    }
    return Scored(logits, summary, details(said, truth, dataset.names, dataset.problem, words))


def beside(
    student: Scored, teacher: Scored, labels: Targets, dataset: Dataset
) -> tuple[Scored, Scored]:
    """Both on the units of which the teacher says something."""
    there = spoke(teacher.logits)
    if there.all():
        return student, teacher
    said = student.logits[there]
    scores = evaluate.score(said, labels[there], dataset.problem, names=dataset.names)
    return (
        replace(student, logits=said, summary=student.summary | scores),
        replace(teacher, logits=teacher.logits[there]),
    )


def _labelled(labels: Targets, problem: Problem) -> int:
    """How many units have a label that an answer is right or wrong about."""
    if problem == "single_label":
        return int((labels >= 0).sum())
    return int((~np.isnan(labels).any(axis=1)).sum()) if problem == "multi_label" else 0


def details(
    logits: Any,
    labels: Targets,
    names: tuple[str, ...],
    problem: Problem,
    words: Indices | None = None,
) -> JSON:
    """What the page of an evaluation draws: per label, confusion and reliability, and of words the
    spans of each type; or, of numbers, truth and answer of some rows."""
    if problem == "embedding":
        return {"width": int(logits.shape[1])}
    if problem == "regression":
        there = np.flatnonzero(~np.isnan(labels[:, 0]))
        some = there[:: max(1, len(there) // MOST_POINTS)]
        return {"truth": labels[some, 0].tolist(), "answers": logits[some, 0].tolist()}
    if problem == "multi_label":
        return {"per_class": evaluate.per_label(logits, labels, names)}
    known = labels >= 0
    table, confusion = evaluate.per_class(logits, labels, names)
    _, bins = (
        evaluate.calibration(evaluate.log_probabilities(logits[known]), labels[known])
        if known.any()
        else (0.0, [])
    )
    found: JSON = {"per_class": table, "confusion": confusion, "reliability": bins}
    if words is not None:
        found["per_span"] = spans.per_type(logits.argmax(axis=1), labels, words, names)
    return found


def size_bytes(network: Network) -> int:
    """Of all weights and buffers as they are stored."""
    tensors = [*network.module.parameters(), *network.module.buffers()]
    return sum(one.numel() * one.element_size() for one in tensors)


def speed_of(
    network: Network,
    inputs: Inputs,
    rows: Indices,
    place: Place,
    asked_to_stop: Callable[[], bool],
    machine: Machine,
) -> JSON:
    return latency.measure(network, inputs, rows, place, asked_to_stop, machine)


def combined(scored_teachers: list[Scored]) -> JSON:
    """Several teachers answer together: their sizes and times add up. Recorded answers have
    neither, so that nobody knows the sum."""
    first = scored_teachers[0].summary
    if len(scored_teachers) == 1:
        return first
    name = " + ".join(one.summary["name"] for one in scored_teachers)
    if any(one.summary.get("recorded") for one in scored_teachers):
        return {"name": name}
    times = {
        size: {
            name: round(sum(one.summary["latency_ms"][size][name] for one in scored_teachers), 4)
            for name in ("median", "p95")
        }
        for size in first["latency_ms"]
    }
    return {
        **first,
        "name": name,
        "parameters": sum(one.summary["parameters"] for one in scored_teachers),
        "size_bytes": sum(one.summary["size_bytes"] for one in scored_teachers),
        "latency_ms": times,
        **{
            name: sum(one.summary[name] for one in scored_teachers)
            for name in ("energy_per_million_wh", "cost_per_million")
            if first.get(name) is not None
        },
        "samples_per_second": round(
            1.0 / sum(1.0 / one.summary["samples_per_second"] for one in scored_teachers), 1
        ),
    }


def compared(student: Scored, teacher: Scored | None, problem: Problem, headline: str) -> JSON:
    """How close the student is to the teacher: agreement and kl (teacher_rmse of numbers),
    retention (student's headline metric / teacher's, where higher is better) and compression
    (weights)."""
    if teacher is None:
        return {"agreement": None, "kl": None, "retention": None, "compression": None}
    best = teacher.summary.get(headline)
    best = best if best is not None and np.isfinite(best) else None
    rises, size = problem != "regression", teacher.summary.get("parameters")
    return {
        "agreement": None,
        "kl": None,
        **evaluate.fidelity(student.logits, teacher.logits, problem),
        "retention": student.summary[headline] / best if best and rises else None,
        "compression": size / student.summary["parameters"] if size else None,
    }


def write(
    folder: Path,
    dataset: Dataset,
    split: str,
    column: str,
    labels: Targets,
    starts: Indices,
    network: Network,
    student: Scored | None,
    teacher: Scored | None,
    summary: JSON,
    step: int,
    sliced: Sequence[str] = (),
    temperatures: Sequence[float] = (),
) -> Iterator[Saved]:
    """Fill `output/` and tell each file. `labels` are those of the split's units, of which each
    row's begin at `starts`; parts of the split are told by the columns `sliced`, and what
    `temperatures` make of the teacher's answers."""

    def add(part: Path) -> list[tuple[SavedKind, Path]]:
        if student is None:
            return []
        said = predictions.Said.of(dataset, split, student.logits, labels, starts)
        theirs = None
        if teacher is not None:
            theirs = predictions.Said.of(dataset, split, teacher.logits, labels, starts)
        beside = teacher.logits if teacher is not None else None
        apart = side_by_side.columns(student.logits, beside, labels, starts, dataset.problem)
        sizes = measures.of(dataset, split, column, starts)
        more = apart | {name: predictions.numbers(one) for name, one in sizes.items()}
        predictions.write(part / "predictions.parquet", dataset, split, said, theirs, more)
        evaluation = {
            **summary,
            "labels": list(dataset.names),
            "student": {**student.summary, **student.details},
            "teacher": {**teacher.summary, **teacher.details} if teacher else None,
            "slices": slices.of(dataset, split, column, sliced, said, theirs),
            "examples": predictions.examples(dataset, split, column, said, theirs),
            "temperature": None
            if beside is None
            else softened.told(dataset, split, column, beside, labels, starts, temperatures),
        }
        (part / "evaluation.json").write_text(
            json.dumps(finite(evaluation), ensure_ascii=False), encoding="utf-8"
        )
        return [
            ("evaluation", part / "evaluation.json"),
            ("predictions", part / "predictions.parquet"),
        ]

    yield from keep(folder, network, step, add)


def keep(
    folder: Path,
    network: Network,
    step: int,
    add: Callable[[Path], list[tuple[SavedKind, Path]]],
) -> Iterator[Saved]:
    """Fill `output/` with the model and what `add` writes into the folder it is given, replacing
    what an interrupted attempt may have left, and tell each file."""
    output = folder / "output"
    part = folder / ".output.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    files: list[tuple[SavedKind, Path]] = []
    files += [("model", path) for path in networks.save(network, part / "model")]
    files += add(part)
    shutil.rmtree(output, ignore_errors=True)
    part.rename(output)
    for kind, path in files:
        written = output / path.relative_to(part)
        with written.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        yield Saved(kind, str(written.relative_to(folder)), sha256, written.stat().st_size, step)
