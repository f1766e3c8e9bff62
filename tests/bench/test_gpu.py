"""What a GPU does: steps of a large student beside a bare loop, tokens a second and the share of
the card's own limit, in each precision; memory with gradient checkpointing; and the loss of a last
layer over 32 000 words in chunks beside the plain one. Wall time, after warm-up; the limit is a
product of two 8 192 x 8 192 bfloat16 matrices, measured in the same run. Printed, never asserted:
`pytest -m bench -s -p no:xdist tests/bench/test_gpu.py`
"""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from tests.bench import test_generation_head as head
from tests.bench.test_engine_speed import prepared
from tests.engine import jobs
from training.engine import data
from training.engine.data import Indices
from training.engine.heads import Head
from training.engine.journal import Journal
from training.engine.trainer import Trainer

pytestmark = [
    pytest.mark.bench,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA GPU"),
]
GPU = torch.device("cuda", 0)
PIECES, STEPS = 7, 10
ENCODER: jobs.JSON = {
    "hidden_size": 768, "num_hidden_layers": 6, "num_attention_heads": 12,
    "intermediate_size": 3072, "max_length": 128, "vocab_size": 8000,
}  # fmt: skip
TEACHER: jobs.JSON = {**ENCODER, "num_hidden_layers": 12}


def seconds(work: Callable[[], Any]) -> float:
    torch.cuda.synchronize()
    began = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - began


def limit() -> float:
    """TFLOP/s of a bfloat16 product now."""
    side = 8192
    left, right = (torch.randn(side, side, device=GPU, dtype=torch.bfloat16) for _ in range(2))
    best = min(seconds(lambda: [left @ right for _ in range(5)]) / 5 for _ in range(4))
    return 2 * side**3 / best / 1e12


def long_texts(path: Path, rows: int) -> jobs.JSON:
    """Texts of about 120 tokens."""
    chance = np.random.default_rng(0)
    words = ["please", "my", "the", "order", "now", "card", "help", "with", "a", "soon"]
    written = [
        " ".join([*chance.choice(words, size=118), jobs.LABELS[row % 3]]) for row in range(rows)
    ]
    return jobs.of_texts(path, written)


def bare(one: Trainer) -> Callable[[Indices], None]:
    """What one would write by hand for a fine-tuning in bfloat16, its batches pinned."""
    module, inputs = one.module, one.inputs
    labels = torch.from_numpy(one.dataset.labels)
    optimizer = torch.optim.AdamW(module.parameters(), lr=5e-4, fused=True)
    half = one.place.half

    def step(rows: Indices) -> None:
        batch = {
            name: value.pin_memory().to(GPU, non_blocking=True)
            for name, value in inputs.batch(rows).items()
        }
        truth = labels[torch.from_numpy(rows)].to(GPU, non_blocking=True)
        with torch.autocast("cuda", half or torch.bfloat16, enabled=half is not None):
            said = module(**batch)
        loss = F.cross_entropy(said.float(), truth)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()

    return step


def work_of(one: Trainer, rows: Indices) -> float:
    """TFLOP of a step's products, forward and backward."""
    with FlopCounterMode(display=False) as counted:
        said = one.place.logits(one.student, one.inputs.batch(rows))
        truth = torch.from_numpy(one.dataset.labels[rows]).to(GPU)
        F.cross_entropy(said, truth).backward()  # type: ignore[no-untyped-call]
    one.optimizer.zero_grad()
    return float(counted.get_total_flops() / 1e12)


