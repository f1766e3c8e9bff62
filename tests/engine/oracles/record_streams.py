"""Where river 0.26.1 (BSD-3) sees streams change: writes recorded_streams.json beside this file.

python -m venv env
env/bin/pip install river==0.26.1
env/bin/python -m tests.engine.oracles.record_streams
"""

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINARY = ("ddm", "eddm", "hddm_a")  # of errors, 1 and 0

# By name: our key, our options, river's class and its arguments.
ASKED: dict[str, tuple[str, dict[str, Any], str, dict[str, Any]]] = {
    "adwin": ("adwin", {"direction": "both"}, "drift.ADWIN", {}),
    "adwin, sharp": (
        "adwin",
        {"direction": "both", "delta": 0.05, "clock": 8},
        "drift.ADWIN",
        {"delta": 0.05, "clock": 8},
    ),
    "page_hinkley": ("page_hinkley", {"direction": "both"}, "drift.PageHinkley", {}),
    "page_hinkley, up": (
        "page_hinkley",
        {"threshold": 20.0},
        "drift.PageHinkley",
        {"threshold": 20.0, "mode": "up"},
    ),
    "ddm": ("ddm", {}, "drift.binary.DDM", {}),
    "eddm": ("eddm", {}, "drift.binary.EDDM", {}),
    "hddm_a": ("hddm_a", {}, "drift.binary.HDDMA", {}),
    "hddm_a, both": (
        "hddm_a",
        {"direction": "both"},
        "drift.binary.HDDMA",
        {"two_sided_test": True},
    ),
}


def streams() -> dict[str, NDArray[np.float64]]:
    """The same everywhere: errors at .10, .20 and .05; numbers; errors that never change."""
    made: dict[str, NDArray[np.float64]] = {}
    for seed in range(3):
        chance = np.random.default_rng(seed)
        rates = np.repeat([0.10, 0.20, 0.05], [3000, 3000, 2000])
        made[f"errors {seed}"] = (chance.random(len(rates)) < rates).astype(float)
    chance = np.random.default_rng(7)
    middles, widths = np.repeat([0.0, 0.5, -1.0], 2000), np.repeat([1.0, 1.0, 2.0], 2000)
    made["numbers"] = middles + widths * chance.standard_normal(6000)
    made["still"] = (np.random.default_rng(9).random(8000) < 0.1).astype(float)
    return made


def main() -> None:
    rows = []
    for stream, values in streams().items():
        for name, (key, _, path, arguments) in ASKED.items():
            if stream == "numbers" and key in BINARY:
                continue
            module, _, made = path.rpartition(".")
            detector = getattr(importlib.import_module(f"river.{module}"), made)(**arguments)
            found = []
            for at, value in enumerate(values):
                detector.update(bool(value) if key in BINARY else float(value))
                if detector.drift_detected:
                    found.append(at)
            rows.append({"stream": stream, "detector": name, "changes": found})
    text = "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n"
    Path(__file__).with_name("recorded_streams.json").write_text(text)


if __name__ == "__main__":
    main()
