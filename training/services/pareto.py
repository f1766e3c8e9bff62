"""Which models are worth having: how good each is against what it costs to ask.

A model is on the frontier when none of the others that were measured alike is at least as good and
at least as cheap, and better in one of both.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from django.conf import settings

from distillhub.lib.errors import DomainError, Invalid
from projects.models import DatasetVersion, Project
from projects.services import datasets
from training.engine.export_config import FALLING
from training.models import Run
from training.services import measured_points, scores
from training.services.measured_points import Machine, Point, Speed

X_AXES = {
    "latency": "latency of a call",
    "size": "size of the weights",
    "energy": "energy of a million calls",
    "cost": "cost of a million calls",
}
Y_AXES = {"accuracy": "the score", "retention": "share of the teacher's score that is kept"}
SPLITS = ("validation", "test")
#: Of an hour of a machine, where nobody said: a small rented one. It is always told that it is
#: assumed.
ASSUMED_PRICE = 0.10
HOUR_MS = 3_600_000.0
MILLION = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a reader wants to see; every part has a default."""

    dataset: str = ""  # name@number:split
    x: str = "latency"
    y: str = "accuracy"
    machine: str = ""
    batch: str = "1"
    price_per_hour: float | None = None
    energy_price: float = 0.0  # of a kilowatt hour, beside the hour's price
    study: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A point with its place."""

    point: Point
    speed: Speed | None  # on the chosen machine
    score: float | None
    retention: float | None
    cost: float | None  # of a million calls
    x: float | None
    y: float | None
    on_frontier: bool = False

    @property
    def is_drawn(self) -> bool:
        return self.x is not None and self.y is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    asked: Asked  # with every default
    dataset: DatasetVersion | None  # None where nothing was measured in this project
    split: str
    metric: str
    machine: Machine | None
    machines: list[Machine]
    datasets: list[str]  # name@number:split, of which something is known
    price_is_assumed: bool
    placed: list[Placed]
    runs: list[Run]

    @property
    def falls(self) -> bool:
        return self.asked.y == "accuracy" and self.metric in FALLING

    def find(self, key: str) -> Placed | None:
        return next((one for one in self.placed if one.point.key == key), None)


def read(address: Mapping[str, str]) -> Asked:
    """The parameters of an address; empty ones are defaults. Raises Invalid."""
    said = {name: value for name, value in address.items() if value}
    return Asked(
        dataset=said.get("dataset", ""),
        x=said.get("x", "latency"),
        y=said.get("y", "accuracy"),
        machine=said.get("machine", ""),
        batch=said.get("batch", "1"),
        price_per_hour=_number(said, "price_per_hour"),
        energy_price=_number(said, "energy_price") or 0.0,
        study=_whole(said, "study"),
    )


def look(*, project: Project, asked: Asked) -> Found:
    """Raises Invalid, with the fault at its field."""
    _check(asked)
    runs = list(measured_points.runs_of(project)[: measured_points.MOST_RUNS])
    if asked.study is not None:
        numbers = set(project.runs.filter(study__number=asked.study).values_list("pk", flat=True))
        runs = [run for run in runs if run.pk in numbers]
    dataset, split, known = _data(project, asked, runs)
    price = asked.price_per_hour
    stated = settings.DISTILLHUB_PRICE_PER_HOUR
    assumed = price is None and stated is None
    if price is None:
        price = ASSUMED_PRICE if stated is None else float(stated)
    asked = replace(asked, price_per_hour=price)
    if dataset is None:
        return Found(
            asked=asked, dataset=None, split="", metric="", machine=None, machines=[],
            datasets=known, price_is_assumed=assumed, placed=[], runs=[],
        )  # fmt: skip
    runs = [run for run in runs if run.dataset_version_id == dataset.pk]
    metric = scores.headline(runs[0]) if runs else "accuracy"
    runs = [run for run in runs if scores.headline(run) == metric]
    if asked.y == "retention" and metric in FALLING:
        raise _wrong("y", f"Of {metric} less is better, so there is no share of it to keep.")
    points = measured_points.points(
        project=project, dataset=dataset, split=split, metric=metric, runs=runs
    )
    machine, machines = _machine(asked, points)
    asked = replace(
        asked,
        dataset=f"{dataset.reference}:{split}",
        machine=machine.key if machine is not None else "",
    )
    placed = _frontier(
        [_place(one, asked, points, metric) for one in points],
        falls=asked.y == "accuracy" and metric in FALLING,
    )
    order = {"teacher": 0, "student": 1, "control": 2}
    placed.sort(key=lambda one: (order[one.point.role], one.point.name, one.point.form))
    return Found(
        asked=asked, dataset=dataset, split=split, metric=metric, machine=machine,
        machines=machines, datasets=known, price_is_assumed=assumed, placed=placed, runs=runs,
    )  # fmt: skip


def cost(point: Point, speed: Speed | None, asked: Asked) -> float | None:
    """Of a million calls: the machine's time and its energy, or what a service takes."""
    if point.price_per_call is not None:
        return point.price_per_call * MILLION
    if speed is None or asked.batch not in speed.latency_ms or asked.price_per_hour is None:
        return None
    hours = speed.latency_ms[asked.batch] / int(asked.batch) * MILLION / HOUR_MS
    energy = 0.0
    if asked.energy_price:
        if speed.energy_wh is None:
            return None
        energy = speed.energy_wh / 1000.0 * asked.energy_price
    return hours * asked.price_per_hour + energy


