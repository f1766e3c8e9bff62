"""Batches that are made ahead are the batches that would have been made."""

import threading

import numpy as np
import pytest
import torch

from training.engine import ahead
from training.engine.ahead import Ahead
from training.engine.data import Batch, Indices
from training.engine.networks import Place


def rows(*which: int) -> Indices:
    return np.array(which, dtype=np.int64)


def test_expected_batches_are_made_in_another_thread_once_and_others_when_asked() -> None:
    made: list[tuple[list[int], bool]] = []

    def make(some: Indices) -> Batch:
        made.append((some.tolist(), threading.current_thread() is threading.main_thread()))
        return {"ids": torch.from_numpy(some * 10)}

    one = Ahead(make, pinned=False)
    one.expect([rows(1, 2), rows(3)])
    assert one.take(rows(1, 2))["ids"].tolist() == [10, 20]
    assert one.take(rows(3))["ids"].tolist() == [30]
    assert one.take(rows(4))["ids"].tolist() == [40]
    one.close()
    assert made == [([1, 2], False), ([3], False), ([4], True)]


def test_what_goes_wrong_ahead_is_told_where_the_batch_is_taken() -> None:
    def make(some: Indices) -> Batch:
        raise ValueError("no such row")

    one = Ahead(make, pinned=False)
    one.expect([rows(1)])
    with pytest.raises(ValueError, match="no such row"):
        one.take(rows(1))
    one.close()


def test_nothing_is_made_ahead_on_a_cpu() -> None:
    assert ahead.for_device(lambda _: {}, torch.device("cpu")) is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_batches_for_a_gpu_are_pinned() -> None:
    place = Place.choose("float32")
    one = ahead.for_device(lambda some: {"ids": torch.from_numpy(some)}, place.device)
    assert one is not None
    one.expect([rows(1, 2)])
    assert one.take(rows(1, 2))["ids"].is_pinned()
    one.close()
