"""What is charted of a window without a test (windows.py says each key)."""

import math
from typing import Any

from training.engine.sketches import CategorySketch, NumberSketch
from training.engine.watching import soundness
from training.engine.watching.baseline import Baseline
from training.engine.watching.label_sets import AGREED, OF_LABEL, YES
from training.engine.watching.windows import Sums

JSON = dict[str, Any]
MOST_PREDICTED = 50  # classes that are told by name
PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def of(sums: Sums, baseline: Baseline, *, within_slice: bool = False) -> JSON:
    found: JSON = {
        "volume": sums.rows,
        "rows_with_label": sums.labelled,
        "rows_with_answer": sums.answered,
    }
    if sums.latency.rows:
        found["latency"] = latency(sums)
    for name in ("accuracy", "agreement", "span_f1", "span_agreement"):
        if name in sums.tallies:
            one = sums.tallies[name]
            low, high = one.interval
            found[name] = {"value": one.share, "low": low, "high": high, "rows": one.rows}
    found |= overlaps(sums)
    if sums.estimate.rows:
        there = baseline.sums.estimate
        found["estimated_accuracy"] = {
            "value": sums.estimate.accuracy,
            "rows": sums.estimate.rows,
            "reference": there.accuracy if there.rows else None,
        }
    if sums.errors.rows:
        rows = sums.errors.rows
        found["error"] = {
            "mean_absolute": sums.errors.absolute / rows,
            "root_mean_square": math.sqrt(sums.errors.squares / rows),
            "rows": rows,
        }
    if any(sums.believed.rows):
        found["calibration_error"] = sums.believed.error
        said = sums.believed.as_dict()
        found["believed"] = {name: said[name] for name in ("rows", "sure", "right")}
    top, entropy = (sums.sketches.get(f"confidence.{one}") for one in ("top", "entropy"))
    if isinstance(top, NumberSketch) and isinstance(entropy, NumberSketch) and top.rows:
        found["confidence"] = {"mean": top.mean, "entropy": entropy.mean}
    found |= predicted(sums, baseline)
    if sums.faults.rows:
        found["faults"] = sums.faults.counts
    if sums.misfits:
        found["misfits"] = sums.misfits
    if within_slice:
        return found
    found |= {name: told for name, told in soundness.shares(sums).items() if told}
    if sums.contents.rows:
        found["duplicated"] = sums.contents.repeated / sums.contents.rows
    if names := soundness.unseen_names(sums):
        found["unseen_names"] = {name: dict(one) for name, one in names.items()}
    if sums.versions:
        found["versions"] = dict(sums.versions)
    if sums.foreign:
        found["foreign"] = [[name, distance] for distance, name in sums.foreign]
        found["most_foreign"] = [name for _, name in sums.foreign]
    if sums.sample:
        found["sample"] = list(sums.sample)
    if sums.rows > sums.counted:
        found["uncounted"] = uncounted(sums)
    return found


def latency(sums: Sums) -> JSON:
    quantiles, rows = sums.latency.quantiles, sums.latency.rows
    assert quantiles is not None
    told = quantiles.quantiles(list(PERCENTILES.values()))
    return {
        **dict(zip(PERCENTILES, told, strict=True)),
        "mean": sums.latency.total / rows,
        "rows": rows,
    }


def uncounted(sums: Sums) -> str:
    rows = sums.rows - sums.counted
    if not sums.counted:
        return "These rows came before there was a reference, and are counted as rows alone."
    return f"{rows:,} of these rows came before this reference, and are counted as rows alone."


def overlaps(sums: Sums) -> JSON:
    """`overlap`, and of several labels a row `label_agreement`."""
    whole, each = {}, {}
    for name, one in sums.overlaps.items():
        told = {"value": one.value, "rows": one.rows}
        if name.startswith(AGREED):
            each[name.removeprefix(AGREED)] = told
        elif one.rows:
            whole[name] = told
    return {name: told for name, told in (("overlap", whole), ("label_agreement", each)) if told}


def predicted(sums: Sums, baseline: Baseline) -> JSON:
    """Shares of rows with each class, or of words with each tag; of several labels a row they do
    not add up to one."""
    if sums.named:
        words = sum(sums.named.values())
        many = sorted(sums.named.items(), key=lambda item: (-item[1], item[0]))[:MOST_PREDICTED]
        return {"predicted": {name: count / words for name, count in many}}
    if baseline.several:
        shares = [
            (name.removeprefix(OF_LABEL), share)
            for name in baseline.bins
            if name.startswith(OF_LABEL)
            and (share := _share(sums.sketches.get(name), baseline.bins[name])) is not None
        ]
        ranked = sorted(shares, key=lambda item: (-item[1], item[0]))[:MOST_PREDICTED]
        return {"predicted": {name: share for name, share in ranked if share}} if shares else {}
    one, bins = sums.sketches.get("prediction"), baseline.bins.get("prediction")
    if isinstance(one, NumberSketch) and one.rows:
        return {"number": {"mean": one.mean, "deviation": one.deviation}}
    if not isinstance(one, CategorySketch) or bins is None or one.bins != bins.key or not one.rows:
        return {}
    counts = dict(zip(bins.levels, one.counts[: len(bins.levels)].tolist(), strict=True))
    counts |= one.unseen
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST_PREDICTED]
    return {"predicted": {name: rows / one.rows for name, rows in ranked if rows}}


def _share(one: Any, bins: Any) -> float | None:
    """Of rows that have a label; None where nothing is known."""
    if not isinstance(one, CategorySketch) or one.bins != bins.key or not one.rows:
        return None
    levels = dict(zip(bins.levels, one.counts[: len(bins.levels)].tolist(), strict=True))
    return float(levels.get(YES, 0) + one.unseen.get(YES, 0)) / one.rows