def _check(asked: Asked) -> None:
    for name, value, known in (
        ("x", asked.x, X_AXES),
        ("y", asked.y, Y_AXES),
        ("batch", asked.batch, measured_points.BATCHES),
    ):
        if value not in known:
            raise _wrong(name, f"It must be one of {', '.join(known)}.")
    for name, price in (
        ("price_per_hour", asked.price_per_hour),
        ("energy_price", asked.energy_price),
    ):
        if price is not None and not 0 <= price <= MILLION:
            raise _wrong(name, "It must be a number from 0 to a million.")


def _data(
    project: Project, asked: Asked, runs: Sequence[Run]
) -> tuple[DatasetVersion | None, str, list[str]]:
    """What is asked about: a dataset version and a split, the one of the newest run unless named,
    and what else there would be."""
    pks = list(dict.fromkeys(run.dataset_version_id for run in runs))
    versions = DatasetVersion.objects.select_related("dataset").in_bulk([pk for pk in pks if pk])
    by_name = {versions[pk].reference: versions[pk] for pk in pks if pk in versions}
    known = [f"{name}:{split}" for name in by_name for split in SPLITS]
    if not asked.dataset:
        first = next(iter(by_name.values()), None)
        return first, "validation" if first is not None else "", known
    name, _, split = asked.dataset.partition(":")
    split = split or "validation"
    if split not in SPLITS:
        raise _wrong("dataset", "A split is validation or test: name@1:test.")
    if name in by_name:
        return by_name[name], split, known
    try:
        return datasets.resolve(project=project, reference=name), split, known
    except DomainError as error:
        raise _wrong("dataset", error.detail) from None


def _machine(asked: Asked, points: Sequence[Point]) -> tuple[Machine | None, list[Machine]]:
    """The chosen machine, the one most was measured on unless named, and all there are."""
    counts: dict[Machine, int] = {}
    for point in points:
        for speed in point.speeds:
            counts[speed.machine] = counts.get(speed.machine, 0) + 1
    ordered = sorted(counts, key=lambda one: (-counts[one], one.key))
    if not asked.machine:
        return next(iter(ordered), None), ordered
    chosen = next((one for one in ordered if one.key == asked.machine), None)
    if chosen is None:
        there = ", ".join(one.key for one in ordered) or "none"
        raise _wrong("machine", f"Nothing was measured there. There is: {there}.")
    return chosen, ordered


def _place(point: Point, asked: Asked, points: Sequence[Point], metric: str) -> Placed:
    speed = point.on(asked.machine) if asked.machine else None
    teacher = next((one for one in points if one.key == (point.teacher or point.key)), None)
    base = teacher.score if teacher is not None else None
    taught = bool(point.teacher) or point.role == measured_points.TEACHER
    retention = None
    if point.score is not None and base and taught and metric not in FALLING:
        retention = point.score / base
    spent = cost(point, speed, asked)
    x = {
        "latency": speed.latency_ms.get(asked.batch) if speed is not None else None,
        "size": float(point.size_bytes) if point.size_bytes else None,
        "energy": speed.energy_wh if speed is not None else None,
        "cost": spent,
    }[asked.x]
    return Placed(
        point=point,
        speed=speed,
        score=point.score,
        retention=retention,
        cost=spent,
        x=x,
        y=point.score if asked.y == "accuracy" else retention,
    )


def _frontier(placed: list[Placed], *, falls: bool) -> list[Placed]:
    """Walk from the cheapest up: who is better than all before is on it. Of equals both are."""
    sign = -1.0 if falls else 1.0
    drawn = [one for one in placed if one.is_drawn]
    drawn.sort(key=lambda one: (one.x or 0.0, -sign * (one.y or 0.0)))
    best: Placed | None = None
    kept: set[str] = set()
    for one in drawn:
        gains = best is None or sign * (one.y or 0.0) > sign * (best.y or 0.0)
        if gains or (best is not None and (one.x, one.y) == (best.x, best.y)):
            kept.add(one.point.key)
            best = one
    return [replace(one, on_frontier=one.point.key in kept) for one in placed]


def _wrong(field: str, sentence: str) -> Invalid:
    return Invalid(f"{field}: {sentence}", fields={field: [sentence]})


def _number(said: Mapping[str, str], name: str) -> float | None:
    if name not in said:
        return None
    try:
        value = float(said[name].replace(",", "."))
    except ValueError:
        raise _wrong(name, "It must be a number.") from None
    if not math.isfinite(value):
        raise _wrong(name, "It must be a number.")
    return value


def _whole(said: Mapping[str, str], name: str) -> int | None:
    if name not in said:
        return None
    if not (said[name].isascii() and said[name].isdigit() and len(said[name]) < 10):
        raise _wrong(name, "It must be a whole number.")
    return int(said[name])
