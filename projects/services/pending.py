"""Changes that a person makes row by row, kept until they become one next version."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.db import transaction

from distillhub.lib.errors import Invalid, Missing
from projects.models import DatasetVersion, PendingEdits, User
from projects.operations import editing
from projects.services import datasets, operations

MOST_PENDING = 2000  # changes of a person and version
MOST_CHARACTERS = 4 << 20  # of their texts
MOST_SHOWN = 200  # on the page that tells them


class Pending:
    """What is pending, for reading."""

    def __init__(self, changes: list[dict[str, Any]]) -> None:
        self.changes = changes

    def __len__(self) -> int:
        return len(self.changes)

    def by_row(self) -> dict[int, dict[str, Any]]:
        """{row: what becomes of it}, of the rows that are named one by one."""
        found: dict[int, dict[str, Any]] = {}
        for change in self.changes:
            for row_id in editing.named(change):
                found[row_id] = editing.joined(found.get(row_id, {}), change)
        return found

    def lines(self) -> Iterator[tuple[str, str]]:
        """(which rows, what becomes of them) of every change."""
        for change in self.changes:
            yield editing.told_rows(change), editing.told_change(change)


def of(*, version: DatasetVersion, by: User) -> Pending:
    kept = PendingEdits.objects.filter(version=version, by=by).first()
    return Pending(list(kept.changes) if kept else [])


@transaction.atomic
def add(*, version: DatasetVersion, changes: Sequence[Mapping[str, Any]], by: User) -> Pending:
    """More changes, in the shape of the operation `edit`: all of them, or none. One of a `row_id`
    takes the place of the one before.

    Raises NotReady, and Invalid for what cannot be, or is too much.
    """
    datasets.require_ready(version)
    PendingEdits.objects.get_or_create(version=version, by=by)
    kept = PendingEdits.objects.select_for_update().get(version=version, by=by)
    asked = {"changes": list(changes)}
    made = operations.prepared(version=version, operation="edit", options=asked)["options"]
    again = {one["row_id"] for one in made["changes"] if "row_id" in one}
    found = [one for one in kept.changes if one.get("row_id") not in again] + made["changes"]
    size = sum(len(one.get("text") or "") for one in found)
    if len(found) > MOST_PENDING or size > MOST_CHARACTERS:
        raise Invalid("That is too many changes at once. Make a version of those you have.")
    operations.prepared(version=version, operation="edit", options={"changes": found})
    kept.changes = found
    kept.save(update_fields=["changes", "updated_at"])
    return Pending(found)


@transaction.atomic
def restore(*, version: DatasetVersion, row_id: int, by: User) -> None:
    """Forget what was said of one row by itself."""
    kept = PendingEdits.objects.select_for_update().filter(version=version, by=by).first()
    if kept is None:
        return
    kept.changes = [one for one in kept.changes if one.get("row_id") != row_id]
    kept.save(update_fields=["changes", "updated_at"])


@transaction.atomic
def discard(*, version: DatasetVersion, by: User, place: int | None = None) -> None:
    """Forget the change at a place, or all."""
    kept = PendingEdits.objects.select_for_update().filter(version=version, by=by).first()
    if kept is None:
        return
    if place is None or len(kept.changes) <= 1:
        kept.delete()
        return
    kept.changes = [one for at, one in enumerate(kept.changes) if at != place]
    kept.save(update_fields=["changes", "updated_at"])


@transaction.atomic
def remove(*, version: DatasetVersion, by: User, place: int) -> Pending:
    """Forget the change at a place. Raises Missing where there is none."""
    kept = PendingEdits.objects.select_for_update().filter(version=version, by=by).first()
    if kept is None or place >= len(kept.changes):
        raise Missing(f"You have no pending change {place} of {version.reference}.")
    discard(version=version, by=by, place=place)
    return of(version=version, by=by)


@transaction.atomic
def apply(*, version: DatasetVersion, by: User) -> DatasetVersion:
    """The next version. Raises Invalid where nothing is pending, and what `operations.change`
    raises."""
    kept = PendingEdits.objects.select_for_update().filter(version=version, by=by).first()
    if kept is None or not kept.changes:
        raise Invalid("Nothing is changed yet.")
    made = operations.change(
        version=version, operation="edit", options={"changes": kept.changes}, by=by
    )
    kept.delete()
    return made


def split_tags(text: str, few: int = 1) -> list[str]:
    """`urgent, second look` as tags. Raises Invalid for fewer than `few`."""
    found = list(dict.fromkeys(one.strip() for one in text.split(",") if one.strip()))
    if len(found) < few:
        raise Invalid("Write a tag, or several with commas between them.")
    return found


def tags_of(row: Mapping[str, Any]) -> list[str]:
    return [one.strip() for one in str(row.get(editing.TAGS) or "").split(",") if one.strip()]
