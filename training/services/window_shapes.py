"""How values of a signal spread, in some windows together and on the reference: from sums, which
are loaded for this alone."""

from __future__ import annotations

import functools
import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from distillhub.lib import storage
from distillhub.lib.later import Later, np
from training.models import Monitor

if TYPE_CHECKING:
    from training.engine.sketches import CategoryBins, CategorySketch, NumberBins, NumberSketch
    from training.engine.watching.baseline import Baseline

baselines = Later("training.engine.watching.baseline")
facts = Later("training.engine.watching.facts")
sketches = Later("training.engine.sketches")

JSON = dict[str, Any]

NAME = "baseline.json"
CELLS = 36  # of a histogram: what the eye tells apart
MOST_MERGED = 200  # windows whose sums are added up for one picture
#: Signals whose sketch has another name than they.
SKETCHES = {"confidence": "confidence.top"}
REST, NEW = "rarer ones", "never seen before"


@dataclass(frozen=True, slots=True)
class Shape:
    """Of numbers `edges` `[cells + 1]`, of categories `names`; shares of rows by cell or name.
    `rows` are those of the windows, `windows` how many were added up; `left` others count in bins
    of another reference, or did not have the signal."""

    kind: str
    before: list[float]
    now: list[float]
    rows: int
    windows: int
    left: int = 0
    edges: list[float] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    facts: list[tuple[str, str, str]] = field(default_factory=list)  # what, reference, now


def baseline(monitor: Monitor) -> Baseline | None:
    """What the monitor's windows are compared with; None before it is fitted, or where its file
    cannot be read."""
    for one in monitor.reference_files or ():
        if one.get("name") == NAME:
            try:
                return _baseline(str(one["sha256"]))
            except (storage.Away, storage.Damaged):
                return None
    return None


def of(monitor: Monitor, signal: str, numbers: Sequence[int]) -> Shape | None:
    """The windows of these numbers together, the newest MOST_MERGED of them; None of a signal that
    is no distribution, and where nothing is known of one side."""
    told = baseline(monitor)
    name = SKETCHES.get(signal, signal)
    if told is None or not numbers:
        return None
    bins: Any = told.bins.get(name)
    before: Any = told.sums.sketches.get(name)
    chosen = sorted(numbers)[-MOST_MERGED:]
    now, count = _merged(monitor, name, chosen, told.key)
    if bins is None or before is None or now is None or not now.rows:
        return None
    kind = bins.as_dict()["kind"]
    if kind not in DRAWN:
        return None
    return replace(DRAWN[kind](bins, before, now, count), left=len(chosen) - count)


def is_of_another(monitor: Monitor, number: int) -> bool:
    """Whether the window was counted in bins of another reference than the present one: of another
    version of the model, mostly, whose vectors and answers are not to be held against it."""
    told = baseline(monitor)
    raw = monitor.windows.filter(number=number).values_list("sums", flat=True).first()
    if told is None or not raw:
        return False
    key = json.loads(zlib.decompress(bytes(raw)))["sums"].get("reference")
    return bool(key) and key != told.key


def shares_of_reference(monitor: Monitor) -> JSON:
    """Facts of the reference that its summary leaves out: predicted, believed, faults."""
    told = baseline(monitor)
    if told is None:
        return {}
    found: JSON = {}
    sums = told.sums
    if any(sums.believed.rows):
        said = sums.believed.as_dict()
        found["believed"] = {name: said[name] for name in ("rows", "sure", "right")}
    if sums.faults.rows:
        found["faults"] = sums.faults.counts
    if told.several or told.by_word:
        found |= facts.predicted(sums, told)
    bins, one = told.bins.get("prediction"), sums.sketches.get("prediction")
    if bins is not None and one is not None and bins.as_dict()["kind"] == "categories":
        rows = one.rows or 1
        counts = one.counts.tolist()
        found["predicted"] = {
            name: count / rows for name, count in zip(bins.levels, counts, strict=False)
        }
    return found


