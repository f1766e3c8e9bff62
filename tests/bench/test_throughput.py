"""Rows, tokens and images per second in training, and the share of this machine's limit.

The limit is measured in the same run: GFLOP/s of a product of two 1 024 x 1 024 matrices, the best
of several, on one thread. A step's work is what PyTorch counts of its products and convolutions,
forward and backward; everything else (norms, embeddings, the optimizer) is time without work.
Printed, never asserted: `pytest -m bench -s -p no:xdist tests/bench/test_throughput.py`
"""

import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from tests.bench.test_engine_speed import batches, prepared
from tests.engine import jobs
from training.engine.trainer import Trainer

pytestmark = pytest.mark.bench
PIECES, STEPS = 7, 6
SIDE = 1024
PLAIN: dict[str, Any] = {"batch_size": 64, "learning_rate": 5e-4, "epochs": 100}


def seconds(work: Callable[[], Any]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def limit() -> float:
    """GFLOP/s of a product now."""
    left, right = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
    best = min(seconds(lambda: left @ right) for _ in range(3))
    return float(2 * SIDE**3 / best / 1e9)


def work_of(one: Trainer, rows: Any) -> float:
    """GFLOP of the products and convolutions of a step."""
    with FlopCounterMode(display=False) as counted:
        said = one.place.logits(one.student, one.inputs.batch(rows))
        F.cross_entropy(said, torch.from_numpy(one.dataset.labels[rows])).backward()  # type: ignore[no-untyped-call]
    one.optimizer.zero_grad()
    return float(counted.get_total_flops() / 1e9)


def report(name: str, folder: Path) -> None:
    one = prepared(folder)
    one.module.train()
    order = cycle(list(batches_once(one)))
    best = [limit()]
    done: list[tuple[float, int, int, float]] = []  # seconds, rows, tokens, GFLOP
    for _ in range(PIECES):
        some = [next(order) for _ in range(STEPS)]
        began = time.process_time()
        for rows in some:
            one.step(rows)
        took = time.process_time() - began
        lengths = one.inputs.lengths
        tokens = sum(int(lengths[rows].sum()) for rows in some) if lengths is not None else 0
        done.append((took, sum(map(len, some)), tokens, sum(work_of(one, rows) for rows in some)))
        best.append(limit())
    rates = [work / took for took, _, _, work in done[1:]]
    per_second = median(rows / took for took, rows, _, _ in done[1:])
    words = median(tokens / took for took, _, tokens, _ in done[1:])
    said = f"{words:,.0f} tokens" if words else f"{per_second:,.0f} images"
    print(
        f"\n{name}: {said} a second in training; {median(rates):.1f} GFLOP/s, "
        f"{median(rates) / max(best):.0%} of the {max(best):.0f} that this machine's matrices reach"
    )


def batches_once(one: Trainer) -> list[Any]:
    turning = batches(one)
    return [next(turning) for _ in range(20)]


def test_texts(tmp_path: Path) -> None:
    texts = jobs.texts(tmp_path / "texts.parquet", rows=2000)
    encoder = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4}
    folder = jobs.write(
        tmp_path / "job", texts, architecture="bert",
        options={**encoder, "intermediate_size": 1024}, training=PLAIN,
    )  # fmt: skip
    report("BERT, 3.2 M weights", folder)


def test_images(tmp_path: Path) -> None:
    images = jobs.images(tmp_path / "images.parquet", rows=2000, side=28)
    for channels in ([32, 64], [64, 128, 256]):
        folder = jobs.write(
            tmp_path / f"job-{len(channels)}", images, task="image-classification",
            architecture="small_convnet", options={"channels": channels}, training=PLAIN,
        )  # fmt: skip
        report(f"convnet of {channels} filters, 28x28", folder)
