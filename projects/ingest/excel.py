"""Excel workbooks (.xlsx, .xlsm): one sheet, whose first row with values names the columns.

Read row by row, and bounded: a workbook of 5 KB may claim 17 billion cells
(docs/decisions/0021-excel.md).
Formulas count as the values that Excel has stored for them. Nothing in a workbook is run.
"""

import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, time
from itertools import islice
from typing import IO, Any, ClassVar

from distillhub.lib.errors import Invalid
from distillhub.lib.later import Later
from projects.ingest import cells, central_directory, records, registry, table_format, table_guesses
from projects.ingest.formats import BadFile, BadRow, LeftOut, Plan
from projects.ingest.table_format import HEAD, Cells, Head, TableFormat

openpyxl = Later("openpyxl")

MOST_PARTS = 10_000  # files of a workbook
MOST_UNPACKED = 2 << 30  # bytes, of all parts
MOST_TEXTS = 128 << 20  # bytes of the texts that cells share, which are held at once
MOST_ROWS = 1_048_576  # as Excel has
MOST_SHEETS = 100
MOST_SEEN = 5000  # rows of the beginning
WIDTH_BY = 500  # rows that say how wide the table is
PIECE = 500  # rows that are read at once
TEXTS = "xl/sharedStrings.xml"
ALL = 1 << 40  # more than any other format finds in a zip archive


@registry.register
class Excel(TableFormat):
    key = "excel"
    label = "Excel workbook"
    suffixes: ClassVar[tuple[str, ...]] = (".xlsx", ".xlsm")
    noun: ClassVar[str] = "row"

    def recognises(self, head: bytes, name: str) -> bool:
        return head.startswith(b"PK\x03\x04")

    def fits(self, file: IO[bytes]) -> int:
        try:
            names = _parts(file)
        except BadFile:
            return -1
        return ALL if any(one.startswith("xl/workbook.") for one in names) else -1

    def sniff(self, file: IO[bytes], name: str) -> dict[str, Any]:
        with _workbook(file) as book:
            visible = [one.title for one in book.worksheets if one.sheet_state == "visible"]
            sheets = [_seen(book, title) for title in visible[:MOST_SHEETS]]
        if not sheets:
            raise BadFile(f"{name} has no sheet of cells.")
        chosen = next((one for one in sheets if one["width"]), sheets[0])
        return {"sheets": sheets, "sheet": chosen["name"], "header": chosen["header"]}

    def check_dialect(self, dialect: dict[str, Any]) -> dict[str, Any]:
        wrong: dict[str, list[str]] = {}
        names = [one["name"] for one in dialect.get("sheets", [])]
        if dialect.get("sheet") not in names:
            asked, has = str(dialect.get("sheet"))[:50], ", ".join(map(repr, names[:20]))
            wrong["sheet"] = [f"There is no sheet {asked!r}; there are {has}."]
        if not isinstance(dialect.get("header"), bool):
            wrong["header"] = ["Say true or false."]
        if wrong:
            raise Invalid(next(iter(wrong.values()))[0], fields=wrong)
        return {name: dialect[name] for name in ("sheets", "sheet", "header")}

    def head(self, file: IO[bytes], name: str, dialect: dict[str, Any]) -> Head:
        seen = Head()
        plan = Plan(ragged="skip")
        names: list[str] = []
        size = 0
        try:
            for one in _cells(file, dialect, plan, names):
                if isinstance(one, LeftOut):
                    if one.code == "ragged_line" and not seen.problems:
                        seen.problems.append(
                            {"severity": "error", "code": one.code, "detail": one.detail}
                        )
                    continue
                if size > HEAD or len(seen.rows) >= MOST_SEEN:
                    seen.complete = False
                    seen.estimated = _most(file, dialect) or len(seen.rows)
                    break
                seen.rows.append(one)
                size += sum(map(len, one[1]))
        except BadFile as error:
            seen.problems.append(table_format.refused(error))
        seen.names = names
        if not seen.rows and not seen.problems:
            detail = "There is a header but no row below it." if names else "The sheet is empty."
            seen.problems.append(table_format.no_rows(detail))
        return seen

    def cells(
        self, file: IO[bytes], name: str, dialect: dict[str, Any], plan: Plan
    ) -> tuple[list[str], Iterator[Cells | LeftOut]]:
        names: list[str] = []  # filled with the first row
        return names, _cells(file, dialect, plan, names)


