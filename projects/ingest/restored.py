"""Rows of a stored version as a format gives them, so that an operation's rows are counted and
compared like those of an upload."""

import hashlib
from typing import Any

from projects.ingest import audio_folder, image_folder
from projects.ingest.formats import Row

#: Roles of stored columns that are a row's inputs, in the order of the file.
INPUTS = frozenset({"input", "prompt", "rationale", "feature", "measure"})
#: Roles of columns that are kept beside, under their own names: without a part of their own; a
#: row's name in the upload; what it belongs to; how much it counts; a class's probability.
KEPT = frozenset({"extra", "key", "group", "weight", "soft"})


def measures(columns: list[dict[str, str]]) -> tuple[str, ...]:
    """The names of the measures that `row` takes of rows with these columns."""
    kinds = {"text": ("characters", "words"), "image": ("width", "height")}
    kinds["audio"] = ("milliseconds", "rate")
    return kinds.get(_input(columns), ())


def row(values: dict[str, Any], columns: list[dict[str, str]]) -> Row:
    """`values` by the names of stored columns; a split of None is one that is still to be given.

    Raises BadFile for a picture or sound that does not decode.
    """
    of_role: dict[str, list[Any]] = {}
    for one in columns:
        of_role.setdefault(one["role"], []).append(values.get(one["name"]))
    inputs = tuple(values.get(one["name"]) for one in columns if one["role"] in INPUTS)
    found = Row(
        source=values["source"],
        input="",
        key=b"",
        label=values.get("label"),
        split=values.get("split"),
        others=tuple(values.get(one["name"]) for one in columns if one["role"] in KEPT),
        measures=(),
        values=inputs,
    )
    which = _input(columns)
    if which == "image":
        _see(found, values["image"])
    elif which == "audio":
        _hear(found, values["audio"])
    elif which == "text":
        _read(found, values["text"], *of_role.get("prompt", ()))
    else:
        found.input = "\x1f".join("" if one is None else str(one) for one in inputs)
        found.key = _digest(found.input)
    return found


def _input(columns: list[dict[str, str]]) -> str:
    """`text`, `image` or `audio`; empty for a table."""
    return next((one["name"] for one in columns if one["role"] == "input"), "")


def _read(found: Row, text: str, prompt: str | None = None) -> None:
    found.measures = (len(text), len(text.split()))
    key = text.strip()
    found.input = text
    if prompt is not None:  # the same question in two splits leaks, whatever follows
        key = prompt.strip() or key
        found.input = f"{prompt}\x1f{text}"
    found.key = _digest(key)


def _see(found: Row, encoded: bytes) -> None:
    picture = image_folder.decoded(encoded, found.source)
    found.input, found.key, found.kind = encoded, picture.key, picture.mode
    found.measures = (picture.width, picture.height)


def _hear(found: Row, encoded: bytes) -> None:
    sound = audio_folder.decoded(encoded, found.source)
    found.input, found.key, found.kind = encoded, sound.key, sound.kind
    found.measures = (round(sound.seconds * 1000), sound.rate)


def _digest(key: str) -> bytes:
    return hashlib.blake2b(key.encode(), digest_size=8).digest()
