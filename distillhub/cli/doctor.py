"""`distillhub doctor`: is everything there that DistillHub needs, and if not, what to do."""

import argparse
import json
import os
import platform
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path

import django

django.setup()

from django.conf import settings
from django.core import checks
from django.core.files.storage import default_storage
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from kombu.exceptions import OperationalError

from distillhub.celery import app
from distillhub.checks import TAG
from distillhub.cli import backup as backups
from distillhub.lib import secrets, storage
from distillhub.supervisor import CannotStart
from projects.services import api_keys, webhook_secrets
from training.services import alert_channels

GIB = 1 << 30
FREE_NEEDED = 2 * GIB
MEMORY_NEEDED = 2 * GIB
BACKUP_AGE = timedelta(days=7)
PATIENCE = 3.0  # seconds for a broker or a worker to answer
TORCH_PATIENCE = 120  # seconds; a cold import takes twelve

OK, WARN, FAIL = "ok", "warn", "FAIL"


@dataclass(frozen=True)
class Finding:
    verdict: str
    what: str
    todo: str = ""


def doctor(options: argparse.Namespace) -> int:
    chosen = [options.only] if options.only else list(PARTS)
    if unknown := set(chosen) - set(PARTS):
        print(f"There is no part {unknown.pop()!r}; the parts are {', '.join(PARTS)}.")
        return 2
    worst = OK
    for part in chosen:
        for finding in _examined(PARTS[part]):
            print(f"{finding.verdict:4}  {part:9} {finding.what}")
            if finding.todo:
                print(f"{'':16}-> {finding.todo}")
            if finding.verdict == FAIL or worst == OK:
                worst = finding.verdict
    print()
    print(
        {
            OK: "Everything is in place.",
            WARN: "DistillHub works; the warnings above are worth a look.",
            FAIL: "DistillHub cannot work properly until the lines marked FAIL are mended.",
        }[worst]
    )
    return 1 if worst == FAIL or (options.strict and worst == WARN) else 0


