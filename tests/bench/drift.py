"""Drift of windows from sketches beside SciPy's exact tests: a report on a million rows by twenty
columns, and embeddings, 100 000 rows of 384 numbers.

    python -m tests.bench.drift                 both
    python -m tests.bench.drift --rows 100000   fewer rows of columns

CPU seconds, of one thread with OMP_NUM_THREADS=1, and the most memory that a process held, each
side in a process of its own. The columns are made one by one, so that what is held is what the
tests hold. What is printed is Markdown.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
COLUMNS, WIDTH, VECTORS = 20, 384, 100_000
FROM_SKETCHES = ("psi", "jensen_shannon", "chi_square", "kolmogorov_smirnov", "wasserstein")
JSON = dict[str, Any]


def column(seed: int, rows: int) -> tuple[Any, Any]:
    """Reference and window; every fourth column has moved by a twentieth of a deviation."""
    drawn = np.random.default_rng(seed)
    moved = 0.05 if seed % 4 == 0 else 0.0
    return drawn.standard_normal(rows), drawn.standard_normal(rows) + moved


class Clock:
    """CPU seconds by name."""

    def __init__(self) -> None:
        self.took: dict[str, float] = {}

    def __call__(self, name: str, work: Callable[[], Any]) -> Any:
        begin = time.process_time()
        found = work()
        self.took[name] = self.took.get(name, 0.0) + time.process_time() - begin
        return found


def ours(rows: int) -> JSON:
    from training.engine import sketches
    from training.engine.detectors import DETECTORS

    clock, found, kept = Clock(), 0, 0
    for seed in range(COLUMNS):
        reference, live = column(seed, rows)
        bins = clock("fit", lambda: sketches.fit("numbers", reference))  # noqa: B023
        one = clock("sketch of the reference", lambda: bins.sketch(reference))  # noqa: B023
        two = clock("sketch of the window", lambda: bins.sketch(live))  # noqa: B023
        kept += len(sketches.to_bytes(two))
        for key in FROM_SKETCHES:
            detector: Any = DETECTORS[key]()
            if seed == 0:
                detector.score(one, two)  # what is read once is not counted
            score = clock(key, lambda: detector.score(one, two))  # noqa: B023
            found += int(key == "kolmogorov_smirnov" and score.p < 0.001)
    return {"took": clock.took, "found": found, "bytes": kept // COLUMNS}


def scipys(rows: int) -> JSON:
    from scipy import stats

    clock, found = Clock(), 0
    for seed in range(COLUMNS):
        reference, live = column(seed, rows)
        tested = clock("kolmogorov_smirnov", lambda: stats.ks_2samp(reference, live))  # noqa: B023
        clock("wasserstein", lambda: stats.wasserstein_distance(reference, live))  # noqa: B023
        found += int(tested.pvalue < 0.001)
    return {"took": clock.took, "found": found}


def embeddings(rows: int) -> JSON:
    from training.engine import sketches
    from training.engine.detectors import DETECTORS

    drawn = np.random.default_rng(0)
    scale = np.linspace(2, 0.2, WIDTH, dtype=np.float32)
    reference = drawn.standard_normal((rows, WIDTH), dtype=np.float32) * scale
    live = drawn.standard_normal((rows, WIDTH), dtype=np.float32) * scale
    live[: rows // 20] += 0.3 * scale
    clock = Clock()
    bins = clock("fit", lambda: sketches.fit("embeddings", reference))
    one = clock("sketch of the reference", lambda: bins.sketch(reference))
    two = clock("sketch of the window", lambda: bins.sketch(live))
    said = {}
    for key in ("mmd_features", "pca_ks", "mmd", "classifier"):
        detector: Any = DETECTORS[key]()
        pair = (one, two) if "sketches" in detector.takes else (reference, live)
        said[key] = clock(key, lambda: detector.score(*pair)).p  # noqa: B023
    return {"took": clock.took, "p": said, "bytes": len(sketches.to_bytes(two))}


SIDES = {"ours": ours, "scipy": scipys, "embeddings": embeddings}


def apart(side: str, rows: int) -> JSON:
    """A side in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.drift", "--side", side, "--rows", str(rows)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found: JSON = json.loads(done.stdout)
    return found


def table(one: JSON, other: JSON | None) -> None:
    print(f"| | CPU s{' | SciPy' if other else ''} |\n|---|---|{'---|' if other else ''}")
    for name, took in one["took"].items():
        theirs = ""
        if other:
            theirs = f" {other['took'][name]:.2f} |" if name in other["took"] else " |"
        print(f"| {name} | {took:.2f} |{theirs}")
    theirs = f" {other['memory']} |" if other else ""
    print(f"| most memory, MB | {one['memory']} |{theirs}\n")


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("--rows", type=int, default=1_000_000)
    asked.add_argument("--side", choices=SIDES)
    wish = asked.parse_args()
    if wish.side:
        found = SIDES[wish.side](wish.rows)
        found["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(json.dumps(found))
        return
    mine, theirs = apart("ours", wish.rows), apart("scipy", wish.rows)
    print(f"{COLUMNS} columns, {wish.rows:,} rows of reference and of window\n")
    table(mine, theirs)
    print(
        f"Columns found by Kolmogorov-Smirnov (5 moved): {mine['found']}, SciPy {theirs['found']}."
    )
    print(f"A window's sketch: {mine['bytes']} bytes a column.\n")
    vectors = apart("embeddings", VECTORS)
    print(f"Embeddings, {VECTORS:,} by {WIDTH}\n")
    table(vectors, None)
    print(f"p: {vectors['p']}. A window's sketch: {vectors['bytes']} bytes.")


if __name__ == "__main__":
    main()
