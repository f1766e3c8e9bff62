"""Runs over each other: the same metric of each as a line, and any number against any other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

from training.charts.curves import PLAIN, SHARE
from training.charts.figures import COLOURS, Figure, Trace, figure, finite, plain, reference
from training.charts.run_colours import Look

FEW = 40  # points of a line of which each is marked
TOGETHER = 8  # lines that are told at once where the pointer is
#: Where the names of lines across stand, so that those of near lines do not cover each other.
SIDES = (
    {"x": 0.0, "xanchor": "left"},
    {"x": 1.0, "xanchor": "right"},
    {"x": 0.5, "xanchor": "center"},
)
ALONG = {"step": "step", "time": "hours since it began", "epoch": "epoch"}


@dataclass(frozen=True, slots=True)
class Line:
    run: int
    name: str
    look: Look
    x: Sequence[float]
    values: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Point:
    run: int
    name: str
    look: Look
    x: float
    y: float


def curves(
    lines: Sequence[Line],
    *,
    measure: str,
    along: str = "step",
    is_share: bool = False,
    teachers: Mapping[str, float] | None = None,
) -> Figure:
    """One metric of several runs over `along` (of ALONG); each teacher's score is a dashed line
    across."""
    parts: dict[str, Any] = {"shapes": [], "annotations": []}
    for (name, value), side in zip((teachers or {}).items(), cycle(SIDES), strict=False):
        said = f"{value * 100:.1f} %" if is_share else f"{value:.4g}"
        one = reference(value, label=f"{plain(name)} {said}")
        one["annotations"] = [note | side for note in one["annotations"]]
        parts = {kind: [*parts[kind], *one[kind]] for kind in parts}
    many = len(lines)
    return figure(
        [_line(one, thin=many > TOGETHER) for one in lines],
        x={"title": {"text": ALONG[along], "standoff": 6}, "rangemode": "tozero"},
        y=(SHARE if is_share else PLAIN) | {"title": {"text": measure, "standoff": 8}},
        caption=f"The {measure} of {many} run{'s' * (many != 1)}.",
        hovermode="x unified" if many <= TOGETHER else "closest",
        meta={"named": True},  # by the list of runs that all charts share
        **parts,
    )


def _line(one: Line, *, thin: bool) -> Trace:
    name = f"{one.run} {plain(one.name)}"
    few = len(one.x) <= FEW
    colour = COLOURS[one.look.tone]
    return {
        "type": "scatter",
        "mode": "lines+markers" if few and not thin else "lines",
        "name": name,
        "x": list(one.x),
        "y": [finite(value) for value in one.values],
        "line": {"color": colour, "width": 1.3 if thin else 1.8, "dash": one.look.dash},
        "marker": {"size": 4, "color": colour},
        "connectgaps": False,
        "hovertemplate": "%{y}" if not thin else f"{name}<br>%{{x}}: <b>%{{y}}</b><extra></extra>",
        "meta": {"tone": one.look.tone, "smooth": True, "run": one.run},
    }


def scatter(
    points: Sequence[Point],
    *,
    x: str,
    y: str,
    share_x: bool = False,
    share_y: bool = False,
    log_x: bool = False,
    log_y: bool = False,
) -> Figure:
    """A point for each run; on a logarithmic axis those that are not above 0 are left out."""
    shown = [one for one in points if not (log_x and one.x <= 0) and not (log_y and one.y <= 0)]
    return figure(
        [_point(one, x, y) for one in shown],
        x=_axis(x, is_share=share_x, is_log=log_x) | {"showgrid": True},
        y=_axis(y, is_share=share_y, is_log=log_y),
        caption=f"{y[:1].upper()}{y[1:60]} against {x[:60]}, a point for each of {len(shown)} "
        f"run{'s' * (len(shown) != 1)}.",
        hovermode="closest",
        meta={"named": True},
    )


def _axis(title: str, *, is_share: bool, is_log: bool) -> dict[str, Any]:
    scale: dict[str, Any] = {"type": "log"} if is_log else SHARE if is_share else {}
    return dict(scale) | {"title": {"text": plain(title, 60), "standoff": 8}}


def _point(one: Point, x: str, y: str) -> Trace:
    said = [f"{plain(name, 40)} <b>%{{{axis}}}</b>" for name, axis in ((x, "x"), (y, "y"))]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": f"{one.run} {plain(one.name)}",
        "x": [one.x],
        "y": [one.y],
        "customdata": [one.run],
        "marker": {"size": 10, "color": COLOURS[one.look.tone], "symbol": SYMBOLS[one.look.dash]},
        "hovertemplate": "<br>".join([f"{one.run} {plain(one.name)}", *said]) + "<extra></extra>",
        "meta": {"tone": one.look.tone, "run": one.run},
    }


#: What a point looks like where lines would change their dashes.
SYMBOLS = {
    "solid": "circle",
    "dash": "square",
    "dot": "diamond",
    "dashdot": "triangle-up",
    "longdash": "cross",
}
