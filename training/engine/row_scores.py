"""How good answers are on some rows, told from the file of predictions long after the training.

Slices are scored by it: rows that conditions hold for, which nobody has to know while a student is
trained. Without torch, so that any process may.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from training.engine import paired, reliability, shares, spans

JSON = dict[str, Any]
Values = NDArray[np.float64]
Where = NDArray[np.bool_]
Objects = NDArray[np.object_]
Who = Literal["student", "teacher"]
UNKNOWN = "?"  # a word's label, as predictions.py spells it
SEPARATOR = "|"  # between the labels of a row, as predictions.py does
#: In which rows are measured (measures.py): of those that a file has, the first counts.
UNITS = ("seconds", "pixels", "words", "tokens", "characters")

#: What rows are judged by, and whether less of it is better.
METRICS = {"classes": "accuracy", "several": "accuracy", "words": "accuracy", "numbers": "rmse"}
FALLS = {"rmse", "bits_per_character", "perplexity"}


def form_of(task: str, problem: str) -> str:
    """How a run's predictions are to be read: `writing`, `words`, `several`, `numbers`, `vectors`
    or `classes`."""
    if task == "text-generation":
        return "writing"
    if task == "token-classification":
        return "words"
    known = {"multi_label": "several", "regression": "numbers", "embedding": "vectors"}
    return known.get(problem, "classes")


@dataclass(frozen=True, slots=True)
class Answers:
    """What one network said of rows, `[rows]` each; None and NaN where it is not known.

    value is what a row is worth: 1 and 0 for right and wrong (the share of right words), a squared
    error, or bits a character; nll is in nats, of the true label or a token. Of what is written
    there are the tokens and characters that it weighs, and how many of the tokens are right, and
    foreseen alike by student and teacher.
    """

    truths: Objects
    said: Objects
    confidence: Values
    value: Values
    nll: Values
    tokens: Values
    characters: Values
    right: Values
    agreeing: Values

    @classmethod
    def of(cls, table: Any, who: Who, form: str) -> Self | None:
        """From a table of predictions (pyarrow); None where this network said nothing. Files of
        older runs hold less of it."""

        def objects(name: str) -> Objects:
            return np.array(table.column(name).to_pylist(), dtype=object)

        def numbers(name: str) -> Values:
            if name not in table.column_names:
                return np.full(table.num_rows, np.nan)
            return np.asarray(table.column(name).to_numpy(), dtype=np.float64)

        own = cls(
            truths=objects("label"),
            said=objects(who),
            confidence=numbers(f"{who}_confidence"),
            value=numbers(f"{who}_value"),
            nll=numbers(f"{who}_nll"),
            tokens=numbers("tokens"),
            characters=numbers("characters"),
            right=numbers("right_tokens" if who == "student" else ""),
            agreeing=numbers("agreeing_tokens"),
        )
        silent = all(one is None for one in own.said) and bool(np.isnan(own.nll).all())
        if silent:
            return None
        if np.isnan(own.value).all() and form != "writing":
            own.value[:] = [_worth(*one, form) for one in zip(own.truths, own.said, strict=True)]
        return own

    def at(self, where: Where) -> Self:
        """Of these rows alone."""
        return type(self)(*(getattr(self, name)[where] for name in self.__slots__))

    @property
    def known(self) -> Where:
        """Rows about which it is known what an answer is worth."""
        return ~np.isnan(self.value)


@dataclass(frozen=True, slots=True)
class Scores:
    """What a network is worth on some rows: its metrics, and the 95 % interval of the first."""

    metrics: dict[str, float]
    interval: list[float] | None

    def as_dict(self) -> JSON:
        return self.metrics | {"interval": self.interval}


def metric_of(answers: Answers, form: str) -> str:
    """By what rows are judged, and students compared."""
    if form != "writing":
        return METRICS.get(form, "")
    return "bits_per_character" if np.nansum(answers.characters) else "perplexity"


def score(answers: Answers, form: str, names: Sequence[str]) -> Scores | None:
    """Of rows whose labels are called `names`; None where no row has a label."""
    if form == "vectors":
        return None
    if form == "writing":
        return _of_writing(answers)
    known = answers.at(answers.known)
    if not len(known.value):
        return None
    if form == "numbers":
        return _of_numbers(known)
    if form == "words":
        return _of_words(known, tuple(names))
    found = _of_several(known, names) if form == "several" else _of_classes(known)
    sure = shares.wilson(float(known.value.mean()), len(known.value))
    return Scores({"accuracy": float(known.value.mean()), **found}, sure)


def closeness(student: Answers, teacher: Answers, form: str, names: Sequence[str]) -> JSON:
    """`{"agreement"}`, the share of equal answers as the whole evaluation counts it (of words, or
    of each label where there are several, or of tokens), or `{"teacher_rmse"}`; null where it is
    not known."""
    if form == "writing":
        tokens, alike = float(student.tokens.sum()), float(student.agreeing.sum())
        return {"agreement": None if not tokens or math.isnan(alike) else alike / tokens}
    pairs = [  # a recorded teacher may have said nothing of a row
        (ours, theirs)
        for ours, theirs in zip(student.said, teacher.said, strict=True)
        if theirs is not None
    ]
    if form == "numbers":
        apart = [float(ours) - float(theirs) for ours, theirs in pairs]
        return {"teacher_rmse": _mean(np.square(apart)) ** 0.5 if apart else None}
    same: list[float]
    if form == "words":
        words = [(_split(ours), _split(theirs)) for ours, theirs in pairs]
        same = [one == other for both in words for one, other in zip(*both, strict=False)]
    elif form == "several":
        many = max(1, len(names))
        same = [1 - len(_labels(ours) ^ _labels(theirs)) / many for ours, theirs in pairs]
    else:
        same = [ours == theirs for ours, theirs in pairs]
    return {"agreement": _mean(same) if same else None}


def difference(ours: Values, theirs: Values, metric: str) -> JSON:
    """Of what the same rows are worth, with its 95 % interval and what it answers, as
    `paired.differences` tells it; rows that are not right or wrong by the normal distribution."""
    if paired.is_binary(ours) and paired.is_binary(theirs):
        found = paired.differences(ours, theirs)
        return {name: found[name] for name in ("difference", "interval", "mcnemar_p", "answer")}
    apart = ours - theirs
    reach = shares.NORMAL * float(apart.std(ddof=1)) / len(apart) ** 0.5 if len(apart) > 1 else 0.0
    low, high = float(apart.mean()) - reach, float(apart.mean()) + reach
    up, down = ("hurt", "helped") if metric in FALLS else ("helped", "hurt")
    answer = up if low > 0 else down if high < 0 else "no_evidence"
    if len(apart) < shares.FEW:
        answer = "no_evidence"
    return {
        "difference": float(apart.mean()),
        "interval": [low, high],
        "mcnemar_p": None,
        "answer": answer,
    }


# One function a form -----------------------------------------------------------------------------


def _of_classes(known: Answers) -> dict[str, float]:
    names, places = np.unique([*known.truths, *known.said], return_inverse=True)
    truth, said = np.split(places, 2)
    right = np.bincount(truth[truth == said], minlength=len(names))
    there = np.bincount(truth, minlength=len(names)) + np.bincount(said, minlength=len(names))
    found = {"macro_f1": float((2 * right / there).mean())}
    return found | _believed(known)


def _believed(known: Answers) -> dict[str, float]:
    """log_loss and ece, where the file holds what they are made from."""
    found = {}
    if not np.isnan(known.nll).any():
        found["log_loss"] = float(known.nll.mean())
    if not np.isnan(known.confidence).any():
        found["ece"] = reliability.diagram(known.confidence, known.value)[0]
    return found


def _of_several(known: Answers, names: Sequence[str]) -> dict[str, float]:
    """F1 over all labels, 0 for one that is neither true nor answered here, as in the whole."""
    right, answered, true = (dict.fromkeys(names, 0) for _ in range(3))
    for truth, said in zip(known.truths, known.said, strict=True):
        ours, theirs = _labels(said), _labels(truth)
        for counts, labels in ((right, ours & theirs), (answered, ours), (true, theirs)):
            for one in labels & counts.keys():
                counts[one] += 1
    each = [2 * right[name] / max(1, answered[name] + true[name]) for name in names]
    both = max(1, sum(answered.values()) + sum(true.values()))
    found = {"macro_f1": _mean(each), "micro_f1": 2 * sum(right.values()) / both}
    return found | ({} if np.isnan(known.nll).any() else {"log_loss": float(known.nll.mean())})


def _of_numbers(known: Answers) -> Scores:
    truth, said = (np.array(values, dtype=np.float64) for values in (known.truths, known.said))
    mean, reach = _ratio(known.value, np.ones(len(known.value)))
    found = {"rmse": mean**0.5, "mae": float(np.abs(said - truth).mean())}
    spread = float(np.square(truth - truth.mean()).sum())
    if spread > 0:
        found["r2"] = 1.0 - float(np.square(said - truth).sum()) / spread
    if np.ptp(truth) > 0 and np.ptp(said) > 0:
        found["spearman"] = float(np.corrcoef(_ranks(truth), _ranks(said))[0, 1])
    return Scores(found, [max(0.0, mean - reach) ** 0.5, (mean + reach) ** 0.5])


def _of_words(known: Answers, names: tuple[str, ...]) -> Scores:
    place = {name: at for at, name in enumerate(names)}
    pairs = [(_split(a), _split(b)) for a, b in zip(known.truths, known.said, strict=True)]
    rows = [
        [(place.get(one, -1), place.get(other, -1)) for one, other in zip(*both, strict=False)]
        for both in pairs
    ]
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    truth, said = np.array([pair for row in rows for pair in row], dtype=np.int64).T
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    labelled = np.array([sum(one >= 0 for one, _ in row) for row in rows], dtype=np.float64)
    right = np.array([sum(one == other >= 0 for one, other in row) for row in rows])
    share, reach = _ratio(right.astype(np.float64), labelled)
    there = truth >= 0
    counts = np.bincount(
        truth[there] * len(names) + said[there], minlength=len(names) ** 2
    ).reshape(len(names), len(names))
    met = counts.sum(axis=0) + counts.sum(axis=1)
    found = {
        "accuracy": share,
        **spans.score(said, truth, starts, names),
        "macro_f1": float((2 * np.diag(counts)[met > 0] / met[met > 0]).mean()),
    }
    if not np.isnan(known.nll).any():
        found["log_loss"] = float((known.nll * labelled).sum() / labelled.sum())
    return Scores(found, [max(0.0, share - reach), min(1.0, share + reach)])


def _of_writing(answers: Answers) -> Scores | None:
    """Sums over tokens, or over characters; of a teacher whose tokens are others, bits alone."""
    known = answers.at(answers.known | ~np.isnan(answers.nll))
    if not len(known.nll):
        return None
    found: dict[str, float] = {}
    intervals = {}
    if np.nansum(known.characters) and not np.isnan(known.value).all():
        there = known.at(known.known)
        bits, reach = _ratio(there.value * there.characters, there.characters)
        found["bits_per_character"] = bits
        intervals["bits_per_character"] = [max(0.0, bits - reach), bits + reach]
    if not np.isnan(known.nll).any():
        nats, reach = _ratio(known.nll * known.tokens, known.tokens)
        found["perplexity"] = math.exp(min(nats, 700.0))
        edges = (max(0.0, nats - reach), nats + reach)
        intervals["perplexity"] = [math.exp(min(one, 700.0)) for one in edges]
    if not np.isnan(known.right).any():
        found["token_accuracy"] = float(known.right.sum() / known.tokens.sum())
        found["exact_match"] = float((known.right == known.tokens).mean())
    return Scores(found, next(iter(intervals.values()))) if found else None


def _ratio(above: Values, below: Values) -> tuple[float, float]:
    """(the ratio of two sums over rows, how far its 95 % interval reaches to either side), by
    linearisation (Cochran, Sampling Techniques, 3rd edition 1977, equation 6.12): rows are drawn
    apart from each other, and their parts are not."""
    total = float(below.sum())
    ratio = float(above.sum()) / total
    residuals = above - ratio * below
    rows = len(above)
    wider = rows / (rows - 1) if rows > 1 else 1.0
    return ratio, shares.NORMAL * math.sqrt(wider * float(np.square(residuals).sum())) / total


def _ranks(values: Values) -> Values:
    """From 1, equal values the mean of theirs."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[places], dtype=np.float64)


def _worth(truth: str | None, said: str | None, form: str) -> float:
    """Of one row, where the file does not say it."""
    if truth is None or said is None:
        return math.nan
    if form == "numbers":
        return (float(said) - float(truth)) ** 2
    if form != "words":
        return float(truth == said)
    pairs = [
        one == other
        for one, other in zip(_split(truth), _split(said), strict=False)
        if one != UNKNOWN
    ]
    return _mean(pairs) if pairs else math.nan


def _split(labels: str | None) -> list[str]:
    return (labels or "").split(" ")


def _labels(spelt: str | None) -> set[str]:
    return set(spelt.split(SEPARATOR)) if spelt else set()


def _mean(values: Iterable[Any]) -> float:
    return float(np.mean(np.fromiter(values, dtype=np.float64)))
