"""The chunked loss of a language model's last layer against the plain one, at 2 048 tokens and
32 000 words: student of width 128, teacher of 256, hard labels and soft targets at T = 2.

Time: interleaved in one process, CPU time of one thread. Memory: what a fresh process of each takes
beyond the weights and hidden states that both need. Printed, never asserted (goals: at most half
the time, at most an eighth of the memory): `pytest -m bench tests/bench/test_generation_head.py -s`
"""

import ctypes
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import pytest
import torch
from torch import Tensor

from training.engine import head_loss, options
from training.engine.head_loss import Term
from training.engine.heads import Head, TopK
from training.engine.losses import LOSSES

pytestmark = pytest.mark.bench
ROOT = Path(__file__).resolve().parent.parent.parent
TOKENS, VOCABULARY, OURS, THEIRS = 2048, 32_000, 128, 256
TEMPERATURE, K = 2.0, 64
PAIRS = 5


def terms() -> list[Term]:
    chosen: list[Term] = []
    for key, weight, values in (
        ("soft_targets", 0.9, {"temperature": TEMPERATURE}),
        ("hard_labels", 0.1, {}),
    ):
        method = LOSSES[key]
        chosen.append((key, weight, method(options.build(method.Options, values))))
    return chosen


def made() -> tuple[Head, Head, Tensor]:
    chance = torch.Generator().manual_seed(0)
    student, teacher = (
        Head(
            torch.randn(TOKENS, width, generator=chance),
            torch.randn(VOCABULARY, width, generator=chance) / width**0.5,
        )
        for width in (OURS, THEIRS)
    )
    student.hidden.requires_grad_(True)
    student.weight.requires_grad_(True)
    return student, teacher, torch.randint(0, VOCABULARY, (TOKENS,), generator=chance)


def plain(student: Head, teacher: Head, labels: Tensor) -> None:
    """Whole logits of both, the registered losses, autograd."""
    logits = student.hidden @ student.weight.T
    with torch.no_grad():
        taught = teacher.hidden @ teacher.weight.T
    total = torch.zeros(())
    for _, by, loss in terms():
        total = total + by * loss.per_row(logits, taught, labels).mean()
    total.backward()  # type: ignore[no-untyped-call]


def chunked(student: Head, teacher: Head | TopK, labels: Tensor, *, bfloat16: bool = False) -> None:
    chosen = terms()
    counts = {kind: TOKENS for kind, _, _ in chosen}
    total, _ = head_loss.total(student, teacher, labels, chosen, counts, bfloat16=bfloat16)
    total.backward()  # type: ignore[no-untyped-call]


def stored(teacher: Head) -> TopK:
    values, indices = [], []
    rest = []
    for start in range(0, TOKENS, 128):
        logits = teacher.logits(start, start + 128)
        best = logits.topk(K, dim=1)
        values.append(best.values)
        indices.append(best.indices)
        logits.scatter_(1, best.indices, -torch.inf)
        rest.append((logits / TEMPERATURE).logsumexp(dim=1))
    return TopK(torch.cat(values), torch.cat(indices), {TEMPERATURE: torch.cat(rest)})


def peak(which: str) -> float:
    """MB that a fresh process takes for one loss and its gradients."""
    command = [sys.executable, "-m", "tests.bench.test_generation_head", which]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def measured(which: str) -> float:
    torch.set_num_threads(1)
    student, teacher, labels = made()
    taught: Head | TopK = teacher
    if which == "top k":
        taught = stored(teacher)
    if which != "plain":  # the first product of matrices takes some memory for good
        few = Head(student.hidden[:8].detach().requires_grad_(True), student.weight[:64])
        head_loss.total(few, None, labels[:8] % 64, terms()[1:], {"hard_labels": 8})
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = memory("VmRSS")
    if which == "plain":
        plain(student, teacher, labels)
    else:
        chunked(student, taught, labels, bfloat16=which == "bfloat16")
    return memory("VmHWM") - before


def memory(kind: str) -> float:
    """MB. The kernel's own mark: `ru_maxrss` counts what the parent held when it started this."""
    said = Path("/proc/self/status").read_text()
    return int(said.split(f"{kind}:")[1].split()[0]) / 1024


def timed(work: object, *given: object, **how: object) -> float:
    assert callable(work)
    began = time.process_time()
    work(*given, **how)
    return time.process_time() - began


def test_time_and_memory_of_the_last_layer() -> None:
    torch.set_num_threads(1)
    student, teacher, labels = made()
    kept = stored(teacher)
    seconds: dict[str, list[float]] = {name: [] for name in ("plain", "chunked", "bf16", "top k")}
    for _ in range(PAIRS):
        seconds["plain"].append(timed(plain, student, teacher, labels))
        seconds["chunked"].append(timed(chunked, student, teacher, labels))
        seconds["bf16"].append(timed(chunked, student, teacher, labels, bfloat16=True))
        seconds["top k"].append(timed(chunked, student, kept, labels))
    plain_s, ours_s = median(seconds["plain"]), median(seconds["chunked"])
    plain_mb, ours_mb = peak("plain"), peak("chunked")
    print(
        f"\n2 048 tokens by 32 000 words: plain {plain_s:.2f} s, {plain_mb:.0f} MB; chunked "
        f"{ours_s:.2f} s, {ours_mb:.0f} MB: {ours_s / plain_s:.2f} of the time (goal 0.5), "
        f"{ours_mb / plain_mb:.3f} of the memory (goal 0.125)\n"
        f"in bfloat16 {median(seconds['bf16']):.2f} s, {peak('bfloat16'):.0f} MB; from a stored "
        f"top {K} {median(seconds['top k']):.2f} s, {peak('top k'):.0f} MB"
    )


if __name__ == "__main__":
    print(measured(sys.argv[1]))
