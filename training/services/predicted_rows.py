"""The rows that a finished run was judged by, with what student, teacher and control answered to
each: found by conditions, put in an order, told page by page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from distillhub.lib.errors import Conflict, Invalid, Missing
from distillhub.lib.later import Later, np
from projects.ingest import page
from projects.operations import conditions as row_conditions
from projects.services import datasets
from training.models import Run
from training.services.judged_rows import JudgedRows

row_scores = Later("training.engine.row_scores")  # brings numpy

JSON = dict[str, Any]

SHOW = {
    "lost": "Student wrong, teacher right",
    "beat": "Student right, teacher wrong",
    "both_wrong": "Both wrong",
    "both_right": "Both right",
    "disagree": "Student and teacher disagree",
    "student_wrong": "Student wrong",
    "teacher_wrong": "Teacher wrong",
    "control_right": "Student wrong, control right",
    "control_wrong": "Student right, control wrong",
}
#: Of numbers, which are never quite right, by the distance to what is true.
SHOW_NUMBERS = {
    "lost": "Student far off, teacher not",
    "beat": "Teacher far off, student not",
    "both_wrong": "Both far off",
    "both_right": "Neither far off",
    "student_wrong": "Student far off",
    "teacher_wrong": "Teacher far off",
    "control_right": "Student far off, control not",
    "control_wrong": "Control far off, student not",
}
ORDERS = {
    "divergence": "Divergence",
    "gap": "Gap",
    "confidence": "Student's confidence",
    "loss": "Student's loss",
    "size": "Size",
    "row_id": "Row",
}
#: Whether the student, and the teacher, is wrong; None: either.
WRONG: dict[str, tuple[bool | None, bool | None]] = {
    "lost": (True, False),
    "beat": (False, True),
    "both_wrong": (True, True),
    "both_right": (False, False),
    "student_wrong": (True, None),
    "teacher_wrong": (None, True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which rows, in which order.

    `order` is one of ORDERS, falling after a `-`; empty: the furthest apart first, where that is
    known. `label`, `student` and `teacher` are what is true and what was answered; `slice` is the
    name of one that the run keeps; `q` is sought in what the row says.
    """

    show: str = ""
    label: str = ""
    student: str = ""
    teacher: str = ""
    slice: str = ""
    q: str = ""
    size_from: float | None = None
    size_to: float | None = None
    order: str = ""


