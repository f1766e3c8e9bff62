"""What everybody is worth by how long, or how large, rows are."""

from collections.abc import Mapping, Sequence
from typing import Any

from training.charts.figures import COLOURS, Figure, Trace, figure, finite

WHO = ("teacher", "student", "control")


def by_size(parts: Sequence[Mapping[str, Any]], *, unit: str, name: str, is_share: bool) -> Figure:
    """One bar for each network and part, with its 95 % interval; `name` is what the metric is
    called."""
    spans = [span(part) for part in parts]
    bars: list[Trace] = []
    for who in WHO:
        worths = [part.get(who) for part in parts]
        if not any(worths):
            continue
        values = [finite(one["value"]) if one else None for one in worths]
        edges = [_reach(one) for one in worths]
        bars.append(
            {
                "type": "bar",
                "name": who,
                "x": spans,
                "y": values,
                "customdata": [part["rows"] for part in parts],
                "error_y": {
                    "type": "data",
                    "symmetric": False,
                    "array": [above for above, _ in edges],
                    "arrayminus": [below for _, below in edges],
                    "color": "#8a8f9c",  # readable on light and on dark
                    "thickness": 1,
                    "width": 2,
                },
                "marker": {"color": COLOURS[who]},
                "hovertemplate": (
                    f"{who}: %{{y}}<br>%{{x}} {unit}, %{{customdata}} rows<extra></extra>"
                ),
                "meta": {"tone": who},
            }
        )
    said = {"tickformat": ".0%", "hoverformat": ".1%"} if is_share else {"hoverformat": ".4g"}
    return figure(
        bars,
        x={"type": "category", "title": {"text": unit, "standoff": 8}},
        y=said | {"rangemode": "tozero", "title": {"text": name, "standoff": 8}},
        caption=f"{name[:1].upper()}{name[1:]} by the {unit} of a row, with 95 % intervals.",
        hovermode="closest",
        barmode="group",
        bargap=0.35,
    )


def span(part: Mapping[str, Any]) -> str:
    """`11 to 34`."""
    low, high = (_number(part[edge]) for edge in ("from", "to"))
    return low if low == high else f"{low} to {high}"


def _number(value: float) -> str:
    if value == round(value) or value >= 1000:
        return f"{value:,.0f}".replace(",", "\u202f")
    return f"{value:.3g}"


def _reach(worth: Mapping[str, Any] | None) -> tuple[float, float]:
    """How far the interval goes above and below the value."""
    if not worth or not worth.get("interval"):
        return 0.0, 0.0
    low, high = worth["interval"]
    return max(0.0, high - worth["value"]), max(0.0, worth["value"] - low)
