"""Distillation, top to bottom: prepare, ask the teachers, train, evaluate, save.

`distill(config, folder)` is a generator of events; whoever iterates it (job.py, a test, a notebook)
decides what to do with them. Without teachers the same loop is fine-tuning.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from training.engine import checkpoint, data, evaluate, networks, preflight, report
from training.engine.data import Dataset, Inputs
from training.engine.errors import AskedToStop, Stopped
from training.engine.events import Event, Finished, Halted, Logged, Measured, Resumed, Stage
from training.engine.job_config import JobConfig
from training.engine.lesson import Lesson
from training.engine.networks import Network, Place
from training.engine.progress import Clock
from training.engine.tasks import TASKS
from training.engine.trainer import Trainer, identity


def distill(
    config: JobConfig,
    folder: Path,
    *,
    resuming: bool = False,
    asked_to_stop: AskedToStop = lambda: False,
) -> Iterator[Event]:
    """Train the student of a job folder and leave its output there.

    `resuming` continues from the newest undamaged checkpoint, bit for bit, where there is one.
    `asked_to_stop` is looked at between two steps: when it answers True, a checkpoint is written
    and the last event is Halted. Raises the errors of errors.py.
    """
    found, passed = checkpoint.newest(folder / "checkpoints", identity(config))
    if resuming:
        yield Resumed(found.state.step if found else 0)
    for sentence in passed:
        yield Logged(sentence, "warning")
    at = found.state.step if found else 0
    try:
        for event in _distill(config, folder, found, asked_to_stop):
            if isinstance(event, Measured):
                at = max(at, event.step)
            yield event
    except Stopped:  # between two answers of a teacher, or in the evaluation
        yield Halted(at)


def _distill(
    config: JobConfig,
    folder: Path,
    found: checkpoint.Checkpoint | None,
    asked_to_stop: AskedToStop,
) -> Iterator[Event]:
    clock = Clock()
    torch.set_num_threads(config.threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # repeatable products on a GPU
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
    inputs = student.preprocessing.prepare(dataset.path, folder / "prepared")
    yield Logged(f"{student.name}: {student.parameters:,} weights, {student.architecture}.")

    # -- teachers --------------------------------------------------------------------------------
    lesson = Lesson(config, dataset)
    trainer = Trainer(config, folder, dataset, student, inputs, lesson, place, clock, asked_to_stop)
    clock.guess = trainer.guess()
    yield clock.show()
    if config.teachers:
        yield Stage("asking the teacher")
        yield from lesson.ask(folder, place, clock, asked_to_stop)

    # -- training --------------------------------------------------------------------------------
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
    yield from finish(config, folder, dataset, student, inputs, lesson, place, trainer)


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
        speed = report.speed_of(student, inputs, rows, place, trainer.asked_to_stop)
        logits = evaluate.predict(student, inputs, rows, place, asked_to_stop=trainer.asked_to_stop)
        ours = report.scored(student, logits, labels, dataset.names, speed)
        values = {f"test/{name}": ours.summary[name] for name in TESTED}
        if lesson.teachers:
            theirs = _teachers_scored(folder, dataset, lesson, split, place, trainer.asked_to_stop)
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
    folder: Path, dataset: Dataset, lesson: Lesson, split: str, place: Place, asked: AskedToStop
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
