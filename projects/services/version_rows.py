"""Rows of a version that is ready: those that match, or one, with its picture or sound.

Each raises datasets.NotReady where the version is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distillhub.lib.errors import Missing
from distillhub.lib.later import Later, np
from projects.ingest import audio_folder, image_folder, page, waveforms
from projects.models import DatasetVersion
from projects.services import datasets, likeness
from projects.services.likeness import Like

row_conditions = Later("projects.operations.conditions")  # brings REST's serializers, 11 MB

MOST_ROWS = 1000  # of one page


def rows(
    *,
    version: DatasetVersion,
    split: str | None = None,
    label: str | None = None,
    q: str | None = None,
    offset: int = 0,
    limit: int = 50,
) -> list[dict[str, Any]]:
    """Rows of a ready version without their pictures, in the order of `row_id`."""
    return rows_and_total(
        version=version, split=split, label=label, q=q, offset=offset, limit=limit
    )[0]


def rows_and_total(
    *,
    version: DatasetVersion,
    sort: str | None = None,
    offset: int = 0,
    limit: int = 50,
    like: Like | None = None,
    **conditions: Any,
) -> tuple[list[dict[str, Any]], int]:
    """(rows, how many match the conditions; see operations/conditions.py). Pictures and sounds are
    not read. With `like` the nearest to it come first, each with its `similarity`, and `sort` says
    nothing.

    Raises NotReady, Invalid for conditions that the version does not know, or an order, and what
    likeness.scores does.
    """
    datasets.require_ready(version)
    wanted = row_conditions.filter_of(version, conditions)
    order = row_conditions.sort_of(version, sort)
    if wanted.label and wanted.label not in version.labels:
        return [], 0
    with datasets.open_file(version=version) as stream:
        return page.read(
            stream,
            wanted,
            offset=max(0, offset),
            limit=max(0, min(limit, MOST_ROWS)),
            without=("image", "audio"),
            sort=order,
            key=version.file_sha256,
            scores=None if like is None else likeness.scores(version=version, like=like),
        )


def beside(
    *,
    version: DatasetVersion,
    row_id: int,
    conditions: Mapping[str, Any],
    sort: str | None = None,
    like: Like | None = None,
) -> tuple[int | None, int | None, int, int]:
    """(the row before, the row after, its place counted from 1, how many there are) among the rows
    that match. A row that does not match has place 0, and no neighbours but the first one after.

    Raises NotReady and Invalid.
    """
    datasets.require_ready(version)
    wanted = row_conditions.filter_of(version, conditions)
    order = row_conditions.sort_of(version, sort)
    if wanted.is_empty and order is None and like is None:
        last = version.rows - 1
        before, after = row_id - 1, row_id + 1
        before_it = before if before >= 0 else None
        return before_it, after if after <= last else None, row_id + 1, version.rows
    with datasets.open_file(version=version) as stream:
        scores = None if like is None else likeness.scores(version=version, like=like)
        ids = page.matching(stream, wanted, sort=order, key=version.file_sha256, scores=scores)
    places = (ids == row_id).nonzero()[0]
    if not len(places):
        return None, int(ids[0]) if len(ids) else None, 0, len(ids)
    at = int(places[0])
    before_it = int(ids[at - 1]) if at else None
    after_it = int(ids[at + 1]) if at + 1 < len(ids) else None
    return before_it, after_it, at + 1, len(ids)


def count(*, version: DatasetVersion, conditions: Mapping[str, Any]) -> int:
    """How many rows match. Raises NotReady and Invalid."""
    datasets.require_ready(version)
    wanted = row_conditions.filter_of(version, conditions)
    if wanted.is_empty:
        return version.rows
    with datasets.open_file(version=version) as stream:
        return len(page.matching(stream, wanted, key=version.file_sha256))


def matching(*, version: DatasetVersion, conditions: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """The ids of all rows that match, increasing. Raises NotReady and Invalid."""
    datasets.require_ready(version)
    wanted = row_conditions.filter_of(version, conditions)
    with datasets.open_file(version=version) as stream:
        return page.matching(stream, wanted, key=version.file_sha256)


def row(*, version: DatasetVersion, row_id: int) -> dict[str, Any]:
    """One row with every column, the bytes of its picture or sound included. Raises Missing and
    NotReady."""
    datasets.require_ready(version)
    with datasets.open_file(version=version) as stream:
        found = page.one(stream, row_id)
    if found is None:
        raise Missing(f"{version.reference} has no row {row_id}.")
    return found


def picture(*, version: DatasetVersion, row_id: int, size: int) -> bytes:
    """The picture of a row as a PNG of at most `size` pixels, made anew from its pixels.

    Raises Missing for rows without one.
    """
    found = row(version=version, row_id=row_id).get("image")
    if not isinstance(found, bytes):
        raise Missing("This dataset holds no pictures.")
    return image_folder.thumbnail(found, size)


def sound(*, version: DatasetVersion, row_id: int) -> bytes:
    """The sound of a row as a WAV made anew from its samples, cut to a minute.

    Raises Missing for rows without one.
    """
    found = row(version=version, row_id=row_id).get("audio")
    if not isinstance(found, bytes):
        raise Missing("This dataset holds no sounds.")
    return audio_folder.playable(found)


def waveform(*, version: DatasetVersion, row_id: int) -> str:
    """What `sound` plays, drawn as SVG. Raises Missing for rows without a sound."""
    found = row(version=version, row_id=row_id).get("audio")
    if not isinstance(found, bytes):
        raise Missing("This dataset holds no sounds.")
    return waveforms.drawn(found)