class PredictedRows:
    """Those that were asked for: a sequence in their order."""

    def __init__(self, rows: JudgedRows, asked: Asked | None = None) -> None:
        """Raises Invalid and Missing for what cannot be asked of these rows."""
        self.rows, self.asked = rows, asked or Asked()
        self.places = self._ordered(self._wanted())

    def __len__(self) -> int:
        return len(self.places)

    def stretch(self, first: int, last: int) -> list[JSON]:
        """From the first to before the last, as docs/fidelity.md tells them."""
        return self.rows.told(self.places[first:last])

    def every(self, at_once: int = 1000) -> Iterator[JSON]:
        for first in range(0, len(self), at_once):
            yield from self.stretch(first, first + at_once)

    def row_ids(self) -> list[int]:
        return [int(one) for one in self.rows.ids[self.places]]

    @property
    def shows(self) -> dict[str, str]:
        """What can be shown, by what is known of this run."""
        rows = self.rows
        if rows.form in ("writing", "vectors") or rows.student is None:
            return {}
        return {
            key: words
            for key, words in (SHOW_NUMBERS if rows.form == "numbers" else SHOW).items()
            if (rows.control if "control" in key else rows.teacher) is not None
            or key == "student_wrong"
        }

    @property
    def orders(self) -> dict[str, str]:
        return {key: words for key, words in ORDERS.items() if self._is_known(key)}

    @property
    def order(self) -> str:
        """The one that is asked for, or the most telling that is known."""
        known = [one for one in ("divergence", "gap", "loss") if self._is_known(one)]
        return self.asked.order or (f"-{known[0]}" if known else "row_id")

    def counts(self) -> dict[str, int]:
        """How many of all rows each of `shows` has."""
        return {key: int(self._shown(key).sum()) for key in self.shows}

    # -- which ---------------------------------------------------------------------------------

    def _wanted(self) -> Any:
        asked, rows = self.asked, self.rows
        found = np.ones(len(rows), dtype=bool)
        if asked.show:
            if asked.show not in self.shows:
                known = ", ".join(self.shows) or "all rows alone"
                raise _refused("show", f"Of this run can be shown {known}.")
            found &= self._shown(asked.show)
        if asked.label and rows.student is not None:
            found &= self._has(rows.student.truths, asked.label)
        for name, answers in (("student", rows.student), ("teacher", rows.teacher)):
            said = getattr(asked, name)
            if said and answers is None:
                raise _refused(name, f"Of this run no {name}'s answers are known.")
            if said:
                found &= self._has(answers.said, said)
        edges = asked.size_from, asked.size_to
        if edges != (None, None):
            if not rows.unit:
                raise _refused("size_from", "Nobody measured how large these rows are.")
            low = -np.inf if edges[0] is None else edges[0]
            high = np.inf if edges[1] is None else edges[1]
            found &= (rows.size >= low) & (rows.size <= high)
        return found & self._holding()

    def _holding(self) -> Any:
        """Where the conditions of the slice hold, and what is sought is said."""
        run, wanted = self.rows.run, []
        found = np.ones(len(self.rows), dtype=bool)
        if self.asked.slice:
            wanted.append(_conditions_of(run, self.asked.slice))
        if self.asked.q:
            wanted.append({"q": self.asked.q})
        for one in wanted:
            version = run.dataset_version
            if version is None:
                raise Conflict("The dataset that these rows are of is no longer here.")
            holds = row_conditions.filter_of(version, one)
            with datasets.open_file(version=version) as stream:
                ids = page.matching(stream, holds, key=version.file_sha256)
            found &= np.isin(self.rows.ids, ids)
        return found

    def _has(self, answers: Any, said: str) -> Any:
        """Where this is the answer, or one of several."""
        marks = {"several": row_scores.SEPARATOR, "words": " "}
        mark = marks.get(self.rows.form)
        if mark is None:
            return np.array([one == said for one in answers], dtype=bool)
        return np.array([said in (one or "").split(mark) for one in answers], dtype=bool)

    def _shown(self, key: str) -> Any:
        rows = self.rows
        ours = rows.wrong(rows.student)
        if key == "disagree":
            pairs = zip(rows.student.said, rows.teacher.said, strict=True)
            return np.array([other not in (None, one) for one, other in pairs], dtype=bool)
        if key in ("control_right", "control_wrong"):
            # What the control did not answer is at -1: one more place than it has rows.
            alone = np.append(rows.wrong(rows.control), np.nan)[rows.control_at]
            is_right = key == "control_right"
            return (ours == is_right) & (alone == (not is_right))
        found = np.ones(len(rows), dtype=bool)
        for answers, wrong in zip((rows.student, rows.teacher), WRONG[key], strict=True):
            if wrong is not None:
                found &= rows.wrong(answers) == wrong
        return found

    # -- in which order ------------------------------------------------------------------------

    def _ordered(self, wanted: Any) -> Any:
        name = self.order.removeprefix("-")
        if not self._is_known(name):
            known = ", ".join(self.orders)
            raise _refused("order", f"These rows can be ordered by {known}, falling after a '-'.")
        places = np.flatnonzero(wanted)
        values = self._values(name)[places]
        falling = -values if self.order.startswith("-") else values
        # What is missing comes last, either way.
        return places[np.argsort(np.where(np.isnan(values), np.inf, falling), kind="stable")]

    def _values(self, name: str) -> Any:
        rows = self.rows
        if name in ("divergence", "gap", "size"):
            return getattr(rows, name)
        if name == "row_id" or rows.student is None:
            return rows.ids.astype(float) if name == "row_id" else np.full(len(rows), np.nan)
        if name == "confidence":
            return rows.student.confidence
        return np.sqrt(rows.student.value) if rows.form == "numbers" else rows.student.nll

    def _is_known(self, name: str) -> bool:
        if name not in ORDERS:
            return False
        values = self._values(name)
        values = values[~np.isnan(values)]
        # Of pictures of one size there is no order.
        return bool(len(np.unique(values)) > 1 if name == "size" else len(values))


def of(run: Run, asked: Asked | None = None) -> PredictedRows:
    """Raises Conflict before the run has been evaluated, Unavailable when storage has lost its
    answers, and Invalid and Missing for what cannot be asked of them."""
    return PredictedRows(JudgedRows(run), asked)


def _conditions_of(run: Run, name: str) -> JSON:
    """Of a slice that the run keeps. Raises Missing."""
    kept = run.slices.filter(name=name).first()
    if kept is None:
        raise Missing(f"Run {run.number} keeps no slice {name}.")
    return dict(kept.conditions)


def _refused(field: str, sentence: str) -> Invalid:
    return Invalid(sentence, fields={field: [sentence]})
