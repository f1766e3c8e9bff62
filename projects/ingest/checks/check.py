"""What looks at the rows of a version for one kind of trouble, while and after they are read.

A check is one file in this folder with one class, marked `@registry.register`. It says which
issues it may find (`kinds`), meets every row once, and then says what it found. What it keeps of
the rows is bounded, or a few bytes a row; what it looks at in a sample only, it says so.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from distillhub.lib.later import Later, np
from projects.ingest import issues, stored
from projects.ingest.formats import Plan, Row
from projects.ingest.labels import Labels

pa, pq = Later("pyarrow"), Later("pyarrow.parquet")

Rows: TypeAlias = "np.ndarray[Any, Any]"


@dataclass(slots=True)
class Found:
    """What is known when all rows were met and written."""

    path: Path  # the Parquet
    tally: issues.Tally
    splits: Rows  # [rows], indices of SPLITS
    labels: Labels
    keys: Rows  # [rows], equal for inputs that mean the same
    groups: Rows | None  # [rows], equal for rows that are near each other
    beat: Callable[[], None]  # to be called every few seconds
    told: dict[str, Any] = field(default_factory=dict)  # what statistics say of it

    def sample(self, rows: Rows, column: str, most: int) -> tuple[Rows, list[Any]]:
        """(rows, what they hold in a column) of at most `most` of these rows, drawn evenly by
        chance, always the same; increasing."""
        if len(rows) > most:
            rows = np.sort(np.random.default_rng(0).choice(rows, most, replace=False))
        return rows, list(self.values(rows, column))

    def values(self, rows: Rows, column: str) -> Iterator[Any]:
        """What these rows hold in a column; they are increasing."""
        done = 0
        file = pq.ParquetFile(str(self.path))
        for batch in stored.batches(file, [column], 500):
            here = rows[np.searchsorted(rows, done) : np.searchsorted(rows, done + batch.num_rows)]
            self.beat()
            if len(here):
                yield from batch.column(0).take(pa.array(here - done)).to_pylist()
            done += batch.num_rows


class Check(ABC):
    key: ClassVar[str]  # of what statistics say
    #: {code of an issue: (severity, sentence)}
    kinds: ClassVar[Mapping[str, tuple[str, str]]] = {}

    def __init__(
        self, plan: Plan, columns: list[dict[str, str]], measures: tuple[str, ...]
    ) -> None:
        self.plan, self.columns, self.measures = plan, columns, measures

    @classmethod
    def suits(cls, plan: Plan, columns: list[dict[str, str]]) -> bool:
        """Whether it is of use for such rows."""
        return True

    def meet(self, row_id: int, row: Row) -> None:  # noqa: B027
        """A row, in the order of the file."""

    @abstractmethod
    def finish(self, found: Found) -> None:
        """Write what it found into `found.tally`, and what statistics say into `found.told`."""

    def close(self) -> None:  # noqa: B027
        """Its files go."""


def input_of(columns: list[dict[str, str]]) -> str:
    """`text`, `image` or `audio`; empty for a table."""
    return next((one["name"] for one in columns if one["role"] == "input"), "")
