"""Templates of prompts: named per project, with versions that never change."""

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Count, Max, QuerySet

from distillhub.lib.errors import Conflict, Invalid, Missing
from projects.models import Project, PromptTemplate, PromptTemplateVersion, User
from projects.operations.prompting import BadTemplate, Template

RESERVED_NAMES = frozenset({"new"})  # they stand where names stand in addresses
MOST_VERSIONS = 1000


class NameTaken(Conflict):
    code = "name_taken"


def of_project(project: Project) -> "QuerySet[PromptTemplate]":
    """By name, with how many versions each has (`latest`)."""
    found = PromptTemplate.objects.filter(project=project).select_related("created_by")
    return found.annotate(latest=Max("versions__number"), many=Count("versions"))


def get(*, project: Project, name: str) -> PromptTemplate:
    """Raises Missing."""
    found = of_project(project).filter(name=name).first()
    if found is None:
        raise Missing(f"There is no template called {name}.")
    return found


def create(
    *, project: Project, name: str, text: str, description: str = "", by: User
) -> PromptTemplateVersion:
    """A template with its version 1. Raises Invalid with `fields`, and NameTaken."""
    name = name.strip()
    _check(text)
    template = PromptTemplate(
        project=project, name=name, description=description.strip(), created_by=by
    )
    if name in RESERVED_NAMES:
        sentence = f"{name} is a word of the addresses here; choose another name."
        raise Invalid(sentence, fields={"name": [sentence]})
    try:
        template.full_clean(validate_unique=False, validate_constraints=False)
    except ValidationError as error:
        fields = {field: list(sentences) for field, sentences in error.message_dict.items()}
        raise Invalid(next(iter(fields.values()))[0], fields=fields) from None
    with transaction.atomic():
        Project.objects.select_for_update().get(pk=project.pk)
        if PromptTemplate.objects.filter(project=project, name=name).exists():
            sentence = f"There is already a template called {name}."
            raise NameTaken(sentence, fields={"name": [sentence]})
        template.save(force_insert=True)
        return _version(template, 1, text, by)


def write(*, template: PromptTemplate, text: str, by: User) -> PromptTemplateVersion:
    """The next version, or the newest one if it says the same. Raises Invalid and Conflict."""
    _check(text)
    with transaction.atomic():
        PromptTemplate.objects.select_for_update().get(pk=template.pk)
        newest = template.versions.first()
        if newest is not None and newest.text == text:
            return newest
        number = newest.number if newest else 0
        if number >= MOST_VERSIONS:
            raise Conflict(f"A template has at most {MOST_VERSIONS} versions; begin another one.")
        return _version(template, number + 1, text, by)


def _version(template: PromptTemplate, number: int, text: str, by: User) -> PromptTemplateVersion:
    return PromptTemplateVersion.objects.create(
        template=template, number=number, text=text, created_by=by
    )


def _check(text: str) -> None:
    try:
        Template(text)
    except BadTemplate as error:
        raise Invalid(str(error), fields={"text": [str(error)]}) from None
