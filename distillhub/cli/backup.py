"""`distillhub backup` and `distillhub restore`: database, stored files and the folders of runs in
training, consistent while everything runs.

The database is copied first, by its own means; then files, which are immutable and named by their
content, so that each one that the copy names is there. Of a run in training its checkpoints come
before its journal: what is restored goes on from a checkpoint that its journal knows.
"""

import argparse
import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import django

django.setup()

from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.utils import OperationalError

from distillhub import __version__
from distillhub.cli import auditing
from distillhub.lib import places, secrets, snapshots, storage
from distillhub.lib.errors import Conflict, Unavailable
from distillhub.lib.snapshots import NotABackup
from distillhub.supervisor import CannotStart
from training.models import Run
from training.worker import folders, machine, reaper

DUMPS = {"sqlite": "database.sqlite3", "postgresql": "database.dump"}
LEFT_OUT = frozenset({"inputs", "child.json"})  # of a job folder: made anew when it goes on
LAST = "journal.jsonl"
NOTE = "last.json"  # in the home folder's `backups`: when and where, for the doctor


def backup(options: argparse.Namespace) -> int:
    target = Path(options.target).expanduser().resolve()
    with (
        snapshots.writing(target) as writer,
        tempfile.TemporaryDirectory(dir=storage.working_folder("backups")) as folder,
    ):
        made_at = datetime.now(UTC)
        copied = Path(folder) / DUMPS[connection.vendor]
        migrations = _dump(copied)
        writer.add(copied.name, copied)
        copied.unlink()
        damaged = _add_stored(writer, Path(folder))
        _add_home(writer)
        writer.close(
            {
                "made_at": made_at.isoformat(timespec="seconds"),
                "version": __version__,
                "database": connection.vendor,
                "migrations": migrations,
            }
        )
    note = storage.working_folder("backups") / NOTE
    note.write_text(json.dumps({"made_at": made_at.isoformat(), "target": str(target)}))
    size = sum(one["bytes"] for one in writer.files)
    print(f"Kept {len(writer.files)} files, {size / 2**20:.1f} MiB: {target}")
    auditing.note("installation.backup", subject=str(target))
    print("It holds the secrets of this installation: keep it where nobody else reads it.")
    if settings.DISTILLHUB_SECRET_KEYS:
        print("DISTILLHUB_SECRET_KEYS, which opens its keys of APIs, is not in it.")
    for name in damaged:
        print(f"Damaged in storage, and kept as it is: {name}", file=sys.stderr)
    return 1 if damaged else 0


def restore(options: argparse.Namespace) -> int:
    source = Path(options.source).expanduser().resolve()
    if not source.exists():
        raise NotABackup(f"There is no {source}.")
    _refuse_full()
    staging = Path(settings.DISTILLHUB_HOME) / ".restoring"
    shutil.rmtree(staging, ignore_errors=True)  # of a try that was broken off
    staging.mkdir(mode=0o700)
    try:
        manifest = snapshots.unpack(source, staging)
        _refuse_other(manifest)
        stored, others = _place_stored(staging / "files")
        _place_home(staging / "home")
        _load(staging / DUMPS[connection.vendor])
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    call_command("migrate", verbosity=0, interactive=False)
    told = reaper.after_restore(made_at=manifest["made_at"])
    auditing.note("installation.restore", subject=str(source), made_at=manifest["made_at"])
    print(f"Restored the backup of {manifest['made_at']}: {stored} stored files.")
    for sentence in told:
        print(sentence)
    if others:
        print(
            f"The storage holds {others} files beside these. If another installation uses it, do "
            "not start this one with it: each would free what the other stores. Restore with "
            "another S3_BUCKET, S3_PREFIX or DISTILLHUB_FILES, or with none of them."
        )
    print("Start it as before: distillhub up, or web, worker and beat.")
    return 0


# Making one -----------------------------------------------------------------------------------


def _dump(target: Path) -> list[str]:
    """A consistent copy, also while others write; the newest migration of each app in it."""
    if connection.vendor == "sqlite":
        with (
            contextlib.closing(sqlite3.connect(connection.settings_dict["NAME"])) as old,
            contextlib.closing(sqlite3.connect(target)) as new,
        ):
            old.backup(new)
    else:
        _postgres("pg_dump", "--format=custom", "--no-owner", "--no-acl", f"--file={target}")
    applied = MigrationLoader(connection).applied_migrations
    if not applied:
        raise CannotStart("There is nothing to keep: the database is empty.")
    return sorted(f"{app}.{name}" for app, name in applied)


def _add_stored(writer: snapshots.Writer, folder: Path) -> list[str]:
    """Every stored file; the names of those that are not what their name says."""
    where = places.place()
    damaged = []
    for lying in where.listing(""):
        if Path(lying.name).name.startswith("."):
            continue
        path = where.local(lying.name)
        try:
            if path is None:
                path = folder / "file"
                where.read_into(lying.name, path)
            sha256 = writer.add(f"files/{lying.name}", path)
        except FileNotFoundError:  # freed since it was listed; no row named it any more
            continue
        finally:
            (folder / "file").unlink(missing_ok=True)
        if sha256 != lying.name.rpartition("/")[2]:
            damaged.append(lying.name)
    return damaged


