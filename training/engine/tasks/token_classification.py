from pathlib import Path
from typing import Any, ClassVar

from training.engine import spans, words
from training.engine.data import Dataset, Unit
from training.engine.students import Architecture, Shape
from training.engine.tasks import CLASSIFICATION_METRICS, TASKS, Task
from training.engine.words import WordPreprocessing


@TASKS.register
class TokenClassification(Task):
    """A unit is a word: names, parts of speech, anything that has a label word by word."""

    key = "token-classification"
    label = "Token classification"
    summary = "One of several labels for each word of a text, such as names and parts of speech."
    tasks = ("token-classification",)
    column = "text"
    unit: ClassVar[Unit] = "word"
    trains_tokenizer = True
    metrics: ClassVar[dict[str, tuple[str, ...]]] = {
        "single_label": ("accuracy", *spans.METRICS, *CLASSIFICATION_METRICS["single_label"][1:])
    }

    @staticmethod
    def fit(
        dataset: Dataset, architecture: type[Architecture], options: dict[str, Any]
    ) -> WordPreprocessing:
        return words.train(dataset, architecture.wished_words(options))

    @staticmethod
    def load(folder: Path, said: dict[str, Any]) -> WordPreprocessing:
        return words.load(folder, int(said["max_length"]), int(said["pad"]), tuple(said["names"]))

    @staticmethod
    def shape(preprocessing: WordPreprocessing, classes: int) -> Shape:
        return Shape(
            classes=classes,
            vocabulary=preprocessing.vocabulary,
            max_length=preprocessing.max_length,
            by_token=True,
        )
