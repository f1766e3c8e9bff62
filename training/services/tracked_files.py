"""Files that MLflow's clients put beside a run or a logged model: kept as they are, never opened.

A file is a blob named by its content; its path is a text in a row, and names nothing on a disk.
"""

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from django.core.exceptions import RequestDataTooBig
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from distillhub.lib import storage, uploads
from distillhub.lib.errors import Conflict, Invalid, Missing, TooLarge, Unavailable
from distillhub.lib.places import taken_by_disk
from projects.models import Project
from training.models import ExperimentRun, LoggedModel, Run, TrackedFile
from training.models.run_import import files_of
from training.services import experiment_runs

LONGEST_PATH = 1000
MOST_FILES = 100_000  # of one owner
OF_MODEL = "m-"  # how the key of a logged model begins
READ = 1 << 20  # bytes held at a time


@dataclass(frozen=True, slots=True)
class Entry:
    """What a folder holds: a file, or a folder that files lie in."""

    name: str
    is_folder: bool
    bytes: int = 0


def checked(path: str) -> str:
    """A path without slashes at its ends. Raises Invalid for one that leaves its place, and for
    signs that some disk would not take."""
    path = path.strip("/")
    parts = path.split("/")
    is_odd = "\\" in path or any(ord(letter) < 32 for letter in path)
    if not path or is_odd or any(part in ("", ".", "..") for part in parts):
        raise Invalid(f"Invalid path: '{path[:200]}'.")
    if len(path) > LONGEST_PATH:
        raise Invalid(f"A path has at most {LONGEST_PATH} characters.")
    return path


def owner(*, project: Project, key: str, to_write: bool = False) -> str:
    """The run or logged model of the project that has this id. Raises Missing, and Invalid when it
    is deleted and something is to be written."""
    if key.startswith(OF_MODEL):
        model = LoggedModel.objects.filter(project=project, key=key, deleted_at=None).first()
        if model is None:
            raise Missing(f"Logged model with ID '{key[:64]}' not found.")
    else:
        run = experiment_runs.find(project=project, key=key)
        if to_write and experiment_runs.is_deleted(run):
            raise Invalid(f"The run {key} must be in the 'active' state. Current state is deleted.")
    if to_write and project.archived_at is not None:
        raise Conflict("This project is archived; nothing new can be tracked in it.")
    return key


def put(*, project: Project, key: str, path: str, stream: IO[bytes]) -> TrackedFile:
    """Store what a stream holds, in place of what was there under this path.

    Raises Missing, Invalid, TooLarge, and Away when the disk takes no more.
    """
    path = checked(path)
    owner(project=project, key=key, to_write=True)
    with (
        taken_by_disk(),
        tempfile.NamedTemporaryFile(dir=storage.working_folder("uploading")) as out,
    ):
        try:
            while piece := stream.read(READ):
                out.write(piece)
        except RequestDataTooBig:
            most = uploads.most_bytes() >> 20
            raise TooLarge(f"{path} is larger than {most:,} MiB, the most that is taken.") from None
        out.flush()
        blob = storage.put(Path(out.name))
    return _written(project, key, path, blob)


@transaction.atomic
def _written(project: Project, key: str, path: str, blob: storage.Blob) -> TrackedFile:
    files = TrackedFile.objects.filter(owner=key)
    above = ["/".join(path.split("/")[:count]) for count in range(1, path.count("/") + 1)]
    if files.filter(Q(path__in=above) | Q(path__startswith=f"{path}/")).exists():
        raise Invalid(f"'{path}' cannot be a file and a folder.")
    changes: dict[str, Any] = {
        "sha256": blob.sha256,
        "bytes": blob.bytes,
        "changed_at": timezone.now(),
    }
    if files.filter(path=path).update(**changes):
        return files.get(path=path)
    if files.count() >= MOST_FILES:
        raise Invalid(f"A run or model has at most {MOST_FILES:,} files.")
    try:
        with transaction.atomic():
            return TrackedFile.objects.create(project=project, owner=key, path=path, **changes)
    except IntegrityError:  # another request was faster
        files.filter(path=path).update(**changes)
        return files.get(path=path)


