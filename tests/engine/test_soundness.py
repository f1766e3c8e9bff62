"""What of a window's rows is unsound: only a table's cells can hold what they should not."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from training.engine import sketches
from training.engine.watching import soundness


def sums(**live: Any) -> Any:
    """Sketches of signals whose reference was 0 to 1, or one name."""
    found = {}
    for signal, values in live.items():
        name = signal.replace("__", ".")
        kind = "categories" if isinstance(values[0], str) else "numbers"
        usual = ["alike"] * 9 if kind == "categories" else np.linspace(0, 1, 50)
        found[name] = sketches.fit(kind, usual).sketch(values)
    return SimpleNamespace(sketches=found)


@pytest.mark.parametrize("fault", ["unseen", "out_of_range"])
def test_a_darker_picture_and_a_surer_student_are_no_fault_of_the_data(fault: str) -> None:
    drifted = sums(
        described__brightness=[-1.0, 0.5],
        confidence__entropy=[-0.1, 0.2],
        prediction=["alike", "other"],
    )
    assert soundness.tallies_of(drifted, fault) == {}


def test_cells_of_a_table_and_what_is_missing_are() -> None:
    table = sums(input__age=[0.5, 7.0, np.nan], input__place=["alike", "nowhere"])
    ages = soundness.tallies_of(table, "out_of_range")
    assert {name: one.rows - one.held for name, one in ages.items()} == {
        "input.age (low)": 0,
        "input.age (high)": 1,
    }
    places = soundness.tallies_of(table, "unseen")
    assert [one.rows - one.held for one in places.values()] == [1]
    missing = soundness.tallies_of(sums(described__size=[np.nan, 1.0]), "missing")
    assert [one.rows - one.held for one in missing.values()] == [1]
