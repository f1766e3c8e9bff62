from pathlib import Path
from typing import Any, ClassVar

from training.engine import tokenization
from training.engine.data import Dataset
from training.engine.students import Architecture, Shape
from training.engine.tasks import TASKS, Task
from training.engine.tokenization import TextPreprocessing


@TASKS.register
class FeatureExtraction(Task):
    """A vector for each text, as search and clustering want them. There is no label: a student
    learns from a teacher's vectors, and is judged by whether it finds the same neighbours."""

    key = "feature-extraction"
    label = "Text embeddings"
    summary = "A vector for each text, near to those of texts that mean the same."
    tasks = ("feature-extraction",)
    needs_labels = False
    column = "text"
    trains_tokenizer = True
    metrics: ClassVar[dict[str, tuple[str, ...]]] = {"embedding": ("neighbours", "cosine")}

    @staticmethod
    def fit(
        dataset: Dataset, architecture: type[Architecture], options: dict[str, Any]
    ) -> TextPreprocessing:
        return tokenization.train(
            dataset.path, dataset.splits["train"], architecture.wished_words(options)
        )

    @staticmethod
    def load(folder: Path, said: dict[str, Any]) -> TextPreprocessing:
        return tokenization.load(folder, int(said["max_length"]), int(said["pad"]))

    @staticmethod
    def shape(preprocessing: TextPreprocessing, classes: int) -> Shape:
        return Shape(
            classes=classes,
            vocabulary=preprocessing.vocabulary,
            max_length=preprocessing.max_length,
        )
