"""DistillHub's own processes, started as people start them, on free ports and in a home of their
own; ended by pid."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE = 90.0  # seconds; a loaded machine of two cores takes its time


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def until(
    true: Callable[[], Any], *, seconds: float = PATIENCE, what: Callable[[], str] = lambda: ""
) -> Any:
    """The first true answer; fails with `what()` after `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := true():
            return answer
        time.sleep(0.05)
    raise AssertionError(f"not true after {seconds:.0f} s. {what()}")


def clean_environment(home: Path, **more: str) -> dict[str, str]:
    """This process's environment without what belongs to the tests."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DISTILLHUB_", "DJANGO_", "PYTEST_", "SITE_", "SECRET_"))
    }
    return kept | {"OMP_NUM_THREADS": "1", "DISTILLHUB_HOME": str(home)} | more


def family(home: Path) -> list[psutil.Process]:
    """Every living process that works on `home`: ours by environment, training by its job."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            ours = process.environ().get("DISTILLHUB_HOME") == str(home)
            if ours or any(str(home) in part for part in process.cmdline()):
                found.append(process)
    return found


class Command:
    """One `distillhub` process, its output in a file."""

    def __init__(self, home: Path, *arguments: str, env: Mapping[str, str] | None = None) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home = home
        self.output = home.with_name(f"{home.name}-{arguments[0]}-{time.monotonic_ns()}.log")
        with self.output.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "distillhub.cli", *arguments],
                cwd=ROOT,
                env=dict(env) if env is not None else clean_environment(home),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self.output.read_text()

    def until_said(self, pattern: str) -> re.Match[str]:
        def look() -> re.Match[str] | None:
            found = re.search(pattern, self.said)
            if found is None and self.process.poll() is not None:
                raise AssertionError(f"It ended with {self.process.returncode}: {self.said}")
            return found

        found: re.Match[str] = until(look, what=lambda: self.said)
        return found

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=60)

    def end(self) -> None:
        """Whatever happened: nothing of it stays."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.stop()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for process in family(self.home):
            with contextlib.suppress(psutil.Error):
                process.kill()


class Up(Command):
    """`distillhub up` on a home of its own."""

    def __init__(self, home: Path, *arguments: str, port: int | None = None) -> None:
        super().__init__(
            home, "up", "--home", str(home), "--port", str(port or free_port()), *arguments
        )

    def ready(self) -> "Up":
        self.until_said(r"Ctrl-C stops everything")
        return self

    @property
    def address(self) -> str:
        return self.until_said(r"Address +(\S+)").group(1)

    @property
    def link(self) -> str:
        return self.until_said(r"Sign in +(\S+)").group(1)


@contextlib.contextmanager
def ended(*commands: Command) -> Iterator[None]:
    try:
        yield
    finally:
        for command in commands:
            command.end()


def ask(
    address: str,
    path: str = "/",
    *,
    token: str = "",
    body: Any = None,
    form: Mapping[str, Any] | None = None,
    request_id: str = "",
) -> tuple[int, Any]:
    """Status and decoded body; JSON bodies both ways, `form` as multipart (bytes are files)."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if request_id:
        headers["X-Request-ID"] = request_id
    content = None
    if form is not None:
        content, headers["Content-Type"] = _multipart(form)
    elif body is not None:
        content, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
    request = urllib.request.Request(address + path, data=content, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            status, raw = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, raw = error.code, error.read()
    with contextlib.suppress(ValueError):
        return status, json.loads(raw)
    return status, raw.decode(errors="replace")


def _multipart(form: Mapping[str, Any]) -> tuple[bytes, str]:
    boundary = "distillhub-tests-boundary"
    parts = []
    for name, value in form.items():
        file = f'; filename="{value[0]}"' if isinstance(value, tuple) else ""
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
        content = value[1] if isinstance(value, tuple) else str(value).encode()
        parts.append(head.encode() + content + b"\r\n")
    return b"".join(
        parts
    ) + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def make_token(home: Path, env: Mapping[str, str] | None = None) -> str:
    """`distillhub create-token ada --create`: the token is alone on the last line."""
    made = subprocess.run(
        [sys.executable, "-m", "distillhub.cli", "create-token", "ada", "--create"],
        cwd=ROOT,
        env=dict(env) if env is not None else clean_environment(home),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return made.stdout.splitlines()[-1]
