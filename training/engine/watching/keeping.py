"""What is kept of a look: rows as the monitor's privacy allows, and what was said of others."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from training.engine import teacher_sampling
from training.engine.sketches import CategorySketch, Sketch
from training.engine.watching import known, privacy, written
from training.engine.watching.baseline import BY_WORD
from training.engine.watching.parts import LATER, ROWS, SAME, TYPES, Writer
from training.engine.watching.taken import Taken, spelt
from training.engine.watching.windows import Sums

JSON = dict[str, Any]

#: Columns that a row keeps, whatever share of rows is kept.
LEAST = frozenset({
    "id", "time", "hash", "window", "prediction", "number", "latency_ms", "label", "version",
    "input_hash", "teacher_prediction", "teacher_probabilities", "teacher_share", "tokens",
    "log_probability", *SAME,
})  # fmt: skip
ANSWERS = ("prediction", "label", "teacher_prediction")
CONTENT = ("text", "cells", "blob")
DESCRIBING = ("described.", written.ANSWERED)


def keep(taken: Taken, rows: pa.Table, config: Mapping[str, Any], folder: Path) -> list[JSON]:
    """Write what is kept: of new `rows`, as they are by now, what the monitor's privacy allows. The
    parts, as `result.json` tells of them; pictures and sounds stand below `output/blobs`."""
    monitor = config["monitor"]
    writer = Writer(folder)
    if len(rows):
        writer.rows(_private(rows, monitor, folder))
    for part, table in taken.rewritten:
        if not len(table):
            continue
        if part.kind == ROWS:
            writer.rows(table)
        else:
            writer.said(table, part.day, waits=part.waits)
    _keep_later(taken, monitor, writer)  # last: of what is said of a row, the newest part counts
    return writer.told


def _keep_later(taken: Taken, monitor: Mapping[str, Any], writer: Writer) -> None:
    groups: dict[tuple[str, bool], list[JSON]] = {}
    for one in taken.later:
        groups.setdefault((one["day"], one["waits"]), []).append(one)
    for (day, waits), some in sorted(groups.items()):
        columns = {
            name: pa.array([one.get(name) for one in some], type=TYPES[name])
            for name in ("id", *LATER)
        }
        columns["hash"] = pa.array(known.hashes(one["id"] for one in some))
        writer.said(_answers(pa.table(columns), monitor), day, waits=waits)


def _private(rows: pa.Table, monitor: Mapping[str, Any], folder: Path) -> pa.Table:
    mode, salt = monitor["privacy"], monitor["salt"]
    if mode == privacy.HASHED:
        rows = rows.append_column("input_hash", _digests(rows, salt))
    if mode == privacy.RAW and "content" in rows.column_names:
        _keep_contents(rows, monitor, folder)
    dropped = {"content"}
    if mode == privacy.REDACTED:
        by_word = monitor["task"] == BY_WORD
        rows = _changed(rows, "text", privacy.redacted_words if by_word else privacy.redacted)
        for name in ("cells", "tags"):
            rows = _changed(rows, name, _redacted_json)
        dropped |= {"blob"}
    elif mode != privacy.RAW:
        dropped |= set(CONTENT)
    if mode == privacy.HASHED:
        dropped |= {"vector"} | {one for one in rows.column_names if one.startswith(DESCRIBING)}
    rows = rows.select([one for one in rows.column_names if one not in dropped])
    return _thinned(_answers(rows, monitor), monitor)


def names_kept(sums: Sums, monitor: Mapping[str, Any]) -> Sums:
    """Names that the reference never had are contents of rows: a window keeps them as the monitor
    keeps rows. How many there were stays."""
    if monitor["privacy"] == privacy.RAW:
        return sums
    redacts = monitor["privacy"] == privacy.REDACTED
    found: dict[str, Sketch] = {}
    for signal, one in sums.sketches.items():
        is_content = signal.startswith("input.") or (
            signal == "prediction" and not monitor["labels"]
        )
        if isinstance(one, CategorySketch) and is_content:
            names: Counter[str] = Counter()
            for name, rows in one.unseen.items() if redacts else ():
                names[privacy.redacted(name)] += rows
            one = replace(one, unseen=dict(names))
        found[signal] = one
    slices = {name: names_kept(one, monitor) for name, one in sums.slices.items()}
    return replace(sums, sketches=found, slices=slices)


def _answers(rows: pa.Table, monitor: Mapping[str, Any]) -> pa.Table:
    """Texts that models and people wrote are as private as inputs; names of classes are not."""
    mode, salt = monitor["privacy"], monitor["salt"]
    if monitor["labels"] or mode == privacy.RAW:
        return rows
    if monitor["task"] == written.TASK:
        for name in ANSWERS:
            rows = _changed(rows, name, lambda text: written.kept(text, monitor))
        return rows
    changes: dict[str, Callable[[str], str]] = {
        privacy.REDACTED: privacy.redacted,
        privacy.HASHED: lambda text: privacy.digest(text, salt),
        privacy.DESCRIBED: lambda text: "",
    }
    for name in ANSWERS:
        rows = _changed(rows, name, _unless_number(changes[mode]))
    return rows


def _unless_number(change: Callable[[str], str]) -> Callable[[str], str]:
    def changed(text: str) -> str:
        try:
            float(text)
        except ValueError:
            return change(text)
        return text

    return changed


def _thinned(rows: pa.Table, monitor: Mapping[str, Any]) -> pa.Table:
    """Of all but a share of rows, chosen by a hash of their ids, only what counting needs."""
    share = float(monitor["kept_share"])
    if share >= 1.0:
        return rows
    salt = f"{monitor['salt']}:kept"
    stays = pa.array(
        [teacher_sampling.is_asked(one, share, salt) for one in rows.column("id").to_pylist()]
    )
    for place, name in enumerate(rows.column_names):
        if name not in LEAST:
            column = rows.column(name).combine_chunks()
            kept = column.take(pc.if_else(stays, pa.array(range(len(rows))), None))
            rows = rows.set_column(place, name, kept)
    return rows


def _keep_contents(rows: pa.Table, monitor: Mapping[str, Any], folder: Path) -> None:
    into = folder / "output/blobs"
    into.mkdir(parents=True, exist_ok=True)
    share, salt = float(monitor["kept_share"]), f"{monitor['salt']}:kept"
    names = zip(*(rows.column(one).to_pylist() for one in ("id", "blob", "content")), strict=True)
    for identity, name, content in names:
        if content is not None and teacher_sampling.is_asked(identity, share, salt):
            (into / name).write_bytes(content)


def _digests(rows: pa.Table, salt: str) -> pa.Array:
    found: list[str | None] = [None] * len(rows)
    for name in ("text", "cells", "blob"):
        if name in rows.column_names:
            for at, content in enumerate(rows.column(name).to_pylist()):
                if content is not None:
                    found[at] = privacy.digest(content, salt)
    return pa.array(found, type=pa.string())


def _changed(rows: pa.Table, name: str, change: Callable[[str], str]) -> pa.Table:
    if name not in rows.column_names:
        return rows
    values = [None if one is None else change(one) for one in rows.column(name).to_pylist()]
    place = rows.schema.get_field_index(name)
    return rows.set_column(place, name, pa.array(values, type=pa.string()))


def _redacted_json(text: str) -> str:
    return str(spelt(privacy.each(json.loads(text), privacy.redacted)))
