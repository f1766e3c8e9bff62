"""Datasets: uploads are staged, understood, corrected, confirmed; workers make the versions, whose
rows version_rows.py reads."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import IO, Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Prefetch
from django.utils import timezone

from distillhub.lib import storage
from distillhub.lib.errors import Conflict, Invalid, Missing
from projects import jobs
from projects.ingest import audio_folder, registry, waveforms
from projects.ingest import reading as readings
from projects.ingest.formats import SPLIT_WORDS, TEST, TRAIN, BadFile
from projects.models import Dataset, DatasetVersion, Project, StagedUpload, User
from projects.services import events, upload_files

FORGOTTEN = timedelta(days=2)  # after which an upload that nobody confirmed is dropped
MOST_FILES = 50  # of one version
RESERVED_NAMES = frozenset({"new", "uploads"})  # they stand where names stand in addresses


class NotReady(Conflict):
    """The version is still being ingested, or failed."""

    code = "not_ready"


# Staging --------------------------------------------------------------------------------------


def stage(
    *,
    project: Project,
    file: upload_files.Upload,
    name: str,
    dataset: Dataset | None = None,
    test_file: upload_files.Upload | None = None,
    more: Sequence[upload_files.Upload] = (),
    for_task: str = "",
    by: User,
) -> StagedUpload:
    """Keep uploaded files and understand their beginning; nothing becomes a dataset yet.

    `name` is the file's name; `for_task` what they are for, where that is known. `more` are
    further files of the same rows. `test_file`, when there is one, becomes the split `test`; else
    names such as `test.csv` say which split a file is, if all of them do. Raises BadFile (with what
    the file is instead, where that is known) and TooLarge.
    """
    _forget_old_uploads()
    if len(more) >= MOST_FILES:
        sentence = f"At most {MOST_FILES} files may be uploaded together."
        raise Invalid(sentence, fields={"file": [sentence]})
    meant = dataset.task if dataset is not None else for_task
    kept = upload_files.keep(file, name, meant)
    for another in more:
        kept += upload_files.keep(another, another.name or "upload", meant)
    learned = len(kept)
    if test_file is not None:
        try:
            kept += upload_files.keep(test_file, test_file.name or "test", meant)
        except BadFile as error:
            raise Invalid(error.detail, fields={"test_file": [error.detail]}) from None
    if len(kept) > MOST_FILES:
        sentence = f"At most {MOST_FILES} files may be uploaded together."
        raise Invalid(sentence, fields={"file": [sentence]})
    forms = {one["format"] for one in kept}
    if len(forms) > 1:
        sentence = "All files must be of the same format."
        field = "file" if test_file is None else "test_file"
        raise Invalid(sentence, fields={field: [sentence]})
    form = registry.get(forms.pop())
    files = [
        {"name": one["name"], "sha256": one["sha256"], "bytes": one["bytes"], "split": None}
        for one in kept
    ]
    named: list[str | None] = [_split_called(one["name"]) for one in kept]
    if test_file is not None:
        named = [TRAIN if place < learned else TEST for place in range(len(kept))]
    if len(files) > 1 and all(named):
        for one, split in zip(files, named, strict=True):
            one["split"] = split
    if dataset is not None and dataset.task not in form.tasks:
        sentence = f"{form.label} cannot be a version of {dataset.name}, which is for"
        raise Invalid(
            f"{sentence} {dataset.task}.", fields={"file": [f"{sentence} {dataset.task}."]}
        )
    task, problem = earlier(dataset)
    reading = readings.first(form, files, storage.open_blob, task=task, problem=problem)
    with transaction.atomic():
        return StagedUpload.objects.create(
            project=project,
            dataset=dataset,
            created_by=by,
            source_name=upload_files.safe_name(name),
            source_sha256=files[0]["sha256"],
            source_bytes=sum(one["bytes"] for one in files),
            format=form.key,
            understood={"reading": reading},
        )


def preview(*, upload: StagedUpload) -> dict[str, Any]:
    """What was understood of an upload (projects/ingest/reading.py, preview)."""
    form = registry.get(upload.format)
    return readings.preview(form, upload.understood["reading"], storage.open_blob)


def read_again(*, upload: StagedUpload, reading: Mapping[str, Any]) -> dict[str, Any]:
    """The preview with a corrected reading; nothing is stored. Raises Invalid with `fields`."""
    form = registry.get(upload.format)
    changed = readings.corrected(
        form, upload.understood["reading"], dict(reading), storage.open_blob, strict=False
    )
    return readings.preview(form, changed, storage.open_blob)


def confirm(
    *,
    upload: StagedUpload,
    name: str,
    task: str,
    reading: Mapping[str, Any] | None,
    by: User,
    description: str = "",
) -> DatasetVersion:
    """The next version of the upload's dataset (or version 1 of a new one called `name`), which a
    worker then ingests. Confirming an upload again gives the version it became.

    Raises Invalid with `fields`, and Conflict when the name is taken.
    """
    form = registry.get(upload.format)
    changes = dict(reading or {})
    if task:
        changes["task"] = task
    complete = readings.corrected(form, upload.understood["reading"], changes, storage.open_blob)
    task = complete["task"]
    readings.check_usable(form, complete, storage.open_blob)
    with transaction.atomic():
        locked = StagedUpload.objects.select_for_update().get(pk=upload.pk)
        if made := locked.understood.get("version"):
            return DatasetVersion.objects.select_related("dataset__project").get(pk=made)
        dataset = locked.dataset or dataset_called(
            project=locked.project, name=name, task=task, description=description, by=by
        )
        if dataset.task != task:
            sentence = f"{dataset.name} is a dataset for {dataset.task}, not for {task}."
            raise Invalid(sentence, fields={"task": [sentence]})
        Dataset.objects.select_for_update().get(pk=dataset.pk)
        version = DatasetVersion.objects.create(
            dataset=dataset,
            number=dataset.next_number(),
            source_name=locked.source_name,
            source_sha256=locked.source_sha256,
            source_bytes=locked.source_bytes,
            format=form.key,
            reading=complete,
            stage="Waiting for a worker",
            created_by=by,
        )
        locked.understood["version"] = version.pk
        locked.save(update_fields=["understood"])
        transaction.on_commit(lambda: jobs.send_ingestion(version.pk))
    return version


def upload(
    *,
    project: Project,
    name: str,
    task: str,
    file: upload_files.Upload,
    columns: Mapping[str, Any] | None = None,
    splits: Mapping[str, Any] | None = None,
    problem: str = "",
    reading: Mapping[str, Any] | None = None,
    test_file: upload_files.Upload | None = None,
    more: Sequence[upload_files.Upload] = (),
    dataset: Dataset | None = None,
    description: str = "",
    by: User,
) -> DatasetVersion:
    """Stage and confirm in one: what REST does. With `dataset`, its next version.

    `columns` maps roles to columns (`{"text": "query", "label": "category"}`), `splits` gives the
    shares of splits made here, `problem` says what a label is, `reading` overrides anything that
    was guessed. A next version is of the problem that the version before it was of.
    """
    if dataset is None:
        _refuse_taken(project, name)  # before the work of reading a large file
    changes = changes_of(dataset, columns, splits, problem, reading)
    # Not in one transaction: files of any size are read and stored between the two.
    staged = stage(
        project=project,
        file=file,
        name=file.name or "upload",
        dataset=dataset,
        test_file=test_file,
        more=more,
        for_task=task,
        by=by,
    )
    try:
        return confirm(
            upload=staged,
            name=name,
            task=task,
            reading=changes,
            description=description,
            by=by,
        )
    except BaseException:
        discard(upload=staged, by=by)
        raise


def changes_of(
    dataset: Dataset | None,
    columns: Mapping[str, Any] | None,
    splits: Mapping[str, Any] | None,
    problem: str,
    reading: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What an upload says of how it is to be read, as changes of what would be guessed."""
    changes: dict[str, Any] = dict(reading or {})
    if columns is not None:
        changes["columns"] = dict(columns)
    if splits is not None:
        shares = dict(splits)
        if "seed" in shares:
            changes["seed"] = shares.pop("seed")
        if shares:
            changes["splits"] = shares
    if chosen := problem or earlier(dataset)[1]:
        changes.setdefault("problem", chosen)
    return changes


