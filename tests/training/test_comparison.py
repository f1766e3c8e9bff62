"""Whether the teacher helped: numbers that can be worked out by hand."""

import numpy as np
import pytest

from training.worker import comparison


def answers(both: int, ours: int, theirs: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Rights of student and control: how many rows both, one, or neither got right."""
    student = [True] * both + [True] * ours + [False] * theirs + [False] * neither
    control = [True] * both + [False] * ours + [True] * theirs + [False] * neither
    return np.array(student), np.array(control)


@pytest.mark.parametrize(
    ("counts", "answer"),
    [
        ((800, 60, 10, 130), "helped"),
        ((800, 10, 60, 130), "hurt"),
        ((800, 36, 34, 130), "no_evidence"),
        ((10, 2, 0, 0), "no_evidence"),
        ((100, 0, 0, 0), "no_evidence"),
    ],
)
def test_the_answer_follows_the_interval(counts: tuple[int, int, int, int], answer: str) -> None:
    found = comparison.paired(*answers(*counts))
    assert found["answer"] == answer
    low, high = found["interval"]
    assert low <= found["difference"] <= high
    assert found["difference"] == pytest.approx(found["student"] - found["control_value"])


def test_the_interval_is_that_of_resampled_rows() -> None:
    student, control = answers(700, 80, 40, 180)
    found = comparison.paired(student, control)
    chance = np.random.default_rng(1)
    drawn = chance.integers(0, 1000, size=(4000, 1000))
    differences = (student[drawn].mean(axis=1) - control[drawn].mean(axis=1)).tolist()
    assert found["interval"] == pytest.approx(np.quantile(differences, [0.025, 0.975]), abs=0.003)


@pytest.mark.parametrize(
    ("better", "worse", "p"),
    [(0, 0, 1.0), (5, 5, 1.0), (1, 0, 1.0), (5, 0, 0.0625), (10, 2, 0.03857421875)],
)
def test_mcnemar_is_a_fair_coin(better: int, worse: int, p: float) -> None:
    assert comparison.mcnemar(better, worse) == pytest.approx(p)
    assert comparison.mcnemar(worse, better) == pytest.approx(p)


def test_mcnemar_stands_large_numbers() -> None:
    assert 0 <= comparison.mcnemar(90_000, 80_000) < 1e-100


def test_the_sentence_says_what_was_found_and_admits_the_one_seed() -> None:
    found = comparison.paired(*answers(800, 60, 10, 130))
    said = comparison.sentence(found, 7)
    assert said.startswith("The teacher helped: 5.0 points more accuracy than run 7")
    assert "One seed" in said
