from pathlib import Path
from typing import Any

from training.engine import tokenization
from training.engine.data import Dataset
from training.engine.students import Architecture, Shape
from training.engine.tasks import TASKS, Task
from training.engine.tokenization import TextPreprocessing


@TASKS.register
class TextClassification(Task):
    key = "text-classification"
    label = "Text classification"
    summary = "One of several labels for each text."
    tasks = ("text-classification",)
    column = "text"
    trains_tokenizer = True

    @staticmethod
    def fit(
        dataset: Dataset, architecture: type[Architecture], options: dict[str, Any]
    ) -> TextPreprocessing:
        wish = architecture.wished_words(options)
        return tokenization.train(dataset.path, dataset.splits["train"], wish)

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
