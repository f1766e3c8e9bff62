"""Several processes that train one student: each takes its part of every batch, gradients are
summed, and all take the same step.

A term's sum is divided by the count over all ranks, so gradients are added and not averaged, and N
processes follow the same numbers as one. Started by `accelerate launch` or `torchrun`, which set
RANK and WORLD_SIZE.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import nn

from training.engine.data import Indices

Values = dict[str, float]


class Ranks:
    """One process alone."""

    rank = 0
    size = 1

    def mine(self, rows: Indices) -> Indices:
        """This rank's rows of a batch."""
        return rows

    def sum_gradients(self, weights: Sequence[nn.Parameter]) -> None:
        """Add the ranks' gradients, in place."""

    def sum_counts(self, counts: dict[str, int]) -> dict[str, int]:
        return counts

    def sum_values(self, values: dict[str, float]) -> dict[str, float]:
        return values

    def agree(self, asked: bool) -> bool:
        """Whether any rank says yes."""
        return asked

    def told(self, measure: Callable[[], Values]) -> Values:
        """What the first rank measures."""
        return measure()

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """The first rank goes through the block alone; the others follow and find its files."""
        yield


class Several(Ranks):
    """A rank of a process group."""

    def __init__(self, rank: int, size: int, device: torch.device) -> None:
        self.rank, self.size, self.device = rank, size, device

    def mine(self, rows: Indices) -> Indices:
        return rows[self.rank :: self.size]

    def sum_gradients(self, weights: Sequence[nn.Parameter]) -> None:
        # One flat message: a weight without a gradient here may have one elsewhere.
        flat = torch.cat(
            [(torch.zeros_like(one) if one.grad is None else one.grad).flatten() for one in weights]
        )
        dist.all_reduce(flat)
        start = 0
        for one in weights:
            one.grad = flat[start : start + one.numel()].view_as(one).clone()
            start += one.numel()

    def sum_counts(self, counts: dict[str, int]) -> dict[str, int]:
        summed = self.sum_values({name: float(value) for name, value in counts.items()})
        return {name: int(value) for name, value in summed.items()}

    def sum_values(self, values: dict[str, float]) -> dict[str, float]:
        names = sorted(values)
        sums = torch.tensor([values[name] for name in names], dtype=torch.float64)
        sums = sums.to(self.device)
        dist.all_reduce(sums)
        return dict(zip(names, sums.tolist(), strict=True))

    def told(self, measure: Callable[[], Values]) -> Values:
        said: list[Values | None] = [measure() if self.rank == 0 else None]
        dist.broadcast_object_list(said, src=0)
        assert said[0] is not None
        return said[0]

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        if self.rank:
            dist.barrier()
        yield
        if not self.rank:
            dist.barrier()

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
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return Several(dist.get_rank(), dist.get_world_size(), device)
