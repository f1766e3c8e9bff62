"""Rows as they are sensed: descriptors of what was sent, and the student's own vector of it. Made
once, before anything of the input is taken away."""

import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from training.engine.errors import ModelError
from training.engine.watching import describing, written

log = logging.getLogger(__name__)

CONTENT = {"text": "text", "image": "content", "audio": "content", "columns": "cells"}


def sensed(rows: pa.Table, config: Mapping[str, Any], folder: Path) -> pa.Table:
    """With columns `described.*`, and `vector` of rows that brought none. Of a table's columns
    nothing is added: cells are counted as they are. Vectors of another width than most are left
    out."""
    reads = config["monitor"]["input"]
    name = CONTENT.get(reads)
    if config["monitor"]["task"] == written.TASK:
        rows = written.described(rows)
    if name is not None and rows.column(name).null_count < len(rows):
        if reads != "columns":
            rows = _described(rows, reads, name, config, folder)
        if config.get("model"):
            rows = _embedded(rows, config, folder)
    return _of_one_width(rows)


def _described(
    rows: pa.Table, reads: str, name: str, config: Mapping[str, Any], folder: Path
) -> pa.Table:
    tokenizer = None
    if reads == "text" and config.get("model"):
        tokenizer = describing.tokenizer(folder / config["model"]["path"])
    values = rows.column(name).to_pylist()
    if config["monitor"]["task"] == written.TASK:
        values = [written.spoken(one) for one in values]
    for signal, column in describing.describe(reads, values, tokenizer).items():
        kind = pa.string() if isinstance(column, list) else pa.float64()
        rows = rows.append_column(signal, pa.array(column, type=kind, from_pandas=True))
    return rows


def _embedded(rows: pa.Table, config: Mapping[str, Any], folder: Path) -> pa.Table:
    """A model that cannot be read is no reason to lose rows: they come without vectors."""
    from training.engine.watching import vectors, writers  # noqa: PLC0415 - they bring torch

    try:
        if config["monitor"]["task"] == written.TASK:
            found = writers.Writer.open(config["model"], folder).vectors(rows["text"].to_pylist())
        else:
            student = vectors.Model.open(config["model"], folder, list(config["monitor"]["labels"]))
            found = student.answer(vectors.inputs(rows, student.reads)).vectors
    except ModelError as error:
        log.warning("Rows come without vectors: %s", error)
        return rows
    if found is None:
        return rows
    made = vectors.lists(found, pa.float16())
    own = rows.column("vector").combine_chunks()
    place = rows.schema.get_field_index("vector")
    if own.null_count < len(own):
        made = pc.if_else(pc.is_valid(own), own, made)
    return rows.set_column(place, "vector", made)


def _of_one_width(rows: pa.Table) -> pa.Table:
    column = rows.column("vector")
    widths = Counter(pc.list_value_length(column).drop_null().to_pylist())
    if len(widths) < 2:
        return rows
    most = widths.most_common(1)[0][0]
    kept = [one if one is None or len(one) == most else None for one in column.to_pylist()]
    place = rows.schema.get_field_index("vector")
    return rows.set_column(place, "vector", pa.array(kept, type=column.type))
