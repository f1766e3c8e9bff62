"""Ways of training over several seeds: each seed's score, how sure a difference is, and what each
way took beside how good it is."""

from collections.abc import Mapping, Sequence
from typing import Any

from training.charts.figures import COLOURS, Figure, Trace, figure, plain, reference

TONES = {
    "control": "control",
    "distilled": "student",
    "teacher": "teacher",
    "frozen": "series-3",
    "pseudo_labels": "series-4",
    "taught_by_tuned": "series-5",
}
SYMBOLS = {
    "control": "circle",
    "distilled": "diamond",
    "teacher": "star",
    "frozen": "square",
    "pseudo_labels": "triangle-up",
    "taught_by_tuned": "cross",
}


def by_seed(
    arms: Sequence[tuple[str, str, Sequence[tuple[int, float]]]], *, is_share: bool
) -> Figure:
    """Every seed's score as a point, the means as a line: (key, label, [(seed, score)]) of each."""
    traces: list[Trace] = []
    for key, label, told in arms:
        tone = TONES.get(key, "series-2")
        name = plain(label, 36)
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": [score for _, score in told],
                "y": [name] * len(told),
                "customdata": [seed for seed, _ in told],
                "marker": {"size": 9, "color": COLOURS[tone], "opacity": 0.75},
                "hovertemplate": f"{_number(is_share)}, seed %{{customdata}}<extra></extra>",
                "meta": {"tone": tone},
            }
        )
        if len(told) > 1:
            mean = sum(score for _, score in told) / len(told)
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": f"{name}, mean",
                    "x": [mean],
                    "y": [name],
                    "marker": {
                        "size": 22,
                        "symbol": "line-ns-open",
                        "color": COLOURS[tone],
                        "line": {"width": 2, "color": COLOURS[tone]},
                    },
                    "hovertemplate": f"mean {_number(is_share)}<extra></extra>",
                    "meta": {"tone": tone},
                }
            )
    return figure(
        traces,
        x={
            "showgrid": True,
            "title": {"text": "score", "standoff": 6},
            **({"tickformat": ".1%"} if is_share else {}),
        },
        y={"type": "category", "autorange": "reversed", "showgrid": False},
        caption="Each seed's score is a point; a line marks the mean.",
        hovermode="closest",
        meta={"named": True},
    )


def against_cost(
    arms: Sequence[Mapping[str, Any]], *, measure: str, is_share: bool, teacher: float | None
) -> Figure:
    """How good each way is over how long it took: {"key", "label", "score", "deviation",
    "seconds"}; `teacher` is the score of the one that taught as it was."""
    traces: list[Trace] = []
    for one in arms:
        key, tone = one["key"], TONES.get(one["key"], "series-2")
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": plain(one["label"], 40),
                "x": [one["seconds"]],
                "y": [one["score"]],
                "error_y": {
                    "type": "data",
                    "array": [one["deviation"] or 0.0],
                    "color": COLOURS[tone],
                    "thickness": 1.5,
                    "width": 4,
                },
                "marker": {
                    "size": 11,
                    "symbol": SYMBOLS.get(key, "circle"),
                    "color": COLOURS[tone],
                },
                "hovertemplate": f"{plain(one['label'], 40)}: %{{x:.1f}} s, "
                f"{'%{y:.1%}' if is_share else '%{y:.4~g}'}<extra></extra>",
                "meta": {"tone": tone},
            }
        )
    line = {} if teacher is None else reference(teacher, label="teacher as it is")
    return figure(
        traces,
        x={
            "showgrid": True,
            "rangemode": "tozero",
            "title": {"text": "seconds, all seeds together", "standoff": 6},
        },
        y={
            "title": {"text": plain(measure), "standoff": 6},
            **({"tickformat": ".0%"} if is_share else {}),
        },
        caption="Test scores over what each way took, asking and training a teacher included; "
        "bars are the deviation between seeds.",
        hovermode="closest",
        **line,
    )


def differences(found: Sequence[Mapping[str, Any]], *, factor: float, unit: str) -> Figure:
    """Each comparison's difference and its interval, beside nothing gained: {"label",
    "difference", "interval"}, in units of `factor`."""
    names = [plain(str(one["label"]), 60) for one in found]
    values = [one["difference"] * factor for one in found]
    above = [(one["interval"][1] - one["difference"]) * factor for one in found]
    below = [(one["difference"] - one["interval"][0]) * factor for one in found]
    said = f"%{{x:+.2f}} {plain(unit)}".strip()
    points: Trace = {
        "type": "scatter",
        "mode": "markers",
        "name": "difference",
        "x": values,
        "y": names,
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": above,
            "arrayminus": below,
            "color": COLOURS["student"],
            "thickness": 2,
            "width": 5,
        },
        "marker": {"size": 9, "color": COLOURS["student"]},
        "hovertemplate": f"{said}<extra></extra>",
        "meta": {"tone": "student"},
    }
    zero = {
        "type": "line",
        "name": "tone:control",
        "x0": 0,
        "x1": 0,
        "yref": "paper",
        "y0": 0,
        "y1": 1,
        "line": {"color": COLOURS["control"], "width": 1, "dash": "dot"},
    }
    title = {"text": plain(unit), "standoff": 6}
    return figure(
        [points],
        x={"showgrid": True, "title": title},
        y={"type": "category", "autorange": "reversed", "showgrid": False},
        caption="Differences with their intervals; on the dotted line nothing is gained.",
        hovermode="closest",
        meta={"named": True},
        shapes=[zero],
    )


def _number(is_share: bool) -> str:
    return "%{x:.2%}" if is_share else "%{x:.4~g}"
