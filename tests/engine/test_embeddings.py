"""Vectors of texts: a student of another width finds the neighbours its teacher finds."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.engine import jobs
from training.engine import evaluate, networks
from training.engine.events import Logged, Measured

TASK = "feature-extraction"
BERT: jobs.JSON = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32,
    "vocab_size": 60, "max_length": 16,
}  # fmt: skip
LOSSES: list[jobs.JSON] = [
    {"kind": "embeddings", "of": "rows"},
    {"kind": "relational", "angle_weight": 0.0},
]


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory, texts: jobs.JSON) -> Path:
    """A teacher of embeddings: random ones are good enough to be imitated."""
    return jobs.vectors(tmp_path_factory.mktemp("vectors"), texts, BERT)


def test_a_student_of_another_width_learns_to_find_the_same_neighbours(
    tmp_path: Path, texts: jobs.JSON, vectors: Path
) -> None:
    folder = jobs.write(
        tmp_path, texts, task=TASK, architecture="bag_of_embeddings", teachers=[str(vectors)],
        options={"dim": 8, "vocabulary": 60, "dropout": 0.0, "word_dropout": 0.0}, losses=LOSSES,
        training={"epochs": 15, "learning_rate": 0.01},
    )  # fmt: skip
    told = jobs.run(folder)
    summary = told[-1].summary  # type: ignore[union-attr]
    assert summary["headline"] == "neighbours"
    assert summary["selection_metric"] == "val/neighbours"
    found = [
        one.values["val/neighbours"]
        for one in jobs.of(told, Measured)
        if "val/neighbours" in one.values
    ]
    assert max(found) > found[0]
    assert not any("val/loss" in one.values for one in jobs.of(told, Measured))
    assert any("answered" in one.text and "train rows" in one.text for one in jobs.of(told, Logged))
    kept = networks.load("student", folder / "output" / "model", TASK)
    assert (kept.width, kept.outputs, kept.problem) == (8, 8, "embedding")
    assert pq.read_table(folder / "output" / "predictions.parquet").num_rows == 12


def test_without_losses_the_student_takes_its_teachers_vectors(
    tmp_path: Path, texts: jobs.JSON, vectors: Path
) -> None:
    folder = jobs.write(
        tmp_path, texts, task=TASK, architecture="bert-embedding", options=BERT,
        teachers=[str(vectors)], losses=[{"kind": "embeddings", "of": "rows"}],
        training={"epochs": 2, "learning_rate": 0.005},
    )  # fmt: skip
    told = jobs.run(folder)
    assert told[-1].summary["cosine"] <= 1.0  # type: ignore[union-attr]


def test_neighbours_are_shared_wholly_with_oneself_and_by_chance_with_noise() -> None:
    chance = np.random.default_rng(0)
    one, other = chance.normal(size=(200, 5)), chance.normal(size=(200, 7))
    same = evaluate.fidelity(one, 3 * one, "embedding")
    assert same == {"neighbours": 1.0, "cosine": pytest.approx(1.0)}
    apart = evaluate.fidelity(one, other, "embedding")
    assert set(apart) == {"neighbours"}
    assert apart["neighbours"] < 0.2
