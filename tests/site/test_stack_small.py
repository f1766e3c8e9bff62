"""Idle processes are small: what only some work needs is imported when that work comes."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.site.processes import Command, ask, clean_environment, ended, family, free_port

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("stack")]

# The engine's, which a child process holds and these never do; what reads files, draws, and talks
# to others, which comes with the first file, chart or bucket; and a shell of Celery's.
HEAVY = {
    *("torch", "transformers", "tokenizers", "safetensors", "accelerate", "onnx", "onnxruntime"),
    *("numpy", "scipy", "sklearn", "pandas", "pyarrow", "soundfile", "plotly"),
    *("boto3", "botocore", "storages", "openai", "httpx", "aiohttp", "openpyxl"),
    "prompt_toolkit",
}
PROCESSES = ("web", "worker")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home"
    for process in family(tmp_path / "home"):
        with contextlib.suppress(psutil.Error):
            process.kill()


def test_neither_web_nor_worker_nor_scheduler_holds_what_it_does_not_need(home: Path) -> None:
    # Python itself tells what it imports.
    env = clean_environment(home, PYTHONPROFILEIMPORTTIME="1")
    where = ["--home", str(home), "--port", str(free_port())]
    up = Command(home, "up", *where, "--no-demo", env=env)
    with ended(up):
        up.until_said("Ctrl-C stops everything")
        address = up.until_said(r"Address +(\S+)").group(1)
        assert ask(address, "/sign-in/")[0] == 200
        assert ask(address, "/api/v1/projects/")[0] == 401
        assert up.stop() == 0
    web, worker = (imported((home / "logs" / f"{name}.log").read_text()) for name in PROCESSES)
    for found in (web, worker):
        packages = {name.partition(".")[0] for name in found}
        assert {"django", "celery", "training"} <= packages  # it looks where they are
        assert not HEAVY & packages
    # Pages and REST are the web process's.
    assert "training.views.run_table" in web
    theirs = ("training.views", "training.api", "rest_framework.serializers")
    assert not {name for name in worker if name.startswith(theirs)}


def imported(log: str) -> set[str]:
    return set(re.findall(r"^import time: +\d+ \| +\d+ \| +(\S+)$", log, re.MULTILINE))
