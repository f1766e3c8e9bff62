"""Evaluations in parts, and what work costs."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.engine import jobs, writings
from training.engine import slices
from training.engine.energy import Meter
from training.engine.errors import ConfigError
from training.engine.events import Finished


def test_numbers_fall_into_quarters_and_words_into_parts_of_their_own() -> None:
    parts = dict(slices.parted([float(one) for one in range(8)] + [None]))
    assert {name: len(rows) for name, rows in parts.items()} == {
        "0 to 1": 2, "2 to 3": 2, "4 to 5": 2, "6 to 7": 2, "(empty)": 1,
    }  # fmt: skip
    parts = dict(slices.parted(["b", "a", "b", None]))
    assert {name: rows.tolist() for name, rows in parts.items()} == {
        "b": [0, 2], "a": [1], "(empty)": [3],
    }  # fmt: skip
    many = dict(slices.parted([str(one) for one in range(30)]))
    assert len(many) == slices.MOST_PARTS + 1
    assert len(many["(all others)"]) == 30 - slices.MOST_PARTS
    assert sum(map(len, many.values())) == 30


def test_equal_numbers_stay_together() -> None:
    parts = slices.quarters(np.array([1.0] * 9 + [2.0]))
    assert [(name, len(rows)) for name, rows in parts] == [("1", 9), ("2", 1)]


def test_parts_of_a_text_split_add_up_to_the_whole(
    tmp_path: Path, texts: jobs.JSON, teacher: Path
) -> None:
    folder = jobs.write(
        tmp_path, texts, teachers=[str(teacher)],
        machine={"watts_per_core": 20.0, "price_per_hour": 0.5},
    )  # fmt: skip
    summary = jobs.of(jobs.run(folder), Finished)[0].summary
    told = json.loads((folder / "output" / "evaluation.json").read_text())
    assert [one["column"] for one in told["slices"]] == ["length"]
    parts = told["slices"][0]["parts"]
    assert len(parts) == 4
    assert all(one["name"].endswith(" characters") for one in parts)
    rows = sum(one["rows"] for one in parts)
    assert rows == summary["rows"]
    for role in ("student", "teacher"):
        mean = sum(one[role] * one["rows"] for one in parts) / rows
        assert mean == pytest.approx(summary[role]["accuracy"])
        assert summary[role]["energy_per_million_wh"] > 0
        speed = summary[role]["samples_per_second"]
        assert summary[role]["cost_per_million"] == pytest.approx(0.5 / 3600 / speed * 1e6, 1e-3)
    assert summary["training_energy_wh"] > 0
    assert "W a core" in summary["energy_source"] or "RAPL" in summary["energy_source"]


def test_columns_of_a_table_make_parts_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    dataset = jobs.tables(tmp_path / "t.parquet", problem="regression")
    how: jobs.JSON = {
        "task": "tabular-classification", "architecture": "tabular_mlp",
        "training": {"epochs": 1, "learning_rate": 0.01},
    }  # fmt: skip
    folder = jobs.write(tmp_path / "a", dataset, evaluation={"slices": ["place", "age"]}, **how)
    jobs.run(folder)
    told = json.loads((folder / "output" / "evaluation.json").read_text())["slices"]
    assert [(one["column"], one["metric"]) for one in told] == [("place", "rmse"), ("age", "rmse")]
    assert told[0]["parts"][0]["teacher"] is None
    folder = jobs.write(tmp_path / "b", dataset, evaluation={"slices": ["height"]}, **how)
    with pytest.raises(ConfigError, match="place"):
        jobs.run(folder)


def test_energy_is_read_where_the_machine_tells_and_is_an_estimate_elsewhere(
    tmp_path: Path,
) -> None:
    package = tmp_path / "intel-rapl:0"
    package.mkdir()
    (tmp_path / "intel-rapl:0:0").mkdir()  # the cores of that package: not counted twice
    (package / "max_energy_range_uj").write_text("9000000")
    (package / "energy_uj").write_text("8000000")
    meter = Meter(torch.device("cpu"), 15.0, powercap=tmp_path)
    assert meter.source.startswith("measured by RAPL")
    (package / "energy_uj").write_text("500000")  # the counter began again
    assert meter.joules() == pytest.approx(1.5)
    meter.spent_before(2.0)
    assert meter.joules() == pytest.approx(3.5)
    guessed = Meter(torch.device("cpu"), 15.0, powercap=tmp_path / "none")
    assert guessed.source == "estimated: CPU time x 15 W a core"
    assert guessed.joules() >= 0


def test_what_writes_is_told_in_parts_by_its_tokens_or_a_column(tmp_path: Path) -> None:
    said = ["the cat sat", "a dog ran off", "the mat", "and then the cat sat on the mat"] * 10
    who = [["poet", "lawyer", "none"][row % 3] for row in range(40)]
    dataset = writings.rows(tmp_path / "texts.parquet", said, who=who)
    teacher = writings.write(tmp_path / "teacher", dataset, options=writings.LARGER)
    jobs.run(teacher)
    for asked, columns in (((), ["length"]), (("who",), ["who"])):
        folder = writings.write(
            tmp_path / f"student {columns[0]}", dataset, losses=writings.SOFT,
            teachers=[str(teacher / "output" / "model")],
            **({"evaluation": {"slices": list(asked)}} if asked else {}),
        )  # fmt: skip
        summary = jobs.of(jobs.run(folder), Finished)[0].summary
        told = json.loads((folder / "output" / "evaluation.json").read_text())["slices"]
        assert [one["column"] for one in told] == columns
        assert told[0]["metric"] == "bits_per_character"
        parts = told[0]["parts"]
        assert sum(one["rows"] for one in parts) == 8  # every row of the test split
        for role in ("student", "teacher"):
            bits = [one[role] for one in parts]
            assert min(bits) <= summary[role]["bits_per_character"] <= max(bits)
    assert {one["name"] for one in parts} == {"poet", "lawyer", "none"}
