"""Real PostgreSQL and Redis, from Debian's packages, on loopback ports and in folders of their own;
ended by pid."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.site.processes import free_port, until


def _binary(name: str) -> str:
    """On the PATH, or where Debian keeps PostgreSQL's."""
    found = shutil.which(name) or next(
        (str(path) for path in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))), None
    )
    if found is None:
        pytest.skip(f"{name} is not on this machine (make test installs it)")
    return found


def _as_nobody_special(folder: Path) -> list[str]:
    """PostgreSQL refuses to run as root: its folder and process are then the user postgres's."""
    if os.geteuid() != 0:
        return []
    shutil.chown(folder, "postgres")
    return [
        *("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"),
        "--pdeathsig=QUIT",  # whoever is killed takes its server along
    ]


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """Its address as DATABASE_URL has it. Its folder is not pytest's, which keeps others out."""
    with tempfile.TemporaryDirectory(prefix="distillhub-postgres-") as folder:
        yield from _serve_postgres(Path(folder))


def _serve_postgres(folder: Path) -> Iterator[str]:
    initdb, server = _binary("initdb"), _binary("postgres")
    become = _as_nobody_special(folder)
    port, rows = free_port(), folder / "rows"
    subprocess.run(
        [
            *become,
            initdb,
            "-D",
            rows,
            "-U",
            "distillhub",
            "--auth=trust",
            "--no-sync",
            "-E",
            "UTF8",
        ],
        check=True,
        capture_output=True,
        cwd=folder,
    )
    # Quick rather than safe: these rows live for one test.
    options = ["-c", "fsync=off", "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=60"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*become, server, "-D", rows, "-p", str(port), "-k", folder, *options],
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        ready = "ready to accept connections"
        until(lambda: ready in (folder / "log").read_text())
        subprocess.run(
            [_binary("createdb"), "-h", "127.0.0.1", "-p", str(port), "-U", "distillhub", "hub"],
            check=True,
        )
        yield f"postgres://distillhub@127.0.0.1:{port}/hub"
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def redis(folder: Path) -> Iterator[str]:
    """Its address as REDIS_URL has it."""
    server = _binary("redis-server")
    folder.mkdir(parents=True)
    port = free_port()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        until(lambda: "Ready to accept connections" in (folder / "log").read_text())
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(timeout=20)


@contextlib.contextmanager
def s3(folder: Path) -> Iterator[str]:
    """Its address as S3_ENDPOINT_URL has it: moto's server, which keeps buckets in memory."""
    folder.mkdir(parents=True)
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        until(lambda: "Running on" in (folder / "log").read_text())
        yield address
    finally:
        process.terminate()
        process.wait(timeout=20)
