"""Before anything is served: a backup, migrations, static files, an administrator, a link."""

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import signal
import sqlite3
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import django

django.setup()

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from distillhub.cli import people, safety
from distillhub.lib import idle_transactions, planner, processes
from distillhub.supervisor import CannotStart
from training.demo import project as demo
from training.demo import traffic

BACKUPS_KEPT = 5
MIGRATING = 0x6469_7374  # names PostgreSQL's lock
RESTART_PATIENCE = 120  # seconds


def prepare(options: argparse.Namespace) -> int:
    """For `up`: lines for the terminal, then one line of JSON."""
    processes.belong_to_parent()
    safety.refuse_unsafe()
    _migrate()
    _collect_static()
    user = people.administrator()
    print(json.dumps({"link": people.link(user), "demo": options.demo and demo.wanted()}))
    return 0


def make_demo(options: argparse.Namespace) -> int:
    """In the background of `up`, while the worker does the work."""
    processes.belong_to_parent()
    user = people.administrator()
    traffic.replay(project=demo.seed(by=user), by=user)
    return 0


def migrate(options: argparse.Namespace) -> int:
    if not _migrate():
        print("The database is up to date.")
    _collect_static()
    return 0


def restart(options: argparse.Namespace) -> int:
    """Bring the database up to date, then have `up` replace its processes; waits until it has."""
    safety.refuse_unsafe()
    told = _running()
    _migrate()
    _collect_static()
    os.kill(told["pid"], signal.SIGUSR2)
    until = time.monotonic() + RESTART_PATIENCE
    while time.monotonic() < until:
        now = _running()
        if now["restarts"] > told["restarts"]:
            print(f"Restarted: {now['address']}")
            return 0
        time.sleep(0.2)
    print(f"It has not restarted within {RESTART_PATIENCE} s; see its terminal and logs.")
    return 1


def _running() -> dict[str, Any]:
    """What `up` told of itself in this home. Raises CannotStart when it does not run."""
    file = settings.DISTILLHUB_HOME / "up.lock"
    try:
        with file.open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                # Between two writes it is empty for a moment.
                for _ in range(20):
                    lock.seek(0)
                    with contextlib.suppress(ValueError):
                        told: dict[str, Any] = json.load(lock)
                        return {"restarts": 0} | told
                    time.sleep(0.05)
    except FileNotFoundError:
        pass
    raise CannotStart(f"`distillhub up` does not run in {settings.DISTILLHUB_HOME}.")


def collect_static(options: argparse.Namespace) -> int:
    if not _collect_static():
        print("The static files are up to date.")
    return 0


def _migrate() -> bool:
    """Apply what is missing, after a copy of the SQLite file; whether anything was. Of several
    machines that start at once, one does it."""
    if connection.vendor != "postgresql":
        return _migrate_alone()
    # Held by a transaction of its own: PgBouncer lends a connection for no longer than one.
    guard = connection.copy()
    try:
        guard.set_autocommit(False)
        idle_transactions.unbound(guard)
        with guard.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [MIGRATING])
        return _migrate_alone()
    finally:
        guard.close()


def _migrate_alone() -> bool:
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if not plan:
        planner.refresh()
        return False
    if executor.loader.applied_migrations and connection.vendor == "sqlite":
        print(f"Kept a copy of the database: {_backup()}")
    call_command("migrate", verbosity=0, interactive=False)
    planner.refresh()
    print(f"Applied {len(plan)} migrations.")
    return True


def _backup() -> Path:
    """A consistent copy, also while others write (SQLite's own backup)."""
    folder = settings.DISTILLHUB_HOME / "backups"
    folder.mkdir(exist_ok=True)
    target: Path = folder / f"{datetime.now(UTC):%Y%m%d-%H%M%S}.sqlite3"
    source = Path(connection.settings_dict["NAME"])
    with (
        contextlib.closing(sqlite3.connect(source)) as old,
        contextlib.closing(sqlite3.connect(target)) as new,
    ):
        old.backup(new)
    for older in sorted(folder.glob("*.sqlite3"))[:-BACKUPS_KEPT]:
        older.unlink()
    return target


def _collect_static() -> bool:
    """Hash and compress the static files when any of them changed; whether it did."""
    found = hashlib.sha256()
    for finder in get_finders():
        for name, storage in finder.list([]):
            stat = Path(storage.path(name)).stat()
            found.update(f"{name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    root = Path(settings.STATIC_ROOT)
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".collected").open("a+") as stamp:
        fcntl.flock(stamp, fcntl.LOCK_EX)  # two starts at once
        stamp.seek(0)
        if stamp.read() == found.hexdigest():
            return False
        call_command("collectstatic", verbosity=0, interactive=False)
        stamp.truncate(0)
        stamp.write(found.hexdigest())
    print(f"Collected the static files into {root}.")
    return True
