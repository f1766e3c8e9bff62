"""What the teacher says of a sample of rows, asked again as they come.

    ask(rows, config, folder) -> rows, asked     with teacher_prediction, teacher_probabilities,
                                                 teacher_share where it was asked; how many were

Which rows, a hash of their id and the monitor's salt decides (teacher_sampling.py): `teacher_share`
of all rows, and of a slice with a `share` of its own that share, where it is larger. Of a day's
`teacher_daily` rows a third may be asked at once, and the rest as the day passes, so that its
evening is seen as well as its morning. Where more were chosen than may be asked, those that lie
lowest for their share are taken, and their share is what that comes to (priority sampling: Duffield
et al., JACM 2007): each row still stands for 1 / share rows of the traffic.

A teacher with weights (`config["teacher"]`) answers here. One behind an API (`config["asks"]` is
true, and there is no `teacher`) is asked by a worker later (worker/monitor_teacher.py): what is to
be asked is written to `output/questions.jsonl`, a line for each row, {"id", "share", "text" |
"cells"}. Nothing is where the monitor keeps no inputs, and details of people are taken out where it
keeps none of those.
"""

import json
import logging
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from training.engine import teacher_sampling
from training.engine.errors import ModelError
from training.engine.watching import neighbours, privacy, written
from training.engine.watching.baseline import Baseline
from training.engine.watching.parts import TYPES

log = logging.getLogger(__name__)

JSON = dict[str, Any]
Floats = NDArray[np.float64]

QUESTIONS = "questions.jsonl"
AT_ONCE = 1 / 3  # of a day's rows
DAY = 86_400
SENT = (privacy.RAW, privacy.REDACTED)  # privacy that lets inputs leave to a service
ANSWERS = ("teacher_prediction", "teacher_probabilities", "teacher_share")
#: Seconds in which a teacher that writes is asked, and rows of a reference likewise.
WRITES, WRITES_REFERENCE, REFERENCE_WRITTEN = 120.0, 600.0, 300
REFERENCE = 1000  # rows of a reference that a teacher with weights is asked about


def ask(rows: pa.Table, config: Mapping[str, Any], folder: Path) -> tuple[pa.Table, int]:
    """Of new rows; those that came with a teacher's answer keep it, and are not asked about. Where
    the teacher cannot be read, rows come without its answers."""
    teacher = config.get("teacher")
    if not rows.num_rows or not (teacher or config.get("asks")):
        return rows, 0
    if not teacher and config["monitor"]["privacy"] not in SENT:
        return rows, 0
    shares = chosen(rows, config)
    places = np.flatnonzero(shares > 0).tolist()
    if not places:
        return rows, 0
    if not teacher:
        _write_questions(rows, places, shares, config, folder)
        return rows, len(places)
    try:
        return answered(rows, places, shares, config, folder), len(places)
    except ModelError as error:
        log.warning("Rows come without a teacher's answers: %s", error)
        return rows, 0


def chosen(rows: pa.Table, config: Mapping[str, Any]) -> Floats:
    """`[rows]`: the share at which each row is asked about, 0 of one that is not."""
    monitor = config["monitor"]
    ids = rows["id"].to_pylist()
    shares = np.full(len(ids), float(monitor.get("teacher_share") or 0.0))
    for mask, share in _of_slices(rows, monitor):
        shares[mask] = np.maximum(shares[mask], share)
    shares = np.clip(shares, 0.0, 1.0)
    lies = np.array([teacher_sampling.place(one, str(monitor["salt"])) for one in ids])
    able = _able(rows, str(monitor["input"]))
    shares = np.where(able, shares, 0.0)
    left = allowed(
        int(monitor.get("teacher_daily") or 0), int(config.get("asked_today") or 0), config["now"]
    )
    return within(shares, lies, left)


def within(shares: Floats, lies: Floats, most: int) -> Floats:
    """Shares of those that are asked, 0 of others, at most `most` rows of them."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ranks = np.where(shares > 0, lies / shares, math.inf)
    wanted = ranks < 1
    if wanted.sum() <= most:
        return np.where(wanted, shares, 0.0)
    if most < 1:
        return np.zeros(len(shares))
    edge = np.partition(ranks, most)[most]  # of the first row that is not asked
    return np.where(ranks < edge, np.clip(shares * edge, 0.0, 1.0), 0.0)


def allowed(daily: int, asked: int, now: float) -> int:
    """Rows that may be asked about now, of a day's `daily`, `asked` of which were."""
    passed = (now % DAY) / DAY
    so_far = math.ceil(round(daily * (AT_ONCE + (1 - AT_ONCE) * passed), 6))
    return max(0, min(daily, so_far) - asked)


