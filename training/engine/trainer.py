"""The student's optimizer steps: one step, one epoch's end, and all that a resumed run needs."""

import hashlib
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from training.engine import (
    checkpoint,
    compiling,
    data,
    evaluate,
    jointly,
    optimization,
    sharding,
    tracking,
    validation,
)
from training.engine.answers import Answer
from training.engine.checkpoint import State
from training.engine.config import OF_A_TEACHER
from training.engine.data import Dataset, Indices, Inputs
from training.engine.energy import Meter
from training.engine.errors import AskedToStop, DataError, DivergedError
from training.engine.events import Event, Logged, Measured, Saved
from training.engine.job_config import JobConfig
from training.engine.lesson import Lesson
from training.engine.micro_batches import MicroBatches
from training.engine.networks import Network, Place
from training.engine.progress import Clock
from training.engine.ranks import ALONE, Ranks
from training.engine.schemes import Classroom, Scheme

SHARES = 20  # times in a stage, at most, that each term's share of the gradient is measured
SHARES_APART = 100  # steps between them at least: each costs about another step
LEAST_SCALE = 2.0**-16  # of float16: gradients that overflow even here are no numbers


def identity(config: JobConfig) -> str:
    """sha256 of all that a checkpoint depends on; names, threads and folders may change."""
    said = asdict(config)
    for name in ("run", "threads", "store", "runs_sharing", "evaluate", "slices", "machine"):
        del said[name]
    said["dataset"]["path"] = ""
    said["training"]["checkpoint_every_steps"] = 0
    del said["training"]["sharding"]  # a checkpoint is whole
    if said["training"]["freeze"] == "none":  # as before there was a choice
        del said["training"]["freeze"]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


