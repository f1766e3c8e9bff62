"""What a look takes in, on its way from batches to parts."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from training.engine.watching.parts import Part

JSON = dict[str, Any]

#: What a teacher's answer says, and the columns of it.
TEACHER = {
    "prediction": "teacher_prediction",
    "probabilities": "teacher_probabilities",
    "share": "teacher_share",
}


_encode = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode


class Files(Protocol):
    """Who brings stored files (wants.py)."""

    def files(self, sha256s: Iterable[str]) -> dict[str, Path | None]: ...


@dataclass(slots=True)
class Taken:
    """What a look takes in.

    rows: new ones, in the order they came, with all that was sent (`content` are bytes of pictures
    and sounds); said: rows of before as they are now, of which something was said, with
    `label_is_new` and `answer_is_new` where nothing had been said of that before.
    """

    rows: pa.Table
    said: pa.Table
    taken: list[int] = field(default_factory=list)
    refused: list[JSON] = field(default_factory=list)  # {"batch", "sentence"}
    forgotten: list[str] = field(default_factory=list)  # sha256s of parts that are gone
    repeated: int = 0  # rows whose id had come before
    unknown: int = 0  # labels and answers that wait for their row
    removed: int = 0  # rows that were forgotten
    #: What `keep` writes besides the new rows.
    later: list[JSON] = field(default_factory=list)
    rewritten: list[tuple[Part, pa.Table]] = field(default_factory=list)


def later(line: Mapping[str, Any]) -> JSON:
    """What a line says of a row besides the row itself, by the names of its columns."""
    said: JSON = {"label": line["label"]} if line.get("label") is not None else {}
    for name, value in (line.get("teacher") or {}).items():
        said[TEACHER[name]] = value
    if "teacher_prediction" in said:
        said.setdefault("teacher_share", 1.0)
    return said


def spelt(value: Any) -> str | None:
    """Cells and tags, as a column keeps them: equal ones alike."""
    if value is None:
        return None
    return _encode(value)


def unit(value: Sequence[float] | None) -> Any:
    """A vector of length one, in half precision."""
    if value is None:
        return None
    vector = np.asarray(value, dtype=np.float64)
    length = float(np.linalg.norm(vector))
    return (vector / length if length > 0 else vector).astype(np.float16)
