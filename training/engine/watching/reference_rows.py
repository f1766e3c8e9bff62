"""The rows that windows are compared with, as a table like those of parts (parts.TYPES).

Of a dataset's split (`config["dataset"]`, as in a training job, and `config["split"]`): `id` is the
row's number; the answers are the student's, or, of a model that is served elsewhere, what stands in
`config["dataset"]["soft"]`, {label: column of its probability}, or in the column
`config["dataset"]["prediction"]`. Of traffic (`config["traffic"]`, {"from", "until"}, seconds since
1970): rows of parts, as they were kept, with what was said of them later.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from training.engine import cells
from training.engine.errors import ConfigError, DataError, Fault
from training.engine.watching import describing, parts, written
from training.engine.watching.label_sets import SEPARATOR
from training.engine.watching.parts import TYPES, Part

JSON = dict[str, Any]
Indices = NDArray[np.int64]

MOST = {"text": 20_000, "columns": 50_000, "image": 5000, "audio": 2000}  # rows that are looked at
USUAL = 20_000
MOST_WRITTEN = 5000  # prompts of models that write, which are the largest
MULTI = "multi_label"


def of_dataset(path: Path, config: Mapping[str, Any]) -> pa.Table:
    """Rows of the split, evenly spread where there are too many. Raises DataError, ConfigError."""
    described, split = config["dataset"], str(config.get("split") or "")
    reads = str(config["monitor"]["input"])
    try:
        file = pq.ParquetFile(path)
        heads = pq.read_table(path, columns=["row_id", "split"])
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"The dataset's file cannot be read as Parquet: {error}") from error
    places = np.arange(heads.num_rows, dtype=np.int64)
    if split:
        places = np.flatnonzero(np.array(heads["split"].to_pylist(), dtype=object) == split)
    if not len(places):
        raise DataError(f"The dataset has no {split} rows to compare with.")
    writes = config["monitor"].get("task") == written.TASK
    places = _some(places, MOST_WRITTEN if writes else MOST.get(reads, USUAL))
    names = file.schema_arrow.names
    wanted = _wanted(reads, described, names)
    columns: dict[str, list[Any]] = {name: [] for name in wanted}
    for piece in _pieces(file, places, wanted):
        for name in wanted:
            columns[name] += piece[name].to_pylist()
    rows: JSON = {"id": pa.array([str(one) for one in columns["row_id"]], pa.string())}
    if reads == "text":
        rows["text"] = pa.array(_texts(columns), pa.string())
    elif reads == "columns":
        features = list(described.get("columns") or ())
        rows["cells"] = pa.array(_cells(columns, features), pa.string())
    elif reads in ("image", "audio"):
        rows["content"] = pa.array(columns[reads], pa.binary())
    rows["label"] = pa.array(_labels(columns["label"], described), pa.string())
    if writes:
        told = zip(("text", "label"), written.asked(columns), strict=True)
        rows |= {name: pa.array(texts, pa.string()) for name, texts in told}
    rows |= _answers(columns, described, config["monitor"])
    return pa.table(rows)


def of_traffic(some: Sequence[Part], files: Any, since: float, until: float) -> pa.Table:
    """Rows of parts between two times, of the newest where there are too many. `files` brings
    stored files (wants.py). Raises DataError where there is none."""
    days = {
        str(np.datetime64(int(one * 1e6), "us").astype("datetime64[D]")) for one in (since, until)
    }
    first, last = min(days), max(days)
    chosen = [one for one in some if first <= one.day <= last and not one.waits]
    paths = files.files(one.sha256 for one in chosen if one.kind in (parts.ROWS, parts.SAID))
    edges = [pa.scalar(round(one * 1e6), pa.int64()).cast(parts.TIME) for one in (since, until)]
    rows, said = [], []
    for one in chosen:
        path = paths.get(one.sha256)
        if path is None:
            continue
        table = pq.read_table(path)
        if one.kind == parts.SAID:
            said.append(table)
            continue
        here = pc.and_(
            pc.greater_equal(table["time"], edges[0]),
            pc.less(table["time"], edges[1]),
        )
        rows.append(table.filter(here))
    table = parts.joined(rows) if rows else pa.table({})
    if not table.num_rows:
        raise DataError("No row came in that time, or none of it is kept any more.")
    table = table.take(pa.array(_some(np.arange(table.num_rows), USUAL)))
    return with_said(table, parts.newest(parts.joined(said)) if said else None)


def with_said(rows: pa.Table, said: pa.Table | None) -> pa.Table:
    """Rows with labels and teacher's answers that came later."""
    if said is None or not said.num_rows:
        return rows
    places = {one: at for at, one in enumerate(said["id"].to_pylist())}
    at = pa.array([places.get(one) for one in rows["id"].to_pylist()], pa.int64())
    for name in parts.LATER:
        if name not in said.column_names:
            continue
        later = said[name].combine_chunks().cast(TYPES[name]).take(at)
        if name in rows.column_names:
            own = rows[name].combine_chunks().cast(TYPES[name])
            there = pc.is_valid(later)
            both = pa.concat_arrays([later, own])
            order = np.where(np.asarray(there), 0, rows.num_rows) + np.arange(rows.num_rows)
            rows = rows.set_column(
                rows.schema.get_field_index(name), name, both.take(pa.array(order))
            )
        else:
            rows = rows.append_column(name, later)
    return rows


