"""How well the student answers, class by class, and whether its confidence can be believed."""

from collections.abc import Mapping, Sequence
from typing import Any

from training.charts.figures import COLOURS, Figure, Trace, figure, finite, plain, unique
from training.engine import shares


def reliability(
    student: Sequence[Mapping[str, Any]], teacher: Sequence[Mapping[str, Any]] | None = None
) -> Figure:
    """Accuracy against confidence, bin by bin; on the diagonal a model means what it says. Bins of
    few rows are joined with the next: of three rows the share that is right is chance."""
    diagonal: Trace = {
        "type": "scatter",
        "mode": "lines",
        "name": "perfectly calibrated",
        "x": [0, 1],
        "y": [0, 1],
        "line": {"color": COLOURS["control"], "width": 1, "dash": "dot"},
        "hoverinfo": "skip",
        "meta": {"tone": "control"},
    }
    traces = [diagonal]
    if student:
        traces.append(_bins(student, "student"))
    if teacher:
        traces.append(_bins(teacher, "teacher"))
    share = {"range": [0, 1], "tickformat": ".0%", "hoverformat": ".1%"}
    return figure(
        traces,
        x=share | {"title": {"text": "confidence", "standoff": 6}},
        y=share | {"title": {"text": "accuracy", "standoff": 6}},
        caption="Of answers given with a confidence, the share that was right.",
        hovermode="closest",
    )


def per_class(
    student: Sequence[Mapping[str, Any]],
    teacher: Sequence[Mapping[str, Any]] | None = None,
    *,
    most: int = 24,
) -> Figure:
    """F1 of each class with its interval, the student's worst first, and the teacher's as a mark on
    the bar. Classes of few rows are faint."""
    worst = sorted(student, key=lambda row: finite(row.get("f1")) or 0.0)[:most]
    names = unique([plain(str(row["label"]), 24) for row in worst])
    sure = [_f1_interval(row) for row in worst]
    bars: Trace = {
        "type": "bar",
        "orientation": "h",
        "name": "student",
        "y": names,
        "x": [finite(row.get("f1")) for row in worst],
        "customdata": [
            [row.get("rows"), finite(row.get("precision")), finite(row.get("recall")), low, high]
            for row, (low, high) in zip(worst, sure, strict=True)
        ],
        "hovertemplate": (
            "student F1 %{x:.1%}, 95 % within %{customdata[3]:.0%} and %{customdata[4]:.0%}"
            "<br>precision %{customdata[1]:.1%}, recall %{customdata[2]:.1%}"
            "<br>%{customdata[0]} rows<extra></extra>"
        ),
        "marker": {
            "color": COLOURS["student"],
            "opacity": [0.35 if row.get("rows", 0) < shares.FEW else 1 for row in worst],
        },
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [
                high - (finite(row.get("f1")) or 0.0)
                for row, (_, high) in zip(worst, sure, strict=True)
            ],
            "arrayminus": [
                (finite(row.get("f1")) or 0.0) - low
                for row, (low, _) in zip(worst, sure, strict=True)
            ],
            "color": "#8a8f9c",  # readable on light and on dark
            "thickness": 1,
            "width": 2,
        },
        "meta": {"tone": "student"},
    }
    traces = [bars]
    if teacher:
        by_label = {row["label"]: finite(row.get("f1")) for row in teacher}
        marks: Trace = {
            "type": "scatter",
            "mode": "markers",
            "name": "teacher",
            "y": names,
            "x": [by_label.get(row["label"]) for row in worst],
            "marker": {
                "symbol": "line-ns-open",
                "size": 11,
                "line": {"width": 2},
                "color": COLOURS["teacher"],
            },
            "hovertemplate": "teacher F1 %{x:.1%}<extra></extra>",
            "meta": {"tone": "teacher"},
        }
        traces.append(marks)
    return figure(
        traces,
        x={"range": [0, 1.02], "tickformat": ".0%", "showgrid": True}
        | {"title": {"text": "F1", "standoff": 6}},
        y={"autorange": "reversed", "type": "category", "showgrid": False, "ticklabelstandoff": 6},
        caption="F1 of each class, the student's worst first.",
        hovermode="y unified",
        bargap=0.45,
    )


