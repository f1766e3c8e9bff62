"""The table of docs/security.md names tests that are there, and no attack without one."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def test_every_attack_of_the_table_has_tests_that_are_there() -> None:
    text = (ROOT / "docs" / "security.md").read_text()
    table = text.partition("## Attacks, and the tests")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+) \| (.+) \|$", table, re.MULTILINE)[1:]
    assert len(rows) > 25
    tests = {file.name for file in (ROOT / "tests").rglob("test_*.py")}
    for attack, where in rows:
        named = set(re.findall(r"`(test_\w+\.py)`", where))
        assert named, attack
        assert named <= tests, attack
    ours = {file.name for file in (ROOT / "tests" / "site").glob("test_attacks_*.py")}
    assert all(name in table for name in ours - {"test_attacks_table.py"})
