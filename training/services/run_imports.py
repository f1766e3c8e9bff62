"""Bringing runs from other trackers here: a file or a server is looked into, and what was found is
taken once a person said so. A worker does both (worker/importing.py)."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from distillhub.lib import outgoing, secrets, storage
from distillhub.lib.errors import Conflict, Invalid, Missing
from projects.models import Project, User
from projects.services import upload_files
from training.models import ImportedRun, Run, RunImport
from training.trackers import limits, reading
from training.worker import importing

MOST_EXPERIMENTS = 100
LONGEST_NAME = 200
MOST_OPEN = 20  # of a person, that wait for a worker
TOKEN = re.compile(r"[\x21-\x7e]{1,4000}", re.ASCII)
LOOKS = reading.LOOKS

Faults = dict[str, list[str]]


def from_file(
    *,
    project: Project,
    file: upload_files.Upload,
    file_name: str = "",
    name: str = "",
    straight_on: bool = False,
    by: User,
) -> RunImport:
    """Have a file looked into; `straight_on`, what is found is taken at once. `name` is of runs
    that have none, as those of a table. Raises Invalid, TooLarge, and Away."""
    _refuse_archived(project)
    called = upload_files.safe_name(file_name or file.name or "upload")
    name = _name(name)
    most = settings.DISTILLHUB_MAX_UPLOAD_MIB << 20
    with upload_files.on_disk(file, called, most) as path:
        blob = storage.put(Path(path))
    if not blob.bytes:
        raise Invalid(f"{called} is empty.", fields={"file": [f"{called} is empty."]})
    return _asked(
        project=project,
        kind=RunImport.Kind.FILE,
        place=called,
        name=name,
        files=[{"name": called, "sha256": blob.sha256, "bytes": blob.bytes}],
        straight_on=straight_on,
        by=by,
    )


def from_server(
    *,
    project: Project,
    server: str,
    token: str = "",
    user: str = "",
    experiments: Sequence[str] = (),
    straight_on: bool = False,
    by: User,
) -> RunImport:
    """Have a tracking server of MLflow asked. The token is sealed, sent nowhere else, and forgotten
    once runs were taken. Raises Invalid with every fault at its field."""
    _refuse_archived(project)
    faults: Faults = {}
    address = server.strip().rstrip("/")
    try:
        outgoing.check(address)
    except outgoing.Refused as refused:
        faults["server"] = [refused.detail]
    if token and not TOKEN.fullmatch(token.strip()):
        faults["token"] = ["A token is one line of printable characters without blanks."]
    if user and (not user.isprintable() or len(user) > 200 or ":" in user):
        faults["user"] = ["A name has at most 200 characters, and no colon."]
    if user and not token:
        faults["token"] = ["Give the password or token of that user."]
    wanted = list(dict.fromkeys(one.strip() for one in experiments if one.strip()))
    if len(wanted) > MOST_EXPERIMENTS or any(len(one) > 500 for one in wanted):
        faults["experiments"] = [f"Name at most {MOST_EXPERIMENTS} experiments."]
    if faults:
        raise Invalid(next(iter(faults.values()))[0], fields=faults)
    return _asked(
        project=project,
        kind=RunImport.Kind.SERVER,
        place=address,
        experiments=wanted,
        sealed=importing.seal(token=token.strip(), user=user.strip()),
        straight_on=straight_on,
        by=by,
    )


def take(*, run_import: RunImport, keys: Sequence[str] | None = None, by: User) -> RunImport:
    """Take what was found, or of it the runs with these keys. Asked again of one that is being
    taken, nothing changes. Raises Invalid and Conflict."""
    del by
    row = run_import
    if row.step == RunImport.Step.TAKE and not row.is_final:
        return row
    chosen = None if keys is None else list(dict.fromkeys(keys))
    if chosen is not None:
        if not chosen:
            raise Invalid("Choose a run.", fields={"runs": ["Choose a run."]})
        if len(chosen) > limits.RUNS or any(len(one) > 300 for one in chosen):
            raise Invalid("Runs are named by their keys.", fields={"runs": ["Name their keys."]})
        shown = (row.report or {}).get("found", [])
        missing = set(chosen) - {one["key"] for one in shown}
        if missing and len(shown) == (row.report or {}).get("runs"):
            sentence = f"It found no run with the key {sorted(missing)[0][:100]}."
            raise Invalid(sentence, fields={"runs": [sentence]})
    with transaction.atomic():
        looked = RunImport.objects.filter(
            pk=row.pk, status=RunImport.Status.READY, report__isnull=False
        )
        # One that failed while it took what was found may be tried again.
        failed = RunImport.objects.filter(
            pk=row.pk, status=RunImport.Status.FAILED, step=RunImport.Step.TAKE
        )
        changes: dict[str, Any] = {
            "status": RunImport.Status.QUEUED,
            "step": RunImport.Step.TAKE,
            "chosen": chosen,
            "outcome": None,
            "error": None,
            "finished_at": None,
            "times_lost": 0,
            "queued_at": Now(),
        }
        if row.kind == RunImport.Kind.SERVER and row.outcome is not None:
            raise Conflict(
                "These runs were taken, and the server's token is forgotten. Ask it anew.",
                code="already_taken",
            )
        if not (looked.update(**changes) or failed.update(**changes)):
            raise Conflict("It was not looked into yet, or could not be.", code="not_ready")
        importing.WORK.wake(row)
    row.refresh_from_db()
    return row


def again(*, run_import: RunImport, by: User) -> RunImport:
    """Look into the same file once more, after it failed. Raises Conflict."""
    del by
    failed = RunImport.objects.filter(
        pk=run_import.pk, status=RunImport.Status.FAILED, step=RunImport.Step.LOOK
    )
    with transaction.atomic():
        if not failed.update(
            status=RunImport.Status.QUEUED,
            error=None,
            finished_at=None,
            times_lost=0,
            queued_at=Now(),
        ):
            raise Conflict("Only what could not be read can be read again.", code="not_failed")
        importing.WORK.wake(run_import)
    run_import.refresh_from_db()
    return run_import


def discard(*, run_import: RunImport, by: User) -> None:
    """Forget it, and what was sent for it; a worker that is at it stops. Runs that were taken
    stay."""
    del by
    run_import.delete()


def listed(*, project: Project) -> QuerySet[RunImport]:
    """Newest first."""
    return RunImport.objects.filter(project=project).select_related("created_by", "project")


def find(*, project: Project, import_id: int) -> RunImport:
    """Raises Missing."""
    found = listed(project=project).filter(pk=import_id).first()
    if found is None:
        raise Missing(f"There is no import {import_id} in this project.")
    return found


def origin(*, run: Run) -> ImportedRun | None:
    """Where a tracked run came from, if it was imported."""
    found: ImportedRun | None = getattr(run, "imported", None) if run.is_tracked else None
    return found


def words(outcome: Mapping[str, Any]) -> str:
    return importing.words(outcome)


def tracker_of(key: str) -> str:
    return reading.tracker_of(key)


# Sealing keys ------------------------------------------------------------------------------------


def seal_again() -> tuple[int, list[RunImport]]:
    """As projects/services/api_keys.py does with keys of APIs."""
    done, lost = 0, []
    for row in RunImport.objects.exclude(sealed="").select_related("project").order_by("pk"):
        try:
            sealed = secrets.seal_again(row.sealed)
        except secrets.Unreadable:
            lost.append(row)
            continue
        done += RunImport.objects.filter(pk=row.pk, sealed=row.sealed).update(sealed=sealed)
    return done, lost


def _asked(*, project: Project, by: User, **columns: Any) -> RunImport:
    waiting = RunImport.objects.filter(
        created_by=by, status__in=[RunImport.Status.QUEUED, RunImport.Status.WORKING]
    )
    if waiting.count() >= MOST_OPEN:
        raise Conflict(f"{MOST_OPEN} of your imports wait for a worker. Wait for one of them.")
    with transaction.atomic():
        row = RunImport.objects.create(project=project, created_by=by, **columns)
        importing.WORK.wake(row)
    return row


def _refuse_archived(project: Project) -> None:
    if project.archived_at is not None:
        raise Conflict("This project is archived; nothing new can be tracked in it.")


def _name(name: str) -> str:
    name = name.strip()
    if len(name) > LONGEST_NAME or not name.isprintable():
        sentence = f"A name is one line of at most {LONGEST_NAME} characters."
        raise Invalid(sentence, fields={"name": [sentence]})
    return name


__all__ = [
    "LOOKS", "again", "discard", "find", "from_file", "from_server", "listed",
    "origin", "seal_again", "take", "tracker_of", "words",
]  # fmt: skip
