"""What takes how much room, and freeing it. People see their own projects by name, and the sum of
all others; owners free what is their project's, administrators the rest."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db.models import Sum
from django.utils import timezone

from distillhub.lib.errors import Forbidden, Invalid, Missing
from projects.models import DatasetVersion, Membership, ModelVersion, Project, Role, User
from training.models import (
    Artifact,
    Checkpoint,
    Export,
    InferencePart,
    Monitor,
    RowMap,
    Run,
    StorageUse,
    TeacherOutputs,
    Worker,
)
from training.services.workers import FORGOTTEN
from training.worker import retention

MOST_DAYS = 3650
#: Kinds of a project's files in storage. A file that is several is counted as the first.
PARTS = ("datasets", "models", "exports", "artifacts", "maps", "monitors")
#: What of each kind is missed once it is freed.
MISSED = {
    "ended": "These runs can then only begin again.",
    "journals": "Their curves and consoles stay on their pages.",
    "cache": "What is needed again is fetched again.",
    "orphans": "No page needs them.",
}


@dataclass(slots=True)
class OfProject:
    project: Project
    is_owner: bool
    parts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PARTS, 0))
    checkpoints: int = 0  # in storage
    freeable_checkpoints: int = 0  # of runs that are over
    machines: int = 0  # in folders of runs, on all machines

    @property
    def bytes(self) -> int:
        return sum(self.parts.values()) + self.checkpoints + self.machines

    @property
    def days(self) -> int:
        return retention.ended_run_days(self.project)


@dataclass(slots=True)
class OnMachine:
    use: StorageUse
    may_free: bool

    @property
    def project(self) -> Project | None:
        return self.use.project

    @property
    def frees(self) -> str:
        """What is freed, and what of it will be missed."""
        of = f" of {self.project.name}" if self.project else ""
        where = f" on {self.use.host}" if self.use.host else ""
        return f"{self.use.get_kind_display()}{of}{where}. {MISSED.get(self.use.kind, '')}".strip()


@dataclass(slots=True)
class Machine:
    home: str
    host: str
    rows: list[OnMachine] = field(default_factory=list)
    others_bytes: int = 0  # of projects that this person is no member of
    teacher_outputs: int = 0
    disk_bytes: int | None = None
    disk_free_bytes: int | None = None

    @property
    def bytes(self) -> int:
        mine = sum(row.use.bytes for row in self.rows)
        return mine + self.others_bytes + self.teacher_outputs

    @property
    def used_percent(self) -> float | None:
        if not self.disk_bytes or self.disk_free_bytes is None:
            return None
        return 100.0 * (1 - self.disk_free_bytes / self.disk_bytes)


@dataclass(slots=True)
class Overview:
    where: str
    storage: list[OnMachine]  # as the last sweep counted
    projects: list[OfProject]  # those that take most first
    machines: list[Machine]
    told_at: Any = None

    @property
    def storage_bytes(self) -> int:
        return sum(row.use.bytes for row in self.storage)


def overview(*, by: User) -> Overview:
    """Everything the page shows; a dozen queries, however many projects and machines."""
    projects = _projects(by)
    machines, storage = _machines(by, projects)
    return Overview(
        where=f"the bucket {settings.S3_BUCKET}" if settings.S3_BUCKET else "a folder",
        storage=storage,
        projects=sorted(projects.values(), key=lambda one: (-one.bytes, one.project.name)),
        machines=machines,
        told_at=storage[0].use.told_at if storage else None,
    )


def of_project(*, project: Project, by: User) -> OfProject:
    projects = _projects(by, only=project)
    _machines(by, projects)
    return projects[project.pk]


def free(*, use_id: int, by: User) -> None:
    """Have what is listed freed: by its machine within a minute, or by the next sweep, which is
    asked for now. Raises Missing, Forbidden, and Invalid for what is in use."""
    shown = overview(by=by)
    rows = [row for machine in shown.machines for row in machine.rows] + shown.storage
    row = next((one for one in rows if one.use.pk == use_id), None)
    if row is None:
        raise Missing("There is nothing of that kind.")
    if not row.use.is_freeable:
        raise Invalid("This is in use.")
    if not row.may_free:
        needed = "an owner of its project" if row.project else "an administrator"
        raise Forbidden(f"Only {needed} frees this.")
    StorageUse.objects.filter(pk=use_id).update(unwanted=True)
    if not row.use.home:
        retention.ask_sweep()


def free_checkpoints(*, project: Project, by: User) -> int:
    """Free the stored checkpoints of a project's failed and cancelled runs, which then begin again
    when they are resumed elsewhere; how many bytes."""
    del by
    return retention.free_ended(project)


def keep_for(*, project: Project, days: int | None, by: User) -> None:
    """For how many days failed and cancelled runs of a project keep their checkpoints: 0 for ever,
    None as this installation does. Raises Invalid."""
    del by
    if days is not None and not 0 <= days <= MOST_DAYS:
        sentence = f"Name a number of days from 0 (for ever) to {MOST_DAYS}."
        raise Invalid(sentence, fields={"ended_run_days": [sentence]})
    project.ended_run_days = days
    project.save(update_fields=["ended_run_days"])


def _projects(by: User, only: Project | None = None) -> dict[int, OfProject]:
    mine = Membership.objects.filter(user=by).select_related("project")
    if only is not None:
        mine = mine.filter(project=only)
    found = {one.project_id: OfProject(one.project, Role(one.role) == Role.OWNER) for one in mine}
    counted: dict[int, set[str]] = {pk: set() for pk in found}
    for part, files in _files(list(found)):
        for project, sha256, size in files:
            if sha256 and sha256 not in counted[project]:
                counted[project].add(sha256)
                found[project].parts[part] += size
    kept = Checkpoint.objects.filter(run__project__in=found).values("run__project", "run__status")
    for row in kept.annotate(total=Sum("bytes")).order_by():
        found[row["run__project"]].checkpoints += row["total"]
        if row["run__status"] in Run.FINAL:
            found[row["run__project"]].freeable_checkpoints += row["total"]
    return found


def _files(projects: list[int]) -> Iterator[tuple[str, Iterable[tuple[int, str, int]]]]:
    """By kind: the project, sha256 and size of every file that rows name."""
    versions = DatasetVersion.objects.filter(dataset__project__in=projects)
    rows = versions.values_list("dataset__project", "file_sha256", "file_bytes")
    sources = versions.values_list("dataset__project", "source_sha256", "source_bytes")
    yield "datasets", [*rows, *sources]
    models = ModelVersion.objects.filter(model__project__in=projects)
    yield "models", _listed(models.values_list("model__project", "files"))
    exports = Export.objects.filter(version__model__project__in=projects)
    yield "exports", _listed(exports.values_list("version__model__project", "files"))
    artifacts = Artifact.objects.filter(run__project__in=projects)
    yield "artifacts", artifacts.values_list("run__project", "sha256", "bytes").iterator()
    maps = RowMap.objects.filter(dataset_version__dataset__project__in=projects)
    yield "maps", _listed(maps.values_list("dataset_version__dataset__project", "files"))
    parts = InferencePart.objects.filter(monitor__project__in=projects).order_by()
    logged = parts.values_list("monitor__project", "sha256", "size_bytes")
    watched = Monitor.objects.filter(project__in=projects).order_by()
    references = _listed(watched.values_list("project", "reference_files"))
    yield "monitors", itertools.chain(logged.iterator(), references)


def _listed(rows: Iterable[tuple[int, Any]]) -> Iterator[tuple[int, str, int]]:
    for project, files in rows:
        for file in files:
            yield project, file["sha256"], file["bytes"]


def _machines(by: User, projects: dict[int, OfProject]) -> tuple[list[Machine], list[OnMachine]]:
    """What machines and the last sweep told; what is of these projects is added to them."""
    found: dict[str, Machine] = {}
    storage: list[OnMachine] = []
    for use in StorageUse.objects.select_related("project"):
        of = projects.get(use.project_id) if use.project_id is not None else None
        owns = by.is_superuser if use.project_id is None else of is not None and of.is_owner
        row = OnMachine(use, use.is_freeable and owns)
        if not use.home:
            storage.append(row)
            continue
        machine = found.setdefault(use.home, Machine(use.home, use.host))
        if use.project_id is not None and of is None:
            machine.others_bytes += use.bytes
            continue
        machine.rows.append(row)
        if of is not None:
            of.machines += use.bytes
    workers = Worker.objects.filter(seen_at__gt=timezone.now() - FORGOTTEN).order_by("seen_at")
    for worker in workers:
        home = str(worker.machine.get("home", ""))
        if home:
            machine = found.setdefault(home, Machine(home, worker.host))
            machine.host = worker.host
            machine.disk_bytes = worker.machine.get("disk_bytes")
            machine.disk_free_bytes = worker.load.get("disk_free_bytes")
    answers = TeacherOutputs.objects.values("home").annotate(total=Sum("bytes")).order_by()
    for one in answers:
        if one["home"] in found:
            found[one["home"]].teacher_outputs = one["total"]
    return sorted(found.values(), key=lambda machine: machine.host), storage
