"""What is there before anybody looks: many runs that have ended, one with a million points, some
in training, and people who have signed in.

    python -m tests.load.installation RUNS POINTS LIVE VIEWERS

Straight into the tables of the home that the environment names; prints one line of JSON.
"""

import json
import math
import os
import random
import sys
from datetime import timedelta
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "distillhub.settings")
django.setup()

import numpy as np  # noqa: E402
from django.db import transaction  # noqa: E402
from django.test import Client  # noqa: E402
from django.utils import timezone  # noqa: E402

from distillhub.lib import planner  # noqa: E402
from projects.models import Membership, Project, Role, User  # noqa: E402
from projects.services import accounts  # noqa: E402
from tests import make  # noqa: E402
from training.models import MetricChunk, MetricSeries, Run  # noqa: E402
from training.models.metric import Points  # noqa: E402
from training.worker import metrics  # noqa: E402

LONG = 1_000_000  # points of one run's metric
SERIES = (
    "train/loss", "train/soft_targets", "train/learning_rate", "val/loss", "val/accuracy",
    "val/macro_f1", "val/agreement", "val/kl",
)  # fmt: skip
AT_ONCE = 200  # runs written together
PIECE = 20_000  # points written together
QUEUE = "load"


def fill(*, runs: int, points: int, live: int, viewers: int) -> dict[str, Any]:
    """`points` are those of each series of a run, at most as many as a chunk holds."""
    owner = User.objects.create_user("owner", "owner@example.org")
    project = make.project("load", owner=owner)
    first = make.run(project, name="long", **_ended())
    for begin in range(0, runs, AT_ONCE):
        with transaction.atomic():
            _write(first, range(begin + 2, min(runs, begin + AT_ONCE) + 2), points)
    _measure(first)
    # A queue of their own, so that the worker that is really there leaves them alone.
    worker = make.worker("load:1", queues=[QUEUE], capacity=max(1, live))
    shared = {"dataset_version": first.dataset_version, "student": first.student, "queue": QUEUE}
    training = [make.run(project, number=runs + 2 + place, **shared) for place in range(live)]
    planner.refresh()
    _, token = accounts.create_token(user=owner, name="load", scope="write")
    return {
        "runs": runs,
        "points": LONG + runs * len(SERIES) * points,
        "long": first.number,
        "live": [run.number for run in training],
        "ids": [run.pk for run in training],
        "worker": worker.pk,
        "token": token,
        "sessions": [_session(_viewer(project)) for _ in range(viewers)],
    }


def _ended() -> dict[str, Any]:
    now = timezone.now()
    return {
        "status": Run.Status.FINISHED,
        "step": 500,
        "steps": 500,
        "fraction": 1.0,
        "started_at": now - timedelta(minutes=5),
        "finished_at": now,
    }


def _write(like: Run, numbers: range, points: int) -> None:
    """Runs of these numbers, each with its settings, its curves and what came of it."""
    rows = []
    for number in numbers:
        chance = random.Random(number)
        setting = {
            "learning_rate": chance.choice((1e-3, 5e-4)),
            "optimizer": chance.choice(("adamw", "sgd")),
        }
        rows.append(
            Run(
                project=like.project,
                number=number,
                name=f"run {number}",
                task=like.task,
                dataset_version=like.dataset_version,
                student=like.student,
                created_by=like.created_by,
                queued_at=like.queued_at,
                config={**like.config, "training": {**like.config["training"], **setting}},
                metrics={name: round(chance.random(), 6) for name in SERIES},
                summary={"headline": "accuracy", "steps": 500, "seconds": 300.0},
                **_ended(),
            )
        )
    Run.objects.bulk_create(rows)
    series = [
        MetricSeries(
            run=run,
            project=like.project,
            name=name,
            count=points,
            last_step=points * 10,
            last_value=value,
        )
        for run in rows
        for name, value in run.metrics.items()
    ]
    MetricSeries.objects.bulk_create(series)
    chunks = []
    steps = np.arange(1, points + 1) * 10
    times = timezone.now().timestamp() + steps / 10
    for row in series:
        assert row.last_value is not None
        chunk = MetricChunk(series=row, index=0)
        chunk.points = Points(steps, row.last_value + np.exp(-steps / 200), times)
        chunks.append(chunk)
    MetricChunk.objects.bulk_create(chunks)


def _measure(run: Run) -> None:
    """A million points, as a worker writes them."""
    for begin in range(0, LONG, PIECE):
        metrics.append(
            run,
            [
                metrics.Measured("train/loss", step, _value(step), 1.79e9 + step / 10)
                for step in range(begin, begin + PIECE)
            ],
        )


def _value(step: int) -> float:
    return math.exp(-step / 300_000) + 0.05 * math.sin(step / 400)


def _viewer(project: Project) -> User:
    person = make.user()
    Membership.objects.create(project=project, user=person, role=Role.VIEWER)
    return person


def _session(person: User) -> str:
    client = Client()
    client.force_login(person)
    return str(client.session.session_key)


if __name__ == "__main__":
    runs, points, live, viewers = map(int, sys.argv[1:])
    print(json.dumps(fill(runs=runs, points=points, live=live, viewers=viewers)))