def _seen(book: Any, sheet: str) -> dict[str, Any]:
    """{"name", "first" (the row where its table begins), "width", "header"} of a sheet."""
    seen = list(islice(_rows(book, sheet), WIDTH_BY))
    widths = sorted(len(values) for _, values in seen) or [0]
    width, usual = widths[-1], widths[len(widths) // 2]
    # Titles and remarks above a table fill fewer of its columns.
    filled = [2 * sum(map(bool, values)) > usual for _, values in seen]
    table = seen[filled.index(True) :] if True in filled else seen
    rows = [values + [""] * (width - len(values)) for _, values in table]
    first = table[0][0] if table else 1
    header = table_guesses.has_header(rows)
    return {"name": sheet, "first": first, "width": width, "header": header}


def _cells(
    file: IO[bytes], dialect: dict[str, Any], plan: Plan, names: list[str]
) -> Iterator[Cells | LeftOut]:
    sheet = _sheet(dialect)
    width = sheet["width"]
    with _workbook(file) as book:
        for number, values in _rows(book, dialect["sheet"]):
            if number < sheet["first"]:
                yield LeftOut(str(number), "above_table")
                continue
            if not names:
                names += table_guesses.column_names(values if dialect["header"] else None, width)
                if dialect["header"]:
                    continue
            if len(values) > width:
                detail = f"Row {number} has {len(values)} values where the table has {width}."
                if plan.ragged != "skip":
                    raise BadFile(detail, line=number)
                yield LeftOut(str(number), "ragged_line", detail)
                continue
            yield number, values + [""] * (width - len(values))


def _sheet(dialect: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(
        one for one in dialect["sheets"] if one["name"] == dialect["sheet"]
    )
    return found


def _rows(book: Any, sheet: str) -> Iterator[tuple[int, list[str]]]:
    """The rows with any value, by their numbers, without empty cells at their ends. Raises
    BadFile."""
    found = book[sheet]
    found.reset_dimensions()  # what a sheet says of its size may be wrong by billions of cells
    rows = enumerate(found.iter_rows(values_only=True), 1)
    while piece := _guarded(lambda: list(islice(rows, PIECE))):
        for number, row in piece:
            if number > MOST_ROWS:
                raise BadFile(f"The sheet {sheet!r} has a row beyond {MOST_ROWS:,}.")
            try:
                values = [_cell(one) for one in row]
            except BadRow as error:
                raise BadFile(f"Row {number} {error.detail}.", line=number) from None
            while values and not values[-1].strip():
                values.pop()
            if len(values) > records.MOST_COLUMNS:
                raise BadFile(
                    f"Row {number} has a value in column {len(values):,}; at most "
                    f"{records.MOST_COLUMNS} columns are read.",
                    line=number,
                )
            if values:
                yield number, values


def _cell(value: Any) -> str:
    """Days are stored as their midnights."""
    if isinstance(value, datetime) and value.time() == time():
        value = value.date()
    return cells.cell(value)


def _most(file: IO[bytes], dialect: dict[str, Any]) -> int:
    """Rows, as the sheet says."""
    with _workbook(file) as book:
        most = book[dialect["sheet"]].max_row
    return int(max(0, min(most or 0, MOST_ROWS) - _sheet(dialect)["first"]))


@contextmanager
def _workbook(file: IO[bytes]) -> Iterator[Any]:
    """Raises BadFile."""
    if "xl/workbook.bin" in _parts(file):
        raise BadFile(
            "This is a binary Excel workbook. In Excel, choose File, Save as, Excel Workbook "
            "(.xlsx), and upload that."
        )
    file.seek(0)
    options = {"read_only": True, "data_only": True, "keep_links": False}
    book = _guarded(lambda: openpyxl.load_workbook(file, **options))
    try:
        yield book
    finally:
        book.close()


def _guarded(read: Callable[[], Any]) -> Any:
    """What `read` gives. Raises BadFile with whatever the library says of a damaged workbook; it
    raises what its parts do."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and extensions, which are not read
            return read()
    except BadFile:
        raise
    except Exception as error:
        said = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise BadFile(f"The workbook cannot be read: {said[0][:200].rstrip('.')}.") from None


def _parts(file: IO[bytes]) -> dict[str, int]:
    """The workbook's parts and their sizes. Raises BadFile for what is no zip archive, or too large
    a one."""
    try:
        central_directory.refuse_more_than(MOST_PARTS, file)
        file.seek(0)
        with zipfile.ZipFile(file) as archive:
            sizes = {one.filename: one.file_size for one in archive.infolist()}
    except (central_directory.Unreadable, zipfile.BadZipFile, ValueError, OSError) as error:
        raise BadFile(f"The Excel workbook cannot be opened: {error}.") from None
    if sum(sizes.values()) > MOST_UNPACKED or sizes.get(TEXTS, 0) > MOST_TEXTS:
        raise BadFile(
            "The Excel workbook unpacks to more than is read. Save the sheet as CSV UTF-8."
        )
    return sizes
