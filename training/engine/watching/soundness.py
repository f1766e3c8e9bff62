"""What of a window's rows is sound: tallies of each column, from its sketches."""

import math
from collections.abc import Mapping

from training.engine.detectors.tallies import Tally
from training.engine.sketches import CategorySketch, NumberSketch
from training.engine.watching.windows import Sums

#: Signals that are no column of their own: the top probability is missing where entropy is.
BESIDE = ("confidence.top", "error", "difference")
#: Only a table's cells have values that they should not have. That a picture is darker than any
#: before, or that the student is surer, is drift, which other detectors tell of: it breaks no row.
CELLS = "input."


def tallies_of(sums: Sums, fault: str, *, beside: Sums | None = None) -> dict[str, Tally]:
    """By column, rows that are free of a fault: `missing`, `unseen`, `out_of_range`,
    `duplicated`. Numbers have two ends, each of which may be passed. What is not a cell can only be
    missing. Of more rows more are repeated: where a larger window stands `beside`, they are as many
    as chance would repeat in one of its size."""
    if fault == "duplicated":
        contents = sums.contents
        repeated = contents.repeated
        if beside is not None and beside.contents.rows > contents.rows:
            repeated = math.ceil(contents.chance(beside.contents.rows) * contents.rows)
        return {"rows": Tally.counted(contents.rows, contents.rows - repeated)}
    found: dict[str, Tally] = {}
    for name, one in sums.sketches.items():
        if name in BESIDE:
            continue
        if fault == "missing":
            rows = one.rows + one.missing
            found[name] = Tally.counted(rows, one.rows)
        elif not name.startswith(CELLS):
            continue
        elif fault == "unseen" and isinstance(one, CategorySketch):
            found[name] = Tally.counted(one.rows, one.rows - one.rows_unseen)
        elif fault == "out_of_range" and isinstance(one, NumberSketch):
            found[f"{name} (low)"] = Tally.counted(one.rows, one.rows - one.under)
            found[f"{name} (high)"] = Tally.counted(one.rows, one.rows - one.over)
    return found


def shares(sums: Sums) -> dict[str, dict[str, float]]:
    """What is charted of it: `{"missing": {signal: share}, ...}`, columns without a fault left
    out."""
    found: dict[str, dict[str, float]] = {"missing": {}, "unseen": {}, "out_of_range": {}}
    for name, one in sums.sketches.items():
        if name in BESIDE:
            continue
        if one.missing:
            found["missing"][name] = one.missing / (one.rows + one.missing)
        if isinstance(one, CategorySketch) and one.rows_unseen:
            found["unseen"][name] = one.rows_unseen / one.rows
        if isinstance(one, NumberSketch) and one.under + one.over:
            found["out_of_range"][name] = (one.under + one.over) / one.rows
    return found


def unseen_names(sums: Sums) -> Mapping[str, Mapping[str, int]]:
    """Names that the reference never had, the most frequent first."""
    return {
        name: dict(sorted(one.unseen.items(), key=lambda item: (-item[1], item[0]))[:10])
        for name, one in sums.sketches.items()
        if isinstance(one, CategorySketch) and one.unseen
    }