def try_again(*, version: DatasetVersion, by: User) -> StagedUpload:
    """The upload of a version, to be read differently; what comes of it is the next version. Raises
    Conflict of one that is being read, or that no file was uploaded for."""
    if version.operation is not None or not version.reading.get("files"):
        raise Conflict("Only what was uploaded can be read differently.")
    if version.status == DatasetVersion.Status.INGESTING:
        raise Conflict(f"{version.reference} is still being read.")
    reading = dict(version.reading)
    if "hub" in reading:
        told = reading["hub"].items()
        reading["hub"] = {name: value for name, value in told if name != "asked"}
    with transaction.atomic():
        return StagedUpload.objects.create(
            project=version.dataset.project,
            dataset=version.dataset,
            created_by=by,
            source_name=version.source_name,
            source_sha256=version.source_sha256,
            source_bytes=version.source_bytes,
            format=version.format,
            understood={"reading": reading, "failed": (version.error or {}).get("detail")},
        )


def discard(*, upload: StagedUpload, by: User) -> None:
    """Forget an upload that was not confirmed."""
    del by
    upload.delete()


def earlier(dataset: Dataset | None) -> tuple[str, str]:
    """(task, problem) of the version before, empty where there is none."""
    if dataset is None:
        return "", ""
    newest = dataset.versions.ready().order_by("-number").first()
    return dataset.task, "" if newest is None else newest.problem


