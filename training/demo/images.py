"""1 797 handwritten digits of 8 by 8 pixels that scikit-learn brings (UCI, "Optical Recognition of
Handwritten Digits"), so that nothing is downloaded.

Of each digit some are uploaded as the dataset; no run sees the others, which are the traffic of the
shipped student. They come as they are, and then as a badly lit camera that slipped would show them:
darker, and a pixel to the right. Half of them come so before the next student is there, which may
learn from these, and the other half after.
"""

import io
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import Any

from PIL import Image, ImageEnhance

from distillhub.lib.later import np

LABELLED, UNLABELLED, VALIDATION, TEST = 20, 60, 15, 40  # images of each digit
ASIDE = LABELLED + UNLABELLED + VALIDATION + TEST  # those after them are the traffic
DARKEST, BRIGHTEST = 0.6, 0.8  # of the light that there was
SLIP = 1  # pixels


@dataclass(frozen=True, slots=True)
class Digit:
    """`number` is its place among scikit-learn's, `place` the one among those of its label."""

    number: int
    label: int
    place: int


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture as it is sent."""

    name: str
    label: str
    png: bytes


def archive() -> bytes:
    """The dataset as a zip: `train/3/0042.png`, without a label `train/0043.png`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        for digit in digits():
            if digit.place < ASIDE:
                zipped.writestr(f"{_folder(digit)}/{digit.number:04}.png", png(picture(digit)))
    return buffer.getvalue()


def clear(start: int) -> Iterator[Shot]:
    """All of the traffic, as it is; once. From a place on."""
    for digit in [one for one in digits() if one.place >= ASIDE][start:]:
        yield Shot(f"clear-{digit.number:04}", str(digit.label), png(picture(digit)))


def clear_rows() -> int:
    return sum(one.place >= ASIDE for one in digits())


def dark(half: int, start: int) -> Iterator[Shot]:
    """A half of the traffic, darker and shifted, over and over: each time in another light. From a
    place on."""
    shown = _half(half)
    for place in count(start):
        turn, which = divmod(place, len(shown))
        digit = shown[which]
        light = np.random.default_rng((digit.number, turn)).uniform(DARKEST, BRIGHTEST)
        name = f"dark-{digit.number:04}-{turn}"
        yield Shot(name, str(digit.label), png(darkened(picture(digit), light)))


def darkened(image: Any, light: float) -> Any:
    """With that share of its light, and a pixel to the right."""
    slipped = Image.new(image.mode, image.size)
    slipped.paste(image, (SLIP, 0))
    return ImageEnhance.Brightness(slipped).enhance(light)


@cache
def digits() -> tuple[Digit, ...]:
    """All of them, shuffled; the same every time."""
    labels = _loaded().target
    seen: Counter[int] = Counter()
    found = []
    for number in np.random.default_rng(0).permutation(len(labels)):
        label = int(labels[number])
        found.append(Digit(int(number), label, seen[label]))
        seen[label] += 1
    return tuple(found)


@cache
def _half(which: int) -> list[Digit]:
    return [one for one in digits() if one.place >= ASIDE and one.place % 2 == which]


@cache
def _loaded() -> Any:
    # Imported here: scikit-learn and SciPy take 100 MB, which no web process should hold.
    from sklearn.datasets import load_digits  # noqa: PLC0415

    return load_digits()


def picture(digit: Digit) -> Any:
    pixels = (_loaded().images[digit.number] * 255 / 16).round().astype(np.uint8)
    return Image.fromarray(pixels)


def png(image: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _folder(digit: Digit) -> str:
    if digit.place < LABELLED:
        return f"train/{digit.label}"
    if digit.place < LABELLED + UNLABELLED:
        return "train"
    if digit.place < LABELLED + UNLABELLED + VALIDATION:
        return f"validation/{digit.label}"
    return f"test/{digit.label}"
