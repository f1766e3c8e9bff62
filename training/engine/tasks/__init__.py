"""What a student learns to do, one file a task. Keys are Hugging Face's pipeline tags."""

from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

from training.engine.data import Dataset, Inputs, Unit
from training.engine.registry import Method, Registry
from training.engine.students import Architecture, Shape


class Preprocessing(Protocol):
    """How a row of a dataset becomes a network's input; part of the model, kept in its folder."""

    @property
    def digest(self) -> str:
        """Equal digests mean equal inputs."""
        ...

    def as_dict(self) -> dict[str, Any]:
        """What `distillhub.json` says of it."""
        ...

    def save(self, folder: Path) -> None:
        """Write what does not fit there, such as a tokenizer."""
        ...

    def prepare(self, path: Path, home: Path) -> Inputs:
        """Every row of the dataset's file, made once in `home`."""
        ...


#: What single labels, several labels and numbers are judged by; the first is what the best
#: checkpoint is chosen by.
CLASSIFICATION_METRICS: dict[str, tuple[str, ...]] = {
    "single_label": ("accuracy", "macro_f1", "log_loss", "ece"),
    "multi_label": ("macro_f1", "micro_f1", "accuracy", "log_loss"),
    "regression": ("rmse", "mae", "r2", "spearman"),
}


class Example(NamedTuple):
    """What a network is counted for before it has met data."""

    shape: Shape
    assumes: str  # the same in words, behind "10 labels and"
    tokenizer: dict[str, Any] | None = None


class Task(Method):
    column: ClassVar[str]  # of the dataset's file, from which inputs are made
    unit: ClassVar[Unit] = "row"  # what a label belongs to
    trains_tokenizer: ClassVar[bool] = False
    needs_labels = True
    metrics: ClassVar[dict[str, tuple[str, ...]]] = CLASSIFICATION_METRICS  # by problem

    @staticmethod
    def fit(
        dataset: Dataset, architecture: type[Architecture], options: dict[str, Any]
    ) -> Preprocessing:
        """How this dataset's inputs become this architecture's, from training rows only."""
        raise NotImplementedError

    @staticmethod
    def load(folder: Path, said: dict[str, Any]) -> Preprocessing:
        """The preprocessing that a model's folder holds; `said` is its `preprocessing`."""
        raise NotImplementedError

    @staticmethod
    def shape(preprocessing: Any, classes: int) -> Shape:
        raise NotImplementedError

    @classmethod
    def example(
        cls, architecture: type[Architecture], options: dict[str, Any], classes: int
    ) -> Example:
        """Inputs such as this architecture would be given; words, unless a task says otherwise."""
        wish = architecture.wished_words(options)
        shape = Shape(classes=classes, vocabulary=wish.vocabulary, max_length=wish.max_length)
        tokenizer = {"kind": wish.kind, "vocabulary": wish.vocabulary, "trained": False}
        return Example(shape, f"a vocabulary of {wish.vocabulary:,}", tokenizer)

    @classmethod
    def described(cls) -> dict[str, Any]:
        return {
            **super().described(),
            "column": cls.column,
            "unit": cls.unit,
            "metrics": {problem: list(names) for problem, names in cls.metrics.items()},
        }


TASKS: Registry[type[Task]] = Registry("task", "training.engine.tasks")
