"""How good, and how soft, a lesson's teachers are together: told before the student is trained."""

from collections.abc import Iterator
from pathlib import Path

import torch

from training.engine import data, evaluate, softness
from training.engine.answers import NOTHING
from training.engine.events import Event, Logged, Measured
from training.engine.language_teacher import LanguageTeacher
from training.engine.lesson import Lesson
from training.engine.recorded import spoke
from training.engine.tasks import TASKS


def told(lesson: Lesson, folder: Path) -> Iterator[Event]:
    """How good and how soft the teachers are together, and what to think of before training."""
    values = _scores(lesson)
    rows = lesson.dataset.splits["validation"]
    if not len(rows) or not lesson.teachers:
        yield Measured(0, 0.0, values)
        return
    truth = None if lesson.writes else lesson.truths(rows)
    logits = _heard(lesson, "validation", truth, folder)
    if lesson.heard is not None:
        assert truth is not None
        there = spoke(logits)
        logits, truth = logits[there], truth[there]
    problem = lesson.dataset.problem
    soft = softness.softness(logits, lesson.temperature, problem)
    yield Measured(0, 0.0, values | {f"teacher/val/{one}": soft[one] for one in soft})
    if truth is not None:
        least = softness.baseline(lesson.truths(lesson.dataset.splits["train"]), truth, problem)
        mine = {name.removeprefix("teacher/val/"): value for name, value in values.items()}
        if least is not None and not softness.beaten(least, mine):
            sentence = softness.unbeaten(least, mine, lesson.dataset.names)
            yield Logged(f"{_who(lesson)}: {sentence}", "warning")
    compares = any(
        loss.needs_teacher and not loss.wants and loss.of_probabilities for _, loss in lesson.terms
    )
    hard = softness.hardness(logits, lesson.temperature, problem) if compares else ""
    if hard:
        yield Logged(f"{_who(lesson)}: {hard}", "warning")


def _who(lesson: Lesson) -> str:
    return " and ".join(teacher.name for teacher in lesson.teachers)


def _heard(lesson: Lesson, split: str, truth: data.Targets | None, folder: Path) -> evaluate.Logits:
    """The teachers' logits alone, joined, `[units, classes]`: of a network that writes, those
    of some units."""
    if isinstance(lesson.teachers[0], LanguageTeacher):
        return lesson.teachers[0].some_logits(split, folder / "prepared")
    rows = lesson.dataset.splits[split]
    assert truth is not None
    said = [one.answer(rows, split, NOTHING).logits for one in lesson.teachers]
    if len(said) > 1 or lesson.route is not None:
        return lesson.join(said, rows, torch.from_numpy(truth)).cpu().numpy()
    return said[0].cpu().numpy()


def _scores(lesson: Lesson) -> dict[str, float]:
    values: dict[str, float] = {}
    for split, short in (("validation", "val"), ("test", "test")):
        rows = lesson.dataset.splits[split]
        if len(rows) and (split != "test" or lesson.config.evaluate):
            if lesson.writes:
                values |= _written_scores(lesson, split, short)
                continue
            truth = lesson.truths(rows)
            said = _heard(lesson, split, truth, Path())
            if lesson.heard is not None:
                there = spoke(said)
                said, truth = said[there], truth[there]
            inputs = lesson.live[0].inputs if lesson.live else None
            scores = evaluate.score(
                said,
                truth,
                lesson.dataset.problem,
                names=lesson.dataset.names,
                starts=None if inputs is None else evaluate.word_starts(inputs, rows),
            )
            for name in TASKS[lesson.config.task].metrics[lesson.dataset.problem]:
                if name in scores:
                    values[f"teacher/{short}/{name}"] = scores[name]
    return values


def _written_scores(lesson: Lesson, split: str, short: str) -> dict[str, float]:
    """Of the first teacher that writes."""
    teacher = lesson.teachers[0]
    assert isinstance(teacher, LanguageTeacher)
    assert teacher.inputs is not None
    scores = teacher.judged(split).scores(teacher.inputs.form)
    return {f"teacher/{short}/{name}": value for name, value in scores.items()}
