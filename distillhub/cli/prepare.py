"""Before anything is served: a backup, migrations, static files, an administrator, a link."""

import argparse
import contextlib
import fcntl
import hashlib
import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import django

django.setup()

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from distillhub.cli import people, safety
from distillhub.lib import processes
from training.services import demo

BACKUPS_KEPT = 5


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
    demo.seed(by=people.administrator())
    return 0


def migrate(options: argparse.Namespace) -> int:
    if not _migrate():
        print("The database is up to date.")
    _collect_static()
    return 0


def collect_static(options: argparse.Namespace) -> int:
    if not _collect_static():
        print("The static files are up to date.")
    return 0


def _migrate() -> bool:
    """Apply what is missing, after a copy of the SQLite file; whether anything was."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if not plan:
        return False
    if executor.loader.applied_migrations and connection.vendor == "sqlite":
        print(f"Kept a copy of the database: {_backup()}")
    call_command("migrate", verbosity=0, interactive=False)
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
