"""Make the text or the prompt of several columns, by a template such as `{question} {context}`.

A template holds text and names of columns in braces, nothing else: no attributes, no formats, no
expressions. A brace that is meant is written twice. `{choices | list}` puts a column that holds a
JSON list, such as the choices of a question, into the text with one item a line.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from rest_framework import serializers

from projects.ingest.formats import GENERATION_TASK, MOST_LABEL, TABLE_TASK, TOKENS_TASK, BadFile
from projects.ingest.numbers import written
from projects.models import DatasetVersion, PromptTemplateVersion
from projects.operations import operation, registry
from projects.operations.operation import Parent, StoredRow

MOST_TEMPLATE = 20_000  # characters
MOST_PARTS = 200  # names of columns in a template
MOST_TEXT = 4 << 20  # characters of a text that is made

_PART = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_LIST = re.compile(r"\s*\|\s*list$")
_MEDIA = frozenset({"image", "audio", "binary"})


class BadTemplate(ValueError):
    """A sentence about what is wrong with it."""


class Template:
    """A template that was read: pieces of text, and names of columns between them."""

    def __init__(self, text: str) -> None:
        """Raises BadTemplate."""
        if len(text) > MOST_TEMPLATE:
            raise BadTemplate(f"A template has at most {MOST_TEMPLATE:,} characters.")
        #: (text, the name behind it or nothing, whether as a list)
        self.pieces: list[tuple[str, str, bool]] = []
        plain, done = "", 0
        for found in _PART.finditer(text):
            plain += text[done : found.start()]
            done = found.end()
            if found[0] in {"{{", "}}"}:
                plain += found[0][0]
            elif found[0] in {"{", "}"}:
                at = text.count("\n", 0, found.start()) + 1
                raise BadTemplate(
                    f"The brace {found[0]} in line {at} stands alone. Write it twice if it is "
                    "meant, or name a column: {text}."
                )
            else:
                given = found[1].strip()
                name = _LIST.sub("", given)
                if not name:
                    raise BadTemplate("There is no name of a column between { and }.")
                self.pieces.append((plain, name, name != given))
                plain = ""
        self.pieces.append((plain + text[done:], "", False))
        if len(self.pieces) > MOST_PARTS:
            raise BadTemplate(f"A template names at most {MOST_PARTS} columns.")
        if not self.names:
            raise BadTemplate("It names no column, such as {text}: every row would be the same.")

    @property
    def names(self) -> list[str]:
        """The columns it reads, each once."""
        return list(dict.fromkeys(name for _, name, _ in self.pieces if name))

    def of(self, row: Mapping[str, Any]) -> str:
        """The text of one row; a value that is missing is nothing. Raises BadFile."""
        parts = []
        for plain, name, is_list in self.pieces:
            value = row[name] if name else ""
            text = written(value) if isinstance(value, float) else value or ""
            parts += [plain, _lines(text) if is_list else text]
        if sum(map(len, parts)) > MOST_TEXT:
            where = f"Row {row['row_id']} ({row['source']})"
            raise BadFile(f"{where} would have a text of more than {MOST_TEXT:,} characters.")
        return "".join(parts)


def _lines(text: str) -> str:
    """A JSON list with an item a line, of objects their values; anything else as it is."""
    try:
        items = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if not isinstance(items, list):
        return text
    return "\n".join(
        ": ".join(map(_said, one.values())) if isinstance(one, dict) else _said(one)
        for one in items
    )


def _said(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@registry.register
class FromTemplate(operation.Operation):
    key = "template"
    label = "Make texts by a template"
    summary = "Make the text or the prompt of each row of several columns."

    class Options(operation.Options):
        template = serializers.CharField(
            max_length=100 + MOST_LABEL,
            required=False,
            style={"of": "prompts", "nothing": "none"},
            help_text="Of this project, as `name@2`, or `name` for the newest.",
        )
        text = serializers.CharField(
            max_length=MOST_TEMPLATE,
            required=False,
            trim_whitespace=False,
            style={"as": "template"},
            label="Or write one",
            help_text="Names of columns in braces, as in {question}; {choices | list} has the "
            "items of a list one a line. A brace that is meant is written twice.",
        )
        into = serializers.ChoiceField(
            choices=[("text", "the text"), ("prompt", "the prompt")],
            default="text",
            help_text="What is made. Only texts to be written have a prompt.",
        )

    can_be_tried: ClassVar[bool] = True

    def suits(self, version: DatasetVersion) -> bool:
        task = version.dataset.task
        return version.input_column == "text" and task not in {TABLE_TASK, TOKENS_TASK}

    def pinned(self, version: DatasetVersion, options: Mapping[str, Any]) -> dict[str, Any]:
        """With the template's version, and its text beside, so that a worker needs no other row."""
        if options.get("template"):
            found = resolved(version, options["template"])
            return dict(options) | {"template": found.reference, "text": found.text}
        return dict(options)

    def check(self, version: DatasetVersion, options: Mapping[str, Any]) -> None:
        if not self.suits(version):
            raise operation.refuse("text", "Only datasets of texts have one to be made.")
        if options["into"] == "prompt" and version.dataset.task != GENERATION_TASK:
            raise operation.refuse("into", "Only texts to be written have a prompt.")
        if not options.get("text"):
            raise operation.refuse("text", "Choose a template, or write one.")
        readable = {one["name"] for one in version.columns if one["type"] not in _MEDIA}
        readable -= {"row_id", "split", "source", "label"}
        try:
            names = Template(options["text"]).names
        except BadTemplate as error:
            raise operation.refuse("text", str(error)) from None
        for name in names:
            if name == "label":
                raise operation.refuse("text", "The label in a text would give its answer away.")
            if name not in readable:
                has = ", ".join(sorted(readable))
                raise operation.refuse("text", f"There is no column {name!r}; there are {has}.")

    def told(self, options: Mapping[str, Any]) -> str:
        by = options.get("template") or "a template"
        return f"Made the {options['into']} by {by}"

    def count(self, parents: Sequence[Parent], options: Mapping[str, Any]) -> int | None:
        return None if options["into"] == "text" else parents[0].version.rows

    def columns(self, parents: list[Parent], options: Mapping[str, Any]) -> list[dict[str, str]]:
        found: list[dict[str, str]] = parents[0].version.columns
        if options["into"] == "text" or any(one["role"] == "prompt" for one in found):
            return found
        at = next(place for place, one in enumerate(found) if one["role"] == "input")
        prompt = {"name": "prompt", "type": "string", "role": "prompt"}
        return [*found[:at], prompt, *found[at:]]

    def rows(self, parents: list[Parent], options: Mapping[str, Any]) -> Iterator[StoredRow]:
        (parent,) = parents
        template, into = Template(options["text"]), options["into"]
        for row in parent.rows():
            made = template.of(row)
            if into == "prompt" or made.strip():
                yield row | {into: made}


def resolved(version: DatasetVersion, reference: str) -> PromptTemplateVersion:
    """The version of a template of the same project. Raises Invalid."""
    name, _, which = reference.strip().partition("@")
    found = PromptTemplateVersion.objects.select_related("template").filter(
        template__project=version.dataset.project_id, template__name=name
    )
    if which not in {"", "latest"}:
        if not (which.isascii() and which.isdigit() and len(which) < 10):
            raise operation.refuse("template", f"{reference} is no reference; write {name}@1.")
        found = found.filter(number=int(which))
    one = found.order_by("-number").first()
    if one is None:
        raise operation.refuse("template", f"There is no template {reference}.")
    return one
