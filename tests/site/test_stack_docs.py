"""The demo finishes by itself, and what the documents show works when it is pasted."""

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.site.processes import ROOT, Up, ask, clean_environment, ended, family, until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("stack")]

DEMO = "/api/v1/projects/handwritten-digits-demo"


def pasted(page: str, address: str) -> str:
    """The bash of a page, as one script for this address."""
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    return "set -euo pipefail\n" + "\n".join(blocks).replace("http://127.0.0.1:8000", address)


def bash(script: str, folder: Path, home: Path) -> str:
    """What a script prints in a folder that has `.venv/bin/distillhub`."""
    command = folder / ".venv" / "bin" / "distillhub"
    command.parent.mkdir(parents=True, exist_ok=True)
    if not command.exists():
        command.symlink_to(Path(sys.executable).with_name("distillhub"))
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=clean_environment(home),
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="the documents use curl")
def test_the_demo_trains_and_the_documents_can_be_pasted(tmp_path: Path) -> None:
    home = tmp_path / "home"
    up = Up(home)
    with ended(up):
        up.ready()
        began = time.monotonic()
        token = bash(".venv/bin/distillhub create-token admin | tail -n 1", tmp_path, home).strip()

        def runs() -> dict[str, str]:
            status, answer = ask(up.address, f"{DEMO}/runs/", token=token)
            return (
                {one["name"]: one["status"] for one in answer["results"]} if status == 200 else {}
            )

        until(lambda: len(runs()) == 3, what=lambda: str(runs()))
        launched = json.loads(bash(pasted("README.md", up.address), tmp_path, home))
        assert launched["number"] == 4
        assert launched["config"]["training"]["optimizer"] == "adamw"

        until(
            lambda: set(runs().values()) <= {"finished", "failed"},
            seconds=400,
            what=lambda: str(runs()),
        )
        assert set(runs().values()) == {"finished"}
        print(f"the demo took {time.monotonic() - began:.0f} s")
        distilled = ask(up.address, f"{DEMO}/runs/2/", token=token)[1]
        assert distilled["metrics"]["test/accuracy"] > 0.85
        assert distilled["comparison"]["answer"] in {"helped", "no_evidence", "hurt"}
        evaluation = ask(up.address, f"{DEMO}/runs/2/evaluation/", token=token)[1]
        assert evaluation["compression"] > 50

        # A second start makes no second demo.
        up.stop()
        again = Up(home)
        with ended(again):
            again.ready()
            assert len(ask(again.address, "/api/v1/projects/", token=token)[1]["results"]) == 1

            said = bash(pasted("docs/api.md", again.address), tmp_path, home)
            assert '"status":"finished"' in said
            assert (tmp_path / "small.zip").read_bytes().startswith(b"PK")
            again.stop()
    assert family(home) == []