def described(
    rows: pa.Table, reads: str, tokenizer: Any = None, *, writes: bool = False
) -> pa.Table:
    """With a column of each descriptor; those of tables are their columns, which are in `cells`. Of
    models that write, a text may be a chat."""
    name = {"text": "text", "image": "content", "audio": "content"}.get(reads)
    if name is None or name not in rows.column_names:
        return rows
    contents = rows[name].to_pylist()
    if reads == "text" and writes:
        contents = [written.spoken(one) for one in contents]
    for signal, values in describing.describe(reads, contents, tokenizer).items():
        kind = pa.string() if isinstance(values, list) else pa.float64()
        if signal in rows.column_names:
            rows = rows.drop_columns([signal])
        rows = rows.append_column(signal, pa.array(values, kind, from_pandas=True))
    return rows


# -- inside ---------------------------------------------------------------------------------------


def _some(places: Indices, most: int) -> Indices:
    if len(places) <= most:
        return places
    chosen: Indices = places[np.linspace(0, len(places) - 1, most).astype(np.int64)]
    return chosen


def _wanted(reads: str, described: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Columns of the file that are read. Raises ConfigError."""
    inputs = {
        "text": [one for one in ("prompt", "text") if one in names],
        "columns": list(described.get("columns") or ()),
        "image": ["image"],
        "audio": ["audio"],
    }.get(reads, [])
    said = [*(described.get("soft") or {}).values()]
    said += [described["prediction"]] if described.get("prediction") else []
    wanted = list(dict.fromkeys(["row_id", "label", *inputs, *said]))
    missing = [name for name in wanted if name not in names]
    if missing or (reads == "text" and not inputs):
        name = missing[0] if missing else "text"
        raise ConfigError([Fault("dataset", f"It has no column {name}, which is watched.")])
    return wanted


def _pieces(file: Any, places: Indices, columns: list[str]) -> Iterator[pa.Table]:
    """The rows at rising places, group by group."""
    start = 0
    for group in range(file.num_row_groups):
        end = start + file.metadata.row_group(group).num_rows
        here = places[(places >= start) & (places < end)] - start
        start = end
        if len(here):
            yield file.read_row_group(group, columns=columns).take(pa.array(here))


def _texts(columns: Mapping[str, list[Any]]) -> list[str | None]:
    """The prompt before what is learned after it: what comes in is a prompt."""
    if "prompt" in columns:
        return columns["prompt"]
    return columns["text"]


def _cells(columns: Mapping[str, list[Any]], features: Sequence[str]) -> list[str]:
    lists = [columns[name] for name in features]
    return [
        json.dumps(dict(zip(features, row, strict=True)), ensure_ascii=False, allow_nan=False)
        for row in zip(*([_plain(one) for one in some] for some in lists), strict=True)
    ]


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _labels(labels: Sequence[str | None], described: Mapping[str, Any]) -> list[str | None]:
    """Several labels in one order, so that equal sets are equal texts."""
    if described.get("problem") != MULTI:
        return list(labels)
    separator = str(described.get("separator") or SEPARATOR)
    return [
        None
        if one is None
        else SEPARATOR.join(sorted(part.strip() for part in one.split(separator) if part.strip()))
        for one in labels
    ]


def _answers(
    columns: Mapping[str, list[Any]], described: Mapping[str, Any], monitor: Mapping[str, Any]
) -> JSON:
    """What another's model said, where the dataset's columns hold it."""
    found: JSON = {}
    labels = list(monitor["labels"])
    several = bool(monitor.get("several_labels"))
    soft = described.get("soft") or {}
    if labels and all(label in soft for label in labels):
        told = np.array(
            [[cells.number(one) for one in columns[soft[label]]] for label in labels]
        ).T.reshape(-1, len(labels))
        if several:
            return found | _of_sets(told, labels)
        there = np.isfinite(told).all(axis=1) & (np.nan_to_num(told).sum(axis=1) > 0)
        rows = [
            (row / row.sum()).astype(np.float32).tolist() if fine else None
            for row, fine in zip(told, there, strict=True)
        ]
        found["probabilities"] = pa.array(rows, TYPES["probabilities"])
        said = [
            labels[int(row.argmax())] if fine else None
            for row, fine in zip(told, there, strict=True)
        ]
        found["prediction"] = pa.array(said, pa.string())
    if name := described.get("prediction"):
        words = [cells.word(one) for one in columns[name]]
        if several:
            words = _labels(words, {**described, "problem": MULTI})
        found["prediction"] = pa.array(words, pa.string())
    return found


def _of_sets(told: NDArray[np.float64], labels: Sequence[str]) -> JSON:
    """Each label holds by itself, where it is likelier than not."""
    there = np.asarray(np.isfinite(told).all(axis=1) & (np.abs(told - 0.5) <= 0.5).all(axis=1))
    rows = [
        row.astype(np.float32).tolist() if fine else None
        for row, fine in zip(told, there, strict=True)
    ]
    said = [
        SEPARATOR.join(sorted(labels[at] for at in np.flatnonzero(row > 0.5).tolist()))
        if fine
        else None
        for row, fine in zip(told, there, strict=True)
    ]
    return {
        "probabilities": pa.array(rows, TYPES["probabilities"]),
        "prediction": pa.array(said, pa.string()),
    }
