"""Distillation, top to bottom: prepare, ask the teachers, train, evaluate, save.

`distill(config, folder)` is a generator of events; whoever iterates it (job.py, a test, a notebook)
decides what to do with them. Without teachers the same loop is fine-tuning.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from training.engine import (
    checkpoint,
    data,
    evaluate,
    freezing,
    lora,
    networks,
    optimization,
    paired,
    predictions,
    preflight,
    provenance,
    ranks,
    report,
    slices,
    softened,
    spending,
    validation,
    writing_report,
)
from training.engine import lesson as lessons
from training.engine.data import Dataset, Inputs
from training.engine.energy import WATT_HOUR
from training.engine.errors import AskedToStop, ConfigError, Fault, Stopped
from training.engine.events import Event, Finished, Halted, Logged, Measured, Resumed, Stage
from training.engine.job_config import JobConfig
from training.engine.lesson import Lesson
from training.engine.networks import Network, Place
from training.engine.progress import Clock
from training.engine.questions import Questions
from training.engine.recorded import Recorded
from training.engine.tasks import TASKS
from training.engine.trainer import Trainer, identity
from training.engine.windows import LanguageInputs


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
    networks.be_repeatable()
    place = Place.choose(config.training.precision)
    crowd = ranks.join(place.device)
    together = f", {crowd.size} processes together" if crowd.size > 1 else ""
    yield Logged(f"Training on {place}, {config.threads} thread(s) for the CPU's part{together}.")

    # -- data, teachers and student --------------------------------------------------------------
    yield Stage("preparing data")
    task = TASKS[config.task]
    dataset = data.open_dataset(folder, config.dataset, task.unit)
    slices.check(dataset.path, config.slices)
    scheme = lessons.scheme_of(config)
    plans = scheme.plan(config.losses, config.stages, config.training.epochs)
    dataset = lessons.with_columns(dataset, [one for plan in plans for one in plan.losses])
    if config.training.lora_rank and len(plans) > 1:
        sentence = "Adapters are for runs of one stage; here each stage would need its own."
        raise ConfigError([Fault("training.lora_rank", sentence)])
    state = found.state if found else checkpoint.State()
    lesson = Lesson(config, dataset, scheme, plans[state.stage])
    said: list[str] = []
    with crowd.in_turn():
        lesson.enter(folder, place, _left_by(folder, state.stage - 1))
        shared = None
        if lesson.live and lessons.takes_inputs(config, dataset, scheme, plans):
            shared = lesson.live[0].network.preprocessing
        if shared is None and config.student.inputs_of is not None:
            shared = networks.preprocessing_of(folder / config.student.inputs_of, config.task)
        if task.trains_tokenizer and config.student.path is None and shared is None:
            yield Stage("training tokenizer")
        torch.manual_seed(config.training.seed)
        student = networks.student(
            config.student, folder, dataset, config.task, said.append, shared
        )
        inputs = student.preprocessing.prepare(dataset.path, folder / "prepared")
    yield from map(Logged, said)
    preflight.refuse_too_large(student.parameters, config.training.optimizer, student.name)
    lesson.check_inputs(student)
    whole, dataset = dataset, lesson.divide(inputs)
    yield Logged(f"{student.name}: {student.parameters:,} weights, {student.architecture}.")
    optimization.prepare(student, config.training)
    if config.training.freeze == "backbone":
        yield from _told_of_backbone(config, student)

    def draw(number: int) -> nn.Module:
        """The student's network anew, from another seed."""
        with torch.random.fork_rng():
            torch.manual_seed(config.training.seed + 1_000_003 * number)
            fresh = networks.student(
                config.student, folder, dataset, config.task, lambda _: None, student.preprocessing
            )
        optimization.prepare(fresh, config.training)
        return place.settle(fresh)

    # -- training, stage by stage ----------------------------------------------------------------
    for number in range(state.stage, len(plans)):
        plan = plans[number]
        if number > state.stage:
            state = state.next_stage()
            lesson = Lesson(config, whole, scheme, plan)
            with crowd.in_turn():
                lesson.enter(folder, place, _left_by(folder, number - 1))
            lesson.check_inputs(student)
            lesson.divide(inputs)
            if plan.fresh:
                student.module.load_state_dict(draw(number).state_dict())
        beside = scheme.prepare(student, draw)
        trainer = Trainer(
            config, folder, dataset, student, inputs, lesson, place, clock, asked_to_stop,
            scheme=scheme, state=state, beside=beside, ranks=crowd,
        )  # fmt: skip
        clock.guess = trainer.guess()
        clock.later_steps = sum(
            (one.epochs or config.training.epochs) * trainer.per_epoch
            for one in plans[number + 1 :]
        )
        yield clock.show()
        if lesson.teachers:
            yield Stage("asking the teacher")
        asking = spending.Asking(clock, trainer.meter)
        if lesson.teachers:
            with crowd.in_turn():
                questions = Questions(lesson, folder, clock, asked_to_stop)
                yield from questions.ask(first=number == 0)
        took = asking.took() if lesson.teachers else (0.0, 0.0)
        if found:
            trainer.restore(found)
            state, found = trainer.state, None
        trainer.state.asked(*took)
        yield Stage("training" if len(plans) == 1 else plan.name)
        yield from trainer.train()
        if trainer.halted:
            yield Halted(trainer.state.step)
            return
        trainer.use_best()
        if config.training.lora_rank:
            lora.merge(student.module)
        if number + 1 < len(plans):
            with crowd.in_turn():
                if not crowd.rank:
                    _leave(student, folder, number, trainer.state)

    if crowd.rank:
        return

    # -- the test, scored once, and what is kept -------------------------------------------------
    if plans[-1].fresh:
        yield from _use_best_stage(config, folder, student, trainer)
    yield Stage("evaluating")
    yield clock.show()
    yield from finish(config, folder, dataset, student, inputs, lesson, place, trainer)


