"""What moves, and when: the signals of a monitor over its windows, one of them with its limit, and
which slices move.

How far a signal is from its reference is drawn as a level, so that detectors of all units stand in
one picture: at 1 an effect is worth acting on, at 2 it is serious, at 3 critical.
"""

import itertools
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training.charts.figures import COLOURS, Figure, Trace, figure, finite, plain, unique
from training.charts.row_maps import INKS

LEVELS = ("nothing", "a notice", "serious", "critical")
#: Time along, in milliseconds since 1970.
HOUR = 3_600_000  # milliseconds
TIME = {"type": "date", "title": {"text": "time, UTC", "standoff": 6}, "nticks": 5, "tickangle": 0}
CALLED = "how far"
AXIS = 30  # letters along the upright axis of a chart of a signal


@dataclass(frozen=True, slots=True)
class At:
    """A window's place: its number, and when it began, in milliseconds since 1970."""

    number: int
    time: int


@dataclass(frozen=True, slots=True)
class Told:
    """What a detector said of a window: its value, what chance reaches, and whether that counts."""

    at: At
    value: float | None
    limit: float | None
    effect: float | None
    beyond: bool = False


def health(
    places: Sequence[At],
    lines: Sequence[tuple[str, Sequence[float | None]]],
    *,
    by_hours: bool = True,
) -> Figure:
    """Every signal by window, coloured by its level: (name, a level for each place). Where no
    window of hours is, nothing is drawn; windows of rows follow one another."""
    columns = _columns(places) if by_hours else list(range(len(places)))
    names = unique([plain(name, 30) for name, _ in lines])
    heat = _heat(
        [None if at is None else places[at].time for at in columns],
        names,
        [[None if at is None else _level(levels[at]) for at in columns] for _, levels in lines],
        [None if at is None else places[at].number for at in columns],
    )
    if heat["x"]:
        heat["x"] = _edges([places[at] if at is not None else None for at in columns])
    if len(columns) == 1:  # a column by itself would be a millisecond wide
        heat |= {"xtype": "scaled", "x0": heat["x"][0], "dx": HOUR}
    return figure(
        [heat],
        x=TIME | {"showgrid": False},
        y=_names(len(names)),
        caption="Each column is a window, each line a signal; the stronger the colour, the further "
        "it is from its reference. Grey is as it was.",
        hovermode="closest",
        meta={"windows": heat.pop("windows")},
    )


def slices(
    names: Sequence[str], signals: Sequence[str], levels: Sequence[Sequence[float | None]]
) -> Figure:
    """Which slice moved in what, of one window: a level of each slice (down) and signal (along)."""
    across = unique([plain(one, 24) for one in signals])
    heat = _heat(across, unique([plain(one, 30) for one in names]), levels, [])
    heat["z"] = [[_level(one) for one in row] for row in levels]
    heat["xgap"] = heat["ygap"] = 1
    heat.pop("windows")
    return figure(
        [heat],
        x={"type": "category", "showgrid": False, "side": "bottom"},
        y=_names(len(names)),
        caption="Each line is a slice of the window's rows, each column a signal; the stronger the "
        "colour, the further it moved there.",
        hovermode="closest",
    )


def signal(
    told: Sequence[Told],
    *,
    name: str,
    unit: str,
    bands: Sequence[tuple[int, int, str]] = (),
) -> Figure:
    """One detector's value over time, the limit that chance passes rarely, the windows that count
    against it, and bands where an alert was open: (from, until, severity) in milliseconds."""
    times = [one.at.time for one in told]
    numbers = [one.at.number for one in told]
    value: Trace = {
        "type": "scatter",
        "mode": "lines+markers" if len(told) < 90 else "lines",
        "name": plain(name, 40),
        "x": times,
        "y": [finite(one.value) for one in told],
        "customdata": numbers,
        "line": {"color": COLOURS["student"], "width": 1.6},
        "marker": {"size": 4.5, "color": COLOURS["student"]},
        "hovertemplate": "%{y:.4~g}<extra>%{fullData.name}</extra>",
        "meta": {"tone": "student", "place": 0},
    }
    limit: Trace = {
        "type": "scatter",
        "mode": "lines",
        "name": "what chance reaches",
        "x": times,
        "y": [finite(one.limit) for one in told],
        "customdata": numbers,
        "line": {"color": COLOURS["control"], "width": 1, "dash": "dot"},
        "hovertemplate": "%{y:.4~g}<extra>%{fullData.name}</extra>",
        "meta": {"tone": "control", "place": 1},
    }
    against = [one for one in told if one.beyond]
    beyond: Trace = {
        "type": "scatter",
        "mode": "markers",
        "name": "counts against it",
        "x": [one.at.time for one in against],
        "y": [finite(one.value) for one in against],
        "customdata": [one.at.number for one in against],
        "marker": {"size": 8, "symbol": "diamond", "color": INKS["bad"]},
        "hovertemplate": "counts<extra></extra>",
        "meta": {"tone": "bad", "place": 2},
    }
    shapes = [
        {
            "type": "rect",
            "name": "tone:bad",
            "layer": "below",
            "xref": "x",
            "x0": start,
            "x1": end,
            "yref": "paper",
            "y0": 0,
            "y1": 1,
            "fillcolor": "rgba(220,60,60,0.10)" if severity != "notice" else "rgba(200,140,0,0.10)",
            "line": {"width": 0, "color": INKS["bad"]},
        }
        for start, end, severity in bands
    ]
    return figure(
        [value, limit, *([beyond] if against else [])],
        x=TIME,
        y={"title": {"text": _axis(unit), "standoff": 6}, "rangemode": "tozero"},
        caption="Each point is a window. Above the dotted line chance alone comes rarely; in the "
        "coloured bands the alert was open.",
        shapes=shapes,
    )


