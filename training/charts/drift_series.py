"""What came and how well it was answered, window by window: rows, latency, confidence, accuracy,
agreement with the teacher, and whose fault errors are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training.charts.drift import TIME, At
from training.charts.figures import COLOURS, Figure, Trace, figure, finite, reference
from training.charts.row_maps import INKS
from training.engine import shares

SHARE = {"tickformat": ".0%", "hoverformat": ".1%"}
MILLISECONDS = {"ticksuffix": " ms", "hoverformat": ".3~f", "rangemode": "tozero"}
MANY = 90  # windows, of which marks would hide the line
#: Kinds of rows by who is wrong, in the order in which they are stacked.
FAULTS = {
    "both_right": ("both right", "good"),
    "teacher_wrong": ("teacher alone wrong", "teacher"),
    "student_wrong": ("student alone wrong", "student"),
    "both_wrong": ("both wrong", "bad"),
}


@dataclass(frozen=True, slots=True)
class Share:
    """A share of a window, the interval it lies in at 95 %, and of how many rows it is."""

    at: At
    value: float | None
    low: float | None = None
    high: float | None = None
    rows: float | None = None


def volume(places: Sequence[At], rows: Sequence[int], late: Sequence[int]) -> Figure:
    """How many rows came, and how many of them after their window had been judged."""
    in_time = [count - after for count, after in zip(rows, late, strict=True)]
    traces = [_bars(places, in_time, "in time", "student")]
    if any(late):
        traces.append(_bars(places, late, "late", "series-2"))
    return figure(
        traces,
        x=TIME,
        y={"title": {"text": "rows", "standoff": 6}, "rangemode": "tozero"},
        caption="Rows of each window; late are those that came after it was judged.",
        barmode="stack",
        bargap=0.1,
    )


def pace(places: Sequence[At], hourly: Sequence[float | None]) -> Figure:
    """How fast rows came, of windows that are all of one size."""
    return figure(
        [_line(places, hourly, "rows an hour", "student")],
        x=TIME,
        y={"title": {"text": "rows an hour", "standoff": 6}, "rangemode": "tozero"},
        caption="How fast rows came: those of a window, by how long it lasted.",
    )


def latency(places: Sequence[At], told: Sequence[Mapping[str, Any]]) -> Figure:
    """Percentiles of how long answers took: {"p50", "p95", "p99"} of each window, as callers say
    it."""
    looks = (("p50", "student", "solid"), ("p95", "series-2", "solid"), ("p99", "series-3", "dash"))
    return figure(
        [
            _line(places, [one.get(key) for one in told], key, tone, unit=" ms", dash=dash)
            for key, tone, dash in looks
        ],
        x=TIME,
        y=MILLISECONDS,
        caption="Of the answers of a window 50, 95 and 99 of 100 took at most so long.",
    )


def confidence(
    places: Sequence[At], told: Sequence[Mapping[str, Any]], before: float | None = None
) -> Figure:
    """How likely the student held its own answers, on average: {"mean"} of each window. `before`
    is that of the reference."""
    line = _line(places, [one.get("mean") for one in told], "confidence", "student", unit=":.1%")
    known = finite(before)
    marks = {} if known is None else reference(known, label="reference", tone="control")
    return figure(
        [line],
        x=TIME,
        y=SHARE | {"title": {"text": "confidence", "standoff": 6}},
        caption="How likely the student held its answers to be right, on average of a window.",
        **marks,
    )


def agreement(told: Sequence[Share], before: float | None = None) -> Figure:
    """The share of rows on which the teacher says what the student said, of those that it was asked
    about, beside that of the reference."""
    return _shares(
        [_interval(told, "agreement", "student", "solid")],
        "agreement",
        before,
        "The share of rows on which student and teacher agree, of those the teacher was asked "
        "about; bars hold the true share in 95 of 100 windows.",
    )


def accuracy(
    real: Sequence[Share], estimated: Sequence[Share], before: float | None = None
) -> Figure:
    """What labels say once they come, and what confidence promised before; both with their
    intervals, beside the accuracy on the reference."""
    traces = [_interval(real, "measured by labels", "student", "solid")]
    if estimated:
        traces.append(_interval(estimated, "estimated without labels", "series-2", "dot"))
    return _shares(
        traces,
        "accuracy",
        before,
        "Measured of rows whose label is known; bars hold the true share in 95 of 100 windows.",
    )


def alike(teacher: Sequence[Share], label: Sequence[Share], before: float | None = None) -> Figure:
    """How much of an answer is as the teacher's, and as the label, in the mean of a window's rows:
    of several labels, and of texts. `before` is of whichever is drawn first."""
    told = (("with the teacher's", "teacher", teacher), ("with the label", "student", label))
    return _shares(
        [_interval(one, name, tone, "solid") for name, tone, one in told if one],
        "alike",
        before,
        "How much of an answer is the same, on average: 1 where all of it is, 0 where nothing is.",
    )


def calibration_error(told: Sequence[Share], before: float | None = None) -> Figure:
    """How far confidence and accuracy lie apart, window by window."""
    return _shares(
        [_interval(told, "calibration error", "student", "solid")],
        "calibration error",
        before,
        "How far confidence and accuracy lie apart on average; of few rows it is never near zero.",
    )


def faults(places: Sequence[At], told: Sequence[Mapping[str, Any]]) -> Figure:
    """Rows that have a label and the teacher's answer, by who is wrong, as shares of each window:
    counts of FAULTS."""
    traces: list[Trace] = []
    totals = [sum(finite(one.get(kind)) or 0.0 for kind in FAULTS) for one in told]
    for kind, (name, tone) in FAULTS.items():
        counts = [finite(one.get(kind)) or 0.0 for one in told]
        traces.append(
            {
                "type": "bar",
                "name": name,
                "x": [one.time for one in places],
                "y": [
                    round(count / total, 4) if total else None
                    for count, total in zip(counts, totals, strict=True)
                ],
                "customdata": [one.number for one in places],
                "marker": {"color": INKS[tone]},
                "hovertemplate": f"%{{y:.1%}} {name}<extra></extra>",
                "meta": {"tone": tone},
            }
        )
    return figure(
        traces,
        x=TIME,
        y=SHARE | {"range": [0, 1], "title": {"text": "share of rows", "standoff": 6}},
        caption="Rows with a label and the teacher's answer, by who of the two is wrong.",
        barmode="stack",
        bargap=0.1,
    )


def _bars(places: Sequence[At], values: Sequence[int], name: str, tone: str) -> Trace:
    return {
        "type": "bar",
        "name": name,
        "x": [one.time for one in places],
        "y": list(values),
        "customdata": [one.number for one in places],
        "marker": {"color": COLOURS[tone]},
        "hovertemplate": f"%{{y}} {name}<extra></extra>",
        "meta": {"tone": tone},
    }


def _line(
    places: Sequence[At],
    values: Sequence[Any],
    name: str,
    tone: str,
    *,
    unit: str = "",
    dash: str = "solid",
) -> Trace:
    form = f"%{{y{unit}}}" if unit.startswith(":") else f"%{{y:.3~f}}{unit}"
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": [one.time for one in places],
        "y": list(map(finite, values)),
        "customdata": [one.number for one in places],
        "line": {"color": COLOURS[tone], "width": 1.6, "dash": dash},
        "marker": {"size": 4.5, "color": COLOURS[tone]},
        "connectgaps": False,
        "hovertemplate": f"{form}<extra>%{{fullData.name}}</extra>",
        "meta": {"tone": tone},
    }


def _interval(told: Sequence[Share], name: str, tone: str, dash: str) -> Trace:
    """A line with bars as far as each share's interval reaches; windows of few rows are faint."""
    values = [finite(one.value) for one in told]
    above = [_apart(one.high, value) for one, value in zip(told, values, strict=True)]
    below = [_apart(value, one.low) for one, value in zip(told, values, strict=True)]
    return {
        "type": "scatter",
        "mode": "lines+markers" if len(told) < MANY else "lines",
        "name": name,
        "x": [one.at.time for one in told],
        "y": values,
        "customdata": [one.at.number for one in told],
        "text": ["" if one.rows is None else f"of {one.rows:.0f} rows" for one in told],
        "line": {"color": COLOURS[tone], "width": 1.4, "dash": dash},
        "marker": {
            "size": 5,
            "color": COLOURS[tone],
            "opacity": [0.4 if (one.rows or 0) < shares.FEW else 1 for one in told],
        },
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": above,
            "arrayminus": below,
            "color": "rgba(128,136,180,0.45)",  # behind the line, on light and on dark
            "thickness": 1,
            "width": 0,
        },
        "connectgaps": False,
        "hovertemplate": "%{y:.1%} %{text}<extra>%{fullData.name}</extra>",
        "meta": {"tone": tone},
    }


def _apart(one: float | None, other: float | None) -> float:
    high, low = finite(one), finite(other)
    return max(0.0, high - low) if high is not None and low is not None else 0.0


def _shares(traces: list[Trace], title: str, before: float | None, caption: str) -> Figure:
    known = finite(before)
    marks = {} if known is None else reference(known, label="reference", tone="control")
    return figure(
        traces,
        x=TIME,
        y=SHARE | {"title": {"text": title, "standoff": 6}},
        caption=caption,
        **marks,
    )
