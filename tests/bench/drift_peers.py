"""What a report of drift costs, beside Evidently, NannyML and alibi-detect: 1 000 000 rows by
twenty columns, and embeddings of 100 000 by 384.

    python -m tests.bench.drift_peers --home /tmp/drift-peers
    python -m tests.bench.drift_peers --home /tmp/drift-peers --rows 100000 --rounds 3

Each peer has an environment of its own under `--home`, made at the first call (`PEERS` pins them:
they import beside pandas below 2.3 only). Sides take turns, each in a process of its own with one
thread; CPU seconds are medians over the rounds, without imports and the making of the data. Memory
is the most that the process held, with all its rows where a library is given a frame. What is
printed is Markdown.

Fifteen columns are numbers and five are names; five of the numbers moved by a twentieth of a
deviation, and of the names one by a tenth of its shares. Of the embeddings, one row in twenty is
foreign, all among the first fifth, so that NannyML's other four chunks have none.

ours        bins of the reference, sketches of both sides, PSI and chi-square of all columns (as a
            monitor does by default), Holm; then the next window, against the same reference
evidently   `Report([DataDriftPreset()])`
nannyml     `UnivariateDriftCalculator`, Jensen-Shannon, one chunk of all rows; its reference has as
            many chunks as are needed for a threshold (five)
alibi       alibi-detect's `TabularDrift`: Kolmogorov-Smirnov of numbers, chi-square of names,
            Bonferroni; for the report alone
"""

import argparse
import importlib.metadata
import json
import os
import resource
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
PEERS = {
    "evidently": ["evidently==0.7.23", "pandas<2.3"],
    "nannyml": ["nannyml==0.13.1", "pandas<2.3", "plotly<6", "statsmodels==0.15.0"],
    "river": ["river==0.26.1"],
    "alibi": ["alibi-detect==0.13.0", "numpy<2", "torch==2.14.1"],
}
COLUMNS, NUMBERS, VECTORS, WIDTH = 20, 15, 100_000, 384
JSON = dict[str, Any]
Pair = tuple[Any, Any]


def environment(home: Path, name: str) -> Path:
    """The peer's interpreter, made and filled when it is not there."""
    folder = home / name
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", *PEERS[name]]
        subprocess.run(pip, check=True, stderr=subprocess.DEVNULL)
    return python


def column(place: int, rows: int) -> Pair:
    """Reference and window."""
    drawn = np.random.default_rng(place)
    if place < NUMBERS:
        moved = 0.05 if place % 3 == 0 else 0.0
        return drawn.standard_normal(rows), drawn.standard_normal(rows) + moved
    levels = np.array([f"level {one}" for one in range(8)])
    shares = np.full(8, 1 / 8)
    moved_shares = shares + (0.0125 * np.array([1, -1] * 4) if place == NUMBERS else 0.0)
    return drawn.choice(levels, rows, p=shares), drawn.choice(levels, rows, p=moved_shares)


def frames(rows: int) -> Pair:
    import pandas as pd  # type: ignore[import-untyped,unused-ignore]

    sides: list[JSON] = [{}, {}]
    for place in range(COLUMNS):
        for side, values in zip(sides, column(place, rows), strict=True):
            side[f"c{place}"] = values
    return pd.DataFrame(sides[0]), pd.DataFrame(sides[1])


