from pathlib import Path
from typing import Any

from training.engine import pixels
from training.engine.data import Dataset
from training.engine.pixels import ImagePreprocessing
from training.engine.students import Architecture, Shape
from training.engine.tasks import TASKS, Task


@TASKS.register
class ImageClassification(Task):
    key = "image-classification"
    label = "Image classification"
    summary = "One of several labels for each image."
    tasks = ("image-classification",)
    column = "image"

    @staticmethod
    def fit(
        dataset: Dataset, architecture: type[Architecture], options: dict[str, Any]
    ) -> ImagePreprocessing:
        return pixels.measure(
            dataset.path, dataset.splits["train"], architecture.wished_pixels(options)
        )

    @staticmethod
    def load(folder: Path, said: dict[str, Any]) -> ImagePreprocessing:
        return ImagePreprocessing(
            height=int(said["height"]),
            width=int(said["width"]),
            channels=int(said["channels"]),
            mean=tuple(said["mean"]),
            std=tuple(said["std"]),
        )

    @staticmethod
    def shape(preprocessing: ImagePreprocessing, classes: int) -> Shape:
        return Shape(
            classes=classes,
            channels=preprocessing.channels,
            height=preprocessing.height,
            width=preprocessing.width,
        )
