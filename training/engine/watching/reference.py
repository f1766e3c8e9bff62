"""What windows are compared with: fitted once, in a child of its own.

    fit(config, folder, wants) -> {"files", "reference"}      a look with "fits": true
    Reference.load(folder or {name: path})                    in every look after it

Besides what a look's `config.json` holds (job.py), a fit's says where the rows are (see
reference_rows.py): "dataset" and "split", or "traffic" and "parts". A model answers the dataset's
rows, so that predictions, confidence, vectors and agreement are compared, too; without one (it is
served elsewhere) they come from traffic or from columns.

Files, kept as Monitor.reference_files:

    baseline.json            bins of every signal and the reference's own sums (baseline.py)
    reference_rows.parquet   up to 2 000 of its rows to be shown: id, text | cells | blob, label,
                             prediction, confidence, teacher_prediction, described.*, x, y, far
    vectors_plane.npz        their vectors and the plane (nearness.py); not without vectors
    neighbours.npz           of models of vectors, if a teacher was asked (neighbours.py)

Monitor.reference, a summary for people:

    {"rows", "of": "dataset" or "traffic", "reads", "columns", "made_by", "width",
     "signals": {signal: {"kind", "rows", "missing"}},
     "accuracy" | "agreement": {"value", "low", "high", "rows"}, "estimated_accuracy",
     "calibration_error", "confidence", "answers_needed": to see agreement fall by .05,
     "false_alarms": {signal: {detector: {"level", "windows", "rate", "interval", "limit"}}},
     "far": {"0.5", "0.9", "0.99"}: quantiles of how far rows stand from their nearest,
     "canaries": [id, ...] of which a hosted teacher is asked, "notes": [sentence], "seconds"}
"""

import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training.engine.detectors import tallies
from training.engine.detectors.tallies import Tally
from training.engine.errors import ConfigError, Fault, ModelError
from training.engine.sketches.packing import place as by_chance
from training.engine.watching import (
    asking,
    baseline,
    describing,
    facts,
    false_alarms,
    nearness,
    neighbours,
    written,
)
from training.engine.watching import reference_rows as rows_of
from training.engine.watching.baseline import Baseline
from training.engine.watching.counting import View
from training.engine.watching.nearness import Nearness
from training.engine.watching.parts import Part

JSON = dict[str, Any]
ROWS = baseline.SHOWN

SHOWN = 2000  # rows that are kept to be shown
MOST_TEXT = 1000  # characters of a shown text
MOST_PROMPT = 8000  # of one that a service may be asked to answer
CANARIES = 200  # rows that a hosted teacher is asked about, the first of them daily
WRITTEN = 300  # rows that a student which writes answers
PATIENCE = 600.0  # seconds in which it does
DROP = 0.05  # of agreement, that must be seen

NO_ANSWERS = (
    "The reference holds no answers of the model, so that inputs alone are compared. Take a time "
    "of its traffic as reference to watch its answers."
)
SEVERAL = (
    "Rows have any number of labels: a row is right where all of them are, and accuracy is not "
    "estimated before labels come."
)
NO_VECTORS = (
    "The reference holds no vectors of the model, so that inputs alone are compared. Take a time "
    "of its traffic as reference to watch its vectors."
)
NO_LABELS = "No row of the reference has a label: accuracy cannot be compared, nor estimated."
NO_TEACHER = "Nobody was asked about the reference: agreement is not compared."


