"""Jobs of a search: judged on validation rows, they look at no test row."""

from pathlib import Path

import pytest

from tests.engine import jobs
from training.engine import config, methods
from training.engine.errors import ConfigError
from training.engine.events import Finished, Logged, Measured

ASKED: jobs.JSON = {"task": "text-classification", "dataset": "d@1", "student": "s@1"}


def test_a_job_that_is_not_tested_looks_at_no_test_row(
    tmp_path: Path, texts: jobs.JSON, teacher: Path
) -> None:
    folder = jobs.write(tmp_path, texts, teachers=[str(teacher)], evaluation={"test": False})
    told = jobs.run(folder)
    assert not [
        name for one in jobs.of(told, Measured) for name in one.values if name.startswith("test/")
    ]
    assert not [one for one in jobs.of(told, Logged) if " test rows" in one.text]
    [finished] = jobs.of(told, Finished)
    assert finished.summary["student"] is None
    assert finished.summary["split"] == "validation"
    assert 0 <= finished.summary["best_value"] <= 1
    assert (folder / "output/model/model.safetensors").is_file()
    assert not (folder / "output/evaluation.json").exists()


def test_that_test_rows_are_left_alone_stands_in_the_configuration() -> None:
    asked = ASKED | {"evaluation": {"slices": ["region"], "test": False}}
    parsed = config.parse(asked, methods.describe())
    assert not parsed.tests
    assert parsed.as_dict()["evaluation"] == {"slices": ["region"], "test": False}
    assert "evaluation" not in config.parse(ASKED, methods.describe()).as_dict()


@pytest.mark.parametrize(
    ("evaluation", "field"),
    [({"test": 0}, "evaluation.test"), ({"tests": False}, "evaluation"), ([], "evaluation")],
)
def test_what_says_neither_is_refused(evaluation: object, field: str) -> None:
    with pytest.raises(ConfigError) as refused:
        config.parse(ASKED | {"evaluation": evaluation}, methods.describe())
    assert [one.field for one in refused.value.faults] == [field]
