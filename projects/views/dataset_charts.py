"""Charts of a dataset version: numbers in, a Plotly figure as a dictionary out.

They stand here and not in training/charts because this app knows nothing of training. Colours are
those of the light theme; `meta["tone"]` names the design's colour, which static/js/chart.js then
draws in the reader's theme.
"""

import html
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from projects.models import DatasetVersion

Figure = dict[str, Any]

TONES = {"train": "student", "validation": "series-2", "test": "series-3"}
COLOURS = {"student": "#3f4fd6", "series-2": "#2a9286", "series-3": "#81004b"}
MOST_BARS = 200
MOST_OF_NAME = 24  # characters of a label beside its bar; the whole name shows on hover
BAR = 18  # pixels
FRAME = 76  # pixels of axis and margins


def labels(version: DatasetVersion) -> tuple[Figure, int]:
    """(rows of each label by split as horizontal bars, the height in pixels): the most frequent
    label on top, at most MOST_BARS of them."""
    totals = label_totals(version)[:MOST_BARS]
    names = [html.escape(name) for name, _ in reversed(totals)]
    traces = []
    for split, content in version.splits.items():
        tone = TONES[split]
        traces.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": split,
                "y": names,
                "x": [content["label_counts"].get(name, 0) for name, _ in reversed(totals)],
                "marker": {"color": COLOURS[tone]},
                "hovertemplate": "%{x}",
                "meta": {"tone": tone},
            }
        )
    figure = _figure(
        traces,
        caption="How many rows have each label, by split.",
        x={"rangemode": "tozero", "title": {"text": "rows", "standoff": 6}},
        y={
            "showgrid": False,
            "type": "category",
            "tickmode": "array",
            "tickvals": names,
            "ticktext": [html.escape(_cut(name)) for name, _ in reversed(totals)],
        },
        barmode="stack",
        bargap=0.3,
        hovermode="y unified",
    )
    return figure, max(160, BAR * len(names) + FRAME)


def _cut(name: str) -> str:
    return name if len(name) <= MOST_OF_NAME else f"{name[: MOST_OF_NAME - 1]}…"


def label_totals(version: DatasetVersion) -> list[tuple[str, int]]:
    """(label, rows) over all splits, the most frequent first."""
    totals = dict.fromkeys(version.labels, 0)
    for content in version.splits.values():
        for name, rows in content["label_counts"].items():
            totals[name] += rows
    return sorted(totals.items(), key=lambda item: (-item[1], item[0]))


def histogram(edges: Sequence[int], counts: Sequence[int], unit: str) -> Figure:
    """How many rows have which length or size; the last bar holds everything beyond, too."""
    spans = [(low, high - 1) for low, high in pairwise(edges)]
    words = [f"{low}" if low == high else f"{low} to {high}" for low, high in spans]
    if words:
        words[-1] = f"{spans[-1][0]} and more"
    trace = {
        "type": "bar",
        "name": "rows",
        "x": [(low + high) / 2 for low, high in spans],
        "y": list(counts),
        "customdata": [f"{word} {unit}" for word in words],
        "marker": {"color": COLOURS["student"]},
        "hovertemplate": "%{customdata}: %{y} rows<extra></extra>",
        "meta": {"tone": "student"},
    }
    return _figure(
        [trace],
        caption=f"How many rows have how many {unit}; the last bar holds all beyond, too.",
        x={"showgrid": False, "title": {"text": unit, "standoff": 6}},
        y={"rangemode": "tozero", "title": {"text": "rows", "standoff": 6}},
        bargap=0.08,
        hovermode="closest",
    )


def distribution(facts: dict[str, Any], unit: str) -> Figure:
    """How many rows have a number from where to where; both ends hold what lies beyond, too."""
    edges, counts = facts["histogram"]["edges"], facts["histogram"]["counts"]
    spans = list(pairwise(edges))
    words = [f"{low:g} to {high:g} {unit}".rstrip() for low, high in spans]
    trace = {
        "type": "bar",
        "name": "rows",
        "x": [(low + high) / 2 for low, high in spans],
        "y": list(counts),
        "customdata": words,
        "marker": {"color": COLOURS["student"]},
        "hovertemplate": "%{customdata}: %{y} rows<extra></extra>",
        "meta": {"tone": "student"},
    }
    return _figure(
        [trace],
        caption="How many rows have a number from where to where; the ends hold all beyond, too.",
        x={"showgrid": False, "title": {"text": unit or "number", "standoff": 6}},
        y={"rangemode": "tozero", "title": {"text": "rows", "standoff": 6}},
        bargap=0.08,
        hovermode="closest",
    )


def _figure(
    traces: list[dict[str, Any]],
    *,
    caption: str,
    x: dict[str, Any],
    y: dict[str, Any],
    **layout: Any,
) -> Figure:
    axis = {"gridcolor": "#e5e4df", "zeroline": False, "automargin": True, "fixedrange": True}
    return {
        "data": traces,
        "layout": {
            "margin": {"l": 8, "r": 16, "t": 8, "b": 36},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": "Inter, system-ui, sans-serif", "size": 11, "color": "#525665"},
            "showlegend": False,
            "xaxis": axis | x,
            "yaxis": axis | y,
            "meta": {"caption": caption},
            **layout,
        },
    }