@functools.lru_cache(maxsize=4)
def _baseline(sha256: str) -> Baseline:
    with storage.open_blob(sha256) as stream:
        return baselines.Baseline.from_dict(json.load(stream))  # type: ignore[no-any-return]


def _merged(monitor: Monitor, name: str, numbers: Sequence[int], reference: str) -> tuple[Any, int]:
    """The sketch of all these windows that count in the bins of this reference."""
    found, count = None, 0
    rows = monitor.windows.filter(number__in=numbers).values_list("sums", flat=True)
    for raw in rows.iterator(chunk_size=50):
        said = json.loads(zlib.decompress(bytes(raw)))["sums"] if raw else {}
        one = (said.get("sketches") or {}).get(name)
        if one is None or said.get("reference") != reference:
            continue
        sketch = sketches.read(one)
        found = sketch if found is None else found.merge(sketch)
        count += 1
    return found, count


def _numbers(bins: NumberBins, before: NumberSketch, now: NumberSketch, windows: int) -> Shape:
    """Cells of equal width, from those of the reference that are alike in rows: within one of
    these, rows are taken to lie evenly."""
    tails = now.quantiles.quantiles([0.01, 0.99]) + before.quantiles.quantiles([0.01, 0.99])
    low, high = min(tails), max(tails)
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, CELLS + 1)
    beyond = now.under + now.over
    return Shape(
        "numbers",
        _spread(bins, before, edges),
        _spread(bins, now, edges),
        now.rows,
        windows,
        edges=edges.tolist(),
        facts=[
            ("mean", f"{before.mean:.4g}", f"{now.mean:.4g}"),
            ("deviation", f"{before.deviation:.4g}", f"{now.deviation:.4g}"),
            ("least", _told(before.low), _told(now.low)),
            ("greatest", _told(before.high), _told(now.high)),
            ("missing", _share(before.missing, before.rows), _share(now.missing, now.rows)),
            ("out of range", "0.0 %", _share(beyond, now.rows - beyond)),
        ],
    )


def _spread(bins: NumberBins, one: NumberSketch, edges: Any) -> list[float]:
    """Shares of rows between edges. Within the reference's range its cells tell where rows lie,
    beyond it the window's own quantiles: there is no cell of which rows would lie evenly."""
    if not one.rows:
        return [0.0] * (len(edges) - 1)
    places = np.maximum.accumulate(np.concatenate([[bins.low], bins.edges, [bins.high]]))
    risen = np.cumsum(one.counts)
    risen[-1] -= one.over
    within = np.interp(edges, places, np.concatenate([[one.under], risen]))
    values, counts = one.quantiles.points()
    beyond = np.interp(edges, values, np.cumsum(counts) - counts / 2)
    below = np.minimum(beyond, one.under)
    above = np.maximum(beyond, one.rows - one.over)
    at = np.where(edges < bins.low, below, np.where(edges > bins.high, above, within)) / one.rows
    at[0], at[-1] = 0.0, 1.0  # the outermost cells hold what is beyond them, too
    return np.round(np.diff(np.maximum.accumulate(at)), 5).tolist()  # type: ignore[no-any-return]


def _categories(
    bins: CategoryBins, before: CategorySketch, now: CategorySketch, windows: int
) -> Shape:
    names = [*bins.levels, REST, NEW]
    old, new = before.counts / max(1, before.rows), now.counts / max(1, now.rows)
    kept = [at for at in range(len(names)) if old[at] or new[at]]
    unseen = ", ".join(f"{name} ({count})" for name, count in list(now.unseen.items())[:6])
    facts = [("missing", _share(before.missing, before.rows), _share(now.missing, now.rows))]
    if unseen:
        facts.append(("never seen", "", unseen))
    return Shape(
        "categories",
        [float(old[at]) for at in kept],
        [float(new[at]) for at in kept],
        now.rows,
        windows,
        names=[names[at] for at in kept],
        facts=facts,
    )


DRAWN: dict[str, Callable[[Any, Any, Any, int], Shape]] = {
    "numbers": _numbers,
    "categories": _categories,
}


def _told(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _share(some: int, others: int) -> str:
    return f"{100 * some / max(1, some + others):.1f} %"
