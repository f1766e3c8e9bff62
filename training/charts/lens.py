"""The loss of a run, term by term, and what temperatures make of its teacher's answers."""

import math
from collections.abc import Mapping, Sequence

from training.charts.curves import STEP, term_name
from training.charts.figures import (
    COLOURS,
    PALETTE,
    Figure,
    Points,
    Trace,
    figure,
    line,
    plain,
    reference,
)

SHOWN = 5  # labels of a row, each in a colour of its own
REST = "all others"


def term(series: Mapping[str, Points], kind: str, *, unit: str, place: int) -> Figure:
    """The value of one term over the steps, in its own unit and without its weight."""
    name = f"train/{kind}"
    return figure(
        [
            line(
                series.get(name),
                name=term_name(kind),
                series=name,
                tone=PALETTE[place % len(PALETTE)],
                smooth=True,
            )
        ],
        x=STEP,
        y={"hoverformat": ".4~g", "title": {"text": unit or "value", "standoff": 8}},
        caption=f"{term_name(kind).capitalize()} over the steps, before its weight.",
        meta={"log": True},
    )


def entropy(by_temperature: Sequence[Mapping[str, float]], own: Sequence[float], most: float) -> (
    Figure
):  # fmt: skip
    """The mean entropy of the teacher's answers by temperature, under the most there can be; those
    of the run are marked."""
    marks = [one["temperature"] in own for one in by_temperature]
    curve: Trace = {
        "type": "scatter",
        "mode": "lines+markers",
        "name": "teacher",
        "x": [one["temperature"] for one in by_temperature],
        "y": [one["entropy"] for one in by_temperature],
        "customdata": [one["other_mass"] for one in by_temperature],
        "line": {"color": COLOURS["teacher"], "width": 2},
        "marker": {"size": [12 if mark else 6 for mark in marks], "color": COLOURS["teacher"]},
        "hovertemplate": (
            "T = %{x}: %{y:.3f} nats<br>%{customdata:.1%} outside its first answer<extra></extra>"
        ),
        "meta": {"tone": "teacher"},
    }
    ticks = [one["temperature"] for one in by_temperature]
    return figure(
        [curve],
        x={
            "type": "log",
            "tickvals": ticks,
            "ticktext": [f"{one:g}" for one in ticks],
            "title": {"text": "temperature", "standoff": 6},
        },
        y={"rangemode": "tozero", "title": {"text": "entropy, nats", "standoff": 8}},
        caption="The mean entropy of the teacher's answers to test rows. A large mark is a "
        "temperature of this run.",
        hovermode="closest",
        **reference(most, label=f"even answers {most:.2f}", tone="control"),
    )


def softened(
    logits: Sequence[float],
    labels: Sequence[str],
    temperatures: Sequence[float],
    own: Sequence[float],
) -> Figure:
    """What a teacher says of one row at each temperature: a bar for each, in which the likeliest
    labels share the probability. softmax(logits / T), Hinton, Vinyals, Dean 1503.02531."""
    first = sorted(range(len(logits)), key=lambda place: -logits[place])[:SHOWN]
    shares = {one: probabilities(logits, one) for one in temperatures}
    names = [_bar(one, shares[one], own) for one in temperatures]
    bars: list[Trace] = [
        _part(plain(labels[at], 24), names, [shares[one][at] for one in temperatures], tone)
        for at, tone in zip(first, PALETTE, strict=False)
    ]
    if len(logits) > len(first):
        rest = [1 - sum(shares[one][at] for at in first) for one in temperatures]
        bars.append(_part(REST, names, [max(0.0, one) for one in rest], "control"))
    return _stack(bars, "What the teacher says at each temperature.")


def several(
    logits: Sequence[float],
    labels: Sequence[str],
    temperatures: Sequence[float],
    own: Sequence[float],
) -> Figure:
    """The same where several labels may be true: of the likeliest, the probability of each by
    itself."""
    first = sorted(range(len(logits)), key=lambda place: -logits[place])[:SHOWN]
    names = [f"T = {one:g}{' ◂' if one in own else ''}" for one in temperatures]
    bars = [
        _part(
            plain(labels[at], 24),
            names,
            [1 / (1 + math.exp(-max(-500.0, logits[at] / one))) for one in temperatures],
            tone,
        )
        for at, tone in zip(first, PALETTE, strict=False)
    ]
    return _stack(bars, "How likely the teacher holds each label at each temperature.", "group")


def probabilities(logits: Sequence[float], temperature: float) -> list[float]:
    """softmax(logits / T)."""
    top = max(logits)
    raised = [math.exp((one - top) / temperature) for one in logits]
    whole = sum(raised)
    return [one / whole for one in raised]


def _bar(temperature: float, shares: Sequence[float], own: Sequence[float]) -> str:
    """`T = 4 ◂  1.29 nats`."""
    nats = -sum(one * math.log(one) for one in shares if one > 0)
    mark = " ◂" if temperature in own else ""
    return f"T = {temperature:g}{mark}   {abs(nats):.2f} nats"


def _part(name: str, bars: Sequence[str], values: Sequence[float], tone: str) -> Trace:
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "y": list(bars),
        "x": list(values),
        "marker": {"color": COLOURS[tone]},
        "hovertemplate": f"{name}: %{{x:.2%}}<extra></extra>",
        "meta": {"tone": tone},
    }


def _stack(bars: Sequence[Trace], caption: str, mode: str = "stack") -> Figure:
    return figure(
        bars,
        x={
            "range": [0, 1],
            "tickformat": ".0%",
            "hoverformat": ".2%",
            "title": {"text": "probability", "standoff": 6},
        },
        y={"type": "category", "autorange": "reversed", "showgrid": False, "ticklabelstandoff": 6},
        caption=caption,
        hovermode="closest",
        barmode=mode,
        bargap=0.3,
    )
