"""Colours of charts are seen on their ground, and told apart, also by colour-blind people."""

import itertools
import math
import re
from pathlib import Path

import pytest

from projects.views import dataset_charts
from training.charts import (
    figures,
)
from training.charts.figures import COLOURS

CSS = Path(__file__).resolve().parent.parent.parent / "static/app.css"

PALETTE = ["teacher", "student", "control", *figures.PALETTE]
APART = 0.09  # in OKLab, where 1 is from black to white
#: Machado, Oliveira, Fernandes 2009: how linear RGB looks without red, or without green cones.
SIGHTS: dict[str, list[list[float]]] = {
    "everybody": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [
        [0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
}  # fmt: skip


def css(theme: str) -> dict[str, str]:
    """The design's colours in a theme, by their names in charts."""
    found = dict(re.findall(r"--([a-z0-9-]+): light-dark\(([^)]*)\)", CSS.read_text()))
    told = {name: one.split(", ")[theme == "dark"].strip() for name, one in found.items()}
    return told | {"teacher": told["teacher-line"]}


def linear(colour: str) -> list[float]:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    return [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]


def luminance(colour: str) -> float:
    return sum(
        share * one for share, one in zip((0.2126, 0.7152, 0.0722), linear(colour), strict=True)
    )


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def oklab(colour: str, sight: str) -> list[float]:
    """Björn Ottosson, 2020."""
    seen = times(SIGHTS[sight], linear(colour))
    cones = times(
        [
            [0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ],
        [min(1.0, max(0.0, one)) for one in seen],
    )  # fmt: skip
    return times(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ],
        [math.cbrt(one) for one in cones],
    )


def times(matrix: list[list[float]], vector: list[float]) -> list[float]:
    return [sum(one * two for one, two in zip(row, vector, strict=True)) for row in matrix]


def test_charts_have_the_colours_of_the_light_theme() -> None:
    told = css("light")
    assert {name: COLOURS[name] for name in PALETTE} == {name: told[name] for name in PALETTE}
    assert {name: COLOURS[name] for name in dataset_charts.COLOURS} == dataset_charts.COLOURS


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PALETTE)
def test_a_colour_is_seen_on_its_ground(theme: str, name: str) -> None:
    """WCAG 2.2, 1.4.11: graphics have a contrast of at least 3:1."""
    told = css(theme)
    for ground in ("surface", "page"):
        assert contrast(told[name], told[ground]) >= 3, ground


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("sight", SIGHTS)
def test_colours_are_told_apart_by_colour_blind_people(theme: str, sight: str) -> None:
    told = css(theme)
    near = [
        (one, other, round(math.dist(oklab(told[one], sight), oklab(told[other], sight)), 3))
        for one, other in itertools.combinations(PALETTE, 2)
    ]
    assert [pair for pair in near if pair[2] < APART] == []