def _examined(examine: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """A surprise in one part is a finding, and the other parts are still examined."""
    try:
        yield from examine()
    except Exception as error:
        yield Finding(FAIL, f"{type(error).__name__}: {error}", "Please report this.")


def _python() -> Iterator[Finding]:
    yield Finding(OK, f"Python {platform.python_version()} on {platform.platform(terse=True)}")


def _settings() -> Iterator[Finding]:
    found = checks.run_checks(tags=[TAG])
    for message in found:
        verdict = FAIL if message.level >= checks.ERROR else WARN
        yield Finding(verdict, f"{message.msg} ({message.id})", str(message.hint or ""))
    if not found:
        yield Finding(OK, "nothing unsafe")


def _database() -> Iterator[Finding]:
    where = (
        str(connection.settings_dict["NAME"])
        if connection.vendor == "sqlite"
        else f"{connection.settings_dict['HOST']}/{connection.settings_dict['NAME']}"
    )
    try:
        executor = MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError as error:
        sentence = str(error).strip().splitlines()[0]
        yield Finding(FAIL, f"{where}: {sentence}", "Check DATABASE_URL, and that it is running.")
        return
    if plan:
        yield Finding(
            WARN, f"{where}: {len(plan)} migrations to apply", "Run: distillhub migrate (or up)."
        )
    else:
        yield Finding(OK, f"{connection.vendor}, {where}, up to date")


def _broker() -> Iterator[Finding]:
    name = "Redis" if settings.REDIS_URL else f"files in {settings.DISTILLHUB_HOME / 'broker'}"
    try:
        with app.connection_for_write(connect_timeout=PATIENCE) as link:
            link.ensure_connection(max_retries=1, timeout=PATIENCE)
    except (OSError, OperationalError) as error:
        yield Finding(FAIL, f"{name}: {error}", "Check REDIS_URL, and that Redis is running.")
        return
    yield Finding(OK, name)


def _workers() -> Iterator[Finding]:
    answers = app.control.ping(timeout=1.0)
    if answers:
        names = ", ".join(sorted(name for answer in answers for name in answer))
        yield Finding(OK, names)
    else:
        yield Finding(WARN, "none answers", "Start one: distillhub up, or distillhub worker.")


def _storage() -> Iterator[Finding]:
    where = f"bucket {settings.S3_BUCKET}" if settings.S3_BUCKET else str(settings.MEDIA_ROOT)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "probe"
        file.write_bytes(os.urandom(64))
        try:
            blob = storage.put(file)
            storage.local_copy(blob.sha256, Path(folder) / "back")
            default_storage.delete(storage.key(blob.sha256))
        except Exception as error:  # boto's errors have no common ancestor
            yield Finding(
                FAIL, f"{where}: {error}", "Check the S3_ settings, or the rights of the folder."
            )
            return
    yield Finding(OK, f"{where}: written, read back and compared")


_ASK_TORCH = """
import json, torch
gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
mps = bool(getattr(torch.backends, "mps", None) and torch.backends.mps.is_available())
print(json.dumps({"version": torch.__version__, "gpus": gpus, "mps": mps,
                  "threads": torch.get_num_threads(), "cuda": torch.version.cuda}))
"""


def _torch() -> Iterator[Finding]:
    """Asked in a process of its own, as a run would."""
    try:
        asked = subprocess.run(
            [sys.executable, "-c", _ASK_TORCH],
            capture_output=True,
            text=True,
            timeout=TORCH_PATIENCE,
            check=False,
        )
        told = json.loads(asked.stdout.strip().splitlines()[-1])
    except subprocess.TimeoutExpired:
        yield Finding(FAIL, f"not imported within {TORCH_PATIENCE} s", "Is the disk very slow?")
        return
    except (ValueError, IndexError):
        last = (asked.stderr.strip().splitlines() or ["no answer"])[-1]
        yield Finding(FAIL, last, "Install it again: make install")
        return
    yield Finding(OK, f"torch {told['version']}, {told['threads']} threads")
    if told["gpus"]:
        yield Finding(OK, f"{len(told['gpus'])} GPUs: {', '.join(told['gpus'])}")
    elif shutil.which("nvidia-smi"):
        yield Finding(
            WARN,
            "this machine has an NVIDIA driver, but torch sees no GPU",
            "Install a CUDA build of torch that fits the driver: https://pytorch.org",
        )
    else:
        yield Finding(OK, "no GPU: runs train on the CPU")


def _machine() -> Iterator[Finding]:
    import psutil

    free = shutil.disk_usage(settings.DISTILLHUB_HOME).free
    verdict = OK if free >= FREE_NEEDED else FAIL if free < FREE_NEEDED // 8 else WARN
    yield Finding(
        verdict,
        f"{free / GIB:.1f} GiB free in {settings.DISTILLHUB_HOME}",
        "" if verdict == OK else "Free some space, or give another --home.",
    )
    yield from _teacher_outputs()
    memory = psutil.virtual_memory()
    enough = memory.available >= MEMORY_NEEDED
    yield Finding(
        OK if enough else WARN,
        f"{memory.available / GIB:.1f} of {memory.total / GIB:.1f} GiB of memory available, "
        f"{os.cpu_count()} CPU cores, {settings.DISTILLHUB_MAX_RUNS} runs at once",
        "" if enough else "Close other programs, or lower DISTILLHUB_MAX_RUNS.",
    )


def _teacher_outputs() -> Iterator[Finding]:
    """Stored teacher answers of this machine, which a worker keeps in bounds."""
    folder = settings.DISTILLHUB_HOME / "teacher-outputs"
    used = sum(one.stat().st_size for one in folder.rglob("*") if one.is_file())
    most = settings.DISTILLHUB_TEACHER_OUTPUTS_MIB << 20
    bound = f"at most {most / GIB:.1f}" if most else "no limit"
    over = bool(most) and used > most
    yield Finding(
        WARN if over else OK,
        f"{used / GIB:.2f} GiB of stored teacher answers, {bound}",
        "A running worker frees what is not in use; else raise DISTILLHUB_TEACHER_OUTPUTS_MIB."
        if over
        else "",
    )


def _backup() -> Iterator[Finding]:
    """Whether one was made here lately, as `distillhub backup` notes."""
    if connection.vendor == "postgresql":
        try:
            yield Finding(OK, f"{backups.program('pg_dump')} is there")
        except CannotStart as error:
            yield Finding(WARN, str(error), "Until then `distillhub backup` cannot be made here.")
    made = backups.last_made()
    if made is None:
        yield Finding(WARN, "none was made here yet", "Make one: distillhub backup hub.tar")
        return
    age = datetime.now(UTC) - made
    old = age > BACKUP_AGE
    yield Finding(
        WARN if old else OK,
        f"the last was made {made:%Y-%m-%d %H:%M} UTC, {age.days} days ago",
        "Make one: distillhub backup hub.tar" if old else "",
    )


def _metrics() -> Iterator[Finding]:
    """Who may read /metrics."""
    try:
        networks = [str(ip_network(one)) for one in settings.METRICS_ALLOW]
    except ValueError as error:
        yield Finding(FAIL, f"METRICS_ALLOW: {error}", "Name networks such as 10.0.0.0/8.")
        return
    who = [*(["whoever has METRICS_TOKEN"] if settings.METRICS_TOKEN else []), *networks]
    yield Finding(OK, f"/metrics is read by {', '.join(who) or 'nobody'}")


def _secrets() -> Iterator[Finding]:
    """Whether the stored keys of APIs can be opened here, and who else can read what opens them."""
    where = "DISTILLHUB_SECRET_KEYS" if settings.DISTILLHUB_SECRET_KEYS else str(secrets.file())
    try:
        lost = api_keys.unreadable()
        closed = alert_channels.unreadable()
        shut = webhook_secrets.unreadable()
        count = len(secrets.keys())
    except secrets.BadKeys as error:
        yield Finding(FAIL, str(error), "Make one: openssl rand -base64 32 | tr '+/' '-_'")
        return
    except DatabaseError as error:
        yield Finding(WARN, f"the database does not answer: {error}".splitlines()[0])
        return
    for kept in lost:
        what = f"{kept.model.project.slug}, {kept.model.name}: its key for {kept.origin}"
        yield Finding(
            FAIL, f"{what} cannot be opened", "Same DISTILLHUB_SECRET_KEYS everywhere, or enter it."
        )
    for channel in closed:
        yield Finding(
            FAIL,
            f"{channel.project.slug}: the address of the channel {channel.name} cannot be opened",
            "Same DISTILLHUB_SECRET_KEYS everywhere, or enter it.",
        )
    for hook in shut:
        yield Finding(
            FAIL,
            f"{hook.project.slug}: the address of the webhook {hook.name} cannot be opened",
            "Same DISTILLHUB_SECRET_KEYS everywhere, or enter it.",
        )
    if secrets.file().exists() and stat.S_IMODE(secrets.file().stat().st_mode) & 0o077:
        yield Finding(FAIL, f"others can read {secrets.file()}", f"chmod 600 {secrets.file()}")
    yield Finding(OK, f"keys of APIs are sealed with {where}, {count} in use")


PARTS = {
    "python": _python,
    "settings": _settings,
    "database": _database,
    "broker": _broker,
    "workers": _workers,
    "storage": _storage,
    "torch": _torch,
    "machine": _machine,
    "backup": _backup,
    "secrets": _secrets,
    "metrics": _metrics,
}
