"""The frame of every chart: a Plotly figure as a plain dictionary.

`plotly.graph_objects` takes most of a second and 40 MiB to import, so figures are built as the
dictionaries they become anyway; tests check each against Plotly's own schema.

Colours are those of the light theme. `meta["tone"]` of a trace and the `name` ("tone:teacher") of
a shape or annotation say which colour of the design it is, so that static/js/chart.js can draw it
in the reader's theme; `meta["series"]` says which metric feeds it while a run is live.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from training.charts import run_colours, thinning

Figure = dict[str, Any]
Trace = dict[str, Any]
#: `{"steps": [...], "values": [...]}`, as `metrics.read` gives a series.
Points = Mapping[str, Sequence[Any]]

COLOURS = {
    "teacher": "#c9780f",
    "student": "#3f4fd6",
    "control": "#5c6473",
    "series-2": "#2a9286",
    "series-3": "#81004b",
    "series-4": "#486d00",
    "series-5": "#5e2e9e",
    "series-6": "#0978b0",
    **run_colours.TONES,
}
#: In the order in which further lines of one chart take them.
PALETTE = ("series-2", "series-3", "series-5", "series-4", "series-6")


def figure(
    traces: Sequence[Trace],
    *,
    x: Mapping[str, Any] | None = None,
    y: Mapping[str, Any] | None = None,
    caption: str = "",
    **layout: Any,
) -> Figure:
    """A figure in our margins and grid; `x` and `y` are settings of the axes, each of which says
    what it counts: by its title, or on its ticks. The caption is a sentence that says what is
    drawn. Values that are not finite become breaks, and traces longer than a screen can show are
    thinned."""
    axis = {"gridcolor": "#e5e4df", "zeroline": False, "automargin": True}
    meta = {**layout.pop("meta", {}), "caption": caption}
    return {
        "data": [thinning.drawable(trace) for trace in traces],
        "layout": {
            "margin": {"l": 48, "r": 16, "t": 12, "b": 36},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": "Inter, system-ui, sans-serif", "size": 11, "color": "#525665"},
            "hovermode": "x unified",
            "showlegend": False,
            "xaxis": axis | {"showgrid": False} | dict(x or {}),
            "yaxis": axis | dict(y or {}),
            "meta": meta,
            **layout,
        },
    }


def line(
    points: Points | None,
    *,
    name: str,
    series: str,
    tone: str,
    smooth: bool = False,
    dash: str = "solid",
    markers: bool = False,
    unit: str = "",
) -> Trace:
    """A metric over steps; empty, but there, until its first point."""
    steps = list(points["steps"]) if points else []
    return {
        "type": "scatter",
        "mode": "lines+markers" if markers else "lines",
        "name": name,
        "x": steps,
        "y": [finite(value) for value in points["values"]] if points else [],
        "line": {"color": COLOURS[tone], "width": 2 if markers else 1.6, "dash": dash},
        "marker": {"size": 4.5, "color": COLOURS[tone]},
        "connectgaps": False,
        "hovertemplate": f"%{{y{unit}}}",
        "meta": {"series": series, "tone": tone, "smooth": smooth},
    }


def reference(value: float, *, label: str, tone: str = "teacher") -> dict[str, Any]:
    """Layout parts for a dashed line across the chart at `value`: the teacher, usually."""
    name = f"tone:{tone}"
    return {
        "shapes": [
            {
                "type": "line",
                "name": name,
                "xref": "paper",
                "x0": 0,
                "x1": 1,
                "yref": "y",
                "y0": value,
                "y1": value,
                "line": {"color": COLOURS[tone], "width": 1.5, "dash": "dash"},
            }
        ],
        "annotations": [
            {
                "name": name,
                "xref": "paper",
                "x": 0,
                "xanchor": "left",
                "yref": "y",
                "y": value,
                "yanchor": "bottom",
                "text": label,
                "showarrow": False,
                "font": {"size": 11, "color": COLOURS[tone]},
            }
        ],
    }


def finite(value: Any) -> float | None:
    """A number a chart can place; NaN and infinities arrive as strings and become a break."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if value - value == 0 else None


def plain(text: str, longest: int = 28) -> str:
    """People's words as Plotly shows them: short, and never read as its mark-up."""
    text = text if len(text) <= longest else text[: longest - 1] + "…"
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def unique(names: Sequence[str]) -> list[str]:
    """Categories of an axis must differ; shortened names may not."""
    seen: dict[str, int] = {}
    found = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return found
