"""What the documents say exists: files behind links, commands, verbs of make, decisions, words."""

import re
from pathlib import Path

import pytest

from distillhub import __version__
from distillhub.cli import _parser

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


def without_code(text: str) -> str:
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


@pytest.mark.parametrize("document", PAGES, ids=NAMES)
def test_links_lead_somewhere(document: Path) -> None:
    text = without_code(document.read_text())
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", PAGES, ids=NAMES)
def test_commands_exist(document: Path) -> None:
    known = _parser()._subparsers._group_actions[0].choices  # type: ignore[union-attr]
    assert known is not None
    for command in re.findall(r"`(?:\.venv/bin/)?distillhub ([a-z-]+)", document.read_text()):
        assert command in known, command


@pytest.mark.parametrize("document", PAGES, ids=NAMES)
def test_verbs_of_make_exist(document: Path) -> None:
    verbs = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for verb in re.findall(r"(?:`|^)make ([a-z]+)(?:`|\b)(?! sure)", document.read_text(), re.M):
        assert verb in verbs, verb


def test_the_readme_opens_with_what_it_is_a_picture_and_two_commands() -> None:
    readme = (ROOT / "README.md").read_text()
    opening, _, rest = readme.partition("## Start")
    assert len(opening.split()) < 100
    assert "](docs/images/run.png)" in opening
    commands = re.search(r"```\n(.*?)```", rest, re.DOTALL)
    assert commands
    lines = [line.partition("#")[0].strip() for line in commands.group(1).strip().splitlines()]
    assert lines == ["make run", "make test"]


def test_the_changelog_tells_of_this_version() -> None:
    assert f"## {__version__}\n" in (ROOT / "CHANGELOG.md").read_text()


def test_every_decision_is_listed() -> None:
    folder = ROOT / "docs/decisions"
    listed = re.findall(r"\]\((\d{4}-[^)]+)\)", (folder / "README.md").read_text())
    assert listed == sorted(path.name for path in folder.glob("0*.md"))
    for number, name in enumerate(listed, start=1):
        assert (folder / name).read_text().startswith(f"# {number}. ")


def test_the_rooms_of_the_tree_are_there() -> None:
    tree = (ROOT / "docs/architecture.md").read_text()
    for name in (
        "distillhub/cli",
        "distillhub/supervisor.py",
        "distillhub/checks.py",
        "projects/ingest",
        "projects/permissions.py",
        "training/worker",
        "training/catalog.py",
        "training/engine/losses",
        "tests/journeys",
    ):
        assert name.rpartition("/")[2] in tree
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("document", PAGES, ids=NAMES)
def test_pages_are_written_for_readers_of_plain_text(document: Path) -> None:
    for number, line in enumerate(without_code(document.read_text()).splitlines(), start=1):
        if not line.startswith("|"):
            assert len(line) <= 125, f"{document.name}:{number}"
        assert "\t" not in line
