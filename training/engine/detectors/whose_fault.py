"""Student or teacher: who errs more than before? Of rows that have a label and a teacher's answer.

"Student alone wrong" grows: distil again, on these rows. "Both wrong" grows: the world is new, and
the teacher must be replaced or taught. Neither: what drifts does no harm.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from training.engine.corrections import holm
from training.engine.detectors import tallies
from training.engine.detectors.chance import AtLevel
from training.engine.detectors.detector import DETECTORS, Score, WindowDetector
from training.engine.detectors.tallies import Tally

KINDS = ("both_right", "student_wrong", "teacher_wrong", "both_wrong")
HARM = ("student_wrong", "both_wrong")
ADVICE: Mapping[str, str] = {
    "student_wrong": "The student errs where its teacher is right: distil again, on these rows.",
    "both_wrong": "Both err: the world is new. Replace the teacher, or teach it these rows.",
}
NO_HARM = "Neither errs more than on the reference: what drifts does no harm so far."
NO_LIVE = "No row of this window has both a label and the teacher's answer."
NO_REFERENCE = "No row of the reference has both a label and the teacher's answer."


@dataclass(frozen=True, slots=True)
class Faults:
    """Rows by who is wrong. Two `merge` to that of all their rows. What is counted may be units of
    rows, as words of texts are: `spread` then keeps rows, the sum of n² over them, and for each
    kind in turn those of k² and kn, where k of a row's n units are of it."""

    both_right: int = 0
    student_wrong: int = 0  # alone
    teacher_wrong: int = 0  # alone
    both_wrong: int = 0
    spread: tuple[float, ...] = ()

    @classmethod
    def of(cls, student_right: Any, teacher_right: Any, row: Any = None) -> "Faults":
        """Both `[rows]` of 1 and 0, NaN where the label or the answer is unknown; of units, where
        `row` `[units]` says of which row each is."""
        student, teacher = (
            np.asarray(one, dtype=np.float64) for one in (student_right, teacher_right)
        )
        known = np.isfinite(student) & np.isfinite(teacher)
        kinds = 2 * (student[known] <= 0.5) + (teacher[known] <= 0.5)
        kinds = kinds.astype(np.int64)
        right, teachers, students, both = np.bincount(kinds, minlength=4).tolist()
        spread: tuple[float, ...] = ()
        if row is not None and len(kinds):
            _, places = np.unique(np.asarray(row)[known], return_inverse=True)
            units = np.bincount(places).astype(np.float64)
            found = [float(len(units)), float(np.square(units).sum())]
            for one in (0, 2, 1, 3):  # as the fields stand
                many = np.bincount(places, kinds == one)
                found += [float(np.square(many).sum()), float((many * units).sum())]
            spread = tuple(found)
        return cls(right, students, teachers, both, spread)

    def merge(self, other: "Faults") -> "Faults":
        return Faults(
            self.both_right + other.both_right,
            self.student_wrong + other.student_wrong,
            self.teacher_wrong + other.teacher_wrong,
            self.both_wrong + other.both_wrong,
            tallies.added(self.spread, other.spread),
        )

    @property
    def rows(self) -> int:
        return self.both_right + self.student_wrong + self.teacher_wrong + self.both_wrong

    def without(self, kind: str) -> Tally:
        """Rows that are not of this kind."""
        other = self.rows - int(getattr(self, kind))
        if not self.spread:
            return Tally.counted(self.rows, other)
        rows, squares = self.spread[:2]
        own, crossed = self.spread[2 + 2 * KINDS.index(kind) :][:2]
        spread = (squares - 2 * crossed + own, squares - crossed, float(self.rows))
        return Tally(int(rows), 0, float(self.rows), squares, float(other), spread)

    @property
    def counts(self) -> dict[str, int]:
        return {kind: int(getattr(self, kind)) for kind in KINDS}

    def as_dict(self) -> dict[str, Any]:
        found = asdict(self)
        if not self.spread:
            del found["spread"]
        return found

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> "Faults":
        return cls(**{**said, "spread": tuple(said.get("spread") or ())})


@DETECTORS.register
class WhoseFault(WindowDetector):
    key = "whose_fault"
    label = "Whose fault"
    summary = (
        "Of rows with a label and a teacher's answer: is the student alone wrong more often than "
        "on the reference (distil again), are both (the world is new, teach the teacher), or "
        "neither (the drift does no harm)?"
    )
    formula = "P(rows of a kind ≥ those seen), of each kind, by Holm"
    paper = "Fisher's exact test, 1922; Holm 1979"
    watches = ("accuracy", "agreement")
    takes = ("faults",)
    unit = "share of rows of the kind that grew most surely"
    effect_unit = "rise of that share, above what chance adds"
    Options = AtLevel
    needs_labels = True
    needs_teacher = True

    def score(self, reference: Faults, live: Faults) -> Score:
        """`facts` hold share, reference and p of every kind, the kinds of harm that `grew` beyond
        the level, and an `advice`. That the teacher alone errs more does the student no harm."""
        if not reference.rows:
            return Score.no_data(NO_REFERENCE)
        if not live.rows:
            return Score.no_data(NO_LIVE)
        kinds = (*HARM, "teacher_wrong")
        raw = [tallies.fewer(reference.without(kind), live.without(kind)) for kind in kinds]
        ps = {kind: 1.0 if p is None else p for kind, p in zip(kinds, holm(raw), strict=True)}
        grew = [kind for kind in HARM if ps[kind] <= self.options.level]
        kind = min(HARM, key=lambda one: (ps[one], raw[kinds.index(one)]))
        there, here = reference.without(kind), live.without(kind)
        facts = {
            "kind": kind,
            "rows": live.rows,
            "grew": grew,
            "advice": [ADVICE[one] for one in grew] or [NO_HARM],
            "kinds": {
                one: {
                    "share": 1 - live.without(one).share,
                    "reference": 1 - reference.without(one).share,
                    "p": ps[one],
                }
                for one in ps
            },
        }
        return Score(
            1 - here.share,
            ps[kind],
            tallies.drop(there, here),
            1 - tallies.fewest(there, here, self.options.level / len(ps)),
            facts,
        )
