"""A month of hourly windows of twenty columns through the real thing: sketches, detectors, Holm,
alerts. How often does it ring without drift, and how late after a shift of a quarter deviation?

    python -m tests.bench.drift_months --months 5 --rows 1000

One column in four is normal, one is skewed, one is whole numbers from 0 to 20, one is constant but
for one row in a hundred. The first column, a normal one, moves in the middle of the month.
"""

import argparse
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.engine.alerting import Alert, Reading, advance
from training.engine.corrections import holm
from training.engine.detectors import DETECTORS, WindowDetector
from training.engine.sketches import fit

COLUMNS, WINDOWS, MOVES, SHIFT = 20, 24 * 30, 24 * 15, 0.25
KEYS = ("psi", "kolmogorov_smirnov", "jensen_shannon")  # wasserstein: 10 ms a column

Values = NDArray[np.float64]


def drawn(chance: np.random.Generator, column: int, rows: int, shift: float) -> Values:
    made: Values
    match column % 4:
        case 0:
            made = chance.standard_normal(rows) + (shift if column == 0 else 0.0)
        case 1:
            made = chance.lognormal(0.0, 1.0, rows)
        case 2:
            made = chance.binomial(20, 0.3, rows).astype(float)
        case _:
            made = (chance.random(rows) < 0.01).astype(float)
    return made


def month(seed: int, reference_rows: int, rows: int, shift: float) -> dict[str, list[Any]]:
    """By detector, (window, column) of each alert that opened."""
    chance = np.random.default_rng(seed)
    references = [drawn(chance, column, reference_rows, 0.0) for column in range(COLUMNS)]
    bins = [fit("numbers", values) for values in references]
    there = [one.sketch(values) for one, values in zip(bins, references, strict=True)]
    detectors = {key: DETECTORS[key]() for key in KEYS}
    alerts: dict[str, dict[str, Alert]] = {key: {} for key in KEYS}
    rang: dict[str, list[Any]] = {key: [] for key in KEYS}
    for window in range(WINDOWS):
        moved = shift if window >= MOVES else 0.0
        here = [one.sketch(drawn(chance, column, rows, moved)) for column, one in enumerate(bins)]
        for key, detector in detectors.items():
            assert isinstance(detector, WindowDetector)
            scores = [detector.score(*pair) for pair in zip(there, here, strict=True)]
            raised = holm([one.p for one in scores])
            readings = {
                str(column): Reading(p, one.effect)
                for column, (p, one) in enumerate(zip(raised, scores, strict=True))
            }
            alerts[key], digest = advance(alerts[key], readings, float(window), {})
            rang[key] += [(window, int(name)) for name in digest.opened]
    return rang


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--months", type=int, default=5)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--reference", type=int, default=10_000)
    asked = parser.parse_args()
    started = time.process_time()
    print(f"{asked.months} months, {asked.rows} rows a window, {asked.reference} in the reference")
    print("| | alerts a month without drift | windows until the shift rang | alerts beside it |")
    print("|---|---|---|---|")
    seeds = range(asked.months)
    still = [month(seed, asked.reference, asked.rows, 0.0) for seed in seeds]
    moved = [month(100 + seed, asked.reference, asked.rows, SHIFT) for seed in seeds]
    for key in KEYS:
        delays = [
            next((at - MOVES + 1 for at, column in one[key] if column == 0 and at >= MOVES), None)
            for one in moved
        ]
        beside = sum(column != 0 or at < MOVES for one in moved for at, column in one[key])
        mean = np.mean([len(one[key]) for one in still])
        print(f"| {key} | {mean:.2f} | {delays} | {beside} |")
    print(f"{time.process_time() - started:.0f} s of CPU")


if __name__ == "__main__":
    main()
