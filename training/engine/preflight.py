"""Whether a job fits into this machine, asked before anything large is built."""

import resource
from pathlib import Path

import torch
from torch import nn

from training.engine.errors import OutOfMemoryError
from training.engine.students import ARCHITECTURES, JSON, Shape

FLOAT = 4  # bytes
SHARE = 0.9  # of what is free that a job may plan for


def parameters(architecture: str, config: JSON, shape: Shape) -> int:
    """Weights of a network, counted without holding any: built on torch's meta device."""
    with torch.device("meta"):
        module = ARCHITECTURES[architecture].build(config, shape)
    return count(module)


def count(module: nn.Module) -> int:
    return sum(one.numel() for one in module.parameters())


def free_memory() -> int:
    """Bytes this process may still take: the least of the machine, its cgroup and its limit."""
    free = 1 << 50
    known = Path("/proc/meminfo")
    if known.is_file():
        for line in known.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                free = int(line.split()[1]) * 1024
    group = Path("/sys/fs/cgroup")
    try:
        most = (group / "memory.max").read_text().strip()
        if most != "max":
            used = int((group / "memory.current").read_text())
            free = min(free, int(most) - used)
    except (OSError, ValueError):
        pass
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        pages = Path("/proc/self/statm")
        used = int(pages.read_text().split()[0]) * resource.getpagesize() if pages.is_file() else 0
        free = min(free, limit - used)
    return max(0, free)


def training_bytes(weights: int, optimizer: str) -> int:
    """What training a network of so many weights holds at least: weights, gradients, the
    optimizer's moments, and the best weights so far. Activations come on top."""
    return weights * FLOAT * (3 + (2 if optimizer == "adamw" else 1))


def refuse_too_large(weights: int, optimizer: str, name: str) -> None:
    """Raise OutOfMemoryError when training cannot fit, before it is tried."""
    need, free = training_bytes(weights, optimizer), free_memory()
    if need > free * SHARE:
        raise OutOfMemoryError(
            f"Training {name} ({weights:,} weights) holds at least {need / 1e9:.1f} GB, and this "
            f"machine has {free / 1e9:.1f} GB free. Take a smaller student or a larger machine."
        )
