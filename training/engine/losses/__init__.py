"""Terms of the total: `total = sum of weight * term`, one file a term.

A term answers one number per unit (a row, or a token where tokens have labels); the loop divides
the sum over a whole optimizer step, all its micro-batches together, by the number of units the term
speaks about. So accumulation changes no gradient, and units without a label count only for terms
that need none. Terms whose units speak to each other (`is_joint`) see the whole step at once.
"""

from dataclasses import fields
from typing import Any, ClassVar

from torch import Tensor, nn

from training.engine.answers import NOTHING, Answer, Wanted
from training.engine.job_config import Problem
from training.engine.options import describe
from training.engine.registry import Method, Registry


class Loss(Method):
    """One term. `options` is an instance of the class's own Options.

    Most terms compare logits, and write `per_row`. One that looks at layers writes `wants` and
    `values`, and `fit` where it has weights of its own.
    """

    is_divergence: ClassVar[bool] = False  # 0 exactly where student and teacher agree
    of_probabilities: ClassVar[bool] = False  # of nothing else, so that classes may be merged
    of_choice: ClassVar[bool] = False  # of the label a teacher names, however sure it is
    of_logits: ClassVar[bool] = False  # of their size, which a probability of 0 does not have
    is_joint: ClassVar[bool] = False  # a unit's value depends on the units beside it
    of_sequences: ClassVar[bool] = False  # over answers of many tokens, which no chunk may part
    scheme: ClassVar[str] = ""  # the only one that shows what it looks at
    problems: ClassVar[tuple[str, ...]] = ("single_label",)
    needs_column: ClassVar[str] = ""  # of the dataset, beside those of its task
    unit: ClassVar[str] = "nats"  # of its value, for charts

    def __init__(self, options: Any, problem: Problem = "single_label") -> None:
        self.options = options
        self.problem = problem

    @property
    def wants(self) -> Wanted:
        """What it looks at beside the logits, of student and teacher alike."""
        return NOTHING

    def fit(self, student: Answer, teacher: Answer | None) -> nn.Module | None:
        """Weights of its own, such as projections, made once from the shapes of a first batch.

        They are trained with the student, kept in checkpoints, and no part of the student that is
        saved. Keep a reference. Raises ConfigError when the two cannot be compared.
        """
        return None

    def reads(self) -> frozenset[str]:
        """Which of the teacher's layers it looks at once it is fitted, so that no others need be
        stored: by name (`hidden.3`), or all of a kind (`hidden`). All that it wants, unless it says
        otherwise."""
        return frozenset(named(self.wants))

    def values(self, student: Answer, teacher: Answer | None, labels: Tensor) -> Tensor:
        """One value per unit, `[units]`, 0 where it does not speak. What the teacher says carries
        no gradient. labels: as in `per_row`. Terms over rows, where units are tokens, answer
        `[batch]`."""
        said = None if teacher is None else teacher.logits
        return self.per_row(student.logits, said, labels)

    def per_row(
        self, student_logits: Tensor, teacher_logits: Tensor | None, labels: Tensor
    ) -> Tensor:
        """One value per unit, 0 where it does not speak.

        student_logits, teacher_logits: `[units, classes]`, float32 (the loop casts). labels, by
        problem: single_label `[units]`, int64, -1 where unknown, below -1 for a rationale's token
        (`of_rationale`); multi_label `[units, classes]`,
        float32, NaN where unknown; regression `[units, 1]`, float32, NaN where unknown. The
        teacher's logits carry no gradient.
        """
        raise NotImplementedError

    def speaks(self, labels: Tensor) -> Tensor:
        """`[units]` of bool: those this term counts."""
        known = labels >= 0 if labels.ndim == 1 else ~labels.isnan().any(dim=1)
        return known if self.needs_labels else known | True

    @classmethod
    def compares(cls) -> str:
        """What it holds against each other: answers, layers, or rows together."""
        if not cls(cls.Options()).wants:
            return "answers"
        return "rows" if cls.is_joint else "layers"

    @classmethod
    def wanted(cls) -> dict[str, Any]:
        """What it looks at beside the logits: `wants` as it begins, and `wants_by`, by an option
        and its choice, where that changes it."""
        usual = named(cls(cls.Options()).wants)
        by: dict[str, dict[str, list[str]]] = {}
        for one in describe(cls.Options):
            found = {
                str(choice): named(cls(cls.Options(**{one["name"]: choice})).wants)
                for choice in one.get("choices") or ()
            }
            if any(wants != usual for wants in found.values()):
                by[one["name"]] = found
        return {"wants": usual, "wants_by": by}

    @classmethod
    def described(cls) -> dict[str, Any]:
        return {
            **super().described(),
            "problems": list(cls.problems),
            "compares": cls.compares(),
            **cls.wanted(),
            "is_joint": cls.is_joint,
            "needs_column": cls.needs_column,
            "scheme": cls.scheme,
            "unit": cls.unit,
        }


def named(wanted: Wanted) -> list[str]:
    """`["hidden", "attention"]`"""
    return [one.name for one in fields(wanted) if getattr(wanted, one.name)]


LOSSES: Registry[type[Loss]] = Registry("loss", "training.engine.losses")
