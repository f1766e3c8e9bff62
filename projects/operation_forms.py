"""The form of an operation, made from its Options: the serializer is the one declaration."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.http import QueryDict
from rest_framework import serializers

from distillhub.lib.errors import DomainError, Invalid
from projects.ingest import restored
from projects.ingest.formats import (
    CATEGORICAL,
    GENERATION_TASK,
    NUMERIC,
    TABLE_TASK,
    TOKENS_TASK,
    UNLABELLED,
)
from projects.models import DatasetVersion, PromptTemplateVersion
from projects.operations import columns
from projects.operations.operation import Operation
from projects.operations.prompting import MOST_TEMPLATE

SELECTABLE = 500  # labels; beyond, one is typed
MOST_LINES = 500  # of a table of labels; the most frequent
MOST_CHOICES = 100  # versions and templates that are offered

#: What a role of a column is called on the page.
ROLES = {
    "text": "Text",
    "prompt": "Prompt",
    "rationale": "Rationale",
    "label": "Label",
    "id": "Id of a row",
    "group": "Group, kept in one split",
    "weight": "Weight of a row in training",
}


class OperationForm(forms.Form):
    """Fields with a line for each label or column (`TableField`) are drawn by the page itself."""

    def __init__(
        self,
        operation: Operation,
        version: DatasetVersion,
        data: QueryDict | None = None,
        initial: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(data, initial=dict(initial or {}))
        self.operation, self.version = operation, version
        self.shape = operation.Options().get_fields()
        for name, field in self.shape.items():
            made = _field(field, version)
            if made is not None:
                made.label = str(field.label or name.replace("_", " ").capitalize())
                made.help_text = str(field.help_text or "").replace("`", "")
                if field.default is not serializers.empty and name not in self.initial:
                    self.initial[name] = field.default
                    # A field that holds something from the start is not one to be left empty.
                    made.required = made.required or _may_be_required(made, field.default)
                given = self.initial.get(name)
                if isinstance(given, list) and not isinstance(made, forms.MultipleChoiceField):
                    between = "\n" if field.style.get("lines") else ", "
                    self.initial[name] = between.join(map(str, given))
                self.fields[name] = made

    def groups(self) -> list[tuple[str, list[str], bool]]:
        """(the words that others are folded under, names of fields, whether open): first those that
        are always seen, under no words."""
        found: dict[str, list[str]] = {"": []}
        for name in self.fields:
            found.setdefault(self.shape[name].style.get("fold", ""), []).append(name)
        told = self.told()
        return [(words, names, bool(told & set(names))) for words, names in found.items()]

    def told(self) -> set[str]:
        """Fields that say something else than if they were left alone, or are refused."""
        given = self.options() if self.is_bound else self.initial
        plain = {name: field.default for name, field in self.shape.items()}
        said = {
            name
            for name, value in given.items()
            if value not in (None, "", False) and str(value) != str(plain.get(name))
        }
        return said | set(self.errors if self.is_bound else ())

    def options(self) -> dict[str, Any]:
        """What was posted, as the operation is told; whatever is wrong with it says the operation,
        so that pages and REST refuse in the same words."""
        assert isinstance(self.data, QueryDict)
        found: dict[str, Any] = {}
        for name, field in self.shape.items():
            if name in self.fields:
                value = _read(self.data, name, field, self.version)
                if value is not None:
                    found[name] = value
        return found

    def lines(self, name: str) -> list[dict[str, Any]]:
        """Of a field with a line for each label or column: what the template draws."""
        kind = self.fields[name].widget.attrs["data-table"]
        posted = _pairs(self.data, name) if isinstance(self.data, QueryDict) else {}
        given = posted or self.initial.get(name) or {}
        found: list[dict[str, Any]] = _LINES[kind](self.version, given)
        return found


class PromptTextForm(forms.Form):
    text = forms.CharField(
        max_length=MOST_TEMPLATE,
        strip=False,
        help_text="Names of columns in braces, as in {question}; {choices | list} has the items of "
        "a list one a line. A brace that is meant is written twice.",
        widget=forms.Textarea({"rows": 10, "spellcheck": "false", "class": "mono"}),
    )

    def clean_text(self) -> str:
        text: str = self.cleaned_data["text"]
        return text.replace("\r\n", "\n")  # browsers end lines with CR and LF


class PromptForm(PromptTextForm):
    name = forms.CharField(
        max_length=100,
        help_text="It stands in references such as name@1: letters, digits, dots, hyphens, "
        "underscores.",
        widget=forms.TextInput({"autocomplete": "off", "spellcheck": "false"}),
    )
    description = forms.CharField(max_length=2000, required=False)
    field_order = ("name", "description", "text")


class TableField(forms.Field):
    """Drawn as a table; its values are read by `OperationForm.options`."""

    def __init__(self, kind: str) -> None:
        super().__init__(required=False, widget=forms.HiddenInput({"data-table": kind}))
        self.kind = kind


def refusal(error: DomainError | serializers.ValidationError) -> Invalid:
    """The same as sentences by field, whoever refused."""
    if isinstance(error, DomainError):
        return Invalid(error.detail, fields=error.fields)
    detail = error.detail if isinstance(error.detail, dict) else {"": error.detail}
    fields = {name: list(_sentences(said)) for name, said in detail.items()}
    return Invalid(next(iter(fields.values()))[0], fields=fields)


def _sentences(said: Any) -> list[str]:
    if isinstance(said, dict):
        return [sentence for part in said.values() for sentence in _sentences(part)]
    if isinstance(said, list):
        return [sentence for part in said for sentence in _sentences(part)]
    return [str(said)]


def _field(field: Any, version: DatasetVersion) -> forms.Field | None:
    """The form's field of one of the serializer's; None of one that pages have no control for."""
    required, may_lack = bool(field.required), field.default is serializers.empty
    if (only := field.style.get("only")) and not only(version):
        return None
    if kind := field.style.get("as"):
        if kind == "template":
            attrs = {"rows": 6, "spellcheck": "false", "class": "mono"}
            return forms.CharField(required=False, strip=False, widget=forms.Textarea(attrs))
        return TableField(kind) if _LINES[kind](version, {}) else None
    if source := field.style.get("of"):
        choices = (source if callable(source) else _CHOICES[source])(version)
        if isinstance(field, serializers.ListField) and not choices:
            return None
        if isinstance(field, serializers.ListField):
            boxes = forms.CheckboxSelectMultiple({"class": "form-check-input"})
            return forms.MultipleChoiceField(choices=choices, required=False, widget=boxes)
        if choices is not None:
            nothing = "choose …" if required else field.style.get("nothing", "any")
            return forms.ChoiceField(choices=[("", nothing), *choices], required=required)
    if isinstance(field, serializers.BooleanField):
        return forms.BooleanField(required=False)
    if isinstance(field, serializers.ChoiceField):
        choices = list(field.choices.items())
        if not required and may_lack:
            choices = [("", "any"), *choices]
        return forms.ChoiceField(choices=choices, required=required)
    if isinstance(
        field, serializers.IntegerField | serializers.FloatField | serializers.DecimalField
    ):
        whole = isinstance(field, serializers.IntegerField)
        ends: dict[str, Any] = {"min": field.min_value, "max": field.max_value}
        limits = {
            key: value for key, value in ends.items() if value is not None and abs(value) < 1 << 31
        }
        widget = forms.NumberInput({"step": "1" if whole else "any", **limits})
        return forms.CharField(required=required, widget=widget)
    if isinstance(field, serializers.ListField):
        example = "channel:is:app" if field.style.get("lines") else "12, 40, 41"
        attrs = {"rows": 2, "placeholder": field.style.get("example", example)}
        return forms.CharField(required=required, widget=forms.Textarea(attrs))
    if isinstance(field, serializers.CharField):
        return forms.CharField(required=required, max_length=field.max_length)
    return None


def _may_be_required(made: forms.Field, default: Any) -> bool:
    kinds = forms.BooleanField | forms.MultipleChoiceField | TableField
    return default not in (None, "") and not isinstance(made, kinds)


def _read(data: QueryDict, name: str, field: Any, version: DatasetVersion) -> Any:
    """What was posted for a field; None where nothing was, so that its default holds."""
    if isinstance(field, serializers.BooleanField):
        return name in data
    if field.style.get("as") == "soft_labels":  # all of them, or none
        changed = _pairs(data, name)
        known = {one["key"]: one["was"] for one in _soft_lines(version, {})} | changed
        return {label: column for label, column in known.items() if column} if changed else None
    if isinstance(field, serializers.DictField):
        return _pairs(data, name) or None
    if isinstance(field, serializers.ListField):
        if field.style.get("of"):
            return data.getlist(name) or None
        if field.style.get("lines"):  # from an address, one each; from a page, one a line
            lines = [one for text in data.getlist(name) for one in text.splitlines()]
            return [one for one in lines if one.strip()] or None
        return [one for one in data.get(name, "").replace(",", " ").split() if one] or None
    text = data.get(name, "")
    if field.style.get("as") == "template":  # browsers end lines with CR and LF
        text = text.replace("\r\n", "\n")
    return text if text.strip() else None


def _pairs(data: QueryDict, name: str) -> dict[str, str]:
    """Of a table: {what stands in a line: what was written beside it}, of the lines where that is
    another than it was."""
    keys, were, now = (data.getlist(f"{name}-{part}") for part in ("key", "was", "now"))
    lines = zip(keys, were, now, strict=False)
    return {key: value.strip() for key, was, value in lines if value.strip() != was.strip()}


# What there is to choose from -------------------------------------------------------------------

Choices = list[tuple[str, str]]


def _labels(version: DatasetVersion) -> Choices | None:
    if len(version.labels) > SELECTABLE:
        return None
    return [(name, name) for name in version.labels]


def _all_versions(version: DatasetVersion, **which: str) -> Choices:
    """Ready versions of the project's datasets, the newest first."""
    found = (
        DatasetVersion.objects.ready()
        .select_related("dataset")
        .filter(dataset__project=version.dataset.project_id, **which)
        .exclude(pk=version.pk)
        .order_by("-created_at")[:MOST_CHOICES]
    )
    return [(one.reference, f"{one.reference}: {one.told}") for one in found]


