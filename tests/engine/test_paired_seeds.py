"""The verdict over several seeds: right where something is to be found, and rarely wrong else."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from training.engine.paired_seeds import across

Table = NDArray[np.float64]


def answers(
    chance: np.random.Generator, seeds: int, rows: int, gain: float, spread: float
) -> tuple[Table, Table]:
    """Right and wrong of two ways to train: rows are easy or hard for everybody, seeds are lucky
    or not by `spread`, and the first way is better by `gain`."""
    easy = chance.normal(1.0, 1.0, rows)

    def students(mean: float) -> Table:
        luck = chance.normal(mean, spread, (seeds, 1))
        right: Table = (chance.normal(size=(seeds, rows)) < easy + luck).astype(float)
        return right

    return students(gain), students(0.0)


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("spread", [0.0, 0.02, 0.1])
def test_of_ways_that_are_alike_few_are_said_to_differ(seeds: int, spread: float) -> None:
    chance = np.random.default_rng(7)
    tries = 400
    found = [across(*answers(chance, seeds, 300, 0.0, spread))["answer"] for _ in range(tries)]
    wrong = sum(one != "no_evidence" for one in found)
    # What the level promises, and as much more as four hundred tries may show by chance.
    assert wrong <= stats.binom.ppf(0.999, tries, 0.05)


@pytest.mark.parametrize(("gain", "wanted"), [(0.4, "helped"), (-0.4, "hurt")])
def test_what_differs_is_found(gain: float, wanted: str) -> None:
    chance = np.random.default_rng(1)
    found = [across(*answers(chance, 3, 600, gain, 0.02))["answer"] for _ in range(50)]
    assert found.count(wanted) >= 45


def test_lower_is_better_where_it_falls() -> None:
    chance = np.random.default_rng(0)
    errors = chance.random((3, 200))
    assert across(errors * 0.5, errors, falls=True)["answer"] == "helped"
    assert across(errors, errors * 0.5, falls=True)["answer"] == "hurt"


def test_students_that_answer_alike_differ_by_nothing() -> None:
    right = np.ones((3, 10))
    found = across(right, right)
    assert (found["difference"], found["interval"], found["answer"]) == (0, [0, 0], "no_evidence")


def test_a_single_row_and_the_order_of_seeds_are_no_trouble() -> None:
    ours, theirs = np.array([[1.0], [0.0], [1.0]]), np.array([[0.0], [0.0], [0.0]])
    one, other = across(ours, theirs), across(ours[::-1], theirs[::-1])
    assert one["interval"] == pytest.approx(other["interval"])
    assert one["answer"] == "no_evidence"


def test_without_noise_of_rows_it_is_the_t_test_of_the_seeds() -> None:
    """Where every row tells the same, only seeds vary: scipy's paired t-test, to the digit."""
    by_seed = np.array([0.3, 0.5, 0.1, 0.4])
    ours = np.repeat(by_seed[:, None], 50, axis=1)
    theirs = np.zeros_like(ours)
    found = across(ours, theirs)
    wanted = stats.ttest_1samp(by_seed, 0.0).confidence_interval(0.95)
    assert found["interval"] == pytest.approx([wanted.low, wanted.high])
