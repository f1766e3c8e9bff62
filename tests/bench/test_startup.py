"""Printed, not asserted: what a newcomer waits for, and what an idle DistillHub holds.

Goals: ready within 6 s, all idle processes together under 250 MB, stopped in under 3 s.
"""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.site import trained
from tests.site.processes import (
    ROOT,
    Up,
    ask,
    clean_environment,
    ended,
    family,
    make_token,
    until,
)

pytestmark = pytest.mark.bench
MIB = 1 << 20


def test_up_starts_idles_and_stops(tmp_path: Path) -> None:
    home = tmp_path / "home"
    for start in ("a new home", "a home with a database"):
        began = time.monotonic()
        up = Up(home, "--no-demo")
        with ended(up):
            up.ready()
            ready, spent = time.monotonic() - began, cpu_seconds(home)
            time.sleep(3)
            print(f"\n{start}: ready after {ready:.1f} s, {spent:.1f} s of CPU")
            total = shared = 0.0
            for process in sorted(family(home), key=lambda one: one.pid):
                memory = process.memory_full_info()
                held, part = memory.rss / MIB, memory.pss / MIB
                total, shared = total + held, shared + part
                name = next(
                    (word for word in ("web", "worker", "up") if word in process.cmdline()), "?"
                )
                print(f"  {name:7} {held:6.1f} MiB resident, {part:6.1f} with sharing counted once")
            print(f"  together {total:5.1f} MiB resident, {shared:6.1f} with sharing counted once")
            before = cpu_seconds(home)
            time.sleep(10)
            print(f"  idle: {(cpu_seconds(home) - before) / 10:.2%} of one core")
            began = time.monotonic()
            up.stop(signal.SIGINT)
            print(f"  stopped after {time.monotonic() - began:.1f} s")


def test_from_a_launch_to_the_first_word_of_its_training(tmp_path: Path) -> None:
    home = tmp_path / "home"
    up = Up(home, "--no-demo")
    with ended(up):
        up.ready()
        token = make_token(home)
        runs = "/api/v1/projects/shapes/runs/"
        trained.launch(up.address, token, epochs=1)
        took = []
        for number in range(1, 6):
            if number > 1:
                status, made = ask(up.address, f"{runs}1/clone/", token=token, body={})
                assert status == 201, made
            made = over(up.address, f"{runs}{number}/", token)
            asked, claimed = (
                datetime.fromisoformat(made[name]).timestamp()
                for name in ("created_at", "started_at")
            )
            journal = max((home / "jobs").glob("*/journal.jsonl"), key=os.path.getmtime)
            first = json.loads(journal.read_text().splitlines()[0])
            took.append((claimed - asked, first["at"] - asked))
        claimed, spoke = (sorted(times)[2] for times in zip(*took, strict=True))
        print(f"\nfrom POST to its claim {claimed:.2f} s, to the child's first event {spoke:.2f} s")


def over(address: str, path: str, token: str) -> dict[str, Any]:
    def look() -> Any:
        found = ask(address, path, token=token)[1]
        return found if found["finished_at"] else None

    made: dict[str, Any] = until(look)
    return made


def cpu_seconds(home: Path) -> float:
    """Of every process, and of those that have ended and were waited for."""
    return sum(sum(process.cpu_times()[:4]) for process in family(home))


def test_web_process_holds_no_torch(tmp_path: Path) -> None:
    code = """
import sys, time, django
began = time.monotonic()
{imported}
django.setup()
from django.urls import get_resolver
get_resolver().url_patterns
import psutil
print(f"{{psutil.Process().memory_info().rss / 2**20:.0f}} MiB, "
      f"imported in {{time.monotonic() - began:.1f}} s")
"""
    print()
    for name, imported in (("as it is", ""), ("with torch", "import torch")):
        told = subprocess.run(
            [sys.executable, "-c", code.format(imported=imported)],
            cwd=ROOT,
            env=clean_environment(tmp_path, DJANGO_SETTINGS_MODULE="distillhub.settings"),
            capture_output=True,
            text=True,
            check=True,
        )
        print(f"the web process's modules {name}: {told.stdout.strip()}")


def test_this_machine() -> None:
    memory = psutil.virtual_memory()
    cores, load = psutil.cpu_count(), psutil.getloadavg()[0]
    print(f"\n{cores} cores, {memory.total / 2**30:.0f} GiB, load {load:.1f}")
