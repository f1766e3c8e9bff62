"""What a run's curves say of its training, in words: what is amiss, by which numbers, what to do.

Every diagnosis is a function of series, `{name: {"steps", "values"}}`, and answers nothing where
all is well. Thresholds are such that batches that differ, and a rate that falls to nothing, are not
taken for a fault. Plain Python.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

from distillhub.templatetags import ui
from training.services import term_diagnoses, trends
from training.services.diagnosis import Diagnosis, written
from training.services.trends import Seen

FEWEST = 6  # measurements of held-out rows that a trend is read from
RISE = 0.1  # of the lowest held-out loss, that it must have risen by
FELL = 0.05  # of the training loss then, that it must have fallen by since
STILL = 0.08  # of all it fell, that it must fall by in the last quarter
FLAT = 0.01  # of its value, that it must fall by in the last half
LEARNED = 0.05  # of its first value, that a loss must have fallen by
JUMP = 3.0  # times what is usual, that a spike has
USUAL = 0.9  # of the steps before, whose loss is lower than what is usual
HEIGHT = 0.1  # of the first loss, that a spike stands above what is around it
FEW_JUMPS, LEAP = 3, 10.0  # jumps that are told of, or one that is so many times what is usual
WINDOW = 25  # steps before, that a step is held against
SWING = 0.15  # of its value, that a held-out loss goes up by from one measurement to the next
RIPPLE = 0.05  # of the first held-out loss, that a swing has at least


def of(seen: Seen) -> list[Diagnosis]:
    """All that is amiss, problems first."""
    found = [one for look in LOOKS for one in look(seen)]
    codes = {one.code for one in found}
    # What is said already is not said twice.
    found = [one for one in found if not (codes & SAID_BY.get(one.code, set()))]
    return sorted(found, key=lambda one: one.severity != "problem")


# Does it learn? ----------------------------------------------------------------------------------


def diverged(seen: Seen) -> Iterator[Diagnosis]:
    """The loss left for good: no number any more, or far above where it was at its best."""
    values = list(seen.series.get("train/loss", {}).get("values", ()))
    lost = [place for place, one in enumerate(values) if not _is_number(one)]
    if lost:
        step = int(seen.series["train/loss"]["steps"][lost[0]])
        yield Diagnosis(
            code="diverged", severity="problem", title="It diverged", step=step,
            said=f"At step {step} the loss was no longer a number.", do=_calm(seen),
        )  # fmt: skip
        return
    points = trends.smooth(seen.points("train/loss"))
    if len(points) < 4 * FEWEST:
        return
    best = min(points, key=lambda one: one[1])
    end = trends.mean(points[-max(3, len(points) // 10) :])
    began = trends.mean(points[: max(3, len(points) // 50)])
    if end > JUMP * max(best[1], 1e-12) and end > 0.5 * began and best[0] < points[-1][0] * 0.8:
        yield Diagnosis(
            code="diverged", severity="problem", title="It diverged", step=best[0],
            said=f"The training loss was {written(best[1])} at step {best[0]} and ended at "
            f"{written(end)}.", do=_calm(seen),
        )  # fmt: skip


def not_learning(seen: Seen) -> Iterator[Diagnosis]:
    points = seen.points("val/loss")
    if len(points) < FEWEST:
        return
    first, best = points[0][1], min(value for _, value in points)
    train = trends.smooth(seen.points("train/loss"))
    if train:
        first = max(first, trends.mean(train[: max(3, len(train) // 50)]))
    if first > 0 and (first - best) / first < LEARNED:
        yield Diagnosis(
            code="not_learning", severity="problem", title="It has learned next to nothing",
            said=f"The loss on held-out rows began at {written(first)} and never fell below "
            f"{written(best)}.",
            do="Raise the learning rate tenfold and look again; if nothing moves, check that "
            "labels and inputs belong together, and that the student is large enough.",
        )  # fmt: skip


def overfitting(seen: Seen) -> Iterator[Diagnosis]:
    """Held-out loss rises while the training loss goes on falling."""
    points = trends.calmed(seen.points("val/loss"))
    train = trends.smooth(seen.points("train/loss"))
    if len(points) < FEWEST or not train:
        return
    place, (step, low) = min(enumerate(points), key=lambda one: one[1][1])
    after = points[place + 1 :]
    if len(after) < max(3, len(points) // 5):
        return
    end = trends.mean(after[-3:])
    noise = trends.noise(after)
    then, now = trends.near(train, step), trends.mean(train[-max(3, len(train) // 20) :])
    rises = end - low > max(RISE * abs(low), 2 * noise)
    if rises and now < then * (1 - FELL):
        yield Diagnosis(
            code="overfitting", severity="problem", title="It learns its rows by heart", step=step,
            said=f"Since step {step} the loss on held-out rows has risen from {written(low)} to "
            f"{written(end)}, while the training loss fell from {written(then)} to {written(now)}.",
            do="Fewer epochs or early stopping save the time; more dropout, weight decay or "
            "augmentation, a lower weight of hard labels, and above all more rows (they need no "
            "labels where a teacher answers) make better use of it.",
        )  # fmt: skip


def underfitting(seen: Seen) -> Iterator[Diagnosis]:
    """Held-out loss is still falling when the steps are over."""
    points = trends.calmed(seen.points("val/loss"))
    if len(points) < FEWEST:
        return
    last = points[-1][0]
    start = next(one for one in points if one[0] >= 0.75 * last)
    end = points[-1]
    fell, whole = start[1] - end[1], points[0][1] - end[1]
    late = [one for one in points if one[0] >= 0.75 * last]
    if whole > 0 and fell > STILL * whole and fell > 2 * trends.noise(late) and len(late) > 1:
        yield Diagnosis(
            code="underfitting", severity="problem", title="It was not done yet", step=start[0],
            said="In the last quarter of its steps the loss on held-out rows still fell from "
            f"{written(start[1])} to {written(end[1])}: {ui.percent(fell / whole, 0)} of all that "
            "it fell.",
            do="Train two to three times as many epochs, or raise the learning rate if it stays "
            "calm.",
        )  # fmt: skip


def plateau(seen: Seen) -> Iterator[Diagnosis]:
    """Nothing came of the second half of the steps, or of more."""
    points = trends.calmed(seen.points("val/loss"))
    if len(points) < 2 * FEWEST:
        return
    end, last = trends.mean(points[-3:]), points[-1][0]
    began = points[0][1]
    near = [step for step, value in points if value <= end + FLAT * abs(end)]
    if near and near[0] <= 0.5 * last and began > end * (1 + LEARNED):
        share = 1 - near[0] / last
        yield Diagnosis(
            code="plateau", severity="hint", title="Half of it changed nothing", step=near[0],
            said=f"Since step {near[0]} of {last} the loss on held-out rows has stayed at "
            f"{written(end)}: the last {ui.percent(share, 0)} of the steps improved nothing.",
            do="Fewer epochs cost less and give the same; for a better student change the terms, "
            "the temperature or its size instead.",
        )  # fmt: skip


# Is it calm? -------------------------------------------------------------------------------------


def spikes(seen: Seen) -> Iterator[Diagnosis]:
    """Steps whose loss is far above what it was around them."""
    points = seen.points("train/loss")
    if len(points) < 2 * WINDOW:
        return
    height = HEIGHT * trends.mean(points[: max(3, len(points) // 50)])
    points = points[len(points) // 20 :]
    found = []
    for place, (step, value) in enumerate(points):
        around = sorted(one for _, one in points[max(0, place - WINDOW) : place])
        if len(around) < WINDOW // 2:
            continue
        usual = around[int(USUAL * len(around))]  # batches differ, and the hard ones come back
        if value > JUMP * usual > 0 and value - usual > height:
            found.append((value / usual, step, usual, value))
    leap, step, usual, value = max(found, default=(0.0, 0, 0.0, 0.0))
    if not found or (len(found) < FEW_JUMPS and leap < LEAP):
        return
    times = "Once" if len(found) == 1 else f"In {len(found)} steps"
    yield Diagnosis(
        code="spikes", severity="problem" if len(found) >= FEW_JUMPS else "hint",
        title="Its loss jumps", step=step,
        said=f"{times} the training loss was more than {JUMP:g} times what it was in nine of "
        f"ten steps before; most at step {step}, from {written(usual)} to {written(value)}.",
        do=_calm(seen),
    )  # fmt: skip


def rate_too_high(seen: Seen) -> Iterator[Diagnosis]:
    """The loss climbs above where it began, or swings as long as the rate is high."""
    train = trends.smooth(seen.points("train/loss"))
    rates = seen.points("train/learning_rate")
    if len(train) >= 2 * FEWEST and rates:
        began = trends.mean(train[: max(2, len(train) // 100)])
        step, top = max(train[len(train) // 50 :], key=lambda one: one[1])
        if began > 0 and top > 1.5 * began:
            yield _rate(
                seen,
                step,
                f"The training loss climbed from {written(began)} to {written(top)} at step "
                f"{step}, at a rate of {ui.metric(trends.near(rates, step), 'learning_rate')}.",
            )
            return
    points = seen.points("val/loss")
    if len(points) < 2 * FEWEST or not rates:
        return
    peak = max(value for _, value in rates)
    swings: list[tuple[float, int]] = []
    pairs = list(itertools.pairwise(points))
    for (_, one), (step, other) in pairs:
        large = other > one * (1 + SWING) and other - one > RIPPLE * points[0][1]
        if large and trends.near(rates, step) >= 0.3 * peak:
            swings.append((other / one - 1, step))
    high = sum(trends.near(rates, step) >= 0.3 * peak for _, (step, _) in pairs)
    if high >= FEWEST and len(swings) >= 0.3 * high:
        most, step = max(swings)
        yield _rate(
            seen,
            step,
            f"In {len(swings)} of {high} measurements while the rate was high the loss on held-out "
            f"rows went up by more than {ui.percent(SWING, 0)}, at most by {ui.percent(most, 0)} "
            f"at step {step}.",
        )


def _rate(seen: Seen, step: int, said: str) -> Diagnosis:
    rate = seen.learning_rate
    third = "a third of it"
    if rate:
        third = f"{rate / 3:.1g} instead of {rate:g}"
    return Diagnosis(
        code="rate_too_high", severity="problem", title="The learning rate is too high", step=step,
        said=said, do=f"Try {third}, or warm up for longer.",
    )  # fmt: skip


LOOKS: tuple[Callable[[Seen], Iterator[Diagnosis]], ...] = (
    diverged, not_learning, rate_too_high, spikes, overfitting, underfitting, plateau,
    term_diagnoses.dead_terms, term_diagnoses.drowning, term_diagnoses.temperature,
    term_diagnoses.weak_teacher, term_diagnoses.behind_teacher,
)  # fmt: skip
#: What is left unsaid where one of these is said.
SAID_BY = {
    "not_learning": {"diverged"},
    "rate_too_high": {"diverged"},
    "spikes": {"diverged", "rate_too_high"},
    "plateau": {"diverged", "overfitting", "not_learning"},
    "underfitting": {"diverged"},
    "drowning": {"dead_term"},
    "behind_teacher": {"diverged", "not_learning", "overfitting", "underfitting"},
}


# Words -------------------------------------------------------------------------------------------


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _calm(seen: Seen) -> str:
    rate = f" ({seen.learning_rate / 3:.1g} instead of {seen.learning_rate:g})" if (
        seen.learning_rate
    ) else ""  # fmt: skip
    clip = "" if seen.max_grad_norm else " Clip gradients (max_grad_norm 1)."
    return f"Lower the learning rate{rate}, warm up longer, or take larger batches.{clip}"
