"""The one form of what was found: runs, with their series in files that are read without trust.

runs.jsonl    one run a line, its series with the place of their points
files/0       copies of the files beside runs
points.bin    of each series its steps (int64), values and times (float64, NaN where not told)
"""

import json
import math
import re
from array import array
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from training.trackers import limits

FINISHED, FAILED, CANCELLED = "finished", "failed", "cancelled"
FILES = "files"  # the folder of files beside runs
PIECE = 1 << 20  # bytes copied at once
UNTOLD = math.nan  # a time that nobody told

_UNFIT = re.compile(r"[^A-Za-z0-9_./: -]")


class Unreadable(Exception):
    """The source cannot be read, for a reason that a person can act on."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code, self.sentence = code, sentence


class Series:
    __slots__ = ("steps", "times", "values")

    def __init__(self) -> None:
        self.steps, self.values, self.times = array("q"), array("d"), array("d")

    def add(self, step: int, value: float, time: float = UNTOLD) -> None:
        """A step that is none is kept as -1, and goes when the run is tidied."""
        self.steps.append(step if 0 <= step <= limits.GREATEST_STEP else -1)
        self.values.append(value)
        self.times.append(time)

    def __len__(self) -> int:
        return len(self.steps)


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file beside a run, opened when it is kept. Opening may raise Unreadable."""

    path: str
    size: int
    open: Callable[[], AbstractContextManager[IO[bytes]]]


@dataclass(slots=True)
class FoundRun:
    """One run as its tracker has it. `key` is the same wherever the same run is found again."""

    key: str
    name: str
    status: str = FINISHED
    is_open: bool = False  # it had no end there
    started: float | None = None  # seconds since the epoch
    ended: float | None = None
    params: dict[str, Any] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    notes: str = ""
    about: dict[str, str] = field(default_factory=dict)  # what else its tracker said of it
    series: dict[str, Series] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    series_known: int | None = None  # where they are not read yet
    files: list[FoundFile] = field(default_factory=list)

    def measure(self, name: str, step: int, value: float, time: float = UNTOLD) -> None:
        series = self.series.get(name)
        if series is None:
            series = self.series[name] = Series()
        series.add(step, value, time)

    def leave_out(self, sentence: str) -> None:
        if sentence not in self.left_out:
            self.left_out.append(sentence)


