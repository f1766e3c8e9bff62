"""Whether a frozen teacher answers in bfloat16: where that is faster, and its targets hardly move.

Half the bytes are read and twice the products made, where the machine can; a target that moves
would be another teacher. So both are asked about some training rows, and bfloat16 is taken when the
divergence of the two answers at the terms' temperature is at most TOLERANCE, and the likeliest
answer stays the same. On a CPU both are timed, too. What was found is kept with the job, so that a
job that goes on has the same teacher; answers of either kind are stored apart.
"""

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training.engine.divergences import kl, log_probabilities
from training.engine.networks import Place
from training.engine.teacher_outputs import Teacher

TOLERANCE = 1e-3  # nats, mean over the rows
AGREEING = 0.99  # share of rows whose likeliest answer stays
FASTER = 1.3  # times, on a CPU
WORTH = 5_000_000  # weights: smaller teachers answer in no time
ROWS = 64


@dataclass(frozen=True, slots=True)
class Moved:
    """How bfloat16 answers lie from float32 ones."""

    nats: float
    agreement: float
    speed_up: float

    @property
    def is_little(self) -> bool:
        return self.nats <= TOLERANCE and self.agreement >= AGREEING


def choose(
    teacher: Teacher,
    temperature: float,
    precision: str,
    store: Path,
    home: Path,
    splits: list[str],
) -> str:
    """Set where, and how precisely, a teacher answers; a sentence when that was measured, else
    nothing. `store` is that of answers, `home` the folder of prepared inputs."""
    usual, half = teacher.place, teacher.place.half or torch.bfloat16
    ways = (replace(usual, half=None), replace(usual, half=half))
    teacher.place = ways[0]
    on_cpu = usual.device.type == "cpu"
    small = on_cpu and teacher.network.parameters < WORTH
    asked = precision in ("bfloat16", "float16")  # by name
    by_nats = teacher.dataset.problem in ("single_label", "multi_label")
    if precision == "float32" or not by_nats or (small and not asked):
        return ""
    if not on_cpu and usual.half is None:
        return ""  # a card without it
    for way in ways:
        teacher.place = way
        if splits and all(teacher.place_of(store, split).is_dir() for split in splits):
            return ""  # an earlier run has chosen
    noted = home / f"teacher-{teacher.digest[:16]}.json"
    if noted.exists():
        teacher.place = ways[int(json.loads(noted.read_text())["half"])]
        return ""
    teacher.place = ways[0]
    found = measure(teacher, ways, temperature, home)
    taken = found.is_little and (asked or not on_cpu or found.speed_up >= FASTER)
    teacher.place = ways[int(taken)]
    noted.write_text(json.dumps({"half": taken}))
    kind = str(half).removeprefix("torch.")
    what = (
        f"its targets move by {found.nats:.1e} nats, {found.agreement:.1%} of its answers stay, "
        f"and it is {found.speed_up:.1f} times as fast"
    )
    if taken:
        return f"{teacher.network.name} answers in {kind}: {what}."
    return f"{teacher.network.name} answers in float32; in {kind} {what}."


def measure(teacher: Teacher, ways: tuple[Place, Place], temperature: float, home: Path) -> Moved:
    """Both ways' answers to some training rows, spread over the split."""
    rows = teacher.dataset.splits["train"]
    some = rows[np.linspace(0, len(rows) - 1, min(ROWS, len(rows))).astype(np.int64)]
    teacher.prepare(home)
    assert teacher.inputs is not None
    batch = teacher.inputs.batch(some)
    said: list[Tensor] = []
    seconds: list[float] = []
    with torch.inference_mode():
        for place in ways:
            took = []
            for _ in range(3):  # the first warms caches up
                began = time.perf_counter()
                logits = place.logits(teacher.network, batch).float().cpu()
                took.append(time.perf_counter() - began)
            said.append(logits[:, teacher.columns])
            seconds.append(min(took[1:]))
    problem = teacher.dataset.problem
    exact, moved = (log_probabilities(one, problem, temperature) for one in said)
    same = (
        (said[0] > 0) == (said[1] > 0)
        if problem == "multi_label"
        else said[0].argmax(dim=1) == said[1].argmax(dim=1)
    )
    return Moved(
        float(kl(exact, moved).mean()), float(same.float().mean()), seconds[0] / seconds[1]
    )
