"""One look at what a monitor was sent: `python -m training.engine watch FOLDER`.

    config.json {
      "format", "fits", "now": seconds since 1970, "threads",
      "monitor": {"task", "labels", "several_labels", "window_rows", "window_hours",
                  "grace_minutes", "minimum_rows", "rows": that came before, "detectors",
                  "correction", "slices", "teacher_share", "teacher_daily", "salt", "privacy",
                  "kept_share", "retention_days",
                  "input": "text", "columns", "image", "audio", "vector" or ""},
      "model": {"path", "name", "task"} or null, "teacher": the same or null,
      "reference": {name of a file: path} (Monitor.reference_files), {} before it is fitted,
      "batches": [{"id", "kind", "rows", "path"}] in the order they came: zlib JSON Lines,
      "parts": [{"kind", "day", "rows", "sha256"}] of all days: `wants.files` brings those needed,
      "history": [{"number", "starts_at", "rows", "p95"}] of windows before, for volume and latency,
      "asks": whether a service is the teacher, "asked_today": rows that it was asked about,
      "canaries", "said_of_reference": what it said of the reference (canaries.py),
      "newest": number of the newest window or null, "judged": of the newest whose alerts were
                stepped, or null, "streams": {signal: states},
      "fitted_at": when the reference was fitted or null, "recount": [number of windows that came
                before it and were not judged]
    }

The order of a look, and who does what:

    taking.take(config, folder, wants) -> Taken     batches to rows: known ids left out, `window`
                                                    set, descriptors and vectors made, still raw
    asking.ask(rows, config, folder) -> rows, asked     with teacher_prediction, teacher_share and
                                                    teacher_probabilities; or `questions.jsonl`
    windows.count / scoring.score                   sums merged, scores computed
    keeping.keep(taken, rows, config, folder)       privacy, then Parquet below `output/`; the parts

`Taken` has `rows` (pyarrow table, columns as parts have them, and raw input), `said` (rows of
before, as they are now, with what was said of them later: the same columns, and `label_is_new`,
`answer_is_new`), `taken` and `refused` ([{"batch", "sentence"}]: unreadable, set aside by name),
`forgotten` ([sha256] of parts that are replaced).

`result.json` of a look:

    {"parts": [{"name", "kind", "day", "rows", "first_at", "last_at", "bytes"}],
     "replaced": [sha256 of parts that are gone], "taken": [batch],
     "refused": [{"batch", "sentence"}],
     "windows": [{"number", "starts_at", "ends_at", "rows", "late_rows", "path", "scores", "facts",
                  "slices"}],
     "rows": new ones, "last_at": seconds or null, "report": {"streams", "seconds", "rows", ...}}

and of a fit (`"fits": true`; reference.py): {"files": [{"name", "bytes"}], "reference": summary}.
Failed, it is {"failed": {"code", "sentence"}} with exit status 1.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.parquet as pq

from training.engine import inspection, job
from training.engine.errors import ConfigError, Fault
from training.engine.events import Stage
from training.engine.journal import Journal
from training.engine.watching import (
    canaries,
    counting,
    facts,
    keeping,
    nearness,
    recounting,
    scoring,
    streams,
    usual,
    written,
)
from training.engine.watching.baseline import NAME, SHOWN, Baseline
from training.engine.watching.wants import Kept, Wants
from training.engine.watching.windows import Sums

JSON = dict[str, Any]
Tell = Callable[[str], None]

HOUR = 3600.0
MOST_EMPTY = 500  # windows without a row that one look closes


def run(folder: Path) -> NoReturn:
    """Look, or fit, as the folder says, write `result.json`, and end the process."""

    def work(folder: Path) -> JSON:
        with Journal(folder / "journal.jsonl") as journal:
            return watch(folder, stage=lambda name: journal.write(Stage(name)))

    inspection.answer(folder, work)


def watch(folder: Path, *, stage: Tell = lambda _: None) -> JSON:
    """What `result.json` says. Raises the errors of errors.py."""
    config = job.read_config(folder)
    if not isinstance(config.get("monitor"), dict):
        raise ConfigError([Fault("monitor", "A look is at a monitor.")])
    (folder / "output").mkdir(exist_ok=True)
    wants = Wants(folder)
    if config.get("fits"):
        from training.engine.watching import reference  # noqa: PLC0415 - it may load a model

        return reference.fit(config, folder, wants, stage=stage)
    return look(config, folder, wants, stage=stage)


def look(config: JSON, folder: Path, wants: Wants, *, stage: Tell = lambda _: None) -> JSON:
    """Take in what came, count it, score every window that it touched."""
    from training.engine.watching import asking, taking  # noqa: PLC0415 - see `fits`

    began = time.perf_counter()
    stage("taking in")
    taken = taking.take(config, folder, wants)
    stage("asking the teacher")
    rows, asked = asking.ask(taken.rows, config, folder)
    if config["monitor"]["task"] == written.TASK:
        rows = written.compared(rows, config["monitor"])
        taken.said = written.later(taken.said, taken.later, config["monitor"])
    stage("counting")
    baseline = baseline_of(config, folder)
    windows = _Windows(config, baseline, wants)
    windows.count(rows, taken.said)
    stage("scoring")
    told = windows.scored(folder / "output")
    stage("keeping")
    parts = keeping.keep(taken, rows, config, folder)
    times = [one["last_at"] for one in parts if one["kind"] == "rows" and one["last_at"]]
    return {
        "parts": parts,
        "replaced": list(taken.forgotten),
        "taken": list(taken.taken),
        "refused": list(taken.refused),
        "windows": told,
        "rows": rows.num_rows,
        "asked": asked,
        "last_at": max(times, default=None),
        "report": {
            "streams": windows.streams,
            "recounted": config.get("fitted_at"),
            "seconds": round(time.perf_counter() - began, 3),
            "rows": rows.num_rows,
            "said": taken.said.num_rows,
            "windows": len(told),
        },
    }


def baseline_of(config: Mapping[str, Any], folder: Path) -> Baseline:
    """The reference that was fitted; else one without bins."""
    path = (config.get("reference") or {}).get(NAME)
    if path and (folder / path).is_file():
        found = Baseline.load(folder / path)
        answers = (config.get("said_of_reference") or {}).get("answers")
        if answers:
            rows = pq.read_table(folder / config["reference"][SHOWN])
            found = canaries.told_of(found, rows, answers)
        plane = config["reference"].get(nearness.NAME)
        if plane and (folder / plane).is_file():
            found = replace(found, near=nearness.Nearness.load(folder / plane))
        return found
    monitor = config["monitor"]
    return Baseline.none(
        task=monitor["task"],
        labels=monitor["labels"],
        reads=monitor["input"],
        slices=monitor["slices"],
        several=bool(monitor.get("several_labels")),
    )


class _Windows:
    """The windows that a look touches: what they were, and what is added."""

    def __init__(self, config: JSON, baseline: Baseline, wants: Wants) -> None:
        self.config, self.baseline, self.wants = config, baseline, wants
        self.monitor = config["monitor"]
        self.hours: float | None = self.monitor["window_hours"]
        self.streams: JSON = dict(config.get("streams") or {})
        self.added: dict[int, Sums] = {}
        self.kept: dict[int, Kept | None] = {}
        self.recounted: dict[int, Sums] = {}

    def count(self, rows: pa.Table, said: pa.Table) -> None:
        found: dict[str, list[streams.Value]] = {}
        for table, later in ((rows, False), (said, True)):
            for number, part in counting.by_window(table):
                view = counting.View.of(part, self.baseline)
                one = (counting.later if later else counting.count)(view, self.baseline)
                self._add(number, keeping.names_kept(one, self.monitor))
                for name, many in streams.values(view, [number] * len(view), later=later).items():
                    found.setdefault(name, []).extend(many)
        if any(found.values()):
            rang, self.streams = streams.follow(
                found, self.streams, self.monitor["detectors"], self._open_from()
            )
            for number, one in rang.items():
                self._add(number, one)
        if self.baseline.bins and self.config.get("recount"):
            self.recounted = recounting.recounted(
                self.config["recount"], self.config["parts"], self.baseline, self.wants
            )
        for number in (*self._empty(), *self.recounted):
            self.added.setdefault(number, Sums())
        self.kept = self.wants.windows(self.added)

    def _add(self, number: int, one: Sums) -> None:
        self.added[number] = self.added.get(number, Sums()).merge(one)

    def _open_from(self) -> int | None:
        judged = self.config.get("judged")
        return None if judged is None else int(judged) + 1

    def _empty(self) -> list[int]:
        """Numbers of windows of hours that are over, and into which no row fell: that nothing
        came is known of them, too."""
        newest = self.config.get("newest")
        known = [*self.added, *([] if newest is None else [int(newest)])]
        if not self.hours or not known:
            return []
        grace = self.monitor["grace_minutes"] * 60
        over = int((self.config["now"] - grace) // (self.hours * HOUR)) - 1
        first = min(known) if newest is None else int(newest)
        missing = [one for one in range(first + 1, over + 1) if one not in self.added]
        return missing[-MOST_EMPTY:]

    def scored(self, folder: Path) -> list[JSON]:
        """As `result.json` says of windows; their sums are files in `folder`."""
        whole: dict[int, Sums] = {}
        for number, added in sorted(self.added.items()):
            kept = self.kept.get(number)
            before = Sums.from_bytes(kept.sums) if kept is not None else Sums()
            before = self.recounted.get(number, before)
            whole[number] = before.merge(added)
        before_ = usual.joined(
            self.config.get("history") or [],
            {number: _summary(number, one) for number, one in whole.items()},
        )
        return [self._told(number, one, before_, folder) for number, one in whole.items()]

    def _told(
        self, number: int, sums: Sums, before: Sequence[Mapping[str, Any]], folder: Path
    ) -> JSON:
        path = folder / f"window-{number}.sums"
        path.write_bytes(sums.to_bytes())
        starts, ends = self._span(number, sums)
        kept = self.kept.get(number)
        late = self.added[number].rows if kept is not None and kept.judged else 0
        told: JSON = {
            "number": number,
            "starts_at": starts,
            "ends_at": ends,
            "rows": sums.rows,
            "late_rows": (kept.late_rows if kept is not None else 0) + late,
            "path": f"output/{path.name}",
            "facts": facts.of(sums, self.baseline),
            "scores": None,
            "slices": None,
        }
        if sums.counted and sums.reference != self.baseline.key:
            return told  # what was said of it by its own reference stays
        asked = scoring.Asked(
            detectors=self.monitor["detectors"],
            correction=self.monitor["correction"],
            minimum_rows=self.monitor["minimum_rows"],
            volumes=usual.volumes(before, number, self.hours) if self.hours else None,
            latencies=usual.latencies(before, number),
        )
        told["scores"] = scoring.score(sums, self.baseline, asked)
        told["slices"] = scoring.slices(sums, self.baseline, asked)
        if checked := canaries.scores(self.config.get("canaries") or [], ends):
            told["scores"][canaries.SIGNAL] = checked
        return told

    def _span(self, number: int, sums: Sums) -> tuple[float, float]:
        if self.hours:
            return number * self.hours * HOUR, (number + 1) * self.hours * HOUR
        now = float(self.config["now"])
        return sums.first_at or now, sums.last_at or now


def _summary(number: int, sums: Sums) -> JSON:
    p95 = facts.latency(sums)["p95"] if sums.latency.rows else None
    return {"number": number, "rows": sums.rows, "p95": p95}
