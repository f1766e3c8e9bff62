"""Runs over each other: colours that stay apart, and figures that Plotly takes."""

import itertools
import math
import re
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest
from numpy.typing import NDArray

from training.charts import compare, run_colours
from training.charts.run_colours import Look

Values = NDArray[np.float64]
CSS = Path(__file__).resolve().parents[2] / "static" / "compare.css"
#: How colours look to whom one kind of cones is missing (Machado, Oliveira, Fernandes: A
#: Physiologically-based Model for Simulation of Color Vision Deficiency, 2009, severity 1).
SIGHTS = {
    "normal": np.eye(3),
    "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                            [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                              [-0.011820, 0.042940, 0.968881]]),
    "tritanopia": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                            [0.004733, 0.691367, 0.303900]]),
}  # fmt: skip
TO_CONES = np.array([[0.4122214708, 0.5363325363, 0.0514459929],
                     [0.2119034982, 0.6806995451, 0.1073969566],
                     [0.0883024619, 0.2817188376, 0.6299787005]])  # fmt: skip
TO_LAB = np.array([[0.2104542553, 0.7936177850, -0.0040720468],
                   [1.9779984951, -2.4285922050, 0.4505937099],
                   [0.0259040371, 0.7827717662, -0.8086757660]])  # fmt: skip


def themes() -> dict[str, list[str]]:
    """The colours of both themes, as the style sheet has them."""
    found = re.findall(
        r"--run-(\d+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", CSS.read_text()
    )
    ordered = sorted(found, key=lambda one: int(one[0]))
    return {"light": [one[1] for one in ordered], "dark": [one[2] for one in ordered]}


def linear(colour: str) -> Values:
    rgb = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def seen(colour: str, sight: str) -> Values:
    """In Oklab (Ottosson, 2020), where distances are as far as they look."""
    light = np.clip(SIGHTS[sight] @ linear(colour), 0, 1)
    return TO_LAB @ np.cbrt(TO_CONES @ light)


def contrast(one: str, other: str) -> float:
    weights = np.array([0.2126, 0.7152, 0.0722])
    dark, bright = sorted(float(weights @ linear(colour)) for colour in (one, other))
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("sight", SIGHTS)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_twenty_colours_can_be_told_apart(theme: str, sight: str) -> None:
    colours = [seen(one, sight) for one in themes()[theme]]
    assert len(colours) == 20
    nearest = min(math.dist(one, other) for one, other in itertools.combinations(colours, 2))
    assert nearest > 0.05  # two and a half times what is just noticed


def test_every_colour_stands_out_from_the_page() -> None:
    for theme, ground in (("light", "#ffffff"), ("dark", "#171920")):
        assert min(contrast(one, ground) for one in themes()[theme]) >= 3
    assert themes()["light"] == list(run_colours.LIGHT)


def test_a_run_keeps_its_colour_whatever_is_beside_it() -> None:
    alone = run_colours.looks([7])[7]
    assert run_colours.looks([3, 7, 12])[7] == alone
    together = run_colours.looks([7, 27])
    assert together[7] == alone
    assert together[27].tone != alone.tone


def test_a_hundred_runs_have_a_hundred_looks() -> None:
    looks = run_colours.looks(range(100, 300, 2))
    assert len(set(looks.values())) == 100
    assert {look.tone for look in looks.values()} == set(run_colours.TONES)


# Figures ------------------------------------------------------------------------------------------

LOOK = Look("run-1", "dash")


def test_curves_are_figures_with_the_teachers_across() -> None:
    lines = [
        compare.Line(1, "<b>one</b>", LOOK, [1, 2, 3], [0.1, "NaN", 0.3]),
        compare.Line(2, "empty", LOOK, [], []),
        compare.Line(3, "point", LOOK, [5], [0.4]),
    ]
    made = compare.curves(
        lines, measure="accuracy", is_share=True, teachers={"big@1": 0.9, "other@1": 0.92}
    )
    figure = go.Figure({key: made[key] for key in ("data", "layout")})
    assert figure.data[0].y == (0.1, None, 0.3)
    assert "<b>" not in figure.data[0].name
    assert [shape.y0 for shape in figure.layout.shapes] == [0.9, 0.92]
    assert len({note.x for note in figure.layout.annotations}) == 2


def test_many_lines_are_told_one_at_a_time() -> None:
    lines = [compare.Line(at, "run", LOOK, [1, 2], [0.1, 0.2]) for at in range(100)]
    made = compare.curves(lines, measure="loss")
    assert made["layout"]["hovermode"] == "closest"
    go.Figure({key: made[key] for key in ("data", "layout")})


def test_a_logarithmic_axis_leaves_out_what_it_cannot_show() -> None:
    points = [compare.Point(at, "run", LOOK, float(at), float(at)) for at in range(3)]
    made = compare.scatter(points, x="epochs", y="accuracy", share_y=True, log_x=True)
    assert [trace["customdata"] for trace in made["data"]] == [[1], [2]]
    go.Figure({key: made[key] for key in ("data", "layout")})
    assert compare.scatter([], x="a", y="b")["data"] == []
