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

Points are not sent through REST here: the product has no such endpoint yet.
"""

import argparse
import http.client
import json
import math
import os
import random
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.site import servers
from tests.site.processes import ROOT, clean_environment, free_port, until

RUNS = 10_000
LONG = 100_000  # points of the long run's metric
METRICS = (
    "train/loss", "val/loss", "val/accuracy", "val/macro_f1", "val/agreement", "val/kl",
    "train/learning_rate", "test/accuracy",
)  # fmt: skip
STEPS = range(100, 600, 100)
SETTINGS = ("optimizer", "schedule", "seed", "batch_size", "epochs", "warmup", "decay", "clip")
NOW = 1_790_000_000.0
TIMES = 12
FEW = 3  # of what takes seconds
PAGE = 100  # runs in an answer

Values = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Made:
    """A run as every server is to hold it."""

    number: int
    optimizer: str
    learning_rate: float
    latest: Values


def runs() -> Iterator[Made]:
    chance = random.Random(0)
    for number in range(1, RUNS + 1):
        latest = {name: round(chance.random(), 6) for name in METRICS}
        yield Made(number, chance.choice(("adamw", "sgd")), chance.choice((1e-3, 5e-4)), latest)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request; `follow` reads what it must be asked next from its answer."""

    what: str
    method: str
    path: str
    body: Any = None
    follow: Callable[[Any], "Asked | None"] | None = None


class Server:
    name: str
    process: subprocess.Popen[bytes]
    connection: http.client.HTTPConnection
    headers: Mapping[str, str] = {}
    used_at = 0.0

    def __init__(self, folder: Path, database: str) -> None:
        self.folder, self.database, self.port = folder, database, free_port()
        folder.mkdir()

    def command(self) -> Sequence[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return {**os.environ, "OMP_NUM_THREADS": "1"}

    def begin(self) -> None:
        log = (self.folder / "log").open("wb")
        self.process = subprocess.Popen(
            self.command(),
            env=self.environment(),
            cwd=self.folder if self.name != "DistillHub" else ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        until(self.answers, seconds=180, what=lambda: (self.folder / "log").read_text()[-2000:])
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)

    def answers(self) -> bool:
        with suppress(OSError):
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            connection.request("GET", "/")
            connection.getresponse().read()
            connection.close()
            return True
        return False

    def end(self) -> None:
        family = [self.process.pid, *(one.pid for one in self.family())]
        self.process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=10)
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def family(self) -> list[psutil.Process]:
        with suppress(psutil.Error):
            parent = psutil.Process(self.process.pid)
            return [parent, *parent.children(recursive=True)]
        return []

    def ask(self, asked: Asked | None) -> Any:
        """The answer to a request and to all that follow it."""
        answer = None
        while asked is not None:
            body = None if asked.body is None else json.dumps(asked.body)
            kind = {} if body is None else {"Content-Type": "application/json"}
            response, content = self.send(asked, body, {**self.headers, **kind})
            assert response.status == 200, (self.name, asked, response.status, content[:500])
            is_json = "json" in (response.getheader("Content-Type") or "")
            answer = json.loads(content) if is_json else content
            asked = asked.follow(answer) if asked.follow else None
        return answer

    def send(
        self, asked: Asked, body: str | None, headers: Mapping[str, str]
    ) -> tuple[http.client.HTTPResponse, bytes]:
        if time.monotonic() - self.used_at > 2:  # servers close what is idle for seconds
            self.connection.close()
        self.connection.request(asked.method, asked.path, body=body, headers=dict(headers))
        response = self.connection.getresponse()
        content = response.read()
        self.used_at = time.monotonic()
        return response, content

    def requests(self) -> Sequence[Asked]:
        raise NotImplementedError

    def fill(self) -> None:
        raise NotImplementedError


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
        ]


