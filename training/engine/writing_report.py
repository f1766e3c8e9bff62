"""What a finished job of a network that writes leaves: its scores, row by row, and samples."""

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training.engine import data, generation, report, sampling, slices
from training.engine.data import Dataset, Indices
from training.engine.events import Event, Measured, SavedKind, Stage, finite
from training.engine.generation import Judged
from training.engine.language import LanguagePreprocessing
from training.engine.language_teacher import LanguageTeacher
from training.engine.lesson import Lesson
from training.engine.networks import Network, Place
from training.engine.predictions import numbers
from training.engine.trainer import Trainer
from training.engine.windows import MOST_WINDOWS, LanguageInputs

JSON = dict[str, Any]
WRITTEN = 64  # tokens, of which the time is taken
MOST_EXAMPLES = 60
MOST_TEXT = 2000  # characters of an example


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is known of student and teacher at the end."""

    values: dict[str, float]  # of the test split, to be told
    summary: JSON
    student: Judged | None
    teacher: Judged | None
    samples: list[JSON]


def scored(
    dataset: Dataset,
    student: Network,
    inputs: LanguageInputs,
    lesson: Lesson,
    split: str,
    trainer: Trainer,
) -> Outcome:
    """The student's, and the first teacher's, answers to a split. Raises Stopped."""
    rows, place = dataset.splits[split], trainer.place
    ours = generation.judge(
        student,
        inputs,
        dataset,
        rows,
        place,
        target=lesson.said_of(inputs, split),
        asked_to_stop=trainer.asked_to_stop,
    )
    form = inputs.form
    summary = _described(student, ours.scores(form), inputs, rows, trainer)
    values = {f"test/{name}": value for name, value in ours.scores(form).items()}
    told: JSON = {"student": summary, "teacher": None, "agreement": None, "kl": None}
    told |= {"retention": None, "compression": None}
    theirs: Judged | None = None
    networks = [("student", student)]
    if lesson.teachers:
        teacher = lesson.teachers[0]
        assert isinstance(teacher, LanguageTeacher)
        assert teacher.inputs is not None
        theirs = teacher.judged(split)
        scores = theirs.scores(form)
        own = teacher.dataset.splits[split]
        told["teacher"] = _described(teacher.network, scores, teacher.inputs, own, trainer)
        told["compression"] = teacher.network.parameters / student.parameters
        if not math.isnan(ours.kl.sum()):
            told |= ours.fidelity()
            values |= {f"test/{name}": value for name, value in ours.fidelity().items()}
        bits = ours.scores(form)["bits_per_character"]
        told["retention"] = scores["bits_per_character"] / bits if bits else None
        networks.append(("teacher", teacher.network))
    seed = trainer.training.seed
    shown = generation.samples(networks, inputs, dataset, rows, place, seed)
    known = {name: value for name, value in values.items() if not math.isnan(value)}
    return Outcome(known, told, ours, theirs, shown)


def _described(
    network: Network,
    scores: dict[str, float],
    inputs: LanguageInputs,
    rows: Indices,
    trainer: Trainer,
) -> JSON:
    return {
        "name": network.name,
        **{name: None if math.isnan(value) else value for name, value in scores.items()},
        "parameters": network.parameters,
        "size_bytes": report.size_bytes(network),
        "tokens_per_second": tokens_per_second(network, inputs, rows, trainer.place),
        **report.speed_of(
            network, inputs, rows, trainer.place, trainer.asked_to_stop, trainer.config.machine
        ),
    }


def tokens_per_second(
    network: Network, inputs: LanguageInputs, rows: Indices, place: Place
) -> float:
    """Written one after the other after one prompt, as a reader would see them come."""
    said = cast(LanguagePreprocessing, network.preprocessing)
    prompt = inputs.prompts(rows[:1])[0][0]
    took = math.inf
    written = 1
    for _ in range(2):  # the first warms caches up
        began = time.perf_counter()
        texts = sampling.write(
            network.module,
            place,
            [prompt],
            most=WRITTEN,
            window=said.max_length,
            temperature=0.0,
            end=None,
            chance=sampling.chance_of(0),
        )
        took, written = time.perf_counter() - began, len(texts[0])
    return round(written / took, 1)


def finish(
    folder: Path,
    dataset: Dataset,
    student: Network,
    inputs: LanguageInputs,
    lesson: Lesson,
    trainer: Trainer,
    summary: JSON,
    split: str,
    *,
    evaluates: bool,
) -> Iterator[Event]:
    """Score the split, tell it, and fill `output/`; `summary` is completed in place."""
    outcome: Outcome | None = None
    if evaluates:
        outcome = scored(dataset, student, inputs, lesson, split, trainer)
        if split == "test":
            yield Measured(trainer.state.step, float(trainer.state.epochs), outcome.values)
        summary |= outcome.summary
    yield Stage("saving")

    def add(part: Path) -> list[tuple[SavedKind, Path]]:
        if outcome is None:
            return []
        write_predictions(part / "predictions.parquet", dataset, split, outcome)
        evaluation = {
            **summary,
            "labels": [],
            "slices": (
                slices.of_writing(dataset, trainer.config.slices, outcome.student, outcome.teacher)
                if outcome.student is not None
                else []
            ),
            "samples": outcome.samples,
            "examples": examples(dataset, outcome),
        }
        (part / "evaluation.json").write_text(
            json.dumps(finite(evaluation), ensure_ascii=False), encoding="utf-8"
        )
        return [
            ("evaluation", part / "evaluation.json"),
            ("predictions", part / "predictions.parquet"),
        ]

    yield from report.keep(folder, student, trainer.state.step, add)


def write_predictions(path: Path, dataset: Dataset, split: str, outcome: Outcome) -> None:
    """One row per row of the file: how well the student, and the teacher, foresaw it.

    student_nll: nats a token; student_value: bits a character, by which two students are compared
    whatever their tokenizers; tokens and characters: how much each row weighs in that; the same of
    the teacher; agreeing_tokens: at how many both foresee the same; kl: KL(teacher ‖ student) a
    token, in nats, where both have the same tokens.
    """
    ours = outcome.student
    assert ours is not None
    size = len(ours.rows)
    nothing: list[None] = [None] * size
    theirs = _per_token(outcome.teacher, ours.rows) if outcome.teacher else None
    said = _a_character(outcome.teacher, ours.rows) if outcome.teacher else None
    bits = ours.nll / math.log(2)
    with np.errstate(divide="ignore", invalid="ignore"):
        a_character = np.where(ours.characters > 0, bits / ours.characters, np.nan)
    table = pa.table(
        {
            "row_id": pa.array(file_row_ids(dataset, ours.rows), pa.int64()),
            "split": pa.array([split] * size, pa.string()),
            "label": pa.array(nothing, pa.string()),
            "student": pa.array(nothing, pa.string()),
            "student_confidence": pa.array(nothing, pa.float64()),
            "teacher": pa.array(nothing, pa.string()),
            "teacher_confidence": pa.array(nothing, pa.float64()),
            "student_nll": pa.array(ours.nll / ours.units, pa.float64()),
            "student_value": pa.array(a_character, pa.float64(), mask=np.isnan(a_character)),
            "teacher_nll": pa.array(nothing if theirs is None else theirs, pa.float64()),
            "teacher_value": pa.array(nothing if said is None else said, pa.float64()),
            "tokens": pa.array(ours.units.astype(np.int64), pa.int64()),
            "characters": pa.array(ours.characters.astype(np.int64), pa.int64()),
            "right_tokens": pa.array(ours.right.astype(np.int64), pa.int64()),
            "agreeing_tokens": pa.array(ours.agrees, pa.float64(), mask=np.isnan(ours.agrees)),
            "kl": numbers(ours.kl / ours.units),
        }
    )
    pq.write_table(table, path, compression="zstd")


def _per_token(judged: Judged, rows: Indices) -> list[float | None]:
    known = dict(zip(judged.rows.tolist(), (judged.nll / judged.units).tolist(), strict=True))
    return [known.get(row) for row in rows.tolist()]


def _a_character(judged: Judged, rows: Indices) -> list[float | None]:
    """Bits, of the rows that have characters."""
    there = judged.characters > 0
    bits = judged.nll[there] / math.log(2) / judged.characters[there]
    known = dict(zip(judged.rows[there].tolist(), bits.tolist(), strict=True))
    return [known.get(row) for row in rows.tolist()]


def file_row_ids(dataset: Dataset, rows: Indices) -> Indices:
    """The row ids of these rows of the file."""
    if dataset.source is None:
        return dataset.row_ids[rows]
    first = np.zeros(int(dataset.source.max()) + 1, dtype=np.int64)
    first[dataset.source] = dataset.row_ids // MOST_WINDOWS
    return first[rows]


def examples(dataset: Dataset, outcome: Outcome) -> list[JSON]:
    """Rows that tell most, in nats a token: where the student fell furthest behind its teacher, and
    where it came closest or passed it; without a teacher, those it foresaw least."""
    ours = outcome.student
    assert ours is not None
    nll = ours.nll / ours.units
    behind = nll
    teacher: list[float | None] = [None] * len(nll)
    if outcome.teacher is not None:
        teacher = _per_token(outcome.teacher, ours.rows)
        behind = nll - np.array([np.nan if one is None else one for one in teacher])
    order = np.argsort(-np.nan_to_num(behind), kind="stable")
    half = min(MOST_EXAMPLES // 2, len(order))
    kinds = {"lost": order[:half]}
    if outcome.teacher is not None:
        kinds["beat"] = order[::-1][: min(half, len(order) - half)]
    chosen = [(kind, int(at)) for kind, places in kinds.items() for at in places]
    rows = ours.rows[np.array([at for _, at in chosen], dtype=np.int64)]
    texts = data.values(dataset.path, "text", rows)
    ids = file_row_ids(dataset, rows)
    return [
        {
            "row_id": int(row_id),
            "input": None if text is None else text[:MOST_TEXT],
            "student_nll": float(nll[at]),
            "teacher_nll": teacher[at],
            "tokens": int(ours.units[at]),
            "kind": kind,
        }
        for (kind, at), text, row_id in zip(chosen, texts, ids.tolist(), strict=True)
    ]
