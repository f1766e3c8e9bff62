"""What a finished job leaves: the model, its evaluation, and its predictions row by row."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from training.engine import data, evaluate, latency, networks
from training.engine.data import Dataset, Indices, Inputs
from training.engine.events import Saved, SavedKind, finite
from training.engine.networks import Network, Place
from training.engine.teacher_outputs import Teacher

JSON = dict[str, Any]
MOST_EXAMPLES = 200


@dataclass(frozen=True, slots=True)
class Scored:
    """A network's answers to one split, and what they are worth."""

    logits: np.ndarray[Any, np.dtype[np.float32]]  # [rows, classes]
    summary: JSON
    details: JSON


def scored(
    network: Network, logits: Any, labels: Indices, names: tuple[str, ...], speed: JSON
) -> Scored:
    """The contract's description of one network: summary for tables, details for its page."""
    known = labels >= 0
    summary = {
        "name": network.name,
        **evaluate.score(logits, labels),
        "parameters": network.parameters,
        "size_bytes": size_bytes(network),
        **speed,
    }
    table, confusion = evaluate.per_class(logits, labels, names)
    _, bins = (
        evaluate.calibration(evaluate.log_probabilities(logits[known]), labels[known])
        if known.any()
        else (0.0, [])
    )
    return Scored(
        logits, summary, {"per_class": table, "confusion": confusion, "reliability": bins}
    )


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
) -> JSON:
    return latency.measure(network, inputs, rows, place, asked_to_stop)


def combined(teachers: list[Teacher], scored_teachers: list[Scored]) -> JSON:
    """Several teachers answer together: their sizes and times add up."""
    first = scored_teachers[0].summary
    if len(teachers) == 1:
        return first
    times = {
        size: {
            name: round(sum(one.summary["latency_ms"][size][name] for one in scored_teachers), 4)
            for name in ("median", "p95")
        }
        for size in first["latency_ms"]
    }
    return {
        **first,
        "name": " + ".join(one.network.name for one in teachers),
        "parameters": sum(one.summary["parameters"] for one in scored_teachers),
        "size_bytes": sum(one.summary["size_bytes"] for one in scored_teachers),
        "latency_ms": times,
        "samples_per_second": round(
            1.0 / sum(1.0 / one.summary["samples_per_second"] for one in scored_teachers), 1
        ),
    }


def compared(student: Scored, teacher: Scored | None) -> JSON:
    """agreement, kl, retention (student's accuracy / teacher's), compression (weights)."""
    if teacher is None:
        return {"agreement": None, "kl": None, "retention": None, "compression": None}
    best = teacher.summary["accuracy"]
    return {
        **evaluate.fidelity(student.logits, teacher.logits),
        "retention": student.summary["accuracy"] / best if best else None,
        "compression": teacher.summary["parameters"] / student.summary["parameters"],
    }


def write(
    folder: Path,
    dataset: Dataset,
    split: str,
    column: str,
    network: Network,
    student: Scored | None,
    teacher: Scored | None,
    summary: JSON,
    step: int,
) -> Iterator[Saved]:
    """Fill `output/`, replacing what an interrupted attempt may have left, and tell each file."""
    output = folder / "output"
    part = folder / ".output.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    files: list[tuple[SavedKind, Path]] = []
    files += [("model", path) for path in networks.save(network, part / "model")]
    if student is not None:
        write_predictions(part / "predictions.parquet", dataset, split, student, teacher)
        evaluation = {
            **summary,
            "labels": list(dataset.names),
            "student": {**student.summary, **student.details},
            "teacher": {**teacher.summary, **teacher.details} if teacher else None,
            "examples": examples(dataset, split, column, student, teacher),
        }
        (part / "evaluation.json").write_text(
            json.dumps(finite(evaluation), ensure_ascii=False), encoding="utf-8"
        )
        files += [("evaluation", part / "evaluation.json")]
        files += [("predictions", part / "predictions.parquet")]
    shutil.rmtree(output, ignore_errors=True)
    part.rename(output)
    for kind, path in files:
        written = output / path.relative_to(part)
        with written.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        yield Saved(kind, str(written.relative_to(folder)), sha256, written.stat().st_size, step)


def write_predictions(
    path: Path, dataset: Dataset, split: str, student: Scored, teacher: Scored | None
) -> None:
    """One row per row of the split: what is true, and what both say how surely."""
    rows = dataset.splits[split]
    labels = dataset.labels[rows]
    ours = evaluate.log_probabilities(student.logits)
    nll = np.where(labels >= 0, -ours[np.arange(len(rows)), np.maximum(labels, 0)], np.nan)
    names = np.array([*dataset.names, None], dtype=object)
    theirs = evaluate.log_probabilities(teacher.logits) if teacher else None
    nothing: list[None] = [None] * len(rows)
    table = pa.table(
        {
            "row_id": pa.array(dataset.row_ids[rows], pa.int64()),
            "split": pa.array([split] * len(rows), pa.string()),
            "label": pa.array(names[labels].tolist(), pa.string()),
            "student": pa.array(names[ours.argmax(axis=1)].tolist(), pa.string()),
            "student_confidence": pa.array(np.exp(ours.max(axis=1)), pa.float64()),
            "teacher": pa.array(
                nothing if theirs is None else names[theirs.argmax(axis=1)].tolist(), pa.string()
            ),
            "teacher_confidence": pa.array(
                nothing if theirs is None else np.exp(theirs.max(axis=1)), pa.float64()
            ),
            "student_nll": pa.array(nll, pa.float64(), mask=labels < 0),
        }
    )
    pq.write_table(table, path, compression="zstd")


def examples(
    dataset: Dataset, split: str, column: str, student: Scored, teacher: Scored | None
) -> list[JSON]:
    """Labelled rows that tell most: where the student lost to the teacher or beat it, and where
    both are surely wrong; the surest of each kind first, at most 200."""
    rows = dataset.splits[split]
    labels = dataset.labels[rows]
    ours = evaluate.log_probabilities(student.logits)
    said, sure = ours.argmax(axis=1), np.exp(ours.max(axis=1))
    right = said == labels
    if teacher is None:
        kinds = {"both_wrong": ~right & (labels >= 0)}
        their_said, their_sure = said, sure
    else:
        theirs = evaluate.log_probabilities(teacher.logits)
        their_said, their_sure = theirs.argmax(axis=1), np.exp(theirs.max(axis=1))
        their_right = their_said == labels
        kinds = {
            "lost": ~right & their_right,
            "beat": right & ~their_right & (labels >= 0),
            "both_wrong": ~right & ~their_right & (labels >= 0),
        }
    chosen: list[tuple[str, int]] = []
    for kind, where in kinds.items():
        places = np.flatnonzero(where)
        places = places[np.argsort(-sure[places], kind="stable")]
        chosen += [(kind, int(at)) for at in places[: MOST_EXAMPLES // len(kinds)]]
    if not chosen:
        return []
    places = np.array([at for _, at in chosen])
    texts: list[Any] = [None] * len(chosen)
    if column == "text":
        texts = data.values(dataset.path, column, rows[places])
    return [
        {
            "row_id": int(dataset.row_ids[rows[at]]),
            "input": None if text is None else text[:2000],
            "label": dataset.names[labels[at]],
            "student": dataset.names[said[at]],
            "student_confidence": float(sure[at]),
            "teacher": dataset.names[their_said[at]] if teacher else None,
            "teacher_confidence": float(their_sure[at]) if teacher else None,
            "kind": kind,
        }
        for (kind, at), text in zip(chosen, texts, strict=True)
    ]


def as_tensor(logits: Any) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(logits, dtype=np.float32))