def fit(
    config: Mapping[str, Any],
    folder: Path,
    wants: Any = None,
    *,
    stage: Callable[[str], None] = lambda _: None,
) -> JSON:
    """`{"files", "reference"}`, the files below `output/`. Raises the errors of errors.py."""
    began = time.perf_counter()
    monitor = config["monitor"]
    reads = str(monitor["input"])
    notes: list[str] = []
    writes = monitor["task"] == written.TASK
    stage("reading the reference")
    tokenizer = None
    if config.get("model"):
        tokenizer = describing.tokenizer(folder / str(config["model"]["path"]))
    if config.get("traffic"):
        of = "traffic"
        span = config["traffic"]
        some = [Part.of(one) for one in config.get("parts") or ()]
        rows = rows_of.of_traffic(some, wants, float(span["from"]), float(span["until"]))
    elif config.get("dataset"):
        of = "dataset"
        rows = rows_of.of_dataset(folder / str(config["dataset"]["path"]), config)
        stage("describing it")
        rows = rows_of.described(rows, reads, tokenizer, writes=writes)
        if config.get("model"):
            stage("asking the student")
            rows = (_wrote if writes else _said)(rows, config, folder, notes)
        if writes:
            rows = written.described(rows)
    else:
        sentence = "A reference is a dataset, or a time of the traffic; neither is there any more."
        raise ConfigError([Fault("reference", sentence)])
    if config.get("teacher"):
        stage("asking the teacher")
        try:
            rows = asking.of_reference(rows, config, folder)
        except ModelError as error:
            notes.append(f"The teacher could not be asked: {error}")
    if writes:
        rows = written.compared(rows, monitor, as_kept=of == "traffic")

    stage("counting it")
    columns = dict((config.get("dataset") or {}).get("columns") or {}) if of == "dataset" else {}
    fitted = Baseline.fit(
        rows,
        task=str(monitor["task"]),
        labels=list(monitor["labels"]),
        reads=reads,
        slices=monitor.get("slices") or (),
        columns=columns or None,
        several=bool(monitor.get("several_labels")),
    )
    view = View.of(rows, fitted)
    stage("measuring false alarms")
    alarms = false_alarms.measured(view, fitted, monitor)

    stage("writing it")
    output = folder / "output"
    output.mkdir(exist_ok=True)
    fitted.save(output / baseline.NAME)
    shown = _shown(rows)
    near = _near(view, shown)
    if near is not None:
        near.save(output / nearness.NAME)
    pq.write_table(_to_show(view, shown, near), output / ROWS, compression="zstd")
    names = [baseline.NAME, ROWS] + ([nearness.NAME] if near is not None else [])
    names += [neighbours.NAME] if (output / neighbours.NAME).is_file() else []
    summary = _told(fitted, view, alarms, near, notes)
    return {
        "files": [{"name": name, "bytes": (output / name).stat().st_size} for name in names],
        "reference": summary
        | {
            "of": of,
            "made_by": str((config.get("model") or {}).get("name") or ""),
            "canaries": _canaries(rows, writes)
            if config.get("asks") and not config.get("teacher")
            else [],
            "seconds": round(time.perf_counter() - began, 3),
        },
    }


@dataclass(frozen=True)
class Reference:
    """As a look needs it. What takes memory is read when it is first asked for."""

    baseline: Baseline
    paths: Mapping[str, Path] = field(default_factory=dict)

    @classmethod
    def load(cls, where: Path | Mapping[str, Any]) -> Self:
        """From a folder with its files, or their paths by name."""
        if isinstance(where, Path):
            paths = {one.name: one for one in where.iterdir() if one.is_file()}
        else:
            paths = {name: Path(path) for name, path in where.items()}
        return cls(Baseline.load(paths[baseline.NAME]), paths)

    @functools.cached_property
    def near(self) -> Nearness | None:
        """Its plane and sample; None of a reference without vectors."""
        path = self.paths.get(nearness.NAME)
        return Nearness.load(path) if path is not None else None

    @functools.cached_property
    def rows(self) -> pa.Table:
        """Those that are shown, as the module's words say."""
        return pq.read_table(self.paths[ROWS])

    def place(self, vectors: Any) -> Any:
        """`[rows, 2]`: live rows on the reference's plane; NaN without one."""
        if self.near is None or np.shape(vectors)[-1] != self.near.width:
            return np.full((len(vectors), 2), np.nan, dtype=np.float32)
        return self.near.place(vectors)

    def distances(self, vectors: Any) -> Any:
        """`[rows]`: how far live rows stand from the nearest of the reference; NaN without one."""
        if self.near is None or np.shape(vectors)[-1] != self.near.width:
            return np.full(len(vectors), np.nan)
        return self.near.distances(vectors)