def _axis(unit: str) -> str:
    """In lines that are no longer than the axis of a small chart."""
    return "<br>".join(textwrap.wrap(plain(unit, 90), AXIS)) or "value"


def with_versions(chart: Figure, marks: Sequence[tuple[int, str]]) -> Figure:
    """The figure with a line where another version of the model began to answer: (time, name)."""
    name = "tone:control"
    layout = chart["layout"]
    ink = COLOURS["control"]
    paper = {"yref": "paper"}
    start, end = span = _span(chart, marks)
    lines = [
        {"type": "line", "name": name, "x0": at, "x1": at, "y0": 0, "y1": 1}
        | paper
        | {"line": {"color": ink, "width": 1, "dash": "dash"}}
        for at, _ in marks
    ]
    notes = [
        {"name": name, "x": at, "y": 1, "yanchor": "top", "text": plain(text)}
        | {"xanchor": "left" if at < (start + end) / 2 else "right"}
        | paper
        | {"showarrow": False, "font": {"size": 11, "color": ink}}
        for at, text in marks
    ]
    parts = {
        "shapes": [*layout.get("shapes", []), *lines],
        "annotations": [*layout.get("annotations", []), *notes],
    }
    # Else Plotly makes room for the words, and a narrow chart is mostly that.
    along = layout["xaxis"] | {"range": list(span)} if marks else layout["xaxis"]
    return {**chart, "layout": {**layout, **parts, "xaxis": along}}


def _span(chart: Figure, marks: Sequence[tuple[int, str]]) -> tuple[float, float]:
    """From when until when something is drawn, with a little room."""
    times: list[float] = [at for at, _ in marks]
    for trace in chart["data"]:
        times += [one for one in trace.get("x") or () if isinstance(one, int | float)]
    if not times:
        return 0.0, 0.0
    start, end = min(times), max(times)
    # A bar is as wide as its window; an edge of a heat map is where it ends.
    bars = [trace for trace in chart["data"] if trace["type"] == "bar"]
    count = max((len(trace["x"]) for trace in bars), default=0)
    room = (end - start or 1000) * (0.55 / (count - 1) if count > 1 else 0.02)
    return start - room, end + room


def _heat(
    along: Sequence[Any],
    names: Sequence[str],
    values: Sequence[Sequence[float | None]],
    windows: Sequence[int | None],
) -> dict[str, Any]:
    return {
        "type": "heatmap",
        "name": CALLED,
        "x": list(along),
        "y": list(names),
        "z": [list(row) for row in values],
        "windows": list(windows),
        "zmin": 0,
        "zmax": 3,
        "ygap": 1,
        "colorscale": [
            *([0, "#f0efeb"], [0.31, "#ede5d8"], [0.33, "#cfa566"]),
            *([0.66, "#d07a6a"], [1, INKS["bad"]]),
        ],
        "colorbar": {
            "title": {"text": CALLED, "side": "right"},
            "tickvals": list(range(len(LEVELS))),
            "ticktext": list(LEVELS),
            "thickness": 8,
            "outlinewidth": 0,
            "len": 0.95,
        },
        "hoverongaps": False,
        "hovertemplate": "%{y}<br>%{x}<br>level %{z:.1f}<extra></extra>",
        "meta": {"scale": "levels"},
    }


def _names(count: int) -> Mapping[str, Any]:
    return {"type": "category", "autorange": "reversed", "showgrid": False} | (
        {"tickfont": {"size": 10}, "dtick": 1} if count <= 60 else {}
    )


def _level(value: float | None) -> float | None:
    """Tens of thousands of a picture: NaN and infinities differ from themselves less themselves."""
    if value is None or value - value != 0:
        return None
    return round(min(3.0, max(0.0, value)), 2)


def _columns(places: Sequence[At]) -> list[int | None]:
    """Places in order, with one empty column wherever windows are missing: of a heat map, cells
    would else be stretched over the gap."""
    steps = [later.time - one.time for one, later in itertools.pairwise(places)]
    usual = sorted(steps)[len(steps) // 2] if steps else 0
    found: list[int | None] = []
    for at in range(len(places)):
        if at and steps[at - 1] > 1.5 * usual and usual:
            found.append(None)
        found.append(at)
    return found


def _edges(columns: Sequence[At | None]) -> list[int]:
    """Where each column stands: its window's time; an empty one in the middle of its gap."""
    times = [one.time if one is not None else None for one in columns]
    return [
        time if time is not None else (times[at - 1] + times[at + 1]) // 2  # type: ignore[operator]
        for at, time in enumerate(times)
    ]
