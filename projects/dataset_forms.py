"""What is typed when data is brought: the files, and the corrected mapping."""

import re
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django import forms
from django.http import QueryDict

from projects.ingest.formats import (
    CATEGORICAL,
    EMBEDDING_TASK,
    GENERATION_TASK,
    NUMERIC,
    SPLIT_WORDS,
    TABLE_TASK,
    TEXT_TASK,
    TOKENS_TASK,
)
from projects.ingest.media_table import IMAGE_TASK, SOUND_TASK
from projects.ingest.reading import BESIDE

PERCENT = 100
MOST_FILES = 50


class FilesForm(forms.Form):
    file = forms.FileField(
        label="File",
        required=False,
        help_text="A table (CSV, TSV, JSON, JSON Lines, Parquet, Arrow, Excel), words with tags "
        "(CoNLL), running text, or a zip or tar of images or sounds in class folders.",
        error_messages={"empty": "The file is empty."},
    )
    test_file = forms.FileField(
        label="Separate test file",
        required=False,
        help_text="Of the same kind. Its rows become the test split, whatever else is divided.",
        error_messages={"empty": "The test file is empty."},
    )

    def clean(self) -> dict[str, Any]:
        """Files come in the form, or have come before it: `upload` and `test_upload` name them."""
        cleaned = self.cleaned_data
        assert isinstance(self.data, QueryDict)
        for name in ("upload", "test_upload"):
            try:
                cleaned[name] = [UUID(one) for one in self.data.getlist(name)[:MOST_FILES]]
            except ValueError:
                self.add_error("file", "This is no upload.")
        if not cleaned.get("file") and not cleaned.get("upload") and not self.errors:
            self.add_error("file", "Choose a file.")
        return cleaned


