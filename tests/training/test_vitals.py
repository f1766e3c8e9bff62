"""What a run's processes take of the machine: sampled, written once, kept over a resume."""

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import LazySettings

from projects.models import User
from tests.conftest import signed_in
from training.engine.powercap import Packages
from training.models import MetricSeries, Run
from training.services import machine, metrics
from training.worker import claims, gpus, vitals
from training.worker.vitals import Energy, Sample, Tree, Vitals

pytestmark = pytest.mark.django_db(transaction=True)

#: A process with a child; each works for 0.4 s and writes a megabyte to the disk.
BUSY = """
import os, subprocess, sys, time
if len(sys.argv) > 1:
    child = subprocess.Popen([sys.executable, __file__])
block, until = bytearray(8 << 20), time.process_time() + 0.4
with open(f"{__file__}.{os.getpid()}", "wb") as file:
    file.write(bytes(1 << 20)); file.flush(); os.fsync(file.fileno())
while time.process_time() < until:
    sum(range(1000))
if len(sys.argv) > 1:
    child.wait()
    print("done", flush=True)
    sys.stdin.read()
else:
    sys.exit()
"""


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    script = tmp_path / "busy.py"
    script.write_text(BUSY)
    process = subprocess.Popen(
        [sys.executable, str(script), "parent"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    yield process
    process.kill()
    process.communicate()


def test_a_tree_of_processes_counts_all_of_them_and_those_that_ended(
    busy: subprocess.Popen[str],
) -> None:
    tree = Tree(busy.pid)
    time.sleep(0.3)
    during = tree.look()
    assert during is not None
    assert during.memory > 16 << 20  # of both
    assert busy.stdout is not None
    assert busy.stdout.readline() == "done\n"
    after = tree.look()
    assert after is not None
    assert 0.7 < after.cpu < 5  # both worked; the one that ended is not forgotten
    busy.kill()
    busy.wait()
    assert tree.look() is None


def test_energy_is_counted_as_the_engine_counts_it(tmp_path: Path) -> None:
    estimated = Energy(Packages(tmp_path), 15.0, joules=100.0)
    assert estimated.add(cpu=2.0, seconds=4.0, watts=[(50.0, 70.0)]) == 2 * 15 + 4 * 60
    assert estimated.joules == 100 + 270
    package = tmp_path / "intel-rapl:0"
    package.mkdir()
    (package / "energy_uj").write_text("9000000")
    (package / "max_energy_range_uj").write_text("10000000")
    measured = Energy(Packages(tmp_path), 15.0)
    (package / "energy_uj").write_text("2000000")  # it began again from 0
    assert measured.add(cpu=99.0, seconds=1.0, watts=[]) == pytest.approx(3.0)


#: In a process of its own: this one may have servers among its children.
BOTH_METERS = """
import os, sys, time
from pathlib import Path
import torch
from training.engine.energy import Meter
from training.engine.powercap import Packages
from training.worker.vitals import Energy, Tree

nowhere = Path(sys.argv[1])
meter, tree = Meter(torch.device("cpu"), 15.0, powercap=nowhere), Tree(os.getpid())
at, ours = tree.look().cpu, Energy(Packages(nowhere), 15.0)
until = time.process_time() + 0.5
while time.process_time() < until:
    sum(range(1000))
used = tree.look()
print(ours.add(cpu=used.cpu - at, seconds=1.0, watts=[]), meter.joules())
"""


def test_the_estimate_agrees_with_the_engines_meter(tmp_path: Path) -> None:
    """Of one and the same process: its CPU seconds, times the same watts."""
    done = subprocess.run(
        [sys.executable, "-c", f"import django; django.setup()\n{BOTH_METERS}", str(tmp_path)],
        capture_output=True, text=True, check=True,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "distillhub.settings"},
    )  # fmt: skip
    ours, meters = map(float, done.stdout.split())
    assert ours == pytest.approx(meters, rel=0.25)


@pytest.fixture
def watched(held: claims.Held, tmp_path: Path, busy: subprocess.Popen[str]) -> Vitals:
    return vitals.watch(held, tmp_path, busy.pid, [])


def series(run: Run, name: str = "system/memory_bytes") -> list[int]:
    found: list[int] = metrics.read(run=run, names=[name])["series"].get(name, {}).get("steps", [])
    return found


def sample(watched: Vitals) -> None:
    watched._pause = 0.0
    watched.look()


def test_samples_become_series_whose_steps_only_rise(watched: Vitals, held: claims.Held) -> None:
    for _ in range(3):
        sample(watched)
    watched.write()
    steps = series(held.run)
    assert len(steps) == 3
    assert steps == sorted(set(steps))  # three within one second
    run = Run.objects.get()
    assert run.metrics["system/memory_bytes"] > 0
    assert run.metrics["system/energy_wh"] >= 0
    assert set(run.metrics) >= {
        "system/cpu_percent", "system/memory_free_bytes", "system/read_bytes_per_second",
        "system/written_bytes_per_second", "system/watts",
    }  # fmt: skip


def test_going_on_from_a_checkpoint_cuts_nothing_off_and_doubles_nothing(
    watched: Vitals, held: claims.Held, tmp_path: Path
) -> None:
    run = held.run
    for _ in range(2):
        sample(watched)
    metrics.append(run, [metrics.Measured("train/loss", step, 1.0, 0.0) for step in range(9)])
    watched.write()
    sample(watched)  # the worker dies before it writes this one
    metrics.truncate(run, after=4)
    assert series(run, "train/loss") == [0, 1, 2, 3, 4]
    assert len(series(run)) == 2
    before = Run.objects.get().metrics["system/energy_wh"]
    again = vitals.watch(held, tmp_path, watched.tree.pid, [])
    assert len(again.waiting) == 1
    sample(again)
    again.write()
    steps = series(run)
    assert len(steps) == 4
    assert steps == sorted(set(steps))
    assert Run.objects.get().metrics["system/energy_wh"] >= before  # goes on from there
    again.waiting = watched.waiting  # written again, as by one who did not know
    again.write()
    assert series(run) == steps


def test_restarting_on_another_machine_keeps_what_was_used(
    watched: Vitals, held: claims.Held
) -> None:
    sample(watched)
    watched.write()
    metrics.truncate(held.run, after=-1)
    assert len(series(held.run)) == 1


def test_a_stale_attempt_writes_no_sample(watched: Vitals, held: claims.Held) -> None:
    sample(watched)
    Run.objects.update(attempt=9)
    with pytest.raises(claims.Fenced):
        watched.write()
    assert not MetricSeries.objects.exists()


def test_a_torn_spool_is_read_as_far_as_it_is_whole(held: claims.Held, tmp_path: Path) -> None:
    whole = json.dumps(Sample(7, 1.0, {"system/watts": 2.0})._asdict())
    (tmp_path / vitals.SPOOL).write_text(f'{whole}\n[1]\n{{"step": 8, "ti')
    found = vitals.watch(held, tmp_path, 0, [])
    assert [one.step for one in found.waiting] == [7]
    assert found.step == 7
    found.look()  # of a process that is not there
    found.write()
    assert series(held.run, "system/watts") == [7]


def test_a_runs_own_cards_are_charted_in_its_order(
    cards: Path,
    held: claims.Held,
    tmp_path: Path,
    busy: subprocess.Popen[str],
    settings: LazySettings,
) -> None:
    second = [card for card in gpus.read() if card.index == 1]
    found = vitals.watch(held, tmp_path, busy.pid, second)
    sample(found)
    found.write()
    run = Run.objects.get()
    assert run.metrics["system/gpu0/watts"] == 12.25
    assert run.metrics["system/gpu0/celsius"] == 38
    assert not any(name.startswith("system/gpu1") for name in run.metrics)


def test_polling_what_is_new_of_training_leaves_the_seconds_alone(
    watched: Vitals, held: claims.Held
) -> None:
    sample(watched)
    watched.write()
    metrics.append(held.run, [metrics.Measured("train/loss", 5, math.nan, 0.0)])
    assert set(metrics.read(run=held.run, since_step=0)["series"]) == {"train/loss"}
    assert "system/watts" in metrics.read(run=held.run)["series"]
    read = machine.read(run=held.run)
    assert machine.read(run=held.run, after=read["after"])["series"]["system/watts"]["steps"] == []


def test_the_machine_is_charted_on_the_runs_page_and_polled_from_a_second_on(
    watched: Vitals, held: claims.Held, vera: User
) -> None:
    sample(watched)
    watched.write()
    address = f"/p/{held.run.project.slug}/runs/{held.run.number}/"
    shown = signed_in(vera).get(address, {"tab": "machine"}).content.decode()
    for title in ("Processor", "Memory", "Disk", "Power", "Energy so far"):
        assert title in shown
    assert "GPU load" not in shown
    live = signed_in(vera).get(f"{address}live/", {"machine": ""}).json()
    assert len(live["series"]["system/watts"]["steps"]) == 1
    assert live["series"]["system/watts"]["steps"][0] > 1e12  # milliseconds
    later = signed_in(vera).get(f"{address}live/", {"machine": str(live["machine"])}).json()
    assert later["series"]["system/watts"]["steps"] == []
    plain = signed_in(vera).get(f"{address}live/").json()
    assert not any(name.startswith("system/") for name in plain["series"])
