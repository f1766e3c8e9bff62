"""What a network answers, and how good that is. All divergences in float64, in nats."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training.engine import data
from training.engine.data import Indices, Inputs
from training.engine.errors import Stopped
from training.engine.networks import Network, Place

Logits = NDArray[np.float32]
Values = NDArray[np.float64]
BINS = 15  # of the reliability diagram, as Guo et al. 1706.04599 use
AT_ONCE = 256  # rows asked together


def predict(
    network: Network,
    inputs: Inputs,
    rows: Indices,
    place: Place,
    asked_to_stop: Callable[[], bool] = lambda: False,
) -> Logits:
    """Logits `[len(rows), classes]` in the order of `rows`, the network in evaluation mode. Raises
    Stopped between two batches when asked to leave."""
    answers = np.zeros((len(rows), len(network.labels)), dtype=np.float32)
    for places, logits in in_batches(network, inputs, rows, place):
        if asked_to_stop():
            raise Stopped
        answers[places] = logits
    return answers


def in_batches(
    network: Network, inputs: Inputs, rows: Indices, place: Place
) -> Iterator[tuple[Indices, Logits]]:
    """Logits batch by batch, each with the places within `rows` of the rows it answers."""
    network.module.eval()
    lengths = inputs.lengths[rows] if inputs.lengths is not None else None
    size = _fitting(inputs, rows)
    for places in data.steady_order(np.arange(len(rows)), lengths, size):
        with torch.inference_mode():
            logits = place.logits(network, inputs.batch(rows[places]))
        yield places, logits.cpu().numpy()


def _fitting(inputs: Inputs, rows: Indices) -> int:
    """Rows asked together: fewer large images, about 16 million numbers."""
    if inputs.lengths is not None or not len(rows):
        return AT_ONCE
    one = sum(value[0].numel() for value in inputs.batch(rows[:1]).values())
    return int(min(AT_ONCE, max(1, 16_000_000 // max(1, one))))


def log_probabilities(logits: NDArray[Any]) -> Values:
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=1, keepdims=True)
    return wide - np.log(np.exp(wide).sum(axis=1, keepdims=True))  # type: ignore[no-any-return]


def score(logits: NDArray[Any], labels: Indices) -> dict[str, float]:
    """accuracy, macro_f1, log_loss and ece of the rows that have a label; NaN where none has.

    macro_f1 is the mean over the labels that are true or answered somewhere, as scikit-learn's.
    """
    known = labels >= 0
    if not known.any():
        return dict.fromkeys(("accuracy", "macro_f1", "log_loss", "ece"), float("nan"))
    logs, truth = log_probabilities(logits[known]), labels[known]
    said = logs.argmax(axis=1)
    counts = confusion(truth, said, logits.shape[1])
    f1 = _rates(counts)[2]
    there = (counts.sum(axis=0) + counts.sum(axis=1)) > 0
    return {
        "accuracy": float((said == truth).mean()),
        "macro_f1": float(f1[there].mean()),
        "log_loss": float(-logs[np.arange(len(truth)), truth].mean()),
        "ece": calibration(logs, truth)[0],
    }


def confusion(truth: Indices, said: Indices, classes: int) -> Indices:
    """`[classes, classes]`: row for what is true, column for what is answered."""
    flat = np.bincount(truth * classes + said, minlength=classes * classes)
    return flat.reshape(classes, classes).astype(np.int64)


def _rates(counts: Indices) -> tuple[Values, Values, Values]:
    """Precision, recall and F1 of each label; 0 where there is nothing to divide by."""
    right = np.diag(counts).astype(np.float64)
    answered, true = counts.sum(axis=0), counts.sum(axis=1)
    precision = right / np.maximum(answered, 1)
    recall = right / np.maximum(true, 1)
    return precision, recall, 2 * right / np.maximum(answered + true, 1)


def calibration(logs: Values, truth: Indices) -> tuple[float, list[dict[str, float]]]:
    """Expected calibration error, and the reliability diagram's bins (Guo et al. 1706.04599,
    equation 3): does an answer given with 80 % confidence hold in 80 % of the cases?"""
    confidence = np.exp(logs.max(axis=1))
    right = (logs.argmax(axis=1) == truth).astype(np.float64)
    edges = np.linspace(0.0, 1.0, BINS + 1)
    which = np.clip(np.digitize(confidence, edges[1:-1], right=True), 0, BINS - 1)
    error, bins = 0.0, []
    for place in range(BINS):
        inside = which == place
        count = int(inside.sum())
        sure = float(confidence[inside].mean()) if count else 0.0
        held = float(right[inside].mean()) if count else 0.0
        error += abs(sure - held) * count / len(truth)
        bins.append(
            {
                "low": float(edges[place]),
                "high": float(edges[place + 1]),
                "count": count,
                "confidence": sure,
                "accuracy": held,
            }
        )
    return error, bins


def per_class(
    logits: NDArray[Any], labels: Indices, names: tuple[str, ...]
) -> tuple[list[dict[str, Any]], list[list[int]]]:
    """Precision, recall and F1 of each label, and the confusion matrix (rows: what is true)."""
    known = labels >= 0
    counts = confusion(labels[known], logits[known].argmax(axis=1), len(names))
    precision, recall, f1 = _rates(counts)
    rows = counts.sum(axis=1)
    table = [
        {
            "label": name,
            "rows": int(rows[i]),
            "precision": float(precision[i]),
            "recall": float(recall[i]),
            "f1": float(f1[i]),
        }
        for i, name in enumerate(names)
    ]
    return table, counts.tolist()


def fidelity(student: NDArray[Any], teacher: NDArray[Any]) -> dict[str, float]:
    """agreement, the share of equal answers, and kl = KL(teacher ‖ student) at T = 1, per row."""
    if not len(student):
        return {"agreement": np.nan, "kl": np.nan}
    ours, theirs = log_probabilities(student), log_probabilities(teacher)
    divergence = (np.exp(theirs) * (theirs - ours)).sum(axis=1)
    return {
        "agreement": float((ours.argmax(axis=1) == theirs.argmax(axis=1)).mean()),
        "kl": float(divergence.mean()),
    }
