"""`distillhub up`: one process that starts the others, keeps them alive, and ends them all.

It stays small (no Django) and single-threaded: one loop over pipes, signals and timers. It owns
the listening socket, so a web process that is started again loses no port and no waiting visitor.
Each child's output goes to its own rotating file in the home folder's `logs`.

SIGUSR2 replaces every process by a new one, one after the other: a new web process listens on the
same socket before the old one is asked to leave, so no visitor is refused.
"""

import contextlib
import errno
import fcntl
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from distillhub.lib import processes

STOP_GRACE = 12.0  # seconds until SIGKILL: a run in training needs one step and a checkpoint
QUICK = 2.0  # seconds of it that a web process gets to answer what it has begun
LONGEST_PAUSE = 30.0  # seconds between two starts of a child that keeps ending
HEALTHY_AFTER = 60.0  # seconds of life after which earlier deaths are forgotten
LOG_BYTES = 5 << 20
LOGS_KEPT = 3
PORTS_TRIED = 100


class CannotStart(Exception):
    """A sentence for the person at the terminal."""


# The home folder ------------------------------------------------------------------------------


class HomeLock:
    """At most one supervisor per home folder. The kernel frees the lock with the process."""

    def __init__(self, home: Path) -> None:
        self.file = (home / "up.lock").open("a+")
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            with self.file:
                raise CannotStart(self._who(home)) from None

    def _who(self, home: Path) -> str:
        self.file.seek(0)
        with contextlib.suppress(ValueError, KeyError):
            told = json.load(self.file)
            return (
                f"DistillHub already runs in {home}: {told['address']} (process {told['pid']}). "
                "Stop it first, or start this one with another --home."
            )
        return f"DistillHub already runs in {home}. Stop it, or use another --home."

    def tell(self, address: str, restarts: int = 0) -> None:
        told = {"pid": os.getpid(), "address": address, "restarts": restarts}
        self.file.truncate(0)
        self.file.write(json.dumps(told))
        self.file.flush()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket on `port`, or on the next free one. Raises CannotStart."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in range(port, min(port + PORTS_TRIED, 65536)):
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, candidate))
            sock.listen(256)
        except PermissionError:
            sock.close()
            raise CannotStart(
                f"Port {candidate} needs more rights; choose one above 1023."
            ) from None
        except OSError as error:
            sock.close()
            if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
                raise CannotStart(f"This machine has no address {host}.") from None
            continue
        return sock
    raise CannotStart(f"No port is free between {port} and {candidate}; choose one with --port.")


