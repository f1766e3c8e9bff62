"""Finding runs and reading what they measured, beside MLflow's server and FastTrackML.

    python -m tests.bench.tracking --mlflow /tmp/mlflow/bin/mlflow --fasttrackml /tmp/fml/bin/fml
    python -m tests.bench.tracking --database postgres --mlflow … --fasttrackml …

Each in an environment of its own: `pip install mlflow psycopg2-binary`, `pip install fasttrackml`.
What is not named is left out.

Every server holds the same: 10 000 runs with ten settings and eight metrics of five points, and
one run with 100 000 points of a metric, written straight into its tables. One server process each;
requests take turns between the servers. Wall clock of a request on a kept connection, and CPU time
of the server's processes, those of PostgreSQL included; ours asks for a token, theirs for nothing.
FastTrackML has no thinned history. Medians; of the CPU, whose clock ticks coarsely, means.

Points are sent through REST to a run of their own: a thousand in a request, and one.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from tests.bench.trackers import (
    BATCH,
    LONG,
    NOW,
    RUNS,
    SETTINGS,
    STEPS,
    Asked,
    FastTrackML,
    MLflow,
    Server,
    runs,
    value_at,
)
from tests.site import servers
from tests.site.processes import ROOT, clean_environment

TIMES = 12
OFTEN = {"history": 3, "1 000 points": 40, "one point": 200}


class Ours(Server):
    name = "DistillHub"

    def environment(self) -> dict[str, str]:
        address = f"http://127.0.0.1:{self.port}"
        more = {"SITE_URL": address, "LOG_LEVEL": "WARNING"}
        if self.database:
            more["DATABASE_URL"] = self.database
        return clean_environment(self.folder, **more)

    def command(self) -> Sequence[str]:
        return [sys.executable, "-m", "distillhub.cli", "web", "--port", str(self.port)]

    def cli(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def fill(self) -> None:
        self.cli("distillhub.cli", "migrate")
        told = self.cli("tests.bench.tracking", "fill-ours").splitlines()
        token, session = told[-2:]
        self.headers = {"Authorization": f"Bearer {token}"}
        self.cookie = f"distillhub_session={session}"
        self.cli("distillhub.cli", "migrate")

    def requests(self) -> Sequence[Asked]:
        at = "/api/v1/projects/bench/runs/"

        def search(**query: str) -> str:
            return f"{at}?{urllib.parse.urlencode(query)}"

        both = "metrics.val/accuracy > 0.5 and config.training.optimizer = adamw"
        history = f"{at}{RUNS + 1}/metrics/?names=train/loss&max_points="
        return [
            Asked("filter and order", "GET", search(filter=both, order="-metrics.val/accuracy")),
            Asked("order by a metric", "GET", search(order="-metrics.val/accuracy")),
            Asked("filter by a metric", "GET", search(filter="metrics.val/accuracy > 0.9")),
            Asked("newest", "GET", at),
            Asked("history", "GET", f"{history}{LONG}"),
            Asked("history, thinned", "GET", f"{history}1000"),
            self.log(BATCH, "1 000 points"),
            self.log(1, "one point"),
        ]

    def log(self, count: int, what: str) -> Asked:
        points = [
            {"name": "logged", "value": value, "time": at, "step": step}
            for step, value, at in self.next_points(count)
        ]
        path = f"/api/v1/projects/bench/runs/{RUNS + 2}/metrics/"
        return Asked(what, "POST", path, {"points": points})


# Ours, filled in a process of its own ----------------------------------------------------------


def fill_ours() -> None:
    """Prints a token and a session on its last two lines."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "distillhub.settings"
    import django

    django.setup()
    from django.db import transaction

    with transaction.atomic():
        project = _project()
        _write_runs(project)
    print(_token(project))
    print(_session(project))


def _project() -> Any:
    from projects.models import User
    from tests import make

    owner = User.objects.create_user("bench", "bench@example.org", uuid.uuid4().hex)
    return make.project("bench", owner=owner)


def _token(project: Any) -> str:
    from projects.services import accounts

    _, secret = accounts.create_token(user=project.created_by, name="bench", scope="write")
    return str(secret)


def _session(project: Any) -> str:
    from django.test import Client

    client = Client()
    client.force_login(project.created_by)
    return str(client.session.session_key)


def _write_runs(project: Any) -> None:
    from datetime import UTC, datetime, timedelta

    import numpy as np
    from django.utils import timezone

    from tests import make
    from training.models import MetricChunk, MetricSeries, Run
    from training.models.metric import Points
    from training.worker import metrics

    version, student = make.dataset_version(project, "texts"), make.model_version(project, "tiny")
    first = make.run(project, number=RUNS + 1, dataset_version=version, student=student)
    now = timezone.now()
    rows = []
    for made in runs():
        training = {**first.config["training"], "optimizer": made.optimizer}
        training |= {"learning_rate": made.learning_rate} | dict.fromkeys(SETTINGS[1:], 1)
        rows.append(
            Run(
                project=project,
                number=made.number,
                name=f"run {made.number}",
                status="finished",
                task=first.task,
                dataset_version=version,
                student=student,
                created_by=project.created_by,
                config={**first.config, "training": training},
                metrics=dict(made.latest),
                step=500,
                steps=500,
                fraction=1.0,
                created_at=now,
                started_at=now - timedelta(minutes=5),
                finished_at=now,
                summary={"headline": "accuracy", "steps": 500, "seconds": 300.0},
            )
        )
    Run.objects.bulk_create(rows, batch_size=200)
    extra = {"project": project} if hasattr(MetricSeries, "project") else {}
    series = [
        MetricSeries(
            run=run, name=name, count=len(STEPS), last_step=STEPS[-1], last_value=value, **extra
        )
        for run in rows
        for name, value in run.metrics.items()
    ]
    MetricSeries.objects.bulk_create(series, batch_size=500)
    chunks = []
    for row in series:
        chunk = MetricChunk(series=row, index=0)
        times = np.full(len(STEPS), datetime.now(UTC).timestamp())
        chunk.points = Points(np.array(STEPS), np.full(len(STEPS), row.last_value), times)
        chunks.append(chunk)
    MetricChunk.objects.bulk_create(chunks, batch_size=500)
    for begin in range(0, LONG, 20_000):
        measured = [
            metrics.Measured("train/loss", step, value_at(step), NOW + step / 10)
            for step in range(begin, begin + 20_000)
        ]
        metrics.append(first, measured)
    make.tracked(project, number=RUNS + 2)


