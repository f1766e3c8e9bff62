"""Architectures: one file a network, small ones of our own and everything transformers builds.

A module's forward takes the batch's inputs by name and returns logits `[batch, classes]`.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from torch import nn

from training.engine import language, pixels, sounds, tables, tokenization
from training.engine.registry import Method, Registry

JSON = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What the data asks of a network: its classes and the size of its inputs."""

    classes: int
    vocabulary: int = 0  # text: ids run from 0 to vocabulary - 1
    max_length: int = 0  # text: tokens of the longest input
    by_token: bool = False  # text: an answer for every token
    channels: int = 0  # images
    height: int = 0
    width: int = 0
    samples: int = 0  # sounds: of the longest waveform
    mels: int = 0  # sounds: bands of a spectrogram
    frames: int = 0  # sounds: of the longest spectrogram
    numbers: int = 0  # tables: numbers of a row, indicators of missing ones included
    categories: tuple[int, ...] = ()  # tables: ids that each column of words may have


class Size(NamedTuple):
    """A size to begin from. `parameters` are counted as `inspect` does, for ten labels."""

    key: str
    label: str
    parameters: int
    config: JSON


class Architecture(Method):
    kind: ClassVar[str] = "small"
    open: ClassVar[bool] = False  # takes keys beyond its described options
    default_for: ClassVar[tuple[str, ...]] = ()
    recommended: ClassVar[JSON] = {}  # training options that suit it, drawn at random
    recommended_trained: ClassVar[JSON] = {}  # and when it starts from trained weights
    sizes: ClassVar[tuple[Size, ...]] = ()  # the smallest first
    #: What it can be asked beside its logits (names of answers.Wanted).
    shows: ClassVar[tuple[str, ...]] = ("hidden", "embedding")
    #: How many layers it shows: a number, or the list among its options that has one for each;
    #: None where only a network that was built can tell.
    layers: ClassVar[int | str | None] = None
    channels_last: ClassVar[bool] = False  # convolutions run faster on that memory format

    @classmethod
    def build(cls, options: JSON, shape: Shape) -> nn.Module:
        """A module with weights drawn from torch's generator. `options` is checked and whole."""
        raise NotImplementedError

    @classmethod
    def width(cls, options: JSON) -> int:
        """Of the vectors it makes, where the task wants vectors."""
        return int(options["dim"])

    @classmethod
    def wished_words(cls, options: JSON) -> tokenization.Wish:
        """The tokenizer it asks for; small text networks share these options."""
        return tokenization.Wish(
            kind=options["tokenizer"],
            vocabulary=options["vocabulary"],
            lowercase=options["lowercase"],
            max_length=options["max_length"],
        )

    @classmethod
    def wished_pixels(cls, options: JSON) -> pixels.Wish:
        """The images it asks for."""
        return pixels.Wish(size=options["image_size"])

    @classmethod
    def wished_sounds(cls, options: JSON) -> sounds.Wish:
        """The waveforms or spectrograms it asks for."""
        return sounds.Wish(rate=options["sampling_rate"], seconds=options["seconds"])

    @classmethod
    def wished_tables(cls, options: JSON) -> tables.Wish:
        """How it wants its columns."""
        return tables.Wish(most=options["most_categories"])

    @classmethod
    def wished_language(cls, options: JSON) -> language.Wish:
        """The tokenizer and windows it asks for; networks that write share these options."""
        return language.Wish(
            kind=options["tokenizer"],
            vocabulary=options["vocabulary"],
            max_length=options["max_length"],
            stride=options["stride"] or 0,
            end=options["end_token"],
        )

    @classmethod
    def described(cls) -> JSON:
        return {
            **super().described(),
            "kind": cls.kind,
            "open": cls.open,
            "default_for": list(cls.default_for),
            "recommended": cls.recommended,
            "recommended_trained": cls.recommended_trained,
            "shows": list(cls.shows),
            "layers": cls.layers,
            "sizes": [size._asdict() for size in cls.sizes],
        }


ARCHITECTURES: Registry[type[Architecture]] = Registry("architecture", "training.engine.students")
