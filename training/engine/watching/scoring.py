"""A window's scores: every signal by its detectors, and p raised for all of them together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from training.engine.corrections import CORRECTIONS
from training.engine.detectors import Detector, Score, StreamDetector, WindowDetector
from training.engine.detectors.confidence import Sureness
from training.engine.detectors.tallies import Tally
from training.engine.sketches import NumberSketch
from training.engine.watching import facts, signals, soundness, written
from training.engine.watching.baseline import Baseline
from training.engine.watching.windows import Sums

JSON = dict[str, Any]

NO_BASELINE = "There was no reference yet when these rows came."
OTHER_BASELINE = "These rows were counted against an earlier reference."
ROWS_ALONE = "Windows of rows are all of one size."
NO_LABELS = "No row of this window has a label yet."
NO_ANSWERS = "The teacher was asked about no row of this window."
#: What speaks of a window that holds few rows.
OF_FEW = ("volume",)
OF_ANSWERS = (
    "agreement",
    "accuracy",
    "span_f1",
    "calibration",
    "estimated_accuracy",
    "whose_fault",
)
LATER = ("error", "difference")  # of numbers, which rows have once labels or answers come
IN_SLICES = (
    "prediction", "confidence", "accuracy", "span_f1", "agreement", "estimated_accuracy", *LATER,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """What of a monitor decides how a window is scored. `volumes` are rows of earlier windows
    (usual.py), None where windows are of rows; `latencies` the 95th percentiles of
    those before."""

    detectors: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    correction: str = "holm"
    minimum_rows: int = 0
    volumes: Sequence[Sequence[float]] | None = None
    latencies: Sequence[float] = ()


def score(sums: Sums, baseline: Baseline, asked: Asked) -> dict[str, list[JSON]]:
    """As windows.py says of `scores`."""
    found = _scored(sums, baseline, asked, _signals(sums, baseline))
    few = sums.rows < asked.minimum_rows
    tests: list[JSON] = []
    for signal, many in found.items():
        for one in many:
            if few and signal not in OF_FEW:
                said = (
                    f"{sums.rows:,} rows are fewer than the {asked.minimum_rows:,} that it takes."
                )
                one |= {"p": None, "effect": None, "said": one["said"] or said}
            # What follows a stream is sure by itself, and is no test of this window.
            if signal in signals.STREAMS:
                one["corrected"] = one["p"]
            else:
                tests.append(one)
    raised = CORRECTIONS[asked.correction]([one["p"] for one in tests])
    for one, p in zip(tests, raised, strict=True):
        one["corrected"] = p
    return found


def slices(sums: Sums, baseline: Baseline, asked: Asked) -> JSON:
    """As windows.py says of `slices`."""
    found: JSON = {}
    for name, part in sums.slices.items():
        there = baseline.sums.slices.get(name, Sums())
        within = Baseline(
            task=baseline.task, labels=baseline.labels, reads="", columns={}, bins=baseline.bins,
            sums=there, several=baseline.several,
        )  # fmt: skip
        # What describes answers is counted in slices only where they are texts (counting.py).
        answered = [one for one in baseline.bins if one.startswith(written.ANSWERED)]
        wanted = [one for one in (*IN_SLICES, *answered) if _is_there(one, part)]
        scores = _scored(part, within, asked, wanted)
        told = facts.of(part, within, within_slice=True)
        found[name] = {"rows": part.rows, "facts": told, "scores": scores}
    return found


def _signals(sums: Sums, baseline: Baseline) -> list[str]:
    """All that is asked of a window, in the order of pages."""
    columns = [one for one in baseline.bins if not one.startswith("confidence.")]
    asked = [one for one in columns if one not in LATER or one in sums.sketches]
    if "confidence.top" in baseline.bins:
        asked.append("confidence")
    asked += [one for one in OF_ANSWERS if _is_there(one, sums) or _is_there(one, baseline.sums)]
    asked += [one for one in signals.STREAMS if _is_there(one, sums)]
    if baseline.bins:
        asked += [f"quality.{one}" for one in signals.QUALITY if _judges(one, sums, baseline)]
    return [*asked, "volume", *(["latency"] if sums.latency.rows else [])]


def _judges(fault: str, sums: Sums, baseline: Baseline) -> bool:
    return any(one.rows for one in soundness.tallies_of(baseline.sums, fault).values()) and any(
        one.rows for one in soundness.tallies_of(sums, fault).values()
    )


def _is_there(signal: str, sums: Sums) -> bool:
    match signal:
        case "agreement" | "accuracy" | "span_f1":
            return signal in sums.tallies
        case "error_stream":
            return "accuracy" in sums.tallies or sums.errors.rows > 0
        case "disagreement_stream":
            return "agreement" in sums.tallies or "difference" in sums.sketches
        case "calibration":
            return any(sums.believed.rows)
        case "estimated_accuracy":
            return sums.estimate.rows > 0
        case "whose_fault":
            return sums.faults.rows > 0
        case "confidence":
            return "confidence.top" in sums.sketches
        case _:
            return signal in sums.sketches


def _scored(
    sums: Sums, baseline: Baseline, asked: Asked, wanted: Sequence[str]
) -> dict[str, list[JSON]]:
    found: dict[str, list[JSON]] = {}
    for signal in wanted:
        kind = signals.kind_of(signal, baseline.bins)
        many = signals.detectors_of(signal, kind, asked.detectors)
        if many:
            found[signal] = [_told(signal, one, sums, baseline, asked) for one in many]
    return found


def _told(signal: str, detector: Detector, sums: Sums, baseline: Baseline, asked: Asked) -> JSON:
    if isinstance(detector, StreamDetector):
        one, rows = _of_stream(signal, detector, sums)
    else:
        assert isinstance(detector, WindowDetector)
        one, rows = _of_window(signal, detector, sums, baseline, asked)
    return {
        "detector": detector.key,
        "value": one.value,
        "limit": one.limit,
        "p": one.p,
        "corrected": None,
        "effect": one.effect,
        "said": one.said,
        "facts": dict(one.facts),
        "rows": rows,
        "reference_rows": baseline.sums.rows,
    }


def _of_stream(signal: str, detector: Detector, sums: Sums) -> tuple[Score, int]:
    is_error = signal == "error_stream"
    tally = sums.tallies.get("accuracy" if is_error else "agreement", Tally())
    values, total = tally.rows, float(tally.rows) * (1 - tally.share)
    if not values and is_error:
        values, total = sums.errors.rows, sums.errors.absolute
    apart = sums.sketches.get("error" if is_error else "difference")
    if isinstance(apart, NumberSketch) and not (is_error and values and sums.errors.rows):
        # Texts are wrong by degrees.
        values, total = apart.rows, apart.mean * apart.rows
    if not values:
        return Score.no_data(NO_LABELS if signal == "error_stream" else NO_ANSWERS), 0
    mean = total / values
    ring = sums.rang.get(f"{signal}/{detector.key}", {"times": 0, "rose": 0.0})
    facts_ = {"rang": ring["times"], "values": values, "mean": mean}
    return Score(mean, 0.0 if ring["times"] else 1.0, ring["rose"], None, facts_), values


def _of_window(
    signal: str, detector: WindowDetector, sums: Sums, baseline: Baseline, asked: Asked
) -> tuple[Score, int]:
    there = baseline.sums
    match signal:
        case "volume":
            if asked.volumes is None:
                return Score.no_data(ROWS_ALONE), sums.rows
            return detector.score(asked.volumes, sums.rows), sums.rows
        case "latency":
            p95 = facts.latency(sums)["p95"] if sums.latency.rows else None
            return detector.score(asked.latencies, p95), sums.latency.rows
        case "accuracy" | "agreement" | "span_f1":
            live = sums.tallies.get(signal, Tally())
            return detector.score(there.tallies.get(signal, Tally()), live), live.rows
        case "calibration":
            return detector.score(there.believed, sums.believed), sum(sums.believed.rows)
        case "estimated_accuracy":
            return detector.score(there.estimate, sums.estimate), sums.estimate.rows
        case "whose_fault":
            return detector.score(there.faults, sums.faults), sums.faults.rows
        case _ if signal.startswith("quality."):
            fault = signal.removeprefix("quality.")
            live_ = soundness.tallies_of(sums, fault)
            before = soundness.tallies_of(there, fault, beside=sums)
            return detector.score(before, live_), sums.rows
        case "confidence":
            return _of_sketches(detector, sums, there, ("confidence.entropy", "confidence.top"))
        case _:
            return _of_sketches(detector, sums, there, (signal,))


def _of_sketches(
    detector: WindowDetector, sums: Sums, there: Sums, names: Sequence[str]
) -> tuple[Score, int]:
    pairs = [(there.sketches.get(one), sums.sketches.get(one)) for one in names]
    for before, now in pairs:
        if now is None or before is None:
            return Score.no_data(NO_BASELINE if sums.rows > sums.counted else NO_LIVE), 0
        if now.bins != before.bins:
            return Score.no_data(OTHER_BASELINE), 0
    rows = pairs[0][1].rows if pairs[0][1] is not None else 0
    if len(pairs) == 1:
        return _safely(detector, *pairs[0]), rows
    one, two = (Sureness(*side) for side in zip(*pairs, strict=True))
    if "confidences" in detector.takes:
        return _safely(detector, one, two), rows
    return _safely(detector, *pairs[0]), rows  # of entropy, where another detector was chosen


def _safely(detector: WindowDetector, one: Any, two: Any) -> Score:
    """A detector that cannot compare these (one of rows, of which no sketch has any) says so."""
    try:
        return detector.score(one, two)
    except (ValueError, TypeError, AttributeError) as error:
        return Score.no_data(f"{detector.label} cannot be told from sketches: {error}"[:300])


NO_LIVE = "No row of this window has it."
