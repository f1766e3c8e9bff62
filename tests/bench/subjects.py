"""What results.py asks of: data, its teachers and its student, and which rows of it have labels."""

from dataclasses import dataclass, field
from typing import Any

JSON = dict[str, Any]

#: Temperatures and weights of the soft targets that are tried.
SAME_ROWS = ((2.0, 4.0, 8.0, 16.0), (0.5, 0.9))
ALL_ROWS = ((1.0, 2.0, 4.0), (0.9, 1.0))


@dataclass(frozen=True, slots=True)
class Model:
    architecture: str
    options: JSON
    training: JSON = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Subject:
    """A dataset with its teachers, its student, and what is searched."""

    task: str
    validation: float  # share of the training rows
    teachers: tuple[Model, ...]
    student: Model
    rates: tuple[float, ...]
    temperatures: tuple[float, ...] = ()  # empty: those of SAME_ROWS or ALL_ROWS
    weights: tuple[float, ...] = ()  # of the soft targets, the rest is for labels; empty: as above
    data: str = ""  # where that is not its own name
    metric: str = "accuracy"
    falls: bool = False  # lower is better
    tuning_seeds: tuple[int, ...] = (1001, 1002)


WORDS: JSON = {"dim": 96, "vocabulary": 4000, "bigrams": 12_000, "dropout": 0.5}
PIECES: JSON = {**WORDS, "vocabulary": 2000, "bigrams": 10_000, "tokenizer": "wordpiece"}
LONG: JSON = {"epochs": 30, "learning_rate": 1e-3}
BAGS = (Model("bag_of_embeddings", WORDS, LONG), Model("bag_of_embeddings", PIECES, LONG))
SMALL_BAG: JSON = {"dim": 16, "vocabulary": 1443, "dropout": 0.1}
CHARACTERS: JSON = {"tokenizer": "character", "vocabulary": 128, "max_length": 128}
PLAIN: JSON = {"batch_size": 64, "schedule": "cosine", "checkpoint_every_steps": 100_000}
SUBJECTS = {
    "banking77": Subject(
        task="text-classification",
        validation=0.1,
        teachers=BAGS,
        student=Model("bag_of_embeddings", SMALL_BAG),
        rates=(5e-4, 1e-3, 2e-3, 4e-3),
    ),
    # two cases that a truthful verdict must get right, at the product's own temperature and weight
    "banking77-bad-teacher": Subject(
        task="text-classification",
        validation=0.1,
        teachers=(Model("bag_of_embeddings", WORDS, {"epochs": 1, "learning_rate": 6e-5}),),
        student=Model("bag_of_embeddings", SMALL_BAG),
        rates=(5e-4, 1e-3, 2e-3, 4e-3),
        temperatures=(4.0,),
        weights=(0.9,),
        data="banking77",
    ),
    "banking77-larger-student": Subject(
        task="text-classification",
        validation=0.1,
        teachers=BAGS + BAGS,
        student=Model("bag_of_embeddings", {**SMALL_BAG, "dim": 64}),
        rates=(5e-4, 1e-3, 2e-3, 4e-3),
        temperatures=(4.0,),
        weights=(0.9,),
        data="banking77",
    ),
    "fashion_mnist": Subject(
        task="image-classification",
        validation=2000 / 15_000,
        teachers=(
            Model(
                "small_convnet",
                {"channels": [32, 64], "hidden": 128, "dropout": 0.5},
                {"epochs": 10, "learning_rate": 1e-3, "augmentation": "light"},
            ),
        ),
        student=Model("small_convnet", {"channels": [8, 16, 19], "hidden": 0, "dropout": 0.0}),
        rates=(5e-3, 1e-2, 2e-2),
        tuning_seeds=(1001,),
    ),
    "fsdd": Subject(
        task="audio-classification",
        validation=0.1,
        teachers=(
            Model(
                "spectrogram_convnet",
                {"channels": [24, 48, 60]},
                {"epochs": 60, "learning_rate": 3e-3, "augmentation": "strong"},
            ),
        ),
        student=Model("spectrogram_convnet", {"channels": [8, 16, 16], "dropout": 0.0}),
        rates=(3e-3, 1e-2),
        tuning_seeds=(1001,),
    ),
    "tinyshakespeare": Subject(
        task="text-generation",
        validation=0.06,
        teachers=(
            Model(
                "gru_language_model",
                {**CHARACTERS, "dim": 64, "hidden": 256},
                {"epochs": 6, "batch_size": 16, "learning_rate": 4e-3, "weight_decay": 0.0},
            ),
        ),
        student=Model(
            "gru_language_model", {**CHARACTERS, "dim": 24, "hidden": 64}, {"batch_size": 16}
        ),
        rates=(5e-3, 1e-2, 2e-2),
        temperatures=(1.0, 2.0),
        weights=(0.9, 1.0),
        tuning_seeds=(1001,),
        metric="bits_per_character",
        falls=True,
    ),
}


@dataclass(frozen=True, slots=True)
class Setting:
    """Which rows have labels, and which the student sees."""

    subject: str
    per_class: int | None = None
    speaker: str | None = None
    characters: int | None = None  # of running text
    unlabelled: bool = False  # the student sees rows without labels, too
    other_rows: bool = False  # than the teacher's
    steps: int = 800

    @property
    def name(self) -> str:
        labelled = "all"
        if self.per_class is not None:
            labelled = f"{self.per_class}-per-class"
        if self.speaker is not None:
            labelled = self.speaker
        if self.characters is not None:
            labelled = f"{self.characters}-characters"
        parts = [self.subject, labelled]
        parts += ["unlabelled"] * self.unlabelled + ["other-rows"] * self.other_rows
        return "-".join(parts)

    @property
    def command(self) -> str:
        said = f"python -m tests.bench.results {self.subject}"
        if self.per_class is not None:
            said += f" --per-class {self.per_class}"
        if self.speaker is not None:
            said += f" --speaker {self.speaker}"
        if self.characters is not None:
            said += f" --characters {self.characters}"
        said += " --unlabelled" * self.unlabelled + " --other-rows" * self.other_rows
        return f"{said} --steps {self.steps}"
