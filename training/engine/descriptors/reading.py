"""Pictures and sounds as what descriptors look at: decoded once for all of them, and no larger than
needs be. What cannot be read is None, whatever is wrong with it."""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]

#: As datasets take them (projects/ingest/image_folder.py); some others run programs, as EPS does.
KINDS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")
MOST_PIXELS = 50_000_000  # of a picture that is opened
SIDE = 512  # pixels: of what is larger, a smaller copy is looked at
MOST_RATE, MOST_CHANNELS = 192_000, 8  # of a sound: a minute of them fits memory
LONGEST = 60.0  # seconds of a sound that are listened to


@dataclass(frozen=True, slots=True)
class Picture:
    """`colours` `[3, height, width]` of bytes and `grey` `[height, width]` from 0 to 1, at most
    SIDE a side; `width` and `height` are the file's own."""

    width: int
    height: int
    colours: NDArray[np.uint8]
    grey: Floats


@dataclass(frozen=True, slots=True)
class Wave:
    """`samples` `[time]` from -1 to 1, of all channels together, of the first LONGEST seconds;
    `seconds` is the whole length."""

    samples: Floats
    rate: int
    seconds: float


def picture(content: Any) -> Picture | None:
    """Of an encoded picture of one of KINDS."""
    if not isinstance(content, bytes):
        return None
    try:
        with Image.open(io.BytesIO(content), formats=KINDS) as opened:
            width, height = opened.size
            if width * height > MOST_PIXELS:
                return None
            opened.draft("RGB", (SIDE, SIDE))  # a large JPEG is decoded smaller
            image = opened.convert("RGB")
        if max(image.size) > SIDE:
            image.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    except Exception:  # a decoder meets anything in what people send
        return None
    colours = np.stack([np.asarray(one) for one in image.split()])
    grey = np.asarray(image.convert("L"), dtype=np.float32) / np.float32(255)
    return Picture(width, height, colours, grey)


def wave(content: Any) -> Wave | None:
    """Of an encoded WAV, FLAC, MP3 or Ogg file."""
    if not isinstance(content, bytes):
        return None
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            rate, frames = int(file.samplerate), int(file.frames)
            if rate > MOST_RATE or file.channels > MOST_CHANNELS:
                return None
            heard = file.read(int(LONGEST * rate), dtype="float32", always_2d=True)
    except Exception:  # as above
        return None
    samples = heard.mean(axis=1)
    if not len(samples) or not np.isfinite(samples).all():
        return None
    return Wave(samples, rate, frames / rate)
