"""Whether the teacher helped: numbers that can be worked out by hand."""

import numpy as np
import pytest

from training.engine import paired
from training.worker import comparison


def answers(both: int, ours: int, theirs: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Rights of student and control: how many rows both, one, or neither got right."""
    student = [True] * both + [True] * ours + [False] * theirs + [False] * neither
    control = [True] * both + [False] * ours + [True] * theirs + [False] * neither
    return np.array(student, dtype=float), np.array(control, dtype=float)


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
    found = paired.differences(*answers(*counts))
    assert found["answer"] == answer
    low, high = found["interval"]
    assert low <= found["difference"] <= high
    assert found["difference"] == pytest.approx(found["student"] - found["control_value"])


def test_the_interval_is_that_of_resampled_rows() -> None:
    student, control = answers(700, 80, 40, 180)
    found = paired.differences(student, control)
    chance = np.random.default_rng(1)
    drawn = chance.integers(0, 1000, size=(4000, 1000))
    differences = (student[drawn].mean(axis=1) - control[drawn].mean(axis=1)).tolist()
    assert found["interval"] == pytest.approx(np.quantile(differences, [0.025, 0.975]), abs=0.003)


@pytest.mark.parametrize(
    ("better", "worse", "p"),
    [(0, 0, 1.0), (5, 5, 1.0), (1, 0, 1.0), (5, 0, 0.0625), (10, 2, 0.03857421875)],
)
def test_mcnemar_is_a_fair_coin(better: int, worse: int, p: float) -> None:
    assert paired.mcnemar(better, worse) == pytest.approx(p)
    assert paired.mcnemar(worse, better) == pytest.approx(p)


def test_mcnemar_stands_large_numbers() -> None:
    assert 0 <= paired.mcnemar(90_000, 80_000) < 1e-100


def test_the_sentence_says_what_was_found_and_admits_the_one_seed() -> None:
    found = paired.differences(*answers(800, 60, 10, 130))
    said = comparison.sentence(found, 7)
    assert said.startswith("The teacher helped: 5.0 points more accuracy than run 7")
    assert "One seed" in said


def test_the_sentence_names_no_teacher_where_there_was_none() -> None:
    found = paired.differences(*answers(800, 36, 34, 130))
    said = comparison.sentence(found, 7, by="distillation")
    assert said.startswith("No evidence that distillation helped, compared with run 7")
    assert "eacher" not in said


def test_where_less_is_better_the_answer_turns_round() -> None:
    chance = np.random.default_rng(0)
    control = chance.normal(3.0, 0.5, size=400)
    student = control - 0.1 + chance.normal(0.0, 0.1, size=400)
    found = paired.differences(student, control, falls=True)
    assert found["answer"] == "helped"
    assert found["mcnemar_p"] is None
    assert found["interval"][0] < -0.1 < found["interval"][1] < 0
    assert paired.differences(control, student, falls=True)["answer"] == "hurt"
    said = comparison.sentence(found, 2, comparison.BITS)
    assert "bits fewer a character than run 2" in said
    assert "bits, 95 % interval" in said


def test_the_interval_of_numbers_is_that_of_resampled_rows() -> None:
    chance = np.random.default_rng(2)
    apart = chance.normal(0.2, 1.0, size=300)
    found = paired.differences(apart, np.zeros(300))
    by_hand = 1.96 * apart.std() / 300**0.5
    low, high = found["interval"]
    assert (high - low) / 2 == pytest.approx(by_hand, rel=0.1)


def test_retention_has_an_interval_and_a_p() -> None:
    student, teacher = answers(800, 20, 80, 100)
    found = paired.retention(student, teacher)
    assert found["retention"] == pytest.approx(820 / 880)
    low, high = found["retention_interval"]
    assert low < found["retention"] < high < 1.0
    assert found["mcnemar_p"] < 1e-6
    same = paired.retention(teacher, teacher)
    assert same["retention_interval"] == [1.0, 1.0]
    nothing = paired.retention(student, np.zeros(1000))
    assert nothing["retention"] is None
