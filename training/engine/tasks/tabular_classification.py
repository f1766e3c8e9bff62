from pathlib import Path
from typing import Any

from training.engine import tables
from training.engine.data import Dataset
from training.engine.students import Architecture, Shape
from training.engine.tables import TablePreprocessing
from training.engine.tasks import TASKS, Example, Task

EXAMPLE_NUMBERS = 10
EXAMPLE_CATEGORIES = (12, 12, 12, 12, 12)  # ids of columns of ten words


@TASKS.register
class TabularClassification(Task):
    key = "tabular-classification"
    label = "Tabular classification"
    summary = "A label, or a number, for each row of a table of numbers and words."
    tasks = ("tabular-classification",)
    column = ""

    @staticmethod
    def fit(
        dataset: Dataset, architecture: type[Architecture], options: dict[str, Any]
    ) -> TablePreprocessing:
        wish = architecture.wished_tables(options)
        return tables.measure(dataset.path, dataset.splits["train"], dataset.columns, wish)

    @staticmethod
    def load(folder: Path, said: dict[str, Any]) -> TablePreprocessing:
        return tables.load(said)

    @staticmethod
    def shape(preprocessing: TablePreprocessing, classes: int) -> Shape:
        return Shape(
            classes=classes, numbers=preprocessing.numbers, categories=preprocessing.categories
        )

    @classmethod
    def example(
        cls, architecture: type[Architecture], options: dict[str, Any], classes: int
    ) -> Example:
        shape = Shape(classes=classes, numbers=EXAMPLE_NUMBERS, categories=EXAMPLE_CATEGORIES)
        columns = len(EXAMPLE_CATEGORIES)
        return Example(shape, f"{EXAMPLE_NUMBERS} columns of numbers and {columns} of ten words")