def _told_of_backbone(config: JobConfig, student: Network) -> Iterator[Event]:
    """What is frozen, and whether it is worth anything."""
    learning = freezing.learning(student.module)
    yield Logged(f"Its backbone is frozen: {learning:,} of its weights learn.")
    if config.student.path is None:
        yield Logged(
            f"{student.name} has no weights yet, so that its frozen backbone stays as it was "
            "drawn, at random. Freeze a student that learned something before: one from a hub, an "
            "upload, a run, or made from a teacher.",
            "warning",
        )


def _left_by(folder: Path, stage: int) -> Path | None:
    """The model folder that a stage has left."""
    return folder / "stages" / str(stage) if stage >= 0 else None


def _leave(student: Network, folder: Path, stage: int, state: checkpoint.State) -> None:
    """Keep the student of a stage that is over, whole or not at all, and how good it was."""
    home = folder / "stages"
    home.mkdir(exist_ok=True)
    part = home / f".{stage}.part"
    for old in (part, home / str(stage)):
        shutil.rmtree(old, ignore_errors=True)
    networks.save(student, part)
    (home / f"{stage}.json").write_text(json.dumps({"best_value": state.best_value}))
    part.rename(home / str(stage))


def _use_best_stage(
    config: JobConfig, folder: Path, student: Network, trainer: Trainer
) -> Iterator[Event]:
    """Where every stage began anew, an earlier student is kept when validation rows prefer it."""
    metric = config.training.selection_metric
    values = [
        json.loads((folder / "stages" / f"{stage}.json").read_text())["best_value"]
        for stage in range(trainer.state.stage)
    ]
    best, chosen = trainer.state.best_value, trainer.state.stage
    for stage, value in enumerate(values):
        if validation.better(metric, value, best):
            best, chosen = value, stage
    if chosen != trainer.state.stage:
        kept = networks.load(student.name, folder / "stages" / str(chosen), config.task)
        student.module.load_state_dict(kept.module.state_dict())
    yield Logged(f"Generation {chosen} is kept: {metric} {best:.4f} on validation rows.")


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
    """Score the test split (validation rows where there is none), measure speed, save, finish.
    A job that is not evaluated looks at no test row."""
    state = trainer.state
    split = "test" if config.evaluate and len(dataset.splits["test"]) else "validation"
    rows = dataset.splits[split]
    if isinstance(inputs, LanguageInputs):
        yield from _finish_writing(config, folder, dataset, student, inputs, lesson, split, trainer)
        return
    labels = evaluate.truths(dataset, inputs, rows)
    ours: report.Scored | None = None
    theirs: report.Scored | None = None
    beside: tuple[report.Scored, report.Scored] | None = None  # on rows the teachers spoke of
    if config.evaluate:
        speed = report.speed_of(student, inputs, rows, place, trainer.asked_to_stop, config.machine)
        logits = evaluate.predict(student, inputs, rows, place, asked_to_stop=trainer.asked_to_stop)
        words = evaluate.word_starts(inputs, rows)
        ours = report.scored(student, logits, labels, dataset, speed, words)
        judged = TASKS[config.task].metrics[dataset.problem]
        values = {f"test/{name}": ours.summary[name] for name in judged if name in ours.summary}
        if lesson.teachers:
            theirs = _teachers_scored(folder, lesson, split, labels, place, trainer.asked_to_stop)
            beside = report.beside(ours, theirs, labels, dataset)
            close = evaluate.fidelity(beside[0].logits, beside[1].logits, dataset.problem)
            values |= {f"test/{name}": value for name, value in close.items()}
        if split == "test":
            yield Measured(state.step, float(state.epochs), values)
    summary = _summary(config, dataset, trainer, split, lesson)
    summary |= {
        "student": ours.summary if ours else None,
        "teacher": theirs.summary if theirs else None,
    }
    if ours:
        pair = beside or (ours, None)
        summary |= report.compared(pair[0], pair[1], dataset.problem, summary["headline"])
    starts = data.offsets(inputs, rows)
    if ours and theirs and dataset.problem in ("single_label", "multi_label"):
        values_of = [
            predictions.Said.of(dataset, split, one.logits, labels, starts).value
            for one in (ours, theirs)
        ]
        known = ~np.isnan(values_of).any(axis=0)
        sure = paired.retention(values_of[0][known], values_of[1][known])
        summary |= {name: sure[name] for name in ("retention_interval", "mcnemar_p")}
    yield Stage("saving")
    column = TASKS[config.task].column
    yield from report.write(
        folder,
        dataset,
        split,
        column,
        labels,
        starts,
        student,
        ours,
        theirs,
        summary,
        state.step,
        config.slices,
        softened.temperatures_of(config),
    )
    yield trainer.clock.show(over=True)
    yield Finished(summary)


