"""Rows of a window among those of its reference, where their vectors put them."""

from collections.abc import Sequence
from dataclasses import dataclass

from training.charts.figures import Figure, Trace, figure, plain, unique
from training.charts.row_maps import INKS, LONGEST

#: Groups, back to front: what they are called, tone, shape, size and opacity of a mark.
GROUPS = {
    "reference": ("reference", "control", "circle", 5, 0.35),
    "live": ("this window", "student", "circle", 7, 0.75),
    "foreign": ("most foreign", "bad", "diamond", 11, 0.95),
}
NAMED = 5  # of the most foreign rows, whose words stand beside them


@dataclass(frozen=True, slots=True)
class Row:
    """A point: where it lies, the row it is, its words, and where its picture is to be had."""

    x: float
    y: float
    key: str
    text: str
    picture: str = ""


def scatter(reference: Sequence[Row], live: Sequence[Row], foreign: Sequence[Row]) -> Figure:
    """Reference behind, live rows before it, and the most foreign of them named."""
    traces = [
        _trace(kind, rows)
        for kind, rows in zip(GROUPS, (reference, live, foreign), strict=True)
        if rows or kind != "foreign"
    ]
    bare = {"showticklabels": False, "showgrid": False, "ticks": "", "showline": False}
    return figure(
        traces,
        x=bare,
        y=bare,
        caption="Each point is a row; rows that are alike lie close. Directions mean nothing.",
        hovermode="closest",
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
    )


def _trace(kind: str, rows: Sequence[Row]) -> Trace:
    name, tone, shape, size, opacity = GROUPS[kind]
    # A picture says more than its row's words, and is shown when one points at it.
    named = [plain(one.text, 22) for one in rows[:NAMED] if not one.picture]
    told = unique(named) if kind == "foreign" and len(named) == len(rows[:NAMED]) else []
    return {
        "type": "scatter",
        "mode": "markers+text" if told else "markers",
        "name": name,
        "x": [round(float(one.x), 4) for one in rows],
        "y": [round(float(one.y), 4) for one in rows],
        "customdata": [[one.key, one.picture] for one in rows],
        "hovertext": [plain(one.text, LONGEST) for one in rows],
        **(
            {"text": told + [""] * (len(rows) - len(told)), "textposition": "top center"}
            | {"textfont": {"size": 11}}
            if told
            else {}
        ),
        "hovertemplate": "%{hovertext}<extra>%{fullData.name}</extra>",
        "marker": {
            "size": size,
            "symbol": shape,
            "color": INKS[tone],
            "opacity": opacity,
            "line": {"width": 0},
        },
        "meta": {"tone": tone, "names": [plain(one.text, LONGEST) for one in rows]},
    }