class Writer:
    """Writes runs into a folder, each within its bounds; `keeps` says of which the files are kept,
    too. Raises Unreadable where all together are too many."""

    def __init__(
        self, folder: Path, *, keeps: Callable[[FoundRun], bool] = lambda run: False
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._keeps = folder, keeps
        self._kept = self._kept_bytes = 0
        self._lines = (folder / "runs.jsonl").open("w", encoding="utf-8")
        self._points = (folder / "points.bin").open("wb")
        self._keys: set[str] = set()
        self.runs = self.points = 0
        self.left_out: list[str] = []

    def add(self, run: FoundRun) -> None:
        tidy(run)
        if run.key in self._keys:
            self.leave_out(f"{run.name} is there twice; the first is taken.")
            return
        if self.runs >= limits.RUNS:
            raise Unreadable(
                "too_many_runs", f"There are more than {limits.RUNS:,} runs. Import a part of them."
            )
        count = sum(len(one) for one in run.series.values())
        if self.points + count > limits.POINTS:
            raise Unreadable(
                "too_many_points",
                f"There are more than {limits.POINTS:,} points. Import a part of the runs.",
            )
        self._keys.add(run.key)
        self.runs += 1
        self.points += count
        places = []
        for name, series in run.series.items():
            places.append({"name": name, "count": len(series), "at": self._points.tell()})
            for numbers in (series.steps, series.values, series.times):
                numbers.tofile(self._points)
        files = self._keep(run) if self._keeps(run) else []
        line = {
            name: getattr(run, name)
            for name in (
                "key", "name", "status", "is_open", "started", "ended", "params", "tags", "notes",
                "about", "left_out", "series_known",
            )
        }  # fmt: skip
        line |= {"series": places, "files": files, "files_known": len(run.files)}
        self._lines.write(json.dumps(line) + "\n")

    def _keep(self, run: FoundRun) -> list[dict[str, Any]]:
        """Copies of its files, named by their number."""
        (self.folder / FILES).mkdir(exist_ok=True)
        kept = []
        for file in run.files:
            if self._kept_bytes + file.size > limits.FILES_BYTES:
                run.leave_out(
                    f"Files beyond {limits.FILES_BYTES >> 30} GiB of all runs that are imported."
                )
                break
            target = self.folder / FILES / str(self._kept)
            try:
                with file.open() as source, target.open("xb") as out:
                    size = _copied(source, out, file.size)
            except Unreadable as fault:
                target.unlink(missing_ok=True)
                run.leave_out(f"The file {file.path[:100]}: {fault.sentence}")
                continue
            self._kept += 1
            self._kept_bytes += size
            kept.append({"path": file.path, "bytes": size, "at": target.name})
        return kept

    def leave_out(self, sentence: str) -> None:
        if len(self.left_out) < limits.TOLD and sentence not in self.left_out:
            self.left_out.append(sentence)

    def close(self) -> None:
        self._lines.close()
        self._points.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _copied(source: IO[bytes], out: IO[bytes], told: int) -> int:
    """How much it was. Raises Unreadable for one that is longer than it said."""
    size = 0
    while piece := source.read(PIECE):
        size += len(piece)
        if size > told:
            raise Unreadable("other_size", "it is longer than it says.")
        out.write(piece)
    return size


def lines(folder: Path) -> Iterator[dict[str, Any]]:
    """What a Writer wrote, run by run."""
    with (folder / "runs.jsonl").open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def tidy(run: FoundRun) -> None:
    """Cut to what a run of ours holds; what goes is told."""
    run.key = run.key[:300]
    run.name = _printable(run.name).strip()[: limits.LONGEST_RUN_NAME] or "unnamed"
    run.params = _params(run)
    run.notes = _text(run.notes)
    if len(run.notes) > limits.LONGEST_NOTES:
        run.notes = run.notes[: limits.LONGEST_NOTES]
        run.leave_out(f"Notes are cut after {limits.LONGEST_NOTES:,} characters.")
    whole = list(dict.fromkeys(_printable(tag).strip() for tag in run.tags))
    run.tags = [tag for tag in whole if 0 < len(tag) <= limits.LONGEST_TAG][: limits.TAGS]
    if gone := len([tag for tag in whole if tag]) - len(run.tags):
        run.leave_out(f"{gone} tags are too long, or beyond the first {limits.TAGS}.")
    run.about = {
        _printable(name)[:100]: _printable(str(value))[:500]
        for name, value in list(run.about.items())[:50]
        if value
    }
    run.started, run.ended = _moment(run.started), _moment(run.ended)
    if run.started is not None and run.ended is not None and run.ended < run.started:
        run.ended = run.started
    run.series = _series(run)
    run.left_out = [_printable(one)[:300] for one in run.left_out[: limits.TOLD]]


def flat(values: Mapping[str, Any], before: str = "", depth: int = 0) -> dict[str, Any]:
    """Mappings inside mappings as names with dots; what is no plain value as JSON."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        whole = f"{before}{name}"
        if isinstance(value, Mapping) and value and depth < 8:
            found |= flat(value, f"{whole}.", depth + 1)
        else:
            found[whole] = value
    return found


def _params(run: FoundRun) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in run.params.items():
        key = _printable(str(name)).strip()
        plain = value if isinstance(value, str | int | float | bool) or value is None else None
        if plain is None and value is not None:
            plain = json.dumps(value, default=str, ensure_ascii=False)
        if isinstance(plain, float) and not math.isfinite(plain):
            plain = str(plain)
        if isinstance(plain, int) and not isinstance(plain, bool) and abs(plain) >= 2**53:
            plain = str(plain) if abs(plain) < 10**100 else "a very large number"
        if isinstance(plain, str):
            plain = _text(plain)
        if not 1 <= len(key) <= limits.LONGEST_NAME:
            run.leave_out("Parameters without a name, or with a very long one.")
        elif isinstance(plain, str) and len(plain) > limits.LONGEST_VALUE:
            run.leave_out(f"The parameter {key}: longer than {limits.LONGEST_VALUE:,} characters.")
        elif len(kept) >= limits.PARAMS:
            run.leave_out(f"Parameters beyond the first {limits.PARAMS:,}.")
            break
        else:
            kept[key] = plain
    return kept


def _series(run: FoundRun) -> dict[str, Series]:
    kept: dict[str, Series] = {}
    for name, series in run.series.items():
        fitting = re.sub(r" +", " ", _UNFIT.sub("_", name)).strip()[: limits.LONGEST_NAME].strip()
        if not fitting or fitting in kept:
            run.leave_out(f"The series {name}: another one has this name here.")
            continue
        if len(kept) >= limits.SERIES:
            run.leave_out(f"Series beyond the first {limits.SERIES:,}.")
            break
        if fitted := _fitted(series, run):
            kept[fitting] = fitted
    return kept


def _fitted(series: Series, run: FoundRun) -> Series:
    """Without steps that are none."""
    if all(step >= 0 for step in series.steps):
        return series
    run.leave_out("Points at steps below 0 or beyond 2^53.")
    kept = Series()
    for step, value, time in zip(series.steps, series.values, series.times, strict=True):
        if step >= 0:
            kept.add(step, value, time)
    return kept


def _moment(seconds: float | None) -> float | None:
    """Between 1990 and 2200; others are mistakes."""
    if seconds is None or not math.isfinite(seconds):
        return None
    return seconds if 631_152_000 <= seconds <= 7_258_118_400 else None


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() else " " for one in text)


def _text(text: str) -> str:
    """Without what databases take in no text."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")
