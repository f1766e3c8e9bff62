from pathlib import Path
from typing import Any

from training.engine import sounds
from training.engine.data import Dataset
from training.engine.sounds import SoundPreprocessing
from training.engine.students import Architecture, Shape
from training.engine.tasks import TASKS, Example, Task

EXAMPLE_RATE = 16_000  # samples a second
EXAMPLE_SECONDS = 1.0


@TASKS.register
class AudioClassification(Task):
    key = "audio-classification"
    label = "Audio classification"
    summary = "One of several labels for each sound."
    tasks = ("audio-classification",)
    column = "audio"

    @staticmethod
    def fit(
        dataset: Dataset, architecture: type[Architecture], options: dict[str, Any]
    ) -> SoundPreprocessing:
        return sounds.measure(
            dataset.path, dataset.splits["train"], architecture.wished_sounds(options)
        )

    @staticmethod
    def load(folder: Path, said: dict[str, Any]) -> SoundPreprocessing:
        return sounds.load(said)

    @staticmethod
    def shape(preprocessing: SoundPreprocessing, classes: int) -> Shape:
        return Shape(
            classes=classes,
            samples=preprocessing.samples,
            mels=preprocessing.mels,
            frames=preprocessing.frames,
        )

    @classmethod
    def example(
        cls, architecture: type[Architecture], options: dict[str, Any], classes: int
    ) -> Example:
        wish = architecture.wished_sounds(options)
        rate, seconds = wish.rate or EXAMPLE_RATE, wish.seconds or EXAMPLE_SECONDS
        shape = cls.shape(sounds.fitted(wish, rate, seconds), classes)
        return Example(shape, f"sounds of {seconds:g} s at {rate:,} samples a second")
