"""Deleting datasets and versions that nobody uses. Their files go with the next sweep of storage,
a day after no row names them any more."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.db import transaction
from django.db.models import ProtectedError

from distillhub.lib.errors import Conflict
from projects.models import Dataset, DatasetVersion, User
from projects.services import subjects

NAMED = 5  # of those who use it


class InUse(Conflict):
    """Something would lose what it was made of."""

    code = "in_use"


@dataclass(frozen=True, slots=True)
class Removed:
    versions: int
    bytes: int  # of files that no other row names: freed within a day


def delete_version(*, version: DatasetVersion, by: User) -> Removed:
    """Also of one that is being made, or failed. With its last version a dataset goes, too.

    Raises InUse, naming who uses it.
    """
    del by
    with transaction.atomic():
        dataset = Dataset.objects.select_for_update().get(pk=version.dataset_id)
        freed = freed_by([version])
        _delete(version)
        if not dataset.versions.exists():
            _delete_dataset(dataset)
        elif version.number > dataset.last_deleted_version:
            dataset.last_deleted_version = version.number
            dataset.save(update_fields=["last_deleted_version"])
    return Removed(1, freed)


def delete_dataset(*, dataset: Dataset, by: User) -> Removed:
    """With all its versions. Raises InUse, naming who uses one of them."""
    del by
    with transaction.atomic():
        locked = Dataset.objects.select_for_update().get(pk=dataset.pk)
        # Children first: a version stays as long as another one was made of it.
        versions = list(locked.versions.select_related("dataset").order_by("-number"))
        freed = freed_by(versions)
        for version in versions:
            _delete(version)
        _delete_dataset(locked)
    return Removed(len(versions), freed)


def freed_by(versions: Iterable[DatasetVersion]) -> int:
    """Bytes of the files that only these versions name."""
    own: dict[str, int] = {}
    keys = set()
    for version in versions:
        keys.add(version.pk)
        own |= _files(version)
    others = DatasetVersion.objects.exclude(pk__in=keys)
    stored = others.filter(file_sha256__in=own).values_list("file_sha256", flat=True)
    uploaded = others.filter(source_sha256__in=own).values_list("source_sha256", flat=True)
    shared = {*stored, *uploaded}
    return sum(size for sha256, size in own.items() if sha256 not in shared)


def _files(version: DatasetVersion) -> dict[str, int]:
    """{sha256: bytes} of what a version names."""
    found = {one["sha256"]: one["bytes"] for one in version.reading.get("files", [])}
    if version.file_sha256:
        found[version.file_sha256] = version.file_bytes
    return found


def _delete_dataset(dataset: Dataset) -> None:
    dataset.delete()
    subjects.forget(project=dataset.project, kind="dataset", reference=dataset.name)


def _delete(version: DatasetVersion) -> None:
    waiting = [
        one.reference
        for one in DatasetVersion.objects.ingesting()
        .select_related("dataset")
        .filter(dataset__project=version.dataset.project_id, operation__isnull=False)
        if version.pk in (one.operation or {}).get("others", ())
    ]
    if waiting:
        raise _in_use(version, waiting)
    dataset = version.dataset
    try:
        version.delete()
    except ProtectedError as error:
        raise _in_use(version, sorted({str(one) for one in error.protected_objects})) from None
    subjects.forget(project=dataset.project, kind="dataset_version", reference=version.reference)


def _in_use(version: DatasetVersion, by: list[str]) -> InUse:
    shown = ", ".join(by[:NAMED]) + (f" and {len(by) - NAMED} more" if len(by) > NAMED else "")
    verb = "uses" if len(by) == 1 else "use"
    return InUse(f"{version.reference} stays: {shown} {verb} it. Delete what uses it first.")
