"""Rows of a window among those of its reference, on the reference's plane."""

from __future__ import annotations

import functools
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distillhub.lib import storage
from distillhub.lib.errors import DomainError
from distillhub.lib.later import Later, np
from training.engine import conversations
from training.models import Monitor, MonitorWindow
from training.services import inference_rows

nearness = Later("training.engine.watching.nearness")
pq = Later("pyarrow.parquet")

JSON = dict[str, Any]

PLANE, ROWS = "vectors_plane.npz", "reference_rows.parquet"
MOST_REFERENCE = 1000  # points behind: more are a blot
LONGEST = 200  # characters of what a point says


@dataclass(frozen=True, slots=True)
class Point:
    x: float
    y: float
    id: str
    told: str
    has_file: bool = False
    far: float | None = None


@dataclass(frozen=True, slots=True)
class Scatter:
    """`live` are rows by chance, `foreign` those farthest from any of the reference, far first;
    `shares` of how rows differ the two directions hold."""

    reference: list[Point] = field(default_factory=list)
    live: list[Point] = field(default_factory=list)
    foreign: list[Point] = field(default_factory=list)
    shares: tuple[float, ...] = ()


def of(monitor: Monitor, window: MonitorWindow) -> Scatter | None:
    """None where there are no vectors on one of both sides, or their files cannot be read."""
    plane_file, rows_file = (_file(monitor, name) for name in (PLANE, ROWS))
    names = list(window.facts.get("sample") or ())
    far = dict(window.facts.get("foreign") or ())
    if not plane_file or not rows_file or not (names or far):
        return None
    try:
        plane = _plane(plane_file)
        rows = inference_rows.kept(monitor, [*far, *(one for one in names if one not in far)])
        reference = _reference(rows_file)
    except (DomainError, storage.Damaged):
        return None
    rows = [one for one in rows if one.get("vector") is not None]
    width = plane.width
    rows = [one for one in rows if len(one["vector"]) == width]
    if not rows:
        return None
    places = plane.place(np.array([one["vector"] for one in rows], dtype=np.float64))
    live: list[Point] = []
    foreign: list[Point] = []
    for row, (x, y) in zip(rows, places.tolist(), strict=True):
        if x - x or y - y:  # not a number
            continue
        is_far = row["id"] in far
        point = Point(x, y, row["id"], told(row), row.get("blob") is not None, far.get(row["id"]))
        (foreign if is_far else live).append(point)
    foreign.sort(key=lambda one: -(one.far or 0.0))
    return Scatter(reference, live, foreign, plane.shares)


def told(row: Mapping[str, Any]) -> str:
    """A row in a few words: what was asked (of a chat, last), else what was answered."""
    said = row.get("text") or row.get("cells")
    if row.get("text") and (chat := conversations.messages(row["text"])):
        said = chat[-1]["content"]
    if said:
        return " ".join(str(said)[:LONGEST].split())
    answer = row.get("prediction")
    return f"answered {answer}" if answer is not None else str(row["id"])


def _file(monitor: Monitor, name: str) -> str:
    found = (one for one in monitor.reference_files or () if one.get("name") == name)
    return next((str(one["sha256"]) for one in found), "")


@functools.lru_cache(maxsize=4)
def _plane(sha256: str) -> Any:
    with storage.open_blob(sha256) as stream:
        return nearness.Nearness.load(Path(stream.name))


@functools.lru_cache(maxsize=4)
def _reference(sha256: str) -> list[Point]:
    with storage.open_blob(sha256) as stream:
        table = pq.read_table(io.BytesIO(stream.read()))
    names = set(table.column_names)
    if not {"x", "y"} <= names:
        return []
    wanted = [
        one for one in ("id", "x", "y", "text", "cells", "label", "prediction") if one in names
    ]
    rows: Sequence[JSON] = table.select(wanted).to_pylist()[:MOST_REFERENCE]
    return [
        Point(row["x"], row["y"], str(row["id"]), told(row))
        for row in rows
        if row["x"] is not None and row["x"] == row["x"] and row["y"] is not None
    ]