def scatter(
    truth: Sequence[Any],
    student: Sequence[Any],
    teacher: tuple[Sequence[Any], Sequence[Any]] | None = None,
) -> Figure:
    """Answers against what is true, of numbers; on the diagonal they are right. `teacher` is its
    truths and answers."""
    known = [value for value in map(finite, [*truth, *student]) if value is not None]
    low, high = min(known, default=0.0), max(known, default=1.0)
    diagonal: Trace = {
        "type": "scatter",
        "mode": "lines",
        "name": "right",
        "x": [low, high],
        "y": [low, high],
        "line": {"color": COLOURS["control"], "width": 1, "dash": "dot"},
        "hoverinfo": "skip",
        "meta": {"tone": "control"},
    }
    clouds = [_cloud(*teacher, "teacher")] if teacher else []
    return figure(
        [diagonal, *clouds, _cloud(truth, student, "student")],
        x={"title": {"text": "true", "standoff": 6}, "showgrid": True},
        y={"title": {"text": "answered", "standoff": 6}},
        caption="What was answered against what is true, row by row.",
        hovermode="closest",
    )


def _cloud(truth: Sequence[Any], answers: Sequence[Any], tone: str) -> Trace:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": tone,
        "x": list(map(finite, truth)),
        "y": list(map(finite, answers)),
        "marker": {"size": 5, "opacity": 0.6, "color": COLOURS[tone]},
        "hovertemplate": f"{tone}: true %{{x:.4g}}, answered %{{y:.4g}}<extra></extra>",
        "meta": {"tone": tone},
    }


def _f1_interval(row: Mapping[str, Any]) -> list[float]:
    precision, recall = (finite(row.get(name)) or 0.0 for name in ("precision", "recall"))
    return shares.of_f1(precision, recall, row.get("rows") or 0)


def joined(bins: Sequence[Mapping[str, Any]], least: int = shares.FEW) -> list[dict[str, float]]:
    """Neighbouring bins put together until each has `least` rows, as far as there are so many;
    confidence and accuracy are those of all rows together."""
    groups: list[list[Mapping[str, Any]]] = []
    for one in bins:
        if not one.get("count"):
            continue
        if groups and _rows(groups[-1]) < least:
            groups[-1].append(one)
        else:
            groups.append([one])
    if len(groups) > 1 and _rows(groups[-1]) < least:
        groups[-2:] = [groups[-2] + groups[-1]]
    return [
        {
            "count": _rows(group),
            **{
                name: sum((finite(one.get(name)) or 0.0) * one["count"] for one in group)
                / _rows(group)
                for name in ("confidence", "accuracy")
            },
        }
        for group in groups
    ]


def _rows(bins: Sequence[Mapping[str, Any]]) -> int:
    return sum(one["count"] for one in bins)


def _bins(bins: Sequence[Mapping[str, Any]], tone: str) -> Trace:
    filled = joined(bins)
    most = max((one["count"] for one in filled), default=1)
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": tone,
        "x": [finite(one.get("confidence")) for one in filled],
        "y": [finite(one.get("accuracy")) for one in filled],
        "customdata": [one["count"] for one in filled],
        "line": {"color": COLOURS[tone], "width": 1.5},
        # The area of a mark is its bin's share of the rows.
        "marker": {
            "size": [6 + 12 * (one["count"] / most) ** 0.5 for one in filled],
            "color": COLOURS[tone],
        },
        "hovertemplate": (
            f"{tone}: confident %{{x}}, right %{{y}}<br>%{{customdata}} rows<extra></extra>"
        ),
        "meta": {"tone": tone},
    }