class Peer(Server):
    """Either of the two that speak MLflow's protocol."""

    api = "/api/2.0/mlflow"
    interval = "/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval"
    experiment = "0"

    def requests(self) -> Sequence[Asked]:
        long = "f" * 32

        def search(what: str, **body: Any) -> Asked:
            whole = {"experiment_ids": [self.experiment], "max_results": PAGE, **body}
            return Asked(what, "POST", f"{self.api}/runs/search", whole)

        def history(token: str = "") -> Asked:
            query = {"run_id": long, "run_uuid": long, "metric_key": "train/loss"}
            query |= {"max_results": "25000"} | ({"page_token": token} if token else {})
            path = f"{self.api}/metrics/get-history?{urllib.parse.urlencode(query)}"
            return Asked("history", "GET", path, follow=following)

        def following(answer: Any) -> Asked | None:
            token = answer.get("next_page_token")
            return history(token) if token else None

        metric, order = "metrics.`val/accuracy`", ["metrics.`val/accuracy` DESC"]
        query = {"run_ids": long, "metric_key": "train/loss", "max_results": "1000"}
        return [
            search(
                "filter and order",
                filter=f"{metric} > 0.5 and params.optimizer = 'adamw'",
                order_by=order,
            ),
            search("order by a metric", order_by=order),
            search("filter by a metric", filter=f"{metric} > 0.9"),
            search("newest"),
            history(),
            Asked("history, thinned", "GET", f"{self.interval}?{urllib.parse.urlencode(query)}"),
        ]

    def tables(self) -> Iterator[tuple[str, str, list[tuple[Any, ...]]]]:
        """Rows for the tables: a table, its columns, the rows."""
        made: dict[str, list[tuple[Any, ...]]] = {"runs": [], "params": [], "points": []}
        latest: list[tuple[Any, ...]] = []
        for run in runs():
            key = uuid.UUID(int=run.number).hex
            made["runs"].append((key, f"run {run.number}", int(NOW * 1000) + run.number))
            settings = {"optimizer": run.optimizer, "learning_rate": str(run.learning_rate)}
            settings |= dict.fromkeys(SETTINGS[1:], "1")
            made["params"] += [(name, value, key) for name, value in settings.items()]
            for name, value in run.latest.items():
                made["points"] += [(name, value, int(NOW) * 1000, key, step) for step in STEPS[:-1]]
                made["points"].append((name, value, int(NOW) * 1000, key, STEPS[-1]))
                latest.append((name, value, int(NOW) * 1000, key, STEPS[-1]))
        long = "f" * 32
        made["runs"].append((long, "long", int(NOW * 1000)))
        made["points"] += [
            ("train/loss", value_at(step), int(NOW * 1000) + step, long, step)
            for step in range(LONG)
        ]
        latest.append(("train/loss", value_at(LONG - 1), int(NOW * 1000) + LONG, long, LONG - 1))
        yield from self.rows(made["runs"], made["params"], made["points"], latest)

    def rows(
        self,
        runs: list[tuple[Any, ...]],
        params: list[tuple[Any, ...]],
        points: list[tuple[Any, ...]],
        latest: list[tuple[Any, ...]],
    ) -> Iterator[tuple[str, str, list[tuple[Any, ...]]]]:
        raise NotImplementedError

    def fill(self) -> None:
        """Straight into the tables that the server has made."""
        self.begin()
        self.end()
        if self.database:
            import psycopg

            with psycopg.connect(self.database) as connection:
                for table, columns, rows in self.tables():
                    with connection.cursor().copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
                        for row in rows:
                            copy.write_row(row)
                connection.commit()
                connection.execute("ANALYZE")
            return
        lite = sqlite3.connect(self.folder / "db")
        for table, columns, rows in self.tables():
            marks = ",".join("?" * len(rows[0]))
            lite.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", rows)
        lite.commit()
        lite.execute("ANALYZE")
        lite.close()


class MLflow(Peer):
    name = "MLflow"

    def __init__(self, folder: Path, database: str, program: str) -> None:
        super().__init__(folder, database)
        self.program = program

    def environment(self) -> dict[str, str]:
        path = f"{Path(self.program).parent}:{os.environ['PATH']}"
        return {**super().environment(), "PATH": path}

    def command(self) -> Sequence[str]:
        store = self.database.replace("postgres://", "postgresql://", 1)
        store = store or f"sqlite:///{self.folder / 'db'}"
        where = ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        artifacts = ["--default-artifact-root", str(self.folder / "artifacts")]
        return [self.program, "server", "--backend-store-uri", store, *where, *artifacts]

    def rows(
        self,
        runs: list[tuple[Any, ...]],
        params: list[tuple[Any, ...]],
        points: list[tuple[Any, ...]],
        latest: list[tuple[Any, ...]],
    ) -> Iterator[tuple[str, str, list[tuple[Any, ...]]]]:
        columns = "run_uuid, name, start_time, end_time, status, lifecycle_stage, user_id"
        columns += ", experiment_id, artifact_uri, source_type"
        yield (
            "runs",
            columns,
            [(*run, run[2], "FINISHED", "active", "me", 0, "x", "LOCAL") for run in runs],
        )
        yield "params", "key, value, run_uuid", params
        yield (
            "metrics",
            "key, value, timestamp, run_uuid, step, is_nan",
            [(*point, False) for point in points],
        )
        yield (
            "latest_metrics",
            "key, value, timestamp, run_uuid, step, is_nan",
            [(*point, False) for point in latest],
        )


class FastTrackML(Peer):
    name = "FastTrackML"

    def __init__(self, folder: Path, database: str, program: str) -> None:
        super().__init__(folder, database)
        self.program = program

    def command(self) -> Sequence[str]:
        store = self.database or f"sqlite://{self.folder / 'db'}"
        store += "?sslmode=disable" if self.database else ""
        where = ["--listen-address", f"127.0.0.1:{self.port}", "--database-uri", store]
        return [
            self.program, "server", *where, "--default-artifact-root", str(self.folder / "files"),
        ]  # fmt: skip

    def requests(self) -> Sequence[Asked]:
        return [asked for asked in super().requests() if asked.what != "history, thinned"]

    def rows(
        self,
        runs: list[tuple[Any, ...]],
        params: list[tuple[Any, ...]],
        points: list[tuple[Any, ...]],
        latest: list[tuple[Any, ...]],
    ) -> Iterator[tuple[str, str, list[tuple[Any, ...]]]]:
        columns = "run_uuid, name, start_time, end_time, status, lifecycle_stage, user_id"
        columns += ", experiment_id, artifact_uri, source_type, row_num"
        yield (
            "runs",
            columns,
            [
                (*run, run[2], "FINISHED", "active", "me", 0, "x", "LOCAL", place)
                for place, run in enumerate(runs)
            ],
        )
        yield "params", "key, value_str, run_uuid", params
        columns = "key, value, timestamp, run_uuid, step, is_nan, iter, context_id"
        yield "metrics", columns, [(*point, 0, point[4], 1) for point in points]
        columns = columns.replace("iter", "last_iter")
        yield "latest_metrics", columns, [(*point, 0, point[4], 1) for point in latest]


def value_at(step: int) -> float:
    return math.exp(-step / 30_000) + 0.05 * math.sin(step / 40)


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

    _, secret = accounts.create_token(user=project.created_by, name="bench", scope="read")
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
        times = FEW if what == "history" else TIMES
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
