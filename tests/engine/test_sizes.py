"""The sizes that forms offer are what a person gets."""

import pytest

from training.engine import inspection
from training.engine.students import ARCHITECTURES, Size

OFFERED = [(one.key, one.tasks[0], size) for one in ARCHITECTURES for size in one.sizes]


@pytest.mark.parametrize(
    ("key", "task", "size"), OFFERED, ids=[f"{key}-{size.key}" for key, _, size in OFFERED]
)
def test_a_size_has_the_parameters_it_tells(key: str, task: str, size: Size) -> None:
    inspected = inspection._architecture(task, key, size.config)
    assert inspected["parameters"] == size.parameters


def test_a_teachers_size_is_many_times_the_tiny_one() -> None:
    for one in ARCHITECTURES:
        if one.sizes:
            assert one.sizes[-1].parameters > 30 * one.sizes[0].parameters