def _split_called(name: str) -> str | None:
    """The split that a file's name says it is: `sms-test.csv` is test."""
    words = re.split(r"[^a-z]+", name.lower())
    return next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), None)


def _forget_old_uploads() -> None:
    StagedUpload.objects.filter(created_at__lt=timezone.now() - FORGOTTEN).delete()


def _refuse_taken(project: Project, name: str) -> Dataset | None:
    """The dataset of that name if it never had a version that could be used, else Conflict."""
    if "\0" in name:  # no dataset is called so, and PostgreSQL fails on the question
        return None
    existing = Dataset.objects.filter(project=project, name=name.strip()).first()
    if existing is None:
        return None
    if existing.versions.exclude(status=DatasetVersion.Status.FAILED).exists():
        sentence = (
            f"There is already a dataset called {existing.name}. Choose another name, or add this "
            "file as its next version."
        )
        raise Conflict(sentence, code="name_taken", fields={"name": [sentence]})
    return existing


def dataset_called(
    *, project: Project, name: str, task: str, description: str, by: User
) -> Dataset:
    """A new dataset, or the one of that name whose uploads all failed."""
    if name.strip() in RESERVED_NAMES:
        sentence = f"{name.strip()} is a word of the addresses here; choose another name."
        raise Invalid(sentence, fields={"name": [sentence]})
    dataset = Dataset(
        project=project,
        name=name.strip(),
        task=task,
        description=description.strip(),
        created_by=by,
    )
    try:
        dataset.full_clean(validate_unique=False, validate_constraints=False)
    except ValidationError as error:
        fields = {field: list(sentences) for field, sentences in error.message_dict.items()}
        raise Invalid(next(iter(fields.values()))[0], fields=fields) from None
    existing = _refuse_taken(project, name)
    if existing is not None:
        if existing.task != task:
            existing.task = task
            existing.save(update_fields=["task"])
        return existing
    with transaction.atomic():
        dataset.save(force_insert=True)
        events.tell(
            project=project,
            kind="dataset.created",
            subject_kind="dataset",
            subject=dataset.name,
            title=dataset.name,
            sentence=f"Made by {by.display_name}.",
            by=by,
            data={"name": dataset.name, "task": dataset.task},
        )
    return dataset


