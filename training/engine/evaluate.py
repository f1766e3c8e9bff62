"""What a network answers, and how good that is. All divergences in float64, in nats."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from training.engine import data, reliability, spans
from training.engine.data import Dataset, Indices, Inputs, Targets
from training.engine.errors import Stopped
from training.engine.job_config import Problem
from training.engine.networks import Network, Place

Logits = NDArray[np.float32]
Values = NDArray[np.float64]
AT_ONCE = 256  # rows asked together


def predict(
    network: Network,
    inputs: Inputs,
    rows: Indices,
    place: Place,
    asked_to_stop: Callable[[], bool] = lambda: False,
    module: nn.Module | None = None,
) -> Logits:
    """Logits `[units, classes]` in the order of `rows`, the network (or another `module` of its
    kind) in evaluation mode. Raises Stopped between two batches when asked to leave."""
    starts = data.offsets(inputs, rows)
    answers = np.zeros((int(starts[-1]), network.outputs), dtype=np.float32)
    for which, logits in in_batches(network, inputs, rows, place, module):
        if asked_to_stop():
            raise Stopped
        answers[data.places(starts, which)] = logits
    return answers


def truths(dataset: Dataset, inputs: Inputs, rows: Indices) -> Targets:
    """The labels of these rows' units, in the order of `rows`, as a loss sees them."""
    if getattr(inputs, "units", None) is None:
        return dataset.labels[rows]
    said = []
    for start in range(0, len(rows), AT_ONCE):
        targets = inputs.batch(rows[start : start + AT_ONCE])["targets"]
        said.append(targets[targets != data.NO_UNIT].numpy())
    return np.concatenate(said) if said else np.empty(0, dtype=np.int64)


def word_starts(inputs: Inputs, rows: Indices) -> Indices | None:
    """`[len(rows) + 1]`: at which word each row begins; None where labels belong to whole rows."""
    by_word = getattr(inputs, "by_word", False)
    return data.offsets(inputs, rows) if by_word else None


def in_batches(
    network: Network,
    inputs: Inputs,
    rows: Indices,
    place: Place,
    module: nn.Module | None = None,
) -> Iterator[tuple[Indices, Logits]]:
    """Logits batch by batch, each with the places within `rows` of the rows it answers."""
    (module or network.module).eval()
    lengths = inputs.lengths[rows] if inputs.lengths is not None else None
    size = fitting(inputs, rows)
    for which in data.steady_order(np.arange(len(rows)), lengths, size):
        with quietly(module or network.module):
            logits = place.logits(network, inputs.batch(rows[which]), module)
        yield which, logits.cpu().numpy()


def quietly(module: nn.Module) -> AbstractContextManager[None]:
    """Without gradients; what a module in parts puts together must not be inference's own."""
    return torch.no_grad() if hasattr(module, "unshard") else torch.inference_mode()


