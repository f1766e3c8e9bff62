"""What a run measured over its steps, as figures.

Every function takes the `series` of `services.metrics.read` and answers a figure that already holds
an empty line for what is still to come, so that a live page only ever appends.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from training.charts.figures import (
    COLOURS,
    PALETTE,
    Figure,
    Points,
    Trace,
    figure,
    finite,
    line,
    plain,
    reference,
)

Series = Mapping[str, Points]

STEP = {"title": {"text": "step", "standoff": 6}, "rangemode": "tozero"}
SHARE = {
    "tickformat": ".0%",
    "hoverformat": ".2%",
    # Around one point, or none, Plotly would draw shares below nothing and above all.
    "autorangeoptions": {"clipmin": 0, "clipmax": 1.02},
}

PLAIN = {"hoverformat": ".4f"}


def titled(text: str) -> dict[str, Any]:
    """What an axis counts, beside it."""
    return {"title": {"text": text, "standoff": 8}}


def term_name(term: str) -> str:
    """What a term of the loss is called on a chart."""
    return term.replace("_", " ")


def losses(
    series: Series, *, terms: Sequence[str], units: Mapping[str, str] | None = None
) -> Figure:
    """The total loss, each term of it, and the loss on the validation split. `units` are those of
    the terms; a sum of terms with several has none of its own."""
    known = {(units or {}).get(term, "") for term in terms}
    unit = next(iter(known)) if len(known) == 1 else "weighted sum"
    lines = [
        line(
            series.get("train/loss"), name="total", series="train/loss", tone="student", smooth=True
        )
    ]
    if len(terms) > 1:  # a single term is the total
        lines += [
            line(
                series.get(f"train/{term}"),
                name=term_name(term) + (f", {(units or {})[term]}" if len(known) > 1 else ""),
                series=f"train/{term}",
                tone=PALETTE[place % len(PALETTE)],
                smooth=True,
            )
            for place, term in enumerate(dict.fromkeys(terms))
        ]
    lines.append(
        line(
            series.get("val/loss"),
            name="validation",
            series="val/loss",
            tone="control",
            dash="dot",
            markers=True,
        )
    )
    return figure(
        lines,
        x=STEP,
        y={"hoverformat": ".4f"} | titled(unit or "loss"),
        caption="What training makes small, over its steps; less is better.",
        meta={"log": True},
    )


def quality(
    series: Series,
    *,
    metric: str = "val/accuracy",
    name: str = "student",
    teacher: float | None = None,
    teacher_name: str = "teacher",
    control: Points | None = None,
    with_control: bool = False,
    is_share: bool = True,
) -> Figure:
    """A score on the validation split, with the teacher's as a dashed line and, where there is
    one, the control's beside it. `is_share`: it is between 0 and 1, and read in percent."""
    lines = [
        line(series.get(metric), name=plain(name), series=metric, tone="student", markers=True)
    ]
    if with_control:
        overlay = line(
            control,
            name="control",
            series=f"control/{metric}",
            tone="control",
            dash="dot",
            markers=True,
        )
        lines.append(overlay)
    parts: dict[str, Any] = {}
    shown = finite(teacher)
    if shown is not None:
        said = f"{shown * 100:.1f} %" if is_share else f"{shown:.4g}"
        parts = reference(shown, label=f"{plain(teacher_name)} {said}")
    measure = term_name(metric.rpartition("/")[2])
    return figure(
        lines,
        x=STEP,
        y=(SHARE if is_share else PLAIN) | titled(measure),
        caption=f"The {measure} on rows of the validation split, each time it was measured.",
        **parts,
    )


def shares(series: Series, *, terms: Sequence[str]) -> Figure:
    """What each term's part of the gradient's length is, one upon the other: what drives the
    student, whatever the weights say."""
    areas = []
    for place, term in enumerate(terms):
        name = f"train/{term}_share"
        area = line(
            series.get(name),
            name=term_name(term),
            series=name,
            tone=PALETTE[place % len(PALETTE)],
        )
        areas.append(area)
    # An area between one point and itself is nothing: short runs are measured once.
    is_one_point = all(len(area["x"]) == 1 for area in areas)
    look = {"type": "bar", "width": 0.5} if is_one_point else {"stackgroup": "terms"}
    share = {"tickformat": ".0%", "hoverformat": ".1%", "range": [0, 1]}
    return figure(
        [_bar(area) | look if is_one_point else area | look for area in areas],
        barmode="stack",
        x=STEP,
        y=share | titled("share of the gradient"),
        caption="How much of the gradient's length each term of the loss gives.",
    )


def _bar(area: Trace) -> Trace:
    """Without what only a line has."""
    kept = {at: told for at, told in area.items() if at not in ("mode", "line", "connectgaps")}
    return kept | {"marker": {"color": area["marker"]["color"]}}


