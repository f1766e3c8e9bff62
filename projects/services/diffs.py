"""What differs between two versions: counted once, kept for a while, and read a page at a time.

Versions never change, so what was found stays true. It is kept on the disk of the machine that was
asked, among the newest MOST_KEPT.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distillhub.lib import storage
from distillhub.lib.errors import Conflict, Invalid
from distillhub.lib.later import Later, np
from projects.ingest import comparing, page
from projects.models import DatasetVersion, Project
from projects.services import datasets

pq = Later("pyarrow.parquet")

FORM = 1  # of what is kept; another number makes it anew
MOST_KEPT = 40
MOST_LABELS = 200  # counted of each kind
MOST_ROWS = 1000  # of one page
MEDIA = ("image", "audio")
KINDS = ("added", "removed", "changed")


class Unlike(Conflict):
    """Two versions that have nothing to be compared by."""

    code = "unlike"


@dataclass(frozen=True, slots=True)
class Diff:
    old: DatasetVersion
    new: DatasetVersion
    told: dict[str, Any]
    """{"by", "same", "added", "removed", "changed", "columns", "columns_added", "columns_removed",
    "splits": {kind: {name: rows}}, "labels": {kind: {name: rows}},
    "relabelled": [[from, to, rows]]}"""
    added: np.ndarray[Any, Any]
    removed: np.ndarray[Any, Any]
    changed: np.ndarray[Any, Any]  # [pairs, 2]

    def rows(self, kind: str, *, offset: int = 0, limit: int = 50) -> list[dict[str, Any]]:
        """Of one of KINDS, without pictures and sounds: rows; of changed ones {"from_row",
        "to_row", "row" (as it is now), "changes": {column: [before, after]}}."""
        limit = max(0, min(limit, MOST_ROWS))
        if kind == "changed":
            return self._changes(self.changed[offset : offset + limit])
        version = self.new if kind == "added" else self.old
        ids = (self.added if kind == "added" else self.removed)[offset : offset + limit]
        with datasets.open_file(version=version) as stream:
            return page.these(stream, ids, without=MEDIA)

    def _changes(self, pairs: np.ndarray[Any, Any]) -> list[dict[str, Any]]:
        with datasets.open_file(version=self.old) as stream:
            before = page.these(stream, pairs[:, 0], without=MEDIA)
        with datasets.open_file(version=self.new) as stream:
            after = page.these(stream, pairs[:, 1], without=MEDIA)
        return [
            {
                "from_row": was["row_id"],
                "to_row": now["row_id"],
                "row": now,
                "changes": {
                    name: [was[name], now[name]]
                    for name in now
                    if name in was and name not in {"row_id", "source"} and was[name] != now[name]
                },
            }
            for was, now in zip(before, after, strict=True)
        ]


def between(*, old: DatasetVersion, new: DatasetVersion) -> Diff:
    """Raises NotReady, Unlike, Missing."""
    for version in (old, new):
        datasets.require_ready(version)
    if old.input_column != new.input_column:
        raise Unlike(
            f"{old.reference} holds {old.input_column or 'columns'}, {new.reference} holds "
            f"{new.input_column or 'columns'}: their rows cannot be compared."
        )
    kept = _folder() / f"{_key(old, new)}.npz"
    try:
        with np.load(kept, allow_pickle=False) as found:
            told = json.loads(found["told"].tobytes())
            arrays = [found[name] for name in KINDS]
        os.utime(kept)
    except (OSError, ValueError, KeyError):
        told, arrays = _found(old, new)
        _keep(kept, told, arrays)
    return Diff(old, new, told, *arrays)


def version_meant(*, project: Project, name: str, said: str) -> DatasetVersion:
    """The version that `from` and `to` mean: a number of the dataset called `name`, or a reference
    of another one. Raises Invalid, Missing and NotReady."""
    said = said.strip()
    if not said:
        raise Invalid("Say which versions.", fields={"from": ["Give a version, such as 1."]})
    reference = f"{name}@{said}" if said.isascii() and said.isdigit() else said
    return datasets.resolve(project=project, reference=reference)


def _found(old: DatasetVersion, new: DatasetVersion) -> tuple[dict[str, Any], list[Any]]:
    with datasets.open_file(version=old) as before, datasets.open_file(version=new) as after:
        found = comparing.compared(
            comparing.Side(before, old.columns), comparing.Side(after, new.columns)
        )
        was, now = _splits_and_labels(before), _splits_and_labels(after)
    groups = {
        "added": (now, found.added),
        "removed": (was, found.removed),
        "changed": (now, found.changed[:, 1]),
    }
    has_moved = "label" in found.columns
    told = {
        "by": found.by,
        "same": found.same,
        "added": len(found.added),
        "removed": len(found.removed),
        "changed": len(found.changed),
        "columns": found.columns,
        "columns_added": found.columns_added,
        "columns_removed": found.columns_removed,
        "splits": {kind: _counted(side[0], rows) for kind, (side, rows) in groups.items()},
        "labels": {kind: _counted(side[1], rows) for kind, (side, rows) in groups.items()},
        "relabelled": _relabelled(was[1], now[1], found.changed) if has_moved else [],
    }
    return told, [found.added, found.removed, found.changed]


def _splits_and_labels(stream: Any) -> list[Any]:
    """As columns of codes: some bytes a row, however long the labels."""
    stream.seek(0)
    names = ["split", "label"]
    table = pq.ParquetFile(stream, read_dictionary=names).read(columns=names).unify_dictionaries()
    return [table[name].combine_chunks() for name in names]


def _counted(column: Any, rows: np.ndarray[Any, Any]) -> dict[str, int]:
    """{value: rows}, the most frequent first."""
    codes, names = _codes(column)
    counts = np.bincount(codes[rows] + 1, minlength=len(names) + 1)
    known = Counter({name: int(counts[code + 1]) for code, name in enumerate(names)})
    return {name: many for name, many in known.most_common(MOST_LABELS) if many}


def _relabelled(was: Any, now: Any, changed: np.ndarray[Any, Any]) -> list[list[Any]]:
    """[label before, label now, rows], the most frequent first."""
    (old, old_names), (new, new_names) = _codes(was), _codes(now)
    pairs = np.stack([old[changed[:, 0]], new[changed[:, 1]]], axis=1)
    found, counts = np.unique(pairs, axis=0, return_counts=True)
    told = []
    for (before, after), many in zip(found.tolist(), counts.tolist(), strict=True):
        one = old_names[before] if before >= 0 else None
        other = new_names[after] if after >= 0 else None
        if one != other:
            told.append([one, other, many])
    return sorted(told, key=lambda line: -line[2])[:MOST_LABELS]


def _codes(column: Any) -> tuple[np.ndarray[Any, Any], list[str]]:
    codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return codes, column.dictionary.to_pylist()


def _folder() -> Path:
    return storage.working_folder("diffs")


def _key(old: DatasetVersion, new: DatasetVersion) -> str:
    said = [FORM, *([one.file_sha256, one.columns] for one in (old, new))]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _keep(path: Path, told: dict[str, Any], arrays: list[Any]) -> None:
    """What cannot be kept is found again."""
    with contextlib.suppress(OSError):
        told_bytes = np.frombuffer(json.dumps(told).encode(), dtype=np.uint8)
        handle, part = tempfile.mkstemp(dir=path.parent, suffix=".part")
        with os.fdopen(handle, "wb") as file:
            small = [one.astype(np.int32) if _is_small(one) else one for one in arrays]
            np.savez_compressed(file, told=told_bytes, **dict(zip(KINDS, small, strict=True)))
        Path(part).replace(path)
        newest = sorted(path.parent.iterdir(), key=lambda one: one.stat().st_mtime, reverse=True)
        for one in newest[MOST_KEPT:]:
            one.unlink(missing_ok=True)


def _is_small(rows: np.ndarray[Any, Any]) -> bool:
    return not rows.size or int(rows.max()) < 1 << 31
