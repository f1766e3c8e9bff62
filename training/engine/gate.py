"""Asking a teacher before it teaches: `python -m training.engine gate JOB_DIR`.

`config.json`: {"format": 1, "task", "model": {"name", "path"}, "dataset" (as in a training job),
"teacher_outputs"?: {"mode", "k", "store"}, "threads"}; paths relative to the folder. One that is
recorded in the dataset's columns has "recorded" (recorded.py) instead of "path"; it is not asked.

`result.json` is {"report"}, or {"failed": {"code", "sentence"}} with exit status 1. What the
teacher says of every split is stored on the way, so that a run with it asks nothing again. It is
scored on validation rows; test rows are stored, and not looked at.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch

from training.engine import config as configs
from training.engine import (
    data,
    evaluate,
    inspection,
    job,
    job_config,
    methods,
    networks,
    report,
    softness,
    terms,
)
from training.engine.answers import NOTHING
from training.engine.data import Dataset, Indices, Targets
from training.engine.errors import ConfigError, Fault, ModelError
from training.engine.events import Logged, Stage, finite
from training.engine.job_config import DatasetInput
from training.engine.journal import Journal
from training.engine.language_teacher import LanguageTeacher
from training.engine.networks import Place
from training.engine.recorded import Recorded
from training.engine.tasks import TASKS
from training.engine.teacher_outputs import Teacher

JSON = dict[str, Any]
MOST_CLASSES = 100  # whose confusion is told, and which are told one by one
USUAL_TEMPERATURE = 2.0  # at which many a text is taught
BADLY_CALIBRATED = 0.1  # expected calibration error, from which it is worth a word


def run(folder: Path) -> NoReturn:
    """Ask as the folder says, write `result.json`, and end the process."""

    def work(folder: Path) -> JSON:
        with Journal(folder / "journal.jsonl") as journal:
            return gate(
                folder,
                stage=lambda name: journal.write(Stage(name)),
                say=lambda text: journal.write(Logged(text)),
            )

    inspection.answer(folder, work)


def gate(
    folder: Path,
    *,
    stage: Callable[[str], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
) -> JSON:
    """`{"report"}` of a job folder. Raises the errors of errors.py."""
    raw = job.read_config(folder)
    task, model, described = read(raw)
    torch.set_num_threads(max(1, int(raw.get("threads") or 1)))

    if model.get("recorded"):
        return _of_recorded(folder, task, model, described, stage)
    stage("reading the model")
    home = folder / str(model["path"])
    network = networks.load(str(model["name"]), home, task)
    dataset = data.open_dataset(folder, described, TASKS[task].unit)
    if network.problem != dataset.problem:
        raise ModelError(
            f"{network.name} answers {terms.PROBLEMS[network.problem]}, and this dataset has "
            f"{terms.PROBLEMS[dataset.problem]}."
        )
    if dataset.problem == "embedding":
        raise ModelError("Vectors cannot be right or wrong: there is nothing to score here.")
    place = Place.choose("auto")
    kind = LanguageTeacher if TASKS[task].unit == "token" else Teacher
    teacher = kind(network, home, 1.0, dataset, place)

    stage("asking the teacher")
    asked = _ask(teacher, folder, raw.get("teacher_outputs") or {}, say)

    stage("scoring")
    found = _judged(teacher, folder) | {"stored": asked, "rows_per_second": asked.pop("speed")}
    return {"report": finite(found | verdict(found, dataset.names))}


def _of_recorded(
    folder: Path, task: str, model: JSON, described: DatasetInput, stage: Callable[[str], None]
) -> JSON:
    """The same of a teacher that is nothing but columns of the dataset."""
    stage("reading its answers")
    if TASKS[task].unit != "row":
        raise ModelError(f"{model['name']} is recorded labels of rows; here words have them.")
    dataset = data.open_dataset(folder, described, TASKS[task].unit)
    prepared, separator = folder / "prepared", described.separator
    said = Recorded(str(model["name"]), 1.0, model["recorded"], dataset, prepared, separator)

    stage("scoring")
    rows = dataset.splits["validation"]
    rows = rows[said.spoken[rows]]
    if not len(rows):
        raise ModelError(f"{said.name} said nothing of any validation row.")
    logits, truth = said.logits(rows).numpy(), dataset.labels[rows]
    heading: JSON = {"split": "validation", "rows": len(rows), "problem": dataset.problem}
    least = softness.baseline(dataset.labels[dataset.splits["train"]], truth, dataset.problem)
    found = heading | _of_rows(task, logits, truth, dataset, None, least)
    every = sum(len(one) for one in dataset.splits.values())
    kept = {"asked": 0, "found": int(said.spoken.sum()), "lacking": every - int(said.spoken.sum())}
    found |= {"stored": kept, "rows_per_second": None}
    return {"report": finite(found | verdict(found, dataset.names))}


def read(raw: JSON) -> tuple[str, JSON, DatasetInput]:
    """The task, the model and the dataset that a job of asking names. Raises ConfigError."""
    task = str(raw.get("task"))
    if task not in TASKS:
        raise ConfigError([Fault("task", f"There is no task called {task}.")])
    faults = [
        Fault(name, "It must be an object.")
        for name in ("model", "dataset")
        if not isinstance(raw.get(name), dict)
    ]
    if faults:
        raise ConfigError(faults)
    kind = terms.find(methods.describe(), "tasks", task)
    described = job_config.read_dataset(raw["dataset"], kind, faults)
    if faults:
        raise ConfigError(faults)
    return task, raw["model"], described


def _ask(teacher: Teacher, folder: Path, how: JSON, say: Callable[[str], None]) -> JSON:
    """Have its answers to every split stored: how many rows it was asked, and found, and the rows a
    second it answered (None where the store had all)."""
    store = Path(how["store"]) if how.get("store") else folder / "teacher-outputs"
    home = folder / "prepared"
    if isinstance(teacher, LanguageTeacher) or TASKS[teacher.network.task].unit != "row":
        teacher.prepare(home)
    if isinstance(teacher, LanguageTeacher):
        teacher.seat(teacher.dataset)
        k = int(how.get("k") or configs.TOP_K)
        teacher.choose(str(how.get("mode") or "auto"), k, (1.0,), store)
    counts = {"asked": 0, "found": 0}
    began, heard = time.perf_counter(), 0
    told = began
    for split in ("validation", "train", "test"):
        rows = len(teacher.dataset.splits[split])
        if not rows:
            continue
        answering = teacher.ask(split, store, home, lambda: False)
        done = 0
        while True:
            try:
                done += next(answering)
            except StopIteration as end:
                counts["asked" if end.value else "found"] += rows
                heard += rows if end.value else 0
                break
            if time.perf_counter() - told > 1.0:
                told = time.perf_counter()
                say(f"{done:,} of {rows:,} {split} rows")
    seconds = time.perf_counter() - began
    return {**counts, "speed": round(heard / seconds, 1) if heard else None}


def _judged(teacher: Teacher, folder: Path) -> JSON:
    """What its answers to validation rows are worth, and how soft they are."""
    dataset, network = teacher.dataset, teacher.network
    rows = dataset.splits["validation"]
    found: JSON = {"split": "validation", "rows": len(rows), "problem": dataset.problem}
    if isinstance(teacher, LanguageTeacher):
        assert teacher.inputs is not None
        scores = teacher.judged("validation").scores(teacher.inputs.form)
        logits = teacher.some_logits("validation", folder / "prepared")
        return found | _told(network.task, scores, logits, dataset, None, len(rows), {})
    truth, training = (_truths(teacher, split) for split in ("validation", "train"))
    logits = teacher.answer(rows, "validation", NOTHING).logits.numpy()
    starts = None if teacher.inputs is None else evaluate.word_starts(teacher.inputs, rows)
    least = softness.baseline(training, truth, dataset.problem)
    return found | _of_rows(network.task, logits, truth, dataset, starts, least)


def _of_rows(
    task: str,
    logits: Any,
    truth: Targets,
    dataset: Dataset,
    starts: Indices | None,
    least: JSON | None,
) -> JSON:
    scores = evaluate.score(logits, truth, dataset.problem, names=dataset.names, starts=starts)
    known = truth >= 0 if truth.ndim == 1 else ~np.isnan(truth).any(axis=1)
    labelled = int(known.sum())
    details = _details(logits, truth, dataset, starts) if labelled else {}
    return _told(task, scores, logits, dataset, least, labelled, details)


def _told(
    task: str,
    scores: dict[str, float],
    logits: Any,
    dataset: Dataset,
    least: JSON | None,
    labelled: int,
    details: JSON,
) -> JSON:
    soft = softness.by_temperature(logits, dataset.problem)
    headline = TASKS[task].metrics[dataset.problem][0]
    return {
        "labelled": labelled,
        "metric": headline,
        "metrics": scores,
        "baseline": least,
        "softness": soft,
        "proposed": softness.proposed(logits, dataset.problem),
        **details,
    }


def _truths(teacher: Teacher, split: str) -> Targets:
    rows = teacher.dataset.splits[split]
    if TASKS[teacher.network.task].unit == "row":
        return teacher.dataset.labels[rows]
    assert teacher.inputs is not None
    return evaluate.truths(teacher.dataset, teacher.inputs, rows)


def _details(logits: Any, truth: Targets, dataset: Dataset, starts: Indices | None) -> JSON:
    """Reliability, and classes and confusion where they are not too many."""
    found = report.details(logits, truth, dataset.names, dataset.problem, starts)
    for large in ("confusion", "per_class"):
        if large in found and len(dataset.names) > MOST_CLASSES:
            del found[large]
    return {name: found[name] for name in found if name not in ("truth", "answers")}


def verdict(found: JSON, names: tuple[str, ...]) -> JSON:
    """`recommended`, `nearly_hard`, and `sentence`: what a person should know before a run with
    it."""
    parts, recommended = [], True
    scores, least = found["metrics"], found["baseline"]
    if not found["labelled"]:
        return {
            "recommended": True,
            "nearly_hard": False,
            "sentence": "No validation row has a label, so nobody can say how good it is.",
        }
    if not softness.beaten(least, scores):
        recommended = False
        parts.append(softness.unbeaten(least, scores, names))
    elif least is not None and least["metric"] == "accuracy":
        parts.append(
            f"It is right on {100 * scores['accuracy']:.1f} % of {found['labelled']:,} validation "
            f"rows; always answering the commonest label is right on {100 * least['value']:.1f} %."
        )
    else:
        metric = found["metric"]
        parts.append(f"Its {metric.replace('_', ' ')} on validation rows is {scores[metric]:.4g}.")
    error = scores.get("ece", 0.0)
    if np.isfinite(error) and error > BADLY_CALIBRATED:
        parts.append(
            f"Its confidence is off by {100 * error:.0f} points on average, and a student learns "
            "that, too."
        )
    soft = {one["temperature"]: one["other_mass"] for one in found["softness"]}
    usual = min((one for one in soft if one >= USUAL_TEMPERATURE), default=1.0)
    nearly_hard = bool(soft) and (
        soft[1.0] < softness.NEARLY_HARD or soft[usual] < softness.SOFT_ENOUGH
    )
    if nearly_hard:
        proposed = found["proposed"]
        parts.append(
            f"Its answers are nearly hard: at temperature {usual:g} only {100 * soft[usual]:.2g} % "
            "stands beside the first one, little more than labels say. "
            + (
                f"Temperature {proposed['temperature']:g} shows "
                f"{100 * proposed['other_mass']:.2g} %."
                if proposed
                else "No usual temperature shows more: compare layers, or logits themselves."
            )
        )
    return {"recommended": recommended, "nearly_hard": nearly_hard, "sentence": " ".join(parts)}
