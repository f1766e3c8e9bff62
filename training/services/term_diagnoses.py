"""Whether the terms of a loss do their work, and the teacher tells anything. As diagnoses.py."""

from collections.abc import Iterator

from distillhub.templatetags import ui
from training.services.diagnosis import Diagnosis, name_of, written
from training.services.trends import Seen

DEAD, DROWNS = 0.01, 0.98  # shares of the gradient
HARD, EVEN = 0.01, 0.95  # mass beside the first answer; entropy as a share of the most there is
BEHIND = 0.03  # by which a teacher is worse than its student
FAR_BEHIND = 0.05  # by which a student is, and that is more than scatter
WINDOW = 25  # steps without a change, after which a term never changes


# Do the terms do their work? ---------------------------------------------------------------------


def dead_terms(seen: Seen) -> Iterator[Diagnosis]:
    """Terms that move the student by next to nothing, though they have a weight."""
    if len(seen.weights) < 2:
        return
    for term, weight in seen.weights.items():
        if not weight or not seen.ends.get(term):
            continue
        values = [value for _, value in seen.points(f"train/{term}")]
        share = seen.late_share(term)
        still = len(values) > WINDOW and max(values) - min(values) <= 1e-9 * max(
            1.0, abs(values[0])
        )
        if share is not None and share < DEAD:
            times = 0.1 / max(share, 1e-4)
            yield Diagnosis(
                code="dead_term", severity="problem", title=f"{name_of(term)} hardly counts",
                said=f"In the second half of the steps it made up {ui.percent(share)} of the "
                f"gradient, with a weight of {weight:g}.",
                do=f"For a tenth of the gradient its weight would be about {weight * times:.2g}; "
                "or leave it out.",
            )  # fmt: skip
        elif still and share is None:
            yield Diagnosis(
                code="dead_term", severity="problem", title=f"{name_of(term)} never changed",
                said=f"Its value was {written(values[0])} at every step.",
                do="Look whether it has anything to speak about: labels, layers, or a teacher's "
                "answers. Otherwise leave it out.",
            )  # fmt: skip


def drowning(seen: Seen) -> Iterator[Diagnosis]:
    """A term beside which all others together count for nothing."""
    shares = {term: seen.late_share(term) for term in seen.weights}
    known = {term: one for term, one in shares.items() if one is not None}
    if len(known) < 2:
        return
    term, share = max(known.items(), key=lambda one: one[1])
    if share >= DROWNS:
        others = ", ".join(name_of(one).lower() for one in known if one != term)
        yield Diagnosis(
            code="drowning", severity="hint", title=f"{name_of(term)} drowns the others",
            said=f"It made up {ui.percent(share)} of the gradient in the second half of the steps; "
            f"{others} had the rest.",
            do="Lower its weight, or raise those of the others, until each has at least a tenth; "
            "or keep it alone, if that is what you want.",
        )  # fmt: skip


# Does the teacher tell anything? -----------------------------------------------------------------


def temperature(seen: Seen) -> Iterator[Diagnosis]:
    """The softened answers are nearly even, or nearly one-hot."""
    for one in seen.softened:
        at, most = one["temperature"], one["most"]
        if one["entropy"] > EVEN * most:
            yield Diagnosis(
                code="temperature_too_high", severity="problem",
                title="The temperature makes every label alike",
                said=f"At T = {at:g} the teacher's answers have {one['entropy']:.2f} nats of "
                f"entropy, of {most:.2f} that there can be: it hardly says which label is meant.",
                do=_colder(seen),
            )  # fmt: skip
        elif one["other_mass"] < HARD:
            better = f"T = {seen.proposed:g} shows more." if seen.proposed else (
                "No usual temperature shows more: compare logits or layers instead."
            )  # fmt: skip
            yield Diagnosis(
                code="temperature_too_low", severity="problem",
                title="The teacher's answers are nearly one-hot",
                said=f"At T = {at:g} it leaves {ui.percent(one['other_mass'], 2)} to all labels "
                "but its first: that is no more than a label says.",
                do=better,
            )  # fmt: skip


def weak_teacher(seen: Seen) -> Iterator[Diagnosis]:
    """The student is better than who teaches it."""
    found = _beside_teacher(seen)
    if found is not None and found[0] - found[1] > BEHIND:
        yield Diagnosis(
            code="weak_teacher", severity="hint", title="The student is better than its teacher",
            said=_reached(seen, *found),
            do="Fine-tune the teacher first, or give the terms that follow it less weight.",
        )  # fmt: skip


def behind_teacher(seen: Seen) -> Iterator[Diagnosis]:
    """The student has kept little of what its teacher can."""
    found = _beside_teacher(seen)
    if found is not None and found[1] - found[0] > FAR_BEHIND:
        yield Diagnosis(
            code="behind_teacher", severity="hint", title="The student is far behind its teacher",
            said=_reached(seen, *found),
            do="Train it longer, or with a higher learning rate. If that changes little, lower the "
            "temperature, give given labels more weight, or take a larger student.",
        )  # fmt: skip


def _beside_teacher(seen: Seen) -> tuple[float, float] | None:
    """The student's best and the teacher's score on held-out rows, where those are shares."""
    theirs = seen.points(f"teacher/val/{seen.metric}")
    ours = [value for _, value in seen.points(f"val/{seen.metric}")]
    if not theirs or not ours or not ui.is_share(seen.metric) or seen.falls:
        return None
    return max(ours), theirs[-1][1]


def _reached(seen: Seen, best: float, teacher: float) -> str:
    return (
        f"On held-out rows its {ui.measure(seen.metric)} reached {ui.percent(best)}, the "
        f"teacher's is {ui.percent(teacher)}."
    )


def _colder(seen: Seen) -> str:
    if seen.proposed:
        return f"T = {seen.proposed:g} tells the labels apart and still shows what else it thinks."
    return "Lower it, or teach the teacher longer: it is sure of nothing."