class RollingLog:
    """A child's output, at most LOG_BYTES a file, LOGS_KEPT older files; the last lines are kept
    in memory to be shown when it ends."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.file: IO[bytes] = path.open("ab")
        self.tail: deque[bytes] = deque(maxlen=15)

    def write(self, piece: bytes) -> None:
        self.tail.extend(piece.splitlines())
        with contextlib.suppress(OSError):  # a full disk must not stop the supervisor
            if self.file.tell() > LOG_BYTES:
                self._roll()
            self.file.write(piece)
            self.file.flush()

    def _roll(self) -> None:
        self.file.close()
        for number in range(LOGS_KEPT, 0, -1):
            older = self.path.with_suffix(f".{number}.log")
            newer = self.path.with_suffix(f".{number - 1}.log") if number > 1 else self.path
            if newer.exists():
                newer.replace(older)
        self.file = self.path.open("ab")


# Children -------------------------------------------------------------------------------------


@dataclass(eq=False)
class Child:
    name: str
    arguments: Sequence[str]  # after `distillhub`
    log: RollingLog
    pass_fds: tuple[int, ...] = ()
    once: bool = False  # started when all others are ready, and not again
    process: subprocess.Popen[bytes] | None = None
    is_ready: bool = False
    started_at: float = 0.0
    deaths: int = 0  # in a row
    start_at: float = field(default=0.0)  # not before (monotonic seconds)

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None


class Supervisor:
    def __init__(self, home: Path, say: Callable[[str], None]) -> None:
        self.home = home
        self.say = say
        self.children: list[Child] = []
        self.selector = selectors.DefaultSelector()
        self.stopping = 0  # how many times a person or the system asked
        self.restart_asked = False
        self.beside: list[Child] = []  # during a restart: who comes, who leaves

    def add(self, name: str, arguments: Sequence[str], *pass_fds: int) -> None:
        log = RollingLog(self.home / "logs" / f"{name}.log")
        self.children.append(Child(name, arguments, log, pass_fds))

    def add_once(self, name: str, arguments: Sequence[str]) -> None:
        """A command to run in the background when everything is ready."""
        log = RollingLog(self.home / "logs" / f"{name}.log")
        self.children.append(Child(name, arguments, log, once=True))

    def watch_signals(self) -> None:
        """SIGINT, SIGTERM and SIGHUP stop, SIGUSR2 restarts; the end of a child wakes the loop."""
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        os.set_blocking(reading, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._asked_to_stop)
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup
            signal.signal(signal.SIGHUP, self._asked_to_stop)
        signal.signal(signal.SIGUSR2, self._asked_to_restart)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        self.selector.register(reading, selectors.EVENT_READ, self._drain)

    def _asked_to_stop(self, number: int, frame: object) -> None:
        self.stopping += 1

    def _asked_to_restart(self, number: int, frame: object) -> None:
        self.restart_asked = True

    def _drain(self, fd: int) -> None:
        with contextlib.suppress(OSError):
            os.read(fd, 4096)

    def once(self, arguments: Sequence[str]) -> tuple[int, str]:
        """Run a command of ours to its end, or until asked to stop: its status and output."""
        process = subprocess.Popen(
            _command(arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env=os.environ | {processes.PARENT_PID: str(os.getpid())},
            start_new_session=True,
        )
        assert process.stdout is not None
        pieces: list[bytes] = []

        def keep(fd: int) -> None:
            piece = os.read(fd, 1 << 16)
            pieces.append(piece)
            if not piece:
                self.selector.unregister(fd)

        with process.stdout as output:
            self.selector.register(output.fileno(), selectors.EVENT_READ, keep)
            while not self.stopping and not (pieces and pieces[-1] == b""):
                self._wait(None)
            if self.stopping:
                process.kill()
        return process.wait(), b"".join(pieces).decode(errors="replace")

    def run(self, *, on_ready: Callable[[], None], on_restart: Callable[[], None]) -> int:
        """Keep the children until asked to stop; the exit status for the shell."""
        told = False
        restart: Iterator[None] = iter(())
        try:
            while not self.stopping:
                self._keep_alive(told)
                self._wait(self._next_pause())
                next(restart, None)
                if told and self.restart_asked and not self.beside:
                    self.restart_asked = False
                    restart = self._restart(on_restart)
                    next(restart, None)
                if not told and all(one.is_ready or one.once for one in self.children):
                    told = True
                    on_ready()
                    self._keep_alive(told)
        finally:
            self.stop()
        return 0

    def _keep_alive(self, all_were_ready: bool) -> None:
        now = time.monotonic()
        for child in list(self.children):
            is_leaving = child in self.beside
            if child.is_alive or is_leaving or (child.once and not all_were_ready):
                continue
            if child.process is not None and child.once:
                self._finished(child)
            elif child.process is not None:
                self._buried(child, all_were_ready)
            elif now >= child.start_at:
                self._start(child)

    def _restart(self, done: Callable[[], None]) -> Iterator[None]:
        """Replace one process after the other; continued whenever something happened."""
        for old in [child for child in self.children if not child.once]:
            new = Child(old.name, old.arguments, old.log, old.pass_fds)
            self.beside = [old, new]
            if old.pass_fds:  # both can listen at the socket that we hold
                self._start(new)
                while not new.is_ready:
                    if not new.is_alive:
                        self.say(f"The new {new.name} process cannot start; the old one stays.")
                        self.say(f"Its log: {new.log.path}")
                        self.beside = []
                        return
                    yield
            if old.process is not None and old.is_alive:
                old.process.terminate()
                while old.is_alive:
                    yield
            self.children[self.children.index(old)] = new
            self.beside = []
            if new.process is None:
                self._start(new)
            while not new.is_ready:  # one that ends now is started again like any other
                yield
        self.say("Every process was replaced by a new one.")
        done()

    def _finished(self, child: Child) -> None:
        assert child.process is not None
        self.children.remove(child)
        if child.process.returncode != 0:
            self.say(f"The {child.name} did not come about; its log: {child.log.path}")

    def _buried(self, child: Child, all_were_ready: bool) -> None:
        """A child ended that nobody asked to end: note it, and when to try again."""
        assert child.process is not None
        self._wait(0)  # what it wrote last
        status = child.process.returncode
        lived = time.monotonic() - child.started_at
        child.process, child.is_ready = None, False
        child.deaths = 1 if lived > HEALTHY_AFTER else child.deaths + 1
        if not all_were_ready and child.deaths >= 3:
            last = b"\n".join(child.log.tail).decode(errors="replace")
            raise CannotStart(f"{last}\n\nThe {child.name} process cannot start (see above).")
        pause = min(LONGEST_PAUSE, 2.0 ** (child.deaths - 1))
        child.start_at = time.monotonic() + pause
        how = f"by signal {-status}" if status < 0 else f"with status {status}"
        self.say(
            f"The {child.name} process ended {how}; starting it again in {pause:.0f} s. "
            f"Its log: {child.log.path}"
        )

    def _start(self, child: Child) -> None:
        ready, ready_end = os.pipe()
        output, output_end = os.pipe()
        environment = os.environ | {
            processes.PARENT_PID: str(os.getpid()),
            processes.READY_FD: str(ready_end),
            "PYTHONUNBUFFERED": "1",
        }
        child.process = subprocess.Popen(
            _command(child.arguments),
            stdin=subprocess.DEVNULL,
            stdout=output_end,
            stderr=output_end,
            env=environment,
            pass_fds=(ready_end, *child.pass_fds),
            start_new_session=True,  # a Ctrl-C in the terminal reaches the supervisor alone
        )
        os.close(ready_end)
        os.close(output_end)
        child.started_at = time.monotonic()
        self.selector.register(ready, selectors.EVENT_READ, lambda fd: self._ready(child, fd))
        self.selector.register(output, selectors.EVENT_READ, lambda fd: self._log(child, fd))

    def _ready(self, child: Child, fd: int) -> None:
        child.is_ready = os.read(fd, 64).startswith(b"ready") or child.is_ready
        self._forget(fd)

    def _log(self, child: Child, fd: int) -> None:
        piece = os.read(fd, 1 << 16)
        if piece:
            child.log.write(piece)
        else:
            self._forget(fd)

    def _forget(self, fd: int) -> None:
        self.selector.unregister(fd)
        os.close(fd)

    def _next_pause(self) -> float | None:
        """Seconds the loop may sleep; None while every child lives."""
        waiting = [
            one.start_at
            for one in self.children
            if not (one.is_alive or one.once or one in self.beside)
        ]
        return max(0.0, min(waiting) - time.monotonic()) if waiting else None

    def _wait(self, seconds: float | None) -> None:
        for key, _ in self.selector.select(seconds):
            key.data(key.fd)

    # The end ----------------------------------------------------------------------------------

    def stop(self) -> None:
        """SIGTERM to every child, a grace for runs to save themselves (cut short by a second
        Ctrl-C), then SIGKILL to whatever is left of their process trees."""
        asked = self.stopping
        everyone = {id(child): child for child in [*self.children, *self.beside]}
        alive = [child for child in everyone.values() if child.is_alive]
        families = _descendants([child.process.pid for child in alive if child.process])
        for child in alive:
            assert child.process is not None
            child.process.terminate()
        end = time.monotonic() + STOP_GRACE
        hurried = False
        while any(child.is_alive for child in alive):
            left = end - time.monotonic()
            if left < STOP_GRACE - QUICK and not hurried:
                hurried = True
                self._hurry(alive)
            if left <= 0 or self.stopping > max(1, asked):
                break
            self._wait(min(left, 0.2))
        families |= _descendants([child.process.pid for child in alive if child.process])
        for child in alive:
            assert child.process is not None
            if child.is_alive:
                child.process.kill()
            child.process.wait()
        _kill(families)
        self._wait(0)

    def _hurry(self, alive: Sequence[Child]) -> None:
        """A web process that is asked a second time drops what it has not answered."""
        for child in alive:
            if child.process is not None and child.pass_fds and child.is_alive:
                child.process.send_signal(signal.SIGINT)


def _command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "distillhub.cli", *arguments]


def _descendants(pids: list[int]) -> dict[int, float]:
    """Every process below `pids`, with its time of birth, by which a reused pid is told apart."""
    import psutil  # noqa: PLC0415 - 8 MB that an idle supervisor need not hold

    found = {}
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            for process in psutil.Process(pid).children(recursive=True):
                found[process.pid] = process.create_time()
    return found


def _kill(family: dict[int, float]) -> None:
    import psutil  # noqa: PLC0415

    for pid, born in family.items():
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            if process.create_time() == born:
                process.kill()
