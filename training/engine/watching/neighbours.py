"""Whether two models of vectors find the same neighbours. Their vectors have widths and directions
of their own, so that no cosine stands between them: what both can be asked is which rows of the
reference are near.

    known = Neighbours.fit(ids, student's vectors, teacher's vectors)    rows of the reference
    known.said(student's vectors, teacher's vectors)                     -> [(near, nearest)]

The answer of a student is the NEAR rows of the reference that are nearest to a row, joined by `|`
like several labels; the teacher's is the nearest one. They agree where it is among them: the
recall by which approximate search is judged (Jégou et al., Product Quantization, TPAMI 2011).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from training.engine.text_vectors import unit
from training.engine.watching.label_sets import SEPARATOR, labels_of

NAME = "neighbours.npz"  # the file of a reference's files that holds them
TASK = "feature-extraction"
NEAR = 10
AT_ONCE = 2048

Answers = list[tuple[str, str] | None]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Neighbours:
    """`student` and `teacher` `[rows, width]`, float16, of length 1, of the same rows."""

    ids: tuple[str, ...]
    student: NDArray[np.float16]
    teacher: NDArray[np.float16]

    @classmethod
    def fit(cls, ids: Sequence[str], student: Any, teacher: Any) -> Self:
        """Rows of which either has no vector are left out."""
        known = np.flatnonzero(_known(student) & _known(teacher))
        names = tuple(ids[at].replace(SEPARATOR, "¦") for at in known.tolist())
        return cls(names, _unit(student[known]), _unit(teacher[known]))

    def said(self, student: Any, teacher: Any, *, own: Sequence[str] | None = None) -> Answers:
        """Of each row the student's near ones and the teacher's nearest; None where a vector is
        missing or has another width. `own` are ids of rows that are no neighbours of themselves."""
        rows = len(student)
        if not self.ids or (student.shape[1], teacher.shape[1]) != self._widths:
            return [None] * rows
        known = _known(student) & _known(teacher)
        found: Answers = []
        places = {one: at for at, one in enumerate(self.ids)}
        for start in range(0, rows, AT_ONCE):
            some = slice(start, start + AT_ONCE)
            mine, theirs = (
                _unit(np.nan_to_num(one[some])).astype(np.float32) @ kept.T.astype(np.float32)
                for one, kept in ((student, self.student), (teacher, self.teacher))
            )
            if own is not None:
                for row, name in enumerate(own[some]):
                    if (at := places.get(name.replace(SEPARATOR, "¦"))) is not None:
                        mine[row, at] = theirs[row, at] = -np.inf
            near = np.argsort(-mine, axis=1, kind="stable")[:, :NEAR]
            first = theirs.argmax(axis=1)
            found += [
                (SEPARATOR.join(self.ids[at] for at in row), self.ids[best]) if there else None
                for row, best, there in zip(
                    near.tolist(), first.tolist(), known[some].tolist(), strict=True
                )
            ]
        return found

    @property
    def _widths(self) -> tuple[int, int]:
        return int(self.student.shape[1]), int(self.teacher.shape[1])

    def save(self, path: Path) -> None:
        ids = np.array(self.ids, dtype=np.str_)
        np.savez_compressed(path, ids=ids, student=self.student, teacher=self.teacher)

    @classmethod
    def load(cls, path: Path) -> Self:
        with np.load(path, allow_pickle=False) as kept:
            return cls(tuple(str(one) for one in kept["ids"]), kept["student"], kept["teacher"])


def agree(said: Sequence[str | None], teacher: Sequence[str | None]) -> Floats:
    """`[rows]`: 1 where the teacher's nearest row is among the student's near ones; NaN unknown."""
    return np.array(
        [
            np.nan if near is None or nearest is None else float(nearest in near)
            for near, nearest in zip(map(labels_of, said), teacher, strict=True)
        ],
        dtype=np.float64,
    )


def vectors_of(rows: pa.Table, width: int | None = None) -> NDArray[np.float32]:
    """`[rows, width]` of a table's column; NaN where a row has none, or one of another width than
    the first."""
    listed = rows["vector"].to_pylist() if "vector" in rows.column_names else []
    width = width or next((len(one) for one in listed if one is not None), 1)
    found = np.full((rows.num_rows, width), np.nan, dtype=np.float32)
    for at, one in enumerate(listed):
        if one is not None and len(one) == width:
            found[at] = one
    return found


def _known(vectors: Any) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(vectors).all(axis=1))


def _unit(vectors: Any) -> NDArray[np.float16]:
    return np.asarray(unit(np.asarray(vectors, dtype=np.float32)), dtype=np.float16)
