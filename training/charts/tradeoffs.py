"""How good models are against what they cost, and when a distillation has paid for itself."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from training.charts.figures import COLOURS, Figure, Trace, figure, finite, plain

TONES = {"teacher": "teacher", "student": "student", "control": "control", "shipped": "series-2"}
SYMBOLS = {
    "teacher": "diamond", "student": "circle", "control": "square", "shipped": "triangle-up",
}  # fmt: skip
CALLED = {
    "teacher": "teachers", "student": "students", "control": "controls", "shipped": "exports",
}  # fmt: skip
MOST_NAMED = 16
APART = (0.3, 0.08)  # of the chart's width and height, from which two names do not touch


@dataclass(frozen=True, slots=True)
class Mark:
    name: str
    kind: str  # of TONES
    x: float | None
    y: float | None
    on_frontier: bool
    said: str = ""  # more, for who hovers


def frontier(
    marks: Sequence[Mark],
    *,
    x: str,
    y: str,
    x_unit: str = "",
    is_share: bool = True,
    less_is_better: bool = False,
) -> Figure:
    """Every model as a mark, and a line through those that no other beats in both. `x` and `y` say
    what is measured. Costs grow by factors, so that their axis is logarithmic."""
    known = [one for one in marks if finite(one.x) is not None and finite(one.y) is not None]
    front = sorted(
        (one for one in known if one.on_frontier), key=lambda one: (one.x or 0.0, one.y or 0.0)
    )
    edge: Trace = {
        "type": "scatter",
        "mode": "lines",
        "name": "frontier",
        "x": [one.x for one in front],
        "y": [one.y for one in front],
        "line": {"color": COLOURS["control"], "width": 1.2, "dash": "dot", "shape": "hv"},
        "hoverinfo": "skip",
        "meta": {"tone": "control"},
    }
    named = _named(known)
    traces = [edge] if len(front) > 1 else []
    traces += [
        _marks(kind, [one for one in known if one.kind == kind], named, is_share, known)
        for kind in TONES
        if any(one.kind == kind for one in known)
    ]
    share = {"tickformat": ".1%", "hoverformat": ".2%"} if is_share else {"hoverformat": ".4~g"}
    unit = f", {x_unit}" if x_unit else ""
    better = "lower" if less_is_better else "higher"
    positive = all((finite(one.x) or 0.0) > 0 for one in known) and len(known) > 1
    return figure(
        traces,
        x={
            "showgrid": True,
            "title": {"text": plain(f"{x}{unit}", 80), "standoff": 6},
            "tickformat": "~s" if x_unit == "bytes" else "~g",
            **({"type": "log", "range": _wide(known)} if positive else {}),
        },
        y=share | {"title": {"text": plain(y, 60), "standoff": 8}},
        caption=f"Left is cheaper, {better} is better; the dotted line joins the models that none "
        "beats in both.",
        hovermode="closest",
    )


def _wide(known: Sequence[Mark]) -> list[float]:
    """Ends of a logarithmic axis, with room for names beside the outermost marks."""
    low, high = (math.log10(end(one.x or 1.0 for one in known)) for end in (min, max))
    room = max(0.12 * (high - low), 0.05)
    return [low - room, high + room]


def _named(known: Sequence[Mark]) -> set[str]:
    """Whose names are written: of marks that nearly touch only the first, those on the frontier
    before others. Hovering and the table name all."""
    spans = [
        (max(values, default=1.0) - min(values, default=0.0)) or 1.0
        for values in ([_log(one.x) for one in known], [one.y or 0.0 for one in known])
    ]
    named: list[Mark] = []
    for one in sorted(known, key=lambda mark: not mark.on_frontier):
        near = (
            abs(_log(one.x) - _log(other.x)) < APART[0] * spans[0]
            and abs((one.y or 0.0) - (other.y or 0.0)) < APART[1] * spans[1]
            for other in named
        )
        if len(named) < MOST_NAMED and not any(near):
            named.append(one)
    return {one.name for one in named}


def _log(value: float | None) -> float:
    return math.log10(value) if value and value > 0 else 0.0


def _beside(one: Mark, known: Sequence[Mark]) -> str:
    """Where a name stands, so that it stays in the picture."""
    places = [_log(other.x) for other in known]
    low, high = min(places), max(places)
    at = (_log(one.x) - low) / ((high - low) or 1.0)
    if high == low:
        return "top center"
    return "top right" if at < 0.25 else "top left" if at > 0.75 else "top center"


def _marks(
    kind: str, these: Sequence[Mark], named: set[str], is_share: bool, known: Sequence[Mark]
) -> Trace:
    tone = TONES[kind]
    number = "%{y:.2%}" if is_share else "%{y:.4~g}"
    return {
        "type": "scatter",
        "mode": "markers+text",
        "name": CALLED[kind],
        "x": [one.x for one in these],
        "y": [one.y for one in these],
        "text": [plain(one.name, 32) if one.name in named else "" for one in these],
        "textposition": [_beside(one, known) for one in these],
        "textfont": {"size": 11},
        "cliponaxis": False,
        "customdata": [[plain(one.name, 60), plain(one.said, 120)] for one in these],
        "hovertemplate": (
            f"%{{customdata[0]}}<br>{number} at %{{x:.4~g}}<br>%{{customdata[1]}}<extra></extra>"
        ),
        "marker": {
            "symbol": [SYMBOLS[kind] + ("" if one.on_frontier else "-open") for one in these],
            "size": 11,
            "color": COLOURS[tone],
            "line": {"width": 2, "color": COLOURS[tone]},
        },
        "meta": {"tone": tone, "names": [plain(one.name, 60) for one in these]},
    }


def break_even(
    *,
    teacher: str,
    student: str,
    total: float,
    teacher_call: float,
    student_call: float,
    calls: int | None,
) -> Figure:
    """What all calls so far have cost with either; the student's line begins with what distilling
    took."""
    saves = teacher_call - student_call
    reach = 2.5 * calls if calls else _reach(total, teacher_call, student_call)
    ends = [0.0, reach]
    lines = [
        _line(plain(teacher), "teacher", ends, [0.0, teacher_call * reach], "dash"),
        _line(plain(student), "student", ends, [total, total + student_call * reach], "solid"),
    ]
    if calls and saves > 0:
        cost = total + student_call * calls
        lines.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": "paid back",
                "x": [calls],
                "y": [cost],
                "marker": {
                    "symbol": "circle-open",
                    "size": 14,
                    "color": COLOURS["series-2"],
                    "line": {"width": 2, "color": COLOURS["series-2"]},
                },
                "hovertemplate": "paid back after %{x:,.0f} calls<extra></extra>",
                "meta": {"tone": "series-2"},
            }
        )
    return figure(
        lines,
        x={
            "showgrid": True,
            "title": {"text": "calls", "standoff": 6},
            "rangemode": "tozero",
            "tickformat": "~s",
        },
        y={
            "title": {"text": "cost, your currency", "standoff": 8},
            "rangemode": "tozero",
            "tickformat": "~g",
        },
        caption="All calls so far, with what distilling took in the student's line. Where they "
        "cross it has paid for itself.",
        hovermode="closest",
    )


def _reach(total: float, *by_call: float) -> float:
    """So far that what calls cost is seen beside what distilling took."""
    dearest = max(by_call)
    return max(1000.0, 3 * total / dearest) if dearest > 0 else 1000.0


def _line(name: str, tone: str, x: list[float], y: list[float], dash: str) -> Trace:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": x,
        "y": y,
        "line": {"color": COLOURS[tone], "width": 2, "dash": dash},
        "hovertemplate": f"{name}: %{{y:.4~g}} after %{{x:,.0f}} calls<extra></extra>",
        "meta": {"tone": tone},
    }
