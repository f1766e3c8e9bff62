"""What an operation is, and what it is told."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, ClassVar

from rest_framework import serializers

from distillhub.lib.errors import Invalid
from distillhub.lib.later import Later
from projects.ingest import issues, making, stored
from projects.models import DatasetVersion

pq = Later("pyarrow.parquet")

BATCH = 2000  # rows read at a time

StoredRow = dict[str, Any]  # by the names of stored columns; a split of None is still to be given
REMARKS = "remarks()"  # a row's codes of issues, beside its columns

Facts = dict[str, Any]  # as JSON


class Options(serializers.Serializer[Any]):
    """What an operation is told. A key that is none of its fields is refused by name.

    `style` says what a page offers for a field: `{"of": "splits"}` (or labels, issues, columns,
    versions, prompts ...) those of the version, `{"as": "labels"}` a table with a line for each,
    `{"fold": "More"}` that it stands with others under these words, which open when clicked,
    `{"only": f}` nothing for versions that `f` is false of.
    """

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            unknown = sorted(set(data) - set(self.fields))
            if unknown:
                known = ", ".join(self.fields)
                sentence = f"It is not known here; there are {known}." if known else "Say nothing."
                raise serializers.ValidationError({str(name): [sentence] for name in unknown})
        return super().to_internal_value(data)


@dataclass(slots=True)
class Parent:
    """A ready version with its file on this machine's disk."""

    version: DatasetVersion
    path: Path

    def open(self) -> IO[bytes]:
        return self.path.open("rb")

    def rows(self) -> Iterator[StoredRow]:
        file = pq.ParquetFile(str(self.path))
        for batch in stored.batches(file, rows=BATCH):
            yield from batch.to_pylist()


@dataclass(slots=True)
class Work:
    """What an operation has at hand while a worker carries it out."""

    version: DatasetVersion  # that is made
    folder: Path  # for its files; gone afterwards
    tally: issues.Tally
    beat: making.Beat  # raises Fenced and GivenBack
    report: Facts = field(default_factory=dict)  # what the version's statistics say of it
    share: float = 0.0  # of the whole work, done before the first row


class Operation(ABC):
    """`key` is permanent: it stands in versions, and in programs that call REST."""

    key: ClassVar[str]
    label: ClassVar[str]  # as on a button
    summary: ClassVar[str]  # a sentence
    Options: ClassVar[type[Options]] = Options
    #: Whether a row's split may be left for later (None), and is then given here.
    divides: ClassVar[bool] = False
    #: Whether a page asks for its options; others are made where rows are looked at.
    has_form: ClassVar[bool] = True
    #: Whether `rows` is quick and asks nobody, so that a page may try it on the first rows.
    can_be_tried: ClassVar[bool] = False
    #: What it mends with one click: {an issue's code: (what the button says, options)}.
    mends: ClassVar[Mapping[str, tuple[str, Mapping[str, Any]]]] = {}
    #: What it left undone, and does with one more click: {an issue's code: what the button says}.
    goes_on: ClassVar[Mapping[str, str]] = {}

    def suits(self, version: DatasetVersion) -> bool:
        """Whether it makes sense for this version, so that a page offers it."""
        return True

    def pinned(self, version: DatasetVersion, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options as they are written down: what may change its meaning is resolved. Raises
        Invalid."""
        return dict(options)

    def count(self, parents: Sequence[Parent], options: Mapping[str, Any]) -> int | None:
        """How many rows the next version will have, where that is known without making them."""
        return None

    def others(self, options: Mapping[str, Any]) -> list[str]:
        """References of further versions whose rows it reads."""
        return []

    def check(self, version: DatasetVersion, options: Mapping[str, Any]) -> None:  # noqa: B027
        """Refuse at once, before a worker begins, what cannot work. Raises Invalid."""

    def naming(self, options: Mapping[str, Any], references: list[str]) -> dict[str, Any]:
        """The options with those further versions as they are called, with their numbers."""
        return dict(options)

    def check_other(  # noqa: B027
        self, version: DatasetVersion, other: DatasetVersion, options: Mapping[str, Any]
    ) -> None:
        """Refuse a further version that cannot be read beside this one. Raises Invalid."""

    @abstractmethod
    def told(self, options: Mapping[str, Any]) -> str:
        """What was done, in a few words for the history of versions, in the past tense."""

    def columns(self, parents: list[Parent], options: Mapping[str, Any]) -> list[dict[str, str]]:
        """The columns of the next version."""
        found: list[dict[str, str]] = parents[0].version.columns
        return found

    def reading(self, version: DatasetVersion, options: Mapping[str, Any]) -> dict[str, Any]:
        """What changes in how the version is read: its `problem`, its `separator`, `splits`."""
        return {}

    @abstractmethod
    def rows(self, parents: list[Parent], options: Mapping[str, Any]) -> Iterator[StoredRow]:
        """The rows of the next version in their order, with all its columns but `row_id`. Raises
        BadFile."""

    def carried_out(
        self, parents: list[Parent], options: Mapping[str, Any], work: Work
    ) -> Iterator[StoredRow]:
        """The same in a worker, for operations that take long, or tell more than rows."""
        return self.rows(parents, options)

    def estimate(self, parent: Parent, options: Mapping[str, Any]) -> Facts | None:
        """What it will take, of operations that cost something: `rows` that somebody is asked about
        and, where it is known, `asked`, `cached`, `input_tokens`, `output_tokens`, `cost`, `most`
        (money as text) and `seconds`. Raises Invalid."""
        return None


def refuse(field: str, sentence: str) -> Invalid:
    return Invalid(sentence, fields={field: [sentence]})
