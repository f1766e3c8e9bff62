"""The student's optimizer steps: one step, one epoch's end, and all that a resumed run needs."""

import hashlib
import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from training.engine import checkpoint, data, evaluate, optimization
from training.engine.checkpoint import State
from training.engine.data import Dataset, Indices, Inputs
from training.engine.errors import AskedToStop, DataError, DivergedError
from training.engine.events import Event, Logged, Measured, Saved
from training.engine.job_config import JobConfig
from training.engine.lesson import Lesson
from training.engine.networks import Network, Place
from training.engine.progress import Clock

MOST_LINES = 5000  # measured lines of a run's steps; longer runs tell the mean of several steps
FALLING = ("val/loss", "val/kl")  # metrics that are better when lower


def identity(config: JobConfig) -> str:
    """sha256 of all that a checkpoint depends on; names, threads and folders may change."""
    said = asdict(config)
    for name in ("run", "threads", "store", "evaluate"):
        del said[name]
    said["dataset"]["path"] = ""
    said["training"]["checkpoint_every_steps"] = 0
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


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
        asked_to_stop: AskedToStop,
    ) -> None:
        self.asked_to_stop = asked_to_stop
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

    def guess(self) -> float:
        """Seconds of a step, before there was one: three forward passes."""
        self.module.eval()
        began = time.perf_counter()
        with torch.inference_mode():
            self.place.logits(self.student, self.inputs.batch(self.rows[: self.size]))
        return 3.0 * (time.perf_counter() - began)

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
                if self.asked_to_stop():
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
