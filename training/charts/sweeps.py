"""What a sweep tried: its history, what mattered, and where two options are good together."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training.charts.figures import COLOURS, Figure, Trace, figure, plain
from training.charts.parallel import Axis, Strand, Value, coordinates

CELLS = 24  # of a contour, on each side
NEAR = 0.12  # of a side: how far a trial speaks for what is around it
FEW = 10  # trials: so many whole numbers have room on an axis
BEST = 0.1  # share of the trials that stand out


@dataclass(frozen=True, slots=True)
class Point:
    """A trial. `value` is None of one that has none; of a pruned one it is the best before that."""

    number: int
    value: float | None
    is_pruned: bool
    values: Mapping[str, Value]  # by path, as an axis shows them


@dataclass(frozen=True, slots=True)
class Dimension:
    """A varied option; `words` are the listed values, as they are written."""

    path: str
    label: str
    words: Sequence[str] | None
    is_log: bool


@dataclass(frozen=True, slots=True)
class Score:
    """What trials are judged by."""

    label: str
    falls: bool
    is_share: bool

    @property
    def axis(self) -> dict[str, Any]:
        shown = {"tickformat": ".1%", "hoverformat": ".2%"} if self.is_share else {}
        return {"title": {"text": plain(self.label), "standoff": 8}, **shown}


def history(arms: Sequence[tuple[str, str, Sequence[Point]]], score: Score) -> Figure:
    """Each trial's value in the order in which they were asked for, and the best so far: (tone,
    label, trials) of each way of training."""
    traces: list[Trace] = []
    for tone, label, points in arms:
        told = [one for one in points if one.value is not None]
        whole = [one for one in told if not one.is_pruned]
        traces.append(_marks(whole, label, tone, "circle"))
        steps = _best_so_far(whole, score)
        if steps:
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "name": plain(f"{label}, best so far", 40),
                    "x": [number for number, _ in steps],
                    "y": [value for _, value in steps],
                    "line": {"color": COLOURS[tone], "width": 2, "shape": "hv"},
                    "hovertemplate": f"best so far {_number(score)}<extra></extra>",
                    "meta": {"tone": tone},
                }
            )
        pruned = [one for one in told if one.is_pruned]
        if pruned:
            traces.append(_marks(pruned, f"{label}, pruned", tone, "cross"))
    x: dict[str, Any] = {
        "title": {"text": "trial", "standoff": 6},
        "tickformat": "d",
        "rangemode": "tozero",
    }
    if max((one.number for _, _, points in arms for one in points), default=0) <= FEW:
        x["dtick"] = 1  # of halves each would be written as the number before it
    return figure(
        traces,
        x=x,
        y=score.axis,
        hovermode="closest",
        caption="Every trial on validation rows, and the best of them so far.",
    )


def _marks(points: Sequence[Point], name: str, tone: str, symbol: str) -> Trace:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": plain(name, 40),
        "x": [one.number for one in points],
        "y": [one.value for one in points],
        "marker": {
            "color": COLOURS[tone],
            "size": 8,
            "opacity": 0.75,
            "symbol": symbol,
        },
        "hovertemplate": "trial %{x}, %{y}<extra></extra>",
        "meta": {"tone": tone},
    }


def _best_so_far(points: Sequence[Point], score: Score) -> list[tuple[int, float]]:
    found: list[tuple[int, float]] = []
    for one in sorted(points, key=lambda point: point.number):
        assert one.value is not None
        if not found or (one.value < found[-1][1] if score.falls else one.value > found[-1][1]):
            found.append((one.number, one.value))
    if found and points:
        last = max(one.number for one in points)
        if last > found[-1][0]:
            found.append((last, found[-1][1]))
    return found


def together(points: Sequence[Point], dimensions: Sequence[Dimension], score: Score) -> Figure:
    """Parallel coordinates: each option an axis, the score the last; the best trials stand out."""
    told = [one for one in points if one.value is not None]
    whole = sorted(
        (one for one in told if not one.is_pruned),
        key=lambda one: -(one.value or 0) if score.falls else (one.value or 0),
    )
    best = whole[-max(1, round(BEST * len(whole))) :] if whole else []
    groups = [
        ("pruned", [one for one in told if one.is_pruned], "control", 1.0, 0.35, "dot"),
        ("others", [one for one in whole if one not in best], "control", 1.2, 0.5, "solid"),
        ("best tenth", best, "student", 2.4, 0.95, "solid"),
    ]
    strands = [
        Strand(
            f"trial {one.number}",
            [*(one.values.get(each.path) for each in dimensions), one.value],
            group=group,
            tone=tone,
            width=width,
            opacity=opacity,
            dash=dash,
        )
        for group, members, tone, width, opacity, dash in groups
        for one in members
    ]
    axes = [Axis(each.label, words=each.words, is_log=each.is_log) for each in dimensions]
    axes.append(Axis(score.label, is_share=score.is_share, falls=score.falls))
    return coordinates(axes, strands)


def importance(shares: Sequence[tuple[str, float]]) -> Figure:
    """How much of the score's spread each option explains, the greatest first."""
    ordered = sorted(shares, key=lambda one: one[1])
    bar = {
        "type": "bar",
        "orientation": "h",
        "name": "importance",
        "x": [share for _, share in ordered],
        "y": [plain(label, 34) for label, _ in ordered],
        "text": [f"{100 * share:.0f} %" for _, share in ordered],
        "textposition": "outside",
        "cliponaxis": False,
        "hovertemplate": "%{y}: %{x:.1%}<extra></extra>",
        "marker": {"color": COLOURS["student"]},
        "meta": {"tone": "student"},
    }
    return figure(
        [bar],
        x={
            "tickformat": ".0%",
            "range": [0, 1.12],
            "showgrid": True,
            "title": {"text": "share of what the score depends on", "standoff": 6},
        },
        y={"type": "category", "showgrid": False},
        hovermode="closest",
        meta={"named": True},
        caption="PED-ANOVA: what sets the better trials apart from the others.",
    )


