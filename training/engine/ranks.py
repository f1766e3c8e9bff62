"""Several processes that train one student: each takes its part of every batch, gradients are
summed, and all take the same step.

A term's sum is divided by the count over all ranks, so gradients are added and not averaged, and N
processes follow the same numbers as one. Started by `accelerate launch` or `torchrun`, which set
RANK and WORLD_SIZE.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from training.engine.data import Indices
from training.engine.errors import Stopped

PATIENCE = timedelta(days=2)
Values = dict[str, float]
Had = TypeVar("Had")


class Ranks:
    """One process alone."""

    rank = 0
    size = 1

    def mine(self, rows: Indices) -> Indices:
        """This rank's rows of a batch: those of all ranks, one rank after the other, are the
        batch in its own order."""
        return rows

    def every(self, mine: Had) -> list[Had]:
        """What each rank has, by rank. Tensors are to be on the CPU."""
        return [mine]

    def sum_gradients(self, weights: Sequence[nn.Parameter]) -> None:
        """Add the ranks' gradients, in place."""

    def sum_counts(self, counts: dict[str, int]) -> dict[str, int]:
        return counts

    def sum_values(self, values: dict[str, float]) -> dict[str, float]:
        return values

    def agree(self, asked: bool) -> bool:
        """Whether any rank says yes."""
        return asked

    def told(self, measure: Callable[[], Values], *, together: bool = False) -> Values:
        """What the first rank measures; where that takes all ranks, they measure `together`."""
        return measure()

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """The first rank goes through the block alone; the others follow and find its files. Where
        an exception takes it out of the block (it was asked to stop, or failed), they leave, too:
        by Stopped."""
        yield


class Several(Ranks):
    """A rank of a process group."""

    def __init__(self, rank: int, size: int, device: torch.device) -> None:
        self.rank, self.size, self.device = rank, size, device

    def mine(self, rows: Indices) -> Indices:
        return np.array_split(rows, self.size)[self.rank]

    def every(self, mine: Had) -> list[Had]:
        said: list[Had | None] = [None] * self.size
        dist.all_gather_object(said, mine)
        return [one for one in said if one is not None]

    def sum_gradients(self, weights: Sequence[nn.Parameter]) -> None:
        # One flat message: a weight without a gradient here may have one elsewhere. One that has
        # none anywhere is left alone, as weight decay would not do.
        there = torch.tensor([float(one.grad is not None) for one in weights], device=self.device)
        gradients = [torch.zeros_like(one) if one.grad is None else one.grad for one in weights]
        flat = torch.cat([*(one.flatten() for one in gradients), there])
        dist.all_reduce(flat)
        start = 0
        for one, had in zip(weights, flat[-len(weights) :].tolist(), strict=True):
            if had:
                one.grad = flat[start : start + one.numel()].view_as(one).clone()
            start += one.numel()

    def sum_counts(self, counts: dict[str, int]) -> dict[str, int]:
        names = sorted(counts)  # the same on all ranks
        sums = torch.tensor([counts[name] for name in names], device=self.device)
        dist.all_reduce(sums)
        return dict(zip(names, sums.tolist(), strict=True))

    def sum_values(self, values: dict[str, float]) -> dict[str, float]:
        sums: dict[str, float] = {}
        for one in self.every(values):  # a rank without rows has no names
            for name, value in one.items():
                sums[name] = sums.get(name, 0.0) + value
        return sums

    def told(self, measure: Callable[[], Values], *, together: bool = False) -> Values:
        said: list[Values | None] = [measure() if together or self.rank == 0 else None]
        dist.broadcast_object_list(said, src=0)
        assert said[0] is not None
        return said[0]

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        left = [True]
        if self.rank:
            dist.broadcast_object_list(left, src=0)
            if left[0]:
                raise Stopped
            yield
            return
        try:
            yield
            left = [False]
        finally:
            dist.broadcast_object_list(left, src=0)

    def agree(self, asked: bool) -> bool:
        said = torch.tensor([1.0 if asked else 0.0], device=self.device)
        dist.all_reduce(said, op=dist.ReduceOp.MAX)
        return bool(said.item() > 0)


ALONE = Ranks()


def join(device: torch.device) -> Ranks:
    """This process's place among those started together."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size <= 1:
        return ALONE
    if not dist.is_initialized():
        # The others wait while the first asks a teacher, however long that takes.
        if device.type == "cuda":
            dist.init_process_group("nccl", device_id=device, timeout=PATIENCE)
        else:
            dist.init_process_group("gloo", timeout=PATIENCE)
    return Several(dist.get_rank(), dist.get_world_size(), device)