class Trainer:
    """The student's optimizer steps in one stage, from wherever its state stands to the end."""

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
        *,
        scheme: Scheme | None = None,
        state: State | None = None,
        beside: nn.Module | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.asked_to_stop = asked_to_stop
        self.config, self.folder, self.ranks = config, folder, ranks
        plan = lesson.plan
        self.training = replace(
            config.training,
            epochs=plan.epochs or config.training.epochs,
            learning_rate=plan.learning_rate or config.training.learning_rate,
        )
        self.dataset, self.student, self.inputs = dataset, student, inputs
        self.lesson, self.place, self.clock = lesson, place, clock
        self.scheme = scheme or lesson.scheme
        self.wanted = lesson.wanted | self.scheme.wants
        self.whole: sharding.Whole | None = None
        if self.training.sharding == "fsdp":
            sharding.refuse(self.training, lesson, self.scheme, beside is not None, ranks)
            self.module = student.module
            self.whole = sharding.Whole(self.module, ranks, place.device)
        else:
            self.module = place.settle(student)
        self.rows = lesson.rows()
        self.beside = nn.ModuleDict()
        if beside is not None:
            self.beside["scheme"] = beside.to(place.device)
        self._fit()
        forward: nn.Module = self.module
        if self.training.compile:
            forward = compiling.compiled(self.module, place.device, self.wanted)
        self.micro_batches = MicroBatches(
            self.training, dataset, student, forward, inputs, lesson, self.scheme, self.wanted,
            place, ranks, in_parts=self.whole is not None,
        )  # fmt: skip
        self.judge = validation.Judge(dataset, student, inputs, lesson, place)
        every = [*self.module.parameters(), *self.beside.parameters()]
        self.weights = [one for one in every if one.requires_grad]
        self.optimizer = optimization.optimizer(self.weights, self.training)
        half = place.half is torch.float16
        self.scaler = torch.amp.GradScaler(place.device.type, enabled=half)
        self.size = self.training.batch_size * self.training.gradient_accumulation
        self.per_epoch = -(-len(self.rows) // self.size)
        self.steps = self.training.epochs * self.per_epoch  # of this stage
        self.state = state or State()
        self.state.steps = self.state.began + self.steps
        self.state.config = identity(config)
        self.best: checkpoint.Weights | None = None
        self.lines_every = tracking.lines_every(self.steps)
        several = len(lesson.terms) > 1 and self.whole is None
        self.shares_every = max(SHARES_APART, self.steps // SHARES) if several else 0
        self.window = tracking.Window()
        self.halted = False
        self.meter = Meter(place.device, config.machine.watts_per_core, ranks.size)
        self.meter.spent_before(self.state.joules)
        clock.steps = self.state.steps
        clock.epochs_left = self.training.epochs

    def _fit(self) -> None:
        """Weights of the terms and the scheme, whose shapes a first batch shows."""
        if not self.wanted:
            return
        some = self.rows[: min(len(self.rows), self.training.batch_size)]
        batch = self.inputs.batch(some)
        self.module.eval()
        with torch.no_grad():
            answer = self.place.answer(self.student, batch, self.wanted)
            teacher: Answer | None = None
            if self.lesson.teachers and self.lesson.wanted:
                teacher = self.lesson.teachers[0].answer(some, "train", self.lesson.wanted)
                teacher = teacher.to(self.place.device)
        if teacher is None and self.scheme.brings_teacher:
            teacher = answer  # those who will teach have the student's shapes
        if teacher is not None or not self.lesson.needs_teacher:
            self.lesson.fit(answer, teacher)
        self.scheme.fit(answer)
        if len(self.lesson.own):
            self.beside["terms"] = self.lesson.own.to(self.place.device)

    def guess(self) -> float:
        """Seconds of a step, before there was one: three forward passes."""
        self.module.eval()
        began = time.perf_counter()
        with evaluate.quietly(self.module):
            self.place.logits(self.student, self.inputs.batch(self.rows[: self.size]))
        return 3.0 * (time.perf_counter() - began)

    def restore(self, found: checkpoint.Checkpoint) -> None:
        self.meter.spent_before(found.state.joules - self.state.joules)
        self.state = found.state
        self.best = checkpoint.restore(found, *self._kept(), self.place.device, self.beside)
        self.clock.step = self.state.step
        self.clock.spent_before(self.state.seconds)
        if self.state.scaler:
            self.scaler.load_state_dict(self.state.scaler)

    def _kept(self) -> tuple[checkpoint.Kept, checkpoint.Kept]:
        """Module and optimizer as checkpoints hold them."""
        if self.whole is None:
            return self.module, self.optimizer
        return self.whole, sharding.WholeOptimizer(self.optimizer)

    # -- training --------------------------------------------------------------------------------

    def train(self) -> Iterator[Event]:
        self.scheme.meet(
            Classroom(
                self.student,
                self.dataset,
                self.inputs,
                self.lesson.teachers,
                self.place,
                self.training.seed,
            )
        )
        self.micro_batches.make_ahead()
        try:
            yield from self._train()
        finally:
            self.micro_batches.close()

    def _train(self) -> Iterator[Event]:
        state = self.state
        saved_at = state.step
        while not state.over:
            self.micro_batches.epoch = state.epochs
            order = data.epoch_order(
                self.rows, data.alike(self.inputs), self.size, self.training.seed, state.epochs
            )
            self.module.train()
            self.beside.train()
            for place, rows in enumerate(order[state.batch :], state.batch + 1):
                if self.ranks.agree(self.asked_to_stop()):
                    if saved_at != state.step:
                        yield from self.measure()
                        yield self.save()
                    self.halted = True
                    return
                self.step(rows, order[place] if place < len(order) else None)
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

    def step(self, rows: Indices, following: Indices | None = None) -> None:
        """One optimizer step on these rows, in micro-batches that change nothing but memory; the
        rows of the step after this one may be made ready meanwhile."""
        began = time.perf_counter()
        state, training = self.state, self.training
        done = state.step - state.began
        rate = optimization.learning_rate(training, done, self.steps)
        optimization.set_rate(self.optimizer, rate)
        steps = self.micro_batches.of(rows, state.step, done / max(1, self.steps))
        if following is not None:
            self.micro_batches.expect(following)
        optimization.forget(self.weights)
        sums: dict[str, Tensor] = {}
        if self.lesson.is_joint and (len(steps) > 1 or self.ranks.size > 1):
            total, parts = jointly.backward(
                steps, self.scheme, self.module, self.scaler, self.weights, self.ranks
            )
            sums = {"loss": total, **parts}
        else:
            for place, one in enumerate(steps):
                measures = place == 0 and self.shares_every and done % self.shares_every == 0
                self.lesson.apart = bool(measures)
                total, parts = self.scheme.teach(one)
                if measures:
                    sums |= self._shares(parts)
                self.scaler.scale(total).backward()  # type: ignore[no-untyped-call]
                for kind, part in {"loss": total, **parts}.items():
                    part = part.detach()
                    sums[kind] = sums[kind] + part if kind in sums else part
        if self.whole is None:
            self.ranks.sum_gradients(self.weights)
            self.scaler.unscale_(self.optimizer)
            direct = None if self.scaler.is_enabled() else self.optimizer
            norm = optimization.gradient_norm(self.weights, training.max_grad_norm, direct)
        else:  # summed where they were made
            norm = sharding.gradient_norm(self.weights, training.max_grad_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.scaler.is_enabled():  # a step that overflowed was skipped, and its scale lowered
            norm = torch.nan_to_num(norm, nan=0.0, posinf=0.0)
        state.step += 1
        state.batch += 1
        self.scheme.stepped(self.module, state.step - state.began)
        seconds = time.perf_counter() - began
        self.window.add(sums, norm, len(rows), seconds)
        self.clock.stepped(state.step, seconds)

    def _shares(self, parts: dict[str, Tensor]) -> dict[str, Tensor]:
        """Each term's share of the lengths of the terms' gradients: what its weight really is."""
        weights = self.lesson.weights_at((self.state.step - self.state.began) / max(1, self.steps))
        spoken = [one for one in self.module.parameters() if one.requires_grad]
        lengths = {}
        for kind, part in parts.items():
            if not part.requires_grad:
                continue
            found = torch.autograd.grad(part, spoken, retain_graph=True, allow_unused=True)
            lengths[kind] = weights[kind] * length(found)
        if not lengths:
            return {}
        whole = torch.stack(list(lengths.values())).sum().clamp_min(1e-30)
        whole = whole * self.ranks.size  # the ranks' shares are added
        return {f"{kind}_share": one / whole for kind, one in lengths.items()}

    def measure(self) -> Iterator[Event]:
        """The mean of the steps since the last line. Raises DivergedError when it is no number."""
        window, state = self.window, self.state
        if window.norms is None:
            return
        sums = self.ranks.sum_values({k: float(v) for k, v in window.sums.items()})
        values = {
            f"train/{kind}": value if kind.endswith("_share") else value / window.steps
            for kind, value in sums.items()
        }
        values["train/gradient_norm"] = float(window.norms) / window.steps
        values["train/learning_rate"] = self.optimizer.param_groups[0]["lr"]
        values["train/samples_per_second"] = round(window.rate, 1)
        done = (state.step - state.began - 1) / max(1, self.steps)
        for one, _ in self.lesson.terms:
            if one.weight_schedule != "constant":
                values[f"train/{one.kind}_weight"] = one.weight_at(done)
        if self.scaler.is_enabled():
            values["train/loss_scale"] = scale = self.scaler.get_scale()
            if scale < LEAST_SCALE:
                values["train/gradient_norm"] = math.inf
        self.window = tracking.Window()
        yield Measured(state.step, self._epoch(), values)
        for name in ("train/loss", "train/gradient_norm"):
            if not math.isfinite(values[name]):
                what = "loss" if name == "train/loss" else "gradient"
                raise DivergedError(
                    f"The {what} is no longer a number at step {state.step}. Lower the learning "
                    "rate (a tenth is a good start), warm up longer, or clip gradients."
                )

    def _epoch(self) -> float:
        """Epochs done, of all stages, with the share of the one that is going on."""
        state = self.state
        return round(state.epochs_before + (state.step - state.began) / self.per_epoch, 4)

    # -- the end of an epoch ---------------------------------------------------------------------

    def end_epoch(self) -> Iterator[Event]:
        """Score the validation rows, remember the best weights, and decide whether to go on."""
        began = time.perf_counter()
        state = self.state
        metric = self.training.selection_metric
        done = (state.step - state.began) / max(1, self.steps)
        together = self.whole is not None
        scored = [
            (self.ranks.told(partial(self.judge.scores, one, done), together=together), one)
            for one in self.scheme.candidates(self.module)
        ]
        values, chosen = scored[0]
        for others, module in scored[1:]:
            value, best = others.get(metric, math.nan), values.get(metric, math.nan)
            if validation.better(metric, value, best):
                values, chosen = others, module
        yield Measured(state.step, self._epoch(), values)
        value = values.get(metric, math.nan)
        if math.isnan(value) and metric != "val/loss":
            lacks = "has a label. Label some, or select by val/agreement with a teacher."
            if metric.removeprefix("val/") in OF_A_TEACHER:
                lacks = "has an answer of the teacher. Record some, or select by another metric."
            raise DataError(f"{metric} cannot be measured: no validation row {lacks}")
        better = validation.better(metric, value, state.best_value)
        if better or not self.lesson.trains_answers:
            state.best_value, state.best_step, state.stale_epochs = value, state.step, 0
            self.best = checkpoint.copy(self.whole or chosen)
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
                f"Stopped early after epoch {state.epochs_before + state.epoch}: {patience} "
                f"epoch(s) without a better {metric}."
            )
        self.module.train()
        self.clock.epoch_seconds = time.perf_counter() - began
        self.clock.epochs_left = self.training.epochs - state.epoch
        if state.over:
            self.clock.steps = self.clock.step = state.step
            self.clock.epochs_left = 0

    def save(self) -> Event:
        self.state.seconds = self.clock.seconds
        self.state.joules = self.meter.joules()
        self.state.scaler = self.scaler.state_dict()
        module, optimizer = self._kept()
        if self.whole is not None:  # put together by all
            module, optimizer = checkpoint.Held(module), checkpoint.Held(optimizer)
        if self.ranks.rank:
            return Logged("Only the first process writes.")
        kept = checkpoint.save(
            self.folder / "checkpoints",
            self.state,
            module,
            optimizer,
            self.best,
            self.beside,
        )
        path = str(kept.folder.relative_to(self.folder))
        return Saved("checkpoint", path, kept.sha256, kept.bytes, self.state.step)

    def use_best(self) -> None:
        """The student as it was when its selection metric was best."""
        if self.whole is not None:
            self.student.module = self.module = self.whole.together(self.best)
            self.whole, self.weights = None, []
            self.optimizer.state.clear()  # parts of weights that are gone
            if not self.ranks.rank:
                self.place.settle(self.student)
        elif self.best is not None:
            self.module.load_state_dict(self.best)


def length(gradient: Sequence[Tensor | None]) -> Tensor:
    """Euclidean, of all parts together; those that a term does not reach count 0."""
    squares = [one.float().square().sum() for one in gradient if one is not None]
    return torch.stack(squares).sum().sqrt() if squares else torch.zeros(())
