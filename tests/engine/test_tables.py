"""Tables: numbers standardised, words as ids, and what is missing."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from training.engine import tables
from training.engine.errors import DataError
from training.engine.tables import TablePreprocessing, Wish

TRAIN = np.arange(6, dtype=np.int64)
ROWS: dict[str, Any] = {
    "row_id": range(8),
    "split": ["train"] * 6 + ["test"] * 2,
    "label": ["no", "yes"] * 4,
    "source": [str(n) for n in range(8)],
    "age": pa.array([20.0, 30.0, 40.0, None, 50.0, 60.0, 1e9, None]),
    "hours": pa.array([40.0] * 7 + [float("inf")]),
    "work": pa.array(["a", "b", "a", None, "b", "c", "b", "z"]),
    "note": pa.array(["kept", None, "x", "x", "y", "y", "x", ""]),
}
COLUMNS = {"age": "numeric", "hours": "numeric", "work": "categorical"}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("table") / "rows.parquet"
    pq.write_table(pa.table(ROWS), file)
    return file


@pytest.fixture(scope="module")
def measured(path: Path) -> TablePreprocessing:
    return tables.measure(path, TRAIN, COLUMNS, Wish())


def test_mean_and_deviation_are_those_of_the_known_training_numbers(
    measured: TablePreprocessing,
) -> None:
    assert measured.numeric == ("age", "hours")
    assert measured.mean == pytest.approx((40.0, 40.0))
    assert measured.std == pytest.approx((200**0.5, 1.0))
    assert measured.lacking == (True, False)


def test_words_are_those_of_several_training_rows_the_most_frequent_first(
    measured: TablePreprocessing,
) -> None:
    assert measured.words == (("a", "b"),)  # c stands once only, z in no training row
    assert measured.categories == (4,)


def test_a_batch_holds_numbers_indicators_and_ids(
    path: Path, tmp_path: Path, measured: TablePreprocessing
) -> None:
    batch = measured.prepare(path, tmp_path).batch(np.array([0, 3, 6, 7]))
    numbers = batch["numbers"]
    assert numbers.dtype == torch.float32
    assert numbers[:, 0].tolist() == pytest.approx([-(2**0.5), 0.0, tables.FAR, 0.0])
    assert numbers[:, 1].tolist() == [0.0, 0.0, 0.0, 0.0]  # infinity is no number
    assert numbers[:, 2].tolist() == [0.0, 1.0, 0.0, 1.0]  # of age alone
    assert batch["categories"].dtype == torch.int64
    assert batch["categories"][:, 0].tolist() == [2, tables.MISSING, 3, tables.UNKNOWN]


def test_without_columns_the_types_of_the_file_decide(path: Path) -> None:
    found = tables.measure(path, TRAIN, {}, Wish())
    assert found.numeric == ("age", "hours")
    assert found.categorical == ("work", "note")


def test_a_column_may_be_read_as_what_its_type_does_not_say(path: Path, tmp_path: Path) -> None:
    found = tables.measure(path, TRAIN, {"hours": "categorical", "work": "numeric"}, Wish())
    assert found.words == (("40.0",),)
    batch = found.prepare(path, tmp_path).batch(TRAIN)
    assert batch["numbers"].tolist() == [[0.0, 1.0]] * 6  # no word is a number


@pytest.mark.parametrize("kind", ["numeric", "categorical"])
def test_a_table_of_one_kind_alone_has_no_other_input(
    path: Path, tmp_path: Path, kind: str
) -> None:
    columns = {name: one for name, one in COLUMNS.items() if one == kind}
    batch = tables.measure(path, TRAIN, columns, Wish()).prepare(path, tmp_path).batch(TRAIN)
    assert set(batch) == {"numbers" if kind == "numeric" else "categories"}


def test_the_rarest_words_are_unknown_where_there_are_too_many(path: Path) -> None:
    assert tables.measure(path, TRAIN, COLUMNS, Wish(most=1)).words == (("a",),)


def test_pieces_give_the_moments_of_the_whole() -> None:
    numbers = 1.6e9 + np.random.default_rng(0).normal(0, 3, 1000)
    moments = tables.Moments()
    for piece in np.array_split(numbers, 7):
        moments.meet(piece)
    moments.meet(np.empty(0))
    assert moments.mean == pytest.approx(numbers.mean(), rel=1e-14)
    assert moments.deviation == pytest.approx(numbers.std(), rel=1e-6)


def test_what_is_said_of_preprocessing_makes_it_again(measured: TablePreprocessing) -> None:
    again = tables.load(measured.as_dict())
    assert again == measured
    assert again.digest == measured.digest


def test_a_missing_column_is_named(path: Path) -> None:
    with pytest.raises(DataError, match="'wage'"):
        tables.measure(path, TRAIN, {"wage": "numeric"}, Wish())
    with pytest.raises(DataError, match="no column of numbers or words"):
        tables.measure(path, TRAIN, {"note": "ignored"}, Wish())
