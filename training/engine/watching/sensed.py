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
from training.engine.watching import describing

log = logging.getLogger(__name__)

CONTENT = {"text": "text", "image": "content", "audio": "content", "columns": "cells"}


def sensed(rows: pa.Table, config: Mapping[str, Any], folder: Path) -> pa.Table:
    """With columns `described.*`, and `vector` of rows that brought none. Of a table's columns
    nothing is added: cells are counted as they are. Vectors of another width than most are left
    out."""
    reads = config["monitor"]["input"]
    name = CONTENT.get(reads)
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
    for signal, column in describing.describe(reads, values, tokenizer).items():
        kind = pa.string() if isinstance(column, list) else pa.float64()
        rows = rows.append_column(signal, pa.array(column, type=kind, from_pandas=True))
    return rows


def _embedded(rows: pa.Table, config: Mapping[str, Any], folder: Path) -> pa.Table:
    """A model that cannot be read is no reason to lose rows: they come without vectors."""
    from training.engine.watching import vectors  # noqa: PLC0415 - brings torch

    try:
        student = vectors.Model.open(config["model"], folder, list(config["monitor"]["labels"]))
        said = student.answer(vectors.inputs(rows, student.reads))
    except ModelError as error:
        log.warning("Rows come without vectors: %s", error)
        return rows
    if said.vectors is None:
        return rows
    made = vectors.lists(said.vectors, pa.float16())
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
