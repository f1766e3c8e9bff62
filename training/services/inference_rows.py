"""Rows of the inference log, as people see them: read from Parquet parts, with what labels and the
teacher said later, newest first, page by page.

    page = rows(monitor, Asked(window=7, wrong=True), limit=50)      page.rows, page.next
    by_ids(monitor, ["5f2c", ...])                                   in the order asked for

Of a day only columns that decide are read whole; the rest, of rows that are shown. A page may end
before it is full, where much was looked through: then it says where it goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from distillhub.lib.errors import Invalid, Missing
from distillhub.lib.later import Later, np
from training.models import InferencePart, Monitor
from training.services import inference_days, inference_told
from training.services.inference_days import EPOCH, MICROSECOND, Asked, Day, open_part, opened
from training.services.inference_records import BY_WORD, VECTORS, WRITTEN

pa = Later("pyarrow")
pc = Later("pyarrow.compute")
pq = Later("pyarrow.parquet")
known = Later("training.engine.watching.known")  # these bring numpy and pyarrow
history = Later("training.engine.watching.history")
parts = Later("training.engine.watching.parts")
counting = Later("training.engine.watching.counting")
baseline = Later("training.engine.watching.baseline")
conditions = Later("training.engine.watching.conditions")
neighbours = Later("training.engine.watching.neighbours")
label_sets = Later("training.engine.watching.label_sets")

JSON = dict[str, Any]
Kind = InferencePart.Kind

MOST_LOOKED_THROUGH = 500_000  # rows, until a page ends before it is full
MOST_IDS = 1000
#: That decide which rows are shown.
SAME = ("label_same", "label_alike", "teacher_same", "teacher_alike")  # of written answers
DECIDING = ("id", "time", "hash", "window", "prediction", "label", "teacher_prediction", *SAME)
LATER = ("label", "teacher_prediction", "teacher_probabilities", "teacher_share", *SAME)


@dataclass(slots=True)
class Page:
    rows: list[JSON] = field(default_factory=list)
    next: str | None = None  # the cursor of the page that follows


def rows(
    monitor: Monitor, asked: Asked | None = None, *, limit: int = 50, cursor: str = ""
) -> Page:
    """Newest first. Raises Invalid and Missing for what cannot be asked, and Unavailable where
    storage has lost a part."""
    asked = asked or Asked()
    query = _query(monitor, asked)
    before = _read_cursor(cursor)
    page, looked = Page(), 0
    for days in inference_days.listed(monitor, asked, before):
        with opened(days):
            table = _table(days, asked, query)
            looked += len(table)
            chosen = _chosen(monitor, table, asked, query, before)
            room = limit - len(page.rows)
            more = len(chosen) > room
            chosen = chosen[:room]
            page.rows += _told(monitor, days, table, chosen)
        if len(page.rows) == limit and (more or days.day > inference_days.first(monitor)):
            last = int(chosen[-1])
            page.next = f"{_micro(table, last)}.{table['hash'][last].as_py()}"
            return page
        if looked > MOST_LOOKED_THROUGH and days.day > inference_days.first(monitor):
            midnight = datetime.combine(days.day, datetime.min.time(), UTC)
            page.next = f"{(midnight - EPOCH) // MICROSECOND}.0"
            return page
    return page


def by_ids(monitor: Monitor, ids: Sequence[str]) -> list[JSON]:
    """These rows, in the order asked for; what is not here is left out. Raises Invalid and
    Unavailable."""
    return [inference_told.told(monitor, one) for one in kept(monitor, ids)]


def kept(monitor: Monitor, ids: Sequence[str]) -> list[JSON]:
    """Likewise, as parts keep them: with their vectors."""
    if len(ids) > MOST_IDS:
        raise Invalid(f"At most {MOST_IDS:,} rows are looked up at once.")
    found: dict[str, JSON] = {}
    wanted = known.hashes(ids)
    every = list(monitor.parts.order_by("pk"))
    with ExitStack() as stack:
        indexes = [
            known.Index.read(
                Path(stack.enter_context(open_part(one)).name), one.sha256, str(one.day)
            )
            for one in every
            if one.kind == Kind.INDEX
        ]
        places = known.Known(indexes).find(wanted)
    by_part: dict[str, list[int]] = {}
    for identity in ids:
        if one := places.get(known.hashed(identity)):
            by_part.setdefault(one.sha256, []).append(one.place)
    for part in (one for one in every if one.kind == Kind.ROWS and one.sha256 in by_part):
        same_day = [one for one in every if one.kind == Kind.SAID and one.day == part.day]
        days = Day(part.day, [part], same_day)
        with opened(days):
            table = parts.taken(days.files[part.sha256], by_part[part.sha256])
            later = _later(days, set(table["id"].to_pylist()))
        for row in table.to_pylist():
            found[row["id"]] = row | later.get(row["id"], {})
    return [found[one] for one in ids if one in found]


# -- which rows -----------------------------------------------------------------------------------


def _table(days: Day, asked: Asked, query: Any) -> Any:
    """What decides of all rows of a day: `part` and `place` say where each stands."""
    tables = []
    for at, one in enumerate(days.rows):
        file = pq.ParquetFile(days.files[one.sha256])
        there = file.schema_arrow.names
        wanted = [*DECIDING, *(("text", "cells") if asked.q else ())]
        names = there if query is not None else [name for name in wanted if name in there]
        table = file.read(columns=[name for name in names if name != "vector"])
        places = np.arange(len(table), dtype=np.int64)
        table = table.append_column("part", pa.array(np.full(len(table), at)))
        tables.append(table.append_column("place", pa.array(places)))
    table = pa.concat_tables(tables, promote_options="default").combine_chunks()
    return _with_later(table, days) if _needs_later(asked, query) else table


def _needs_later(asked: Asked, query: Any) -> bool:
    return asked.wrong or asked.disagreeing or query is not None


def _with_later(table: Any, days: Day) -> Any:
    later = _later(days, None)
    if not later:
        return table
    ids = table["id"].to_pylist()
    return history.as_now(table, {}, {one: later.get(one, {}) for one in ids})


def _later(days: Day, ids: set[str] | None) -> dict[str, JSON]:
    """What was said later of rows of a day; of these alone, where they are known."""
    found: dict[str, JSON] = {}
    for one in days.said:
        for row in pq.read_table(days.files[one.sha256]).to_pylist():
            if ids is None or row["id"] in ids:
                said = {name: row[name] for name in LATER if row.get(name) is not None}
                found.setdefault(row["id"], {}).update(said)
    return found


def _chosen(
    monitor: Monitor, table: Any, asked: Asked, query: Any, before: tuple[int, int] | None
) -> Any:
    """Places in the table of rows asked for, newest first."""
    times = table["time"].cast(pa.int64()).to_numpy()
    hashes = table["hash"].to_numpy()
    found = np.ones(len(table), dtype=bool)
    if before is not None:
        time, place = before
        found &= (times < time) | ((times == time) & (hashes < np.uint64(place)))
    if asked.window is not None:
        found &= table["window"].to_numpy() == asked.window
    if asked.since is not None:
        found &= times >= (asked.since - EPOCH) // MICROSECOND
    if asked.until is not None:
        found &= times < (asked.until - EPOCH) // MICROSECOND
    if asked.prediction:
        found &= _said(monitor, table, asked.prediction)
    if asked.wrong:
        writes = monitor.task == WRITTEN
        found &= _is_none_of(table, "label_same") if writes else _differs(table, "label")
    if asked.disagreeing:
        found &= _disagrees(monitor, table)
    if asked.q:
        found &= _holds(table, asked.q)
    if query is not None:
        view = counting.View.of(
            table,
            baseline.Baseline.none(
                task=monitor.task,
                labels=monitor.labels,
                reads=_reads(table),
                slices=[],
                several=monitor.several_labels,
            ),
        )
        found &= conditions.chosen(view, query)
    at = np.flatnonzero(found)
    return at[np.lexsort((hashes[at], times[at]))[::-1]]


def _reads(table: Any) -> str:
    return "columns" if "cells" in table.column_names else "text"


def _said(monitor: Monitor, table: Any, label: str) -> Any:
    if monitor.task == BY_WORD and "prediction" in table.column_names:
        padded = pc.binary_join_element_wise("", table["prediction"], "", " ")
        return _truths(pc.match_substring(padded, f" {label} "))
    return (_among if monitor.several_labels else _equal)(table, "prediction", label)


def _equal(table: Any, name: str, value: str) -> Any:
    if name not in table.column_names:
        return np.zeros(len(table), dtype=bool)
    return _truths(pc.equal(table[name], value))


def _among(table: Any, name: str, label: str) -> Any:
    """Rows of which it is one of several labels."""
    if name not in table.column_names:
        return np.zeros(len(table), dtype=bool)
    said = map(label_sets.labels_of, table[name].to_pylist())
    return np.array([label in (some or ()) for some in said], dtype=bool)


def _disagrees(monitor: Monitor, table: Any) -> Any:
    if monitor.task == WRITTEN:
        return _is_none_of(table, "teacher_same")
    if monitor.task != VECTORS:
        return _differs(table, "teacher_prediction")
    names = ("prediction", "teacher_prediction")
    if not set(names) <= set(table.column_names):
        return np.zeros(len(table), dtype=bool)
    return neighbours.agree(*(table[name].to_pylist() for name in names)) == 0


def _is_none_of(table: Any, name: str) -> Any:
    """Rows whose written answer is not the same text."""
    if name not in table.column_names:
        return np.zeros(len(table), dtype=bool)
    return _truths(pc.equal(table[name], 0.0))


def _differs(table: Any, name: str) -> Any:
    """From what was answered, where both are known."""
    if name not in table.column_names or "prediction" not in table.column_names:
        return np.zeros(len(table), dtype=bool)
    return _truths(pc.not_equal(table[name], table["prediction"]))


def _holds(table: Any, words: str) -> Any:
    found = np.zeros(len(table), dtype=bool)
    for name in ("text", "cells"):
        if name in table.column_names:
            found |= _truths(pc.match_substring(table[name], words, ignore_case=True))
    return found


def _truths(column: Any) -> Any:
    return pc.fill_null(column, False).combine_chunks().to_numpy(zero_copy_only=False)


def _query(monitor: Monitor, asked: Asked) -> Any:
    """Of the slice. Raises Missing and Invalid."""
    may_be_wrong = bool(monitor.labels) or monitor.task == WRITTEN
    may_differ = may_be_wrong or monitor.task == VECTORS
    if (asked.wrong and not may_be_wrong) or (asked.disagreeing and not may_differ):
        field_name = "wrong" if asked.wrong else "disagreeing"
        sentence = "Answers of this monitor are no classes: none is plainly right or wrong."
        raise Invalid(sentence, fields={field_name: [sentence]})
    if not asked.slice:
        return None
    for one in monitor.slices:
        if one["name"] == asked.slice:
            return one["query"]
    raise Missing(f"The monitor keeps no slice {asked.slice[:100]}.")


def _read_cursor(cursor: str) -> tuple[int, int] | None:
    if not cursor:
        return None
    time, _, place = cursor.partition(".")
    if not all(one.isascii() and one.isdigit() and len(one) <= 20 for one in (time, place)):
        raise Missing("There is no such page.")
    found = int(time), int(place)
    if found[0] >= 2**53 or found[1] >= 2**64:
        raise Missing("There is no such page.")
    return found


# -- as they are told -----------------------------------------------------------------------------


def _micro(table: Any, place: int) -> int:
    return int(table["time"].cast(pa.int64())[place].as_py())


def _told(monitor: Monitor, days: Day, table: Any, chosen: Any) -> list[JSON]:
    """Rows at these places, whole."""
    if not len(chosen):
        return []
    of_part, places = table["part"].to_numpy()[chosen], table["place"].to_numpy()[chosen]
    found: list[JSON | None] = [None] * len(chosen)
    for at, one in enumerate(days.rows):
        mine = np.flatnonzero(of_part == at)
        if len(mine):
            whole = parts.taken(days.files[one.sha256], places[mine].tolist())
            for place, row in zip(mine, whole.to_pylist(), strict=True):
                found[int(place)] = row
    ids = {row["id"] for row in found if row is not None}
    later = _later(days, ids)
    every = (row | later.get(row["id"], {}) for row in found if row is not None)
    return [inference_told.told(monitor, row) for row in every]
