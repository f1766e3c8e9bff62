"""Equal keys are found as numpy finds them, in half the memory."""

import numpy as np
import pytest

from projects.ingest import equal_keys


@pytest.mark.parametrize("rows", [0, 1, 2, 1000])
@pytest.mark.parametrize("different", [1, 3, 10**9])
def test_groups_are_those_of_numpy(rows: int, different: int) -> None:
    keys = np.random.default_rng(rows).integers(-different, different, rows)
    group, first = equal_keys.grouped(keys)
    _, expected_first, expected = np.unique(keys, return_index=True, return_inverse=True)
    assert np.array_equal(group, expected)
    assert np.array_equal(first, expected_first)
    assert np.array_equal(equal_keys.repeated(keys), expected_first[expected] != np.arange(rows))
