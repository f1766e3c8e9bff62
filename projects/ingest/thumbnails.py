"""What a picture looks like from afar: grey, 16 by 16. Pictures are compared by it."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

from PIL import Image

from distillhub.lib.later import np

PIXELS = 16


@lru_cache(maxsize=1)  # several checks ask one after the other
def small(encoded: bytes) -> np.ndarray[Any, Any]:
    """`[PIXELS, PIXELS]` uint8: a stored picture in grey; what is transparent is black."""
    with Image.open(io.BytesIO(encoded), formats=("PNG", "JPEG")) as image:
        image.draft("L", (4 * PIXELS, 4 * PIXELS))  # a JPEG is then decoded to no more
        grey: Image.Image = image
        if image.mode in {"P", "LA", "RGBA"}:
            clear = image.convert("RGBA")
            grey = Image.new("RGBA", clear.size, (0, 0, 0, 255))
            grey.alpha_composite(clear)
        grey = grey.convert("L").resize((PIXELS, PIXELS), Image.Resampling.BOX)
    return np.asarray(grey, dtype=np.uint8)


def dhash(grey: np.ndarray[Any, Any]) -> int:
    """64 bits: whether each of 8 by 8 places is lighter than the one to its right."""
    rows = grey.reshape(8, 2, PIXELS).mean(axis=1)
    # Nine columns of sixteen: each is the mean of what it covers.
    edges = np.linspace(0, PIXELS, 10).round().astype(int)
    columns = np.add.reduceat(rows, edges[:-1], axis=1) / np.diff(edges)
    bits = columns[:, :-1] > columns[:, 1:]
    return int.from_bytes(np.packbits(bits).tobytes(), "big")