def answered(
    rows: pa.Table, places: Sequence[int], shares: Floats, config: Mapping[str, Any], folder: Path
) -> pa.Table:
    """With what a teacher with weights says of the rows at some places."""
    if config["monitor"]["task"] == neighbours.TASK:
        return _near(rows, places, shares, config, folder)
    if config["monitor"]["task"] == written.TASK:
        return _wrote(rows, places, shares, config, folder)
    from training.engine.watching import vectors  # noqa: PLC0415 - it brings torch

    labels = list(config["monitor"]["labels"])
    teacher = vectors.Model.open(config["teacher"], folder, labels, embeds=False)
    some = rows.take(pa.array(places))
    said = teacher.answer(vectors.inputs(some, teacher.reads))
    columns: dict[str, list[Any]] = {
        "teacher_prediction": said.predictions,
        "teacher_probabilities": [None] * len(places)
        if (chances := said.chances()) is None
        else chances.to_pylist(),
    }
    there = [one is not None for one in said.predictions]
    columns["teacher_share"] = [
        float(shares[at]) if fine else None for at, fine in zip(places, there, strict=True)
    ]
    for name in ANSWERS:
        found = zip(places, columns[name], strict=True)
        rows = _with(rows, name, {at: value for at, value in found if value is not None})
    return rows


def _near(
    rows: pa.Table, places: Sequence[int], shares: Floats, config: Mapping[str, Any], folder: Path
) -> pa.Table:
    """Of models of vectors: which rows of the reference are near, to the student and to the
    teacher. Rows of a reference itself are held against each other."""
    path = (config.get("reference") or {}).get(neighbours.NAME)
    if not config.get("fits") and path is None:
        return rows  # nobody has answered the reference
    from training.engine.watching import vectors  # noqa: PLC0415 - it brings torch

    teacher = vectors.Model.open(config["teacher"], folder)
    some = rows.take(pa.array(places))
    taught = teacher.answer(vectors.inputs(some, teacher.reads)).vectors
    if taught is None:
        return rows
    if config.get("fits"):
        own = [str(one) for one in some["id"].to_pylist()]
        student = neighbours.vectors_of(some)
        known = neighbours.Neighbours.fit(own, student, taught)
        (folder / "output").mkdir(exist_ok=True)
        known.save(folder / "output" / neighbours.NAME)
        answers = known.said(student, taught, own=own)
    else:
        known = neighbours.Neighbours.load(folder / str(path))
        answers = known.said(neighbours.vectors_of(some, known.student.shape[1]), taught)
    told: dict[str, dict[int, Any]] = {"prediction": {}, "teacher_prediction": {}}
    told["teacher_share"] = {}
    for at, one in zip(places, answers, strict=True):
        if one is not None:
            told["prediction"][at], told["teacher_prediction"][at] = one
            told["teacher_share"][at] = float(shares[at])
    for name, values in told.items():
        rows = _with(rows, name, values)
    return rows


def _wrote(
    rows: pa.Table, places: Sequence[int], shares: Floats, config: Mapping[str, Any], folder: Path
) -> pa.Table:
    """Of models that write: what the teacher writes to a prompt, as far as the time goes. Rows that
    it did not come to are as if fewer had been allowed."""
    from training.engine.watching import writers  # noqa: PLC0415 - it brings torch

    lies = np.array(
        [teacher_sampling.place(str(one), str(config["monitor"]["salt"])) for one in rows["id"]]
    )
    fits = bool(config.get("fits"))
    with np.errstate(divide="ignore", invalid="ignore"):
        ranks = np.where(shares > 0, lies / shares, math.inf)
    ordered = sorted(places, key=lambda at: float(ranks[at]))
    texts = rows["text"].to_pylist()
    writer = writers.Writer.open(config["teacher"], folder)
    patience = WRITES_REFERENCE if fits else WRITES
    said = writer.write([texts[at] for at in ordered], time.monotonic() + patience)
    done = max((at for at, one in enumerate(said, 1) if one is not None), default=0)
    if not fits and done < len(ordered):
        shares = within(shares, lies, done)
    told = [(at, one) for at, one in zip(ordered, said, strict=True) if one is not None]
    rows = _with(rows, "teacher_prediction", {at: one.text for at, one in told})
    return _with(rows, "teacher_share", {at: float(shares[at]) for at, _ in told})


