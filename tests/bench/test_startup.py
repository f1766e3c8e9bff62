"""Printed, not asserted: what a newcomer waits for, and what an idle DistillHub holds.

Goals: ready in under 8 s, all idle processes together under 250 MB, stopped in under 3 s.
"""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.site.processes import ROOT, Up, clean_environment, ended, family

pytestmark = pytest.mark.bench
MIB = 1 << 20


def test_up_starts_idles_and_stops(tmp_path: Path) -> None:
    home = tmp_path / "home"
    for start in ("a new home", "a home with a database"):
        began = time.monotonic()
        up = Up(home, "--no-demo")
        with ended(up):
            up.ready()
            ready = time.monotonic() - began
            time.sleep(3)
            print(f"\n{start}: ready after {ready:.1f} s")
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


def cpu_seconds(home: Path) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in family(home))


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
