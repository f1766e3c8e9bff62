"""Which teacher an operation asks, and what pages offer."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from rest_framework import serializers

from distillhub.lib.errors import DomainError
from projects.ingest.formats import GENERATION_TASK, MOST_LABEL, TABLE_TASK
from projects.models import DatasetVersion, ModelVersion
from projects.operations import conditions, prompting
from projects.operations.operation import refuse
from training.services import references

MOST_CHOICES = 100
CENT = Decimal("0.000001")


def offered(version: DatasetVersion) -> list[tuple[str, str]]:
    """Of the project: services that are asked, and trained models of the same task."""
    found = (
        ModelVersion.objects.ready()
        .filter(model__project=version.dataset.project_id)
        .select_related("model")
        .order_by("-pk")[: 4 * MOST_CHOICES]
    )
    task = version.dataset.task
    kinds = [
        (one.reference, f"{one.reference}, through an API" if one.is_asked else one.reference)
        for one in found
        if one.is_asked or (one.is_trained and one.model.task == task)
    ]
    return kinds[:MOST_CHOICES]


class Asking(conditions.Conditions):
    """What operations that ask a teacher are told beside which rows they ask about."""

    seen = frozenset({"split", "unlabelled"})  # conditions that are not folded away

    teacher = serializers.CharField(
        max_length=220,
        style={"of": offered},
        help_text="Who is asked: a trained model, or a service behind an API. `name@2`, an alias, "
        "or `run/12`.",
    )
    budget = serializers.DecimalField(
        max_digits=12,
        decimal_places=6,
        min_value=CENT,
        required=False,
        help_text="What an API may cost at most, in the currency of its prices.",
    )
    template = serializers.CharField(
        max_length=100 + MOST_LABEL,
        required=False,
        style={"of": "prompts", "nothing": "none"},
        label="Template of the prompt",
        help_text="Of this project, as `name@2`, or `name` for the newest. A service is asked with "
        "it; what is wanted of it is added.",
    )
    text = serializers.CharField(
        max_length=prompting.MOST_TEMPLATE,
        required=False,
        trim_whitespace=False,
        style={"as": "template"},
        label="Or write one",
        help_text="Names of columns in braces, as in {text}.",
    )

    def get_fields(self) -> dict[str, Any]:
        """Who is asked for what, then about which rows, then how."""
        fields = super().get_fields()
        which = [name for name in fields if name in conditions.Conditions().fields]
        how = [name for name in ("budget", "template", "text") if name in fields]
        first = [name for name in fields if name not in {*which, *how}]
        for name in (*which, *how[1:]):
            if name not in self.seen:
                words = "How a service is asked" if name in how else "Which rows"
                fields[name].style = {**fields[name].style, "fold": words}
        return {name: fields[name] for name in (*first, "budget", *which, *how[1:])}


def resolved(version: DatasetVersion, reference: str) -> ModelVersion:
    """Raises Invalid."""
    try:
        network = references.model(project=version.dataset.project, reference=reference.strip())
    except DomainError as error:
        raise refuse("teacher", error.detail) from None
    if network.version is None:
        raise refuse("teacher", f"{network.reference} is not finished yet.")
    found = network.version
    if found.is_recorded:
        origin = found.source["dataset"]
        sentence = f"{found.reference} is what was recorded in {origin}; there is nobody to ask."
        raise refuse("teacher", sentence)
    if found.is_ensemble:
        members = " or ".join(found.source["members"])
        sentence = f"{found.reference} stands for several models. Ask one of them: {members}."
        raise refuse("teacher", sentence)
    if not found.is_asked and not found.is_trained:
        raise refuse("teacher", f"{found.reference} has not been trained, so it knows nothing.")
    return found


def pinned(
    version: DatasetVersion,
    options: Mapping[str, Any],
    default: str | None,
    *,
    worded: bool = False,
) -> tuple[dict[str, Any], ModelVersion]:
    """The options as JSON, with the teacher's and the template's versions. `default` is the
    template where none is given, None where none is used; `worded` says that models with weights
    are asked in words, too. Raises Invalid."""
    found = resolved(version, options["teacher"])
    said = dict(options) | {"teacher": found.reference}
    if options.get("budget") is not None:
        said["budget"] = str(options["budget"])
    takes = default is not None and (found.is_asked or worded)
    refused = [] if found.is_asked else ["budget"]
    for name in [*refused, *([] if takes else ["template", "text"])]:
        if options.get(name) is not None:
            why = "no template is used for this" if found.is_asked else "it has weights here"
            raise refuse(name, f"{found.reference}: {why}.")
    if takes:
        if options.get("template"):
            template = prompting.resolved(version, options["template"])
            said |= {"template": template.reference, "text": template.text}
        said["text"] = said.get("text") or default
    return said, found


def template_of(version: DatasetVersion, text: str, without: frozenset[str]) -> prompting.Template:
    """A template that names only what rows have. Raises Invalid."""
    hidden = {"row_id", "split", "source"} | without
    readable = {
        one["name"]
        for one in version.columns
        if one["type"] not in {"image", "audio", "binary"} and one["role"] != "soft"
    } - hidden
    try:
        found = prompting.Template(text)
    except prompting.BadTemplate as error:
        raise refuse("text", str(error)) from None
    for name in found.names:
        if name not in readable:
            has = ", ".join(sorted(readable))
            raise refuse("text", f"There is no column {name!r} to show; there are {has}.")
    return found


def shown(version: DatasetVersion) -> str:
    """How a row is shown to a service, as a part of a template."""
    if version.dataset.task == TABLE_TASK:
        return "\n".join(f"{name}: {{{name}}}" for name in version.features)
    if version.dataset.task == GENERATION_TASK and version.column_of("prompt"):
        return "{prompt}"
    return "{text}"