def _with(rows: pa.Table, name: str, values: Mapping[int, Any]) -> pa.Table:
    """A column with these values at their places, and what it had elsewhere."""
    before = rows[name].to_pylist() if name in rows.column_names else [None] * rows.num_rows
    for at, value in values.items():
        before[at] = value
    made = pa.array(before, TYPES[name])
    place = rows.schema.get_field_index(name)
    return rows.append_column(name, made) if place < 0 else rows.set_column(place, name, made)


def of_reference(rows: pa.Table, config: Mapping[str, Any], folder: Path) -> pa.Table:
    """The same of a reference's rows: REFERENCE of them, evenly spread, that have no answer yet.
    Each stands for itself, since the whole reference is as its rows."""
    if not config.get("teacher"):
        return rows
    able = np.flatnonzero(_able(rows, str(config["monitor"]["input"])))
    if not len(able):
        return rows
    if config["monitor"]["task"] == written.TASK and "prediction" in rows.column_names:
        able = able[np.asarray(rows["prediction"].is_valid())[able]]  # that the student answered
        if not len(able):
            return rows
    most = REFERENCE_WRITTEN if config["monitor"]["task"] == written.TASK else REFERENCE
    places = np.unique(able[np.linspace(0, len(able) - 1, min(len(able), most)).astype(int)])
    return answered(rows, places.tolist(), np.ones(rows.num_rows), config, folder)


# -- inside ---------------------------------------------------------------------------------------


def _able(rows: pa.Table, reads: str) -> NDArray[np.bool_]:
    """`[rows]`: of which there is an input, and no answer of the teacher yet."""
    name = {"text": "text", "columns": "cells"}.get(reads, "content")
    if name not in rows.column_names:
        return np.zeros(rows.num_rows, dtype=bool)
    able = np.asarray(rows[name].is_valid())
    if "teacher_prediction" in rows.column_names:
        able = able & ~np.asarray(rows["teacher_prediction"].is_valid())
    return able


def _of_slices(rows: pa.Table, monitor: Mapping[str, Any]) -> list[tuple[NDArray[np.bool_], float]]:
    """Rows of each slice that is asked about at a share of its own."""
    wanted = [one for one in monitor.get("slices") or () if one.get("share")]
    if not wanted:
        return []
    from training.engine.watching import conditions, counting  # noqa: PLC0415 - few need them

    bare = Baseline.none(
        task=str(monitor["task"]),
        labels=list(monitor["labels"]),
        reads=str(monitor["input"]),
        slices=(),
        several=bool(monitor.get("several_labels")),
    )
    view = counting.View.of(rows, bare)
    return [(conditions.chosen(view, one["query"]), float(one["share"])) for one in wanted]


def _write_questions(
    rows: pa.Table, places: Sequence[int], shares: Floats, config: Mapping[str, Any], folder: Path
) -> None:
    output = folder / "output"
    output.mkdir(exist_ok=True)
    names = [one for one in ("text", "cells") if one in rows.column_names]
    some = rows.select(["id", *names]).take(pa.array(places)).to_pylist()
    redacts = config["monitor"]["privacy"] == privacy.REDACTED
    with (output / QUESTIONS).open("w", encoding="utf-8") as file:
        for row, at in zip(some, places, strict=True):
            said = {"id": row["id"], "share": round(float(shares[at]), 6)}
            for name in names:
                if row[name] is not None:
                    said[name] = _redacted(name, row[name]) if redacts else row[name]
            file.write(json.dumps(said, ensure_ascii=False) + "\n")


def _redacted(name: str, value: str) -> str:
    if name == "text":
        return privacy.redacted(value)
    return json.dumps(privacy.each(json.loads(value), privacy.redacted), ensure_ascii=False)
