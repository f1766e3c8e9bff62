"""Tables of metrics: CSV, JSON Lines, and the `log_history` of a Trainer's state.

Wide: a column a series, a row a step       step,train/loss,val/accuracy
Long: a row a point                         name,step,value,time
Either may have a column `run`: each of its values is a run of its own.
"""

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import IO, Any

from training.trackers import limits
from training.trackers.found import UNTOLD, FoundRun, Unreadable, Writer
from training.trackers.trees import Tree

CSV, TSV, LINES, DOCUMENT = "csv", "tsv", "lines", "document"
ENDINGS = {
    ".csv": CSV, ".tsv": TSV, ".txt": CSV, ".jsonl": LINES, ".ndjson": LINES, ".json": DOCUMENT,
}  # fmt: skip
#: What columns are called, the first that is there counts.
STEPS = ("step", "global_step", "_step", "iteration", "iter", "trainer/global_step", "epoch")
TIMES = ("time", "timestamp", "wall time", "wall_time", "_timestamp", "date")
NAMES = ("name", "metric", "tag", "key", "series")
VALUES = ("value",)
RUNS = ("run", "run_id", "run id", "run_name", "run name", "experiment_name")
PARAMS = "params"

Row = Mapping[str, Any]


def fits(tree: Tree) -> bool:
    return any(_kind(name) for name in tree.sizes)


def read(tree: Tree, out: Writer, source: str) -> Iterator[FoundRun]:
    files = [name for name in sorted(tree.sizes) if _kind(name)]
    gone = len(tree.sizes) - len(files)
    if gone:
        out.leave_out(f"Files that are no tables ({gone:,}).")
    for file in files:
        last = file.rpartition("/")[2]
        stem = source if source and len(files) == 1 else last.rpartition(".")[0] or last
        with tree.open(file) as stream:
            yield from _runs(_rows(stream, file, tree.sizes[file]), file, stem)


def _kind(name: str) -> str:
    last = name.rpartition("/")[2].lower()
    return "" if last.startswith(".") else ENDINGS.get("." + last.rpartition(".")[2], "")


# Rows, whatever they are written in --------------------------------------------------------------


def _rows(stream: IO[bytes], file: str, size: int) -> Iterator[Row]:
    kind = _kind(file)
    if kind == DOCUMENT:
        yield from _document(stream, file, size)
    elif kind == LINES:
        yield from _lines(stream, file)
    else:
        yield from _cells(stream, file, "\t" if kind == TSV else "")


def _cells(stream: IO[bytes], file: str, delimiter: str) -> Iterator[Row]:
    text = io.TextIOWrapper(_Bounded(stream, file), encoding="utf-8-sig", errors="replace")  # type: ignore[type-var]
    head = text.readline(limits.LINE).strip("\r\n")
    if not head:
        raise Unreadable("empty", f"{file} is empty.")
    if not delimiter:
        delimiter = max(",;\t", key=head.count)
    names = [one.strip() for one in next(csv.reader([head], delimiter=delimiter))]
    if len(names) > limits.COLUMNS:
        raise Unreadable("too_many_columns", f"{file} has more than {limits.COLUMNS:,} columns.")
    if len(set(names)) < len(names):
        raise Unreadable("columns_twice", f"{file} has two columns of one name.")
    try:
        for cells in csv.reader(text, delimiter=delimiter):
            yield dict(zip(names, cells, strict=False))
    except csv.Error as error:
        raise Unreadable("not_csv", f"{file} is no CSV: {error}.") from None


