"""Real PostgreSQL, PgBouncer and Redis, from Debian's packages, on loopback ports and in folders of
their own; ended by pid."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from tests.site.processes import free_port, until


def _binary(name: str) -> str:
    """On the PATH, or where Debian keeps servers."""
    elsewhere = [
        *sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}")),
        Path("/usr/sbin", name),
    ]
    found = shutil.which(name) or next((str(path) for path in elsewhere if path.exists()), None)
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


class Server(ABC):
    """A server on a port and in a folder of its own, which can be killed and started again."""

    ready: ClassVar[str]  # what its log says when it answers

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.log = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None
        self.surroundings: dict[str, str] = {}  # environment variables besides the ordinary ones

    @property
    @abstractmethod
    def address(self) -> str: ...

    @abstractmethod
    def command(self) -> list[str]: ...

    def start(self) -> None:
        """Until it answers. What a killed one left may hold the next one up for a moment."""
        until(self._started, what=self.log.read_text)

    def kill(self) -> None:
        """As when the power goes."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.kill()

    def _started(self) -> bool:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                env=os.environ | self.surroundings,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        process = self.process
        until(lambda: self.ready in self.log.read_text() or process.poll() is not None)
        return process.poll() is None


class Postgres(Server):
    ready = "ready to accept connections"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.become = _as_nobody_special(folder)
        made = [*self.become, _binary("initdb"), "-D", str(folder / "rows"), "-U", "distillhub"]
        made += ["--auth=trust", "--no-sync", "-E", "UTF8"]
        subprocess.run(made, check=True, capture_output=True, cwd=folder)
        self.start()
        here = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "distillhub"]
        subprocess.run([_binary("createdb"), *here, "hub"], check=True)

    @property
    def address(self) -> str:
        return f"postgres://distillhub@127.0.0.1:{self.port}/hub"

    def command(self) -> list[str]:
        # Quick rather than safe: these rows live for one test.
        options = ["-c", "fsync=off", "-c", "listen_addresses=127.0.0.1", "-c"]
        where = ["-D", str(self.folder / "rows"), "-p", str(self.port), "-k", str(self.folder)]
        return [*self.become, _binary("postgres"), *where, *options, "max_connections=60"]


class PgBouncer(Server):
    """Lends few connections to PostgreSQL, each for one transaction."""

    ready = "process up"

    def __init__(self, folder: Path, behind: Postgres, connections: int) -> None:
        super().__init__(folder)
        self.become = _as_nobody_special(folder)
        server = f"host=127.0.0.1 port={behind.port} dbname=hub user=distillhub"
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "any",
            "pool_mode": "transaction",
            "default_pool_size": connections,
            "log_connections": 0,
            "log_disconnections": 0,
        }
        lines = ["[databases]", f"hub = {server}", "[pgbouncer]"]
        lines += [f"{name} = {value}" for name, value in settings.items()]
        (folder / "pgbouncer.ini").write_text("\n".join(lines))
        self.start()

    @property
    def address(self) -> str:
        return f"postgres://distillhub@127.0.0.1:{self.port}/hub?pgbouncer=true"

    def command(self) -> list[str]:
        return [*self.become, _binary("pgbouncer"), str(self.folder / "pgbouncer.ini")]


class Redis(Server):
    """It keeps nothing: started again, it is empty."""

    ready = "Ready to accept connections"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        folder.mkdir(parents=True)
        self.start()

    @property
    def address(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        where = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        return [_binary("redis-server"), *where, "--save", ""]


@contextlib.contextmanager
def postgres_server() -> Iterator[Postgres]:
    """Its folder is not pytest's, which keeps others out."""
    with tempfile.TemporaryDirectory(prefix="distillhub-postgres-") as folder:
        server = Postgres(Path(folder))
        try:
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def pgbouncer_server(behind: Postgres, *, connections: int = 4) -> Iterator[PgBouncer]:
    with tempfile.TemporaryDirectory(prefix="distillhub-pgbouncer-") as folder:
        server = PgBouncer(Path(folder), behind, connections)
        try:
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[Redis]:
    server = Redis(folder)
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """Its address as DATABASE_URL has it."""
    with postgres_server() as server:
        yield server.address


@contextlib.contextmanager
def redis(folder: Path) -> Iterator[str]:
    """Its address as REDIS_URL has it."""
    with redis_server(folder) as server:
        yield server.address


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
