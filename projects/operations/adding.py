"""Feedback as further rows: inputs that a model was tried on, with what people say is right."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from rest_framework import serializers

from distillhub.lib import storage
from projects.ingest import audio_folder
from projects.ingest.formats import GENERATION_TASK, MULTI, SPLITS, TRAIN, BadFile
from projects.models import DatasetVersion, Feedback
from projects.operations import label_values, operation, registry
from projects.operations.operation import Parent, StoredRow

KEY = "feedback"
MOST_ROWS = 10_000
SEVERAL = "|"  # between the labels of one input, until a dataset says otherwise


@registry.register
class AddFeedback(operation.Operation):
    key = KEY
    label = "Add feedback"
    summary = "Add inputs that models were tried on, with the labels that people gave them."

    class Options(operation.Options):
        ids = serializers.ListField(
            child=serializers.IntegerField(min_value=1, max_value=2**53),
            allow_empty=False,
            max_length=MOST_ROWS,
            help_text="Of the project's feedback.",
        )
        split = serializers.ChoiceField(choices=SPLITS, default=TRAIN)

    has_form: ClassVar[bool] = False

    def check(self, version: DatasetVersion, options: Mapping[str, Any]) -> None:
        for one in _chosen(version, options):
            try:
                _row(version, one, options["split"], b"")
            except BadFile as error:
                raise operation.refuse("ids", error.detail) from None

    def told(self, options: Mapping[str, Any]) -> str:
        many = len(options["ids"])
        return f"Added {many} {'row' if many == 1 else 'rows'} of feedback to {options['split']}"

    def count(self, parents: Sequence[Parent], options: Mapping[str, Any]) -> int:
        return parents[0].version.rows + len(options["ids"])

    def rows(self, parents: list[Parent], options: Mapping[str, Any]) -> Iterator[StoredRow]:
        (parent,) = parents
        holds_chats = None
        for row in parent.rows():
            if holds_chats is None and row.get("text"):
                holds_chats = _is_chat(row["text"])
            yield row
        for one in _chosen(parent.version, options):
            yield _row(
                parent.version, one, options["split"], _content(one), chats=bool(holds_chats)
            )


def _chosen(version: DatasetVersion, options: Mapping[str, Any]) -> list[Feedback]:
    """In the order in which it came. Raises BadFile."""
    dataset = version.dataset
    found = Feedback.objects.filter(
        project=dataset.project_id, task=dataset.task, pk__in=options["ids"]
    ).select_related("created_by")
    chosen = list(found.order_by("pk"))
    if len(chosen) < len(set(options["ids"])):
        raise BadFile("Some of this feedback is gone.")
    return chosen


def _content(one: Feedback) -> bytes:
    if not one.sha256:
        return b""
    try:
        with storage.open_blob(one.sha256) as file:
            return file.read()
    except storage.Damaged as error:
        raise BadFile(f"{one}: {error}") from None


def _row(
    version: DatasetVersion, one: Feedback, split: str, content: bytes, *, chats: bool = False
) -> StoredRow:
    """With all columns of the version. Raises BadFile for what does not fit."""
    row: StoredRow = {column["name"]: None for column in version.columns if column["role"] != "id"}
    label = one.label
    if version.problem == MULTI:
        label = version.separator.join(label.split(SEVERAL))
    row |= {"split": split, "label": None, "source": f"{one} by {one.created_by.username}"}
    if version.dataset.task == GENERATION_TASK:
        return row | _written(version, one, chats=chats)
    try:
        row["label"] = label_values.stored(version, label)
    except label_values.NoLabel as error:
        raise BadFile(f"{error} {version.reference}: {one}.") from None
    if one.cells is not None:
        return row | _cells(version, one)
    if one.sha256:
        row[version.input_column] = content
        if "seconds" in row and content:
            row["seconds"] = audio_folder.decoded(content, str(one)).seconds
        return row
    if "prompt" in row or version.input_column != "text":
        raise BadFile(f"{version.reference} holds other rows than texts.")
    return row | {"text": one.text}


def _cells(version: DatasetVersion, one: Feedback) -> StoredRow:
    features = version.features
    if unknown := sorted(set(one.cells) - set(features)):
        raise BadFile(f"{version.reference} has no column {unknown[0]}, as {one} does.")
    found: StoredRow = {}
    for name, kind in features.items():
        value = one.cells.get(name)
        if value in (None, ""):
            found[name] = None
        elif kind == "categorical":
            found[name] = str(value)
        else:
            try:
                found[name] = float(value)
            except (ValueError, OverflowError):
                raise BadFile(f"{name} of {one} is no number: {str(value)[:40]}.") from None
    return found


def _written(version: DatasetVersion, one: Feedback, *, chats: bool) -> StoredRow:
    """What a model should have written: behind its prompt, as a chat, or as one text."""
    if any(column["role"] == "prompt" for column in version.columns):
        return {"prompt": one.text, "text": one.label}
    if chats:
        asked = {"role": "user", "content": one.text}
        said = {"role": "assistant", "content": one.label}
        return {"text": json.dumps([asked, said], ensure_ascii=False)}
    return {"text": f"{one.text}{one.label}"}


def _is_chat(text: str) -> bool:
    """Whether a stored text is a list of messages."""
    if not text.lstrip().startswith("["):
        return False
    try:
        said = json.loads(text)
    except ValueError:
        return False
    return isinstance(said, list) and all(isinstance(one, dict) and "role" in one for one in said)
