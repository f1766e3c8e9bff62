"""What may go, goes: on this machine (job folders, leftovers, copies of a bucket's files) and in
storage (checkpoints of ended runs, old exports, files that nothing names).

    tend()             every worker, of the home beside it: once in ten minutes, and when asked
    sweep_storage()    one worker, every six hours, and when asked

Both tell what takes how much room (StorageUse), for the page Storage.
"""

import logging
import shutil
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from distillhub.lib import storage, sweeping
from distillhub.lib.places import place
from distillhub.lib.sweeping import Count, Swept
from projects.models import Project
from projects.services import audit
from training.models import Checkpoint, Export, Publication, RowMap, Run, StorageUse
from training.worker import (
    checkpoints,
    dispatch,
    folders,
    inference_parts,
    machine,
    monitor_teacher,
)
from training.worker.tender import Tender

log = logging.getLogger(__name__)

Key = tuple[str, int | None]  # a kind, and a project's id
Kind = StorageUse.Kind
SWEEP = "training.sweep_storage"
GLANCE = 60.0  # seconds between two looks whether somebody asked
EVERY = 600.0  # seconds
DAY = 86_400.0
PASSING = ("uploading", "ingesting")
#: Models with many rows that name no file.
NAMELESS = frozenset(
    {
        "training.LogChunk",
        "training.MetricChunk",
        "training.Checkpoint",
        "training.StorageUse",
        "training.MonitorWindow",
    }
)

_tender: Tender | None = None
_tended_at = -EVERY


def start() -> None:
    """Look after the folders of this machine from now on."""
    global _tender
    if _tender is None:
        _tender = Tender("job folders", look, GLANCE)
        _tender.start()


def stop() -> None:
    global _tender
    if _tender is not None:
        _tender.end()
        _tender = None


def look() -> None:
    """Tend when it is time, or somebody asked for room."""
    global _tended_at
    asked = StorageUse.objects.filter(home=machine.home_id(), unwanted=True).exists()
    if asked or time.monotonic() >= _tended_at + EVERY:
        tend()
        _tended_at = time.monotonic()


# -- this machine ---------------------------------------------------------------------------------


def tend() -> None:
    """Free what is over for long enough, or unwanted; tell what is left."""
    with machine.alone(machine.home() / "retention.lock") as ours:
        if not ours:
            return
        here = machine.home_id()
        asked = StorageUse.objects.filter(home=here, unwanted=True)
        unwanted: set[Key] = {(one.kind, one.project_id) for one in asked}
        left: dict[Key, Count] = defaultdict(Count)
        for folder in sorted(machine.home().iterdir()):
            if folder.name.isdigit():
                for key, size in _tend_job(folder, here, unwanted):
                    left[key].files += 1
                    left[key].bytes += size
        for name in PASSING:
            for path in storage.working_folder(name).iterdir():
                if _age(path) > DAY:
                    _remove(path)
                else:
                    left[Kind.PASSING, None].add(_size(path))
        _tend_cache(left, unwanted)
        _tell(here, machine.host(), left)


def _tend_job(folder: Path, here: str, unwanted: set[Key]) -> Iterator[tuple[Key, int]]:
    """One run's folder; the sizes of what stays of it, by kind and project."""
    run = Run.objects.select_related("project").filter(pk=int(folder.name)).first()
    if run is None or (not run.is_final and run.job_home != here and not _is_held(run)):
        # Its run was deleted, or went on elsewhere: what lies here is another story.
        if _age(folder) > DAY:
            folders.clear(folder, keep_record=False)
        elif run is not None:
            yield (Kind.RUNNING, run.project_id), _size(folder)
        return
    if not run.is_final:
        yield (Kind.RUNNING, run.project_id), _size(folder)
        return
    over = run.finished_at or run.created_at
    resumable = run.status != Run.Status.FINISHED
    resumable = resumable and any(path.is_dir() for path in folder.iterdir())
    wanted = resumable and (Kind.ENDED, run.project_id) not in unwanted
    if wanted and not _is_older(over, ended_run_days(run.project)):
        yield (Kind.ENDED, run.project_id), _size(folder)
        return
    still = Run.objects.filter(pk=run.pk, status__in=Run.FINAL, attempt=run.attempt)
    if not still.exists():  # resumed since it was read
        yield (Kind.RUNNING, run.project_id), _size(folder)
        return
    if wanted:  # before it is so: killed between the two, it is said once more
        _record_freed(run.project, [run], machine=machine.host())
    folders.clear(folder)
    unread = (Kind.JOURNALS, run.project_id) not in unwanted
    if unread and not _is_older(over, settings.DISTILLHUB_JOURNAL_DAYS):
        yield (Kind.JOURNALS, run.project_id), _size(folder)
        return
    folders.clear(folder, keep_record=False)


