"""What the student is held against: the terms, the scheme, and what the teachers say."""

import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from training.engine import data, evaluate, networks
from training.engine.data import Dataset, Indices
from training.engine.errors import AskedToStop, DataError
from training.engine.events import Event, Logged, Measured
from training.engine.job_config import JobConfig
from training.engine.losses import LOSSES, Loss
from training.engine.networks import Place
from training.engine.progress import Clock
from training.engine.schemes import SCHEMES, Scheme
from training.engine.teacher_outputs import Teacher


class Lesson:
    """The weighted terms of a run, over the answers of its teachers."""

    def __init__(self, config: JobConfig, dataset: Dataset) -> None:
        self.config, self.dataset = config, dataset
        self.scheme: type[Scheme] = SCHEMES[config.scheme]
        self.terms: list[tuple[str, float, Loss]] = [
            (one.kind, one.weight, _loss(one.kind, one.options))
            for one in config.losses
            if one.weight > 0
        ]
        self.needs_teacher = any(loss.needs_teacher for _, _, loss in self.terms)
        self.teachers: list[Teacher] = []
        self.all_labelled = bool((dataset.labels >= 0).all())

    def rows(self) -> Indices:
        """The rows of an epoch: those that at least one term speaks about.

        Where only labels speak, and some rows have none, the labelled ones come around until the
        epoch is as long as the training split: a control takes as many steps as the run in which a
        teacher speaks about all of them.
        """
        rows = self.dataset.splits["train"]
        if self.needs_teacher:
            return rows
        labelled = rows[self.dataset.labels[rows] >= 0]
        if not len(labelled):
            raise DataError("No training row has a label, and there is no teacher to speak.")
        return np.resize(labelled, len(rows))

    def ask(
        self, folder: Path, place: Place, clock: Clock, asked_to_stop: AskedToStop
    ) -> Iterator[Event]:
        """Have every teacher's answers to all splits stored; tell how good the teachers are."""
        config, dataset = self.config, self.dataset
        store = Path(config.store) if config.store else folder / "teacher-outputs"
        live = config.teacher_outputs == "live"
        for asked in config.teachers:
            assert asked.path is not None
            network = networks.load(asked.name, folder / asked.path, config.task)
            one = Teacher(network, folder / asked.path, asked.weight, dataset, place)
            self.teachers.append(one)
            if live:
                one.prepare(folder / "prepared")
        splits = [one for one in data.SPLITS if len(dataset.splits[one])]
        if live or not self.needs_teacher:
            splits.remove("train")
        clock.rows_left = len(self.teachers) * sum(len(dataset.splits[one]) for one in splits)
        for teacher in self.teachers:
            for split in splits:
                before = clock.rows_left
                asked_now = yield from _watched(
                    teacher.ask(split, store, folder / "prepared", asked_to_stop), clock
                )
                clock.rows_left = before - len(dataset.splits[split])
                rows = f"{len(dataset.splits[split]):,} {split} rows"
                how = "answered" if asked_now else "had answered before (stored):"
                yield Logged(f"{teacher.network.name} {how} {rows}.")
        values = {}
        for split, short in (("validation", "val"), ("test", "test")):
            rows_ = dataset.splits[split]
            if len(rows_) and (split != "test" or config.evaluate):
                scores = evaluate.score(self.target(rows_, split).numpy(), dataset.labels[rows_])
                values[f"teacher/{short}/accuracy"] = scores["accuracy"]
                values[f"teacher/{short}/macro_f1"] = scores["macro_f1"]
        yield Measured(0, 0.0, values)

    def target(self, rows: Indices, split: str) -> Tensor:
        """The teachers' logits for these rows, as the scheme joins them: `[rows, classes]`."""
        said = [teacher.logits(rows, split) for teacher in self.teachers]
        return self.scheme.target(said, [teacher.weight for teacher in self.teachers])

    def total(
        self,
        logits: Tensor,
        target: Tensor | None,
        labels: Tensor,
        counts: dict[str, int],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted total and each term's mean, where `counts` are the rows each term speaks
        about in the whole optimizer step, of which this may be one micro-batch."""
        total: Tensor | None = None
        parts: dict[str, Tensor] = {}
        for kind, weight, loss in self.terms:
            if not counts[kind]:
                continue
            part = loss.per_row(logits, target, labels).sum() / counts[kind]
            total = part * weight if total is None else total + part * weight
            parts[kind] = part.detach()
        if total is None:  # no term speaks about these rows
            total = logits.sum() * 0.0
        return total, parts

    def counts(self, labels: Tensor) -> dict[str, int]:
        """The rows that each term speaks about."""
        if self.all_labelled:
            return {kind: len(labels) for kind, _, _ in self.terms}
        return {kind: int(loss.speaks(labels).sum()) for kind, _, loss in self.terms}


def _watched(answering: Generator[int, None, bool], clock: Clock) -> Generator[Event, None, bool]:
    """Pass a teacher's answers on as progress."""
    while True:
        began = time.perf_counter()
        try:
            rows = next(answering)
        except StopIteration as end:
            return bool(end.value)
        clock.rows_left -= rows
        clock.row_seconds = (time.perf_counter() - began) / rows
        if clock.due():
            yield clock.show()


def _loss(kind: str, values: dict[str, Any]) -> Loss:
    method = LOSSES[kind]
    return method(method.Options(**values))