# Reading --------------------------------------------------------------------------------------


def open_file(*, version: DatasetVersion) -> IO[bytes]:
    """The version's Parquet file. Raises NotReady, and Missing when storage has lost it."""
    require_ready(version)
    try:
        return storage.open_blob(version.file_sha256)
    except storage.Damaged as error:
        raise Missing(str(error)) from None


def sound_of_upload(*, upload: StagedUpload, file: int, place: int) -> bytes:
    """A sound of an upload that is not confirmed yet, likewise. Raises Missing."""
    return audio_folder.playable(_encoded(upload, file, place))


def _encoded(upload: StagedUpload, file: int, place: int) -> bytes:
    files = upload.understood["reading"]["files"]
    encoded = None
    if upload.format == audio_folder.AudioFolder.key and 0 <= file < len(files):
        with storage.open_blob(files[file]["sha256"]) as handle:
            encoded = audio_folder.of_upload(handle, files[file]["name"], place)
    if encoded is None:
        raise Missing("This upload holds no such sound.")
    return encoded


def waveform_of_upload(*, upload: StagedUpload, file: int, place: int) -> str:
    """What `sound_of_upload` plays, likewise. Raises Missing."""
    return waveforms.drawn(_encoded(upload, file, place))


def get(*, project: Project, name: str) -> Dataset:
    """Raises Missing."""
    newest = DatasetVersion.objects.newest_of_each().select_related("dataset", "created_by")
    found = (
        Dataset.objects.filter(project=project, name=name)
        .select_related("created_by", "project")
        .prefetch_related(Prefetch("versions", newest, to_attr="newest"))
        .first()
    )
    if found is None:
        raise Missing(f"There is no dataset called {name}.")
    return found


def version_of(*, project: Project, name: str, number: int) -> DatasetVersion:
    """One version in any status. Raises Missing."""
    found = (
        DatasetVersion.objects.select_related("dataset__project", "created_by", "parent")
        .filter(dataset__project=project, dataset__name=name, number=number)
        .first()
    )
    if found is None:
        raise Missing(f"There is no dataset version {name}@{number}.")
    return found


def resolve(*, project: Project, reference: str) -> DatasetVersion:
    """The version meant by `name@3`, `name@latest` or `name` (the newest that is ready).

    Raises Missing for a name or number that is not there, NotReady for a version that cannot be
    used (yet), Invalid for what is no reference.
    """
    if not reference.strip():
        raise Invalid("Name a dataset, as in banking77@1.")
    name, _, which = reference.strip().partition("@")
    versions = DatasetVersion.objects.select_related("dataset").filter(
        dataset__project=project, dataset__name=name
    )
    if which in {"", "latest"}:
        newest = versions.ready().order_by("-number").first()
        if newest is None:
            if versions.exists():
                raise NotReady(f"No version of {name} is ready.")
            raise Missing(f"There is no dataset called {name}.")
        return newest
    if not (which.isascii() and which.isdigit()) or len(which) > 9:
        raise Invalid(f"{reference} is no reference; write {name}@1 or {name}.")
    version = versions.filter(number=int(which)).first()
    if version is None:
        raise Missing(f"There is no dataset version {reference}.")
    require_ready(version)
    return version


def require_ready(version: DatasetVersion) -> None:
    if version.status == DatasetVersion.Status.INGESTING:
        raise NotReady(f"{version.reference} is still being read; try again in a moment.")
    if version.status == DatasetVersion.Status.FAILED:
        raise NotReady(f"{version.reference} could not be read, so it has no rows.")
