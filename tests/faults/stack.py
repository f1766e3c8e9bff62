"""A whole installation as processes on free ports: database, broker, web, scheduler and workers, in
a folder of its own. Whatever is killed is killed by its pid."""

import contextlib
import io
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import psycopg

from tests.site.processes import (
    PATIENCE,
    ROOT,
    Command,
    ask,
    clean_environment,
    family,
    free_port,
    make_token,
    until,
)
from tests.site.servers import Postgres, Redis

JSON = dict[str, Any]
PROJECT = "/api/v1/projects/faults"
LEASE = 9  # seconds; people have 45, and a test has not
EVERY = 20  # steps from one checkpoint to the next
OVER = {"finished", "failed", "cancelled"}
SIGN_IN = """
import django
django.setup()
from projects.models import User
from projects.services import accounts
print(accounts.make_sign_in_link(user=User.objects.get(username="ada")))
"""

#: About two seconds of a processor's time, in which every random moment is another step.
CONFIGURATION: JSON = {
    "task": "text-classification",
    "dataset": "orders@1",
    "student": "bag@1",
    "control": False,
    "training": {
        "epochs": 20,
        "batch_size": 8,
        "learning_rate": 0.01,
        "checkpoint_every_steps": EVERY,
        "seed": 7,
    },
}


def table(rows: int = 240) -> bytes:
    """Sentences of made-up words, one of which is the label."""
    chance = np.random.default_rng(0)
    words = [f"{a}{b}{c}" for a in "bdfgklmn" for b in "aeiou" for c in "prstvwxz"]
    out = io.StringIO()
    out.write("text,label\n")
    for row in range(rows):
        label = ("cancel", "pay", "refund")[row % 3]
        said = [*chance.choice(words, size=int(chance.integers(6, 14))), label]
        out.write(f"{' '.join(chance.permutation(said))} {row},{label}\n")
    return out.getvalue().encode()


