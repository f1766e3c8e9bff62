"""The registry of models as MLflow's clients see it: all models of the project, ours too.

A version that a client registers keeps the files that its run or logged model had at that moment,
by their content. They are kept as they came and never loaded here, so it neither teaches nor is
trained; people download it, and aliases point at it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Prefetch, QuerySet

from distillhub.lib.errors import Conflict, Invalid, Missing
from projects.models import ModelVersion, Project, RegisteredModel, User
from projects.services import registry
from training.models import RegistryNote
from training.services import experiment_runs, experiments, logged_models, tracked_files
from training.services import tracking_filters as filters
from training.services.experiments import Taken, millis

KIND = "mlflow"  # of a version's source
TASK = "other"  # nobody says what it is good for
ROOT = "mlflow-artifacts:/registry"
STAGES = ("None", "Staging", "Production", "Archived")
LONGEST_DESCRIPTION = 5000
LONGEST_SOURCE = 2000
PROMPT = "mlflow.prompt.is_prompt"  # a tag by which clients leave out what is no model
OF_RUN = re.compile(r"(?:runs:/|mlflow-artifacts:/+\d+/)(?P<key>[0-9a-f]{32})(?P<path>/.*)?")
OF_MODEL = re.compile(r"(?:models:/|mlflow-artifacts:/+\d+/models/)(?P<key>m-[0-9a-f]{32})(?:/.*)?")


def models(project: Project) -> QuerySet[RegisteredModel]:
    newest = ModelVersion.objects.select_related("model", "note").order_by("-number")
    return (
        RegisteredModel.objects.filter(project=project)
        .prefetch_related(Prefetch("versions", newest), "aliases__version")
        .order_by("name")
    )


def versions(project: Project) -> QuerySet[ModelVersion]:
    return (
        ModelVersion.objects.filter(model__project=project)
        .select_related("model", "note")
        .prefetch_related("aliases")
        .order_by("model__name", "-number")
    )


def find(*, project: Project, name: str) -> RegisteredModel:
    """Raises Missing."""
    found = models(project).filter(name=name).first()
    if found is None:
        raise Missing(f"Registered Model with name={name[:200]} not found")
    return found


def find_version(*, project: Project, name: str, number: str) -> ModelVersion:
    """Raises Missing."""
    is_number = number.isascii() and number.isdigit() and len(number) < 10
    found = None
    if is_number:
        found = versions(project).filter(model__name=name, number=int(number)).first()
    if found is None:
        raise Missing(f"Model Version (name={name[:200]}, version={number[:20]}) not found")
    return found


def at_alias(*, project: Project, name: str, alias: str) -> ModelVersion:
    """Raises Missing, and Invalid for an alias that is none (clients ask this way whether there is
    one)."""
    found = versions(project).filter(model__name=name, aliases__name=alias).first()
    if found is None:
        find(project=project, name=name)
        raise Invalid(f"Registered model alias {alias[:100]} not found.")
    return found


@transaction.atomic
def create(
    *,
    project: Project,
    name: str,
    by: User,
    description: str = "",
    tags: Mapping[str, str] | None = None,
) -> RegisteredModel:
    """A student without versions. Raises Invalid, Taken, and Conflict in an archived project."""
    _check_open(project)
    if RegisteredModel.objects.filter(project=project, name=name).exists():
        raise Taken(f"Registered Model (name={name}) already exists.")
    try:
        made = registry.begin(
            project=project, name=name, role="student", task=TASK, description=description, by=by
        )
    except Conflict:
        raise Taken(f"Registered Model (name={name}) already exists.") from None
    if tags:
        tag(model=made, tags=tags)
    return find(project=project, name=made.name)


@transaction.atomic
def create_version(
    *,
    project: Project,
    name: str,
    source: str,
    by: User,
    run_id: str = "",
    model_id: str = "",
    description: str = "",
    tags: Mapping[str, str] | None = None,
) -> ModelVersion:
    """The next version of a model. Raises Missing, Invalid, and Conflict in an archived project."""
    _check_open(project)
    model = find(project=project, name=name)
    if len(source) > LONGEST_SOURCE:
        raise Invalid(f"A source has at most {LONGEST_SOURCE:,} characters.")
    logged = logged_models.find(project=project, key=model_id) if model_id else None
    run = experiment_runs.find(project=project, key=run_id).run if run_id else None
    if run is None and logged is not None:
        run = logged.run
    files = _files(project, source, model_id)
    made = registry.add_version(
        model=model,
        source={
            "kind": KIND,
            "uri": source,
            "run_id": run_id,
            "model_id": model_id,
            **({"run": run.number} if run is not None else {}),
        },
        status=ModelVersion.Status.READY,
        size_bytes=sum(file["bytes"] for file in files) or None,
        files=files,
        metrics=run.metrics if run is not None else {},
        by=by,
    )
    if description or tags:
        note(made, description=description, tags=tags or {})
    return find_version(project=project, name=name, number=str(made.number))


def _files(project: Project, source: str, model_id: str) -> list[dict[str, Any]]:
    """What stands at the source, where it is in this project. Raises Missing and Invalid."""
    key, path = model_id, ""
    if found := OF_MODEL.fullmatch(source):
        key = found["key"]
    elif not key and (found := OF_RUN.fullmatch(source)):
        key, path = found["key"], (found["path"] or "").strip("/")
        if source.startswith("mlflow-artifacts:"):
            path = path.removeprefix("artifacts").strip("/")
    if not key:
        return []
    key = tracked_files.owner(project=project, key=key)
    prefix = f"{tracked_files.checked(path)}/" if path else ""
    rows = tracked_files.of([key]).filter(path__startswith=prefix)
    return [
        {"name": one.path.removeprefix(prefix), "sha256": one.sha256, "bytes": one.bytes}
        for one in rows
    ]


def describe(*, model: RegisteredModel, description: str, by: User) -> RegisteredModel:
    """Raises Invalid."""
    registry.describe(model=model, description=description, by=by)
    return find(project=model.project, name=model.name)


@transaction.atomic
def tag(*, model: RegisteredModel, tags: Mapping[str, str]) -> None:
    """Raises Invalid."""
    kept = _note_of(model)
    kept.tags = experiments.laid(kept.tags, tags)
    kept.save(update_fields=["tags", "changed_at"])


@transaction.atomic
def untag(*, model: RegisteredModel, key: str) -> None:
    """A tag that is not there is gone already, as MLflow has it."""
    kept = _note_of(model)
    if kept.tags.pop(key, None) is not None:
        kept.save(update_fields=["tags", "changed_at"])


@transaction.atomic
def note(
    version: ModelVersion,
    *,
    description: str | None = None,
    tags: Mapping[str, str] | None = None,
    untag: str = "",
    stage: str = "",
) -> None:
    """What clients say of a version. Raises Invalid."""
    kept, _ = RegistryNote.objects.select_for_update().get_or_create(
        version=version, defaults={"model": version.model}
    )
    if description is not None:
        if len(description) > LONGEST_DESCRIPTION:
            raise Invalid(f"A description has at most {LONGEST_DESCRIPTION:,} characters.")
        kept.description = description
    if tags:
        kept.tags = experiments.laid(kept.tags, tags)
    if untag:
        kept.tags.pop(untag, None)
    if stage:
        kept.stage = stage
    kept.save()


@transaction.atomic
def move(*, version: ModelVersion, stage: str, alone: bool = False) -> ModelVersion:
    """To a stage, as older clients have them; `alone` archives what is in it. Raises Invalid."""
    known = {one.lower(): one for one in STAGES}
    if stage.lower() not in known:
        raise Invalid(f"Invalid Model Version stage: {stage[:50]}. Value must be one of {STAGES}.")
    stage = known[stage.lower()]
    if alone:
        if stage not in ("Staging", "Production"):
            raise Invalid(f"Versions cannot be archived for those that go to stage {stage}.")
        others = RegistryNote.objects.filter(model=version.model, stage=stage)
        others.exclude(version=version).exclude(version=None).update(stage="Archived")
    note(version, stage=stage)
    number = str(version.number)
    return find_version(project=version.model.project, name=version.model.name, number=number)


def latest(model: RegisteredModel, stages: Iterable[str] = ()) -> list[ModelVersion]:
    """Of each stage the newest version. Raises Invalid."""
    known = {one.lower(): one for one in STAGES}
    wanted = []
    for asked in stages:
        if asked.lower() not in known:
            raise Invalid(f"Invalid Model Version stage: {asked[:50]}.")
        wanted.append(known[asked.lower()])
    found: dict[str, ModelVersion] = {}
    for version in model.versions.all():  # prefetched, the newest first
        found.setdefault(stage_of(version), version)
    return [version for stage, version in found.items() if not wanted or stage in wanted]


# What it is to clients ----------------------------------------------------


def note_of(version: ModelVersion) -> RegistryNote | None:
    return getattr(version, "note", None)


def stage_of(version: ModelVersion) -> str:
    kept = note_of(version)
    return kept.stage if kept is not None else "None"


def notes_on(found: Sequence[RegisteredModel]) -> dict[int, RegistryNote]:
    """By ids of models. One query."""
    rows = RegistryNote.objects.filter(model__in=[one.pk for one in found], version=None)
    return {one.model_id: one for one in rows}


def source(version: ModelVersion) -> str:
    told = version.source.get("uri") if version.source.get("kind") == KIND else ""
    return str(told or f"{ROOT}/{version.model.name}/{version.number}")


def address(version: ModelVersion) -> str:
    """Where its files are had, through us where we have them."""
    if version.files or version.source.get("kind") != KIND:
        return f"{ROOT}/{version.model.name}/{version.number}"
    return source(version)


def run_keys(found: Sequence[ModelVersion]) -> dict[int, str]:
    """Of versions that a client registered the id of their run, by ids of versions."""
    return {
        one.pk: str(one.source.get("run_id") or "")
        for one in found
        if one.source.get("kind") == KIND
    }


def changed_at(version: ModelVersion) -> datetime:
    kept = note_of(version)
    return max(kept.changed_at, version.created_at) if kept is not None else version.created_at


# Searching ----------------------------------------------------


def search(
    *, project: Project, text: str = "", order_by: Iterable[str] = ()
) -> list[RegisteredModel]:
    """Raises Invalid."""
    clauses = filters.parse(text, filters.MODELS)
    orders = [filters.parse_order(one, filters.MODELS) for one in order_by]
    rows = list(models(project))
    notes = notes_on(rows)

    def value(one: RegisteredModel, kind: str, key: str) -> Any:
        if kind == "tag":
            kept = notes.get(one.pk)
            return (kept.tags if kept is not None else {}).get(key)
        if key == "name":
            return one.name
        newest = max([changed_at(version) for version in one.versions.all()] or [one.created_at])
        return millis(one.created_at if key == "creation_timestamp" else newest)

    found = [one for one in rows if all(_holds(clause, one, value) for clause in clauses)]
    for kind, key, ascending in reversed(orders):
        found.sort(key=lambda one: _sortable(value(one, kind, key)), reverse=not ascending)
    return found


def search_versions(
    *, project: Project, text: str = "", order_by: Iterable[str] = ()
) -> list[ModelVersion]:
    """Raises Invalid."""
    clauses = filters.parse(text, filters.VERSIONS)
    orders = [filters.parse_order(one, filters.VERSIONS) for one in order_by]
    rows = versions(project)
    for clause in clauses:
        if (clause.kind, clause.key, clause.comparator) == ("attribute", "name", "="):
            rows = rows.filter(model__name=clause.value)

    def value(one: ModelVersion, kind: str, key: str) -> Any:
        if kind == "tag":
            kept = note_of(one)
            return (kept.tags if kept is not None else {}).get(key)
        match key:
            case "name":
                return one.model.name
            case "version_number":
                return one.number
            case "run_id":
                return str(one.source.get("run_id") or "")
            case "source_path":
                return source(one)
            case "creation_timestamp":
                return millis(one.created_at)
            case _:
                return millis(changed_at(one))

    found = [one for one in rows if all(_holds(clause, one, value) for clause in clauses)]
    for kind, key, ascending in reversed(orders):
        found.sort(key=lambda one: _sortable(value(one, kind, key)), reverse=not ascending)
    return found


def _holds(clause: filters.Clause, one: Any, value: Any) -> bool:
    found = value(one, clause.kind, clause.key)
    if clause.kind == "tag" and clause.key == PROMPT and found is None:
        return (clause.comparator, clause.value) in {("=", "false"), ("!=", "true")}
    return filters.holds(clause, found)


def _sortable(value: Any) -> tuple[bool, Any]:
    return value is None, value if value is not None else 0


def _note_of(model: RegisteredModel) -> RegistryNote:
    kept, _ = RegistryNote.objects.select_for_update().get_or_create(model=model, version=None)
    return kept


def _check_open(project: Project) -> None:
    if project.archived_at is not None:
        raise Conflict("This project is archived; nothing new can be registered in it.")
