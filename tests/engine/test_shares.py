"""How sure a share is: against scikit-learn's kin, known figures and what must hold."""

import pytest

from training.engine import shares


@pytest.mark.parametrize(
    ("share", "rows", "low", "high"),
    # Figures of R's prop.test(..., correct = FALSE), which is Wilson's interval.
    [(0.5, 10, 0.2366, 0.7634), (0.0, 10, 0.0, 0.2775), (1.0, 1, 0.2065, 1.0)],
)
def test_the_interval_of_a_share_is_wilsons(
    share: float, rows: int, low: float, high: float
) -> None:
    assert shares.wilson(share, rows) == pytest.approx([low, high], abs=1e-4)


def test_more_rows_are_surer_and_none_say_nothing() -> None:
    few, many = (shares.wilson(0.9, rows) for rows in (10, 1000))
    assert few[0] < many[0] < 0.9 < many[1] < few[1] <= 1
    assert shares.wilson(0.0, 0) == [0.0, 1.0]


def test_the_interval_of_an_f1_holds_it_and_is_wide_of_a_dozen_rows() -> None:
    low, high = shares.of_f1(precision=0.8, recall=2 / 3, rows=12)
    assert low < 2 * 8 / (10 + 12) < high
    assert high - low > 0.3
    assert shares.of_f1(0.0, 0.0, 5)[0] == 0.0
    assert shares.of_f1(1.0, 1.0, 1000)[0] > 0.99
