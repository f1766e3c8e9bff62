"""How much a teacher says beyond its first answer, and whether it says more than no network would.

A student learns from soft targets what else an input might have been. A teacher whose softened
answers are nearly one-hot says no more than labels do; a higher temperature shows more.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.engine import evaluate
from training.engine.data import Targets
from training.engine.job_config import Problem

JSON = dict[str, Any]
TEMPERATURES = (1.0, 2.0, 4.0, 8.0)
NEARLY_HARD = 0.01  # of the mass beside the first answer, below which targets are as good as labels
SOFT_ENOUGH = 0.05  # that a proposed temperature must show
OFFERED = (1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 20.0)
FALLS = ("log_loss", "rmse", "perplexity")


def softness(logits: NDArray[Any], temperature: float, problem: Problem) -> dict[str, float]:
    """Of logits `[units, classes]` divided by the temperature: `entropy`, the mean in nats, and
    `other_mass`, the mean share of the probability outside the first answer. With several labels
    both are means over the labels, each a yes or no. Numbers and vectors have neither."""
    if problem not in ("single_label", "multi_label") or not len(logits):
        return {}
    soft = logits.astype(np.float64) / temperature
    if problem == "multi_label":
        sure = np.abs(soft)
        wrong = np.exp(-np.logaddexp(0.0, sure))  # the probability of the other answer
        entropy = np.logaddexp(0.0, -sure) + wrong * sure
        return {"entropy": float(entropy.mean()), "other_mass": float(wrong.mean())}
    logs = evaluate.log_probabilities(soft)
    shares = np.exp(logs)
    return {
        "entropy": float(-(shares * np.maximum(logs, -1e4)).sum(axis=1).mean()),
        "other_mass": float(1.0 - shares.max(axis=1).mean()),
    }


def by_temperature(
    logits: NDArray[Any], problem: Problem, temperatures: Iterable[float] = TEMPERATURES
) -> list[JSON]:
    """`softness` at each temperature, `[{"temperature", "entropy", "other_mass"}]`."""
    found = [{"temperature": one, **softness(logits, one, problem)} for one in temperatures]
    return [one for one in found if "other_mass" in one]


def proposed(logits: NDArray[Any], problem: Problem, above: float = 0.0) -> JSON | None:
    """The lowest usual temperature above this one whose targets are soft, or None."""
    for one in OFFERED:
        if one > above:
            found = softness(logits, one, problem)
            if found and found["other_mass"] >= SOFT_ENOUGH:
                return {"temperature": one, **found}
    return None


def hardness(logits: NDArray[Any], temperature: float, problem: Problem) -> str:
    """A sentence where the targets at this temperature are nearly hard, else nothing."""
    found = softness(logits, temperature, problem)
    if not found or found["other_mass"] >= NEARLY_HARD:
        return ""
    said = (
        f"Its targets are nearly hard: at temperature {temperature:g} only "
        f"{100 * found['other_mass']:.2g} % of its probability is outside its first answer, so "
        "they say little more than labels."
    )
    better = proposed(logits, problem, temperature)
    if better is None:
        return f"{said} No usual temperature shows more; compare layers, or logits themselves."
    return f"{said} Temperature {better['temperature']:g} shows {100 * better['other_mass']:.2g} %."


def baseline(training: Targets, judged: Targets, problem: Problem) -> JSON | None:
    """What knowing the labels' shares alone is worth on the judged units: `{"metric", "value",
    "label"}`, or None where there are no labels. One label: the accuracy of always answering the
    commonest (`label`, its place). Several: the log loss of answering each label's share. A number:
    the root mean square error of always answering the mean."""
    if problem == "single_label":
        known, truth = training[training >= 0], judged[judged >= 0]
        if not len(known) or not len(truth):
            return None
        commonest = int(np.bincount(known).argmax())
        value = float((truth == commonest).mean())
        return {"metric": "accuracy", "value": value, "label": commonest}
    if problem not in ("multi_label", "regression"):
        return None
    known = training[~np.isnan(training).any(axis=1)].astype(np.float64)
    truth = judged[~np.isnan(judged).any(axis=1)].astype(np.float64)
    if not len(known) or not len(truth):
        return None
    mean = known.mean(axis=0)
    if problem == "regression":
        value = float(np.sqrt(np.square(truth - mean).mean()))
        return {"metric": "rmse", "value": value, "label": None}
    share = np.clip(mean, 1.0 / (len(known) + 2), 1.0 - 1.0 / (len(known) + 2))
    loss = -(truth * np.log(share) + (1.0 - truth) * np.log(1.0 - share)).mean()
    return {"metric": "log_loss", "value": float(loss), "label": None}


def beaten(found: JSON | None, scores: dict[str, float]) -> bool:
    """Whether the scores are better than the baseline; True where there is nothing to beat."""
    if found is None:
        return True
    mine = scores.get(found["metric"], float("nan"))
    if not np.isfinite(mine):
        return True
    return bool(mine < found["value"] if found["metric"] in FALLS else mine > found["value"])


def unbeaten(found: JSON, scores: dict[str, float], names: tuple[str, ...]) -> str:
    """A sentence about a teacher that knows no more than the baseline."""
    metric = found["metric"]
    mine, least = scores[metric], found["value"]
    if metric == "accuracy":
        label = names[found["label"]]
        return (
            f"It is right on {100 * mine:.1f} % of the validation rows; always answering {label} "
            f"is right on {100 * least:.1f} %. It has nothing to teach here."
        )
    what = "each label's share" if metric == "log_loss" else "the mean"
    return (
        f"Its {metric.replace('_', ' ')} on validation rows is {mine:.4g}; always answering {what} "
        f"has {least:.4g}. It has nothing to teach here."
    )
