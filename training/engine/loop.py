"""Distillation, top to bottom: prepare, ask the teachers, train, evaluate, save.

`distill(config, folder)` is a generator of events; whoever iterates it (job.py, a test, a notebook)
decides what to do with them. Without teachers the same loop is fine-tuning.
"""

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.engine import (
    checkpoint,
    data,
    evaluate,
    networks,
    optimization,
    preflight,
    report,
)
from training.engine.checkpoint import State
from training.engine.config import JobConfig
from training.engine.data import Dataset, Indices, Inputs
from training.engine.errors import DataError, DivergedError, Stopped
from training.engine.events import (
    Event,
    Finished,
    Halted,
    Logged,
    Measured,
    Resumed,
    Saved,
    Stage,
)
from training.engine.losses import LOSSES, Loss
from training.engine.networks import Network, Place
from training.engine.progress import Clock
from training.engine.schemes import SCHEMES, Scheme
from training.engine.tasks import TASKS
from training.engine.teacher_outputs import Teacher

MOST_LINES = 5000  # measured lines of a run's steps; longer runs tell the mean of several steps
FALLING = ("val/loss", "val/kl")  # metrics that are better when lower
Asked = Callable[[], bool]


def distill(
    config: JobConfig,
    folder: Path,
    *,
    resuming: bool = False,
    asked_to_stop: Asked = lambda: False,
) -> Iterator[Event]:
    """Train the student of a job folder and leave its output there.

    `resuming` continues from the newest undamaged checkpoint, bit for bit, where there is one.
    `asked_to_stop` is looked at between two steps: when it answers True, a checkpoint is written
    and the last event is Halted. Raises the errors of errors.py.
    """
    clock = Clock()
    torch.set_num_threads(config.threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    found, passed = checkpoint.newest(folder / "checkpoints", identity(config))
    if resuming:
        yield Resumed(found.state.step if found else 0)
    for sentence in passed:
        yield Logged(sentence, "warning")
    place = Place.choose(config.training.precision)
    yield Logged(f"Training on {place}, {config.threads} thread(s) for the CPU's part.")

    # -- data and student ------------------------------------------------------------------------
    yield Stage("preparing data")
    dataset = data.open_dataset(folder, config.dataset)
    task = TASKS[config.task]
    if task.trains_tokenizer and config.student.path is None:
        yield Stage("training tokenizer")
    said: list[str] = []
    torch.manual_seed(config.training.seed)
    student = networks.student(config.student, folder, dataset, config.task, said.append)
    yield from map(Logged, said)
    preflight.refuse_too_large(student.parameters, config.training.optimizer, student.name)
    home = folder / "prepared"
    inputs = student.preprocessing.prepare(dataset.path, home)
    yield Logged(f"{student.name}: {student.parameters:,} weights, {student.architecture}.")
    yield clock.show()

    # -- teachers --------------------------------------------------------------------------------
    lesson = Lesson(config, dataset)
    if config.teachers:
        yield Stage("asking the teacher")
        yield from lesson.ask(folder, place, clock, asked_to_stop)

    # -- training --------------------------------------------------------------------------------
    trainer = Trainer(config, folder, dataset, student, inputs, lesson, place, clock, asked_to_stop)
    if found:
        trainer.restore(found)
    yield Stage("training")
    yield from trainer.train()
    if trainer.halted:
        yield Halted(trainer.state.step)
        return
    trainer.use_best()

    # -- the test, scored once, and what is kept -------------------------------------------------
    yield Stage("evaluating")
    yield clock.show()
    try:
        yield from finish(config, folder, dataset, student, inputs, lesson, place, trainer)
    except Stopped:
        yield Halted(trainer.state.step)


def identity(config: JobConfig) -> str:
    """sha256 of all that a checkpoint depends on; names, threads and folders may change."""
    said = asdict(config)
    for name in ("run", "threads", "store", "evaluate"):
        del said[name]
    said["dataset"]["path"] = ""
    said["training"]["checkpoint_every_steps"] = 0
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


class Lesson:
    """What the student is held against: the terms, the scheme, and what the teachers say."""

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

    def rows(self) -> Indices:
        """Training rows that at least one term speaks about."""
        rows = self.dataset.splits["train"]
        if not self.needs_teacher:
            rows = rows[self.dataset.labels[rows] >= 0]
        if not len(rows):
            raise DataError("No training row has a label, and there is no teacher to speak.")
        return rows

    def ask(
        self, folder: Path, place: Place, clock: Clock, asked_to_stop: Asked
    ) -> Iterator[Event]:
        """Have every teacher's answers to all splits stored; tell how good the teachers are."""
        config, dataset = self.config, self.dataset
        store = Path(config.store) if config.store else folder / "teacher-outputs"
        live = config.teacher_outputs == "live"
        for asked in config.teachers:
            assert asked.path is not None
            network = networks.load(asked.name, folder / asked.path, config.task)
            teacher = Teacher(network, folder / asked.path, asked.weight, dataset, place)
            self.teachers.append(teacher)
            if live:
                teacher.prepare(folder / "prepared")
            splits = [one for one in data.SPLITS if len(dataset.splits[one])]
            if live or not self.needs_teacher:
                splits.remove("train")
            for split in splits:
                heard = teacher.ask(
                    split, store, folder / "prepared", lambda rows: None, asked_to_stop
                )
                rows = f"{len(dataset.splits[split]):,} {split} rows"
                how = "answered" if heard else "had answered before (stored):"
                yield Logged(f"{network.name} {how} {rows}.")
                yield clock.show()
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
        total = logits.sum() * 0.0  # keeps the graph when no term speaks here
        parts: dict[str, Tensor] = {}
        for kind, weight, loss in self.terms:
            if not counts[kind]:
                continue
            part = loss.per_row(logits, target, labels).sum() / counts[kind]
            total = total + weight * part
            parts[kind] = part.detach()
        return total, parts

    def counts(self, labels: Tensor) -> dict[str, int]:
        return {kind: int(loss.speaks(labels).sum()) for kind, _, loss in self.terms}


def _loss(kind: str, values: dict[str, Any]) -> Loss:
    method = LOSSES[kind]
    return method(method.Options(**values))


@dataclass(slots=True)
class Window:
    """Steps since the last line of the journal."""

    steps: int = 0
    rows: int = 0
    seconds: float = 0.0
    sums: dict[str, Tensor] | None = None
    norms: Tensor | None = None


class Trainer:
    """The student's optimizer steps, from wherever its state stands to the end."""

    def __init__(
        self,
        config: JobConfig,
        folder: Path,
        dataset: Dataset,
        student: Network,
        inputs: Inputs,
        lesson: Lesson,
        place: Place,
        clock: Clock,
        asked: Asked,
    ) -> None:
        self.asked = asked
        self.config, self.training, self.folder = config, config.training, folder
        self.dataset, self.student, self.inputs = dataset, student, inputs
        self.lesson, self.place, self.clock = lesson, place, clock
        self.module = place.settle(student)
        self.weights = [one for one in self.module.parameters() if one.requires_grad]
        self.optimizer = optimization.optimizer(self.module, self.training)
        self.rows = lesson.rows()
        self.size = self.training.batch_size * self.training.gradient_accumulation
        self.per_epoch = -(-len(self.rows) // self.size)
        steps = self.training.epochs * self.per_epoch
        self.state = State(steps=steps, config=identity(config))
        self.best: checkpoint.Weights | None = None
        self.lines_every = -(-steps // MOST_LINES)
        self.window = Window()
        self.halted = False
        clock.steps, clock.epochs_left = steps, self.training.epochs

    def restore(self, found: checkpoint.Checkpoint) -> None:
        self.state = found.state
        self.best = checkpoint.restore(found, self.module, self.optimizer, self.place.device)
        self.clock.step = self.state.step
        self.clock.spent_before(self.state.seconds)

    def train(self) -> Iterator[Event]:
        state = self.state
        saved_at = state.step
        while not state.over:
            order = data.epoch_order(
                self.rows, self.inputs.lengths, self.size, self.training.seed, state.epoch
            )
            self.module.train()
            for rows in order[state.batch :]:
                if self.asked():
                    if saved_at != state.step:
                        yield from self.measure()
                        yield self.save()
                    self.halted = True
                    return
                self.step(rows)
                at_end = state.batch == len(order)
                saves = state.step % self.training.checkpoint_every_steps == 0
                if saves or at_end or state.step % self.lines_every == 0:
                    yield from self.measure()
                if at_end:
                    yield from self.end_epoch()
                if saves or state.over:
                    yield self.save()
                    saved_at = state.step
                if self.clock.due():
                    yield self.clock.show()

    def step(self, rows: Indices) -> None:
        """One optimizer step on these rows, in micro-batches that change nothing but memory."""
        began = time.perf_counter()
        state, training = self.state, self.training
        rate = optimization.learning_rate(training, state.step, state.steps)
        optimization.set_rate(self.optimizer, rate)
        labels = torch.from_numpy(self.dataset.labels[rows])
        counts = self.lesson.counts(labels)
        sums: dict[str, Tensor] = {}
        self.optimizer.zero_grad(set_to_none=True)
        for start in range(0, len(rows), training.batch_size):
            some = rows[start : start + training.batch_size]
            target = None
            if self.lesson.needs_teacher:
                target = self.lesson.target(some, "train").to(self.place.device)
            logits = self.place.logits(self.student, self.inputs.batch(some))
            truth = labels[start : start + training.batch_size].to(self.place.device)
            total, parts = self.lesson.total(logits, target, truth, counts)
            total.backward()  # type: ignore[no-untyped-call]
            for kind, part in {"loss": total.detach(), **parts}.items():
                sums[kind] = sums[kind] + part if kind in sums else part
        norm = optimization.gradient_norm(self.weights, training.max_grad_norm)
        self.optimizer.step()
        state.step += 1
        state.batch += 1
        seconds = time.perf_counter() - began
        self._remember(sums, norm, len(rows), seconds)
        self.clock.stepped(state.step, seconds)

    def _remember(self, sums: dict[str, Tensor], norm: Tensor, rows: int, seconds: float) -> None:
        window = self.window
        window.steps += 1
        window.rows += rows
        window.seconds += seconds
        before = window.sums or {}
        window.sums = {
            **before,
            **{k: before[k] + v if k in before else v for k, v in sums.items()},
        }
        window.norms = norm if window.norms is None else window.norms + norm

    def measure(self) -> Iterator[Event]:
        """The mean of the steps since the last line. Raises DivergedError when it is no number."""
        window, state = self.window, self.state
        if not window.steps or window.sums is None or window.norms is None:
            return
        values = {
            f"train/{kind}": float(value) / window.steps for kind, value in window.sums.items()
        }
        values["train/gradient_norm"] = float(window.norms) / window.steps
        values["train/learning_rate"] = optimization.learning_rate(
            self.training, state.step - 1, state.steps
        )
        values["train/samples_per_second"] = round(window.rows / max(window.seconds, 1e-9), 1)
        self.window = Window()
        yield Measured(state.step, round(state.step / self.per_epoch, 4), values)
        for name in ("train/loss", "train/gradient_norm"):
            if not math.isfinite(values[name]):
                what = "loss" if name == "train/loss" else "gradient"
                raise DivergedError(
                    f"The {what} is no longer a number at step {state.step}. Lower the learning "
                    "rate (a tenth is a good start), warm up longer, or clip gradients."
                )

    def end_epoch(self) -> Iterator[Event]:
        """Score the validation rows, remember the best weights, and decide whether to go on."""
        began = time.perf_counter()
        state = self.state
        values = self.validate()
        yield Measured(state.step, round(state.step / self.per_epoch, 4), values)
        value = values.get(self.training.selection_metric, math.nan)
        if math.isnan(value) and self.training.selection_metric != "val/loss":
            raise DataError(
                f"{self.training.selection_metric} cannot be measured: no validation row has a "
                "label. Label some, or select by val/agreement with a teacher."
            )
        falls = self.training.selection_metric in FALLING
        best = state.best_value
        if best is None or (value < best if falls else value > best):
            state.best_value, state.best_step, state.stale_epochs = value, state.step, 0
            self.best = checkpoint.copy(self.module)
        else:
            state.stale_epochs += 1
        state.epoch += 1
        state.batch = 0
        patience = self.training.early_stopping
        if state.step >= state.steps:
            state.over = True
        elif patience is not None and state.stale_epochs >= patience:
            state.over = True
            yield Logged(
                f"Stopped early after epoch {state.epoch}: {patience} epoch(s) without a better "
                f"{self.training.selection_metric}."
            )
        self.module.train()
        self.clock.epoch_seconds = time.perf_counter() - began
        self.clock.epochs_left = self.training.epochs - state.epoch
        if state.over:
            self.clock.steps = self.clock.step = state.step
            self.clock.epochs_left = 0

    def validate(self) -> dict[str, float]:
        rows = self.dataset.splits["validation"]
        logits = evaluate.predict(self.student, self.inputs, rows, self.place)
        labels = self.dataset.labels[rows]
        scores = evaluate.score(logits, labels)
        values = {"val/accuracy": scores["accuracy"], "val/macro_f1": scores["macro_f1"]}
        target = None
        if self.lesson.teachers:
            target = self.lesson.target(rows, "validation")
            close = evaluate.fidelity(logits, target.numpy())
            values |= {f"val/{name}": value for name, value in close.items()}
        truth = torch.from_numpy(labels)
        total, _ = self.lesson.total(
            torch.from_numpy(logits), target, truth, self.lesson.counts(truth)
        )
        values["val/loss"] = float(total)
        return values

    def save(self) -> Saved:
        self.state.seconds = self.clock.seconds
        kept = checkpoint.save(
            self.folder / "checkpoints", self.state, self.module, self.optimizer, self.best
        )
        path = str(kept.folder.relative_to(self.folder))
        return Saved("checkpoint", path, kept.sha256, kept.bytes, self.state.step)

    def use_best(self) -> None:
        """The student as it was when its selection metric was best."""
        if self.best is not None:
            self.module.load_state_dict(self.best)


def finish(
    config: JobConfig,
    folder: Path,
    dataset: Dataset,
    student: Network,
    inputs: Inputs,
    lesson: Lesson,
    place: Place,
    trainer: Trainer,
) -> Iterator[Event]:
    """Score the test split (validation rows where there is none), measure speed, save, finish."""
    state = trainer.state
    split = "test" if len(dataset.splits["test"]) else "validation"
    rows = dataset.splits[split]
    labels = dataset.labels[rows]
    ours: report.Scored | None = None
    theirs: report.Scored | None = None
    if config.evaluate:
        speed = report.speed_of(student, inputs, rows, place, trainer.asked)
        logits = evaluate.predict(student, inputs, rows, place, asked_to_stop=trainer.asked)
        ours = report.scored(student, logits, labels, dataset.names, speed)
        values = {f"test/{name}": ours.summary[name] for name in TESTED}
        if lesson.teachers:
            theirs = _teachers_scored(folder, dataset, lesson, split, place, trainer.asked)
            close = evaluate.fidelity(ours.logits, theirs.logits)
            values |= {f"test/{name}": value for name, value in close.items()}
        if split == "test":
            yield Measured(state.step, float(state.epoch), values)
    summary = {
        "steps": state.step,
        "epochs": state.epoch,
        "best_step": state.best_step,
        "selection_metric": config.training.selection_metric,
        "best_value": state.best_value,
        "seconds": round(trainer.clock.seconds, 2),
        "student": ours.summary if ours else None,
        "teacher": theirs.summary if theirs else None,
        **(report.compared(ours, theirs) if ours else {}),
        "split": split,
        "rows": len(rows),
    }
    yield Stage("saving")
    column = TASKS[config.task].column
    yield from report.write(
        folder, dataset, split, column, student, ours, theirs, summary, state.step
    )
    yield trainer.clock.show(over=True)
    yield Finished(summary)


TESTED = ("accuracy", "macro_f1", "log_loss", "ece")


def _teachers_scored(
    folder: Path, dataset: Dataset, lesson: Lesson, split: str, place: Place, asked: Asked
) -> report.Scored:
    """The teachers together, as the scheme joins them, with the sum of what each costs."""
    rows = dataset.splits[split]
    each = []
    for teacher in lesson.teachers:
        teacher.prepare(folder / "prepared")
        assert teacher.inputs is not None
        speed = report.speed_of(teacher.network, teacher.inputs, rows, place, asked)
        each.append(
            report.scored(
                teacher.network,
                teacher.logits(rows, split).numpy(),
                dataset.labels[rows],
                dataset.names,
                speed,
            )
        )
    joined = lesson.target(rows, split).numpy()
    whole = report.scored(
        lesson.teachers[0].network, joined, dataset.labels[rows], dataset.names, {}
    )
    sizes = report.combined(lesson.teachers, each)
    summary = {**sizes, **{name: whole.summary[name] for name in TESTED}}
    return report.Scored(np.asarray(joined), summary, whole.details)
