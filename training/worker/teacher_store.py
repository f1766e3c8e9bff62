"""The stored teacher answers of this machine: told to the database, and freed by policy.

Every machine has a store of its own, so every worker looks after the one beside it, once a minute
and whenever it is asked to; of several on a machine, one at a time. The folder is the truth.
"""

import logging
from datetime import UTC, datetime
from pathlib import Path

from django.conf import settings

from training.engine import stored
from training.models import TeacherOutputs
from training.worker import dispatch, machine
from training.worker.tender import Tender

log = logging.getLogger(__name__)

TEND = "training.tend_teacher_outputs"
EVERY = 60.0  # seconds
DAY = 86_400.0

_tender: Tender | None = None


def folder() -> Path:
    """Of this machine's stored teacher answers."""
    return Path(settings.DISTILLHUB_HOME) / "teacher-outputs"


def ask() -> bool:
    """Have a worker look after its store now; others do within a minute."""
    return dispatch.call(TEND)


def tend() -> None:
    """Free what nobody wants and what the policy no longer allows, and tell what is there."""
    with machine.alone(machine.home() / "teacher-outputs.lock") as ours:
        if not ours:
            return
        store, home = folder(), machine.home_id()
        unwanted = TeacherOutputs.objects.filter(home=home, unwanted=True)
        for key in unwanted.values_list("key", flat=True):
            stored.free(store, key)  # in use: it stays unwanted, and goes later
        freed = stored.collect(
            store,
            most_bytes=settings.DISTILLHUB_TEACHER_OUTPUTS_MIB << 20,
            unused_for=settings.DISTILLHUB_TEACHER_OUTPUTS_DAYS * DAY,
        )
        for one in freed:
            log.info("Freed %s bytes of %s on %s rows.", one.bytes, one.teacher_name, one.split)
        _tell(store, home)


def tell() -> None:
    """Tell what is there, and free nothing."""
    _tell(folder(), machine.home_id())


def _tell(store: Path, home: str) -> None:
    there = stored.entries(store)
    gone = TeacherOutputs.objects.filter(home=home).exclude(key__in=[one.key for one in there])
    gone.delete()
    TeacherOutputs.objects.bulk_create(
        [
            TeacherOutputs(
                home=home,
                host=machine.host(),
                key=one.key,
                kind=one.kind,
                split=one.split,
                fingerprint=one.fingerprint,
                teacher=one.teacher,
                teacher_name=one.teacher_name,
                rows=one.rows,
                bytes=one.bytes,
                covered_mass=one.covered_mass,
                reused=one.reused,
                made_at=datetime.fromtimestamp(one.made_at, UTC),
                last_used=datetime.fromtimestamp(one.last_used, UTC),
            )
            for one in there
        ],
        update_conflicts=True,
        unique_fields=["home", "key"],
        update_fields=["host", "rows", "bytes", "covered_mass", "reused", "last_used"],
    )


def start() -> None:
    """Look after the store of this machine from now on."""
    global _tender
    if _tender is None:
        _tender = Tender("stored teacher answers", tend, EVERY)
        _tender.start()


def stop() -> None:
    global _tender
    if _tender is not None:
        _tender.end()
        _tender = None
