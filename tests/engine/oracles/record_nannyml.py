"""Counts of NannyML's car-loan example (Apache 2.0) by value, and how far NannyML says that each of
its ten chunks lies from the reference: writes recorded_nannyml.json beside this file.

    python -m venv env
    env/bin/pip install nannyml==0.13.1 "pandas<2.3" "plotly<6" statsmodels
    env/bin/python -m tests.engine.oracles.record_nannyml DRIFT_PUBLISHED

The folder has the table that its documentation publishes of `debt_to_income_ratio`,
`univariate_car_loan.json`; counts of that column are in the bins that NannyML chooses (Doane),
what lies beyond them last. The other figures are what the installed library computes.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).with_name("recorded_nannyml.json")
PIECE = 5000  # rows of a chunk, of 50 000
PUBLISHED = "debt_to_income_ratio"
NUMBERS = {"loan_length": ("kolmogorov_smirnov", "jensen_shannon")}
NAMES = dict.fromkeys(("salary_range", "size_of_downpayment"), ("chi2", "jensen_shannon"))


def published(folder: Path) -> list[float]:
    tables = json.loads((folder / "univariate_car_loan.json").read_text())["tables"]
    grid = next(one["grid"] for one in tables if "'analysis'" in one["source"] and "grid" in one)
    return [float(row[12]) for row in grid[3:]]


def main() -> None:
    import nannyml  # type: ignore[import-not-found,unused-ignore]

    reference, live, _ = nannyml.load_synthetic_car_loan_dataset()
    edges = np.histogram_bin_edges(reference[PUBLISHED], bins="doane")
    pieces = [live[start : start + PIECE] for start in range(0, len(live), PIECE)]
    binned = [np.histogram(one[PUBLISHED], edges)[0].tolist() for one in (reference, *pieces)]
    for one in binned:
        one.append((PIECE if one is not binned[0] else len(reference)) - sum(one))
    found: dict[str, Any] = {
        PUBLISHED: {"counts": binned, "jensen_shannon": published(Path(sys.argv[1]))}
    }
    said = (
        nannyml.UnivariateDriftCalculator(
            column_names=[*NUMBERS, *NAMES],
            chunk_size=PIECE,
            continuous_methods=["kolmogorov_smirnov", "jensen_shannon"],
            categorical_methods=["chi2", "jensen_shannon"],
        )
        .fit(reference)
        .calculate(live)
        .filter(period="analysis")
        .to_df()
    )
    for name, methods in (NUMBERS | NAMES).items():
        levels = sorted(reference[name].unique().tolist())
        counts = [
            [int((one[name] == level).sum()) for level in levels] for one in (reference, *pieces)
        ]
        found[name] = {"levels": levels, "counts": counts}
        found[name] |= {one: said[name, one, "value"].tolist() for one in methods}
    lines = ",\n".join(f'"{key}": {json.dumps(value)}' for key, value in found.items())
    FILE.write_text("{\n" + lines + "\n}\n")


if __name__ == "__main__":
    main()
