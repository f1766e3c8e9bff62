"""Tables of columns, whatever the file they stand in: for texts with labels, for numbers and words
that are learned from, for prompts with answers.

A format of this kind says what its columns are called and gives the cells of each row as text;
which of them are learned from, and what a row becomes, is the same for all (table_reader.py).
"""

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, ClassVar

from projects.ingest import labels, numbers, stored, table_guesses, words
from projects.ingest.formats import (
    EMBEDDING_TASK,
    GENERATION_TASK,
    MULTI,
    NUMERIC,
    PROBLEMS,
    REGRESSION,
    TABLE_TASK,
    TEXT_TASK,
    TOKENS_TASK,
    BadFile,
    Format,
    LeftOut,
    Look,
    Plan,
    Row,
)
from projects.ingest.table_reader import Reader

HEAD = 1 << 20  # bytes, or characters, that are looked at before a person confirms
SHOWN_ROWS = 20
SHOWN_CHARACTERS = 300  # of one cell

Cells = tuple[int, Sequence[str]]  # the line or row they stand in, and a cell for each column


@dataclass(slots=True)
class Head:
    """The beginning of a table."""

    names: list[str] = field(default_factory=list)
    rows: list[Cells] = field(default_factory=list)
    complete: bool = True  # whether these are all rows
    estimated: int = 0  # rows of the whole file; 0 where `rows` are all
    problems: list[dict[str, Any]] = field(default_factory=list)  # as of a Look


class TableFormat(Format):
    tasks: ClassVar[tuple[str, ...]] = (
        *(TEXT_TASK, TABLE_TASK, TOKENS_TASK, EMBEDDING_TASK, GENERATION_TASK),
    )
    problems: ClassVar[tuple[str, ...]] = PROBLEMS
    has_columns: ClassVar[bool] = True
    beside: ClassVar[tuple[str, ...]] = ("id", "group", "weight")
    noun: ClassVar[str] = "line"  # what a row's place is the number of

    @abstractmethod
    def head(self, file: IO[bytes], name: str, dialect: dict[str, Any]) -> Head:
        """Some HEAD characters of cells. What cannot be read stands among its problems."""

    @abstractmethod
    def cells(
        self, file: IO[bytes], name: str, dialect: dict[str, Any], plan: Plan
    ) -> tuple[list[str], Iterator[Cells | LeftOut]]:
        """The columns that there are, at least those the plan asks for, and the cells of each row
        in their order. Raises BadFile, at once or later."""

    def comma(self, dialect: dict[str, Any]) -> bool:
        """Whether a comma may be the decimal sign."""
        return False

    def rows(
        self, file: IO[bytes], name: str, dialect: dict[str, Any], plan: Plan
    ) -> Iterator[Row | LeftOut]:
        names, found = self.cells(file, name, dialect, plan)
        read: Reader | None = None
        label = plan.columns.get("label")
        classes = plan.classes.get(label or "", ())
        place: int | None = None  # of a label that is the number of a class
        for one in found:
            if isinstance(one, LeftOut):
                yield one
                continue
            if read is None:
                if classes and label in names:
                    place = names.index(label)
                read = Reader(names, plan, name, comma=self.comma(dialect), noun=self.noun)
            yield read(*(_with_name(one, place, classes) if place is not None else one))

    def look(self, file: IO[bytes], name: str, dialect: dict[str, Any]) -> Look:
        head = self.head(file, name, dialect)
        look = Look(complete=head.complete, seen=len(head.rows), problems=head.problems)
        look.estimated = head.estimated or look.seen
        comma = self.comma(dialect)
        for index, column in enumerate(head.names):
            filled = (cells[index] for _, cells in head.rows)
            look.values[column] = Counter(cell for cell in filled if cell.strip())
            look.columns.append(described(column, look.values[column], comma=comma))
        shown = head.rows[:SHOWN_ROWS]
        look.lines = [place for place, _ in shown]
        look.rows = [[cell[:SHOWN_CHARACTERS] for cell in cells] for _, cells in shown]
        return look

    def inputs(self, plan: Plan) -> list[dict[str, str]]:
        if plan.task != TABLE_TASK:
            text = {"name": "text", "type": "string", "role": "input"}
            if not plan.columns.get("prompt"):
                return [text]
            prompt = {"name": "prompt", "type": "string", "role": "prompt"}
            prompt["from"] = str(plan.columns["prompt"])
            if not plan.columns.get("rationale"):
                return [prompt, text]
            why = {"name": "rationale", "type": "string", "role": "rationale"}
            return [prompt, text, why | {"from": str(plan.columns["rationale"])}]
        names = stored.stored_names(tuple(plan.features), [])
        return [
            {
                "name": name,
                "type": "number" if kind == NUMERIC else "category",
                "role": "feature",
                "from": origin,
            }
            for name, (origin, kind) in zip(names, plan.features.items(), strict=True)
        ]

    def measures(self, plan: Plan) -> tuple[str, ...]:
        return () if plan.task == TABLE_TASK else ("characters", "words")

    def roles(self, task: str) -> dict[str, bool]:
        if task == GENERATION_TASK:
            return {"text": True, "prompt": False, "rationale": False, "split": False}
        if task == EMBEDDING_TASK:
            return {"text": True, "split": False}
        text = {} if task == TABLE_TASK else {"text": True}
        return text | {"label": False, "split": False}  # teachers label rows without one

    def guess_task(self, look: Look) -> str:
        if table_guesses.writing_roles(look.columns) is not None:
            return GENERATION_TASK
        if _pairs(look, table_guesses.roles(look.columns, look.seen)):
            return TOKENS_TASK
        is_table = table_guesses.is_table(look.columns, look.seen)
        return TABLE_TASK if is_table else TEXT_TASK

    def guess_columns(self, look: Look, task: str) -> dict[str, Any]:
        if task == TABLE_TASK:
            return table_guesses.table_roles(look.columns, look.seen)
        if task == GENERATION_TASK:
            return table_guesses.roles_of_writing(look.columns, look.seen)
        chosen = table_guesses.roles(look.columns, look.seen)
        if task == TOKENS_TASK:
            return table_guesses.roles_of_words(look.columns, chosen)
        if task == EMBEDDING_TASK:
            chosen.pop("label")
        return chosen

    def guess_problem(self, columns: dict[str, Any], look: Look) -> str:
        return table_guesses.problem(columns.get("label"), look.columns)

    def guess_separator(self, columns: dict[str, Any], look: Look) -> str:
        return table_guesses.separator(look.values.get(columns.get("label") or "", Counter()))

    def label_counts(self, reading: dict[str, Any], look: Look) -> dict[str, int]:
        """Of numbers, none: they are no classes."""
        counts = Counter[str]()
        label, problem = reading["columns"].get("label"), reading.get("problem")
        if problem == REGRESSION:
            return {}
        classes = (reading.get("classes") or {}).get(label or "", ())
        for text, rows in look.values.get(label or "", Counter()).items():
            if classes:
                text = labels.named(text, classes)
            if reading.get("task") == TOKENS_TASK:
                names = reading.get("tag_names") or ()
                counts.update(words.told(words.listed(text) or (), names) * rows)
                continue
            several = labels.parts(text, reading["separator"]) if problem == MULTI else [text]
            for one in {part.strip() for part in several} - {""}:
                counts[one] += rows
        return dict(counts.most_common())

    def row_size(self, row: Row) -> int:
        beside = sum(4 * len(one) if isinstance(one, str) else 8 for one in row.others)
        return 4 * len(row.input) + beside + 500


