"""The table in an archive that says of each of its files what it is: `metadata.csv`, `metadata.tsv`
or `metadata.jsonl`, as the Hugging Face Hub's image and audio folders have them."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from projects.ingest.formats import MOST_LABEL, SPLIT_WORDS, BadFile

NAMES = ("metadata.csv", "metadata.tsv", "metadata.jsonl")
FILE = ("file_name", "filename", "file", "path", "image", "audio")
LABEL = ("label", "labels", "class", "category", "target")
SPLIT = ("split", "subset", "partition")
MOST_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Told:
    label: str | None
    split: str | None
    place: str  # for sentences: `metadata.csv, line 3,`


def is_table(filename: str) -> bool:
    return PurePosixPath(filename).name.lower() in NAMES


def read(content: bytes, filename: str) -> dict[str, Told]:
    """What is told of each file, by its name in the archive. Raises BadFile with the place."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadFile(f"{filename} is not UTF-8, at byte {error.start}.") from None
    folder = PurePosixPath(filename).parent
    found: dict[str, Told] = {}
    for line, row in _rows(text, filename):
        place = f"{filename}, line {line},"
        named = _first(row, FILE)
        if not named:
            raise BadFile(f"{place} names no file: a column `file_name` is needed.", line=line)
        label = _first(row, LABEL)
        if label is not None and len(label) > MOST_LABEL:
            raise BadFile(f"{place} has a label of more than {MOST_LABEL} characters.", line=line)
        found[str(folder / named)] = Told(label, _split(row, place, line), place)
    return found


def _rows(text: str, filename: str) -> Iterator[tuple[int, dict[str, Any]]]:
    if filename.lower().endswith(".jsonl"):
        for line, written in enumerate(text.splitlines(), 1):
            if written.strip():
                try:
                    row = json.loads(written)
                except (ValueError, RecursionError):
                    row = None
                if not isinstance(row, dict):
                    raise BadFile(f"{filename}, line {line}, is no JSON object.", line=line)
                yield line, row
        return
    delimiter = "\t" if filename.lower().endswith(".tsv") else ","
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for row in reader:
            yield reader.line_num, {key: value for key, value in row.items() if key is not None}
    except csv.Error as error:
        raise BadFile(f"{filename}, line {reader.line_num}, cannot be read: {error}.") from None


def _first(row: dict[str, Any], names: tuple[str, ...]) -> str | None:
    """The value of the first of these columns that there is, or None where it is empty."""
    for key, value in row.items():
        if key.strip().lower() in names and isinstance(value, str | int):
            return str(value).strip() or None
    return None


def _split(row: dict[str, Any], place: str, line: int) -> str | None:
    word = _first(row, SPLIT)
    if word is None:
        return None
    split = SPLIT_WORDS.get(word.lower())
    if split is None:
        raise BadFile(
            f"{place} says split {word[:50]!r}; use train, validation or test.", line=line
        )
    return split