class HubForm(forms.Form):
    """A dataset of the hub; what it asks for is checked by the service."""

    hub_id = forms.CharField(
        label="Id of the dataset",
        max_length=200,
        help_text="As its page on the hub is called, such as PolyAI/banking77.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    task = forms.ChoiceField(label="What it is for", help_text="Columns are guessed for it.")
    name = forms.CharField(
        label="Name", max_length=100, required=False, help_text="Like the id, if left out."
    )
    hub_config = forms.CharField(
        label="Configuration", max_length=200, required=False, help_text="Where it has several."
    )
    hub_splits = forms.CharField(
        label="Splits",
        max_length=1000,
        required=False,
        help_text="With commas between them. Else those called train, validation and test.",
    )
    hub_revision = forms.CharField(
        label="Revision",
        max_length=200,
        required=False,
        help_text="A branch, a tag or a commit; main if left out. It is pinned to its commit.",
    )

    def __init__(self, *args: Any, tasks: Sequence[str], next_version: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choice = self.fields["task"]
        assert isinstance(choice, forms.ChoiceField)
        choice.choices = [(one, one.replace("-", " ")) for one in tasks]
        choice.initial = TEXT_TASK
        if next_version:
            del self.fields["task"], self.fields["name"]

    @property
    def hub(self) -> dict[str, Any]:
        """As services.hub_datasets takes it."""
        said = self.cleaned_data
        return {
            "id": said["hub_id"],
            "config": said["hub_config"],
            "revision": said["hub_revision"],
            "splits": said["hub_splits"].split(","),
        }


class MappingForm(forms.Form):
    """The name, and what goes with it; the reading itself is checked by the service."""

    name = forms.CharField(
        label="Name",
        max_length=100,
        help_text="It stands in references such as name@1: letters, digits, dots, hyphens, "
        "underscores.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    description = forms.CharField(label="Description", max_length=2000, required=False)


def suggested_name(file: str, fallback: str) -> str:
    """`Customer Questions.csv` as `customer-questions`; `train.csv` says nothing, so `fallback`."""
    stem = re.sub(
        r"(\.(csv|tsv|tab|txt|zip|tar|tgz|gz|jsonl?|ndjson|parquet|pq|arrow|feather|xls[xm]|conllu?|"
        r"bio|iob2?))+$",
        "",
        file,
        flags=re.IGNORECASE,
    )
    name = re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("-._")[:60]
    return fallback if not name or name in SPLIT_WORDS or name in {"data", "dataset"} else name


def reading_from(post: QueryDict, files: int) -> dict[str, Any]:
    """The corrections that the mapping page posts, as services.datasets takes them."""
    changes: dict[str, Any] = {"files": [_file(post, index) for index in range(files)]}
    if task := post.get("task"):
        changes["task"] = task
    if "known" in post:
        changes["columns"] = {} if _is_another(post, files) else _columns(post, task or "")
    # What a label is goes with its column: another one is looked at anew.
    same = post.get("role-label") == post.get("label-was") and task == post.get("task-was", task)
    if same and post.get("problem"):
        changes |= {"problem": post["problem"], "separator": post.get("separator", "")[:10]}
    if task == TOKENS_TASK and "tag-names" in post:
        changes["tag_names"] = post["tag-names"]
    if "label-names" in post:
        changes["labels"] = post["label-names"]
    if "share-train" in post:
        changes["splits"] = {
            split: _number(post.get(f"share-{split}"), 0) / PERCENT
            for split in ("train", "validation", "test")
        }
        changes["seed"] = int(_number(post.get("seed"), -1))
    if "known" in post:
        changes["ragged"] = "skip" if post.get("ragged") else "refuse"
    return changes


#: Roles that a task must have a column for, other than text and label.
NEEDED = {
    TABLE_TASK: ("label",),
    GENERATION_TASK: ("text",),
    EMBEDDING_TASK: ("text",),
    IMAGE_TASK: ("image", "label"),
    SOUND_TASK: ("audio", "label"),
}


def _columns(post: QueryDict, task: str) -> dict[str, Any]:
    """The roles of columns, as far as the page has controls for them."""
    known = post.getlist("known")
    columns: dict[str, Any] = {"split": post.get("role-split") or None}
    needed = NEEDED.get(task, ("text", "label"))
    for role in needed:  # an empty choice is guessed anew
        if chosen := post.get(f"role-{role}"):
            columns[role] = chosen
    if "label" in needed and task == post.get("task-was", task) and post.get("role-label") == "":
        columns["label"] = None
    if "soft-labels" in post and task == post.get("task-was", task):
        columns["soft_labels"] = post["soft-labels"] or None
    for role in ("prompt", "rationale"):
        if task == GENERATION_TASK and f"role-{role}" in post:
            columns[role] = post[f"role-{role}"] or None
    for role in BESIDE:
        if f"role-{role}" in post:
            columns[role] = post[f"role-{role}"] or None
    uses = {name: post.get(f"use-{place}") for place, name in enumerate(known)}
    if not any(uses.values()):
        kept = set(post.getlist("keep"))
        columns["ignored"] = [name for name in known if name not in kept]
        return columns
    columns["ignored"] = [name for name, use in uses.items() if use == "ignored"]
    if task == TABLE_TASK:
        # A column that has just lost its role has no control yet: its kind is guessed.
        columns["features"] = {
            name: use or None
            for name, use in uses.items()
            if use in (NUMERIC, CATEGORICAL) or (not use and name not in columns.values())
        }
    return columns


#: Which table of a file is meant: with another one, other columns are there.
TABLES = ("sheet", "at", "layout")


def _is_another(post: QueryDict, files: int) -> bool:
    """Whether another table of a file was chosen than the one whose columns the page showed."""
    return any(
        post.get(f"{name}-{index}") != post.get(f"{name}-was-{index}")
        for name in TABLES
        for index in range(files)
        if f"{name}-was-{index}" in post
    )


def _file(post: QueryDict, index: int) -> dict[str, Any]:
    """The split and dialect of one file, as far as the page has controls for them."""
    file: dict[str, Any] = {}
    for name in ("split", "delimiter", "encoding", "quoting", *TABLES):
        if (value := post.get(f"{name}-{index}")) is not None:
            file[name] = {"tab": "\t"}.get(value, value) if name == "delimiter" else value
    if (header := post.get(f"header-{index}")) is not None:
        file["header"] = header == "yes"
    return file


def _number(value: str | None, otherwise: float) -> float:
    try:
        number = float(value or "")
    except ValueError:
        return otherwise
    return number if abs(number) < 1e12 else otherwise  # also false for NaN