# -- inside ---------------------------------------------------------------------------------------


def _said(rows: pa.Table, config: Mapping[str, Any], folder: Path, notes: list[str]) -> pa.Table:
    """With the student's answers and vectors."""
    from training.engine.watching import vectors  # noqa: PLC0415 - it brings torch

    try:
        student = vectors.Model.open(config["model"], folder, list(config["monitor"]["labels"]))
    except ModelError as error:
        notes.append(str(error))
        return rows
    said = student.answer(vectors.inputs(rows, student.reads))
    for name, column in said.columns().items():
        if name in rows.column_names:
            rows = rows.drop_columns([name])
        rows = rows.append_column(name, column)
    unread = sum(one is None for one in said.predictions)
    if unread and student.network.problem != "embedding":
        notes.append(f"The student could not read {unread:,} of {rows.num_rows:,} rows.")
    return rows


def _wrote(rows: pa.Table, config: Mapping[str, Any], folder: Path, notes: list[str]) -> pa.Table:
    """With the student's vectors, and its answers to some: writing takes its time."""
    from training.engine.watching import vectors, writers  # noqa: PLC0415 - they bring torch

    try:
        writer = writers.Writer.open(config["model"], folder)
    except ModelError as error:
        notes.append(str(error))
        return rows
    texts = rows["text"].to_pylist()
    if (made := writer.vectors(texts)) is not None:
        rows = written.with_column(rows, "vector", vectors.lists(made, pa.float16()))
    some = np.linspace(0, len(texts) - 1, min(len(texts), WRITTEN)).astype(int)
    chosen = sorted({int(at) for at in some}, key=lambda at: by_chance(str(rows["id"][at])))
    said = writer.write([texts[at] for at in chosen], time.monotonic() + PATIENCE)
    answers: list[Any] = [None] * len(texts)
    for at, one in zip(chosen, said, strict=True):
        answers[at] = one
    known = [one for one in said if one is not None]
    if len(known) < len(texts):
        notes.append(
            f"The student wrote answers to {len(known):,} of {len(texts):,} rows, by which its "
            "answers are compared; inputs are compared by all of them."
        )
    if cut := sum(not one.ended for one in known):
        notes.append(
            f"{cut:,} of its {len(known):,} answers were cut at {writers.MOST_TOKENS} tokens, or "
            "where it sees no further."
        )
    for name, column in writers.columns(answers).items():
        rows = written.with_column(rows, name, column)
    return rows


def _shown(rows: pa.Table) -> Any:
    """Places of the rows that are kept, by chance, the same every time."""
    ids = rows["id"].to_pylist()
    if len(ids) <= SHOWN:
        return np.arange(len(ids))
    order = sorted(range(len(ids)), key=lambda at: by_chance(ids[at]))[:SHOWN]
    return np.sort(np.array(order, dtype=np.int64))


def _near(view: View, shown: Any) -> Nearness | None:
    if view.vectors is None:
        return None
    known = np.asarray(np.isfinite(view.vectors).all(axis=1))
    kept = shown[known[shown]]
    if not len(kept):
        return None
    return Nearness.fit(view.vectors[kept], [view.ids[at] for at in kept], view.vectors[known])


def _to_show(view: View, shown: Any, near: Nearness | None) -> pa.Table:
    rows = view.table.take(pa.array(shown))
    wanted = ["id", "time", "text", "cells", "blob", "label", "prediction", "teacher_prediction"]
    names = [name for name in wanted if name in rows.column_names]
    names += [name for name in rows.column_names if name.startswith(describing.DESCRIBED)]
    found = rows.select(names)
    if "text" in names:
        longest = MOST_PROMPT if view.baseline.task == written.TASK else MOST_TEXT
        texts = [one[:longest] if one is not None else None for one in rows["text"].to_pylist()]
        place = found.schema.get_field_index("text")
        found = found.set_column(place, "text", pa.array(texts, pa.string()))
    if view.is_sure:
        top = view.sureness().top[shown]
        found = found.append_column("confidence", pa.array(top, from_pandas=True))
    if near is not None and view.vectors is not None:
        some = view.vectors[shown]
        points = near.place(some)
        far = near.distances(some, among_itself=True)
        for name, values in (("x", points[:, 0]), ("y", points[:, 1]), ("far", far)):
            found = found.append_column(name, pa.array(values, pa.float32(), from_pandas=True))
    return found