class Worker(Command):
    """One worker process. `home` is the installation's unless it is a machine of its own."""

    def __init__(
        self,
        stack: "Stack",
        *,
        queues: str = "default",
        home: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.options = {"queues": queues, "home": home, "settings": settings}
        at = home or stack.home
        beat = [] if stack.beat_alone else ["--beat"]
        env = stack.environment(at) | dict(settings or {})
        super().__init__(at, "worker", "--queues", queues, *beat, env=env)

    def ready(self) -> "Worker":
        self.until_said(r"celery.apps.worker: \S+ ready")
        return self

    @property
    def pid(self) -> int:
        return self.process.pid

    def kill(self) -> None:
        """SIGKILL, as the kernel or the loss of power does it."""
        self.process.kill()
        self.process.wait()

    def send(self, number: int) -> None:
        self.process.send_signal(number)


class Stack:
    """`database` and `broker` are servers, or None for SQLite and a folder of messages, with the
    scheduler inside the worker as `distillhub up` has it."""

    def __init__(
        self,
        folder: Path,
        *,
        database: Postgres | None = None,
        broker: Redis | None = None,
        settings: Mapping[str, str] | None = None,
        web_processes: int = 1,
    ) -> None:
        self.folder, self.home = folder, folder / "home"
        self.database, self.broker = database, broker
        self.beat_alone = broker is not None
        self.address = f"http://127.0.0.1:{free_port()}"
        self.settings = dict(settings or {})
        self.web_processes = web_processes
        self.workers: list[Worker] = []
        self.others: list[Command] = []
        self.token = ""
        self._browser: urllib.request.OpenerDirector | None = None

    def environment(self, home: Path | None = None) -> dict[str, str]:
        told = {
            "SITE_URL": self.address,
            "LOG_LEVEL": "INFO",
            "DISTILLHUB_LEASE_SECONDS": str(LEASE),
            "DISTILLHUB_IDLE_TRANSACTION_SECONDS": str(LEASE),
            "DISTILLHUB_MAX_RUNS": "1",
            "DISTILLHUB_RUN_THREADS": "1",
        }
        if self.database is not None:
            told["DATABASE_URL"] = self.database.address
        if self.broker is not None:
            told["REDIS_URL"] = self.broker.address
        return clean_environment(home or self.home, **told | self.settings)

    def start(self, workers: Sequence[JSON]) -> "Stack":
        """Everything, with a project, rows to learn from, and a student; of each worker its
        options."""
        self.command("migrate")
        self.open(workers)
        self.token = make_token(self.home, self.environment())
        self._furnish()
        return self

    def open(self, workers: Sequence[JSON]) -> None:
        """Every process, on what is there."""
        port = self.address.rsplit(":", 1)[1]
        self.web = self.run("web", "--port", port, "--processes", str(self.web_processes))
        if self.beat_alone:
            self.beat = self.run("beat")
        for options in workers:
            self.add_worker(**options)
        until(self.answers, what=lambda: self.web.said)
        for worker in self.workers:
            worker.ready()

    def lose(self) -> None:
        """All processes at once, as the power goes."""
        for command in [*self.workers, *self.others]:
            command.process.kill()
        for command in [*self.workers, *self.others]:
            command.process.wait()
        until(lambda: family(self.home) == [])
        self.workers.clear()
        self.others.clear()

    def run(self, *arguments: str) -> Command:
        command = Command(self.home, *arguments, env=self.environment())
        self.others.append(command)
        return command

    def add_worker(self, **options: Any) -> Worker:
        worker = Worker(self, **options)
        self.workers.append(worker)
        return worker

    def replace(self, worker: Worker) -> Worker:
        """Another in the place of one that ended."""
        self.workers.remove(worker)
        return self.add_worker(**worker.options).ready()

    def retire(self, worker: Worker) -> None:
        """It leaves; all others stay."""
        worker.stop()
        self.workers.remove(worker)

    def command(self, *arguments: str) -> str:
        """What a command says that ends by itself, and well."""
        command = Command(self.home, *arguments, env=self.environment())
        assert command.process.wait(timeout=180) == 0, command.said
        return command.said

    def end(self) -> None:
        for command in [*self.workers, *self.others]:
            with contextlib.suppress(ProcessLookupError):
                command.process.send_signal(signal.SIGCONT)
                command.process.terminate()
        for command in [*self.workers, *self.others]:
            command.end()

    # -- what people and programs do -------------------------------------------------------------

    def ask(self, path: str, **content: Any) -> tuple[int, Any]:
        return ask(self.address, path, token=self.token, **content)

    def get(self, path: str) -> Any:
        status, answer = self.ask(path)
        assert status == 200, answer
        return answer

    def post(self, path: str, body: Any = None, **content: Any) -> Any:
        content = content or {"body": body or {}}
        status, answer = self.ask(path, **content)
        assert status in (200, 201), answer
        return answer

    def page(self, path: str) -> tuple[int, str]:
        """Status and text of a page, as somebody sees it who is signed in."""
        if self._browser is None:
            done = subprocess.run(
                [sys.executable, "-c", SIGN_IN],
                cwd=ROOT,
                env=self.environment() | {"DJANGO_SETTINGS_MODULE": "distillhub.settings"},
                capture_output=True,
                text=True,
                check=True,
                timeout=60,
            )
            self._browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
            link = f"{self.address}/sign-in/link/{done.stdout.split()[-1]}/"
            self._browser.open(link, timeout=60).close()
        try:
            with self._browser.open(self.address + path, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def answers(self) -> bool:
        try:
            return self.ask("/readyz")[0] == 200
        except OSError:
            return False

    def launch(self, **changes: Any) -> "Watched":
        """`training` is laid over key by key."""
        training = CONFIGURATION["training"] | changes.pop("training", {})
        made = self.post(f"{PROJECT}/runs/", CONFIGURATION | changes | {"training": training})
        return Watched(self, made["number"])

    def _furnish(self) -> None:
        self.post("/api/v1/projects/", {"name": "Faults"})
        self.add_dataset("orders", "text-classification", "orders.csv", table())
        self.add_model("bag", "text-classification", "bag_of_embeddings", {"dim": 64})

    def add_dataset(self, name: str, task: str, file: str, content: bytes, **how: str) -> None:
        """`how` it is read, as the form has it."""
        form = {"name": name, "task": task, "file": (file, content)} | how
        self.post(f"{PROJECT}/datasets/", form=form)
        self.until_ready(f"{PROJECT}/datasets/{name}/versions/1/")

    def add_model(
        self, name: str, task: str, architecture: str, config: JSON, role: str = "student"
    ) -> None:
        source = {"kind": "architecture", "architecture": architecture, "config": config}
        body = {"name": name, "role": role, "task": task, "source": source}
        self.post(f"{PROJECT}/models/", body)
        self.until_ready(f"{PROJECT}/models/{name}/versions/1/")

    def until_ready(self, path: str) -> None:
        def look() -> bool:
            found = self.get(path)
            assert found["status"] != "failed", found
            return bool(found["status"] == "ready")

        until(look)

    # -- what lies beneath -----------------------------------------------------------------------

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """What the database holds; `?` for values."""
        if self.database is not None:
            with psycopg.connect(self.database.address.replace("postgres:", "postgresql:")) as link:
                return link.execute(query.replace("?", "%s").encode(), values).fetchall()
        file = f"file:{self.home / 'distillhub.sqlite3'}?mode=ro"
        with contextlib.closing(sqlite3.connect(file, uri=True, timeout=30)) as link:
            return link.execute(query, values).fetchall()

    def engines(self) -> list[psutil.Process]:
        """The trainings that live, wherever."""
        found = []
        for home in {self.home, *(worker.home for worker in self.workers)}:
            for process in family(home):
                with contextlib.suppress(psutil.Error):
                    if "training.engine" in process.cmdline():
                        found.append(process)
        return found

    def strangers(self) -> list[psutil.Process]:
        """Processes that nobody here has started, or whose worker is gone."""
        ours = {one.process.pid for one in [*self.workers, *self.others]}
        found = []
        for home in {self.home, *(worker.home for worker in self.workers)}:
            for process in family(home):
                with contextlib.suppress(psutil.Error):
                    above = {process.pid, *(one.pid for one in process.parents())}
                    if not above & ours:
                        found.append(process)
        return found


class Watched:
    """A run of a stack."""

    def __init__(self, stack: Stack, number: int) -> None:
        self.stack, self.number = stack, number
        self.path = f"{PROJECT}/runs/{number}"
        [(self.pk,)] = stack.rows(
            "SELECT training_run.id FROM training_run JOIN projects_project "
            "ON projects_project.id = project_id WHERE slug = 'faults' AND number = ?",
            number,
        )

    def __str__(self) -> str:
        with contextlib.suppress(Exception):
            return f"run {self.number}: {self.status}, {json.dumps(self.timeline, indent=1)}"
        return f"run {self.number}"

    def read(self) -> JSON:
        found: JSON = self.stack.get(f"{self.path}/")
        return found

    def column(self, name: str) -> Any:
        [(value,)] = self.stack.rows(f"SELECT {name} FROM training_run WHERE id = ?", self.pk)
        return value

    @property
    def status(self) -> str:
        return str(self.column("status"))

    @property
    def timeline(self) -> list[str]:
        query = "SELECT sentence FROM training_runevent WHERE run_id = ? ORDER BY id"
        return [str(sentence) for (sentence,) in self.stack.rows(query, self.pk)]

    @property
    def console(self) -> str:
        lines = self.stack.get(f"{self.path}/logs/?limit=5000")["lines"]
        return "\n".join(line["text"] for line in lines)

    def cancel(self) -> tuple[int, Any]:
        return self.stack.ask(f"{self.path}/cancel/", body={})

    # -- while it trains -------------------------------------------------------------------------

    @property
    def worker(self) -> Worker:
        """Which of ours has it."""
        query = (
            "SELECT pid FROM training_worker JOIN training_run "
            "ON training_worker.id = worker_id WHERE training_run.id = ?"
        )

        def look() -> Worker | None:
            pids = {pid for (pid,) in self.stack.rows(query, self.pk)}
            return next((one for one in self.stack.workers if one.pid in pids), None)

        found: Worker = until(look, what=self.__str__)
        return found

    def folder(self) -> Path:
        """Its job folder, where it lies."""
        homes = {self.stack.home, *(worker.home for worker in self.stack.workers)}
        folders = [home / "jobs" / str(self.pk) for home in homes]
        return max(folders, key=lambda one: _changed(one / "journal.jsonl"))

    def child(self) -> int:
        """The pid of the training, once it is there."""

        def look() -> int | None:
            with contextlib.suppress(OSError, ValueError, psutil.Error):
                pid = int(json.loads((self.folder() / "child.json").read_text())["pid"])
                if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                    return pid
            assert self.status not in OVER, str(self)
            return None

        found: int = until(look, what=self.__str__)
        return found

    def journal(self) -> list[JSON]:
        """Every whole line that the training has told."""
        try:
            text = (self.folder() / "journal.jsonl").read_text()
        except OSError:
            return []
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def until_told(self, true: Any, *, seconds: float = PATIENCE) -> JSON:
        """The first line of the journal of which this is true. The rows lag behind by a second."""
        found: JSON = until(
            lambda: next((line for line in self.journal() if true(line)), None),
            seconds=seconds,
            what=self.__str__,
        )
        return found

    def until_step(self, step: int) -> None:
        self.until_told(lambda line: line["type"] == "measured" and line["step"] >= step)

    def until_checkpoint(self, step: int) -> None:
        """One at this step or later."""
        self.until_told(
            lambda line: (
                line["type"] == "saved" and line["kind"] == "checkpoint" and line["step"] >= step
            )
        )

    def until_over(self, *, seconds: float = PATIENCE) -> str:
        def over() -> bool:
            time.sleep(0.2)  # a look is a connection of its own
            return self.status in OVER

        until(over, seconds=seconds, what=self.__str__)
        return self.status

    def kill_child(self) -> int:
        """The training by SIGKILL; its pid."""
        pid = self.child()
        os.kill(pid, signal.SIGKILL)
        return pid


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def send(
    stack: Stack, path: str, body: Any = None, method: str | None = None, **headers: str
) -> tuple[int, Mapping[str, str], bytes]:
    """Status, headers and content; 0 where nobody answers."""
    headers |= {"Authorization": f"Bearer {stack.token}", "Content-Type": "application/json"}
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(stack.address + path, content, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()
    except OSError:
        return 0, {}, b""


@contextlib.contextmanager
def started(stack: Stack, workers: Sequence[JSON] = ({},)) -> Iterator[Stack]:
    try:
        yield stack.start(workers)
    finally:
        stack.end()
        left = [one for one in family(stack.home) if one.pid != os.getpid()]
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        assert left == []


def steps_in(sentence: str) -> list[int]:
    return [int(number) for number in re.findall(r"step (\d+)", sentence)]


def after(seconds: float) -> None:
    """A moment later: the fault is what is waited for, and nobody tells when it is the worst."""
    time.sleep(seconds)


@contextlib.contextmanager
def visited(stack: Stack, run: Watched) -> Iterator[list[tuple[int, str | None]]]:
    """Somebody looks at pages and at REST all the time: what each answer was, and what it said of
    when to come back."""
    answers: list[tuple[int, str | None]] = []
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.1):
            for path in (f"{run.path}/", "/readyz", "/sign-in/"):
                status, headers, _ = send(stack, path)
                answers.append((status, headers.get("Retry-After")))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield answers
    finally:
        over.set()
        thread.join()
    assert psutil.pid_exists(stack.web.process.pid)