def compare(name: str, folder: Path) -> None:
    """Both loops by turns over the same batches; the engine's own prefetch is on."""
    one, other = prepared(folder), prepared(folder)
    one.module.train()
    other.module.train()
    order = data.epoch_order(one.rows, one.inputs.lengths, one.size, 0, 0)
    turning = cycle([rows for rows in order if len(rows) == one.size])
    best = [limit()]
    took: tuple[list[float], list[float]] = ([], [])
    with Journal(folder / "bench.jsonl") as journal:
        one.micro_batches.make_ahead()
        plain = bare(other)

        def ours(some: list[Indices]) -> None:
            for rows, after in zip(some, [*some[1:], None], strict=True):
                one.step(rows, after)
                for event in one.measure():
                    journal.write(event)

        def theirs(some: list[Indices]) -> None:
            for rows in some:
                plain(rows)

        for _ in range(PIECES):
            pieces = [next(turning) for _ in range(STEPS)]
            took[0].append(seconds(partial(ours, pieces)) / STEPS)
            took[1].append(seconds(partial(theirs, pieces)) / STEPS)
            best.append(limit())
        one.micro_batches.close()
    some = next(turning)
    mine, by_hand = (median(every[1:]) for every in took)
    tokens = int(one.inputs.lengths[some].sum()) if one.inputs.lengths is not None else 0
    said = f"{tokens / mine:,.0f} tokens" if tokens else f"{len(some) / mine:,.0f} images"
    rate = work_of(one, some) / mine
    print(
        f"\n{name}, {one.place}: engine {mine * 1e3:.2f} ms a step, bare loop "
        f"{by_hand * 1e3:.2f} ms, ratio {mine / by_hand:.3f}; {said} a second; {rate:.1f} TFLOP/s, "
        f"{rate / max(best):.0%} of the {max(best):.0f} that bfloat16 matrices reach here"
    )


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_steps_of_a_six_layer_encoder(precision: str, tmp_path: Path) -> None:
    texts = long_texts(tmp_path / "texts.parquet", rows=4000)
    folder = jobs.write(
        tmp_path / "job", texts, architecture="bert", options=ENCODER,
        training={"batch_size": 64, "learning_rate": 5e-5, "precision": precision},
    )  # fmt: skip
    compare("43 M weights, text, hard labels", folder)


def test_steps_of_a_small_student(tmp_path: Path) -> None:
    texts = jobs.texts(tmp_path / "texts.parquet", rows=6000)
    folder = jobs.write(tmp_path / "job", texts, training={"batch_size": 64})
    compare("a bag of embeddings, text, hard labels", folder)


def test_steps_of_a_convnet(tmp_path: Path) -> None:
    images = jobs.images(tmp_path / "images.parquet", rows=2000, side=28)
    folder = jobs.write(
        tmp_path / "job", images, task="image-classification", architecture="small_convnet",
        options={"channels": [64, 128, 256]}, training={"batch_size": 256},
    )  # fmt: skip
    compare("0.4 M weights, 28x28 images", folder)


def test_memory_of_a_step_with_and_without_checkpointing(tmp_path: Path) -> None:
    texts = long_texts(tmp_path / "texts.parquet", rows=1000)
    peaks = {}
    for on in (False, True):
        folder = jobs.write(
            tmp_path / str(on), texts, architecture="bert", options=ENCODER,
            training={"batch_size": 64, "gradient_checkpointing": on},
        )  # fmt: skip
        one = prepared(folder)
        one.module.train()
        one.step(one.rows[:64])  # the optimizer's state is there afterwards
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        one.step(one.rows[64:128])
        peaks[on] = (torch.cuda.max_memory_allocated() - before) / 2**20
        del one
    print(
        f"\nA step of 43 M weights, 64 x 120 tokens, bfloat16: {peaks[False]:,.0f} MiB beyond "
        f"weights; with gradient checkpointing {peaks[True]:,.0f} "
        f"({peaks[True] / peaks[False]:.2f})"
    )


def plain_head(student: Head, teacher: Head, labels: Tensor) -> None:
    logits = (student.hidden @ student.weight.T).float()
    with torch.no_grad():
        taught = (teacher.hidden @ teacher.weight.T).float()
    total = torch.zeros((), device=GPU)
    for _, by, loss in head.terms():
        total = total + by * loss.per_row(logits, taught, labels).mean()
    total.backward()  # type: ignore[no-untyped-call]


