"""How good models are against what they cost, and when a distillation has paid for itself."""

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
MOST_NAMED = 12  # beyond, names would lie on each other; hovering still tells


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
    crowded = len(known) > MOST_NAMED
    traces = [edge] if len(front) > 1 else []
    traces += [
        _marks(kind, [one for one in known if one.kind == kind], crowded, is_share)
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
            **({"type": "log", "dtick": 1, "minor": {"ticks": "outside"}} if positive else {}),
        },
        y=share | {"title": {"text": plain(y, 60), "standoff": 8}},
        caption=f"Left is cheaper, {better} is better; the dotted line joins the models that none "
        "beats in both.",
        hovermode="closest",
    )


def _marks(kind: str, these: Sequence[Mark], crowded: bool, is_share: bool) -> Trace:
    tone = TONES[kind]
    number = "%{y:.2%}" if is_share else "%{y:.4~g}"
    return {
        "type": "scatter",
        "mode": "markers" if crowded else "markers+text",
        "name": CALLED[kind],
        "x": [one.x for one in these],
        "y": [one.y for one in these],
        "text": [plain(one.name, 32) for one in these],
        "textposition": "top center",
        "textfont": {"size": 11},
        "cliponaxis": False,
        "customdata": [plain(one.said, 120) for one in these],
        "hovertemplate": f"%{{text}}<br>{number} at %{{x:.4~g}}<br>%{{customdata}}<extra></extra>",
        "marker": {
            "symbol": [SYMBOLS[kind] + ("" if one.on_frontier else "-open") for one in these],
            "size": 11,
            "color": COLOURS[tone],
            "line": {"width": 2, "color": COLOURS[tone]},
        },
        "meta": {"tone": tone},
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