def fitting(inputs: Inputs, rows: Indices) -> int:
    """Rows asked together: fewer large images, about 16 million numbers."""
    if inputs.lengths is not None or not len(rows):
        return AT_ONCE
    one = sum(value[0].numel() for value in inputs.batch(rows[:1]).values())
    return int(min(AT_ONCE, max(1, 16_000_000 // max(1, one))))


def log_probabilities(logits: NDArray[Any]) -> Values:
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=1, keepdims=True)
    return wide - np.log(np.exp(wide).sum(axis=1, keepdims=True))  # type: ignore[no-any-return]


def score(
    logits: NDArray[Any],
    labels: Targets,
    problem: Problem = "single_label",
    *,
    names: tuple[str, ...] = (),
    starts: Indices | None = None,
) -> dict[str, float]:
    """What the answers to the labelled units are worth; NaN where none has a label.

    single_label: accuracy, macro_f1, log_loss, ece. multi_label: accuracy (all labels right),
    macro_f1, micro_f1, log_loss (per label, nats), at a threshold of one half. regression: rmse,
    mae, r2, spearman. macro_f1 is the mean over the labels that are true or answered somewhere, as
    scikit-learn's. Where units are words, `starts` says at which unit each row begins, and span_f1,
    span_precision and span_recall come with it, as seqeval's (spans.py), of labels called `names`.
    """
    if problem == "single_label" and starts is not None:
        return _score_single(logits, labels) | _score_spans(logits, labels, names, starts)
    if problem == "single_label":
        return _score_single(logits, labels)
    if problem == "embedding":
        return {}
    known = ~np.isnan(labels).any(axis=1)
    names = ("rmse", "mae", "r2", "spearman") if problem == "regression" else MULTI
    if not known.any():
        return dict.fromkeys(names, float("nan"))
    if problem == "regression":
        return _score_numbers(logits[known, 0].astype(np.float64), labels[known, 0])
    return _score_several(logits[known].astype(np.float64), labels[known])


MULTI = ("accuracy", "macro_f1", "micro_f1", "log_loss")


def _score_single(logits: NDArray[Any], labels: Targets) -> dict[str, float]:
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


def _score_spans(
    logits: NDArray[Any], labels: Targets, names: tuple[str, ...], starts: Indices
) -> dict[str, float]:
    if not (labels >= 0).any():
        return dict.fromkeys(spans.METRICS, float("nan"))
    return spans.score(logits.argmax(axis=1), labels, starts, names)


def _score_several(logits: Values, labels: Targets) -> dict[str, float]:
    from sklearn.metrics import f1_score  # noqa: PLC0415 - half a second, and few runs need it

    said, truth = logits > 0, labels > 0.5
    return {
        "accuracy": float((said == truth).all(axis=1).mean()),
        "macro_f1": float(f1_score(truth, said, average="macro", zero_division=0)),
        "micro_f1": float(f1_score(truth, said, average="micro", zero_division=0)),
        "log_loss": float(binary_log_loss(logits, truth).mean()),
    }


def _score_numbers(said: Values, truth: Targets) -> dict[str, float]:
    from scipy.stats import spearmanr  # noqa: PLC0415 - as above
    from sklearn import metrics  # noqa: PLC0415

    several = len(truth) > 1
    steady = not several or np.ptp(said) == 0 or np.ptp(truth) == 0
    return {
        "rmse": float(np.sqrt(np.mean((said - truth) ** 2))),
        "mae": float(np.abs(said - truth).mean()),
        "r2": float(metrics.r2_score(truth, said)) if several else float("nan"),
        "spearman": float("nan") if steady else float(spearmanr(truth, said).statistic),
    }


def binary_log_loss(logits: Values, truth: NDArray[np.bool_]) -> Values:
    """`[units, classes]`, nats: −log sigmoid of the logit on the side that is true."""
    signed: Values = np.where(truth, -logits, logits)
    return np.logaddexp(0.0, signed)


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
    """Expected calibration error, and the bins of the reliability diagram, of the likeliest."""
    confidence = np.exp(logs.max(axis=1))
    right = (logs.argmax(axis=1) == truth).astype(np.float64)
    return reliability.diagram(confidence, right)


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


NEAREST, MOST_COMPARED = 10, 2000


def _nearness(student: NDArray[Any], teacher: NDArray[Any]) -> dict[str, float]:
    if len(student) < 2:
        return {"neighbours": np.nan}
    some = np.linspace(0, len(student) - 1, min(len(student), MOST_COMPARED)).astype(np.int64)
    ours, theirs = _unit_rows(student), _unit_rows(teacher)
    number = min(NEAREST, len(some) - 1)
    near = [_nearest(one[some], number) for one in (ours, theirs)]
    shared = [len(set(a) & set(b)) for a, b in zip(near[0].tolist(), near[1].tolist(), strict=True)]
    found = {"neighbours": float(np.mean(shared) / number)}
    if ours.shape[1] == theirs.shape[1]:
        found["cosine"] = float((ours * theirs).sum(axis=1).mean())
    return found


def _unit_rows(vectors: NDArray[Any]) -> Values:
    wide = vectors.astype(np.float64)
    return wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)  # type: ignore[no-any-return]


def _nearest(vectors: Values, number: int) -> Indices:
    """`[rows, number]`: the nearest other rows of each, by cosine."""
    alike = vectors @ vectors.T
    np.fill_diagonal(alike, -np.inf)
    return np.argpartition(-alike, number - 1, axis=1)[:, :number]


def per_label(
    logits: NDArray[Any], labels: Targets, names: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Precision, recall and F1 of each label where a row may have several, at one half."""
    known = ~np.isnan(labels).any(axis=1)
    said, truth = logits[known] > 0, labels[known] > 0.5
    right = (said & truth).sum(axis=0).astype(np.float64)
    answered, true = said.sum(axis=0), truth.sum(axis=0)
    return [
        {
            "label": name,
            "rows": int(true[i]),
            "precision": float(right[i] / max(answered[i], 1)),
            "recall": float(right[i] / max(true[i], 1)),
            "f1": float(2 * right[i] / max(answered[i] + true[i], 1)),
        }
        for i, name in enumerate(names)
    ]


def fidelity(
    student: NDArray[Any], teacher: NDArray[Any], problem: Problem = "single_label"
) -> dict[str, float]:
    """How close the student is to the teacher, per unit: agreement, the share of equal answers, and
    kl = KL(teacher ‖ student) at T = 1, in nats. With several labels agreement is that of each
    label, and kl the sum over labels. Numbers have teacher_rmse alone, how far they lie apart.
    Vectors have neighbours, the share of each row's ten nearest rows (by cosine) that are the
    teacher's ten nearest, among 2 000 rows; and cosine, the mean of both vectors', where they have
    one width."""
    if problem == "embedding":
        return _nearness(student, teacher)
    if problem == "regression":
        apart = float(np.sqrt(np.square(student - teacher).mean())) if len(student) else np.nan
        return {"teacher_rmse": apart}
    if not len(student):
        return {"agreement": np.nan, "kl": np.nan}
    if problem == "multi_label":
        agrees = (student > 0) == (teacher > 0)
    else:
        agrees = student.argmax(axis=1) == teacher.argmax(axis=1)
    kl = divergences(student, teacher, problem)
    return {"agreement": float(agrees.mean()), "kl": float(kl.mean())}


def divergences(student: NDArray[Any], teacher: NDArray[Any], problem: Problem) -> Values:
    """`[units]`: KL(teacher ‖ student) at T = 1, in nats; with several labels the sum over them."""
    if problem == "multi_label":
        ours, theirs = student.astype(np.float64), teacher.astype(np.float64)
        sure = 1.0 / (1.0 + np.exp(-theirs))
        crossed = sure * np.logaddexp(0.0, -ours) + (1 - sure) * np.logaddexp(0.0, ours)
        own = sure * np.logaddexp(0.0, -theirs) + (1 - sure) * np.logaddexp(0.0, theirs)
        return np.asarray((crossed - own).sum(axis=1))
    ours, theirs = log_probabilities(student), log_probabilities(teacher)
    return np.asarray((np.exp(theirs) * (theirs - ours)).sum(axis=1))


def cosines(student: NDArray[Any], teacher: NDArray[Any]) -> Values:
    """`[rows]`: of vectors of one width."""
    return np.asarray((_unit_rows(student) * _unit_rows(teacher)).sum(axis=1))
