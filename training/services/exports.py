"""Exports: a version of a model as it is shipped, made by a worker and held against the model."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import IO, Any

from django.db import transaction
from django.db.models import QuerySet

from distillhub.lib import storage
from distillhub.lib.errors import Conflict, DomainError, Invalid, Missing
from projects.models import DatasetVersion, ModelVersion, User
from projects.services import datasets, registry
from training import catalog
from training.engine.errors import ConfigError
from training.models import Export, Run
from training.worker import exports as making

Faults = dict[str, list[str]]
KNOWN = ("format", "options", "compress", "dataset", "teacher")


class NotReady(Conflict):
    code = "not_ready"


def make(*, version: ModelVersion, asked: Mapping[str, Any], by: User) -> Export:
    """Queue an export. `asked` is {"format", "options"?, "compress"?, "dataset"?, "teacher"?}: the
    dataset is the one of the run that made the version, unless named, and so is the teacher.

    Raises Invalid with every fault at its field.
    """
    faults: Faults = {
        name: [f"There is no such key; an export knows {', '.join(KNOWN)}."]
        for name in asked
        if name not in KNOWN
    }
    if not version.is_trained or version.status != ModelVersion.Status.READY:
        raise Invalid(f"{version.reference} has no trained weights, so there is nothing to ship.")
    wish = _wish(version, asked, faults)
    _refused(version, wish, faults)
    dataset = _dataset(version, asked.get("dataset"), faults)
    teacher = _teacher(version, asked.get("teacher"), wish.get("compress"), dataset, faults)
    if faults or dataset is None:
        raise _invalid(faults)
    with transaction.atomic():
        export = Export.objects.create(
            version=version,
            format=wish["format"],
            options=wish["options"],
            compress=wish["compress"],
            dataset_version=dataset,
            teacher=teacher,
            created_by=by,
        )
        making.WORK.wake(export)
    return export


def listed(*, version: ModelVersion) -> QuerySet[Export]:
    """Of a version, newest first, with what their rows show."""
    return Export.objects.filter(version=version).select_related(
        "version__model__project", "dataset_version__dataset", "teacher__model", "created_by"
    )


def find(*, version: ModelVersion, export_id: int) -> Export:
    """Raises Missing."""
    found = listed(version=version).filter(pk=export_id).first()
    if found is None:
        raise Missing(f"{version.reference} has no export {export_id}.")
    return found


def files(*, export: Export) -> list[tuple[str, Callable[[], IO[bytes]]]]:
    """Of each file its name and what opens it. Raises NotReady."""
    if export.status == Export.Status.FAILED:
        raise NotReady("This export failed; there is nothing to download.")
    if export.status != Export.Status.READY:
        raise NotReady("This export is still being made; ask again when it is ready.")
    return [(file["name"], partial(storage.open_blob, file["sha256"])) for file in export.files]


def file_name(*, export: Export) -> str:
    """What a download of all its files is called."""
    version = export.version
    how = f"-{export.compress['kind']}" if export.compress else ""
    return f"{version.model.name}-{version.number}-{export.format}{how}.zip"


def suggested(*, version: ModelVersion) -> tuple[DatasetVersion | None, ModelVersion | None]:
    """The dataset and the teacher of the run that made a version, or of the export it was."""
    if version.source.get("kind") == "export":
        exports = Export.objects.select_related("dataset_version__dataset", "teacher__model")
        export = exports.filter(
            version__model__project=version.model.project_id, pk=version.source["export"]
        ).first()
        return (None, None) if export is None else (export.dataset_version, export.teacher)
    run = maker(version)
    if run is None:
        return None, None
    taught = (one for one in run.teachers.select_related("model") if one.is_trained)
    return run.dataset_version, next(taught, None)


def maker(version: ModelVersion) -> Run | None:
    """The run that left a version, or whose output it was registered from."""
    runs = Run.objects.select_related("dataset_version__dataset")
    made = runs.filter(output=version).first()
    if made is None and version.source.get("kind") == "run":
        number = version.source.get("run")
        made = runs.filter(project=version.model.project_id, number=number).first()
    return made


def _wish(version: ModelVersion, asked: Mapping[str, Any], faults: Faults) -> dict[str, Any]:
    wanted = {name: asked[name] for name in ("format", "options", "compress") if name in asked}
    try:
        return catalog.resolve_export(wanted, version.model.task)
    except ConfigError as error:
        for fault in error.faults:
            faults.setdefault(fault.field or "format", []).append(fault.sentence)
        return {}


def _refused(version: ModelVersion, wish: Mapping[str, Any], faults: Faults) -> None:
    """What this architecture cannot be shipped as, or made smaller by, is known before anything is
    tried."""
    compress = wish.get("compress") or {}
    for kind, key, at in (
        ("exporters", wish.get("format"), "format"),
        ("compressors", compress.get("kind"), "compress.kind"),
    ):
        method = catalog.find(kind, key) if key else None
        reason = (method or {}).get("refusals", {}).get(version.architecture)
        if reason:
            faults.setdefault(at, []).append(reason)


def _dataset(version: ModelVersion, reference: Any, faults: Faults) -> DatasetVersion | None:
    if reference in (None, ""):
        suited, _ = suggested(version=version)
        if suited is None:
            faults["dataset"] = [
                "No run here made this version: name the dataset whose rows it is judged on."
            ]
        return suited
    if not isinstance(reference, str):
        faults["dataset"] = ["It must be a reference such as tickets@1."]
        return None
    try:
        found = datasets.resolve(project=version.model.project, reference=reference)
    except DomainError as error:
        faults["dataset"] = [error.detail]
        return None
    task = version.model.task
    if found.dataset.task != task:
        faults["dataset"] = [f"{found.reference} is for {found.dataset.task}, not {task}."]
    elif catalog.problem_of(task, found.problem) != version.problem:
        faults["dataset"] = [f"{found.reference} has answers of another kind than the model."]
    return found


def _teacher(
    version: ModelVersion,
    reference: Any,
    compress: Mapping[str, Any] | None,
    dataset: DatasetVersion | None,
    faults: Faults,
) -> ModelVersion | None:
    """Whose answers a compressor that trains learns from: the one named, else the run's, where it
    knows the dataset's labels."""
    found = catalog.find("compressors", compress["kind"]) if compress else None
    trains = found is not None and found["trains"]
    if reference in (None, ""):
        _, suited = suggested(version=version)
        if not trains or suited is None or not _knows(suited, dataset):
            return None
        return None if _reads_otherwise(suited, version) else suited
    if not isinstance(reference, str):
        faults["teacher"] = ["It must be a reference such as big@2."]
        return None
    if not trains:
        faults["teacher"] = ["Nothing is trained here, so there is nothing to teach."]
        return None
    try:
        teacher = registry.resolve(project=version.model.project, reference=reference)
    except DomainError as error:
        faults["teacher"] = [error.detail]
        return None
    if teacher.model.task != version.model.task or not teacher.is_trained:
        faults["teacher"] = [f"{teacher.reference} is no trained model of this task."]
    elif not _knows(teacher, dataset):
        faults["teacher"] = [f"{teacher.reference} does not know the dataset's labels."]
    elif _reads_otherwise(teacher, version):
        faults["teacher"] = [
            f"{teacher.reference} cuts texts into other tokens than {version.reference}. Name "
            "another teacher, the version itself, or none."
        ]
    return teacher


def _knows(teacher: ModelVersion, dataset: DatasetVersion | None) -> bool:
    return dataset is None or set(dataset.labels) <= set(teacher.labels)


def _reads_otherwise(teacher: ModelVersion, version: ModelVersion) -> bool:
    """Whether two networks that write are known to have other tokenizers."""
    if version.model.task != "text-generation":
        return False
    one, other = ((found.tokenizer or {}).get("sha256") for found in (teacher, version))
    return bool(one and other and one != other)


def _invalid(faults: Faults) -> Invalid:
    first = next(iter(faults))
    more = sum(len(sentences) for sentences in faults.values()) - 1
    rest = f" (and {more} more)" if more else ""
    return Invalid(f"{first}: {faults[first][0]}{rest}", fields=faults)