def of(keys: Iterable[str]) -> QuerySet[TrackedFile]:
    return TrackedFile.objects.filter(owner__in=list(keys))


def places(run: Run) -> dict[str, str]:
    """Whose files are a run's, by what to call the place: its own, and those of each model that it
    logged. At most two queries."""
    side: ExperimentRun | None = getattr(run, "experiment_run", None)  # read once with its run
    if side is None:
        return {files_of(run): "Files"} if getattr(run, "imported", None) else {}
    found = {side.key: "Files"}
    for model in LoggedModel.objects.filter(run=run, deleted_at=None).order_by("id"):
        found[model.key] = f"Model: {model.name}"
    return found


def name(file: TrackedFile) -> str:
    """What it is called among all of its run: a logged model's stand in a folder of its id."""
    return f"{file.owner}/{file.path}" if file.owner.startswith(OF_MODEL) else file.path


def named(*, run: Run, name: str) -> TrackedFile:
    """Raises Missing and Invalid."""
    whole = checked(name)
    owners = places(run)
    own = next((one for one in owners if not one.startswith(OF_MODEL)), "")
    key, _, path = whole.partition("/")
    asked = Q(owner=own, path=whole)
    if key in owners and key.startswith(OF_MODEL):
        asked |= Q(owner=key, path=path)
    found = TrackedFile.objects.filter(asked, project=run.project_id).first()
    if found is not None:
        return found
    raise Missing(f"Run {run.number} has no file {name[:200]}.")


def of_run(run: Run) -> list[tuple[str, list[TrackedFile]]]:
    """What lies beside a run, and beside each model that it logged, by what to call the place.
    Three queries."""
    called = places(run)
    found: dict[str, list[TrackedFile]] = {}
    for file in of(called) if called else ():
        found.setdefault(file.owner, []).append(file)
    return [(called[key], found[key]) for key in called if key in found]


def beside(*, run: Run, key: str, path: str) -> TrackedFile:
    """A file of a run, or of a model that it logged. Raises Missing and Invalid."""
    if key not in places(run):
        raise Missing(f"Run {run.number} has no such file.")
    return find(project=run.project, key=key, path=path)


def find(*, project: Project, key: str, path: str) -> TrackedFile:
    """Raises Missing and Invalid."""
    path = checked(path)
    found = TrackedFile.objects.filter(project=project, owner=key, path=path).first()
    if found is None:
        raise Missing(f"There is no file {path[:200]} here.")
    return found


def open_file(file: TrackedFile) -> IO[bytes]:
    """A readable stream of its bytes. Raises Unavailable when storage has lost them."""
    try:
        return storage.open_blob(file.sha256)
    except storage.Damaged:
        raise Unavailable(f"{file.path} is missing from storage.") from None


def remove(*, project: Project, key: str, path: str) -> None:
    """A file, or all files of a folder. Raises Missing and Invalid."""
    path = checked(path)
    owner(project=project, key=key, to_write=True)
    files = TrackedFile.objects.filter(project=project, owner=key)
    removed, _ = files.filter(Q(path=path) | Q(path__startswith=f"{path}/")).delete()
    if not removed:
        raise Missing(f"There is no file {path[:200]} here.")


def folder(*, project: Project, key: str, path: str = "") -> list[Entry]:
    """What lies in a folder, in order of names; nothing for what is no folder."""
    prefix = f"{checked(path)}/" if path.strip("/") else ""
    files = TrackedFile.objects.filter(project=project, owner=key, path__startswith=prefix)
    return entries(list(files.values_list("path", "bytes")), prefix)


def entries(files: Sequence[tuple[str, int]], prefix: str = "") -> list[Entry]:
    """Of paths and sizes what lies directly under a prefix."""
    found: dict[str, Entry] = {}
    for path, size in files:
        if not path.startswith(prefix):
            continue
        name, slash, _ = path[len(prefix) :].partition("/")
        found.setdefault(name, Entry(name, bool(slash), 0 if slash else size))
    return sorted(found.values(), key=lambda one: one.name)
