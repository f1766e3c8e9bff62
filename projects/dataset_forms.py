"""What is typed when data is brought: the files, and the corrected mapping."""

import re
from typing import Any

from django import forms
from django.http import QueryDict

from projects.ingest.formats import SPLIT_WORDS

PERCENT = 100


class FilesForm(forms.Form):
    file = forms.FileField(
        label="File",
        help_text="A CSV or TSV file, or a zip of images in class folders.",
        error_messages={"required": "Choose a file.", "empty": "The file is empty."},
    )
    test_file = forms.FileField(
        label="Separate test file",
        required=False,
        help_text="Of the same kind. Its rows become the test split, whatever else is divided.",
        error_messages={"empty": "The test file is empty."},
    )


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
    stem = re.sub(r"(\.(csv|tsv|tab|txt|zip))+$", "", file, flags=re.IGNORECASE)
    name = re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("-._")[:60]
    return fallback if not name or name in SPLIT_WORDS or name in {"data", "dataset"} else name


def reading_from(post: QueryDict, files: int) -> dict[str, Any]:
    """The corrections that the mapping page posts, as services.datasets takes them."""
    changes: dict[str, Any] = {"files": [_file(post, index) for index in range(files)]}
    if "known" in post:
        columns: dict[str, Any] = {"split": post.get("role-split") or None}
        for role in ("text", "label"):  # both are needed: an empty choice is guessed anew
            if chosen := post.get(f"role-{role}"):
                columns[role] = chosen
        kept = set(post.getlist("keep"))
        columns["ignored"] = [name for name in post.getlist("known") if name not in kept]
        changes["columns"] = columns
    if "share-train" in post:
        changes["splits"] = {
            split: _number(post.get(f"share-{split}"), 0) / PERCENT
            for split in ("train", "validation", "test")
        }
        changes["seed"] = int(_number(post.get("seed"), -1))
    if "known" in post:
        changes["ragged"] = "skip" if post.get("ragged") else "refuse"
    return changes


def _file(post: QueryDict, index: int) -> dict[str, Any]:
    """The split and dialect of one file, as far as the page has controls for them."""
    file: dict[str, Any] = {}
    for name in ("split", "delimiter", "encoding", "quoting"):
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
