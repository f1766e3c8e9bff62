"""Seconds per step of the engine, tracking on, against a bare PyTorch loop that does the same work.

Interleaved, so that a busy machine slows both: two steps of one, two of the other, medians of the
pieces; on a CPU its own time is counted, which a busy machine stretches less. Printed, never
asserted (goal: at most 1.03): `pytest -m bench tests/bench -s`.
"""

import json
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from statistics import median

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.engine import jobs
from training.engine import data, job_config, lesson, methods, networks, optimization, trainer
from training.engine.data import Indices
from training.engine.journal import Journal
from training.engine.networks import Place
from training.engine.progress import Clock
from training.engine.questions import Questions
from training.engine.tasks import TASKS

pytestmark = pytest.mark.bench
PIECES, STEPS = 150, 2
TEMPERATURE = 4.0


def prepared(folder: Path) -> trainer.Trainer:
    """A trainer at its first step, as `loop.distill` makes it, its teachers asked."""
    raw = json.loads((folder / "config.json").read_text())
    config = job_config.parse_job(raw, methods.describe())
    dataset = data.open_dataset(folder, config.dataset, TASKS[config.task].unit)
    place = Place.choose(config.training.precision)
    scheme, clock = lesson.scheme_of(config), Clock()
    plans = scheme.plan(config.losses, config.stages, config.training.epochs)
    taught = lesson.Lesson(config, dataset, scheme, plans[0])
    taught.enter(folder, place, None)
    shared = None
    if taught.teachers and lesson.takes_inputs(config, dataset, scheme, plans):
        shared = taught.live[0].network.preprocessing
    torch.manual_seed(0)
    student = networks.student(config.student, folder, dataset, config.task, lambda _: None, shared)
    optimization.prepare(student, config.training)
    inputs = student.preprocessing.prepare(dataset.path, folder / "prepared")
    dataset = taught.divide(inputs)
    made = trainer.Trainer(
        config, folder, dataset, student, inputs, taught, place, clock, lambda: False, scheme=scheme
    )
    if config.teachers:
        list(Questions(taught, folder, clock, lambda: False).ask())
    return made


def of_the_engine(one: trainer.Trainer, journal: Journal) -> Callable[[Indices], None]:
    """A step with its line in the journal."""

    def step(rows: Indices) -> None:
        one.step(rows)
        for event in one.measure():
            journal.write(event)

    return step


def usual_optimizer(one: trainer.Trainer) -> torch.optim.Optimizer:
    """PyTorch's own, in its fastest form."""
    weights = list(one.module.parameters())
    matrices = [each for each in weights if each.ndim > 1]
    others = [each for each in weights if each.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": one.training.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=one.training.learning_rate, fused=True)


def bare(one: trainer.Trainer, logits: torch.Tensor | None) -> Callable[[Indices], None]:
    """What one would write by hand: the same batches, model, optimizer, schedule and losses."""
    module, inputs = one.module, one.inputs
    labels = torch.from_numpy(one.dataset.labels)
    place = torch.from_numpy(one.dataset.place)
    optimizer = usual_optimizer(one)
    done = 0

    def step(rows: Indices) -> None:
        nonlocal done
        optimization.set_rate(optimizer, optimization.learning_rate(one.training, done, 10_000))
        done += 1
        batch = inputs.batch(rows)
        if "pixel_values" in batch:
            batch["pixel_values"] = batch["pixel_values"].to(memory_format=torch.channels_last)
        some = torch.from_numpy(rows)
        said = module(**batch)
        loss = F.cross_entropy(said, labels[some])
        if logits is not None:
            soft = F.kl_div(
                F.log_softmax(said / TEMPERATURE, -1),
                F.log_softmax(logits[place[some]] / TEMPERATURE, -1),
                reduction="batchmean",
                log_target=True,
            )
            loss = 0.1 * loss + 0.9 * TEMPERATURE**2 * soft
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()

    return step


def batches(one: trainer.Trainer) -> Iterator[Indices]:
    order = data.epoch_order(one.rows, one.inputs.lengths, one.size, 0, 0)
    return cycle([rows for rows in order if len(rows) == one.size])


def timed(step: Callable[[Indices], None], rows: list[Indices]) -> float:
    on_gpu = torch.cuda.is_available()
    clock = time.perf_counter if on_gpu else time.process_time
    began = clock()
    for some in rows:
        step(some)
    if on_gpu:
        torch.cuda.synchronize()
    return (clock() - began) / len(rows)


def compare(name: str, folder: Path) -> None:
    one, other = prepared(folder), prepared(folder)
    one.module.train()
    other.module.train()
    target = None
    if other.lesson.teachers:
        train = other.dataset.splits["train"]
        truth = torch.from_numpy(other.dataset.labels[train])
        target = other.lesson.target(train, "train", truth).logits
    ours, theirs = batches(one), batches(other)
    seconds: tuple[list[float], list[float]] = ([], [])
    with Journal(folder / "bench.jsonl") as journal:
        engine, plain = of_the_engine(one, journal), bare(other, target)
        for _ in range(PIECES):
            seconds[0].append(timed(engine, [next(ours) for _ in range(STEPS)]))
            seconds[1].append(timed(plain, [next(theirs) for _ in range(STEPS)]))
    mine, bare_one = (median(one[1:]) * 1000 for one in seconds)
    ratios = np.array(seconds[0][1:]) / np.array(seconds[1][1:])
    quiet = [float(np.percentile(one[1:], 10)) for one in seconds]  # what others disturbed least
    print(
        f"\n{name}: engine {mine:.2f} ms a step, bare loop {bare_one:.2f} ms; "
        f"ratio {mine / bare_one:.3f} (median of pairs {np.median(ratios):.3f}, of the fastest "
        f"tenth {quiet[0] / quiet[1]:.3f}; goal 1.03)"
    )


TEACHER = {"dim": 128, "bigrams": 16384, "vocabulary": 8000}
PLAIN = {"batch_size": 64, "learning_rate": 5e-4}


def test_text_fine_tuned(tmp_path: Path) -> None:
    texts = jobs.texts(tmp_path / "texts.parquet", rows=6000)
    compare(
        "2.1 M weights, text, hard labels",
        jobs.write(tmp_path / "job", texts, options=TEACHER, training=PLAIN),
    )


def test_text_distilled_from_stored_outputs(tmp_path: Path) -> None:
    texts = jobs.texts(tmp_path / "texts.parquet", rows=6000)
    teacher = jobs.write(tmp_path / "teacher", texts, options=TEACHER, training={"epochs": 1})
    jobs.run(teacher)
    soft = [{**jobs.SOFT[0], "temperature": TEMPERATURE}, jobs.SOFT[1]]
    folder = jobs.write(
        tmp_path / "job", texts, teachers=[str(teacher / "output" / "model")], losses=soft,
        options={"dim": 16, "vocabulary": 1443}, training=PLAIN,
    )  # fmt: skip
    compare("a student of 627 weights, text, soft targets", folder)


def test_images_fine_tuned(tmp_path: Path) -> None:
    images = jobs.images(tmp_path / "images.parquet", rows=2000, side=28)
    folder = jobs.write(
        tmp_path / "job", images, task="image-classification", architecture="small_convnet",
        training=PLAIN,
    )  # fmt: skip
    compare("0.4 M weights, 28x28 images, hard labels", folder)