def weights(series: Series, *, terms: Sequence[str]) -> Figure:
    """The weights that change while a run trains."""
    lines = [
        line(
            series.get(f"train/{term}_weight"),
            name=term_name(term),
            series=f"train/{term}_weight",
            tone=PALETTE[place % len(PALETTE)],
        )
        for place, term in enumerate(terms)
    ]
    return figure(
        lines,
        x=STEP,
        y={"hoverformat": ".3g", "rangemode": "tozero"} | titled("weight"),
        caption="What each term of the loss is multiplied with.",
    )


def scores(series: Series, *, names: Mapping[str, str], is_share: bool) -> Figure:
    """Further scores on the validation split, each under its name."""
    lines = [
        line(
            series.get(metric),
            name=name,
            series=metric,
            tone=PALETTE[place % len(PALETTE)],
            markers=True,
        )
        for place, (metric, name) in enumerate(names.items())
    ]
    return figure(
        lines,
        x=STEP,
        y=(SHARE if is_share else PLAIN) | titled(" or ".join(names.values()) or "score"),
        caption="Measured on rows of the validation split.",
    )


def alike(series: Series, *, names: Sequence[str], is_share: bool) -> Figure:
    """One measure under several names, such as a loss in training and on held-out rows: as it was
    called by the program that sent it. Of few points each is marked."""
    lines = []
    for place, name in enumerate(names):
        points = series.get(name)
        few = points is not None and len(points["steps"]) <= 60
        tone = "student" if place == 0 else PALETTE[(place - 1) % len(PALETTE)]
        called = plain(name, longest=40)
        lines.append(line(points, name=called, series=name, tone=tone, smooth=not few, markers=few))
    return figure(
        lines,
        x=STEP,
        y=(SHARE if is_share else {"hoverformat": ".4~g"}) | titled("value"),
        caption="Step by step, as its program sent it.",
        meta={"log": True},
    )


def with_stages(chart: Figure, marks: Sequence[tuple[int, str]]) -> Figure:
    """The figure with a line where each stage begins: (step, name)."""
    name = "tone:control"
    layout = chart["layout"]
    lines = [
        {
            "type": "line",
            "name": name,
            "xref": "x",
            "x0": step,
            "x1": step,
            "yref": "paper",
            "y0": 0,
            "y1": 1,
            "line": {"color": COLOURS["control"], "width": 1, "dash": "dot"},
        }
        for step, _ in marks
    ]
    notes = [
        {
            "name": name,
            "xref": "x",
            "x": step,
            "xanchor": "left",
            "yref": "paper",
            "y": 1,
            "yanchor": "top",
            "text": plain(text),
            "showarrow": False,
            "font": {"size": 11, "color": COLOURS["control"]},
        }
        for step, text in marks
    ]
    parts = {
        "shapes": [*layout.get("shapes", []), *lines],
        "annotations": [*layout.get("annotations", []), *notes],
    }
    return {**chart, "layout": {**layout, **parts}}


def agreement(series: Series) -> Figure:
    """The share of validation rows on which student and teacher answer the same."""
    name = "val/agreement"
    return figure(
        [line(series.get(name), name="agreement", series=name, tone="series-2", markers=True)],
        x=STEP,
        y=SHARE | titled("rows answered alike"),
        caption="The share of validation rows on which student and teacher answer the same.",
    )


def divergence(series: Series, *, metric: str = "val/kl", name: str = "KL divergence") -> Figure:
    """How far the student is from the teacher on the validation split: KL in nats, or, of numbers,
    their distance."""
    return figure(
        [line(series.get(metric), name=name, series=metric, tone="series-5", markers=True)],
        x=STEP,
        y={"hoverformat": ".4f", "rangemode": "tozero"}
        | titled("nats" if metric.endswith("kl") else "root mean square"),
        caption="How far the student's answers are from the teacher's; less is nearer.",
    )


def learning_rate(series: Series) -> Figure:
    name = "train/learning_rate"
    return figure(
        [line(series.get(name), name="learning rate", series=name, tone="series-6")],
        x=STEP,
        y={"hoverformat": ".3e", "tickformat": ".1e", "rangemode": "tozero"}
        | titled("learning rate"),
        caption="The size of each step of the optimizer.",
    )


def throughput(series: Series) -> Figure:
    """Samples a second, as the training loop measured them."""
    name = "train/samples_per_second"
    return figure(
        [line(series.get(name), name="samples / s", series=name, tone="series-4", smooth=True)],
        x=STEP,
        y={"hoverformat": ",.0f", "tickformat": "~s", "rangemode": "tozero"} | titled("rows / s"),
        caption="How many rows a second training took, validation left out.",
    )


def spark(points: Points | None, *, most: int = 40) -> str:
    """The points of an SVG polyline in a box of 100 by 24, for a row of a table."""
    values = list(map(finite, points["values"])) if points else []
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return ""
    count = min(most, len(known))
    drawn = [known[round(place * (len(known) - 1) / (count - 1))] for place in range(count)]
    low, high = min(drawn), max(drawn)
    span = (high - low) or 1.0
    last = len(drawn) - 1
    return " ".join(
        f"{place * 100 / last:.1f},{22 - (value - low) / span * 20:.1f}"
        for place, value in enumerate(drawn)
    )