def _tend_cache(left: dict[Key, Count], unwanted: set[Key]) -> None:
    storage.trim_cache()
    for path in storage.working_folder("cache").iterdir():
        if (Kind.CACHE, None) in unwanted or (path.name.startswith(".") and _age(path) > DAY):
            path.unlink(missing_ok=True)
        else:
            left[Kind.CACHE, None].add(_size(path))


def ended_run_days(project: Project) -> int:
    """For how many days failed and cancelled runs of a project keep their checkpoints; 0 for
    ever."""
    own = project.ended_run_days
    return int(settings.DISTILLHUB_ENDED_RUN_DAYS) if own is None else own


def _is_held(run: Run) -> bool:
    return run.status in Run.LEASED


def _is_older(moment: datetime, days: int) -> bool:
    return bool(days) and moment < timezone.now() - timedelta(days=days)


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _size(path: Path) -> int:
    """Of a file, or of all in a folder; what storage has too takes no room of its own."""
    if not path.is_dir():
        return path.stat().st_size if path.exists() else 0
    seen: dict[tuple[int, int], int] = {}
    for one in path.rglob("*"):
        try:
            found = one.lstat()
        except FileNotFoundError:
            continue
        linked = found.st_nlink > 1 and "inputs" in one.relative_to(path).parts
        if one.is_file() and not linked:
            seen[found.st_dev, found.st_ino] = found.st_size
    return sum(seen.values())


# -- storage --------------------------------------------------------------------------------------


def ask_sweep() -> bool:
    """Have a worker sweep storage now."""
    return dispatch.call(SWEEP)


def sweep_storage(*, dry: bool = False, even_so: bool = False) -> Swept:
    """Free what policy says and what nothing names; `dry` only counts. Raises storage.Away, and
    sweeping.Doubtful when most of storage has no row."""
    if not dry:
        _free_ended()
        _remove_exports()
        _remove_maps()
        inference_parts.remove_old()
        monitor_teacher.forget_old()
        place().drop_unfinished(time.time() - DAY)
    swept = sweeping.look(storage.BLOBS, _names())
    kept = sweeping.look("checkpoints", _names_of_checkpoints())
    if not dry:
        try:
            again = _names() if swept.names else set()
            sweeping.free(swept, again, even_so=even_so)
            sweeping.free(kept, _names_of_checkpoints(), even_so=True)
        finally:
            _tell_storage(swept, kept)
    return swept


def sweep_when_possible() -> None:
    """For beat: what cannot be swept now is swept the next time."""
    try:
        swept = sweep_storage()
    except (storage.Away, sweeping.Doubtful) as error:
        log.warning("Storage was not swept. %s", error)
    else:
        if swept.freed.files:
            log.info("Freed %s files of %s bytes.", swept.freed.files, swept.freed.bytes)


def free_ended(project: Project) -> int:
    """Free the stored checkpoints of a project's failed and cancelled runs; how many bytes."""
    freed = 0
    for run in Run.objects.filter(
        project=project, status__in=Run.FINAL, checkpoints__isnull=False
    ).distinct():
        freed += sum(run.checkpoints.values_list("bytes", flat=True))
        checkpoints.free(run)
    return freed


