"""Delimited text: CSV, TSV and their relatives, for texts with labels and for tables of numbers
and words.

What it does to values: an input text is kept as it stands. A label loses white space around it
(reported). Of a table's columns, numbers are read as numbers (numbers.py) and words lose white
space around them. An empty value of another column becomes missing. Blank lines, and rows without
input, are left out and listed by line; so are lines with a wrong number of values if that was asked
for, else the file is refused with the first of them.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from typing import IO, Any, ClassVar

from distillhub.lib.errors import Invalid
from projects.ingest import (
    compressed,
    disguises,
    encodings,
    labels,
    numbers,
    records,
    registry,
    stored,
    table_guesses,
    words,
)
from projects.ingest.formats import (
    EMBEDDING_TASK,
    GENERATION_TASK,
    MOST_LABEL,
    MULTI,
    NUMERIC,
    PROBLEMS,
    REGRESSION,
    SPLIT_WORDS,
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

HEAD = 1 << 20  # bytes that are looked at before a person confirms
SHOWN_ROWS = 20
SHOWN_CHARACTERS = 300  # of one cell


@registry.register
class Table(Format):
    key = "table"
    label = "Table (CSV, TSV)"
    tasks: ClassVar[tuple[str, ...]] = (
        *(TEXT_TASK, TABLE_TASK, TOKENS_TASK, EMBEDDING_TASK, GENERATION_TASK),
    )
    suffixes: ClassVar[tuple[str, ...]] = (".csv", ".tsv", ".tab", ".txt")
    problems: ClassVar[tuple[str, ...]] = PROBLEMS
    has_columns: ClassVar[bool] = True
    delimiters: ClassVar[dict[str, str]] = records.DELIMITERS

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
        return text | {"label": True, "split": False}

    def recognises(self, head: bytes, name: str) -> bool:
        if head.startswith(b"PK") or disguises.what(head, name):
            return False
        text = head.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" not in head
        return text or name.lower().endswith(self.suffixes)

    def sniff(self, file: IO[bytes], name: str) -> dict[str, Any]:
        encoding = encodings.detect(file)
        head, whole = _head(file)
        delimiter, quoting = table_guesses.delimiter_and_quoting(head, whole, encoding)
        dialect = {"encoding": encoding, "delimiter": delimiter, "quoting": quoting}
        found, stopped = records.of_head(head, whole, dialect)
        rows = [values for _, values in found if any(value.strip() for value in values)]
        if not rows and stopped:
            raise BadFile(stopped)
        return dialect | {"header": table_guesses.has_header(rows)}

    def check_dialect(self, dialect: dict[str, Any]) -> dict[str, Any]:
        wrong: dict[str, list[str]] = {}
        if dialect.get("encoding") not in encodings.ENCODINGS:
            names = ", ".join(encodings.ENCODINGS)
            wrong["encoding"] = [f"This encoding is not known; choose one of {names}."]
        if dialect.get("delimiter") not in records.DELIMITERS:
            wrong["delimiter"] = ["Choose a comma, semicolon, tab or bar (, ; tab |)."]
        if dialect.get("quoting") not in {"double", "none"}:
            wrong["quoting"] = ["Choose double or none."]
        if not isinstance(dialect.get("header"), bool):
            wrong["header"] = ["Say true or false."]
        if wrong:
            raise Invalid(next(iter(wrong.values()))[0], fields=wrong)
        return {name: dialect[name] for name in ("encoding", "delimiter", "quoting", "header")}

    def look(self, file: IO[bytes], name: str, dialect: dict[str, Any]) -> Look:
        head, whole = _head(file)
        found, stopped = records.of_head(head, whole, dialect)
        look = Look(complete=whole)
        if stopped:
            look.problems.append({"severity": "error", "detail": stopped})
        rows = [(line, values) for line, values in found if any(map(str.strip, values))]
        if not rows:
            if not stopped:
                detail = "There is no complete row in the first MiB." if found or head else "Empty."
                look.problems.append({"severity": "error", "detail": detail})
            return look
        names, rows = _named(rows, dialect)
        _note_ragged(look, rows, len(names))
        fitting = [(line, values) for line, values in rows if len(values) == len(names)]
        look.seen = len(fitting)
        for index, column in enumerate(names):
            filled = (values[index] for _, values in fitting)
            look.values[column] = Counter(value for value in filled if value.strip())
        comma = dialect["delimiter"] != ","
        look.columns = [_described(column, look.values[column], comma) for column in names]
        shown = fitting[:SHOWN_ROWS]
        look.lines = [line for line, _ in shown]
        look.rows = [[value[:SHOWN_CHARACTERS] for value in values] for _, values in shown]
        if "\ufffd" in "".join("".join(values) for _, values in fitting):
            look.problems.append(
                {
                    "severity": "warning",
                    "detail": "Some characters do not fit this encoding; they show as \ufffd.",
                }
            )
        size = compressed.size(file, len(head))
        look.estimated = look.seen if whole else int(look.seen * size / max(1, len(head)))
        if not look.seen:
            look.problems.append(
                {"severity": "error", "detail": "There is a header but no row below it."}
            )
        return look

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
        for text, rows in look.values.get(label or "", Counter()).items():
            several = text.split(reading["separator"]) if problem == MULTI else [text]
            if reading.get("task") == TOKENS_TASK:
                names = reading.get("tag_names") or ()
                counts.update(words.told(words.listed(text) or (), names) * rows)
                continue
            for one in {part.strip() for part in several} - {""}:
                counts[one] += rows
        return dict(counts.most_common())

    def rows(
        self, file: IO[bytes], name: str, dialect: dict[str, Any], plan: Plan
    ) -> Iterator[Row | LeftOut]:
        found = records.of_file(file, dialect)
        names: list[str] = []
        read: Reader | None = None
        for line, values in found:
            if not any(values) or not any(map(str.strip, values)):
                yield LeftOut(str(line), "blank_line")
                continue
            if read is None:
                first = values if dialect["header"] else None
                names = table_guesses.column_names(first, len(values))
                read = Reader(names, plan, name, dialect)
                if dialect["header"]:
                    continue
            if len(values) != len(names):
                detail = _ragged(line, len(values), len(names), dialect)
                if plan.ragged != "skip":
                    raise BadFile(detail, line=line)
                yield LeftOut(str(line), "ragged_line", detail)
                continue
            yield read(line, values)

    def row_size(self, row: Row) -> int:
        return 4 * len(row.input) + sum(4 * len(value or "") for value in row.others) + 500


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


def _head(file: IO[bytes]) -> tuple[bytes, bool]:
    """The first MiB, and whether that is all of the file."""
    file.seek(0)
    head = file.read(HEAD + 1)
    return head[:HEAD], len(head) <= HEAD


def _named(
    rows: list[records.Record], dialect: dict[str, Any]
) -> tuple[list[str], list[records.Record]]:
    """The columns' names, and the rows below them."""
    first = rows[0][1]
    if dialect["header"]:
        return table_guesses.column_names(first, len(first)), rows[1:]
    widths = Counter(len(values) for _, values in rows)
    return table_guesses.column_names(None, widths.most_common(1)[0][0]), rows


