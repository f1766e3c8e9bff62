"""What a window adds up to (`Sums`), and what is read of it.

A window's sums are sketches and tallies that only grow: rows in any order, at any time, in parts
or at once, give the same. They are what is kept; scores, facts and slices are computed from them
and may be computed again. What the web side reads of a window (columns of MonitorWindow):

`scores`: {signal: [one for each detector of it, the one that alerts first]}, of which each is

    {"detector", "value", "limit", "p", "corrected", "effect", "said", "facts",
     "reference_rows", "rows"}

`corrected` is p raised for all that is asked of the monitor at once: alerts take it with `effect`
(`alerting.Reading`). Numbers are null where nothing is known, and `said` then tells why. Streams
say p 0 in a window in which they rang, and 1 in others; `facts` = {"rang", "values", "mean"}.
Signals: `input.<column>`, `described.<descriptor>`, `vector`, `prediction`, `confidence`,
`agreement`, `accuracy`, `calibration`, `estimated_accuracy`, `error_stream`,
`disagreement_stream`, `whose_fault`, `quality.<missing|unseen|out_of_range|duplicated>`, `volume`,
`latency`; of numbers also `error` and `difference` (from the teacher's). A window below the
monitor's `minimum_rows` has scores of `volume` alone that alert; the others have p and effect null
and say so.

`facts`: what is charted, without a test. A key is left out where nothing is known of it.

    {"volume": rows,                        what came of the window, late rows too
     "rows_with_label", "rows_with_answer", with a label, with an answer of the teacher
     "latency": {"p50", "p95", "p99", "mean", "rows"},                       milliseconds
     "accuracy": {"value", "low", "high", "rows"},      of labelled rows; Wilson's interval, 95 %
     "agreement": {"value", "low", "high", "rows"},     weighed by how many rows each stands for
     "overlap": {"accuracy" | "agreement": {"value", "rows"}},   how much of an answer is the same,
                                            in the mean: of sets of labels Jaccard's, of
                                            texts the F1 of their words
     "label_agreement": {label: {"value", "rows"}},     of rows that student or teacher give it, how
                                            many both do; of several labels a row
     "estimated_accuracy": {"value", "rows", "reference"},
     "error": {"mean_absolute", "root_mean_square", "rows"},             regression, labelled rows
     "calibration_error": share, "believed": {"rows", "sure", "right"},  by fifteenths, to be drawn
     "confidence": {"mean", "entropy"},
     "predicted": {label: share}, "number": {"mean", "deviation"},       classes; regression
     "missing": {signal: share}, "unseen": {signal: share}, "out_of_range": {signal: share},
     "duplicated": share, "unseen_names": {signal: {name: rows}},
     "versions": {version: rows},
     "span_f1" | "span_agreement": {"value", "low", "high", "rows"},     of answers word by word: F1
                                            of spans, against labels and against the teacher's
     "misfits": rows whose label or teacher's answer has another number of words than the answer,
     "faults": {"both_right", "student_wrong", "teacher_wrong", "both_wrong"},
     "foreign": [[id, distance], ...],      rows farthest from the reference's centre, far first
     "most_foreign": [id, ...],             the same, ids alone
     "sample": [id, ...],                   rows by chance, the same whatever came first
     "uncounted": sentence}                 e.g. rows that came before there was a reference

`slices`: {name: {"rows", "facts": {as above, fewer}, "scores": {signal: [...] as above}}}, with
`corrected` null: slices are not tested along, they say where something is.
"""

import json
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

import numpy as np

from training.engine import sketches as kinds
from training.engine.detectors.calibration import Believed
from training.engine.detectors.estimated_accuracy import Estimate
from training.engine.detectors.tallies import Tally
from training.engine.detectors.whose_fault import Faults
from training.engine.sketches.packing import first
from training.engine.sketches.quantiles import Quantiles
from training.engine.watching.distinct import Distinct

JSON = dict[str, Any]
V = TypeVar("V")

FORMAT = 1
MOST_FOREIGN = 20  # rows of a window that are named as far away
MOST_SAMPLED = 48  # rows of a window that are named by chance
MOST_VERSIONS = 50  # that are counted by name
MOST_NAMED = 200  # tags of words, likewise


@dataclass(frozen=True, slots=True)
class Errors:
    """Of numbers that were predicted and whose truth is known. Two `merge`."""

    rows: int = 0
    absolute: float = 0.0
    squares: float = 0.0

    def merge(self, other: "Errors") -> "Errors":
        return Errors(
            self.rows + other.rows, self.absolute + other.absolute, self.squares + other.squares
        )


