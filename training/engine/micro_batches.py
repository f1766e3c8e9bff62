"""The rows of an optimizer step in pieces of a batch, as a scheme sees them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from training.engine import ahead, augmentation, data
from training.engine.answers import Answer, Wanted
from training.engine.config import Training
from training.engine.data import Batch, Dataset, Indices, Inputs
from training.engine.lesson import Lesson, Worth, silent
from training.engine.networks import Network, Place
from training.engine.ranks import Ranks
from training.engine.schemes import Scheme, Step


class MicroBatches:
    """Makes the pieces of one step after the other; pieces change nothing but memory."""

    def __init__(
        self,
        training: Training,
        dataset: Dataset,
        student: Network,
        forward: nn.Module,
        inputs: Inputs,
        lesson: Lesson,
        scheme: Scheme,
        wanted: Wanted,
        place: Place,
        ranks: Ranks,
        *,
        in_parts: bool,
    ) -> None:
        """`forward` is the face of the student that is trained; `in_parts` tells that it lies apart
        on several processes, which must all ask it equally often."""
        self.training, self.dataset, self.inputs = training, dataset, inputs
        self.student, self.forward, self.wanted = student, forward, wanted
        self.lesson, self.scheme = lesson, scheme
        self.place, self.ranks, self.in_parts = place, ranks, in_parts
        self.epoch = 0  # of all stages; augmentation differs from one to the next
        self.coming: ahead.Ahead | None = None

    def make_ahead(self) -> None:
        """From now on, make what is expected while a GPU works, if that gains anything."""
        if type(self.scheme).rewrite is Scheme.rewrite:
            self.coming = ahead.for_device(self.batch, self.place.device)

    def expect(self, rows: Indices) -> None:
        """These are the rows of the step after the next."""
        if self.coming is not None:
            self.coming.expect(self._pieces(rows))

    def close(self) -> None:
        if self.coming is not None:
            self.coming.close()

    def of(self, rows: Indices, number: int, done: float) -> list[Step]:
        """Those of the rows of optimizer step `number`, this rank's alone, when the share `done` of
        the stage's steps is done."""
        pieces = self._pieces(rows)
        idle = self.lesson.is_joint and not pieces  # it reckons along with the others' rows
        others = [self.scheme.rewrite(piece, number) for piece in pieces]
        batches = [
            self._next(piece) if other is None else other
            for piece, other in zip(pieces, others, strict=True)
        ]
        labels = [self._labels(piece, one) for piece, one in zip(pieces, batches, strict=True)]
        every = labels[0] if len(labels) == 1 else self._together(labels)
        counts = self.lesson.counts(every, sum(map(len, pieces)), self._heard(pieces))
        counts = self.ranks.sum_counts(counts)
        weights = self.lesson.weights_at(done)
        if idle:
            return [self._step(rows[:0], {}, every, number, counts, weights, changed=False)]
        steps = [
            self._step(piece, batch, truth, number, counts, weights, changed=other is not None)
            for piece, batch, truth, other in zip(pieces, batches, labels, others, strict=True)
        ]
        if self.in_parts:
            lacking = -(-len(rows) // self.training.batch_size) - len(pieces)
            steps += [self._silent(rows[:1], number, counts, weights)] * lacking
        return steps

    def batch(self, rows: Indices) -> Batch:
        """The inputs of these rows as the student trains on them in this epoch."""
        batch = self.inputs.batch(rows)
        if not self.lesson.augments:
            return batch
        view = self.lesson.view_of(self.epoch)
        if view is not None:
            return view.of(batch, self.dataset.row_ids[rows])
        chance = augmentation.Chance(self.training.seed, self.epoch, rows)
        return augmentation.augment(batch, chance, self.training.augmentation)

    def _pieces(self, rows: Indices) -> list[Indices]:
        """This rank's part of each batch."""
        size = self.training.batch_size
        pieces = [rows[start : start + size] for start in range(0, len(rows), size)]
        return [mine for piece in pieces if len(mine := self.ranks.mine(piece))]

    def _next(self, rows: Indices) -> Batch:
        return self.batch(rows) if self.coming is None else self.coming.take(rows)

    def _labels(self, rows: Indices, batch: Batch) -> Tensor:
        """Those of the batch's units, on the CPU."""
        targets = batch.get("targets")
        if targets is None:
            return torch.from_numpy(self.dataset.labels[rows])
        return targets[targets != data.NO_UNIT]

    def _worth(self, rows: Indices, batch: Batch) -> Worth | None:
        """How much these rows count, and each of their units."""
        if self.dataset.weights is None:
            return None
        worth = torch.from_numpy(self.dataset.weights[rows]).to(self.place.device)
        targets = batch.get("targets")
        if targets is None:
            return Worth(worth, worth)
        units = (targets != data.NO_UNIT).sum(dim=1).to(worth.device)
        return Worth(worth, torch.repeat_interleave(worth, units))

    def _heard(self, pieces: Sequence[Indices]) -> Tensor | None:
        if self.lesson.heard is None or not self.lesson.needs_teacher:
            return None
        return self.lesson.heard_of(np.concatenate(pieces) if pieces else self.dataset.place[:0])

    def _together(self, labels: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(labels)) if labels else torch.from_numpy(self.dataset.labels[:0])

    def _silent(
        self, rows: Indices, number: int, counts: dict[str, int], weights: dict[str, float]
    ) -> Step:
        """One that asks the student, and adds nothing."""
        batch = self.batch(rows)
        labels = self._labels(rows, batch)
        step = self._step(rows, batch, labels, number, counts, weights, changed=False)
        return replace(step, reckon=lambda student, teacher, labels: (silent(student) * 0.0, {}))

    def _step(
        self,
        rows: Indices,
        batch: Batch,
        labels: Tensor,
        number: int,
        counts: dict[str, int],
        weights: dict[str, float],
        *,
        changed: bool,
    ) -> Step:
        device = self.place.device
        worth = self._worth(rows, batch)

        def ask(module: nn.Module) -> Answer:
            return self.place.answer(self.student, batch, self.wanted, module)

        def frozen() -> Answer | None:
            if not self.lesson.needs_teacher:
                return None
            view = self.lesson.view_of(self.epoch)
            said = self.lesson.target(rows, "train", labels, batch, changed=changed, view=view)
            return said if device.type == "cpu" else said.to(device)

        return Step(
            rows=rows,
            batch=batch,
            labels=labels.to(device),
            number=number,
            ask=ask,
            student=lambda: ask(self.forward),
            frozen=frozen,
            reckon=lambda student, teacher, labels: self.lesson.total(
                student, teacher, labels, counts, weights, worth
            ),
        )
