"""The rooms of docs/architecture.md are kept by import-linter; these tests show that it bites."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ["distillhub", "projects", "training"]
ROOMLESS = {"utils", "helpers", "common", "misc", "manager"}


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(folder), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_every_module_keeps_to_its_room() -> None:
    linted = lint(ROOT)
    assert linted.returncode == 0, linted.stdout


@pytest.mark.parametrize("package", PACKAGES)
def test_a_planted_module_without_a_room_is_refused(copy: Path, package: str) -> None:
    (copy / package / "helpers.py").write_text('"""Odds and ends."""\n')
    linted = lint(copy)
    assert linted.returncode != 0
    assert f"{package}.helpers" in linted.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("projects/models/project.py", "from training.models import Run", "Wiring, then training"),
        ("distillhub/lib/errors.py", "from projects.models import User", "Wiring, then training"),
        ("training/models/run.py", "from training.services import runs", "The rooms of training"),
        ("projects/models/dataset.py", "from projects.services import datasets", "rooms of projec"),
        ("training/engine/events.py", "import django", "The engine knows no web framework"),
        ("training/services/runs.py", "import torch", "No process but the engine's holds torch"),
        ("training/worker/runs.py", "from training.engine import loop", "No process but the engin"),
    ],
)
def test_a_planted_upward_import_is_refused(
    copy: Path, module: str, line: str, contract: str
) -> None:
    file = copy / module
    file.write_text(f"{file.read_text()}\n\n{line}\n")
    linted = lint(copy)
    assert linted.returncode != 0
    broken = re.findall(r"^(.*) BROKEN$", linted.stdout, re.MULTILINE)
    assert any(contract in name for name in broken), linted.stdout


def test_no_module_is_called_by_a_word_that_says_nothing() -> None:
    found = [
        str(file.relative_to(ROOT))
        for package in [*PACKAGES, "tests"]
        for file in (ROOT / package).rglob("*.py")
        if ROOMLESS & set(file.relative_to(ROOT).with_suffix("").parts)
    ]
    assert found == []


def test_a_web_process_never_holds_torch() -> None:
    """The whole URL configuration is imported, as the web process does before it serves."""
    asked = subprocess.run(
        [
            sys.executable,
            "-c",
            "import django, sys; django.setup()\n"
            "from django.urls import get_resolver; get_resolver().url_patterns\n"
            "heavy = {'torch', 'transformers', 'sklearn', 'plotly', 'pyarrow'}\n"
            "print(sorted(heavy & set(sys.modules)))",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={"DJANGO_SETTINGS_MODULE": "distillhub.settings", "PATH": "/usr/bin:/bin"}
        | {"DISTILLHUB_HOME": os.environ["DISTILLHUB_HOME"]},
    )
    assert asked.stdout.strip() == "[]"