@dataclass(frozen=True, slots=True)
class Overlap:
    """How much of an answer is the same, from 0 to 1, in the mean of rows, of which each stands for
    `weight`. Two `merge`."""

    rows: int = 0
    weight: float = 0.0
    total: float = 0.0

    @classmethod
    def of(cls, alike: Any, weights: Any = None) -> "Overlap":
        """alike: `[rows]`, NaN where it is unknown; weights: `[rows]`."""
        values = np.asarray(alike, dtype=np.float64)
        stand = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=np.float64)
        known = np.isfinite(values) & np.isfinite(stand) & (stand > 0)
        values, stand = values[known], stand[known]
        return cls(len(values), float(stand.sum()), float((values * stand).sum()))

    @property
    def value(self) -> float:
        return self.total / self.weight if self.rows else 0.0

    def merge(self, other: "Overlap") -> "Overlap":
        return Overlap(self.rows + other.rows, self.weight + other.weight, self.total + other.total)

    def as_dict(self) -> JSON:
        return {"rows": self.rows, "weight": self.weight, "total": self.total}


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds that answers took."""

    total: float = 0.0
    quantiles: Quantiles | None = None

    @property
    def rows(self) -> int:
        return self.quantiles.rows if self.quantiles is not None else 0

    def merge(self, other: "Latency") -> "Latency":
        merged = _either(self.quantiles, other.quantiles, lambda one, two: one.merge(two))
        return Latency(self.total + other.total, merged)


@dataclass(frozen=True, slots=True)
class Sums:
    """Of a window, of some windows, or of a reference: what its rows add up to.

    `reference` names the bins in which its sketches count, "" where there were none yet; `counted`
    are the rows that are in the sketches, and the rest came before. `sketches` are by signal:
    `input.*`, `described.*`, `vector`, `prediction`, `confidence.entropy`, `confidence.top`,
    `error`; of several labels a row `prediction.<label>`, and `answered.*`. `tallies`: `accuracy`,
    `agreement`, of answers word by word `span_f1` and `span_agreement`, too, and `named` are words
    by tag; so are `overlaps`, of answers that can be alike in part. `rang`: {stream: how
    often, how far the mean rose}.
    `slices` hold the sums of parts of it, with fewer sketches and without slices of their own.
    """

    reference: str = ""
    rows: int = 0
    counted: int = 0
    labelled: int = 0
    answered: int = 0
    first_at: float | None = None
    last_at: float | None = None
    sketches: Mapping[str, kinds.Sketch] = field(default_factory=dict)
    tallies: Mapping[str, Tally] = field(default_factory=dict)
    overlaps: Mapping[str, Overlap] = field(default_factory=dict)
    believed: Believed = field(default_factory=Believed)
    estimate: Estimate = field(default_factory=Estimate)
    faults: Faults = field(default_factory=Faults)
    errors: Errors = field(default_factory=Errors)
    latency: Latency = field(default_factory=Latency)
    contents: Distinct = field(default_factory=Distinct)
    versions: Mapping[str, int] = field(default_factory=dict)
    named: Mapping[str, int] = field(default_factory=dict)
    misfits: int = 0
    foreign: tuple[tuple[float, str], ...] = ()
    sample: tuple[str, ...] = ()
    rang: Mapping[str, JSON] = field(default_factory=dict)
    slices: Mapping[str, "Sums"] = field(default_factory=dict)

    def merge(self, other: "Sums") -> "Sums":
        """Of both together. Of sketches in other bins, those of more rows stay, and the others'
        rows are counted no more than as rows."""
        mine, theirs = self, other
        if self.sketches and other.sketches and self.reference != other.reference:
            less, more = sorted((self, other), key=lambda one: one.counted)
            less = less.without_sketches()
            mine, theirs = more, less
        return Sums(
            reference=mine.reference if mine.counted else theirs.reference or mine.reference,
            rows=mine.rows + theirs.rows,
            counted=mine.counted + theirs.counted,
            labelled=mine.labelled + theirs.labelled,
            answered=mine.answered + theirs.answered,
            first_at=_either(mine.first_at, theirs.first_at, min),
            last_at=_either(mine.last_at, theirs.last_at, max),
            sketches=_both(mine.sketches, theirs.sketches, lambda one, two: one.merge(two)),  # type: ignore[arg-type]
            tallies=_both(mine.tallies, theirs.tallies, Tally.merge),
            overlaps=_both(mine.overlaps, theirs.overlaps, Overlap.merge),
            believed=mine.believed.merge(theirs.believed),
            estimate=mine.estimate.merge(theirs.estimate),
            faults=mine.faults.merge(theirs.faults),
            errors=mine.errors.merge(theirs.errors),
            latency=mine.latency.merge(theirs.latency),
            contents=mine.contents.merge(theirs.contents),
            versions=_most(Counter(mine.versions) + Counter(theirs.versions)),
            named=_most(Counter(mine.named) + Counter(theirs.named), MOST_NAMED),
            misfits=mine.misfits + theirs.misfits,
            foreign=farthest([*mine.foreign, *theirs.foreign]),
            sample=tuple(first([*mine.sample, *theirs.sample], MOST_SAMPLED)),
            rang=_both(mine.rang, theirs.rang, _rang_both),
            slices=_both(mine.slices, theirs.slices, Sums.merge),
        )

    def without_sketches(self) -> "Sums":
        slices = {name: one.without_sketches() for name, one in self.slices.items()}
        return replace(
            self,
            reference="", counted=0, sketches={}, estimate=Estimate(), foreign=(), slices=slices,
        )  # fmt: skip

    def as_dict(self) -> JSON:
        said: JSON = {}
        for one in fields(self):
            value = getattr(self, one.name)
            if value != (one.default_factory() if callable(one.default_factory) else one.default):
                said[one.name] = _plain(value)
        return said

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> "Sums":
        kept = dict(said)
        for name, read in _READ.items():
            if name in kept:
                kept[name] = read(kept[name])
        return cls(**kept)

    def to_bytes(self) -> bytes:
        """As a row of MonitorWindow keeps it."""
        said = {"format": FORMAT, "sums": self.as_dict()}
        text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return zlib.compress(text.encode("utf-8", "surrogatepass"), 6)

    @classmethod
    def from_bytes(cls, raw: bytes) -> "Sums":
        """Nothing of no bytes."""
        if not raw:
            return cls()
        said = json.loads(zlib.decompress(raw).decode("utf-8", "surrogatepass"))
        return cls.from_dict(said["sums"])


def merged(parts: Sequence[Sums]) -> Sums:
    """Of many, in any order: hours to days, days to weeks."""
    found = Sums()
    for one in parts:
        found = found.merge(one)
    return found


def farthest(rows: Sequence[tuple[float, str]]) -> tuple[tuple[float, str], ...]:
    """The rows that are farthest away, far first; one row once."""
    known = {identity: distance for distance, identity in sorted(rows)}
    ranked = sorted(
        ((distance, one) for one, distance in known.items()), key=lambda x: (-x[0], x[1])
    )
    return tuple(ranked[:MOST_FOREIGN])


def _either(one: V | None, two: V | None, both: Callable[[V, V], V]) -> V | None:
    if one is None or two is None:
        return two if one is None else one
    return both(one, two)


def _both(one: Mapping[str, V], two: Mapping[str, V], both: Callable[[V, V], V]) -> dict[str, V]:
    names = {**one, **two}
    return {
        name: both(one[name], two[name]) if name in one and name in two else names[name]
        for name in sorted(names)
    }


def _rang_both(one: JSON, two: JSON) -> JSON:
    return {"times": one["times"] + two["times"], "rose": max(one["rose"], two["rose"])}


def _most(counted: Counter[str], most: int = MOST_VERSIONS) -> dict[str, int]:
    ranked = sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:most]
    return dict(sorted(ranked))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, tuple):
        return [list(one) if isinstance(one, tuple) else one for one in value]
    if isinstance(value, Errors):
        return [value.rows, value.absolute, value.squares]
    if isinstance(value, Latency):
        return [value.total, value.quantiles.as_dict() if value.quantiles else None]
    return value.as_dict() if hasattr(value, "as_dict") else value


def _named(read: Callable[[Any], V]) -> Callable[[Mapping[str, Any]], dict[str, V]]:
    return lambda said: {name: read(one) for name, one in said.items()}


def _latency(said: Sequence[Any]) -> Latency:
    return Latency(said[0], Quantiles.from_dict(said[1]) if said[1] else None)


_READ: dict[str, Callable[[Any], Any]] = {
    "sketches": _named(kinds.read),
    "tallies": _named(Tally.from_dict),
    "overlaps": _named(lambda said: Overlap(**said)),
    "believed": Believed.from_dict,
    "estimate": Estimate.from_dict,
    "faults": Faults.from_dict,
    "errors": lambda said: Errors(*said),
    "latency": _latency,
    "contents": Distinct.from_dict,
    "foreign": lambda said: tuple((distance, name) for distance, name in said),
    "sample": tuple,
    "slices": _named(Sums.from_dict),
}
