from pathlib import Path
from typing import Any

from training.engine import sounds
from training.engine.data import Dataset
from training.engine.sounds import SoundPreprocessing
from training.engine.students import Architecture, Shape
from training.engine.tasks import TASKS, Task


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
