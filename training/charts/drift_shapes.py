"""A window beside its reference: numbers, categories, and how far confidence can be believed."""

from collections.abc import Mapping, Sequence
from typing import Any

from training.charts.fidelity import joined
from training.charts.figures import COLOURS, Figure, Trace, figure, finite, plain, unique

#: Who is drawn, and how: what was, quiet, and what is.
SIDES = (("reference", "control", "dash"), ("now", "student", "solid"))
SHARE = {"tickformat": ".0%", "hoverformat": ".1%"}


def numbers(
    edges: Sequence[float], before: Sequence[float], now: Sequence[float], *, name: str
) -> Figure:
    """Shares of rows by cells of equal width, of the reference and of the window: edges
    `[cells + 1]`. What lies beyond is in the outermost cells."""
    traces: list[Trace] = []
    for (who, tone, dash), values in zip(SIDES, (before, now), strict=True):
        shown = list(map(finite, values))
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": who,
                # Steps: a cell is as high from edge to edge, so its last value stands twice.
                "x": list(map(finite, edges)) if shown else [],
                "y": [*shown, shown[-1]] if shown else [],
                "line": {"color": COLOURS[tone], "width": 1.8, "dash": dash, "shape": "hv"},
                "fill": "tozeroy" if who == "now" else "none",
                "fillcolor": "rgba(90,105,230,0.14)",
                "hovertemplate": "%{y:.1%}<extra>%{fullData.name}</extra>",
                "meta": {"tone": tone},
            }
        )
    return figure(
        traces,
        x={"title": {"text": plain(name, 60), "standoff": 6}, "hoverformat": ".4~g"},
        y=SHARE | {"title": {"text": "share of rows", "standoff": 6}, "rangemode": "tozero"},
        caption="How rows spread over values, now and on the reference; the outermost cells hold "
        "what lies beyond, too.",
    )


def categories(
    names: Sequence[str],
    before: Sequence[float],
    now: Sequence[float],
    *,
    most: int = 20,
    of: str = "rows",
) -> Figure:
    """Shares of rows, or of what else is counted, by name, of the reference and of the window;
    those that moved furthest first, and no more than `most`. Without a reference now alone."""
    has_reference = any(map(finite, before))
    order = sorted(
        range(len(names)),
        key=lambda at: -abs((finite(now[at]) or 0.0) - (finite(before[at]) or 0.0)),
    )[:most]
    shown = unique([plain(str(names[at]), 28) for at in order])
    traces: list[Trace] = [
        {
            "type": "bar",
            "orientation": "h",
            "name": who,
            "y": shown,
            "x": [finite(values[at]) for at in order],
            "marker": {"color": COLOURS[tone]},
            "hovertemplate": f"{who} %{{x:.1%}}<extra></extra>",
            "meta": {"tone": tone},
        }
        for (who, tone, _), values in zip(SIDES, (before, now), strict=True)
        if has_reference or who == "now"
    ]
    return figure(
        traces,
        x=SHARE | {"title": {"text": f"share of {of}", "standoff": 6}, "showgrid": True},
        y={"type": "category", "autorange": "reversed", "showgrid": False, "ticklabelstandoff": 6},
        caption=f"Shares of {of}, now and on the reference, those that moved furthest first."
        if has_reference
        else f"Shares of {of}, the largest first.",
        hovermode="y unified",
        bargap=0.35,
    )


def calibration(before: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> Figure:
    """Accuracy against confidence, now and on the reference; on the diagonal the student means what
    it says. Bins of few rows are joined."""
    diagonal: Trace = {
        "type": "scatter",
        "mode": "lines",
        "name": "perfectly calibrated",
        "x": [0, 1],
        "y": [0, 1],
        "line": {"color": COLOURS["series-2"], "width": 1, "dash": "dot"},
        "hoverinfo": "skip",
        "meta": {"tone": "series-2"},
    }
    traces = [diagonal]
    for (who, tone, dash), bins in zip(SIDES, (before, now), strict=True):
        filled = joined(bins)
        if not filled and who == "reference":
            continue
        largest = max((one["count"] for one in filled), default=1)
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": who,
                "x": [finite(one["confidence"]) for one in filled],
                "y": [finite(one["accuracy"]) for one in filled],
                "customdata": [one["count"] for one in filled],
                "cliponaxis": False,
                "line": {"color": COLOURS[tone], "width": 1.5, "dash": dash},
                "marker": {
                    "size": [6 + 12 * (one["count"] / largest) ** 0.5 for one in filled],
                    "color": COLOURS[tone],
                },
                "hovertemplate": (
                    f"{who}: confident %{{x}}, right %{{y}}<br>%{{customdata}} rows<extra></extra>"
                ),
                "meta": {"tone": tone},
            }
        )
    share = {"range": [0, 1], "tickformat": ".0%", "hoverformat": ".1%"}
    return figure(
        traces,
        x=share | {"title": {"text": "confidence", "standoff": 6}},
        y=share | {"title": {"text": "accuracy", "standoff": 6}},
        caption="Of answers given with a confidence, the share that was right"
        + (", now and on the reference." if len(traces) > 2 else "."),
        hovermode="closest",
    )
