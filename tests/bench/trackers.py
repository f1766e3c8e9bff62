"""The servers that tests/bench/tracking.py measures, and what all of them hold."""

import http.client
import json
import math
import os
import random
import signal
import sqlite3
import subprocess
import time
import urllib.parse
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.site.processes import ROOT, free_port, until

RUNS = 10_000
LONG = 100_000  # points of the long run's metric
METRICS = (
    "train/loss", "val/loss", "val/accuracy", "val/macro_f1", "val/agreement", "val/kl",
    "train/learning_rate", "test/accuracy",
)  # fmt: skip
STEPS = range(100, 600, 100)
SETTINGS = ("optimizer", "schedule", "seed", "batch_size", "epochs", "warmup", "decay", "clip")
NOW = 1_790_000_000.0
PAGE = 100  # runs in an answer
BATCH = 1000  # points sent at once
FIRST = 1_000_000  # step of the points that are sent

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


def value_at(step: int) -> float:
    return math.exp(-step / 30_000) + 0.05 * math.sin(step / 40)


class Server:
    name: str
    process: subprocess.Popen[bytes]
    connection: http.client.HTTPConnection
    headers: Mapping[str, str] = {}
    used_at = 0.0
    sent = 0  # points

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

    def next_points(self, count: int) -> Iterator[tuple[int, float, float]]:
        """Step, value and time of points that were not sent before."""
        self.sent += count
        for step in range(FIRST + self.sent - count, FIRST + self.sent):
            yield step, value_at(step), NOW + step

    def fill(self) -> None:
        raise NotImplementedError


LONG_ID = "f" * 32  # of the run with many points


class Peer(Server):
    """Either of the two that speak MLflow's protocol."""

    api = "/api/2.0/mlflow"
    interval = "/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval"
    experiment = "0"

    def requests(self) -> Sequence[Asked]:
        long = LONG_ID

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
            self.log(BATCH, "1 000 points"),
            self.log(1, "one point"),
            Asked("history, thinned", "GET", f"{self.interval}?{urllib.parse.urlencode(query)}"),
        ]

    def log(self, count: int, what: str) -> Asked:
        metrics = [
            {"key": "logged", "value": value, "timestamp": int(at * 1000), "step": step}
            for step, value, at in self.next_points(count)
        ]
        path = "log-batch" if count > 1 else "log-metric"
        body = {"metrics": metrics} if count > 1 else metrics[0]
        return Asked(what, "POST", f"{self.api}/runs/{path}", {"run_id": LONG_ID, **body})

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
        long = LONG_ID
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
