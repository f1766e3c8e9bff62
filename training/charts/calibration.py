"""Whether one network's confidence can be believed, and how often it is how sure."""

from collections.abc import Mapping, Sequence
from typing import Any

from training.charts.figures import COLOURS, Figure, Trace, figure, finite
from training.engine import shares

ACCURACY, ROWS = [0.3, 1.0], [0.0, 0.2]  # parts of the height


def diagram(bins: Sequence[Mapping[str, Any]], *, who: str) -> Figure:
    """Above, the share of answers that are right, by how sure the network was, with 95 % intervals;
    on the diagonal it means what it says. Below, how many answers there are. Bins of few rows are
    faint."""
    filled = [one for one in bins if one.get("count")]
    centres = [round((one["low"] + one["high"]) / 2, 4) for one in filled]
    widths = [round((one["high"] - one["low"]) * 0.92, 4) for one in filled]
    right = [finite(one.get("accuracy")) or 0.0 for one in filled]
    sure = [shares.wilson(value, one["count"]) for value, one in zip(right, filled, strict=True)]
    told = [[one["count"], finite(one.get("confidence"))] for one in filled]
    diagonal: Trace = {
        "type": "scatter",
        "mode": "lines",
        "name": "perfectly calibrated",
        "x": [0, 1],
        "y": [0, 1],
        "line": {"color": COLOURS["control"], "width": 1, "dash": "dot"},
        "hoverinfo": "skip",
    }
    held: Trace = {
        "type": "bar",
        "name": who,
        "x": centres,
        "y": right,
        "width": widths,
        "customdata": told,
        "marker": {
            "color": COLOURS[who],
            "opacity": [0.35 if one["count"] < shares.FEW else 1 for one in filled],
        },
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [high - value for value, (_, high) in zip(right, sure, strict=True)],
            "arrayminus": [value - low for value, (low, _) in zip(right, sure, strict=True)],
            "color": "#8a8f9c",  # readable on light and on dark
            "thickness": 1,
            "width": 2,
        },
        "hovertemplate": (
            "sure to %{customdata[1]:.0%}, right in %{y:.0%}<br>%{customdata[0]} rows"
            "<extra></extra>"
        ),
        "meta": {"tone": who},
    }
    many: Trace = {
        "type": "bar",
        "name": "rows",
        "x": centres,
        "y": [one["count"] for one in filled],
        "width": widths,
        "yaxis": "y2",
        "marker": {"color": COLOURS["control"], "opacity": 0.5},
        "hovertemplate": "%{y} rows<extra></extra>",
    }
    share = {"tickformat": ".0%", "hoverformat": ".1%"}
    return figure(
        [held, diagonal, many],
        x=share | {"range": [0, 1], "title": {"text": "confidence", "standoff": 6}},
        y=share
        | {"range": [0, 1.02], "domain": ACCURACY, "title": {"text": "accuracy", "standoff": 6}},
        yaxis2={
            "domain": ROWS,
            "title": {"text": "rows", "standoff": 6},
            "gridcolor": "#e5e4df",
            "zeroline": False,
            "automargin": True,
            "nticks": 3,
            "tickformat": "~s",
        },
        caption=f"Of answers that the {who} gave with a confidence, the share that was right, and "
        "how many there are.",
        hovermode="closest",
        bargap=0,
        meta={"named": True},
    )