def contour(points: Sequence[Point], across: Dimension, up: Dimension, score: Score) -> Figure:
    """The score over two options, every trial a point; between trials it is guessed from those
    around, and where there are none nothing is drawn."""
    told = [
        one
        for one in points
        if one.value is not None
        and not one.is_pruned
        and one.values.get(across.path) is not None
        and one.values.get(up.path) is not None
    ]
    x_of, y_of = _Side(across, told), _Side(up, told)
    traces: list[Trace] = []
    if len(told) > 2:
        known = [(x_of.at(one), y_of.at(one), float(one.value or 0)) for one in told]
        edges = [at / (CELLS - 1) for at in range(CELLS)]
        traces.append(
            {
                "type": "contour",
                "name": "between trials",
                "x": [x_of.back(at) for at in edges],
                "y": [y_of.back(at) for at in edges],
                "z": [[_guessed(known, x, y) for x in edges] for y in edges],
                "connectgaps": False,
                "line": {"width": 0},
                "contours": {"coloring": "heatmap"},
                **_shades(sorted(value for _, _, value in known), score),
                "reversescale": score.falls,
                "colorbar": {
                    "thickness": 10,
                    "outlinewidth": 0,
                    "tickformat": ".1%" if score.is_share else "",
                },
                "hoverinfo": "skip",
                "meta": {"scale": "heat"},
            }
        )
    traces.append(
        {
            "type": "scatter",
            "mode": "markers",
            "name": "trials",
            "x": [x_of.shown(one) for one in told],
            "y": [y_of.shown(one) for one in told],
            "customdata": [[one.number, one.value] for one in told],
            "marker": {
                "color": COLOURS["teacher"],
                "size": 8,
                "line": {"width": 1, "color": "#ffffff"},
            },
            "hovertemplate": (
                f"trial %{{customdata[0]}}: {_number(score, 'customdata[1]')}<extra></extra>"
            ),
            "meta": {"tone": "teacher", "told": ["trial", plain(score.label)]},
        }
    )
    return figure(
        traces,
        x=x_of.axis(),
        y=y_of.axis(),
        hovermode="closest",
        meta={"named": True},
        caption="Points are trials; the shade between them is guessed from those around.",
    )


class _Side:
    """One option of a contour: values on a side from 0 to 1, and back."""

    def __init__(self, dimension: Dimension, points: Sequence[Point]) -> None:
        self.dimension, self.words = dimension, dimension.words
        numbers = [] if self.words else [self._number(one) for one in points]
        self.low, self.high = (min(numbers), max(numbers)) if numbers else (0.0, 1.0)
        if self.low == self.high:
            self.low, self.high = self.low - 0.5, self.high + 0.5
        if self.words:
            self.low, self.high = -0.5, len(self.words) - 0.5

    def _number(self, point: Point) -> float:
        value = point.values[self.dimension.path]
        assert isinstance(value, int | float)
        return math.log10(value) if self.dimension.is_log else float(value)

    def _of(self, point: Point) -> float:
        if self.words:
            return float(list(self.words).index(str(point.values[self.dimension.path])))
        return self._number(point)

    def at(self, point: Point) -> float:
        return (self._of(point) - self.low) / (self.high - self.low)

    def back(self, at: float) -> float:
        number = self.low + at * (self.high - self.low)
        return 10**number if self.dimension.is_log else number

    def shown(self, point: Point) -> float:
        return 10 ** self._of(point) if self.dimension.is_log else self._of(point)

    def axis(self) -> dict[str, Any]:
        told: dict[str, Any] = {"title": {"text": plain(self.dimension.label, 34), "standoff": 6}}
        if self.words:
            told |= {
                "tickvals": list(range(len(self.words))),
                "ticktext": [plain(one, 16) for one in self.words],
            }
        return told | ({"type": "log"} if self.dimension.is_log else {}) | {"showgrid": False}


def _shades(values: Sequence[float], score: Score) -> dict[str, float]:
    """From the worst quarter, which is all of one shade, to the best."""
    quarter = len(values) // 4
    if score.falls:
        return {"zmin": values[0], "zmax": values[-1 - quarter]}
    return {"zmin": values[quarter], "zmax": values[-1]}


def _guessed(known: Sequence[tuple[float, float, float]], x: float, y: float) -> float | None:
    """The mean of the trials around, the nearer the heavier; None where none is near."""
    weights = [math.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * NEAR**2)) for a, b, _ in known]
    total = sum(weights)
    if max(weights) < 0.01:
        return None
    return sum(w * value for w, (_, _, value) in zip(weights, known, strict=True)) / total


def _number(score: Score, what: str = "y") -> str:
    return f"%{{{what}:.2%}}" if score.is_share else f"%{{{what}:.4~g}}"
