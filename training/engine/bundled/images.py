"""Pictures to pixels."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


class Inputs:
    def __init__(self, folder: Path, settings: dict[str, Any], shapes: dict[str, Any]) -> None:
        self.size = (settings["width"], settings["height"])
        self.mode = "L" if settings["channels"] == 1 else "RGB"
        mean = np.array(settings["mean"], dtype=np.float32)
        std = np.array(settings["std"], dtype=np.float32)
        self.scale = (1.0 / (255.0 * std)).astype(np.float32).reshape(1, -1, 1, 1)
        self.shift = (-mean / std).astype(np.float32).reshape(1, -1, 1, 1)

    def batch(self, pictures: list[Any]) -> dict[str, Any]:
        """pixel_values, `[batch, channels, height, width]`, of encoded pictures (PNG, JPEG)."""
        pixels = np.stack([self._decoded(one) for one in pictures]).astype(np.float32)
        return {"pixel_values": pixels * self.scale + self.shift}

    def _decoded(self, content: bytes) -> Any:
        image = Image.open(io.BytesIO(content)).convert(self.mode)
        if image.size != self.size:
            image = image.resize(self.size, Image.Resampling.BILINEAR)
        pixels = np.asarray(image, dtype=np.uint8)
        return pixels[None] if self.mode == "L" else pixels.transpose(2, 0, 1)


def read(argument: str) -> bytes:
    return Path(argument).read_bytes()
