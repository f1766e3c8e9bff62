"""What a teacher says of real rows, and what temperatures make of it: kept with the evaluation."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.engine import data, evaluate, softness
from training.engine.data import Dataset, Indices, Targets
from training.engine.job_config import JobConfig, Problem
from training.engine.recorded import spoke

JSON = dict[str, Any]
USUAL = (1.0, 2.0, 4.0, 8.0, 20.0)
#: Rows that are shown, by how unsure the teacher is of them: the share of rows that it is surer of.
SHOWN = (0.25, 0.5, 0.75, 0.9, 0.97, 1.0)
MOST_CLASSES = 1000
MOST_UNITS = 2000  # over which means are taken
MOST_TEXT = 500


def temperatures_of(config: JobConfig) -> list[float]:
    """Those that the run's terms soften by, of every stage."""
    lists = [stage.losses for stage in config.stages] or [config.losses]
    found = {one.options.get("temperature") for losses in lists for one in losses}
    return sorted(float(one) for one in found if isinstance(one, int | float) and one > 0)


def told(
    dataset: Dataset,
    split: str,
    column: str,
    logits: NDArray[Any],
    labels: Targets,
    starts: Indices,
    own: Iterable[float],
) -> JSON | None:
    """`{"own", "by_temperature": [{"temperature", "entropy", "other_mass"}], "rows": [{"row_id",
    "input", "label", "unit"?, "logits"}]}` of a teacher's logits `[units, classes]`, where a row's
    units begin at `starts`; `own` are the run's temperatures.

    logits are those of all labels, up to a constant where one label is true, so that
    softmax(logits / T), or sigmoid where several may be, is what it says at T. Where a row has
    several units, `unit` is the one that is meant. Nothing of numbers and vectors.
    """
    problem = dataset.problem
    there = np.flatnonzero(spoke(logits))
    if problem not in ("single_label", "multi_label") or not len(there) or logits.shape[1] < 2:
        return None
    some = there[np.linspace(0, len(there) - 1, min(len(there), MOST_UNITS)).astype(np.int64)]
    temperatures = sorted({*USUAL, *own})
    found: JSON = {
        "own": sorted(own),
        "by_temperature": softness.by_temperature(logits[some], problem, temperatures),
        "rows": [],
    }
    if logits.shape[1] > MOST_CLASSES:
        return found
    ranked = some[np.argsort(_unsure(logits[some], problem), kind="stable")]
    units = list(dict.fromkeys(int(ranked[round(one * (len(ranked) - 1))]) for one in SHOWN))
    places = (np.searchsorted(starts, units, side="right") - 1).tolist()
    rows = dataset.splits[split][np.array(places, dtype=np.int64)]
    texts: Sequence[Any] = [None] * len(rows)
    if column == "text":
        source = rows if dataset.source is None else dataset.source[rows]
        texts = data.values(dataset.path, column, source)
    by_row = starts[-1] == len(starts) - 1
    found["rows"] = [
        {
            "row_id": int(dataset.row_ids[row]),
            "input": None if text is None else str(text)[:MOST_TEXT],
            "label": _spelt(dataset.names, labels[unit], problem),
            **({} if by_row else {"unit": unit - int(starts[place])}),
            "logits": [round(float(one), 4) for one in _centred(logits[unit], problem)],
        }
        for unit, place, row, text in zip(units, places, rows.tolist(), texts, strict=True)
    ]
    return found


def _unsure(logits: NDArray[Any], problem: Problem) -> NDArray[np.float64]:
    """`[units]`: entropy, in nats."""
    if problem == "multi_label":
        sure = np.abs(logits.astype(np.float64))
        wrong = np.exp(-np.logaddexp(0.0, sure))
        return np.asarray((np.logaddexp(0.0, -sure) + wrong * sure).sum(axis=1))
    logs = evaluate.log_probabilities(logits)
    return np.asarray(-(np.exp(logs) * np.maximum(logs, -1e4)).sum(axis=1))


def _centred(logits: NDArray[Any], problem: Problem) -> NDArray[np.float64]:
    if problem == "multi_label":
        return logits.astype(np.float64)
    return np.asarray(evaluate.log_probabilities(logits[None])[0])


def _spelt(names: tuple[str, ...], label: Any, problem: Problem) -> str | None:
    if problem == "multi_label":
        if np.isnan(label).any():
            return None
        return "|".join(name for name, one in zip(names, label, strict=True) if one > 0.5)
    return names[int(label)] if label >= 0 else None
