"""How near rows are to one of them, or to words: cosines of vectors, all of them compared, a piece
of the file at a time."""

from __future__ import annotations

from typing import IO, Any

from distillhub.lib.errors import Missing
from distillhub.lib.later import Later, np
from projects.ingest.found import recent
from projects.models import DatasetVersion
from projects.services import datasets
from projects.services.likeness import Like
from training.models import RowMap
from training.services import maps

text_vectors = Later("training.engine.text_vectors")  # brings numpy and SciPy

AT_ONCE = 32_768  # rows compared together: some 17 MB of 128 numbers each


def scores(*, version: DatasetVersion, like: Like) -> np.ndarray[Any, Any]:
    """`[rows]`, float32, to be read only. Raises NoMap, NotReady, and Missing for no such row."""
    datasets.require_ready(version)
    if like.row_id is not None and not 0 <= like.row_id < version.rows:
        raise Missing(f"{version.reference} has no row {like.row_id}.")
    row_map = maps.ready(version=version, name=like.map, for_words=bool(like.words))
    maps.note_use(row_map)
    file = row_map.file("vectors.npy")
    assert file is not None
    key = ("likeness", file["sha256"], like.row_id, like.words)
    return recent.find(key, lambda: _compared(row_map, like))


def nearest(*, version: DatasetVersion, row_id: int, count: int) -> list[tuple[int, float]]:
    """(row, cosine) of the rows that are nearest to one, the nearest first, without itself. Raises
    what `scores` does."""
    found = scores(version=version, like=Like(row_id))
    count = min(count + 1, len(found))
    some = np.argpartition(-found, count - 1)[:count]
    order = some[np.lexsort((some, -found[some]))]
    return [(int(one), float(found[one])) for one in order if one != row_id][: count - 1]


def _compared(row_map: RowMap, like: Like) -> np.ndarray[Any, Any]:
    with maps.open_file(row_map=row_map, name="vectors.npy") as stream:
        rows, width = _shape(stream)
        start = stream.tell()
        if like.row_id is not None:
            stream.seek(start + 2 * width * like.row_id)
            wanted = _read(stream, 1, width)[0]
            stream.seek(start)
        else:
            wanted = _of_words(row_map, like.words)
        found: np.ndarray[Any, Any] = np.empty(rows, dtype=np.float32)
        for first in range(0, rows, AT_ONCE):
            piece = _read(stream, min(AT_ONCE, rows - first), width)
            found[first : first + len(piece)] = piece @ wanted
    return np.clip(found, -1, 1, out=found)


def _shape(stream: IO[bytes]) -> tuple[int, int]:
    """Of the array; the stream then stands at its first number."""
    version = np.lib.format.read_magic(stream)
    assert version == (1, 0)
    (rows, width), fortran, kind = np.lib.format.read_array_header_1_0(stream)
    assert not fortran
    assert kind == np.float16
    return rows, width


def _read(stream: IO[bytes], rows: int, width: int) -> np.ndarray[Any, Any]:
    content = stream.read(2 * rows * width)
    return np.frombuffer(content, dtype=np.float16).reshape(rows, width).astype(np.float32)


def _of_words(row_map: RowMap, words: str) -> np.ndarray[Any, Any]:
    with maps.open_file(row_map=row_map, name="words.npy") as stream:
        directions = text_vectors.Directions(np.load(stream, allow_pickle=False))
    found: np.ndarray[Any, Any] = directions.vectors([words])[0]
    return found