def _lines(stream: IO[bytes], file: str) -> Iterator[Row]:
    for count, line in enumerate(_whole_lines(stream, file), 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            raise Unreadable("not_json", f"Line {count:,} of {file} is no JSON.") from None
        if not isinstance(found, dict):
            raise Unreadable("not_json", f"Line {count:,} of {file} is no object.")
        yield found


def _document(stream: IO[bytes], file: str, size: int) -> Iterator[Row]:
    if size > limits.RECORD:
        raise Unreadable("too_large", f"{file} is larger than {limits.RECORD >> 20} MiB.")
    try:
        found = json.loads(stream.read(limits.RECORD + 1))
    except (ValueError, RecursionError):
        raise Unreadable("not_json", f"{file} is no JSON.") from None
    rows = found.get("log_history") if isinstance(found, dict) else found
    if not isinstance(rows, list) or not all(isinstance(one, dict) for one in rows):
        raise Unreadable(
            "not_rows", f"{file} is no list of objects, and has no log_history with one."
        )
    yield from rows


def _whole_lines(stream: IO[bytes], file: str) -> Iterator[bytes]:
    while line := stream.readline(limits.LINE + 1):
        if len(line) > limits.LINE:
            raise Unreadable("long_line", f"{file} has a line of more than a million characters.")
        yield line


class _Bounded(io.RawIOBase):
    """Lines of a stream, none of which is longer than may be."""

    def __init__(self, stream: IO[bytes], file: str) -> None:
        self._lines, self._rest = _whole_lines(stream, file), b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            line = next(self._lines, None)
            if line is None:
                return 0
            self._rest = line
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


# Runs of rows ------------------------------------------------------------------------------------


def _runs(rows: Iterable[Row], file: str, stem: str) -> Iterator[FoundRun]:
    runs: dict[str, FoundRun] = {}
    count = points = 0
    places: dict[str, str] = {}
    known: frozenset[str] = frozenset()
    for count, row in enumerate(rows, 1):
        if not known >= row.keys():  # JSON's rows may each have other names
            known |= row.keys()
            places = _places(known)
            if len(known) > limits.COLUMNS + limits.SERIES:
                raise Unreadable("too_many_columns", f"{file} has too many names.")
        called = str(row.get(places.get("run", ""), "") or "").strip()
        run = runs.get(called)
        if run is None:
            if len(runs) >= limits.RUNS:
                raise Unreadable("too_many_runs", f"{file} has more than {limits.RUNS:,} runs.")
            name = called or stem
            run = runs[called] = FoundRun(key=f"table:{stem}:{called}", name=name)
        points += _take(row, run, places, count - 1, stem)
        if points > limits.POINTS:
            raise Unreadable("too_many_points", f"{file} has more points than may be.")
    if not count:
        raise Unreadable("empty", f"{file} has no rows.")
    if not points:
        raise Unreadable(
            "no_numbers",
            f"{file} has no numbers to chart: it needs columns of numbers, and best one called "
            "step.",
        )
    yield from runs.values()


def _places(names: frozenset[str]) -> dict[str, str]:
    """Which names mean what: {"step": "Step", ...}."""
    low = {name.strip().lower(): name for name in sorted(names, reverse=True)}
    meanings = {"step": STEPS, "time": TIMES, "name": NAMES, "value": VALUES, "run": RUNS}
    found = {
        meaning: next(low[word] for word in words if word in low)
        for meaning, words in meanings.items()
        if any(word in low for word in words)
    }
    if "value" not in found:
        found.pop("name", None)
    return found


def _take(row: Row, run: FoundRun, places: Mapping[str, str], count: int, stem: str) -> int:
    """The points of a row; how many."""
    told = _number(row.get(places.get("step", ""), ""))
    step = int(told) if told is not None and math.isfinite(told) and told >= 0 else None
    if step is None:
        if "step" in places and row.get(places["step"]) not in (None, ""):
            run.leave_out(f"Rows without a step: {str(row[places['step']])[:50]}.")
            return 0
        step = count
    time = _time(row.get(places.get("time", "")))
    if not math.isnan(time):
        run.started = min(run.started or time, time)
        run.ended = max(run.ended or time, time)
    if isinstance(row.get(PARAMS), dict):
        run.params |= row[PARAMS]
    if "value" in places:
        value = _number(row.get(places["value"]))
        if value is None:
            run.leave_out("Rows without a number in the column value.")
            return 0
        name = str(row.get(places.get("name", ""), "") or stem)
        run.measure(name, step, value, time)
        return 1
    taken = 0
    special = {places.get(one) for one in ("step", "time", "run")} | {PARAMS}
    for name, cell in row.items():
        if name in special or not name or cell in (None, ""):
            continue
        value = _number(cell)
        if value is None:
            run.leave_out(f"{name}: no numbers.")
            continue
        run.measure(name, step, value, time)
        taken += 1
    return taken


def _number(cell: Any) -> float | None:
    if isinstance(cell, bool):
        return float(cell)
    try:
        if isinstance(cell, int | float):
            return float(cell)
        if isinstance(cell, str) and len(cell) < 400 and "_" not in cell:
            return float(cell)
    except (ValueError, OverflowError):
        return None
    return None


def _time(cell: Any) -> float:
    """Seconds since the epoch, of seconds, milliseconds or a date."""
    number = _number(cell)
    if number is not None:
        return number / 1000 if number > 1e11 else number if number > 1e8 else UNTOLD
    try:
        found = datetime.fromisoformat(str(cell))
    except ValueError:
        return UNTOLD
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
