"""Numbers for Prometheus in its text format, and the latency of requests over all web processes of
a machine (docs/decisions/0019-prometheus.md).

Each process counts into a small file that it maps into memory and holds a lock on; whoever is asked
adds up the files of its machine. What a process counted that has ended is added to one file, so
that no counter ever falls.
"""

import contextlib
import fcntl
import ipaddress
import mmap
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from django.conf import settings
from django.http import HttpRequest, HttpResponse

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = Mapping[str, str]


@dataclass
class Family:
    """Samples of one name. `kind` is gauge, counter or histogram."""

    name: str
    kind: str
    told: str
    samples: list[tuple[str, Labels, float]] = field(default_factory=list)

    def add(self, value: float, *, suffix: str = "", **labels: str) -> None:
        self.samples.append((suffix, labels, value))


def text(families: Iterable[Family]) -> str:
    return "".join(line + "\n" for family in families for line in _lines(family))


def _lines(family: Family) -> Iterator[str]:
    yield f"# HELP {family.name} {_escaped(family.told)}"
    yield f"# TYPE {family.name} {family.kind}"
    for suffix, labels, value in family.samples:
        told = ",".join(f'{name}="{_escaped(one, quoted=True)}"' for name, one in labels.items())
        yield f"{family.name}{suffix}{{{told}}} {value:.17g}"


def _escaped(words: str, *, quoted: bool = False) -> str:
    words = words.replace("\\", r"\\").replace("\n", r"\n")
    return words.replace('"', r"\"") if quoted else words


# Who may read them ----------------------------------------------------------------------------


def is_allowed(request: HttpRequest) -> bool:
    """By the token, or by the address of whoever is connected. What a proxy hands on has the
    proxy's address, so it counts for nobody's."""
    token = settings.METRICS_TOKEN
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if token and scheme.lower() == "bearer":
        return secrets.compare_digest(given.strip().encode(), token.encode())
    if any(name in request.headers for name in ("Forwarded", "X-Forwarded-For", "X-Real-IP")):
        return False
    try:
        address = ipaddress.ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:  # a socket file
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return any(mapped in ipaddress.ip_network(net) for net in settings.METRICS_ALLOW)


# Latency --------------------------------------------------------------------------------------

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds
KINDS = ("page", "rest")
METHODS = ("read", "write")
STATUSES = ("2xx", "3xx", "4xx", "5xx")
CELL = len(BOUNDS) + 2  # a count for each bucket and for what is slower, and the sum of seconds
BYTES = 8 * CELL * len(KINDS) * len(METHODS) * len(STATUSES)

ENDED = "ended"
Answer = Callable[[HttpRequest], HttpResponse]


class Tally:
    """This process's counts, in a file of `folder`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        with _alone(folder):  # nobody finds it before it is held
            name = folder / f"{os.getpid()}-{time.time_ns()}"
            self.handle = os.open(name, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self.handle, fcntl.LOCK_EX)
            os.ftruncate(self.handle, BYTES)
        self.map = mmap.mmap(self.handle, BYTES)
        self.numbers = memoryview(self.map).cast("d")
        self.lock = threading.Lock()

    def note(self, kind: str, method: str, status: int, seconds: float) -> None:
        place = KINDS.index(kind) * len(METHODS) + METHODS.index(method)
        place = (place * len(STATUSES) + min(max(status // 100, 2), 5) - 2) * CELL
        bucket = next((at for at, most in enumerate(BOUNDS) if seconds <= most), len(BOUNDS))
        with self.lock:
            self.numbers[place + bucket] += 1
            self.numbers[place + CELL - 1] += seconds

    def close(self) -> None:
        """What was counted stays, as that of a process that has ended."""
        with self.lock:
            self.numbers.release()
            self.map.close()
            os.close(self.handle)


_tally: Tally | None = None
_opening = threading.Lock()


def _folder() -> Path:
    """Of this machine: a folder that several machines mount holds one for each."""
    return Path(settings.DISTILLHUB_HOME) / "metrics" / socket.gethostname()


def tally() -> Tally:
    global _tally
    with _opening:
        if _tally is None or _tally.folder != _folder():
            if _tally is not None:
                _tally.close()
            _tally = Tally(_folder())
        return _tally


class LatencyMiddleware:
    """Counts how long answers to pages and REST take. A full disk never fails a request."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        began = time.perf_counter()
        response = self.get_response(request)
        seconds = time.perf_counter() - began
        if request.path_info not in settings.PROBES:
            kind = "rest" if request.path_info.startswith("/api/") else "page"
            method = "read" if request.method in {"GET", "HEAD", "OPTIONS"} else "write"
            with contextlib.suppress(OSError, ValueError):  # or its home is another by now
                tally().note(kind, method, response.status_code, seconds)
        return response


def latency() -> Family:
    """Of all web processes of this machine, those that have ended included."""
    family = Family(
        "distillhub_http_request_seconds",
        "histogram",
        "Time until an answer began, by kind, method and status.",
    )
    numbers = _added_up(_folder())
    cells = iter(numbers[at : at + CELL] for at in range(0, len(numbers), CELL))
    for kind in KINDS:
        for method in METHODS:
            for status in STATUSES:
                *counts, seconds = next(cells)
                if not sum(counts):
                    continue
                labels = {"kind": kind, "method": method, "status": status}
                so_far = 0.0
                for bound, count in zip([*map(str, BOUNDS), "+Inf"], counts, strict=True):
                    so_far += count
                    family.add(so_far, suffix="_bucket", **labels, le=bound)
                family.add(seconds, suffix="_sum", **labels)
                family.add(so_far, suffix="_count", **labels)
    return family


def _added_up(folder: Path) -> Sequence[float]:
    total = [0.0] * (BYTES // 8)
    if not folder.is_dir():
        return total
    with _alone(folder):
        gone: list[Path] = []
        dead = _read(folder / ENDED)
        for path in folder.iterdir():
            if path.name in {ENDED, ".lock"} or path.name.startswith(".part"):
                continue
            into = total
            if not _is_held(path):
                gone.append(path)
                into = dead
            for at, number in enumerate(_read(path)):
                into[at] += number
        if gone:
            part = folder / ".part"
            part.write_bytes(_doubles(dead))
            part.replace(folder / ENDED)
            for path in gone:
                path.unlink()
    return [one + other for one, other in zip(total, dead, strict=True)]


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One at a time adds a file, or moves what the dead have counted."""
    with (folder / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read(path: Path) -> list[float]:
    """What a file holds; noughts where it is missing or of another version of ours."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raw = b""
    return list(memoryview(raw).cast("d")) if len(raw) == BYTES else [0.0] * (BYTES // 8)


def _doubles(numbers: Sequence[float]) -> bytes:
    packed = memoryview(bytearray(BYTES)).cast("d")
    for at, number in enumerate(numbers):
        packed[at] = number
    return packed.tobytes()


def _is_held(path: Path) -> bool:
    """Whether the process that counts there lives: the kernel frees the lock of a dead one."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
