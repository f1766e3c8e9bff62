"""A column of weights says how much each row counts in training."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tests.engine import jobs
from training.engine import data, job_config
from training.engine.errors import DataError
from training.engine.events import Measured
from training.engine.lesson import Worth

JSON = dict[str, Any]
Weights = list[float | None]


def weighed(folder: Path, weights: Weights, *, spoilt: bool = False) -> JSON:
    """Sentences with a column of weights; where `spoilt`, rows of weight 0 have wrong labels."""
    folder.mkdir(parents=True, exist_ok=True)
    described = jobs.texts(folder / "rows.parquet", rows=len(weights))
    table = pq.read_table(folder / "rows.parquet")
    if spoilt:
        labels = table["label"].to_pylist()
        wrong = [
            jobs.LABELS[(jobs.LABELS.index(label) + 1) % 3] if weight == 0 else label
            for label, weight in zip(labels, weights, strict=True)
        ]
        table = table.set_column(2, "label", pa.array(wrong, pa.string()))
    table = table.append_column("counts", pa.array(weights, pa.float64()))
    pq.write_table(table, folder / "rows.parquet")
    return described | {"sha256": "", "fingerprint": "f"}


def trained(folder: Path, dataset: JSON, **others: Any) -> bytes:
    jobs.run(jobs.write(folder, dataset, **others))
    return jobs.weights(folder)


@pytest.mark.parametrize("every", [1.0, 2.5, None])
def test_equal_weights_change_nothing_bit_for_bit(tmp_path: Path, every: float | None) -> None:
    dataset = weighed(tmp_path / "rows", [every] * 60)
    plain = trained(tmp_path / "plain", dataset)
    assert trained(tmp_path / "weighed", dataset | {"weight": "counts"}) == plain


def test_rows_of_weight_0_teach_nothing(tmp_path: Path) -> None:
    weights: Weights = [0.0 if row % 10 < 4 else 1.0 for row in range(200)]
    dataset = weighed(tmp_path / "rows", weights, spoilt=True)
    training = {"epochs": 12, "batch_size": 16}
    scores = []
    for name, said in (("misled", dataset), ("weighed", dataset | {"weight": "counts"})):
        told = jobs.run(jobs.write(tmp_path / name, said, training=training))
        measured = [one.values for one in jobs.of(told, Measured)]
        scores.append([one["val/accuracy"] for one in measured if "val/accuracy" in one][-1])
    assert scores[1] > scores[0]
    assert scores[1] >= 0.9


def test_words_count_as_much_as_their_row(tmp_path: Path) -> None:
    weights: Weights = [float(row % 3) for row in range(60)]
    dataset = weighed(tmp_path / "rows", weights) | {"labels": []}
    found = data.open_dataset(
        tmp_path, job_config.DatasetInput(**dataset | {"weight": "counts", "labels": ()}), "token"
    )
    assert found.weights is not None
    assert found.weights[found.splits["train"]].mean() == pytest.approx(1.0)
    worth = Worth(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 1.0, 3.0]))
    assert worth.of(torch.ones(3)).tolist() == [1.0, 1.0, 3.0]
    assert worth.of(torch.ones(2)).tolist() == [1.0, 3.0]
    assert worth.of(torch.ones(2, 2)).tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_what_is_written_is_weighed_too(tmp_path: Path) -> None:
    dataset = weighed(tmp_path / "rows", [float(row % 3) for row in range(60)]) | {"labels": []}
    how: JSON = {"task": "text-generation", "architecture": "gru_language_model"}
    plain = trained(tmp_path / "plain", dataset, **how)
    assert trained(tmp_path / "weighed", dataset | {"weight": "counts"}, **how) != plain


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        ([-1.0] * 30, "negative"),
        ([float("inf")] * 30, "infinite"),
        ([0.0] * 30, "nothing to learn from"),
    ],
)
def test_weights_that_mean_nothing_are_refused(
    tmp_path: Path, weights: Weights, sentence: str
) -> None:
    dataset = weighed(tmp_path, weights) | {"weight": "counts"}
    with pytest.raises(DataError, match=sentence):
        data.open_dataset(tmp_path, job_config.DatasetInput(**dataset))


def test_a_column_of_words_is_refused(tmp_path: Path) -> None:
    dataset = weighed(tmp_path, [1.0] * 30) | {"weight": "text"}
    with pytest.raises(DataError, match="something else than numbers"):
        data.open_dataset(tmp_path, job_config.DatasetInput(**dataset))
    with pytest.raises(DataError, match="no column 'gone'"):
        data.open_dataset(tmp_path, job_config.DatasetInput(**dataset | {"weight": "gone"}))
