"""Which classes are taken for which: by the student, by its teacher, and where the two differ."""

from collections.abc import Sequence

from training.charts.figures import COLOURS, Figure, Trace, figure, plain, unique

MOST_NAMED = 40  # classes: beyond, axis labels would overlap; hovering still names them
Counts = Sequence[Sequence[int]]


def of(labels: Sequence[str], counts: Counts, *, who: str = "student") -> Figure:
    """Rows are true classes, columns answers; colour is the share of the row, so that rare classes
    are seen as well as common ones. `who` is student, teacher or control."""
    # Hovering reads the counts: a sentence a cell would be most of the page of many classes.
    heat = _heat(labels, _shares(counts)) | {
        "customdata": [list(row) for row in counts],
        "hovertemplate": (
            "true: %{y}<br>answered: %{x}<br>%{customdata} rows, %{z:.1%} of the true ones"
            "<extra></extra>"
        ),
        "zmin": 0,
        "zmax": 1,
        "colorscale": [[0, "#fafaf8"], [1, COLOURS[who]]],
        "meta": {"scale": "heat", "hue": "teacher-line" if who == "teacher" else who},
    }
    return _figure(heat, f"Of the rows of each true class, the share to which the {who} gave each "
                   "answer.")  # fmt: skip


def difference(labels: Sequence[str], student: Counts, teacher: Counts) -> Figure:
    """The student's shares less the teacher's: more of an answer in the student's colour, less in
    the teacher's. On the diagonal more is better, beside it less."""
    ours, theirs = _shares(student), _shares(teacher)
    apart = [
        [round(one - other, 4) or 0 for one, other in zip(*rows, strict=True)]
        for rows in zip(ours, theirs, strict=True)
    ]
    most = max((abs(one) for row in apart for one in row), default=0.0) or 1.0
    heat = _heat(labels, apart) | {
        "hovertemplate": (
            "true: %{y}<br>answered: %{x}<br>%{z:+.1%} of the true ones<extra></extra>"
        ),
        "zmin": -most,
        "zmax": most,
        "colorscale": [[0, COLOURS["teacher"]], [0.5, "#fafaf8"], [1, COLOURS["student"]]],
        "meta": {"scale": "apart"},
    }
    return _figure(
        heat,
        "The student's share less the teacher's: in the student's colour answers that it gives "
        "more often, in the teacher's those that it gives less often.",
    )


def _shares(counts: Counts) -> list[list[float]]:
    # A whole 0, of which there are most, is the shortest that a page can say.
    return [[round(count / (sum(row) or 1), 4) or 0 for count in row] for row in counts]


def _heat(labels: Sequence[str], values: Sequence[Sequence[float]]) -> Trace:
    names = unique([plain(str(label), 20) for label in labels])
    gap = 1 if len(names) <= MOST_NAMED else 0
    return {
        "type": "heatmap",
        "name": "share of the true class",
        "x": names,
        "y": names,
        "z": values,
        "xgap": gap,
        "ygap": gap,
        "showscale": False,
    }


def _figure(heat: Trace, caption: str) -> Figure:
    few = len(heat["x"]) <= MOST_NAMED
    axis = {"showgrid": False, "type": "category", "showticklabels": few, "tickfont": {"size": 10}}
    return figure(
        [heat],
        x=axis | {"title": {"text": "answered", "standoff": 8}, "side": "bottom"},
        y=axis | {"title": {"text": "true", "standoff": 8}, "autorange": "reversed"},
        caption=caption,
        hovermode="closest",
    )
