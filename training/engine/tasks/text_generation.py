from pathlib import Path
from typing import Any, ClassVar

from training.engine import language
from training.engine.data import Dataset, Unit
from training.engine.language import LanguagePreprocessing
from training.engine.students import Architecture, Shape
from training.engine.tasks import TASKS, Example, Task


@TASKS.register
class TextGeneration(Task):
    """A unit is a token, and its label the token that comes next. The vocabulary stands where
    classes stand elsewhere: the dataset needs no labels."""

    key = "text-generation"
    label = "Text generation"
    summary = "The next token: of plain texts, of completions after their prompts, of chats."
    tasks = ("text-generation",)
    needs_labels = False
    column = "text"
    unit: ClassVar[Unit] = "token"
    trains_tokenizer = True
    metrics: ClassVar[dict[str, tuple[str, ...]]] = {
        "single_label": ("perplexity", "bits_per_character", "token_accuracy", "exact_match")
    }

    @staticmethod
    def fit(
        dataset: Dataset, architecture: type[Architecture], options: dict[str, Any]
    ) -> LanguagePreprocessing:
        return language.train(dataset, architecture.wished_language(options))

    @staticmethod
    def load(folder: Path, said: dict[str, Any]) -> LanguagePreprocessing:
        return language.load(folder, said)

    @staticmethod
    def shape(preprocessing: LanguagePreprocessing, classes: int) -> Shape:
        return Shape(
            classes=preprocessing.vocabulary,
            vocabulary=preprocessing.vocabulary,
            max_length=preprocessing.max_length,
        )

    @classmethod
    def example(
        cls, architecture: type[Architecture], options: dict[str, Any], classes: int
    ) -> Example:
        wish = architecture.wished_language(options)
        shape = Shape(
            classes=wish.vocabulary, vocabulary=wish.vocabulary, max_length=wish.max_length
        )
        tokenizer = {"kind": wish.kind, "vocabulary": wish.vocabulary, "trained": False}
        return Example(shape, f"a vocabulary of {wish.vocabulary:,}", tokenizer)
