"""Detectors of streams beside river's: delay, false alarms, and what a value costs.

    python -m venv /tmp/river && /tmp/river/bin/pip install river==0.26.1
    python -m tests.bench.drift_streams --river /tmp/river/bin/python

Each with its own defaults: ours tell of rises only, river's ADWIN and Page-Hinkley of falls, too.
Errors of 0 and 1 whose rate changes at a known row, and the errors on ELEC2 (electricity prices of
New South Wales) of a model that learned the first fifth of it. What is printed is Markdown.
"""

import argparse
import importlib
import json
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent.parent
DATA = ROOT.parent / "shared" / "data"

JSON = dict[str, Any]
Values = NDArray[np.float64]

SEEDS, CHANGE, AFTER, STILL = 40, 2000, 3000, 10_000
# By name: the rate of errors before and after, and over how many rows it moves.
CHANGES = {
    ".10 to .20": (0.10, 0.20, 1),
    ".10 to .20 over 1 000 rows": (0.10, 0.20, 1000),
    ".05 to .10": (0.05, 0.10, 1),
    ".05 to .20": (0.05, 0.20, 1),
}
RIVER = {
    "adwin": "drift.ADWIN",
    "page_hinkley": "drift.PageHinkley",
    "hddm_a": "drift.binary.HDDMA",
    "ddm": "drift.binary.DDM",
    "eddm": "drift.binary.EDDM",
}


def streams() -> dict[str, Values]:
    made = {}
    for name, (before, after, over) in CHANGES.items():
        for seed in range(SEEDS):
            moved = np.clip((np.arange(CHANGE + AFTER) - CHANGE + 1) / over, 0.0, 1.0)
            drawn = np.random.default_rng(seed).random(len(moved))
            made[f"{name}|{seed}"] = (drawn < before + (after - before) * moved).astype(float)
    for seed in range(SEEDS):
        drawn = np.random.default_rng(1000 + seed).random(STILL)
        made[f"still|{seed}"] = (drawn < 0.10).astype(float)
    return made


def elec2() -> Values:
    """Errors, `[rows]`, on the later four fifths of a model that learned the first."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    table = np.genfromtxt(DATA / "drift_elec2_weather" / "elec.csv", delimiter=",", skip_header=1)
    rows, labels = table[:, :-1], table[:, -1]
    first = len(rows) // 5
    model = HistGradientBoostingClassifier(random_state=0).fit(rows[:first], labels[:first])
    wrong: Values = (model.predict(rows[first:]) != labels[first:]).astype(float)
    return wrong


def ours(key: str, values: Values) -> list[int]:
    from training.engine.detectors import DETECTORS, StreamDetector

    detector = DETECTORS[key]()
    assert isinstance(detector, StreamDetector)
    return [at for at, value in enumerate(values.tolist()) if detector.update(value)]


def rivers(key: str, values: Values) -> list[int]:
    module, _, name = RIVER[key].rpartition(".")
    detector = getattr(importlib.import_module(f"river.{module}"), name)()
    given: list[Any] = values.tolist()
    if "binary" in module:
        given = [value > 0.5 for value in given]
    found = []
    for at, value in enumerate(given):
        detector.update(value)
        if detector.drift_detected:
            found.append(at)
    return found


def watched(every: dict[str, Values], *, river: bool) -> JSON:
    """Where each detector rang on each stream, and its seconds of CPU for all of them."""
    watch = rivers if river else ours
    for key in RIVER:
        watch(key, np.zeros(10))  # imports are not counted
    answer: JSON = {}
    for key in RIVER:
        started = time.process_time()
        rang = {name: watch(key, values) for name, values in every.items()}
        answer[key] = {"rang": rang, "seconds": time.process_time() - started}
    return answer


def by_river(python: Path, every: dict[str, Values]) -> JSON:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "streams.npz"
        np.savez(path, **every)  # type: ignore[arg-type]
        told = subprocess.run(
            [str(python), "-m", "tests.bench.drift_streams", "--streams", str(path)],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        )
    answer: JSON = json.loads(told.stdout)
    return answer


def table(name: str, said: dict[str, JSON]) -> None:
    """Found within AFTER rows, the median delay, and alarms before the change a stream."""
    print(f"\n| {name} | found | median delay, rows | alarms before, per 10 000 rows |")
    print("|---|---|---|---|")
    for key in RIVER:
        cells: list[list[str]] = [[], [], []]
        for each in said.values():
            rang = [each[key]["rang"][f"{name}|{seed}"] for seed in range(SEEDS)]
            later = [[at - CHANGE for at in one if at >= CHANGE] for one in rang]
            early = sum(at < CHANGE for one in rang for at in one)
            delays = [one[0] for one in later if one]
            cells[0].append(f"{100 * len(delays) / SEEDS:.0f} %")
            cells[1].append(f"{median(delays):.0f}" if delays else "never")
            cells[2].append(f"{early * 10_000 / (SEEDS * CHANGE):.1f}")
        print(f"| {key} | " + " | ".join(" / ".join(one) for one in cells) + " |")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--river", type=Path)
    parser.add_argument("--streams", type=Path)
    asked = parser.parse_args()
    if asked.streams:
        with np.load(asked.streams) as held:
            print(json.dumps(watched(dict(held), river=True)))
        return
    every = streams()
    wrong = elec2() if DATA.is_dir() else np.empty(0)
    every["elec2"] = wrong
    said = {"ours": watched(every, river=False)}
    if asked.river:
        said["river"] = by_river(asked.river, every)
    print(f"Columns: {' / '.join(said)}; {SEEDS} streams each; numpy {np.__version__}")
    for name in CHANGES:
        table(name, said)
    rows = sum(len(values) for values in every.values())
    print("\n| | alarms per 10 000 rows of an even .10 | alarms on ELEC2 | µs a value |")
    print("|---|---|---|---|")
    for key in RIVER:
        cells: list[list[str]] = [[], [], []]
        for each in said.values():
            rang = each[key]["rang"]
            cells[0].append(f"{np.mean([len(rang[f'still|{seed}']) for seed in range(SEEDS)]):.2f}")
            cells[1].append(str(len(rang["elec2"])))
            cells[2].append(f"{1e6 * each[key]['seconds'] / rows:.2f}")
        print(f"| {key} | " + " | ".join(" / ".join(one) for one in cells) + " |")
    if len(wrong):
        tenths = [f"{100 * piece.mean():.0f}" for piece in np.array_split(wrong, 10)]
        print(f"\nELEC2, errors by tenth, %: {' '.join(tenths)}")
        for key in RIVER:
            print(f"{key}: {[each[key]['rang']['elec2'][:12] for each in said.values()]}")


if __name__ == "__main__":
    main()
