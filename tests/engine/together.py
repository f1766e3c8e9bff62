"""Runs job folders one after the other in each of several processes: `torchrun -m` this one."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import torch

from tests.engine import jobs
from training.engine.events import Event
from training.engine.job import leave


def processes(*folders: Path, size: int = 2) -> None:
    """Train these jobs, `size` processes each; what the first one told is in `told.json`."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    launcher += [f"--nproc-per-node={size}", "-m", "tests.engine.together"]
    done = subprocess.run(
        [*launcher, *map(str, folders)],
        cwd=jobs.ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-5000:]


def steps(told: list[Event]) -> list[jobs.JSON]:
    """The values measured in training and at the ends of epochs."""
    return [asdict(one) for one in told if type(one).__name__ == "Measured"]


def train(folder: Path) -> None:
    stop = folder / "stop-at"
    most = int(stop.read_text()) if stop.exists() else 10**9
    asked = iter(range(10**9))
    resuming = (folder / "checkpoints").is_dir()
    if resuming:
        most = 10**9
    first = os.environ["RANK"] == "0"  # it is asked between a teacher's answers, too

    asking = folder / "stop-asking"  # between the teacher's answers, the first time
    early = asking.exists()

    def asked_to_stop() -> bool:
        if early and first:
            asking.unlink(missing_ok=True)
            return True
        return not first and next(asked) >= most

    told = jobs.run(folder, resuming=resuming, asked_to_stop=asked_to_stop)
    if first:
        lines = [{"type": type(one).__name__, **asdict(one)} for one in told]
        (folder / "told.json").write_text(json.dumps(lines, default=str))


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[1:]:
        train(Path(name))
        torch.distributed.barrier()
    leave(0)  # as a job does: tearing its group down, torch sometimes aborts
