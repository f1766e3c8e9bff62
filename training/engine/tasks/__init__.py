"""What a student learns to do, one file a task. Keys are Hugging Face's pipeline tags."""

from pathlib import Path
from typing import Any, ClassVar

from training.engine.data import Dataset
from training.engine.pixels import ImagePreprocessing
from training.engine.registry import Method, Registry
from training.engine.students import Architecture, Shape
from training.engine.tokenization import TextPreprocessing

Preprocessing = TextPreprocessing | ImagePreprocessing


class Task(Method):
    column: ClassVar[str]  # of the dataset's file, from which inputs are made
    trains_tokenizer: ClassVar[bool] = False

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


TASKS: Registry[type[Task]] = Registry("task", "training.engine.tasks")
