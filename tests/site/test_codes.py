"""Every code that an answer of REST may bear stands in docs/api.md."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
#: Of runs that failed, of what a diagnosis says, of files at the terminal, of forms: no answers.
NO_ANSWERS = frozenset({"Diagnosis", "outcomes.lose", "outcomes.fail", "forms.ValidationError"})
NOT_OF_REST = frozenset({"not_a_backup", "exists", "incorrect_code"})


def codes() -> Iterator[str]:
    for root in ("distillhub", "projects", "training"):
        for path in (ROOT / root).rglob("*.py"):
            if not {"migrations", "engine", "client"} & set(path.parts):
                yield from _codes(ast.parse(path.read_text()))


def _codes(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for line in node.body:
                if isinstance(line, ast.Assign):
                    yield from _assigned(line)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) not in NO_ANSWERS:
            for word in node.keywords:
                if word.arg == "code" and isinstance(word.value, ast.Constant):
                    yield str(word.value.value)


def _assigned(line: ast.Assign) -> Iterator[str]:
    """`code = "x"` and `status, code = 400, "x"`."""
    for target in line.targets:
        names = target.elts if isinstance(target, ast.Tuple) else [target]
        values = line.value.elts if isinstance(line.value, ast.Tuple) else [line.value]
        for name, value in zip(names, values, strict=False):
            if isinstance(name, ast.Name) and name.id == "code" and isinstance(value, ast.Constant):
                yield str(value.value)


def test_every_code_is_listed() -> None:
    told = (ROOT / "docs" / "api.md").read_text()
    listed = told.partition("## Codes of errors")[2].partition("\n## ")[0]
    missing = set(codes()) - NOT_OF_REST - set(re.findall(r"`(\w+)`", listed)) - {""}
    assert not missing
