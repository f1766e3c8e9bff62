"""Batches made while a GPU works on the one before: in a thread of their own, in pinned memory,
from which they are copied without waiting. On a CPU nothing is made ahead: it has no idle hands."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from training.engine.data import Batch, Indices


class Ahead:
    """Makes the batches that are expected; those that are not, when they are asked for."""

    def __init__(self, make: Callable[[Indices], Batch], *, pinned: bool) -> None:
        self._make, self._pinned = make, pinned
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._coming: dict[bytes, Future[Batch]] = {}

    def expect(self, pieces: Sequence[Indices]) -> None:
        """Begin to make these, in order, and forget what was expected and never taken."""
        self._coming = {piece.tobytes(): self._worker.submit(self._made, piece) for piece in pieces}

    def take(self, rows: Indices) -> Batch:
        """The batch of these rows. Raises what making it raised."""
        coming = self._coming.pop(rows.tobytes(), None)
        return self._made(rows) if coming is None else coming.result()

    def close(self) -> None:
        self._coming = {}
        self._worker.shutdown(wait=True, cancel_futures=True)

    def _made(self, rows: Indices) -> Batch:
        batch = self._make(rows)
        return {name: one.pin_memory() for name, one in batch.items()} if self._pinned else batch


def for_device(make: Callable[[Indices], Batch], device: torch.device) -> Ahead | None:
    """None where making batches ahead would gain nothing."""
    return Ahead(make, pinned=True) if device.type == "cuda" else None
