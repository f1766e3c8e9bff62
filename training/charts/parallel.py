"""Parallel coordinates: an axis for each quantity, a line for each thing that has all of them.

Plotly's own `parcoords` draws on WebGL, knows no gaps, and tells nothing when hovered over; these
are plain lines between upright axes. Any quantity may be a number, on a linear or logarithmic
scale, or a word.
"""

import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from training.charts.figures import COLOURS, Figure, Trace, figure, finite, plain

MOST_WORDS = 12  # labels beside one axis; of more only the first and the last are written
WORD = 20  # characters of one
MOST_TOLD = 2000  # lines in the chart's table
LINE = 13  # characters of a line of an axis' name
Value = float | int | str | bool | None


@dataclass(frozen=True, slots=True)
class Axis:
    """`words` makes it an axis of words, in this order, from the bottom; those that lines have
    beside are added. `is_share` writes percents. `falls` turns it, so that better is up."""

    name: str
    words: Sequence[str] | None = None
    is_log: bool = False
    is_share: bool = False
    falls: bool = False


@dataclass(frozen=True, slots=True)
class Strand:
    """A line: one value for each axis; None, NaN and what does not fit its axis are gaps. Lines of
    one `group` are one entry of the legend, and look alike: as the first of them does."""

    name: str
    values: Sequence[Value]
    group: str
    tone: str = "student"
    width: float = 1.4
    opacity: float = 0.8
    dash: str = "solid"


def coordinates(axes: Sequence[Axis], strands: Sequence[Strand]) -> Figure:
    """The groups in the order in which they first come; later ones are drawn above."""
    scales = [_Scale(axis, [one.values[at] for one in strands]) for at, axis in enumerate(axes)]
    groups: dict[str, list[Strand]] = {}
    for strand in strands:
        groups.setdefault(strand.group, []).append(strand)
    last = len(axes) - 1
    return figure(
        [_trace(name, members, scales) for name, members in groups.items()],
        x={
            "tickvals": list(range(len(axes))),
            "ticktext": [_in_lines(axis.name) for axis in axes],
            "range": [-0.04 * max(1, last), 1.04 * max(1, last)],
            "ticks": "",
            "showgrid": False,
        },
        y={"visible": False, "range": [-0.06, 1.06]},
        caption="A line for each; where it crosses an upright line is what it has of that.",
        hovermode="closest",
        # The lines' places are of no use to who reads numbers.
        meta={
            "table": {
                "columns": ["", *(plain(axis.name, 60) for axis in axes)],
                "rows": [
                    [
                        plain(one.name, 60),
                        *map(_cell, one.values),
                    ]
                    for one in strands[:MOST_TOLD]
                ],
            }
        },
        shapes=[_upright(at) for at in range(len(axes))] if strands else [],
        annotations=[
            _label(at, place, text, is_last=at == last and last > 0)
            for at, scale in enumerate(scales)
            for place, text in scale.labels()
        ],
    )


class _Scale:
    """Where the values of an axis stand, 0 to 1, and what is written beside it."""

    def __init__(self, axis: Axis, values: Iterable[Value]) -> None:
        self.axis = axis
        known = [value for value in values if value is not None]
        self.words: list[str] | None = None
        if axis.words is not None or any(isinstance(one, str | bool) for one in known):
            named = dict.fromkeys([*(axis.words or ()), *map(_word, known)])
            self.words = list(named)
        numbers = [] if self.words is not None else [self._number(one) for one in known]
        there = [one for one in numbers if one is not None]
        self.low, self.high = (min(there), max(there)) if there else (0.0, 0.0)
        self.is_empty = not (there or self.words)

    def _number(self, value: Value) -> float | None:
        number = finite(value)
        if number is None or not self.axis.is_log:
            return number
        return math.log10(number) if number > 0 else None

    def place(self, value: Value) -> float | None:
        if value is None:
            return None
        if self.words is not None:
            return self._turned((self.words.index(_word(value)) + 0.5) / len(self.words))
        number = self._number(value)
        if number is None:
            return None
        wide = self.high - self.low
        return self._turned((number - self.low) / wide if wide else 0.5)

    def _turned(self, place: float) -> float:
        return 1.0 - place if self.axis.falls else place

    def labels(self) -> list[tuple[float, str]]:
        if self.is_empty:
            return []
        if self.words is not None:
            shown = self.words
            if len(shown) > MOST_WORDS:
                shown = [shown[0], shown[-1]]
            return [(self.place(one) or 0.0, plain(one, WORD)) for one in shown]
        if self.low == self.high:
            return [(0.5, self._written(self.low))]
        middle = (self.low + self.high) / 2
        ends = ((0.0, self.low), (0.5, middle), (1.0, self.high))
        return [(self._turned(place), self._written(number)) for place, number in ends]

    def _written(self, number: float) -> str:
        return self.said(10**number if self.axis.is_log else number)

    def said(self, value: Value) -> str:
        """As it is written beside the axis, and when a point is hovered over."""
        number = finite(value)
        if self.words is not None or number is None:
            return plain(_word(value), 40)
        return f"{100 * number:.1f} %" if self.axis.is_share else f"{number:.3g}"


def _in_lines(name: str) -> str:
    """A name in short lines, so that those of many axes stand beside each other."""
    return "<br>".join(plain(one) for one in textwrap.wrap(name[:60], LINE)[:3])


def _cell(value: Value) -> str | float | None:
    """As the chart's table has it."""
    if isinstance(value, bool | str):
        return plain(_word(value), 60)
    return finite(value)


def _word(value: Value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _trace(name: str, members: Sequence[Strand], scales: Sequence[_Scale]) -> Trace:
    first = members[0]
    x: list[float | None] = []
    y: list[float | None] = []
    told: list[list[str]] = []
    for strand in members:
        for at, (scale, value) in enumerate(zip(scales, strand.values, strict=True)):
            x.append(at)
            y.append(scale.place(value))
            told.append([plain(strand.name, 40), plain(scale.axis.name, 40), scale.said(value)])
        x.append(None)
        y.append(None)
        told.append(["", "", ""])
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": plain(name, 36),
        "x": x,
        "y": y,
        "customdata": told,
        "connectgaps": False,
        "opacity": first.opacity,
        "line": {"color": COLOURS[first.tone], "width": first.width, "dash": first.dash},
        "marker": {"color": COLOURS[first.tone], "size": 4 + first.width},
        "hovertemplate": (
            "%{customdata[0]}<br>%{customdata[1]} <b>%{customdata[2]}</b><extra></extra>"
        ),
        "meta": {"tone": first.tone},
    }


def _upright(at: int) -> dict[str, Any]:
    return {
        "type": "line",
        "name": "tone:control",
        "layer": "below",
        "x0": at,
        "x1": at,
        "y0": 0,
        "y1": 1,
        "line": {"color": COLOURS["control"], "width": 1},
    }


def _label(at: int, place: float, text: str, *, is_last: bool) -> dict[str, Any]:
    return {
        "name": "tone:control",
        "x": at,
        "y": place,
        "xanchor": "right" if is_last else "left",
        "xshift": -6 if is_last else 6,
        "text": text,
        "showarrow": False,
        "font": {"size": 10, "color": COLOURS["control"]},
    }