def _versions(version: DatasetVersion) -> Choices:
    return _all_versions(version, dataset__task=version.dataset.task)


def _prompts(version: DatasetVersion) -> Choices:
    found = (
        PromptTemplateVersion.objects.select_related("template")
        .filter(template__project=version.dataset.project_id)
        .order_by("template__name", "-number")[:MOST_CHOICES]
    )
    return [(one.reference, one.reference) for one in found]


def _droppable(version: DatasetVersion) -> Choices:
    fit = restored.KEPT | {"feature"}
    return [(one["name"], one["name"]) for one in version.columns if one["role"] in fit]


_CHOICES: dict[str, Any] = {
    "splits": lambda version: [(name, name) for name in version.splits],
    "labels": _labels,
    "issues": lambda version: [
        (one["code"], one["code"].replace("_", " ")) for one in version.issues if one["rows"]
    ],
    "versions": _versions,
    "all_versions": _all_versions,
    "prompts": _prompts,
    "columns": _droppable,
}


# Tables -----------------------------------------------------------------------------------------


def _line(key: str, was: str, given: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    now = given.get(key, was)
    return {"key": key, "was": was, "now": "" if now is None else now, **more}


def _label_lines(version: DatasetVersion, given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every label with its rows, the most frequent first, and the name it is to have."""
    counts = dict.fromkeys(version.labels, 0)
    for split in version.splits.values():
        for name, rows in split["label_counts"].items():
            counts[name] = counts.get(name, 0) + rows
    ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0]))[:MOST_LINES]
    return [_line(name, name, given, title=name, rows=rows) for name, rows in ordered]


def _role_lines(version: DatasetVersion, given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every role that this task has, with the column that has it."""
    task = version.dataset.task
    roles = []
    if version.input_column == "text" and task not in {TABLE_TASK, TOKENS_TASK}:
        roles.append("text")
    if task == GENERATION_TASK:
        roles += ["prompt", "rationale"]
    if task not in UNLABELLED and task != TOKENS_TASK:
        roles.append("label")
    roles += columns.BESIDE
    names = {one["name"] for one in version.columns}
    lines = []
    for role in roles:
        stored = columns.BESIDE.get(role)
        was = version.column_of(stored) if stored else role if role in names else ""
        content = [] if stored else [one for one in columns.CONTENT if one in names]
        offered = [*content, *_kept(version)] if not stored else _kept(version)
        must = role in {"text", "label"}
        lines.append(_line(role, was, given, title=ROLES[role], choices=offered, must=must))
    return lines


def _soft_lines(version: DatasetVersion, given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every label with the column of its probability, which may be guessed by its name."""
    kept, known = _kept(version), version.soft_labels
    if not kept or not 1 < len(version.labels) <= MOST_LINES:
        return []
    return [
        _line(name, known.get(name, ""), given, title=name, choices=kept) for name in version.labels
    ]


def _feature_lines(version: DatasetVersion, given: Mapping[str, Any]) -> list[dict[str, Any]]:
    kinds = {NUMERIC: "a number", CATEGORICAL: "a category", "kept": "kept beside"}
    features = version.features
    if version.dataset.task != TABLE_TASK:
        return []
    return [
        _line(
            one["name"],
            features.get(one["name"], "kept"),
            given,
            title=one["name"],
            choices=list(kinds),
            words=kinds,
            must=True,
        )
        for one in version.columns
        if one["role"] in {"feature", "extra"}
    ]


def _name_lines(version: DatasetVersion, given: Mapping[str, Any]) -> list[dict[str, Any]]:
    fit = restored.KEPT | {"feature"}
    return [
        _line(one["name"], one["name"], given, title=one["name"])
        for one in version.columns
        if one["role"] in fit
    ]


def _kept(version: DatasetVersion) -> list[str]:
    return [one["name"] for one in version.columns if one["role"] in restored.KEPT]


_LINES: dict[str, Any] = {
    "labels": _label_lines,
    "roles": _role_lines,
    "soft_labels": _soft_lines,
    "features": _feature_lines,
    "names": _name_lines,
}


def initial_from(query: QueryDict, shape: Mapping[str, Any]) -> dict[str, Any]:
    """What an address prefills: `?label=refund&leave_out=true`."""
    found: dict[str, Any] = {}
    for name, field in shape.items():
        if name in query and isinstance(field, serializers.ListField):
            found[name] = [one[:2000] for one in query.getlist(name)]
        elif name in query:
            text = query[name]
            found[name] = text == "true" if text in {"true", "false"} else text[:2000]
    return found
