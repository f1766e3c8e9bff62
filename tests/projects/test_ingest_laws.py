"""The law of formats: the same table gives the same rows, whatever the file it stands in."""

import csv
import gzip
import io
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from projects.ingest import compressed, ingestion, making, reading, registry
from projects.ingest.formats import TABLE_TASK, TEXT_TASK
from projects.models import Dataset, DatasetVersion

Rows = list[dict[str, Any]]

ROWS: Rows = [
    {
        "text": f"Is „{word}” here,\nor there? {number}",
        "label": "yes" if number % 3 else "no",
        "number": number / 4 if number % 5 else None,
        "whole": number * 1000,
        "true": number % 2 == 0,
        "day": date(2024, 2, 1 + number % 28),
        "word": word if number % 7 else None,
    }
    for number, word in enumerate(["Ærø", "tea; milk", "null", "x\ty", '"q"'] * 6)
]
NAMES = list(ROWS[0])


def cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)


def delimited(delimiter: str, encoding: str = "utf-8") -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter)
    writer.writerow(NAMES)
    writer.writerows([cell(row[name]) for name in NAMES] for row in ROWS)
    return out.getvalue().encode(encoding)


def plain(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"day": row["day"].isoformat()}


def lines(encoding: str = "utf-8") -> bytes:
    found = "".join(json.dumps(plain(row), ensure_ascii=False) + "\n" for row in ROWS)
    return found.encode(encoding)


def document(value: Any) -> bytes:
    return json.dumps(value, indent=1).encode()


def table() -> pa.Table:
    return pa.Table.from_pylist(ROWS)


def written(write: Callable[[pa.Table, io.BytesIO], Any]) -> bytes:
    out = io.BytesIO()
    write(table(), out)
    return out.getvalue()


def stream(found: pa.Table, out: io.BytesIO) -> None:
    with pa.ipc.new_stream(out, found.schema) as writer:
        writer.write_table(found, max_chunksize=7)


def workbook() -> bytes:
    book, out = openpyxl.Workbook(), io.BytesIO()
    sheet = book.active
    sheet.append(NAMES)
    for row in ROWS:
        sheet.append([row[name] for name in NAMES])
    book.save(out)
    return out.getvalue()


def columns() -> dict[str, list[Any]]:
    return {name: [plain(row)[name] for row in ROWS] for name in NAMES}


def pandas_columns() -> dict[str, dict[str, Any]]:
    return {name: {str(at): one for at, one in enumerate(each)} for name, each in columns().items()}


FILES: dict[str, Callable[[], bytes]] = {
    "rows.csv": lambda: delimited(","),
    "semicolons.csv": lambda: delimited(";", "utf-16"),
    "rows.tsv": lambda: delimited("\t", "utf-8-sig"),
    "rows.csv.gz": lambda: gzip.compress(delimited(",")),
    "rows.jsonl": lines,
    "wide.jsonl": lambda: lines("utf-16"),
    "rows.jsonl.gz": lambda: gzip.compress(lines()),
    "list.json": lambda: document([plain(row) for row in ROWS]),
    "line.json": lambda: json.dumps([plain(row) for row in ROWS]).encode(),
    "within.json": lambda: document({"about": [1], "data": [plain(row) for row in ROWS]}),
    "columns.json": lambda: document(columns()),
    "pandas.json": lambda: document(pandas_columns()),
    "behind.json": lambda: b"\n".join(document(plain(row)) for row in ROWS),
    "list.json.gz": lambda: gzip.compress(document([plain(row) for row in ROWS])),
    "rows.parquet": lambda: written(pq.write_table),
    "small.parquet": lambda: written(
        lambda found, out: pq.write_table(found, out, row_group_size=4)
    ),
    "rows.feather": lambda: written(feather.write_feather),
    "rows.arrow": lambda: written(stream),
    "rows.xlsx": workbook,
}


def version(name: str, content: bytes, **changes: Any) -> tuple[DatasetVersion, Any]:
    """An upload as it would be understood, unsaved."""
    form = registry.recognise(io.BytesIO(content), name)
    files = [{"name": name, "sha256": name, "bytes": len(content), "split": None}]
    understood = reading.first(form, files, lambda _: io.BytesIO(content))
    if changes:
        understood = reading.corrected(form, understood, changes, lambda _: io.BytesIO(content))
    dataset = Dataset(name="law", task=understood["task"])
    return DatasetVersion(dataset=dataset, format=form.key, reading=understood), form


def made(name: str, content: bytes, folder: Path, **changes: Any) -> dict[str, Any]:
    (folder / name).write_bytes(content)
    found, _ = version(name, content, **changes)
    source = ingestion.UploadedRows(found, [(found.reading["files"][0], folder / name)])
    return making.made(source, folder, lambda stage, fraction: None)


@pytest.fixture
def as_csv(tmp_path: Path) -> dict[str, Any]:
    folder = tmp_path / "csv"
    folder.mkdir()
    return made("rows.csv", FILES["rows.csv"](), folder)


@pytest.mark.parametrize("name", FILES)
def test_the_same_table_has_the_same_fingerprint_in_every_file(
    name: str, as_csv: dict[str, Any], tmp_path: Path
) -> None:
    found = made(name, FILES[name](), tmp_path)
    assert found["rows"] == len(ROWS)
    assert found["columns"] == as_csv["columns"]
    assert found["statistics"] == as_csv["statistics"]
    assert found["fingerprint"] == as_csv["fingerprint"]


@pytest.mark.parametrize("name", FILES)
def test_the_same_features_are_learned_from_in_every_file(name: str, tmp_path: Path) -> None:
    asked = {"task": TABLE_TASK, "columns": {"label": "label", "features": ["number", "word"]}}
    found = made(name, FILES[name](), tmp_path, **asked)
    table = made("rows.csv", FILES["rows.csv"](), tmp_path, **asked)
    assert found["fingerprint"] == table["fingerprint"]
    assert (
        found["statistics"]["columns"]["number"]["missing"] == 5
    )  # the first row has nothing at all


@pytest.mark.parametrize("name", FILES)
def test_what_is_guessed_does_not_depend_on_the_file(name: str) -> None:
    found, form = version(name, FILES[name]())
    assert found.reading["task"] == TEXT_TASK
    assert (found.reading["columns"]["text"], found.reading["columns"]["label"]) == (
        "text",
        "label",
    )
    assert found.reading["others"] == NAMES[2:]
    handle = compressed.opened(io.BytesIO(FILES[name]()))
    look = form.look(handle, name, found.reading["files"][0]["dialect"])
    assert [look.seen, look.estimated, look.complete] == [len(ROWS), len(ROWS), True]
    numeric = [column["name"] for column in look.columns if column["numeric"]]
    assert numeric == ["number", "whole"]
    assert not look.problems


@pytest.mark.parametrize("name", FILES)
def test_a_dialect_from_outside_is_checked_and_comes_back_as_it_was(name: str) -> None:
    found, form = version(name, FILES[name]())
    dialect = found.reading["files"][0]["dialect"]
    assert form.check_dialect(json.loads(json.dumps(dialect))) == dialect
