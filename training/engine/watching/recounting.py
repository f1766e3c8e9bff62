"""Windows whose rows came before there was a reference, counted anew from parts.

Done once after each fit, of windows that were not judged yet: those of before keep what was said
of them by the reference of then.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training.engine.watching import counting, parts, reference_rows
from training.engine.watching.baseline import Baseline
from training.engine.watching.parts import Part
from training.engine.watching.wants import Kept, Wants
from training.engine.watching.windows import Sums

MOST_ROWS = 500_000  # that are read again


def recounted(
    numbers: Iterable[int],
    stored: Iterable[Mapping[str, Any]],
    baseline: Baseline,
    wants: Wants,
) -> dict[int, Sums]:
    """Sums of windows as their stored rows say, the newest first as far as MOST_ROWS go. One whose
    rows are not all there is left out."""
    kept = {
        number: one
        for number, one in wants.windows(numbers).items()
        if one is not None and _is_behind(Sums.from_bytes(one.sums), baseline)
    }
    chosen = _chosen(kept)
    table = _rows(chosen, [Part.of(one) for one in stored], kept, wants)
    found: dict[int, Sums] = {}
    for number, some in counting.by_window(table):
        before = Sums.from_bytes(kept[number].sums)
        sums = counting.count(counting.View.of(some, baseline), baseline)
        if sums.rows == before.rows:
            found[number] = replace(sums, rang=before.rang)
    return found


def _is_behind(sums: Sums, baseline: Baseline) -> bool:
    return sums.counted < sums.rows or sums.reference != baseline.key


def _chosen(kept: Mapping[int, Kept]) -> set[int]:
    chosen: set[int] = set()
    rows = 0
    for number in sorted(kept, reverse=True):
        rows += kept[number].rows
        if rows > MOST_ROWS:
            break
        chosen.add(number)
    return chosen


def _rows(chosen: set[int], stored: list[Part], kept: Mapping[int, Kept], wants: Wants) -> pa.Table:
    """Rows of these windows, with what was said of them later."""
    days = _days(chosen, kept)
    some = [one for one in stored if one.day in days and not one.waits]
    of_rows = [one for one in some if one.kind == parts.ROWS]
    of_said = [one for one in some if one.kind == parts.SAID]
    files = wants.files(one.sha256 for one in [*of_rows, *of_said])
    tables, said = [], []
    for one in some:
        path = files.get(one.sha256)
        if path is None:
            continue
        if one.kind == parts.SAID:
            said.append(pq.read_table(path))
        elif one.kind == parts.ROWS:
            table = pq.read_table(path)
            mine = np.isin(table["window"].to_numpy(), sorted(chosen))
            tables.append(table.filter(pa.array(mine)))
    rows = parts.joined(tables) if tables else pa.table({"window": pa.array([], pa.int64())})
    return reference_rows.with_said(rows, parts.newest(parts.joined(said)) if said else None)


def _days(chosen: set[int], kept: Mapping[int, Kept]) -> set[str]:
    """Days between the first and the last row of each window."""
    found: set[str] = set()
    for number in chosen:
        sums = Sums.from_bytes(kept[number].sums)
        if sums.first_at is None or sums.last_at is None:
            continue
        edges = np.array([sums.first_at, sums.last_at]) * 1e6
        first, last = edges.astype(np.int64).astype("datetime64[us]").astype("datetime64[D]")
        found |= {str(one) for one in np.arange(first, last + 1)}
    return found