def _told(
    fitted: Baseline, view: View, alarms: JSON, near: Nearness | None, notes: list[str]
) -> JSON:
    sums = fitted.sums
    signals = {
        name: {"kind": one.as_dict()["kind"], "rows": one.rows, "missing": one.missing}
        for name, one in sums.sketches.items()
    }
    found: JSON = {
        "rows": sums.rows,
        "reads": fitted.reads,
        "columns": dict(fitted.columns),
        "width": near.width if near is not None else None,
        "signals": signals,
        "false_alarms": alarms,
        "far": near.limits() if near is not None else None,
    }
    for name in ("accuracy", "agreement", "span_f1", "span_agreement"):
        if (one := sums.tallies.get(name)) is not None and one.rows:
            found[name] = share_of(one)
    agreement = sums.tallies.get("agreement")
    if agreement is not None and agreement.rows:
        needed = tallies.rows_needed(agreement.share, max(0.0, agreement.share - DROP))
        by_row = agreement.effective / agreement.rows  # of words, a row tells more than one
        found["answers_needed"] = needed if needed is None else math.ceil(needed / by_row)
    if sums.estimate.rows:
        found["estimated_accuracy"] = sums.estimate.accuracy
    if sums.believed.error is not None:
        found["calibration_error"] = sums.believed.error
    sure = view.sureness()
    if view.is_sure and np.isfinite(sure.top).any():
        found["confidence"] = {
            "mean": float(np.nanmean(sure.top)), "entropy": float(np.nanmean(sure.entropy)),
        }  # fmt: skip
    if fitted.several:
        notes.append(SEVERAL)
    found |= facts.overlaps(sums)
    if fitted.task == neighbours.TASK:
        if "vector" not in fitted.bins:
            notes.append(NO_VECTORS)
    elif not fitted.says_anything:
        notes.append(NO_ANSWERS)
    elif not sums.labelled:
        notes.append(NO_LABELS)
    if agreement is None or not agreement.rows:
        notes.append(NO_TEACHER)
    return found | {"notes": notes}


def share_of(one: Tally) -> JSON:
    low, high = one.interval
    return {"value": one.share, "low": low, "high": high, "rows": one.rows}


def _canaries(rows: pa.Table, writes: bool) -> Sequence[str]:
    """Rows that a hosted teacher is asked daily: of each predicted class in turn, by chance; of
    texts by chance alone, those that were answered."""
    names = [name for name in ("text", "cells") if name in rows.column_names]
    if not names:
        return []
    there = rows[names[0]].is_valid().to_pylist()
    said = (
        rows["prediction"].to_pylist() if "prediction" in rows.column_names else [None] * len(there)
    )
    if writes:
        whole = [one is not None and len(one) <= MOST_PROMPT for one in rows[names[0]].to_pylist()]
        known = [one is not None for one in said]
        told = zip(whole, known, strict=True)
        there = [fine and (one or not any(known)) for fine, one in told]
        said = [None] * len(there)
    kinds: dict[str | None, list[str]] = {}
    for identity, one, fine in zip(rows["id"].to_pylist(), said, there, strict=True):
        if fine:
            kinds.setdefault(one, []).append(identity)
    ranked = [sorted(some, key=by_chance) for _, some in sorted(kinds.items(), key=str)]
    found: list[str] = []
    turn = 0
    while len(found) < CANARIES and any(turn < len(some) for some in ranked):
        found += [some[turn] for some in ranked if turn < len(some)]
        turn += 1
    return found[:CANARIES]