def _free_ended() -> None:
    """Checkpoints of runs that ended long enough ago, or finished."""
    ended = Run.objects.filter(status__in=Run.FINAL, checkpoints__isnull=False).distinct()
    late: dict[Project, list[Run]] = defaultdict(list)
    for run in ended.select_related("project"):
        over = run.finished_at or run.created_at
        if run.status == Run.Status.FINISHED:
            checkpoints.free(run)
        elif _is_older(over, ended_run_days(run.project)):
            late[run.project].append(run)
    for project, runs in late.items():
        with transaction.atomic():
            for run in runs:
                checkpoints.forget(run)
            _record_freed(project, runs)


def _record_freed(project: Project, runs: list[Run], **where: str) -> None:
    """They cannot be resumed any more, and nobody asked for that today."""
    days = ended_run_days(project)
    audit.record(
        "storage.free_checkpoints",
        by=None,
        project=project,
        subject=str(runs[0].number) if len(runs) == 1 else "",
        detail={
            "runs": [run.number for run in runs],
            "why": f"What failed or was cancelled is kept for so many days: {days}.",
            **where,
        },
    )


def _remove_exports() -> None:
    days = settings.DISTILLHUB_EXPORT_DAYS
    if days:
        before = timezone.now() - timedelta(days=days)
        over = [Publication.Status.READY, Publication.Status.FAILED]
        sent = Publication.objects.exclude(status__in=over)  # or waits to be
        old = Export.objects.filter(finished_at__lt=before).exclude(
            status__in=[Export.CLAIMABLE, *Export.LEASED]
        )
        old = old.exclude(pk__in=sent.values("exports").exclude(exports=None))
        for project in Project.objects.filter(pk__in=old.values("version__model__project")):
            mine = old.filter(version__model__project=project).select_related("version__model")
            with transaction.atomic():
                gone = list(mine)
                if not mine.filter(pk__in=[one.pk for one in gone]).delete()[0]:
                    continue  # another worker's, by now
                audit.record(
                    "export.delete",
                    by=None,
                    project=project,
                    detail={
                        "exports": [f"{one.version.reference} {one.format}" for one in gone],
                        "why": f"Exports are kept for so many days: {days}.",
                    },
                )


def _remove_maps() -> None:
    """Maps that nobody looked at for long enough. They are made again in a moment."""
    days = settings.DISTILLHUB_MAP_DAYS
    if days:
        before = timezone.now() - timedelta(days=days)
        RowMap.objects.ready().filter(last_used__lt=before).delete()


def _names() -> set[bytes]:
    return sweeping.named(skipping=NAMELESS) | inference_parts.named_files()


def _names_of_checkpoints() -> set[bytes]:
    every = Checkpoint.objects.values_list("files", flat=True)
    return {bytes.fromhex(file["sha256"]) for files in every.iterator() for file in files}


def _tell_storage(swept: Swept, kept: Swept) -> None:
    left: dict[Key, Count] = {
        (Kind.NAMED, None): swept.named,
        (Kind.RECENT, None): swept.recent,
        (Kind.ORPHANS, None): _less(swept.orphans, swept.freed),
        (Kind.CHECKPOINTS, None): Count(
            kept.named.files + kept.recent.files, kept.named.bytes + kept.recent.bytes
        ),
    }
    _tell("", "", left)


def _less(one: Count, other: Count) -> Count:
    return Count(one.files - other.files, one.bytes - other.bytes)


def _tell(home: str, host: str, left: dict[Key, Count]) -> None:
    with transaction.atomic():
        StorageUse.objects.filter(home=home).delete()
        StorageUse.objects.bulk_create(
            StorageUse(
                home=home,
                host=host,
                kind=kind,
                project_id=project,
                bytes=count.bytes,
                files=count.files,
                told_at=Now(),
            )
            for (kind, project), count in left.items()
            if count.files
        )
