"""Counts of NannyML's car-loan example (Apache 2.0), and the accuracy that its documentation says
CBPE estimates on it: writes recorded_estimates.json beside this file.

    python -m venv env
    env/bin/pip download --no-deps nannyml==0.13.1 && unzip nannyml-*.whl
    python -m tests.engine.oracles.record_estimates nannyml/datasets/data DRIFT_PUBLISHED

Probabilities of the example have two digits, so that counts by probability are the rows. The
second folder has the published table, `cbpe_binary_car_loan.json`.
"""

import csv
import json
import sys
from collections import Counter
from pathlib import Path

PIECE = 5000  # rows of a chunk, of 50 000


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def main() -> None:
    data, published = Path(sys.argv[1]), Path(sys.argv[2])
    reference = Counter(
        (round(100 * float(row["y_pred_proba"])), int(float(row["repaid"])))
        for row in rows(data / "synthetic_car_loan_reference.csv")
    )
    live = rows(data / "synthetic_car_loan_analysis.csv")
    pieces = [
        Counter(
            (round(100 * float(row["y_pred_proba"])), int(row["y_pred"]))
            for row in live[start : start + PIECE]
        )
        for start in range(0, len(live), PIECE)
    ]
    tables = json.loads((published / "cbpe_binary_car_loan.json").read_text())["tables"]
    grid = next(table["grid"] for table in tables if "grid" in table)
    recorded = {
        "reference": [[*key, count] for key, count in sorted(reference.items())],
        "windows": [[[*key, count] for key, count in sorted(one.items())] for one in pieces],
        "accuracy": [float(row[16]) for row in grid[2:]],
    }
    text = "{\n" + ",\n".join(f'"{key}": {json.dumps(value)}' for key, value in recorded.items())
    Path(__file__).with_name("recorded_estimates.json").write_text(text + "\n}\n")


if __name__ == "__main__":
    main()