def test_the_head_over_32_000_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "TOKENS", 8192)
    monkeypatch.setattr(head, "OURS", 768)
    monkeypatch.setattr(head, "THEIRS", 1024)
    student, teacher, labels = head.made()
    for half in (False, True):
        dtype = torch.bfloat16 if half else torch.float32
        ours = Head(
            student.hidden.detach().to(GPU, dtype).requires_grad_(True),
            student.weight.detach().to(GPU, dtype).requires_grad_(True),
        )
        theirs = replace(
            teacher, hidden=teacher.hidden.to(GPU, dtype), weight=teacher.weight.to(GPU, dtype)
        )
        truth = labels.to(GPU)
        told: dict[str, tuple[float, float]] = {}
        for name, work in (
            ("plain", partial(plain_head, ours, theirs, truth)),
            ("chunked", partial(head.chunked, ours, theirs, truth, bfloat16=half)),
        ):
            work()
            ours.hidden.grad = ours.weight.grad = None
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            took = median(seconds(work) for _ in range(7))
            told[name] = (took * 1e3, (torch.cuda.max_memory_allocated() - before) / 2**20)
        (plain, much), (chunked, little) = told["plain"], told["chunked"]
        print(
            f"\n8 192 tokens, 32 000 words, {dtype}: plain {plain:.1f} ms, {much:,.0f} MiB; "
            f"chunked {chunked:.1f} ms, {little:,.0f} MiB (time {chunked / plain:.2f}, memory "
            f"{little / much:.3f})"
        )


def test_a_whole_distillation(tmp_path: Path) -> None:
    """Teacher of 12 layers, asked once and stored, beside one asked at every step."""
    texts = long_texts(tmp_path / "texts.parquet", rows=6000)
    teacher = jobs.write(
        tmp_path / "teacher", texts, architecture="bert", options=TEACHER,
        training={"epochs": 1, "batch_size": 64, "learning_rate": 5e-5},
    )  # fmt: skip
    jobs.run(teacher)
    took = {}
    for mode in ("auto", "live"):
        folder = jobs.write(
            tmp_path / mode, texts, architecture="bert", options=ENCODER,
            teachers=[str(teacher / "output" / "model")],
            training={"epochs": 3, "batch_size": 64, "learning_rate": 5e-5},
            teacher_outputs={"mode": mode, "store": str(tmp_path / f"store-{mode}")},
        )  # fmt: skip
        took[mode] = seconds(partial(jobs.run, folder))
    print(
        f"\nThree epochs over 4 800 texts of 120 tokens from a 12-layer teacher: stored "
        f"{took['auto']:.1f} s, live {took['live']:.1f} s ({took['auto'] / took['live']:.2f})"
    )


def test_a_compiled_student(tmp_path: Path) -> None:
    """Whole jobs of some epochs, the compilation counted apart by a run of one epoch."""
    texts = long_texts(tmp_path / "texts.parquet", rows=6000)
    took = {}
    for compiled in (False, True):
        for epochs in (1, 4):
            folder = jobs.write(
                tmp_path / f"{compiled}-{epochs}", texts, architecture="bert", options=ENCODER,
                training={"epochs": epochs, "batch_size": 64, "learning_rate": 5e-5,
                          "compile": compiled},
            )  # fmt: skip
            took[compiled, epochs] = seconds(partial(jobs.run, folder))
    plain, faster = ((took[one, 4] - took[one, 1]) / 3 for one in (False, True))
    print(
        f"\nAn epoch of 4 800 texts of 120 tokens: plain {plain:.2f} s, compiled {faster:.2f} s "
        f"({faster / plain:.2f}); the first compiled epoch took "
        f"{took[True, 1] - took[False, 1]:.1f} s more"
    )
