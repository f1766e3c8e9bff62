"""One row becomes several: a column that holds a list, an item each; a long text, a piece each.

What comes of one row stays in its split, and gets the group `part_of`, unless rows have groups
already, so that splits made later keep it together.
"""

import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

from rest_framework import serializers

from projects.ingest import cells, chat_messages, restored
from projects.ingest.formats import GENERATION_TASK, TOKENS_TASK, BadFile
from projects.models import DatasetVersion
from projects.operations import operation, registry
from projects.operations.operation import Parent, StoredRow

MOST_ITEMS = 10_000  # of one row
LEAST, MOST, USUAL = 20, 1_000_000, 2000  # characters of a piece
PART_OF = "part_of"
ENDS = ("\n\n", "\n", ". ", "? ", "! ", " ")  # what a piece rather ends behind, the best first


class Parting(operation.Operation):
    @abstractmethod
    def parted(self, row: StoredRow, options: Mapping[str, Any]) -> Iterator[StoredRow]:
        """The rows that a row becomes. Raises BadFile."""

    def columns(self, parents: list[Parent], options: Mapping[str, Any]) -> list[dict[str, str]]:
        version = parents[0].version
        found = [  # the id of a row would be that of all its parts
            one | {"role": "extra"} if one["role"] == "key" else one for one in version.columns
        ]
        if PART_OF not in {one["name"] for one in found}:
            role = "extra" if version.column_of("group") else "group"
            found.append({"name": PART_OF, "type": "string", "role": role})
        return found

    def rows(self, parents: list[Parent], options: Mapping[str, Any]) -> Iterator[StoredRow]:
        told = {one["name"]: one["type"] for one in parents[0].version.columns}
        if told.get(PART_OF, "string") != "string":
            raise BadFile(f"The column {PART_OF} is not of texts. Rename it first.")
        for row in parents[0].rows():
            first = row.get(PART_OF) or str(row["row_id"])
            for one in self.parted(row, options):
                if "text" in one and not (one["text"] or "").strip():
                    continue  # as in an upload: a row without any input is none
                yield one | {PART_OF: first}


def _listable(version: DatasetVersion) -> list[tuple[str, str]]:
    """The columns of texts, which may hold lists."""
    kept = restored.KEPT - {"weight", "soft"}
    text = set() if version.dataset.task == TOKENS_TASK else {"input", "prompt"}
    return [
        (one["name"], one["name"])
        for one in version.columns
        if one["type"] == "string" and one["role"] in kept | text
    ]


@registry.register
class Explode(Parting):
    key = "explode"
    label = "Rows of a list"
    summary = "A column that holds a list, as JSON: a row becomes one row for each item."

    class Options(operation.Options):
        column = serializers.CharField(
            max_length=200,
            style={"of": _listable},
            help_text="Its rows without a list stay as they are; those of an empty one are empty.",
        )

    def suits(self, version: DatasetVersion) -> bool:
        return bool(_listable(version))

    def check(self, version: DatasetVersion, options: Mapping[str, Any]) -> None:
        names = [name for name, _ in _listable(version)]
        if options["column"] not in names:
            known = f"there are {', '.join(names)}" if names else "there are none"
            raise operation.refuse("column", f"Name a column of texts or lists; {known}.")

    def told(self, options: Mapping[str, Any]) -> str:
        return f"Made a row of each item of {options['column']}"

    def parted(self, row: StoredRow, options: Mapping[str, Any]) -> Iterator[StoredRow]:
        name = options["column"]
        found = _list(row[name])
        if found is None:
            yield row
            return
        if len(found) > MOST_ITEMS:
            raise BadFile(
                f"Row {row['row_id']} ({row['source']}) has {len(found):,} items in {name}; at "
                f"most {MOST_ITEMS:,} may be."
            )
        for item in found or [None]:
            yield row | {name: cells.cell(item) or None}


@registry.register
class Cut(Parting):
    key = "cut"
    label = "Cut texts"
    summary = "Long texts become several rows, cut behind a paragraph, a sentence or a word."

    class Options(operation.Options):
        characters = serializers.IntegerField(
            min_value=LEAST,
            max_value=MOST,
            default=USUAL,
            help_text="Of a piece at most. Texts that are no longer stay whole, and so do chats.",
        )
        overlap = serializers.IntegerField(
            min_value=0,
            max_value=MOST // 2,
            default=0,
            help_text="Characters that a piece has of the end of the one before, at most a half.",
        )

    def suits(self, version: DatasetVersion) -> bool:
        return version.input_column == "text" and version.dataset.task != TOKENS_TASK

    def check(self, version: DatasetVersion, options: Mapping[str, Any]) -> None:
        if not self.suits(version):
            raise operation.refuse("characters", "Only texts can be cut.")
        if version.dataset.task == GENERATION_TASK and version.column_of("prompt"):
            raise operation.refuse("characters", "An answer stays whole behind its prompt.")
        if options["overlap"] > options["characters"] // 2:
            raise operation.refuse("overlap", "At most half a piece may be as the one before.")

    def told(self, options: Mapping[str, Any]) -> str:
        return f"Cut texts into pieces of at most {options['characters']} characters"

    def parted(self, row: StoredRow, options: Mapping[str, Any]) -> Iterator[StoredRow]:
        text, most = row["text"] or "", options["characters"]
        if len(text) <= most or chat_messages.is_chat(_list(text)):
            yield row
            return
        for piece in pieces(text, most, options["overlap"]):
            yield row | {"text": piece}


def pieces(text: str, most: int, overlap: int = 0) -> Iterator[str]:
    """A text in pieces of at most `most` characters, each of at least a half but the last. Without
    an `overlap` they make the text again."""
    begin = 0
    while len(text) - begin > most:
        end = begin + most
        for border in ENDS:
            found = text.rfind(border, begin + (most + 1) // 2, end)
            if found >= 0:
                end = found + len(border)
                break
        yield text[begin:end]
        again = max(begin + 1, end - overlap)
        word = text.find(" ", again, end)
        begin = word + 1 if overlap and 0 <= word < end - 1 else again
    yield text[begin:]


def _list(value: Any) -> list[Any] | None:
    text = value if isinstance(value, str) else ""
    if not text.lstrip().startswith("["):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) else None
