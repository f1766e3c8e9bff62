"""Delimited text: CSV, TSV and their relatives.

What it does to values: the input text is kept as it stands. A label loses white space around it
(reported). An empty value of another column becomes missing. Blank lines, and rows without input,
are left out and listed by line; so are lines with a wrong number of values if that was asked for,
else the file is refused with the first of them.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from typing import IO, Any, ClassVar

from distillhub.lib.errors import Invalid
from projects.ingest import disguises, encodings, records, registry, table_guesses
from projects.ingest.formats import (
    MOST_LABEL,
    SPLIT_WORDS,
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
    input = "text"
    tasks: ClassVar[tuple[str, ...]] = ("text-classification",)
    suffixes: ClassVar[tuple[str, ...]] = (".csv", ".tsv", ".tab", ".txt")
    measures: ClassVar[tuple[str, ...]] = ("characters", "words")

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
        look.columns = [_described(column, look.values[column]) for column in names]
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
        size = file.seek(0, 2)
        look.estimated = look.seen if whole else int(look.seen * size / max(1, len(head)))
        if not look.seen:
            look.problems.append(
                {"severity": "error", "detail": "There is a header but no row below it."}
            )
        return look

    def guess_columns(self, look: Look) -> dict[str, Any]:
        return table_guesses.roles(look.columns, look.seen)

    def label_counts(self, columns: dict[str, Any], look: Look) -> dict[str, int]:
        counts = Counter[str]()
        for label, rows in look.values.get(columns.get("label") or "", Counter()).items():
            counts[label.strip()] += rows
        return dict(counts.most_common())

    def rows(
        self, file: IO[bytes], name: str, dialect: dict[str, Any], plan: Plan
    ) -> Iterator[Row | LeftOut]:
        found = records.of_file(file, dialect)
        names: list[str] = []
        places: dict[str, int] = {}
        others: list[int | None] = []
        for line, values in found:
            if not any(values) or not any(map(str.strip, values)):
                yield LeftOut(str(line), "blank_line")
                continue
            if not names:
                first = values if dialect["header"] else None
                names = table_guesses.column_names(first, len(values))
                places = _places(names, plan, name)
                others = [names.index(one) if one in names else None for one in plan.others]
                if dialect["header"]:
                    continue
            if len(values) != len(names):
                detail = _ragged(line, len(values), len(names), dialect)
                if plan.ragged != "skip":
                    raise BadFile(detail, line=line)
                yield LeftOut(str(line), "ragged_line", detail)
                continue
            yield _row(line, values, places, others)

    def row_size(self, row: Row) -> int:
        return 4 * len(row.input) + sum(4 * len(value or "") for value in row.others) + 500


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


def _described(name: str, counts: Counter[str]) -> dict[str, Any]:
    filled = counts.total()
    length = sum(len(value) * rows for value, rows in counts.items())
    number = table_guesses.NUMBER.fullmatch
    numeric = sum(rows for value, rows in counts.items() if number(value))
    return {
        "name": name,
        "filled": filled,
        "distinct": len(counts),
        "length": round(length / max(1, filled), 1),
        "numeric": bool(filled) and numeric >= 0.95 * filled,
        "examples": [value[:80] for value, _ in counts.most_common(5)],
    }


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


def _places(names: list[str], plan: Plan, file: str) -> dict[str, int]:
    """Where the columns of each role stand. Raises BadFile naming a column that is not there."""
    places: dict[str, int] = {}
    for role in ("text", "label", "split"):
        column = plan.columns.get(role)
        if column is None:
            continue
        if column not in names:
            has = ", ".join(repr(one) for one in names[:20])
            raise BadFile(
                f"{file} has no column {column!r}; it has {has}.", field=f"columns.{role}"
            )
        places[role] = names.index(column)
    return places


def _row(
    line: int, values: list[str], places: dict[str, int], others: list[int | None]
) -> Row | LeftOut:
    text = values[places["text"]]
    stripped = text.strip()
    if not stripped:
        return LeftOut(str(line), "empty_input")
    remarks: tuple[str, ...] = ()
    label = None
    if "label" in places:
        given = values[places["label"]]
        label = given.strip()
        if len(label) > MOST_LABEL:
            raise BadFile(
                f"The label in line {line} has {len(label)} characters; at most {MOST_LABEL} may "
                "be. Is this the column of the labels?",
                line=line,
            )
        if label != given and label:
            remarks = ("label_trimmed",)
    split = None
    if "split" in places:
        word = values[places["split"]].strip().lower()
        split = SPLIT_WORDS.get(word)
        if split is None:
            raise BadFile(
                f"Line {line} says split {word[:50]!r}; use train, validation or test.", line=line
            )
    return Row(
        source=str(line),
        input=text,
        key=hashlib.blake2b(stripped.encode(), digest_size=8).digest(),
        label=label or None,
        split=split,
        others=tuple((values[at] or None) if at is not None else None for at in others),
        measures=(len(text), len(text.split())),
        remarks=remarks,
    )
