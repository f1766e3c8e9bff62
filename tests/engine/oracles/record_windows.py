"""What Evidently 0.7.23 and alibi-detect 0.13 say of windows: writes recorded_windows.json beside
this file. Each in an environment of its own, one after the other:

    python -m venv env
    env/bin/pip install evidently==0.7.23 "pandas<2.3"
    env/bin/python -m tests.engine.oracles.record_windows evidently
    python -m venv other
    other/bin/pip install alibi-detect==0.13.0 torch
    other/bin/python -m tests.engine.oracles.record_windows alibi

The tests read the numbers only: neither library is needed to run them.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).with_name("recorded_windows.json")
Pair = tuple[Any, Any]


def numbers() -> dict[str, Pair]:
    """Reference and window, the same everywhere."""
    chance = np.random.RandomState(3)
    return {
        "alike": (chance.normal(size=2000), chance.normal(size=700)),
        "shifted": (chance.normal(5, 2, 1500), chance.normal(5.6, 2, 500)),
        "wider": (chance.gamma(2, 3, 4000), chance.gamma(2, 4, 900)),
        "apart": (chance.normal(size=300), chance.normal(4, 0.5, 60)),
        "large": (chance.standard_t(4, 30000), chance.standard_t(3, 9000)),
    }


def names() -> dict[str, Pair]:
    chance = np.random.RandomState(4)
    levels = np.array(["card", "cash", "cheque", "loan", "none"])
    return {
        "alike": (
            chance.choice(levels, 900, p=[0.4, 0.3, 0.15, 0.1, 0.05]),
            chance.choice(levels, 400, p=[0.4, 0.3, 0.15, 0.1, 0.05]),
        ),
        "moved": (
            chance.choice(levels, 900, p=[0.4, 0.3, 0.15, 0.1, 0.05]),
            chance.choice(levels, 400, p=[0.2, 0.3, 0.25, 0.2, 0.05]),
        ),
        "unseen": (
            chance.choice(levels[:4], 600, p=[0.5, 0.3, 0.1, 0.1]),
            chance.choice(levels, 300, p=[0.5, 0.2, 0.1, 0.1, 0.1]),
        ),
    }


def vectors() -> dict[str, Pair]:
    chance = np.random.RandomState(5)
    shift = np.r_[0.5, np.zeros(15)]
    made = {
        "alike": (chance.normal(size=(200, 8)), chance.normal(size=(120, 8))),
        "shifted": (chance.normal(size=(250, 16)), chance.normal(size=(90, 16)) + shift),
        "wider": (chance.normal(size=(100, 4)), 1.7 * chance.normal(size=(100, 4))),
    }
    return {name: (one.astype("f4"), two.astype("f4")) for name, (one, two) in made.items()}


def of_evidently() -> dict[str, Any]:
    import pandas as pd  # type: ignore[import-untyped,unused-ignore]
    from evidently.legacy.calculations.stattests import (  # type: ignore[import-not-found]
        jensenshannon_stat_test,
        psi_stat_test,
    )
    from evidently.legacy.core import ColumnType  # type: ignore[import-not-found]

    found: dict[str, Any] = {}
    kinds = {
        "numbers": (numbers(), ColumnType.Numerical),
        "names": (names(), ColumnType.Categorical),
    }
    for kind, (pairs, column) in kinds.items():
        for name, (one, two) in pairs.items():
            sides = pd.Series(one), pd.Series(two)
            found[f"{kind} {name}"] = {
                "psi": float(psi_stat_test(*sides, column, 0.1).drift_score),
                "jensen_shannon": float(jensenshannon_stat_test(*sides, column, 0.1).drift_score),
            }
    return found


def of_alibi() -> dict[str, Any]:
    from alibi_detect.cd import MMDDrift  # type: ignore[import-not-found]

    found = {}
    for name, (one, two) in vectors().items():
        detector = MMDDrift(one, backend="pytorch", n_permutations=500, device="cpu")
        said = detector.predict(two)["data"]
        found[name] = {
            "mmd2": float(said["distance"]),
            "p": float(said["p_val"]),
            "sigma": float(detector._detector.kernel.sigma[0]),
        }
    return found


def main() -> None:
    recorded = json.loads(FILE.read_text()) if FILE.exists() else {}
    which = sys.argv[1]
    recorded[which] = of_evidently() if which == "evidently" else of_alibi()
    FILE.write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
