"""Inputs that stand in no dataset, as the batches a network is fed: what somebody typed, dropped or
recorded.

They become the very arrays that rows of a dataset become (data.py, words.py, pixels.py, sounds.py,
tables.py), but in memory. What of one input cannot be read is told by Unreadable, before it meets
the inputs of others.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import soundfile
import torch
from PIL import Image

from training.engine import cells, data
from training.engine.data import NO_UNIT, Inputs
from training.engine.errors import DataError
from training.engine.pixels import KINDS, ImagePreprocessing
from training.engine.sounds import SoundPreprocessing, SpectrogramInputs, WaveInputs, sixteen_bits
from training.engine.tables import TableInputs, TablePreprocessing
from training.engine.tasks import Preprocessing
from training.engine.tokenization import TextPreprocessing
from training.engine.words import WordInputs, WordPreprocessing

MOST_TEXT = 200_000  # characters
MOST_PIXELS = 50_000_000
MOST_RATE = 192_000  # samples a second of a sound
MOST_CHANNELS = 8

Read = Any  # what one input has become: ids, pixels, a wave, a row of a table


class Unreadable(Exception):
    """One input cannot be read, for a reason that a person can act on."""


def read(preprocessing: Preprocessing, said: Mapping[str, Any]) -> Read:
    """One input: {"text"}, {"bytes"} of a picture or a sound, or {"columns"} of a table. Raises
    Unreadable."""
    if isinstance(preprocessing, WordPreprocessing):
        return _words(preprocessing, _text(said))
    if isinstance(preprocessing, TextPreprocessing):
        return preprocessing.encode([_text(said)])[0]
    if isinstance(preprocessing, ImagePreprocessing):
        return _pixels(preprocessing, _bytes(said, "picture"))
    if isinstance(preprocessing, SoundPreprocessing):
        return _sound(preprocessing, _bytes(said, "sound"))
    if isinstance(preprocessing, TablePreprocessing):
        return _row(preprocessing, said.get("columns"))
    raise Unreadable("This model reads nothing that could be sent to it.")


def joined(preprocessing: Preprocessing, several: Sequence[Read]) -> Inputs:
    """What was read, side by side, as rows 0 .. n-1."""
    if isinstance(preprocessing, WordPreprocessing):
        return _Words(several, preprocessing.pad)
    if isinstance(preprocessing, TextPreprocessing):
        return _Texts(several, preprocessing.pad)
    if isinstance(preprocessing, ImagePreprocessing):
        return _Images(several, preprocessing)
    if isinstance(preprocessing, SoundPreprocessing):
        if preprocessing.features == "waveform":
            return _Waves(several, preprocessing)
        return _Spectrograms(several, preprocessing)
    assert isinstance(preprocessing, TablePreprocessing)
    return _Table(several)


# -- one by one -----------------------------------------------------------------------------------


def _text(said: Mapping[str, Any]) -> str:
    text = said.get("text")
    if not isinstance(text, str):
        raise Unreadable("This model reads texts: send a text.")
    if len(text) > MOST_TEXT:
        raise Unreadable(f"It has {len(text):,} characters; at most {MOST_TEXT:,} are read.")
    return text


def _bytes(said: Mapping[str, Any], what: str) -> bytes:
    content = said.get("bytes")
    if not isinstance(content, bytes):
        raise Unreadable(f"This model takes a {what}: send a file.")
    return content


@dataclass(frozen=True, slots=True)
class Worded:
    """Words of a text as tokens; `targets` says which token speaks for a word."""

    ids: list[int]
    targets: list[int]
    words: tuple[str, ...]
    places: tuple[tuple[int, int], ...]  # where each stands in the text


def _words(preprocessing: WordPreprocessing, text: str) -> Worded:
    words, places, start = [], [], 0
    for word in text.split():
        start = text.index(word, start)
        words.append(word)
        places.append((start, start + len(word)))
        start += len(word)
    if not words:
        raise Unreadable("It has no word.")
    try:
        ids, targets = preprocessing.of_row(0, text, None, {})
    except DataError:
        raise Unreadable(
            f"It has more than {preprocessing.max_length} tokens, so that its last words would have"
            " no answer. Send it in parts."
        ) from None
    return Worded(ids, targets, tuple(words), tuple(places))


def _pixels(preprocessing: ImagePreprocessing, content: bytes) -> Read:
    try:
        with Image.open(io.BytesIO(content), formats=KINDS) as image:
            width, height = image.size
    except Exception:  # a decoder meets anything in what people send
        raise Unreadable("This is no picture that can be read; send a PNG or a JPEG.") from None
    if width * height > MOST_PIXELS:
        raise Unreadable(f"It is {width} by {height} pixels; send a smaller picture.")
    try:
        return preprocessing.decode(content, 0)
    except DataError:
        raise Unreadable("The picture is damaged: it cannot be read to its end.") from None


def _sound(preprocessing: SoundPreprocessing, content: bytes) -> Read:
    try:
        about = soundfile.info(io.BytesIO(content))
    except (soundfile.SoundFileError, ValueError):
        about = None  # `decode` says it
    if about and (about.samplerate > MOST_RATE or about.channels > MOST_CHANNELS):
        raise Unreadable(
            f"It has {about.samplerate:,} samples a second in {about.channels} channels; at most "
            f"{MOST_RATE:,} in {MOST_CHANNELS} are read."
        )
    try:
        wave = preprocessing.decode(content, 0)
    except DataError as error:
        if "heard" in str(error):
            raise Unreadable("The sound holds nothing that can be heard.") from None
        raise Unreadable("This is no sound that can be read; send WAV, FLAC, MP3 or Ogg.") from None
    if preprocessing.features == "waveform":
        return sixteen_bits(wave)
    return preprocessing.spectrogram(wave).astype(np.float16)


def _row(preprocessing: TablePreprocessing, said: Any) -> Read:
    if not isinstance(said, Mapping):
        raise Unreadable("This model reads a row of a table: send an object of its columns.")
    known = {*preprocessing.numeric, *preprocessing.categorical}
    if unknown := sorted(str(name) for name in said if name not in known):
        raise Unreadable(f"There is no column {unknown[0]}; there are {', '.join(sorted(known))}.")
    numbers = {name: _number(name, said.get(name)) for name in preprocessing.numeric}
    words = {name: cells.category(said.get(name)) for name in preprocessing.categorical}
    fields = [
        *(pa.field(name, pa.float64()) for name in numbers),
        *(pa.field(name, pa.string()) for name in words),
    ]
    values = [pa.array([value], field.type) for value, field in zip(
        [*numbers.values(), *words.values()], fields, strict=True
    )]  # fmt: skip
    return preprocessing.read(pa.RecordBatch.from_arrays(values, schema=pa.schema(fields)))


def _number(name: str, value: Any) -> float | None:
    if value is None or value == "":
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise Unreadable(f"{name} is a number; it is {str(value)[:40]!r}.") from None


# -- side by side ---------------------------------------------------------------------------------


class _Texts(data.TextInputs):
    def __init__(self, several: Sequence[list[int]], pad: int) -> None:
        self.lengths = np.array([len(one) for one in several], dtype=np.int64)
        self.offsets = np.concatenate([[0], np.cumsum(self.lengths)]).astype(np.int64)
        # a place of its own where all are empty: `take` wants one
        every = [token for one in several for token in one] or [pad]
        self.ids = np.array(every, dtype=np.int32)
        self.pad = pad


class _Words(WordInputs):
    def __init__(self, several: Sequence[Worded], pad: int) -> None:
        _Texts.__init__(self, [one.ids for one in several], pad)  # type: ignore[arg-type]
        self.targets = np.array([target for one in several for target in one.targets], np.int32)
        said = [sum(target != NO_UNIT for target in one.targets) for one in several]
        self.units = np.array(said, dtype=np.int64)


class _Images(data.ImageInputs):
    def __init__(self, several: Sequence[Any], preprocessing: ImagePreprocessing) -> None:
        self.pixels = np.stack(several)
        mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)
        self.scale = (1.0 / (255.0 * std)).view(1, -1, 1, 1)
        self.shift = (-mean / std).view(1, -1, 1, 1)


class _Waves(WaveInputs):
    """Where a batch does not end with its longest sound, it is as long as sounds may be: rows of
    the dataset that a network learned from were as long as the longest of them, which is that."""

    def __init__(self, several: Sequence[Any], preprocessing: SoundPreprocessing) -> None:
        self.waves = np.concatenate(several)
        self.each = np.array([len(one) for one in several], dtype=np.int64)
        self.offsets = np.concatenate([[0], np.cumsum(self.each)]).astype(np.int64)
        self.scaled, self.masked = preprocessing.scaled, preprocessing.masked
        self.trimmed = preprocessing.trimmed
        self.longest = max(preprocessing.samples, preprocessing.minimum)


class _Spectrograms(SpectrogramInputs):
    def __init__(self, several: Sequence[Any], preprocessing: SoundPreprocessing) -> None:
        self.kept = np.stack(several)
        self.features = preprocessing.features
        mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)
        self.scale, self.shift = 1.0 / std, -mean / std


class _Table(TableInputs):
    def __init__(self, several: Sequence[tuple[Any, Any]]) -> None:
        self.numbers = np.concatenate([numbers for numbers, _ in several])
        self.categories = np.concatenate([categories for _, categories in several])
