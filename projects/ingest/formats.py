"""What an upload format is: it recognises a file, says how it would read it, and reads it.

A format is one file in this folder with one class, marked `@registry.register`. It never decides
about splits, duplicates or storage: it turns a file into rows, one at a time, and names the place
of whatever it cannot turn into a row.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any, ClassVar

from distillhub.lib.errors import Invalid

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLITS = (TRAIN, VALIDATION, TEST)

#: How people call the three splits, in columns and in folders.
SPLIT_WORDS = {
    "train": TRAIN,
    "training": TRAIN,
    "trn": TRAIN,
    "validation": VALIDATION,
    "valid": VALIDATION,
    "val": VALIDATION,
    "dev": VALIDATION,
    "development": VALIDATION,
    "test": TEST,
    "testing": TEST,
    "tst": TEST,
}

#: What a label is, in the words of transformers' `problem_type`: one class of several; any number
#: of them; a number.
SINGLE, MULTI, REGRESSION = "single_label", "multi_label", "regression"
PROBLEMS = (SINGLE, MULTI, REGRESSION)
SEPARATORS = ("|", ";", ",", "/", " ")  # between the labels of one row, as guessed

NUMERIC, CATEGORICAL = "numeric", "categorical"  # columns that a table's model learns from
TEXT_TASK, TABLE_TASK = "text-classification", "tabular-classification"
GENERATION_TASK = "text-generation"
EMBEDDING_TASK = "feature-extraction"
TOKENS_TASK = "token-classification"  # the label is a tag for each word of the text
UNLABELLED = frozenset({GENERATION_TASK, EMBEDDING_TASK})  # tasks whose rows need no label

MOST_LABEL = 200  # characters of one label
MOST_LABELS = 10_000  # different labels: more is an id or a text, not a label


class BadFile(Invalid):
    """A file cannot be read as asked. `line` is the line it fails at, where lines exist."""

    code = "bad_file"

    def __init__(self, detail: str, *, line: int | None = None, field: str = "file") -> None:
        super().__init__(detail, fields={field: [detail]})
        self.line = line


class BadRow(BadFile):
    """One row cannot be read. The sentence goes on from its place: "holds bytes"."""

    code = "unreadable_row"


@dataclass(slots=True)  # not frozen: that would triple the time to make one, and there are many
class Row:
    """One example as the file gives it."""

    source: str  # the line, or the file inside the archive
    input: str | bytes  # text, or an encoded picture or sound; of a table all values, joined
    key: bytes  # 8, equal for inputs that mean the same: what leaks and conflicts are found by
    label: str | None
    split: str | None  # as the file gives it; None where it does not say
    others: tuple[str | float | None, ...]  # the kept columns, in the order of `Plan.others`
    measures: tuple[int, ...]  # text: characters, words; image: width, height; ...
    values: tuple[Any, ...] = ()  # of the columns of `Format.inputs`, where `input` is not all
    kind: str = ""  # image: its mode; sound: its encoding
    remarks: tuple[str, ...] = ()  # codes of issues that this row has and that change nothing


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A piece of the file that does not become a row; listed among the issues, never silent."""

    source: str
    code: str
    detail: str = ""