def _add_home(writer: snapshots.Writer) -> None:
    home = Path(settings.DISTILLHUB_HOME)
    if not os.environ.get("SECRET_KEY"):
        writer.add("home/secret_key", home / "secret_key")
    if not settings.DISTILLHUB_SECRET_KEYS:
        secrets.keys()  # made, where nothing was sealed yet
        writer.add(f"home/{secrets.FILE}", secrets.file())
    machine.home_id()
    writer.add("home/jobs/.id", machine.home() / ".id")
    for run_id in Run.objects.unfinished().order_by("pk").values_list("pk", flat=True):
        folder = folders.of(run_id)
        for path in sorted(_files(folder), key=lambda path: path.name == LAST):
            with contextlib.suppress(FileNotFoundError):  # an older checkpoint makes room
                writer.add(f"home/jobs/{run_id}/{path.relative_to(folder).as_posix()}", path)


def _files(folder: Path) -> Iterator[Path]:
    for root, names, files in os.walk(folder):
        names[:] = [name for name in names if name not in LEFT_OUT and not name.startswith(".")]
        for name in files:
            path = Path(root) / name
            if name not in LEFT_OUT and not name.startswith(".") and not path.is_symlink():
                yield path


# Taking one back ------------------------------------------------------------------------------


def _refuse_full() -> None:
    """Nothing that is there is ever overwritten."""
    home = Path(settings.DISTILLHUB_HOME)
    try:
        full = bool(connection.introspection.table_names())
    except OperationalError as error:
        raise Unavailable(f"The database does not answer: {error}") from None
    finally:
        connection.close()
    if full:
        where = "The database" if connection.vendor != "sqlite" else f"The home {home}"
        raise Conflict(
            f"{where} is not empty. A backup is only restored into an empty one: choose another "
            "--home or DATABASE_URL."
        )
    jobs = home / "jobs"
    if jobs.is_dir() and any(one.name.isdigit() for one in jobs.iterdir()):
        raise Conflict(f"{jobs} holds folders of runs. Choose an empty home (--home).")


def _refuse_other(manifest: dict[str, Any]) -> None:
    if manifest["database"] != connection.vendor:
        raise Conflict(
            f"The backup is of {manifest['database']}, and this installation uses "
            f"{connection.vendor}. Set DATABASE_URL to a database of the same kind."
        )
    known = {f"{app}.{name}" for app, name in MigrationLoader(None).disk_migrations}
    ours = ("projects.", "training.")
    newer = [one for one in manifest["migrations"] if one.startswith(ours) and one not in known]
    if newer:
        raise Conflict(
            f"The backup was made by a newer version ({manifest['version']}; this is "
            f"{__version__}): restore it with that one."
        )


def _place_stored(staging: Path) -> tuple[int, int]:
    """How many files were kept, and how many others lie where they were put."""
    where = places.place()
    there = {lying.name: lying.bytes for lying in where.listing("")}
    kept = set()
    for path in sorted(staging.rglob("*")):
        if not path.is_file():
            continue
        name = path.relative_to(staging).as_posix()
        kept.add(name)
        if there.get(name) == path.stat().st_size:
            continue
        target = where.local(name)
        if target is None:
            where.write(path, name, storage.digest(path))
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            path.chmod(0o444)
            shutil.move(path, target)
    return len(kept), len(there.keys() - kept)


def _place_home(staging: Path) -> None:
    home = Path(settings.DISTILLHUB_HOME)
    key = staging / "secret_key"
    if key.exists() and not os.environ.get("SECRET_KEY"):
        key.chmod(0o600)
        key.replace(home / "secret_key")
    sealing = staging / secrets.FILE
    if sealing.exists() and not settings.DISTILLHUB_SECRET_KEYS:
        sealing.chmod(0o600)
        sealing.replace(secrets.file())
    shutil.copytree(staging / "jobs", home / "jobs", dirs_exist_ok=True)


def _load(dump: Path) -> None:
    """The database, last: without it nothing is restored."""
    if connection.vendor != "sqlite":
        _postgres("pg_restore", "--no-owner", "--no-acl", "--exit-on-error",
                  "--single-transaction", str(dump))  # fmt: skip
        return
    with contextlib.closing(sqlite3.connect(dump)) as rows:
        verdict = rows.execute("PRAGMA integrity_check").fetchone()[0]
    if verdict != "ok":
        raise NotABackup(f"The database in the backup is damaged: {verdict}")
    target = Path(connection.settings_dict["NAME"])
    for name in ("-wal", "-shm"):
        target.with_name(target.name + name).unlink(missing_ok=True)
    dump.replace(target)


def last_made() -> datetime | None:
    """When the newest backup was made from this home, if any was."""
    try:
        told = json.loads((Path(settings.DISTILLHUB_HOME) / "backups" / NOTE).read_text())
        return datetime.fromisoformat(told["made_at"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def program(name: str) -> str:
    """Where one of PostgreSQL's own programs is. Raises CannotStart."""
    newest = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    found = shutil.which(name) or next((str(one) for one in newest), None)
    if found is None:
        raise CannotStart(f"{name} is needed: install PostgreSQL's client programs.")
    return found


def _postgres(name: str, *arguments: str) -> None:
    """One of PostgreSQL's own programs, with the password where no list of processes shows it."""
    found = program(name)
    database = connection.settings_dict
    options = database["OPTIONS"]
    environment = os.environ | {
        "PGHOST": str(database["HOST"]),
        "PGPORT": str(database["PORT"] or 5432),
        "PGUSER": str(database["USER"]),
        "PGPASSWORD": str(database["PASSWORD"]),
        "PGDATABASE": str(database["NAME"]),
        "PGSSLMODE": str(options.get("sslmode", "prefer")),
    }
    target = ["--dbname", str(database["NAME"])] if name == "pg_restore" else []
    done = subprocess.run(
        [found, *target, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        raise Unavailable(f"{name} failed: {last}")
