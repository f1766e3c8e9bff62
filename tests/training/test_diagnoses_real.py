"""What is said of runs that really train, each with one fault, and of one without."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.engine import jobs
from training.engine.events import Measured
from training.services import diagnoses
from training.services.trends import Seen

BAG = {**jobs.SMALL_BAG, "dropout": 0.0}


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> jobs.JSON:
    return jobs.texts(tmp_path_factory.mktemp("texts") / "rows.parquet")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory, texts: jobs.JSON) -> str:
    how = {"epochs": 10, "learning_rate": 0.003, "schedule": "cosine"}
    home = tmp_path_factory.mktemp("teacher")
    folder = jobs.write(home, texts, options=BAG, losses=jobs.HARD, training=how)
    jobs.run(folder)
    return str(folder / "output" / "model")


def seen(folder: Path, losses: list[jobs.JSON], rate: float) -> Seen:
    """As services/lens.py would see it."""
    series: dict[str, dict[str, list[Any]]] = defaultdict(lambda: {"steps": [], "values": []})
    for event in jobs.of(jobs.run(folder), Measured):
        for name, value in event.values.items():
            series[name]["steps"].append(event.step)
            series[name]["values"].append(value)
    weights = {one["kind"]: float(one.get("weight", 1.0)) for one in losses}
    report = json.loads((folder / "output" / "evaluation.json").read_text())
    told = (report["temperature"] or {}).get("by_temperature", [])
    own = {one.get("temperature") for one in losses}
    return Seen(
        series=dict(series),
        weights=weights,
        ends=weights,
        softened=[one | {"most": float(np.log(3))} for one in told if one["temperature"] in own],
        metric="accuracy",
        learning_rate=rate,
    )


def codes(folder: Path, texts: jobs.JSON, losses: list[jobs.JSON], **how: Any) -> list[str]:
    training = {"epochs": 30, "learning_rate": 0.003, "schedule": "cosine"} | how.pop(
        "training", {}
    )
    written = jobs.write(folder, texts, losses=losses, options=BAG, training=training, **how)
    return [one.code for one in diagnoses.of(seen(written, losses, training["learning_rate"]))]


def test_of_a_run_that_learns_nothing_is_wrong(
    tmp_path: Path, texts: jobs.JSON, teacher: str
) -> None:
    found = codes(tmp_path, texts, jobs.SOFT, teachers=[teacher])
    assert found == []


def test_labels_by_chance_are_learned_by_heart(tmp_path: Path, texts: jobs.JSON) -> None:
    table = pq.read_table(texts["path"])
    chance = np.random.default_rng(0).choice(jobs.LABELS, size=table.num_rows)
    place = table.schema.get_field_index("label")
    mixed = table.set_column(place, "label", pa.array(chance.tolist(), pa.string()))
    pq.write_table(mixed, tmp_path / "mixed.parquet")
    told = {**texts, "path": str(tmp_path / "mixed.parquet"), "sha256": ""}
    assert "overfitting" in codes(tmp_path / "run", told, jobs.HARD, training={"epochs": 40})


def test_few_steps_are_too_few(tmp_path: Path, texts: jobs.JSON) -> None:
    how = {"epochs": 8, "learning_rate": 0.0005, "schedule": "constant"}
    assert codes(tmp_path, texts, jobs.HARD, training=how) == ["underfitting"]


def test_a_rate_of_ten_is_too_high(tmp_path: Path, texts: jobs.JSON) -> None:
    how = {"epochs": 20, "learning_rate": 10.0, "schedule": "constant"}
    assert {"rate_too_high", "diverged", "spikes"} & set(
        codes(tmp_path, texts, jobs.HARD, training=how)
    )


def test_a_weight_of_a_thousandth_makes_a_dead_term(
    tmp_path: Path, texts: jobs.JSON, teacher: str
) -> None:
    losses: list[jobs.JSON] = [
        {"kind": "soft_targets", "weight": 1.0, "temperature": 2.0},
        {"kind": "hard_labels", "weight": 0.0005},
    ]
    assert codes(tmp_path, texts, losses, teachers=[teacher]) == ["dead_term"]


def test_a_temperature_of_a_hundred_tells_nothing(
    tmp_path: Path, texts: jobs.JSON, teacher: str
) -> None:
    losses: list[jobs.JSON] = [{"kind": "soft_targets", "weight": 1.0, "temperature": 100.0}]
    assert "temperature_too_high" in codes(tmp_path, texts, losses, teachers=[teacher])
