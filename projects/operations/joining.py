"""Columns of another version beside the rows that have the same id there."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from rest_framework import serializers

from distillhub.lib.later import Later
from projects.ingest import issues, stored
from projects.ingest.formats import BadFile
from projects.ingest.numbers import written
from projects.models import DatasetVersion
from projects.operations import operation, registry
from projects.operations.operation import REMARKS, Parent, StoredRow

pq = Later("pyarrow.parquet")

KEEP, LEAVE_OUT = "keep", "leave_out"
MOST_NAME = 200  # characters
MOST_COLUMNS = 100
MOST_CHARACTERS = 256 << 20  # of what is put beside, which is held in memory
NOT_JOINED = "not_joined"
ROLES = frozenset({"input", "prompt", "rationale", "label", "feature"})

issues.know(
    NOT_JOINED,
    issues.WARNING,
    "Rows whose id the other dataset does not have. They are kept, without its columns.",
)


@registry.register
class Join(operation.Operation):
    key = "join"
    label = "Join columns by id"
    summary = "Put columns of another dataset beside the rows that have the same id there."

    class Options(operation.Options):
        other = serializers.CharField(
            max_length=130,
            style={"of": "all_versions"},
            label="Other dataset",
            help_text="Of this project, as `name@3`; it may be for another task.",
        )
        on = serializers.CharField(
            max_length=MOST_NAME,
            required=False,
            style={"of": "columns", "nothing": "the id of a row"},
            label="Id here",
            help_text="The column whose values are looked for; the id of a row, if left out.",
        )
        their_on = serializers.CharField(
            max_length=MOST_NAME,
            required=False,
            label="Id there",
            help_text="The column in which they are looked for; of the same name, if left out.",
        )
        take = serializers.ListField(
            child=serializers.CharField(max_length=MOST_NAME),
            required=False,
            max_length=MOST_COLUMNS,
            style={"lines": True, "example": "explanation"},
            label="Columns to take",
            help_text="One a line; all but the id, if left out.",
        )
        unmatched = serializers.ChoiceField(
            choices=[(KEEP, "keep them, with nothing beside"), (LEAVE_OUT, "leave them out")],
            default=KEEP,
            label="Rows that have no such id",
            help_text="What becomes of rows here whose id is not found there.",
        )

    can_be_tried: ClassVar[bool] = True

    def others(self, options: Mapping[str, Any]) -> list[str]:
        return [options["other"]]

    def naming(self, options: Mapping[str, Any], references: list[str]) -> dict[str, Any]:
        (other,) = references
        return {**options, "other": other}

    def pinned(self, version: DatasetVersion, options: Mapping[str, Any]) -> dict[str, Any]:
        """With both columns by name."""
        on = options.get("on") or version.column_of("key") or _called_id(version)
        if not on:
            raise operation.refuse("on", "Choose the column that holds the id of a row.")
        return {**options, "on": on, "their_on": options.get("their_on") or on}

    def check(self, version: DatasetVersion, options: Mapping[str, Any]) -> None:
        if options["on"] not in _readable(version):
            raise _no_column("on", options["on"], version)

    def check_other(
        self, version: DatasetVersion, other: DatasetVersion, options: Mapping[str, Any]
    ) -> None:
        for field in ("their_on", "take"):
            named = options.get(field) or ()
            for name in [named] if isinstance(named, str) else named:
                if not _found(other, name):
                    raise _no_column(field, name, other)
        if not _taken(other, options):
            raise operation.refuse("take", f"{other.reference} has no other columns.")

    def told(self, options: Mapping[str, Any]) -> str:
        what = ", ".join((options.get("take") or ["columns"])[:5])
        gone = ", without rows that are not there" if options["unmatched"] == LEAVE_OUT else ""
        return f"Joined {what} of {options['other']} by {options['on']}{gone}"

    def columns(self, parents: list[Parent], options: Mapping[str, Any]) -> list[dict[str, str]]:
        first, other = (parent.version for parent in parents)
        return [*first.columns, *_made(first, other, options).values()]

    def count(self, parents: Sequence[Parent], options: Mapping[str, Any]) -> int | None:
        return parents[0].version.rows if options["unmatched"] == KEEP else None

    def rows(self, parents: list[Parent], options: Mapping[str, Any]) -> Iterator[StoredRow]:
        first, other = parents
        made = _made(first.version, other.version, options)
        names = [one["name"] for one in made.values()]
        known = _by_id(other, _stored(other.version, options["their_on"]), list(made))
        nothing = (None,) * len(names)
        for row in first.rows():
            found = known.get(_id(row[options["on"]]))
            if found is None and options["unmatched"] == LEAVE_OUT:
                continue
            row |= dict(zip(names, found or nothing, strict=True))
            if found is None:
                row[REMARKS] = (NOT_JOINED,)
            yield row


def _readable(version: DatasetVersion) -> list[str]:
    """Columns of words and numbers, by the names they are stored under."""
    return [
        one["name"]
        for one in version.columns
        if one["type"] in {"string", "number", "category"}
        and one["role"] not in {"id", "split", "source", "measure"}
    ]


def _found(version: DatasetVersion, name: str) -> bool:
    return _stored(version, name) in _readable(version)


def _stored(version: DatasetVersion, name: str) -> str:
    """What a column is stored as that is called so, here or in its upload."""
    if name in _readable(version):
        return name
    origins = ((one["name"], one.get("from")) for one in version.columns)
    return next((str(stands) for stands, origin in origins if origin == name), name)


def _no_column(field: str, name: str, version: DatasetVersion) -> Exception:
    has = ", ".join(_readable(version)[:20])
    return operation.refuse(field, f"{version.reference} has no column {name!r}; it has {has}.")


def _called_id(version: DatasetVersion) -> str:
    return next((name for name in _readable(version) if name.lower() == "id"), "")


def _taken(other: DatasetVersion, options: Mapping[str, Any]) -> list[dict[str, str]]:
    """The columns of the other version that are put beside, as it has them."""
    by_name = {one["name"]: one for one in other.columns}
    named = [_stored(other, name) for name in options.get("take") or ()]
    own = [name for name in _readable(other) if name != _stored(other, options["their_on"])]
    if not other.labels:
        own = [name for name in own if name != "label"]
    return [by_name[name] for name in dict.fromkeys(named or own)]


def _made(
    first: DatasetVersion, other: DatasetVersion, options: Mapping[str, Any]
) -> dict[str, dict[str, str]]:
    """{a column of the other version: what it becomes}. A text or a label has the name that it had
    in its upload."""
    taken = _taken(other, options)
    wanted = tuple(
        str(one.get("from") or one["name"]) if one["role"] in ROLES else one["name"]
        for one in taken
    )
    names = stored.stored_names(wanted, [one["name"] for one in first.columns])
    return {
        one["name"]: {
            "name": name,
            "type": "number" if one["type"] == "number" else "string",
            "role": "extra",
        }
        for one, name in zip(taken, names, strict=True)
    }


def _id(value: Any) -> str:
    """Numbers and words that look like them are the same id."""
    return written(value) if isinstance(value, float) else (value or "").strip()


def _by_id(other: Parent, on: str, names: list[str]) -> dict[str, tuple[Any, ...]]:
    """{id: the values of these columns}. Raises BadFile where an id stands in two rows that say
    different things, and for more than fits into memory."""
    found: dict[str, tuple[Any, ...]] = {}
    size = 0
    with other.open() as stream:
        for batch in stored.batches(pq.ParquetFile(stream), [on, *names]):
            columns = [batch.column(name).to_pylist() for name in (on, *names)]
            for value, *values in zip(*columns, strict=True):
                key, beside = _id(value), tuple(values)
                if not key:
                    continue
                if found.setdefault(key, beside) != beside:
                    raise BadFile(
                        f"The id {key[:100]!r} stands in several rows of {other.version.reference} "
                        "that say different things. Leave out all but one of them first."
                    )
                size += len(key) + sum(len(one) for one in beside if isinstance(one, str))
            if size > MOST_CHARACTERS:
                raise BadFile(
                    f"The columns of {other.version.reference} hold more than "
                    f"{MOST_CHARACTERS >> 20} Mi characters; take fewer of them."
                )
    return found
