"""Rows of a dataset where their vectors put them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from training.charts.figures import COLOURS, Figure, Trace, figure, plain

#: In the order in which groups take them; shapes tell apart what colours alone may not, and the
#: first groups from those that begin the colours again.
TONES = ("student", "series-2", "series-3", "teacher", "series-5", "series-4", "series-6")
SHAPES = ("circle", "square", "diamond", "triangle-up", "cross", "triangle-down", "star")
QUIET = "control"
VERDICTS = {"wrong": "bad", "right": "good"}
INKS = COLOURS | {"bad": "#b42323", "good": "#14703f"}
LONGEST = 90  # characters of a row's text that hovering shows


@dataclass(frozen=True, slots=True)
class Cloud:
    """Points of one group: places `[points]`, the rows they are, and what hovering says of each."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    row_ids: Sequence[int]
    texts: Sequence[str]
    quiet: bool = False
    verdict: str = ""  # right, wrong: which have colours of their own


def scatter(clouds: Sequence[Cloud]) -> Figure:
    """A colour and a shape for each group, the first one before the others; what is quiet stands
    behind."""
    loud = [one for one in clouds if not one.quiet]
    looks = {id(one): at for at, one in enumerate(loud)}
    ordered = [*(one for one in clouds if one.quiet), *reversed(loud)]
    axis: dict[str, Any] = {
        "showticklabels": False,
        "showgrid": False,
        "ticks": "",
        "showline": False,
    }
    return figure(
        [_trace(one, looks.get(id(one))) for one in ordered],
        x=axis,
        y=axis,
        caption="Each point is a row; rows that are alike lie close. Directions mean nothing.",
        hovermode="closest",
        dragmode="zoom",
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
    )


def _shape(look: int) -> str:
    return SHAPES[(look + look // len(TONES)) % len(SHAPES)]


def _trace(cloud: Cloud, look: int | None) -> Trace:
    tone = QUIET if look is None else VERDICTS.get(cloud.verdict, TONES[look % len(TONES)])
    return {
        "type": "scatter",
        "mode": "markers",
        "name": plain(cloud.name),
        "x": [round(float(one), 4) for one in cloud.x],
        "y": [round(float(one), 4) for one in cloud.y],
        "customdata": [int(one) for one in cloud.row_ids],
        "text": [plain(one, LONGEST) for one in cloud.texts],
        "hovertemplate": "row %{customdata}<br>%{text}<extra>%{fullData.name}</extra>",
        "marker": {
            "size": 5 if look is None else 7,
            "symbol": "circle" if look is None else _shape(look),
            "color": INKS[tone],
            "opacity": 0.35 if look is None else 0.8,
            "line": {"width": 0},
        },
        "meta": {"tone": tone, "place": len(TONES) if look is None else look},
    }
