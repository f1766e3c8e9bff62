"""How long a hundred runs take side by side. Printed, never asserted: `pytest -m bench tests/bench
-s`. The promise is 1.5 s of the server for any part of the page (docs/compare.md)."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from projects.models import Project, User
from tests import make
from tests.conftest import api_of
from training.models import Run
from training.services import metrics
from training.services.metrics import Measured

pytestmark = [pytest.mark.bench, pytest.mark.django_db]

RUNS = 100
PROMISED = 1500.0  # ms


def best(work: Callable[[], Any], times: int = 5) -> tuple[float, float]:
    """Milliseconds of the quickest of several goes, and of the CPU of the cheapest."""
    walls, spent = [], []
    for _ in range(times):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - wall)
        spent.append(time.process_time() - cpu)
    return min(walls) * 1000, min(spent) * 1000


def filled(project: Project, points: int) -> list[int]:
    """A hundred distillations of one dataset: eight training series of so many points, six of
    validation with fifty, settings that differ."""
    first = make.distillation(project)
    found = [first.number]
    for place in range(RUNS - 1):
        run = make.run(
            project,
            dataset_version=first.dataset_version,
            student=first.student,
            status=Run.Status.FINISHED,
            summary=first.summary | {"best_value": 0.5 + place / 300},
            started_at=first.started_at,
            finished_at=first.finished_at,
        )
        run.config |= {
            "teachers": ["big@1"],
            "losses": [
                {"kind": "soft_targets", "weight": 0.9, "temperature": 1.0 + place % 9},
                {"kind": "hard_labels", "weight": 0.1 * (1 + place % 7)},
            ],
            "training": run.config["training"]
            | {"learning_rate": 10 ** -(1 + place % 5), "epochs": 1 + place % 4, "seed": place},
        }
        names = [f"train/{name}" for name in ("loss", "hard_labels", "soft_targets", "share",
                 "weight", "learning_rate", "samples_per_second", "gradient")]  # fmt: skip
        measured = [
            Measured(name, step, 1 / (1 + step) + place, 1.7e9 + step)
            for step in range(points)
            for name in names
        ]
        every = max(1, points // 50)
        measured += [
            Measured(f"val/{name}", step, 0.9 - 1 / (1 + step), 1.7e9 + step)
            for step in range(0, points, every)
            for name in ("accuracy", "macro_f1", "loss", "agreement", "kl", "ece")
        ]
        run.metrics = metrics.append(run, measured) | {
            "test/accuracy": 0.8,
            "teacher/val/accuracy": 0.9,
        }
        run.save()
        found.append(run.number)
    return found


@pytest.mark.parametrize("points", [500, 5000])
def test_a_hundred_runs(alice: User, project: Project, points: int) -> None:
    numbers = ",".join(map(str, filled(project, points)))
    client, api = Client(), api_of(alice)
    client.force_login(alice)
    page = f"/p/{project.slug}/compare/?runs={numbers}"
    rest = f"/api/v1/projects/{project.slug}/compare/"
    print()
    for tab in ("table", "curves", "relations", "configuration"):
        for base in ("", "&base=1"):
            report(f"{points} points, {tab}{base}", client, f"{page}&tab={tab}{base}")
    for x in ("time", "epoch"):
        report(f"{points} points, curves over {x}", client, f"{page}&tab=curves&x={x}")
    report(f"{points} points, REST", api, f"{rest}?runs={numbers}")
    names = "train/loss,val/accuracy"
    report(f"{points} points, REST curves", api, f"{rest}curves/?runs={numbers}&names={names}")
    table = f"/p/{project.slug}/runs/"
    report(f"{points} points, table of runs", client, table)
    report(f"{points} points, laid out", client, f"{table}?group=config.training.epochs&pin=1")


def report(what: str, client: Any, address: str) -> None:
    size = 0

    def ask() -> None:
        nonlocal size
        response = client.get(address)
        assert response.status_code == 200
        size = len(response.content)

    wall, spent = best(ask)
    share = 100 * wall / PROMISED
    print(
        f"{what:<44} {wall:7.0f} ms, {spent:6.0f} ms of CPU, {size / 1000:6.0f} kB, "
        f"{share:4.0f} % of what is promised"
    )