def vectors() -> Pair:
    drawn = np.random.default_rng(0)
    scale = np.linspace(2, 0.2, WIDTH, dtype=np.float32)
    reference = drawn.standard_normal((VECTORS, WIDTH), dtype=np.float32) * scale
    live = drawn.standard_normal((VECTORS, WIDTH), dtype=np.float32) * scale
    live[: VECTORS // 20] += 0.3 * scale
    return reference, live


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    begin = time.process_time()
    found = work()
    return time.process_time() - begin, found


# -- a report -------------------------------------------------------------------------------------


def ours_report(rows: int) -> JSON:
    from training.engine import corrections, sketches
    from training.engine.detectors import DETECTORS

    chosen: JSON = {"numbers": DETECTORS["psi"](), "categories": DETECTORS["chi_square"]()}
    first = again = 0.0
    small = sketches.fit("numbers", np.arange(100.0)).sketch(np.arange(100.0))
    chosen["numbers"].score(small, small)  # what is read once is not counted
    p: list[float | None] = []
    for place in range(COLUMNS):
        reference, live = column(place, rows)
        kind = "numbers" if place < NUMBERS else "categories"
        took, bins = timed(lambda: sketches.fit(kind, reference))  # noqa: B023
        first += took
        took, one = timed(lambda: bins.sketch(reference))  # noqa: B023
        first += took
        took, score = timed(lambda: chosen[kind].score(one, bins.sketch(live)))  # noqa: B023
        again += took
        p.append(score.p)
    found = sum(one is not None and one < 0.001 for one in corrections.holm(p))
    return {"report": first + again, "next window": again, "found": found}


def evidently_report(rows: int) -> JSON:
    from evidently import Report  # type: ignore[import-not-found,unused-ignore]
    from evidently.presets import DataDriftPreset  # type: ignore[import-not-found,unused-ignore]

    reference, live = frames(rows)
    Report([DataDriftPreset()]).run(live[:500], reference[:500])
    took, said = timed(lambda: Report([DataDriftPreset()]).run(live, reference))
    found = int(said.dict()["metrics"][0]["value"]["count"])
    return {"report": took, "next window": took, "found": found}


def nannyml_report(rows: int) -> JSON:
    import nannyml  # type: ignore[import-not-found,unused-ignore]

    reference, live = frames(rows)
    names = list(reference.columns)

    def calculator(size: int) -> Any:
        return nannyml.UnivariateDriftCalculator(column_names=names, chunk_size=size)

    calculator(100).fit(reference[:500]).calculate(live[:500])
    first, fitted = timed(lambda: calculator(rows // 5).fit(reference))
    again, said = timed(lambda: fitted.calculate(live))
    table = said.filter(period="analysis").to_df()
    flags = [one for one in table.columns if one[-1] == "alert"]
    return {
        "report": first + again,
        "next window": again,
        "found": int(table[flags].all(axis=0).sum()),
    }


def alibi_report(rows: int) -> JSON:
    from alibi_detect.cd import TabularDrift  # type: ignore[import-not-found,unused-ignore]

    sides = []
    for side in (0, 1):  # names as their places: it takes one array
        values = [column(place, rows)[side] for place in range(COLUMNS)]
        coded = [
            one if one.dtype.kind == "f" else np.unique(one, return_inverse=True)[1]
            for one in values
        ]
        sides.append(np.column_stack(coded))
    reference, live = sides
    levels = {place: list(range(8)) for place in range(NUMBERS, COLUMNS)}

    def detector(known: Any) -> Any:
        return TabularDrift(known, p_val=0.001, categories_per_feature=levels)

    detector(reference[:500]).predict(live[:500])
    first, fitted = timed(lambda: detector(reference))
    again, said = timed(lambda: fitted.predict(live, drift_type="feature"))
    p = np.asarray(said["data"]["p_val"])
    return {
        "report": first + again,
        "next window": again,
        "found": int((p < 0.001 / COLUMNS).sum()),
    }


# -- embeddings -----------------------------------------------------------------------------------


def ours_embeddings() -> JSON:
    from training.engine import sketches
    from training.engine.detectors import DETECTORS

    reference, live = vectors()
    took: JSON = {}
    took["bins and sketches"], pair = timed(lambda: sketched(sketches, reference, live))
    for key in ("mmd_features", "pca_ks", "mmd", "classifier"):
        detector: Any = DETECTORS[key]()
        sides = pair if "sketches" in detector.takes else (reference, live)
        took[key], score = timed(lambda: detector.score(*sides))  # noqa: B023
        took[f"{key}, p"] = score.p
    return took


def sketched(sketches: Any, reference: Any, live: Any) -> Pair:
    bins = sketches.fit("embeddings", reference)
    return bins.sketch(reference), bins.sketch(live)


def evidently_embeddings() -> JSON:
    import pandas as pd  # type: ignore[import-untyped,unused-ignore]
    from evidently.legacy.metrics.data_drift import (  # type: ignore[import-not-found,unused-ignore]
        embedding_drift_methods as methods,
    )

    reference, live = (pd.DataFrame(one) for one in vectors())
    took: JSON = {}
    for name in ("distance", "model", "ratio"):
        method = getattr(methods, name)()
        took[name], said = timed(lambda: method(live, reference))  # noqa: B023
        took[f"{name}, score"], took[f"{name}, drift"] = float(said[0]), bool(said[1])
    return took


def nannyml_embeddings() -> JSON:
    import nannyml  # type: ignore[import-not-found,unused-ignore]
    import pandas as pd  # type: ignore[import-untyped,unused-ignore]

    reference, live = (pd.DataFrame(one).rename(columns=str) for one in vectors())
    names = list(reference.columns)
    took: JSON = {}
    made = nannyml.DataReconstructionDriftCalculator(column_names=names, chunk_size=VECTORS // 5)
    fit, fitted = timed(lambda: made.fit(reference))
    score, said = timed(lambda: fitted.calculate(live))
    table = said.filter(period="analysis").to_df()
    flags = [one for one in table.columns if one[-1] == "alert"]
    took["PCA reconstruction"] = fit + score
    took["PCA reconstruction, drift"] = [bool(one) for one in table[flags[0]]]
    return took


SIDES: dict[str, Callable[[int], JSON]] = {
    "report ours": ours_report,
    "report evidently": evidently_report,
    "report nannyml": nannyml_report,
    "report alibi": alibi_report,
    "embeddings ours": lambda rows: ours_embeddings(),
    "embeddings evidently": lambda rows: evidently_embeddings(),
    "embeddings nannyml": lambda rows: nannyml_embeddings(),
}


def apart(python: Path, side: str, rows: int) -> JSON:
    command = [str(python), "-m", "tests.bench.drift_peers", "--side", side, "--rows", str(rows)]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "LOKY_MAX_CPU_COUNT"), "1")
    quiet = {"DO_NOT_TRACK": "1", "NML_DISABLE_USAGE_LOGGING": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env=os.environ | threads | quiet
    )
    if done.returncode:
        raise SystemExit(f"{side}: {done.stderr[-2000:]}")
    found: JSON = json.loads(done.stdout.splitlines()[-1])
    return found


def middle(said: list[JSON], name: str) -> float:
    return float(median(one[name] for one in said))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", choices=("report", "embeddings"))
    parser.add_argument("--side", choices=SIDES)
    asked = parser.parse_args()
    if asked.side:
        found = SIDES[asked.side](asked.rows)
        found["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(json.dumps(found))
        return
    pythons = {"ours": Path(sys.executable)}
    pythons |= {name: environment(asked.home, name) for name in ("evidently", "nannyml", "alibi")}
    said: dict[str, list[JSON]] = {}
    for _ in range(asked.rounds):
        for side in SIDES:
            if asked.only in (None, side.split()[0]):
                python = pythons[side.split()[1]]
                said.setdefault(side, []).append(apart(python, side, asked.rows))
    pinned = [one for pins in PEERS.values() for one in pins]
    print(f"{', '.join(pinned)}; numpy {importlib.metadata.version('numpy')}")
    if asked.only != "embeddings":
        report(said, asked.rows)
    if asked.only != "report":
        embeddings(said)


def report(said: dict[str, list[JSON]], rows: int) -> None:
    print(f"\n{COLUMNS} columns, {rows:,} rows on either side (6 moved)\n")
    print("| | report, CPU s | ratio | next window, CPU s | ratio | most memory, MB | found |")
    print("|---|---|---|---|---|---|---|")
    mine = said["report ours"]
    for name in pythons_of(said, "report"):
        one = said[f"report {name}"]
        cells = []
        for what in ("report", "next window"):
            took = middle(one, what)
            cells += [f"{took:.2f}", f"{took / middle(mine, what):.1f}"]
        print(f"| {name} | {' | '.join(cells)} | {middle(one, 'memory'):.0f} | {one[0]['found']} |")


def embeddings(said: dict[str, list[JSON]]) -> None:
    print(f"\nEmbeddings, {VECTORS:,} by {WIDTH} on either side, one row in twenty foreign\n")
    for name in pythons_of(said, "embeddings"):
        one = said[f"embeddings {name}"]
        figures = {
            key: round(middle(one, key), 3) if isinstance(value, float) else value
            for key, value in one[0].items()
            if ", " not in key
        }
        print(f"{name}: {figures}\n  { ({k: v for k, v in one[0].items() if ', ' in k}) }")


def pythons_of(said: dict[str, list[JSON]], what: str) -> list[str]:
    return [side.split()[1] for side in said if side.split()[0] == what]


if __name__ == "__main__":
    main()
