from pathlib import Path
from typing import Any

from training.engine import pixels
from training.engine.data import Dataset
from training.engine.pixels import ImagePreprocessing
from training.engine.students import Architecture, Shape
from training.engine.tasks import TASKS, Example, Task

EXAMPLE_SIDE = 32  # pixels


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

    @classmethod
    def example(
        cls, architecture: type[Architecture], options: dict[str, Any], classes: int
    ) -> Example:
        wish = architecture.wished_pixels(options)
        side = wish.size or max(EXAMPLE_SIDE, wish.minimum)
        side = -(-side // wish.multiple) * wish.multiple
        channels = wish.channels or 1
        shape = Shape(classes=classes, channels=channels, height=side, width=side)
        return Example(shape, f"images of {side} by {side} pixels, {channels} channel(s)")