def _described(name: str, counts: Counter[str], comma: bool) -> dict[str, Any]:
    filled = counts.total()
    length = sum(len(value) * rows for value, rows in counts.items())
    numeric = sum(rows for value, rows in counts.items() if numbers.is_number(value, comma=comma))
    nothing = sum(
        rows for value, rows in counts.items() if value.strip().lower() in numbers.NO_NUMBER
    )
    return {
        "name": name,
        "filled": filled,
        "distinct": len(counts),
        "length": round(length / max(1, filled), 1),
        "counted": _is_counted(counts),
        "numeric": numeric > 0 and numeric >= 0.95 * (filled - nothing),
        "examples": [value[:80] for value, _ in counts.most_common(5)],
    }


def _is_counted(counts: Counter[str]) -> bool:
    """Whether the values are 1, 2, 3 and so on, or count from elsewhere."""
    found = [int(value) for value in counts if value.strip().isascii() and value.strip().isdigit()]
    return bool(found) and len(found) == len(counts) == max(found) - min(found) + 1


def _note_ragged(look: Look, rows: list[records.Record], width: int) -> None:
    ragged = [(line, len(values)) for line, values in rows if len(values) != width]
    if ragged:
        line, found = ragged[0]
        detail = f"Line {line} has {found} values where {width} are expected."
        if len(ragged) > 1:
            detail += f" {len(ragged) - 1} more of the lines looked at have a wrong number, too."
        look.problems.append(
            {"severity": "error", "code": "ragged_line", "detail": detail, "line": line}
        )


def _ragged(line: int, found: int, expected: int, dialect: dict[str, Any]) -> str:
    against = "the header has" if dialect["header"] else "the first row has"
    few = f"{found} value" + ("" if found == 1 else "s")
    return f"Line {line} has {few} where {against} {expected}."


