"""Registered models: names for teachers and students, and their immutable, numbered versions."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Max

from distillhub.lib.errors import Conflict, Invalid, Missing
from projects.models import (
    AliasChange,
    AliasRules,
    ModelAlias,
    ModelVersion,
    Project,
    RegisteredModel,
    User,
)
from projects.services import events

#: Aliases that would say something else in a reference: `name@latest` is `name`.
RESERVED_ALIASES = frozenset({"latest"})

How = AliasChange.How


class HasRules(Conflict):
    """An alias with rules moves by promotion alone."""

    code = "has_rules"


@transaction.atomic
def register(
    *,
    project: Project,
    name: str,
    role: str,
    task: str,
    source: Mapping[str, Any],
    architecture: str = "",
    config: Mapping[str, Any] | None = None,
    description: str = "",
    by: User,
) -> ModelVersion:
    """A new model and its version 1, which still has to be inspected. Raises like `begin`."""
    model = begin(project=project, name=name, role=role, task=task, description=description, by=by)
    return add_version(model=model, source=source, architecture=architecture, config=config, by=by)


@transaction.atomic
def begin(
    *, project: Project, name: str, role: str, task: str, description: str = "", by: User
) -> RegisteredModel:
    """A new model without versions.

    Raises Invalid when the name cannot stand in a reference, Conflict when it is taken.
    """
    model = RegisteredModel(
        project=project,
        name=name.strip(),
        role=role,
        task=task,
        description=description.strip(),
        created_by=by,
    )
    try:
        model.full_clean(validate_unique=False, validate_constraints=False)
    except ValidationError as error:
        raise _invalid(error) from None
    try:
        with transaction.atomic():
            model.save(force_insert=True)
    except IntegrityError:
        sentence = f"There is already a model called {model.name} in this project."
        raise Conflict(sentence, code="name_taken", fields={"name": [sentence]}) from None
    events.tell(
        project=project,
        kind="model.created",
        subject_kind="model",
        subject=model.name,
        title=model.name,
        sentence=f"Registered by {by.display_name}.",
        by=by,
        data={"name": model.name, "role": model.role, "task": model.task},
    )
    return model


@transaction.atomic
def add_version(
    *,
    model: RegisteredModel,
    source: Mapping[str, Any],
    architecture: str = "",
    config: Mapping[str, Any] | None = None,
    labels: Sequence[str] = (),
    problem: str = "single_label",
    tokenizer: Mapping[str, Any] | None = None,
    parameters: int | None = None,
    size_bytes: int | None = None,
    files: Sequence[Mapping[str, Any]] = (),
    metrics: Mapping[str, Any] | None = None,
    status: str = ModelVersion.Status.INSPECTING,
    by: User,
) -> ModelVersion:
    """The next version of a model. Two at the same moment get two numbers: the model's row is
    locked while the number is chosen."""
    RegisteredModel.objects.select_for_update().get(pk=model.pk)
    newest = model.versions.aggregate(newest=Max("number"))["newest"] or 0
    made = ModelVersion.objects.create(
        model=model,
        number=newest + 1,
        status=status,
        source=dict(source),
        architecture=architecture,
        config=dict(config or {}),
        labels=list(labels),
        problem=problem,
        tokenizer=dict(tokenizer) if tokenizer is not None else None,
        parameters=parameters,
        size_bytes=size_bytes,
        files=[dict(file) for file in files],
        metrics=dict(metrics or {}),
        created_by=by,
    )
    made.announce()
    return made


@transaction.atomic
def set_alias(
    *,
    model: RegisteredModel,
    name: str,
    version: ModelVersion,
    how: str = How.SET,
    reason: str = "",
    by: User,
) -> ModelAlias:
    """Let `name` mean `version` from now on, wherever it pointed before, and note it.

    Raises Invalid for a name that reads like a number, or a version that failed inspection, and
    HasRules when it is set by hand though it has rules.
    """
    name = name.strip()
    check_alias(model=model, name=name)
    RegisteredModel.objects.select_for_update().get(pk=model.pk)
    if how == How.SET and AliasRules.objects.filter(model=model, name=name).exists():
        raise HasRules(
            f"{name} has rules, so a version is promoted to it: it moves when every rule holds."
        )
    if version.model_id != model.pk:
        raise Missing(f"{model.name} has no such version.")
    if version.status == ModelVersion.Status.FAILED:
        sentence = f"{version.reference} failed its inspection, so nothing may point at it."
        raise Invalid(sentence, fields={"version": [sentence]})
    before = model.aliases.filter(name=name).values_list("version", flat=True).first()
    moved, _ = ModelAlias.objects.update_or_create(
        model=model, name=name, defaults={"version": version}
    )
    if before != version.pk:
        _note(model, name, how, by, before=before, version=version, reason=reason)
    return moved


def check_alias(*, model: RegisteredModel, name: str) -> None:
    """Raises Invalid for a name that no alias may have: it reads like a number, or cannot stand in
    a reference."""
    if name.isdigit() or name.lower() in RESERVED_ALIASES:
        sentence = f"An alias cannot be called {name}: in a reference that already means a version."
        raise Invalid(sentence, fields={"name": [sentence]})
    try:
        ModelAlias(model=model, name=name).clean_fields(exclude=["model", "version"])
    except ValidationError as error:
        raise _invalid(error) from None


@transaction.atomic
def remove_alias(*, model: RegisteredModel, name: str, by: User) -> None:
    """Raises Missing when the model has no such alias, HasRules when it has rules."""
    RegisteredModel.objects.select_for_update().get(pk=model.pk)
    if AliasRules.objects.filter(model=model, name=name).exists():
        raise HasRules(f"{name} has rules. An owner removes these first.")
    before = model.aliases.filter(name=name).values_list("version", flat=True).first()
    removed, _ = model.aliases.filter(name=name).delete()
    if not removed:
        raise Missing(f"{model.name} has no alias called {name}.")
    _note(model, name, How.REMOVED, by, before=before)


def _note(
    model: RegisteredModel,
    name: str,
    how: str,
    by: User,
    *,
    before: int | None,
    version: ModelVersion | None = None,
    reason: str = "",
) -> None:
    """`before` is the id of the version that it meant."""
    AliasChange.objects.create(
        model=model, name=name, version=version, how=how, reason=reason, by=by
    )
    was = model.versions.filter(pk=before or 0).values_list("number", flat=True).first()
    told = f"{name} means version {version.number} now" if version else f"{name} was removed"
    if was is not None:
        told += f"; it meant version {was}"
    events.tell(
        project=model.project,
        kind="alias.moved",
        subject_kind="model",
        subject=model.name,
        title=name,
        sentence=f"{told}. {reason}".strip(),
        by=by,
        data={
            "model": model.name,
            "alias": name,
            "version": version.number if version is not None else None,
            "reference": f"{model.name}@{version.number}" if version is not None else None,
            "before": was,
            "how": str(how),
            "reason": reason,
        },
    )


def describe(*, model: RegisteredModel, description: str, by: User) -> RegisteredModel:
    """Change the words about a model; its versions stay as they are."""
    model.description = description.strip()
    try:
        model.full_clean(validate_unique=False, validate_constraints=False)
    except ValidationError as error:
        raise _invalid(error) from None
    model.save(update_fields=["description"])
    return model


def find(*, project: Project, name: str, number: int | None = None) -> ModelVersion:
    """A version by its number, else the newest, whatever its status. Raises Missing."""
    versions = ModelVersion.objects.select_related("model", "created_by").filter(
        model__project=project, model__name=name
    )
    if number is not None:
        versions = versions.filter(number=number)
    found = versions.order_by("-number").first()
    if found is None:
        wanted = name if number is None else f"{name}@{number}"
        raise Missing(f"There is no model {wanted} in this project.")
    return found


def resolve(*, project: Project, reference: str) -> ModelVersion:
    """The version that `name@3`, `name@alias` or `name` (its newest usable one) means now.

    Raises Missing when there is none, Invalid when that version is not usable (yet).
    """
    name, at, which = reference.partition("@")
    versions = ModelVersion.objects.select_related("model").filter(
        model__project=project, model__name=name
    )
    if not at or which == "latest":
        ready = versions.ready().order_by("-number").first()
        if ready is not None:
            return ready
        found = versions.order_by("-number").first()
    elif which.isascii() and which.isdigit() and len(which) < 10:
        found = versions.filter(number=int(which)).first()
    else:
        found = versions.filter(aliases__name=which).first()
    if found is None:
        raise Missing(f"There is no model {reference} in this project.")
    if found.status == ModelVersion.Status.INSPECTING:
        raise Invalid(f"{found.reference} is still being inspected; try again in a moment.")
    if found.status == ModelVersion.Status.FAILED:
        reason = (found.error or {}).get("detail", "")
        raise Invalid(f"{found.reference} cannot be used: {reason}".rstrip(": "))
    return found


def _invalid(error: ValidationError) -> Invalid:
    fields = error.message_dict
    first = next(iter(fields.items()))
    return Invalid(f"{first[0]}: {first[1][0]}", fields=fields)
