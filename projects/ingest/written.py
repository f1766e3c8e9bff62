"""The rows of a stored version as other programs take them: CSV, JSON Lines, or a zip of class
folders. Written while they are sent, a few thousand rows at a time."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any

from distillhub.lib.later import Later
from projects.ingest import stored

pa, pq = Later("pyarrow"), Later("pyarrow.parquet")

ROWS = 1000  # at a time
#: With these a spreadsheet takes a cell for a formula, and may run it.
FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_UNFIT = re.compile(r"[^\w.,()&+ -]+")
MEDIA = ("image", "audio")
#: How encoded pictures and sounds begin, and what their files are called.
_BEGINNINGS = {
    b"\x89PNG": "png",
    b"\xff\xd8\xff": "jpg",
    b"RIFF": "wav",
    b"fLaC": "flac",
    b"OggS": "ogg",
}


def as_csv(stream: IO[bytes]) -> Iterator[bytes]:
    """UTF-8, commas, CRLF. A cell that a spreadsheet would take for a formula gets a ' in front;
    numbers stay as they are. Pictures and sounds are left out."""
    with stream:
        file = pq.ParquetFile(stream)
        names = [name for name in file.schema_arrow.names if name not in MEDIA]
        text = io.StringIO(newline="")
        out = csv.writer(text)
        out.writerow([escaped(name) for name in names])
        for batch in stored.batches(file, names, ROWS):
            columns = [batch.column(name).to_pylist() for name in names]
            out.writerows(map(escaped, row) for row in zip(*columns, strict=True))
            yield text.getvalue().encode()
            text.seek(0)
            text.truncate()
        if written := text.getvalue():
            yield written.encode()


def escaped(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula."""
    if isinstance(value, str) and value.startswith(FORMULA) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def as_json_lines(stream: IO[bytes]) -> Iterator[bytes]:
    """An object in a line, exactly as the rows are. Pictures and sounds are left out."""
    with stream:
        file = pq.ParquetFile(stream)
        names = [name for name in file.schema_arrow.names if name not in MEDIA]
        for batch in stored.batches(file, names, ROWS):
            lines = [json.dumps(row, ensure_ascii=False) for row in batch.to_pylist()]
            yield ("\n".join(lines) + "\n").encode(errors="replace") if lines else b""


def as_files(
    stream: IO[bytes], column: str, labels: Sequence[str]
) -> Iterator[tuple[str, Callable[[], IO[bytes]]]]:
    """Every picture or sound as `train/cat/000012.png`: a file that can be uploaded again."""
    folders = _folders(labels)
    names = ["row_id", "split", "label", column]
    with stream:
        for batch in stored.batches(pq.ParquetFile(stream), names, 100):
            for row in batch.to_pylist():
                yield _path(row, column, folders), _opener(row[column])


def _opener(encoded: bytes) -> Callable[[], IO[bytes]]:
    return lambda: io.BytesIO(encoded)


def _path(row: Mapping[str, Any], column: str, folders: Mapping[str, str]) -> str:
    label = row["label"]
    folder = "" if label is None else f"{folders.get(label, 'other')}/"
    encoded = row[column]
    ending = next((end for begin, end in _BEGINNINGS.items() if encoded.startswith(begin)), "")
    ending = ending or ("mp3" if column == "audio" else "bin")
    return f"{row['split']}/{folder}{row['row_id']:06d}.{ending}"


def _folders(labels: Sequence[str]) -> dict[str, str]:
    """A name for each label's folder that is no path and no other label's."""
    taken: set[str] = set()
    found: dict[str, str] = {}
    for label in labels:
        name = base = _UNFIT.sub("_", label).strip(" .")[:100] or "_"
        nth = 2
        while name.lower() in taken:
            name, nth = f"{base}_{nth}", nth + 1
        taken.add(name.lower())
        found[label] = name
    return found
