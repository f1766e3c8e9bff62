"""Students made from a teacher: what a source of kind `derived` asks for, held against the
teacher and the dataset before a worker makes anything."""

from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet

from distillhub.lib.errors import DomainError, Invalid
from projects.models import DatasetVersion, ModelVersion, Project
from projects.services import datasets
from training import catalog
from training.services import references

KNOWN = {"from", "method", "options", "dataset"}


def source(*, project: Project, task: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The source as a version keeps it: every reference pinned, every option resolved.

    Raises Invalid with `source.from`, `source.method`, `source.options.…` or `source.dataset`.
    """
    teacher = _teacher(project, task, asked.get("from"))
    method = _method(teacher, asked.get("method"))
    options = _options(method, asked.get("options"))
    made = {
        "kind": "derived",
        "from": teacher.reference,
        "method": method["key"],
        "options": options,
    }
    if asked.get("dataset"):
        dataset = _dataset(project, task, method, asked["dataset"])
        made["dataset"] = dataset.reference
    return made


def refusal(method: Mapping[str, Any], architecture: str, *, altered: bool = False) -> str:
    """Why a method cannot make a smaller one of an architecture, or of a version of it that has
    factorised or pruned layers already; nothing where it can."""
    if architecture in method["architectures"]:
        if altered and not method["takes_altered"]:
            return (
                f"{method['label']} must come first: it has factorised or pruned layers already. "
                "Do it with the version that this one was made from."
            )
        return ""
    unknown = f"{method['label']} is not known to work with {architecture or 'this model'}."
    return str(method["refusals"].get(architecture, unknown))


def giver(*, version: ModelVersion) -> ModelVersion | None:
    """The version whose weights it was made of, or begins with."""
    reference = version.source.get("from") or version.source.get("initialise_from")
    name, _, number = str(reference or "").rpartition("@")
    if not number.isdecimal():
        return None
    return (
        ModelVersion.objects.select_related("model")
        .filter(model__project=version.model.project_id, model__name=name, number=int(number))
        .first()
    )


def made_of(*, version: ModelVersion) -> QuerySet[ModelVersion]:
    """The versions that were made of its weights, newest first."""
    return (
        ModelVersion.objects.select_related("model")
        .filter(
            model__project=version.model.project_id,
            source__kind="derived",
            source__from=version.reference,
        )
        .order_by("-created_at")
    )


def _teacher(project: Project, task: str, reference: Any) -> ModelVersion:
    if not isinstance(reference, str) or not reference.strip():
        raise _wrong("from", "Name the version it is made from, as in big@2.")
    try:
        found = references.model(project=project, reference=reference.strip())
    except DomainError as error:
        raise _wrong("from", error.detail) from None
    version = found.version
    if version is None:
        raise _wrong("from", f"{found.reference} is not finished: make it of what it will leave.")
    if version.model.task != task:
        raise _wrong("from", f"{version.reference} is for {version.model.task}, not {task}.")
    if not version.files:
        raise _wrong("from", f"{version.reference} has no weights yet: train it first.")
    return version


def _method(teacher: ModelVersion, key: Any) -> dict[str, Any]:
    method = catalog.find("derivations", str(key))
    if method is None:
        keys = ", ".join(one["key"] for one in catalog.methods()["derivations"])
        raise _wrong("method", f"It must be one of {keys}.")
    altered = bool(teacher.config.get("altered"))
    if refused := refusal(method, teacher.architecture, altered=altered):
        raise _wrong("method", refused)
    return method


def _options(method: Mapping[str, Any], values: Any) -> dict[str, Any]:
    if values is not None and not isinstance(values, Mapping):
        raise _wrong("options", "It must be an object of options.")
    resolved, faults = catalog.resolve_options(
        "derivations", method["key"], values or {}, "options"
    )
    if faults:
        fields = {f"source.{fault.field}": [fault.sentence] for fault in faults}
        raise Invalid(faults[0].sentence, fields=fields)
    return resolved


def _dataset(
    project: Project, task: str, method: Mapping[str, Any], reference: Any
) -> DatasetVersion:
    if not method["measures"]:
        raise _wrong("dataset", f"{method['label']} looks at no data: leave the dataset out.")
    if not isinstance(reference, str):
        raise _wrong("dataset", "Name a dataset, as in banking77@1.")
    try:
        version = datasets.resolve(project=project, reference=reference)
    except DomainError as error:
        raise _wrong("dataset", error.detail) from None
    if version.dataset.task != task:
        raise _wrong("dataset", f"{version.reference} is for {version.dataset.task}, not {task}.")
    for split in ("train", "validation"):
        if not version.splits.get(split, {}).get("rows"):
            raise _wrong("dataset", f"{version.reference} has no rows in its {split} split.")
    return version


def _wrong(name: str, sentence: str) -> Invalid:
    return Invalid(sentence, fields={f"source.{name}": [sentence]})