def _summary(
    config: JobConfig, dataset: Dataset, trainer: Trainer, split: str, lesson: Lesson
) -> report.JSON:
    """What is said of any finished job."""
    state = trainer.state
    return {
        "steps": state.step,
        "epochs": state.epochs,
        "best_step": state.best_step,
        "selection_metric": config.training.selection_metric,
        "best_value": state.best_value,
        "seconds": round(trainer.clock.seconds, 2),
        "training_energy_wh": round(trainer.meter.joules() / WATT_HOUR, 6),
        "energy_source": trainer.meter.source,
        "spent": spending.told(state, trainer.clock, trainer.meter, config.machine),
        "problem": dataset.problem,
        "headline": TASKS[config.task].metrics[dataset.problem][0],
        "split": split,
        "rows": len(dataset.splits[split]),
        "teacher_outputs": [one.as_dict() for one in lesson.decisions],
        "made_with": provenance.made_with(),
    }


def _finish_writing(
    config: JobConfig,
    folder: Path,
    dataset: Dataset,
    student: Network,
    inputs: LanguageInputs,
    lesson: Lesson,
    split: str,
    trainer: Trainer,
) -> Iterator[Event]:
    """The same of a network that writes."""
    summary = _summary(config, dataset, trainer, split, lesson)
    summary |= {"student": None, "teacher": None}
    if config.evaluate:
        shown = lesson.scheme.scores(student.module, split, lesson.terms)
        found = {name: shown[name] for name in lesson.scheme.metrics if name in shown}
        summary |= found
        if found and split == "test":
            values = {f"test/{name}": value for name, value in found.items()}
            yield Measured(trainer.state.step, float(trainer.state.epochs), values)
    yield from writing_report.finish(
        folder, dataset, student, inputs, lesson, trainer, summary, split, evaluates=config.evaluate
    )
    yield trainer.clock.show(over=True)
    yield Finished(summary)


def _teachers_scored(
    folder: Path,
    lesson: Lesson,
    split: str,
    labels: data.Targets,
    place: Place,
    asked: AskedToStop,
) -> report.Scored:
    """The teachers together, as the scheme joins them, with the sum of what each costs."""
    dataset = lesson.dataset
    rows, truth = dataset.splits[split], torch.from_numpy(labels)
    each, words = [], None
    for teacher in lesson.teachers:
        if isinstance(teacher, Recorded):
            said = teacher.logits(rows).numpy()
            more = {"recorded": True}
            each.append(report.judged(teacher.name, said, labels, dataset, more, gaps=True))
            continue
        teacher.prepare(folder / "prepared")
        assert teacher.inputs is not None
        speed = report.speed_of(
            teacher.network, teacher.inputs, rows, place, asked, lesson.config.machine
        )
        logits = teacher.logits(rows, split).numpy()
        words = evaluate.word_starts(teacher.inputs, rows)
        each.append(report.scored(teacher.network, logits, labels, dataset, speed, words))
    joined = lesson.target(rows, split, truth).logits.cpu().numpy()
    whole = report.judged(
        lesson.teachers[0].name,
        joined,
        labels,
        dataset,
        {},
        words,
        gaps=lesson.heard is not None,
    )
    sizes = report.combined(each)
    judged = (*TASKS[lesson.config.task].metrics[dataset.problem], "accuracy_interval", "rows")
    summary = {**sizes, **{name: whole.summary[name] for name in judged if name in whole.summary}}
    return report.Scored(np.asarray(joined), summary, whole.details)
