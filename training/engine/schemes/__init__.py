"""Who teaches whom, and when: one file a scheme.

A scheme plans the stages of a run, joins what several frozen teachers say, and turns one batch into
the total that the optimizer follows. The default is the plain case: one student, frozen teachers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from training.engine import terms
from training.engine.answers import NOTHING, Answer, Wanted
from training.engine.data import Batch, Dataset, Indices, Inputs
from training.engine.losses import Loss
from training.engine.networks import Network, Place
from training.engine.registry import Method, Registry

Total = tuple[Tensor, dict[str, Tensor]]  # to be minimised, and each term's part of it


@dataclass(frozen=True, slots=True)
class Plan:
    """One stage of a run."""

    name: str
    losses: tuple[terms.Loss, ...]
    epochs: int | None = None  # None: the run's own
    learning_rate: float | None = None
    fresh: bool = False  # the student begins again from new weights
    teacher: Literal["given", "previous", "none"] = "given"  # previous: the last stage's student


@dataclass(frozen=True, slots=True)
class Classroom:
    """Who is there when a stage begins."""

    student: Network
    dataset: Dataset  # whose rows are those of the inputs
    inputs: Inputs
    teachers: Sequence[Any]
    place: Place
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """What teachers are to write before a stage begins, after the prompt of every training row."""

    temperature: float
    samples: int  # to a prompt
    most: int  # tokens of an answer
    prompt_tokens: int  # of plain text, which has no prompts of its own


@dataclass(slots=True)
class Step:
    """One micro-batch as a scheme sees it; answers are asked for when they are needed."""

    rows: Indices
    batch: Batch
    labels: Tensor
    number: int  # of the optimizer step, from 0
    ask: Callable[[nn.Module], Answer]  # a module of the student's kind, on this batch
    student: Callable[[], Answer]
    frozen: Callable[[], Answer | None]  # the frozen teachers together
    reckon: Callable[[Answer, Answer | None, Tensor], Total]

    def total(self, student: Answer, teacher: Answer | None) -> Total:
        """The weighted terms of these answers."""
        return self.reckon(student, teacher, self.labels)


class Scheme(Method):
    brings_teacher: ClassVar[bool] = False  # somebody teaches although no teacher is given
    takes_teachers: ClassVar[bool] = True  # given teachers teach too
    compares_layers: ClassVar[bool] = True  # terms may look at more than logits
    hears_probabilities: ClassVar[bool] = True  # terms may look at what a teacher thinks likely
    least_layers: ClassVar[int] = 0  # that its student must have
    copies: ClassVar[int] = 0  # of the student's weights that it keeps beside it, untrained
    answers: ClassVar[int] = 1  # that each row is seen with
    selects: ClassVar[str] = ""  # the metric that is selected by, where it is not the task's first
    metrics: ClassVar[tuple[str, ...]] = ()  # that `scores` tells beside the loss

    def __init__(self, options: Any) -> None:
        self.options = options

    @property
    def wants(self) -> Wanted:
        """What it looks at in the student's answers, beside what the terms want."""
        return NOTHING

    def plan(
        self, losses: Sequence[terms.Loss], stages: Sequence[terms.Stage], epochs: int
    ) -> list[Plan]:
        """The stages, in order."""
        return [Plan("training", tuple(losses))]

    def join(
        self, said: Sequence[Tensor], weights: Sequence[float], labels: Tensor, route: Tensor | None
    ) -> Tensor:
        """What the student is held against: `[units, classes]`, float32, from every teacher's
        logits of the same shape. `route` is the number of each unit's teacher, where rows are
        routed."""
        return said[0].float()

    @property
    def route_column(self) -> str:
        """The dataset's column that names each row's teacher; empty where all speak."""
        return ""

    def prepare(self, student: Network, draw: Callable[[int], nn.Module]) -> nn.Module | None:
        """Modules beside the student, kept in checkpoints and dropped at the end. `draw(n)` makes
        the student's network anew from another seed. Those that need gradients are trained."""
        return None

    @property
    def texts(self) -> Texts | None:
        """What it wants its teachers to write."""
        return None

    def meet(self, classroom: Classroom) -> None:
        """Before the first step of a stage, its teachers having been asked."""

    def rewrite(self, rows: Indices, number: int) -> Batch | None:
        """Other inputs in the place of these rows' own, at optimizer step `number`; frozen teachers
        are then asked about those. None: their own."""
        return None

    def fit(self, answer: Answer) -> None:
        """Make what depends on the shapes of a first answer."""

    def teach(self, step: Step) -> Total:
        """The total of one micro-batch."""
        return step.total(step.student(), step.frozen())

    def stepped(self, student: nn.Module, done: int) -> None:
        """After an optimizer step; `done` steps are over."""

    def scores(
        self, module: nn.Module, split: str, spoken: Sequence[tuple[terms.Loss, Loss]]
    ) -> dict[str, float]:
        """What rows of a split tell that only this scheme shows: `loss`, in the place of that of
        answers, and its `metrics`. `spoken` are the terms."""
        return {}

    def candidates(self, student: nn.Module) -> list[nn.Module]:
        """Modules of which the best on validation rows is kept."""
        return [student]

    @classmethod
    def described(cls) -> dict[str, Any]:
        return {
            **super().described(),
            "brings_teacher": cls.brings_teacher,
            "takes_teachers": cls.takes_teachers,
            "compares_layers": cls.compares_layers,
            "hears_probabilities": cls.hears_probabilities,
            "least_layers": cls.least_layers,
            "copies": cls.copies,
            "answers": cls.answers,
            "selects": cls.selects,
            "metrics": list(cls.metrics),
        }


SCHEMES: Registry[type[Scheme]] = Registry("scheme", "training.engine.schemes")
