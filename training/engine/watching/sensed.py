"""Rows as they are sensed: descriptors of what was sent, and the student's own vector of it. Made
once, before anything of the input is taken away."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from training.engine.watching import describing

CONTENT = {"text": "text", "image": "content", "audio": "content"}


def sensed(rows: pa.Table, config: Mapping[str, Any], folder: Path) -> pa.Table:
    """With columns `described.*`. Of a table's columns nothing is added: cells are counted as they
    are. Vectors of another width than most are left out."""
    reads = config["monitor"]["input"]
    name = CONTENT.get(reads)
    if name is not None and rows.column(name).null_count < len(rows):
        tokenizer = None
        if reads == "text" and config.get("model"):
            tokenizer = describing.tokenizer(folder / config["model"]["path"])
        values = rows.column(name).to_pylist()
        for signal, column in describing.describe(reads, values, tokenizer).items():
            kind = pa.string() if isinstance(column, list) else pa.float64()
            rows = rows.append_column(signal, pa.array(column, type=kind, from_pandas=True))
    return _of_one_width(rows)


def _of_one_width(rows: pa.Table) -> pa.Table:
    vectors = rows.column("vector").to_pylist()
    widths = Counter(len(one) for one in vectors if one is not None)
    if len(widths) < 2:
        return rows
    most = widths.most_common(1)[0][0]
    kept = [one if one is not None and len(one) == most else None for one in vectors]
    place = rows.schema.get_field_index("vector")
    return rows.set_column(place, "vector", pa.array(kept, type=rows.schema.field(place).type))
