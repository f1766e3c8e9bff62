import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.engine.oracles import answers as oracle_answers
from training.engine import evaluate, spans
from training.engine.schemes.offline import Offline


@pytest.fixture
def answers() -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(0)
    logits = chance.normal(size=(200, 6)) * 2
    labels = chance.integers(0, 5, size=200)  # the sixth label is never true
    labels[::17] = -1
    return logits.astype(np.float32), labels


def test_scores_are_scikit_learns(answers: tuple[np.ndarray, np.ndarray]) -> None:
    from sklearn import metrics

    logits, labels = answers
    known = labels >= 0
    truth, said = labels[known], logits[known].argmax(axis=1)
    ours = evaluate.score(logits, labels)
    assert ours["accuracy"] == pytest.approx(metrics.accuracy_score(truth, said))
    assert ours["macro_f1"] == pytest.approx(
        metrics.f1_score(truth, said, average="macro", zero_division=0)
    )
    probabilities = np.exp(evaluate.log_probabilities(logits[known]))
    assert ours["log_loss"] == pytest.approx(
        metrics.log_loss(truth, probabilities, labels=list(range(6)))
    )
    table, confusion = evaluate.per_class(logits, labels, tuple("abcdef"))
    assert confusion == metrics.confusion_matrix(truth, said, labels=range(6)).tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        precision, recall, f1, rows = metrics.precision_recall_fscore_support(
            truth, said, labels=range(6), zero_division=0
        )
    for place, row in enumerate(table):
        assert row["precision"] == pytest.approx(precision[place])
        assert row["recall"] == pytest.approx(recall[place])
        assert row["f1"] == pytest.approx(f1[place])
        assert row["rows"] == rows[place]


def test_calibration_by_hand() -> None:
    """Four answers given with 80 % confidence, three of them right: off by 5 %."""
    logs = np.log(np.array([[0.8, 0.2]] * 4))
    error, bins = evaluate.calibration(logs, np.array([0, 0, 0, 1]))
    assert error == pytest.approx(0.05)
    [filled] = [one for one in bins if one["count"]]
    assert filled["low"] < 0.8 <= filled["high"]
    assert filled["count"] == 4
    assert filled["confidence"] == pytest.approx(0.8)
    assert filled["accuracy"] == 0.75


def test_a_teacher_agrees_with_itself() -> None:
    logits = np.random.default_rng(0).normal(size=(50, 4))
    same = evaluate.fidelity(logits, logits)
    assert same == {"agreement": 1.0, "kl": pytest.approx(0.0, abs=1e-12)}
    apart = evaluate.fidelity(-logits, logits)
    assert apart["agreement"] == 0.0
    assert apart["kl"] > 0


def test_without_a_label_nothing_is_scored() -> None:
    scores = evaluate.score(np.zeros((3, 2)), np.array([-1, -1, -1]))
    assert all(np.isnan(value) for value in scores.values())


def test_several_teachers_are_the_weighted_mean_of_their_probabilities() -> None:
    one, two = torch.randn(5, 4), torch.randn(5, 4)
    labels = torch.full((5,), -1)
    scheme = Offline(Offline.Options())
    joined = scheme.join([one, two], [3.0, 1.0], labels, None)
    by_hand = 0.75 * one.softmax(-1) + 0.25 * two.softmax(-1)
    assert torch.allclose(joined.softmax(-1), by_hand, atol=1e-6)
    assert torch.equal(scheme.join([one], [0.5], labels, None), one)


RECORDED = json.loads(
    (Path(__file__).parent / "oracles" / "recorded_metrics.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("one", [one for one in RECORDED if "ece" in one], ids=str)
def test_calibration_is_torchmetrics(one: dict[str, Any]) -> None:
    logits, labels = oracle_answers.logits(one["inputs"])
    assert evaluate.score(logits, labels)["ece"] == pytest.approx(one["ece"], abs=1e-6)


@pytest.mark.parametrize("one", [one for one in RECORDED if "span_f1" in one], ids=str)
def test_spans_are_seqevals(one: dict[str, Any]) -> None:
    truth, said, starts = oracle_answers.sentences(one["inputs"])
    names = tuple(oracle_answers.TAGS[one["inputs"]["tags"]])
    scores = evaluate.score(np.eye(len(names))[said], truth, names=names, starts=starts)
    for name in spans.METRICS:
        assert scores[name] == pytest.approx(one[name])
    found = [
        [row["precision"], row["recall"], row["f1"], row["spans"]]
        for row in spans.per_type(said, truth, starts, names)
        if row["spans"]
    ]
    assert found == [pytest.approx(row) for row in one["per_type"] if row[3]]


def test_words_without_such_tags_are_spans_of_their_own() -> None:
    reading = spans.Reading.of(("DET", "NOUN", "O"))
    found = reading.spans(np.array([0, 1, 1, 2, -1, 0]), np.array([0, 3, 6]))
    assert found.begins.tolist() == found.ends.tolist() == [0, 1, 2, 5]
    assert [reading.types[kind] for kind in found.types] == ["DET", "NOUN", "NOUN", "DET"]


def test_a_span_ends_with_its_row_and_a_word_of_unknown_label_is_in_none() -> None:
    names = ("B-X", "I-X", "O")
    found = spans.Reading.of(names).spans(np.array([0, 1, 1, 1]), np.array([0, 2, 4]))
    assert list(zip(found.begins, found.ends, strict=True)) == [(0, 1), (2, 3)]
    truth, said = np.array([0, -1, 2]), np.array([0, 1, 2])
    assert spans.score(said, truth, np.array([0, 3]), names)["span_f1"] == 1.0
    unlabelled = evaluate.score(np.eye(3), np.full(3, -1), names=names, starts=np.array([0, 3]))
    assert all(np.isnan(value) for value in unlabelled.values())
