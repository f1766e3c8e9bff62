"""Rows far from the others: much longer or shorter, or with a number far from a column's others."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import ClassVar

from distillhub.lib.later import np
from projects.ingest.checks import check, registry
from projects.ingest.checks.check import Check, Found, pq
from projects.ingest.formats import GENERATION_TASK, Plan, Row
from projects.ingest.issues import INFO

#: Robust deviations. Iglewicz and Hoaglin (How to Detect and Handle Outliers, 1993) take 3.5, which
#: lengths, whose tail is long, reach in every hundredth row.
FAR = 6
FEWEST = 50  # rows, so that there is something to be far from
FENCES = 5  # interquartile ranges beyond the quartiles (Tukey 1977 calls 3 "far out")


@registry.register
class UnusualLength(Check):
    key = "unusual_length"
    kinds: ClassVar[Mapping[str, tuple[str, str]]] = {
        "unusual_length": (
            INFO,
            "Rows that are far longer or shorter, or larger or smaller, than the others. They may "
            "be several rows in one, or cut off: look at them.",
        )
    }

    def __init__(
        self, plan: Plan, columns: list[dict[str, str]], measures: tuple[str, ...]
    ) -> None:
        super().__init__(plan, columns, measures)
        self.sizes = array("q")

    @classmethod
    def suits(cls, plan: Plan, columns: list[dict[str, str]]) -> bool:
        if plan.task == GENERATION_TASK and not any(one["role"] == "prompt" for one in columns):
            return False  # running text is cut into pieces; the last one is as long as it is
        return bool(check.input_of(columns))

    def meet(self, row_id: int, row: Row) -> None:
        """Characters, pixels or milliseconds."""
        size = row.measures[0] if row.measures else 0
        self.sizes.append(size * row.measures[1] if self.measures[:1] == ("width",) else size)

    def finish(self, found: Found) -> None:
        far = far_out(np.log1p(np.frombuffer(self.sizes, dtype=np.int64)))
        found.tally.many("unusual_length", np.flatnonzero(far))


def far_out(values: check.Rows) -> check.Rows:
    """`[rows]`: 0.6745 times the distance from the median, by the median of these distances, is
    above FAR. Nothing is where more than half of the values are equal."""
    middle = np.median(values) if len(values) else 0.0
    distance = np.abs(values - middle)
    spread = np.median(distance) if len(values) >= FEWEST else 0.0
    if not spread:
        return np.zeros(len(values), dtype=bool)
    far: check.Rows = 0.6745 * distance / spread > FAR
    return far


@registry.register
class UnusualNumber(Check):
    key = "unusual_number"
    kinds: ClassVar[Mapping[str, tuple[str, str]]] = {
        "unusual_number": (
            INFO,
            f"Rows with a number more than {FENCES} interquartile ranges beyond a column's "
            "quartiles. It may be in another unit, or a slip; a long tail is natural, too.",
        ),
        "empty_column": (
            INFO,
            "Columns without a single value. Nothing can be learned from them: drop them.",
        ),
    }

    @classmethod
    def suits(cls, plan: Plan, columns: list[dict[str, str]]) -> bool:
        return any(one["role"] == "feature" for one in columns)

    def finish(self, found: Found) -> None:
        file = pq.ParquetFile(str(found.path))
        beyond = np.zeros(len(found.keys), dtype=bool)
        counted = {}
        for one in self.columns:
            if one["role"] != "feature":
                continue
            column = file.read(columns=[one["name"]]).column(0)
            found.beat()
            if column.null_count == len(column):
                found.tally.place("empty_column", one["name"])
            elif one["type"] == "number":
                here = fenced_out(np.asarray(column.to_numpy(), dtype=np.float64))
                if here.any():
                    counted[one["name"]] = int(here.sum())
                beyond |= here
        found.tally.many("unusual_number", np.flatnonzero(beyond))
        for name, many in counted.items():
            found.tally.remark("unusual_number", f"{name}: {many} rows")


def fenced_out(values: check.Rows) -> check.Rows:
    """`[rows]`: beyond FENCES interquartile ranges of the quartiles; NaN never is."""
    known = values[np.isfinite(values)]
    low, high = np.quantile(known, [0.25, 0.75]) if len(known) >= FEWEST else (0.0, 0.0)
    wide = FENCES * (high - low)
    if not wide:
        return np.zeros(len(values), dtype=bool)
    out: check.Rows = (values < low - wide) | (values > high + wide)
    return out
