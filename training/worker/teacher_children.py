"""A process of the engine that answers for an operation on a dataset: watched while it works, gone
with it. The version that is made owns the work (projects/ingest/ingestion.py)."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection

from distillhub.lib import leases
from distillhub.lib.leases import GivenBack
from training.worker import child as children
from training.worker import folders, machine, teacher_store, work

log = logging.getLogger(__name__)

GLANCE = 0.2  # seconds between two looks at the child
TELLS = 1.0  # seconds between two reports of what it does
WAITING = "Waiting: another teacher is asked on this machine"

Tell = Callable[[str], None]  # raises Fenced and GivenBack


class Failed(Exception):
    """A sentence that says why it left no result."""


def answered(folder: Path, *, verb: str, config: dict[str, Any], tell: Tell) -> dict[str, Any]:
    """What `python -m training.engine VERB` made of a job folder, whose inputs are in place: its
    `result.json`. One at a time on a machine. Raises Failed, and what `tell` raises."""
    lock = machine.home() / f"{verb}.lock"
    while True:
        with machine.alone(lock) as ours:
            if ours:
                return _answered(folder, verb, config, tell)
        tell(WAITING)
        time.sleep(TELLS)


def _answered(folder: Path, verb: str, config: dict[str, Any], tell: Tell) -> dict[str, Any]:
    told: dict[str, Any] = {"threads": settings.DISTILLHUB_RUN_THREADS, "format": folders.FORMAT}
    told["teacher_outputs"] = {"mode": "auto", "store": str(teacher_store.folder())}
    folders.write_json(folder / "config.json", told | config)
    child = children.spawn(folder, verb=verb, name=verb, threads=settings.DISTILLHUB_RUN_THREADS)
    try:
        _watch(folder, child, tell)
    finally:
        if child.poll() is None:
            child.kill()
    result = folders.read_json(folder / "result.json")
    if not isinstance(result, dict):
        log.error("A teacher left no result: %s", child.said_last(20))
        raise Failed(work.NO_RESULT)
    if failed := result.get("failed"):
        raise Failed(str(failed["sentence"])[:2000])
    try:
        teacher_store.tell()
    except DatabaseError as error:
        log.warning("What is stored is told within a minute: the database is away. %s", error)
        connection.close()
    return result


def _watch(folder: Path, child: children.Child, tell: Tell) -> None:
    tell_at = 0.0
    while child.poll() is None:
        if leases.stopping.is_set():
            raise GivenBack
        if time.monotonic() >= tell_at:
            tell_at = time.monotonic() + TELLS
            tell(work.said(folder) or "Starting the teacher")
        time.sleep(GLANCE)
