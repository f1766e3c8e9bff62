"""Delimited text: CSV, TSV and their relatives.

Blank lines are left out and listed by line; so are lines with a wrong number of values if that was
asked for, else the file is refused with the first of them.
"""

from collections import Counter
from collections.abc import Iterator
from typing import IO, Any, ClassVar

from distillhub.lib.errors import Invalid
from projects.ingest import (
    compressed,
    disguises,
    encodings,
    records,
    registry,
    table_format,
    table_guesses,
)
from projects.ingest.formats import BadFile, LeftOut, Plan
from projects.ingest.table_format import HEAD, Cells, Head, TableFormat


@registry.register
class Table(TableFormat):
    key = "table"
    label = "Table (CSV, TSV)"
    suffixes: ClassVar[tuple[str, ...]] = (".csv", ".tsv", ".tab", ".txt")
    delimiters: ClassVar[dict[str, str]] = records.DELIMITERS

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

    def comma(self, dialect: dict[str, Any]) -> bool:
        return bool(dialect["delimiter"] != ",")

    def head(self, file: IO[bytes], name: str, dialect: dict[str, Any]) -> Head:
        head, whole = _head(file)
        found, stopped = records.of_head(head, whole, dialect)
        seen = Head(complete=whole)
        if stopped:
            seen.problems.append({"severity": "error", "detail": stopped})
        rows = [(line, values) for line, values in found if any(map(str.strip, values))]
        if not rows:
            if not stopped:
                detail = "There is no complete row in the first MiB." if found or head else "Empty."
                seen.problems.append(table_format.no_rows(detail))
            return seen
        seen.names, rows = _named(rows, dialect)
        _note_ragged(seen, rows, len(seen.names))
        seen.rows = [(line, values) for line, values in rows if len(values) == len(seen.names)]
        if "\ufffd" in "".join("".join(values) for _, values in seen.rows):
            seen.problems.append(
                {
                    "severity": "warning",
                    "detail": "Some characters do not fit this encoding; they show as \ufffd.",
                }
            )
        if not whole:
            size = compressed.size(file, len(head))
            seen.estimated = int(len(seen.rows) * size / max(1, len(head)))
        if not seen.rows:
            seen.problems.append(table_format.no_rows("There is a header but no row below it."))
        return seen

    def cells(
        self, file: IO[bytes], name: str, dialect: dict[str, Any], plan: Plan
    ) -> tuple[list[str], Iterator[Cells | LeftOut]]:
        names: list[str] = []  # filled with the first record
        return names, _cells(records.of_file(file, dialect), names, dialect, plan)


def _cells(
    found: Iterator[records.Record], names: list[str], dialect: dict[str, Any], plan: Plan
) -> Iterator[Cells | LeftOut]:
    for line, values in found:
        if not any(values) or not any(map(str.strip, values)):
            yield LeftOut(str(line), "blank_line")
            continue
        if not names:
            first = values if dialect["header"] else None
            names += table_guesses.column_names(first, len(values))
            if dialect["header"]:
                continue
        if len(values) != len(names):
            detail = _ragged(line, len(values), len(names), dialect)
            if plan.ragged != "skip":
                raise BadFile(detail, line=line)
            yield LeftOut(str(line), "ragged_line", detail)
            continue
        yield line, values


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


def _note_ragged(seen: Head, rows: list[records.Record], width: int) -> None:
    ragged = [(line, len(values)) for line, values in rows if len(values) != width]
    if ragged:
        line, found = ragged[0]
        detail = f"Line {line} has {found} values where {width} are expected."
        if len(ragged) > 1:
            detail += f" {len(ragged) - 1} more of the lines looked at have a wrong number, too."
        seen.problems.append(
            {"severity": "error", "code": "ragged_line", "detail": detail, "line": line}
        )


def _ragged(line: int, found: int, expected: int, dialect: dict[str, Any]) -> str:
    against = "the header has" if dialect["header"] else "the first row has"
    few = f"{found} value" + ("" if found == 1 else "s")
    return f"Line {line} has {few} where {against} {expected}."
