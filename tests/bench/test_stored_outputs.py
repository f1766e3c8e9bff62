"""What it saves to ask a teacher once: whole jobs with stored outputs against the same jobs with a
live teacher, over 1, 3 and 10 epochs, of logits, of layers, and of augmented rows in frozen views;
and a sweep of 20 trials that share one teacher pass against 20 live runs.

Jobs take turns in one process; its CPU time is counted, from the Parquet file to the saved student
(without the test's evaluation). Printed, never asserted; with the allocator that a worker gives its
jobs (training/worker/child.py), without which asking 256 rows at once costs half as much again:
`MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=1099511627776 MALLOC_TOP_PAD_=67108864 \
pytest -m bench -s -p no:xdist tests/bench/test_stored_outputs.py`
"""

import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from tests.engine import jobs

pytestmark = pytest.mark.bench
JSON = dict[str, Any]
TRIALS = 20
PLAIN: JSON = {"batch_size": 32, "learning_rate": 1e-3, "checkpoint_every_steps": 100_000}
ENCODER: JSON = {
    "hidden_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 1024,
}


class Pair:
    """A dataset, a trained teacher, and jobs of a small student."""

    def __init__(self, home: Path, task: str, data: JSON, kinds: tuple[str, JSON, str, JSON]):
        self.home, self.task, self.data = home, task, data
        architecture, options, self.student, self.options = kinds
        folder = jobs.write(
            home / "teacher", data, task=task, architecture=architecture, options=options,
            training={**PLAIN, "epochs": 1}, evaluate=False,
        )  # fmt: skip
        jobs.run(folder)
        self.teacher = str(folder / "output" / "model")

    def seconds(
        self,
        mode: str,
        epochs: int,
        store: Path,
        temperature: float = 4.0,
        beside: tuple[JSON, ...] = (),
        **training: Any,
    ) -> float:
        """Of one job, in CPU time; with other terms beside soft targets and labels."""
        folder = self.home / "job"
        shutil.rmtree(folder, ignore_errors=True)
        losses: list[JSON] = [
            {"kind": "soft_targets", "weight": 0.9, "temperature": temperature},
            {"kind": "hard_labels", "weight": 0.1},
            *beside,
        ]
        jobs.write(
            folder, self.data, task=self.task, architecture=self.student, options=self.options,
            teachers=[self.teacher], losses=losses, evaluate=False,
            training={**PLAIN, "epochs": epochs, **training},
            teacher_outputs={"mode": mode, "store": str(store)},
        )  # fmt: skip
        began = time.process_time()
        jobs.run(folder)
        return time.process_time() - began


def compare(name: str, pair: Pair, **how: Any) -> None:
    print(f"\n{name}:")
    for epochs in (1, 3, 10):
        live, stored = [], []
        for turn in range(2):
            one, two = (pair.home / f"{mode}-{epochs}-{turn}" for mode in ("live", "auto"))
            live.append(pair.seconds("live", epochs, one, **how))
            stored.append(pair.seconds("auto", epochs, two, **how))
        print(
            f"  {epochs:2d} epoch(s): live {min(live):.2f} s, stored {min(stored):.2f} s; "
            f"{min(live) / min(stored):.2f} times as fast"
        )


def pictures(home: Path) -> Pair:
    return Pair(
        home,
        "image-classification",
        jobs.images(home / "images.parquet", rows=1200, side=28),
        ("small_convnet", {"channels": [64, 128], "hidden": 128}, "small_convnet",
         {"channels": [8, 16], "hidden": 0}),
    )  # fmt: skip


def test_pictures(tmp_path: Path) -> None:
    compare("images: convnet of 0.9 M weights teaches one of 1 000", pictures(tmp_path))


def test_texts(tmp_path: Path) -> None:
    small = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    texts = jobs.texts(tmp_path / "texts.parquet", rows=1200)
    kinds = ("bert", ENCODER, "bert", {**small, "intermediate_size": 512})
    compare(
        "texts: BERT of 3.2 M weights teaches one of 0.4 M",
        Pair(tmp_path, "text-classification", texts, kinds),
    )


def test_layers(tmp_path: Path) -> None:
    small = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    kinds = ("bert", ENCODER, "bert", {**small, "intermediate_size": 512})
    pair = Pair(
        tmp_path, "text-classification", jobs.texts(tmp_path / "texts.parquet", rows=1200), kinds
    )
    compare(
        "texts: last layers of BERT of 3.2 M weights teach one of 0.4 M",
        pair,
        beside=({"kind": "hidden_states", "layers": "last"},),
    )
    compare(
        "texts: layers and attention (TinyBERT's terms) of the same",
        pair,
        beside=({"kind": "hidden_states"}, {"kind": "attention_maps"}),
    )


def test_views(tmp_path: Path) -> None:
    compare(
        "images, lightly augmented: 2 frozen views against a teacher that sees the same live",
        pictures(tmp_path),
        augmentation="light",
        augmentation_views=2,
    )


def test_sweep(tmp_path: Path) -> None:
    pair = pictures(tmp_path)
    trials = [1.0 + 0.5 * place for place in range(TRIALS)]
    one_pass = sum(pair.seconds("auto", 2, tmp_path / "shared", one) for one in trials)
    live = sum(pair.seconds("live", 2, tmp_path / f"own-{one}", one) for one in trials)
    print(
        f"\na sweep of {TRIALS} trials of 2 epochs, images: one teacher pass {one_pass:.1f} s, "
        f"each run live {live:.1f} s; {live / one_pass:.2f} times as fast"
    )
