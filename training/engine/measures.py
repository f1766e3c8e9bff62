"""How long or large each row of a split is, by which its answers are told apart: further columns of
the file of predictions."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image

from training.engine import data
from training.engine.data import Dataset, Indices

Values = NDArray[np.float64]


def of(dataset: Dataset, split: str, column: str, starts: Indices) -> dict[str, Values]:
    """`{unit: [rows]}`: the characters of texts, or their words where these have labels of their
    own; the pixels of pictures; the seconds of sounds. NaN where a row cannot be measured; nothing
    of tables. `column` is what the task reads; a row's units begin at `starts`."""
    rows = dataset.splits[split]
    if column == "text" and starts[-1] != len(rows):
        return {"words": np.diff(starts).astype(np.float64)}
    measured = MEASURED.get(column)
    if measured is None:
        return {}
    unit, measure = measured
    if dataset.source is not None:
        rows = dataset.source[rows]
    found = [_tried(measure, one) for one in data.values(dataset.path, column, rows)]
    return {unit: np.array(found, dtype=np.float64)}


def _tried(measure: Callable[[Any], float], value: Any) -> float:
    try:
        return measure(value) if value is not None else np.nan
    except (OSError, ValueError, RuntimeError):  # of a file that is no picture, or no sound
        return np.nan


def _pixels(encoded: bytes) -> float:
    """Read from its head; nothing is decoded."""
    with Image.open(io.BytesIO(encoded)) as picture:
        return float(picture.width * picture.height)


def _seconds(encoded: bytes) -> float:
    told = soundfile.info(io.BytesIO(encoded))
    return float(told.frames / told.samplerate)


MEASURED: dict[str, tuple[str, Callable[[Any], float]]] = {
    "text": ("characters", lambda text: float(len(text))),
    "image": ("pixels", _pixels),
    "audio": ("seconds", _seconds),
}
