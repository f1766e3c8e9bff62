"""Images to pixels: decoded once, brought to one size and one number of channels."""

import hashlib
import io
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from training.engine import data
from training.engine.data import Indices
from training.engine.errors import DataError

KINDS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")  # some others run programs, as EPS does
LARGEST = 224  # pixels a side, unless the student asks for more
MEASURED = 2000  # rows from which mean and deviation are taken


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What an architecture asks for: a square size (0: the data's own) and channels (0: too)."""

    size: int = 0
    channels: int = 0
    multiple: int = 1  # a side must be divisible by this (patches)
    minimum: int = 1  # pixels a side at least
    square: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePreprocessing:
    height: int
    width: int
    channels: int  # 1 grey, 3 colour
    mean: tuple[float, ...]  # of values from 0 to 1, by channel
    std: tuple[float, ...]

    @property
    def digest(self) -> str:
        said = json.dumps([self.height, self.width, self.channels])
        return hashlib.sha256(said.encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        return {
            "height": self.height,
            "width": self.width,
            "channels": self.channels,
            "mean": list(self.mean),
            "std": list(self.std),
        }

    def save(self, folder: Path) -> None:
        """Nothing beside `distillhub.json`, which holds it all."""

    def prepare(self, path: Path, home: Path) -> data.ImageInputs:
        """Every row of the dataset as bytes `[rows, channels, height, width]`, once in `home`."""

        def make(folder: Path) -> None:
            rows = pq.ParquetFile(path).metadata.num_rows
            shape = (rows, self.channels, self.height, self.width)
            pixels = np.lib.format.open_memmap(
                folder / "pixels.npy", mode="w+", dtype=np.uint8, shape=shape
            )
            place = 0
            for piece in data.column(path, "image", rows_at_once=500):
                for content in piece:
                    pixels[place] = self.decode(content, place)
                    place += 1
            pixels.flush()

        folder = data.prepared(home, self.digest[:32], make)
        return data.ImageInputs(folder, self.mean, self.std)

    def decode(self, content: bytes | None, row: int) -> NDArray[np.uint8]:
        """`[channels, height, width]`. Raises DataError naming the row."""
        image = _open(content, row).convert("L" if self.channels == 1 else "RGB")
        if image.size != (self.width, self.height):
            image = image.resize((self.width, self.height), Image.Resampling.BILINEAR)
        pixels = np.asarray(image, dtype=np.uint8)
        return pixels[None] if self.channels == 1 else pixels.transpose(2, 0, 1)


def measure(path: Path, rows: Indices, wish: Wish) -> ImagePreprocessing:
    """Size, channels, mean and deviation of the first training rows, as the student wishes."""
    sample = data.values(path, "image", rows[:MEASURED])
    images = [_open(content, int(row)) for content, row in zip(sample, rows, strict=False)]
    (width, height), _ = Counter(image.size for image in images).most_common(1)[0]
    if wish.size:
        width = height = wish.size
    elif max(width, height) > LARGEST:
        shrink = LARGEST / max(width, height)
        width, height = round(width * shrink), round(height * shrink)
    if wish.square:
        side = max(width, height, wish.minimum)
        width = height = -(-side // wish.multiple) * wish.multiple
    grey = all(image.mode in ("1", "L", "LA", "I;16") for image in images)
    channels = wish.channels or (1 if grey else 3)
    plain = ImagePreprocessing(
        height=height, width=width, channels=channels, mean=(0.0,), std=(1.0,)
    )
    pixels = np.stack([plain.decode(one, int(row)) for one, row in zip(sample, rows, strict=False)])
    scaled = pixels.astype(np.float64) / 255.0
    return ImagePreprocessing(
        height=height,
        width=width,
        channels=channels,
        mean=tuple(round(float(one), 6) for one in scaled.mean(axis=(0, 2, 3))),
        std=tuple(round(max(float(one), 1e-3), 6) for one in scaled.std(axis=(0, 2, 3))),
    )


def _open(content: bytes | None, row: int) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(content or b""), formats=KINDS)
        image.load()
    except Exception as error:  # a decoder meets anything in what people send
        raise DataError(f"The image of row {row} cannot be read: {error}") from error
    return image