# Measuring --------------------------------------------------------------------------------------


def cpu(processes: Sequence[psutil.Process]) -> float:
    spent = 0.0
    for process in processes:
        with suppress(psutil.Error):
            times = process.cpu_times()
            spent += times.user + times.system
    return spent


def beside(database: str) -> list[psutil.Process]:
    """PostgreSQL's processes that work for this database, its own children included."""
    if not database:
        return []
    port = str(urllib.parse.urlsplit(database).port)
    found = []
    for process in psutil.process_iter(["name", "cmdline"]):
        line = process.info["cmdline"] or []
        if process.info["name"] == "postgres" and "-p" in line and port in line:
            found += [process, *process.children(recursive=True)]
    return found


def measure(stack: Sequence[Server]) -> Iterator[tuple[str, dict[str, tuple[float, float]]]]:
    """Milliseconds of wall clock and of CPU for each request of each server."""
    for what in [asked.what for asked in stack[0].requests()]:
        can = [one for one in stack if what in {asked.what for asked in one.requests()}]
        wall: dict[str, list[float]] = {one.name: [] for one in can}
        used = dict.fromkeys(wall, 0.0)
        times = OFTEN.get(what, TIMES)
        for turn in range(times + 1):
            for one in can:
                asked = next(asked for asked in one.requests() if asked.what == what)
                workers = [*one.family(), *beside(one.database)]
                before, began = cpu(workers), time.perf_counter()
                one.ask(asked)
                took = time.perf_counter() - began
                if turn:  # the first fills caches
                    wall[one.name].append(took)
                    used[one.name] += cpu([*one.family(), *beside(one.database)]) - before
        yield (
            what,
            {
                name: (statistics.median(took) * 1000, used[name] / times * 1000)
                for name, took in wall.items()
            },
        )


def pages(ours: Ours) -> None:
    """The page that people see: p50 and p95 of the server's answer, and its CPU."""
    addresses = [
        "", "?page=100", "?order=-score", "?order=-validation", "?order=duration", "?q=run+77",
        "?status=finished", "?order=-loss&page=3",
    ]  # fmt: skip
    for address in addresses:
        took, before = [], cpu([*ours.family(), *beside(ours.database)])
        for _ in range(20):
            began = time.perf_counter()
            ours.connection.request(
                "GET", f"/p/bench/runs/{address}", headers={"Cookie": ours.cookie}
            )
            response = ours.connection.getresponse()
            body = response.read()
            assert response.status == 200, (response.status, body[:300])
            took.append((time.perf_counter() - began) * 1000)
        used = (cpu([*ours.family(), *beside(ours.database)]) - before) / 20 * 1000
        took.sort()
        print(
            f"  page of runs {address or 'as it opens':24} p50 {took[9]:6.0f} ms"
            f"   p95 {took[18]:6.0f} ms   CPU {used:6.0f} ms"
        )


@contextmanager
def databases(kind: str, count: int) -> Iterator[list[str]]:
    """Addresses of `count` PostgreSQL servers, or of none."""
    with ExitStack() as stack:
        yield [stack.enter_context(servers.postgres()) if kind else "" for _ in range(count)]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", nargs="?", default="measure")
    parser.add_argument("--mlflow", default="")
    parser.add_argument("--fasttrackml", default="")
    parser.add_argument("--database", choices=["sqlite", "postgres"], default="sqlite")
    options = parser.parse_args()
    if options.what == "fill-ours":
        fill_ours()
        return
    kind = options.database if options.database == "postgres" else ""
    peers = [(MLflow, options.mlflow), (FastTrackML, options.fasttrackml)]
    peers = [(made, program) for made, program in peers if program]
    with (
        tempfile.TemporaryDirectory() as folder,
        databases(kind, 1 + len(peers)) as addresses,
        ExitStack() as running,
    ):
        ours = Ours(Path(folder) / "ours", addresses[0])
        stack: list[Server] = [ours]
        for (made, program), address in zip(peers, addresses[1:], strict=True):
            stack.append(made(Path(folder) / made.name, address, program))
        for one in stack:
            began = time.perf_counter()
            one.fill()
            one.begin()
            running.callback(one.end)
            print(f"{one.name} filled in {time.perf_counter() - began:.0f} s", flush=True)
        print(f"\n{RUNS:,} runs, {options.database}, load {os.getloadavg()[0]:.1f}; ms: wall, CPU")
        for what, each in measure(stack):
            figures = "".join(
                f"   {name} {took:7.1f} {used:7.1f}" for name, (took, used) in each.items()
            )
            mine = each[ours.name][1]
            ratios = "".join(
                f"   {used / max(mine, 0.1):5.1f} x"
                for name, (_, used) in each.items()
                if name != ours.name
            )
            print(f"  {what:20}{figures}{ratios}", flush=True)
        pages(ours)
        print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