@dataclass(slots=True)
class Look:
    """What the beginning of one file shows, read with one dialect. Bounded in size."""

    columns: list[dict[str, Any]] = field(default_factory=list)
    """[{"name", "filled", "distinct", "length", "numeric", "examples"}] over the rows seen."""
    rows: list[list[str]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    seen: int = 0  # rows looked at
    complete: bool = True  # whether these are all rows
    estimated: int = 0  # rows of the whole file
    labels: dict[str, int] = field(default_factory=dict)
    splits: dict[str, int] = field(default_factory=dict)
    pictures: list[dict[str, str]] = field(default_factory=list)
    """[{"address" (a data: URI), "label", "name"}]"""
    sounds: list[dict[str, Any]] = field(default_factory=list)
    """[{"place" (among the archive's sounds), "label", "name", "seconds", "rate"}]"""
    values: dict[str, Counter[str]] = field(default_factory=dict)
    """How often each value of each column was seen."""
    problems: list[dict[str, Any]] = field(default_factory=list)
    """[{"severity": error|warning|info, "detail", "line"?}]"""


@dataclass(frozen=True, slots=True)
class Plan:
    """How the rows of all files of one upload are read, beside each file's own dialect."""

    columns: dict[str, Any] = field(default_factory=dict)  # as reading.py keeps them
    others: tuple[str, ...] = ()  # columns kept under their own names
    ragged: str = "refuse"  # or "skip": lines with the wrong number of values are left out
    task: str = ""
    problem: str = SINGLE
    separator: str = ""  # between the labels of one row, where there may be several
    tag_names: tuple[str, ...] = ()  # of words' tags that are numbers
    labels: tuple[str, ...] = ()  # told beforehand: rows may come to have them later
    classes: dict[str, list[str]] = field(default_factory=dict)  # names of numbered ones, by column
    shares: dict[str, float] = field(default_factory=dict)  # of splits that are made here
    file_split: str | None = None  # what the file that is being read is given as
    has_test: bool = False  # whether another file is given as the test split

    @property
    def features(self) -> dict[str, str]:
        """The columns that a table's model learns from: {name: numeric|categorical}."""
        found: dict[str, str] = self.columns.get("features") or {}
        return found

    @property
    def soft_labels(self) -> dict[str, str]:
        """The columns that hold the probabilities of classes: {label: column}."""
        found: dict[str, str] = self.columns.get("soft_labels") or {}
        return found


class Format(ABC):
    key: ClassVar[str]
    label: ClassVar[str]
    tasks: ClassVar[tuple[str, ...]]  # the likeliest first
    suffixes: ClassVar[tuple[str, ...]]
    problems: ClassVar[tuple[str, ...]] = (SINGLE,)
    has_columns: ClassVar[bool] = False  # whether roles are given to columns
    beside: ClassVar[tuple[str, ...]] = ("id", "group")  # roles of columns that are kept
    is_one_text: ClassVar[bool] = False  # whose splits stand one after the other
    delimiters: ClassVar[dict[str, str]] = {}  # what may part values, and in words

    @abstractmethod
    def recognises(self, head: bytes, name: str) -> bool:
        """Whether a file that begins with `head` (up to 64 KiB) is one of this format."""

    def fits(self, file: IO[bytes]) -> int:
        """How much of the file is of this format, where several recognise it."""
        return 0

    @abstractmethod
    def inputs(self, plan: Plan) -> list[dict[str, str]]:
        """The stored columns that rows fill beside label, source and what is kept: their `values`,
        or their `input` alone. [{"name", "type", "role", "from"?}]"""

    @abstractmethod
    def measures(self, plan: Plan) -> tuple[str, ...]:
        """Names of `Row.measures`."""

    def roles(self, task: str) -> dict[str, bool]:
        """Roles that single columns have, and whether one must have it."""
        return {}

    def guess_task(self, look: Look) -> str:
        return self.tasks[0]

    def guess_problem(self, columns: dict[str, Any], look: Look) -> str:
        return SINGLE

    def guess_separator(self, columns: dict[str, Any], look: Look) -> str:
        return SEPARATORS[0]

    @abstractmethod
    def sniff(self, file: IO[bytes], name: str) -> dict[str, Any]:
        """The dialect of one file, as JSON. May read all of it, in bounded memory.

        Raises BadFile.
        """

    @abstractmethod
    def look(self, file: IO[bytes], name: str, dialect: dict[str, Any]) -> Look:
        """What the beginning of the file shows. Raises BadFile where nothing can be shown."""

    @abstractmethod
    def guess_columns(self, look: Look, task: str) -> dict[str, Any]:
        """`Plan.columns` as a person would probably choose them."""

    @abstractmethod
    def label_counts(self, reading: dict[str, Any], look: Look) -> dict[str, int]:
        """How often each label stands in what was looked at."""

    @abstractmethod
    def check_dialect(self, dialect: dict[str, Any]) -> dict[str, Any]:
        """A dialect from outside, complete and safe. Raises Invalid with `fields`."""

    @abstractmethod
    def rows(
        self, file: IO[bytes], name: str, dialect: dict[str, Any], plan: Plan
    ) -> Iterator[Row | LeftOut]:
        """Every row, in the file's order. Raises BadFile naming the place."""

    @abstractmethod
    def row_size(self, row: Row) -> int:
        """Bytes that a row takes in memory, roughly."""
