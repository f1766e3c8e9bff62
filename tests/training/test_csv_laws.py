"""No file of ours makes a spreadsheet run what a person wrote."""

import ast
from pathlib import Path
from typing import Any

import pytest

from projects.ingest.written import escaped

ROOT = Path(__file__).resolve().parent.parent.parent
#: What the browser writes of charts has the same rule: static/js/chart_data.js, held by
#: tests/journeys/test_pictures.py.
ROOMS = ("distillhub", "projects", "training")


def writers() -> list[Path]:
    """Modules that write CSV."""
    found = []
    for room in ROOMS:
        for file in sorted((ROOT / room).rglob("*.py")):
            text = file.read_text()
            if "csv.writer" in text or "csv.DictWriter" in text:
                found.append(file)
    return found


def is_escaped(cells: ast.expr) -> bool:
    """`map(escaped, …)`, `[escaped(one) for …]`, rows of these, or words of our own."""
    if isinstance(cells, ast.List):
        return all(
            isinstance(one, ast.Constant)
            or (isinstance(one, ast.Starred) and (is_escaped(one.value) or is_ours(one.value)))
            or is_ours(one)
            for one in cells.elts
        )
    if isinstance(cells, ast.ListComp | ast.GeneratorExp):
        return is_escaped(cells.elt) or "escaped(" in ast.unparse(cells.elt)
    if isinstance(cells, ast.Call) and ast.unparse(cells.func) == "map":
        return ast.unparse(cells.args[0]).endswith("escaped")
    return is_ours(cells)


def is_ours(cells: ast.expr) -> bool:
    """A constant of a module, or a name for what was escaped before or is our own."""
    words = ast.unparse(cells)
    return words.rpartition(".")[2].isupper() or words in {"heads", "names", "size"}


def test_those_that_write_csv_are_known() -> None:
    names = {str(one.relative_to(ROOT)) for one in writers()}
    assert {"projects/ingest/written.py", "training/views/run_csv.py"} < names


@pytest.mark.parametrize("file", writers(), ids=lambda file: file.stem)
def test_every_cell_that_is_written_is_escaped(file: Path) -> None:
    rows = [
        call
        for call in ast.walk(ast.parse(file.read_text()))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in {"writerow", "writerows"}
    ]
    assert rows
    for call in rows:
        assert is_escaped(call.args[0]), ast.unparse(call)


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r"])
def test_what_a_spreadsheet_takes_for_a_formula_is_a_text(begin: str) -> None:
    assert escaped(f"{begin}cmd|'/C calc'!A0") == f"'{begin}cmd|'/C calc'!A0"


@pytest.mark.parametrize("number", ["-1", "+2.5", "-1e-07", ".5", -3, 2.5, None, True, "a=b"])
def test_numbers_and_other_texts_stay_as_they_are(number: Any) -> None:
    assert escaped(number) is number