class Reader:
    """Makes rows of a file's lines, once its columns are known."""

    def __init__(self, names: list[str], plan: Plan, file: str, dialect: dict[str, Any]) -> None:
        self.plan, self.dialect = plan, dialect
        self.text, self.prompt, self.rationale, self.label, self.split = (
            _place(names, plan.columns.get(role), file, f"columns.{role}")
            for role in ("text", "prompt", "rationale", "label", "split")
        )
        self.features = [
            (_place(names, name, file, "columns.features"), kind == NUMERIC)
            for name, kind in plan.features.items()
        ]
        self.others = [names.index(one) if one in names else None for one in plan.others]
        self.comma = dialect["delimiter"] != ","

    def __call__(self, line: int, values: list[str]) -> Row | LeftOut:
        if self.plan.task == TOKENS_TASK:
            return self._words(line, values)
        if self.plan.task == TABLE_TASK:
            read = self._features(values)
            if not any(one is not None for one in read[0]):
                return LeftOut(str(line), "empty_input")
            features, given, remarks = read
            key = "\x1f".join("" if one is None else str(one) for one in features)
            measures: tuple[int, ...] = ()
        else:
            assert self.text is not None
            given, features, remarks = values[self.text], (), ()
            key = given.strip()
            if not key:
                return LeftOut(str(line), "empty_input")
            if self.prompt is not None:  # the same question in two splits leaks, whatever follows
                features = (values[self.prompt], given)
                if self.rationale is not None:
                    features = (*features, values[self.rationale])
                key = values[self.prompt].strip() or key
                given = f"{values[self.prompt]}\x1f{given}"
            measures = (len(given), len(given.split()))
        label, trimmed = self._label(line, values)
        return Row(
            source=str(line),
            input=given,
            key=hashlib.blake2b(key.encode(), digest_size=8).digest(),
            label=label,
            split=self._split(line, values),
            others=tuple((values[at] or None) if at is not None else None for at in self.others),
            measures=measures,
            values=features,
            remarks=remarks + (("label_trimmed",) if trimmed else ()),
        )

    def _words(self, line: int, values: list[str]) -> Row | LeftOut:
        """A row whose label is a tag for each word."""
        assert self.text is not None
        said = words.listed(values[self.text])
        tags = None if self.label is None else words.listed(values[self.label])
        return words.row(
            line,
            said,
            tags,
            self.plan,
            split=self._split(line, values),
            others=tuple((values[at] or None) if at is not None else None for at in self.others),
        )

    def _features(
        self, values: list[str]
    ) -> tuple[tuple[float | str | None, ...], str, tuple[str, ...]]:
        """The numbers and words of a line, its cells as they stand, and what to remark."""
        found: list[float | str | None] = []
        remarks: tuple[str, ...] = ()
        cells: list[str] = []
        for place, is_number in self.features:
            assert place is not None
            cells.append(values[place])
            if not is_number:
                found.append(numbers.word(cells[-1]))
                continue
            try:
                found.append(numbers.number(cells[-1], comma=self.comma))
            except numbers.NotANumber:
                found.append(None)
                remarks = ("not_a_number",)
        return tuple(found), "\x1f".join(cells), remarks

    def _label(self, line: int, values: list[str]) -> tuple[str | None, bool]:
        """As it is stored, and whether white space was taken away. Raises BadFile."""
        if self.label is None:
            return None, False
        given = values[self.label]
        label = given.strip()
        if self.plan.problem == REGRESSION:
            return self._number(line, label), False
        if self.plan.problem == MULTI:
            try:
                parts = labels.several(label, self.plan.separator)
            except BadFile as error:
                raise BadFile(f"Line {line}: {error.detail}", line=line) from None
            return self.plan.separator.join(parts) or None, False
        if len(label) > MOST_LABEL:
            raise BadFile(
                f"The label in line {line} has {len(label)} characters; at most {MOST_LABEL} may "
                "be. Is this the column of the labels?",
                line=line,
            )
        return label or None, bool(label) and label != given

    def _number(self, line: int, label: str) -> str | None:
        try:
            value = numbers.number(label, comma=self.comma)
        except numbers.NotANumber:
            raise BadFile(
                f"The label in line {line} is no number: {label[:50]!r}. Choose another column, or "
                "have its values as classes.",
                line=line,
            ) from None
        return None if value is None else numbers.written(value)

    def _split(self, line: int, values: list[str]) -> str | None:
        if self.split is None:
            return None
        word = values[self.split].strip().lower()
        split = SPLIT_WORDS.get(word)
        if split is None:
            raise BadFile(
                f"Line {line} says split {word[:50]!r}; use train, validation or test.", line=line
            )
        return split


def _place(names: list[str], column: str | None, file: str, field: str) -> int | None:
    """Where a column stands. Raises BadFile naming one that is not there."""
    if column is None:
        return None
    if column not in names:
        has = ", ".join(repr(one) for one in names[:20])
        raise BadFile(f"{file} has no column {column!r}; it has {has}.", field=field)
    return names.index(column)