def _with_name(one: Cells, place: int, classes: Sequence[str]) -> Cells:
    cells = list(one[1])
    cells[place] = labels.named(cells[place], classes)
    return one[0], cells


def no_rows(detail: str) -> dict[str, Any]:
    """A problem of a Look that has none."""
    return {"severity": "error", "detail": detail}


def refused(error: BadFile) -> dict[str, Any]:
    """A problem of a Look whose reading stopped."""
    found: dict[str, Any] = {"severity": "error", "detail": error.detail}
    return found | ({"line": error.line} if error.line else {})


def _pairs(look: Look, chosen: dict[str, Any]) -> bool:
    """Whether the label of every row shown has as many parts as its text has words, and most have
    several."""
    names = [column["name"] for column in look.columns]
    columns = table_guesses.roles_of_words(look.columns, chosen)
    if columns["text"] is None or columns["label"] is None:
        return False
    text, label = names.index(columns["text"]), names.index(columns["label"])
    sizes = [
        (len(words.listed(row[text]) or ()), len(words.listed(row[label]) or ()))
        for row in look.rows
        if row[label].strip() and max(len(row[text]), len(row[label])) < SHOWN_CHARACTERS
    ]
    several = sum(parts > 1 for _, parts in sizes)
    return bool(sizes) and several > len(sizes) / 2 and all(one == two for one, two in sizes)


def described(name: str, counts: Counter[str], *, comma: bool = False) -> dict[str, Any]:
    """A column of a Look, by how often each of its values was seen."""
    filled = counts.total()
    length = sum(len(value) * rows for value, rows in counts.items())
    numeric = sum(rows for value, rows in counts.items() if numbers.is_number(value, comma=comma))
    nothing = sum(
        rows for value, rows in counts.items() if value.strip().lower() in numbers.NO_NUMBER
    )
    structured = sum(rows for value, rows in counts.items() if value[:1] in ("[", "{"))
    return {
        "name": name,
        "filled": filled,
        "distinct": len(counts),
        "length": round(length / max(1, filled), 1),
        "counted": _is_counted(counts),
        "numeric": numeric > 0 and numeric >= 0.95 * (filled - nothing),
        "structured": structured > 0.9 * filled,  # lists or objects, as JSON
        "examples": [value[:80] for value, _ in counts.most_common(5)],
    }


def _is_counted(counts: Counter[str]) -> bool:
    """Whether the values are 1, 2, 3 and so on, or count from elsewhere."""
    found = [int(value) for value in counts if value.strip().isascii() and value.strip().isdigit()]
    return bool(found) and len(found) == len(counts) == max(found) - min(found) + 1
