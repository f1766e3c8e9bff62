"""A training that hangs is noticed by itself; one that is slow is let be."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from django.conf import LazySettings

from projects.models import DatasetVersion, ModelVersion, Project
from tests.training.conftest import launch
from tests.training.test_execute import (
    LONG,
    child_of,
    execute,
    over,
    until,
)
from training.engine.teacher_outputs import alone
from training.models import Run, Worker
from training.services import logs
from training.worker import child, claims, deaths, gpus, registration, stalls
from training.worker.vitals import Tree

LISTENS = (
    "import faulthandler, signal, sys, threading, time; faulthandler.register(signal.SIGUSR1)\n"
)
DEADLOCK = (
    LISTENS + "def wait_for_nobody(): lock = threading.Lock(); lock.acquire(); lock.acquire()\n"
)
LIMIT = 0.5  # seconds

Begun = Callable[[str], tuple[child.Child, stalls.Watch]]


@pytest.fixture
def begun(tmp_path: Path) -> Iterator[Begun]:
    """Starts a script as a training's process, watched with a short limit."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(script: str) -> tuple[child.Child, stalls.Watch]:
        console = tmp_path / "console-1.log"
        with console.open("ab") as out:
            process = subprocess.Popen(
                [sys.executable, "-u", "-c", script + "\n"],
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        started.append(process)
        said = (tmp_path / "journal.jsonl", console)
        return child.Child(process, console), stalls.Watch(said, Tree(process.pid), limit=LIMIT)

    yield begin
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # and what it has begun itself
        process.wait()


def looked(watch: stalls.Watch, seconds: float) -> str:
    """What the watch says at last, looking for so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if how := watch.look():
            return how
        time.sleep(0.02)
    return ""


def test_one_that_waits_for_what_never_comes_hangs_and_says_where(begun: Begun) -> None:
    process, watch = begun(DEADLOCK + "print('begins'); wait_for_nobody()")
    how = looked(watch, 20)
    assert how.endswith("it told nothing, printed nothing and did nothing")
    process.end_hung(how)
    assert process.poll() == -signal.SIGKILL
    said = process.said_last()
    assert f"It hangs: {how}. Where each of its threads stands:" in said
    assert "in wait_for_nobody" in said


def test_one_that_is_frozen_is_ended_without_a_word(
    begun: Begun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "SAYING", 0.3)
    process, watch = begun(LISTENS + "print('begins'); time.sleep(60)")
    assert looked(watch, 20)
    process.process.send_signal(signal.SIGSTOP)
    process.end_hung("long")
    assert process.poll() == -signal.SIGKILL
    assert "It does not say" in process.said_last()


@pytest.mark.parametrize(
    "script",
    [
        "import time\nwhile True: print('.', end=''); time.sleep(0.1)",
        "while True: pass",
    ],
)
def test_one_that_says_or_does_something_does_not(begun: Begun, script: str) -> None:
    _, watch = begun(script)
    assert not looked(watch, 4 * LIMIT)


def test_one_that_writes_to_a_disk_does_not(begun: Begun, tmp_path: Path) -> None:
    """A slow one leaves the processor nothing to do."""
    file = tmp_path / "file"
    before = psutil.Process().io_counters().write_bytes
    file.write_bytes(bytes(4 << 20))
    if psutil.Process().io_counters().write_bytes == before:
        pytest.skip("here is no disk that counts")
    _, watch = begun(
        f"import time\nfile = open({str(file)!r}, 'wb')\n"
        "while True: file.write(bytes(2 << 20)); file.flush(); time.sleep(0.2)"
    )
    assert not looked(watch, 4 * LIMIT)


def test_what_works_in_a_process_of_its_own_is_no_hang(begun: Begun) -> None:
    busy = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'while True: pass'])"
    _, watch = begun(busy)
    assert not looked(watch, 4 * LIMIT)


def test_one_that_is_busy_for_ever_without_a_word_hangs_in_the_end(
    begun: Begun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stalls, "BUSY", 4)
    _, watch = begun("while True: pass")
    how = looked(watch, 3 * stalls.BUSY * LIMIT)
    assert how.endswith("it was busy and told and printed nothing")
    assert watch._silent >= stalls.BUSY * LIMIT


def test_one_whose_card_is_busy_does_not(begun: Begun, cards: Path) -> None:
    """A kernel of minutes may leave the processor nothing to do."""
    _, watch = begun("import time; time.sleep(60)")
    watch.cards = gpus.read()[:1]
    assert not looked(watch, 4 * LIMIT)
    watch.cards = gpus.read()[1:]  # the idle one
    assert looked(watch, 20)


def test_time_that_this_process_has_not_seen_pass_does_not_count(begun: Begun) -> None:
    _, watch = begun("import time; time.sleep(60)")
    looked(watch, 0.1)
    watch._at -= 3600  # the whole machine was frozen
    assert watch.look() == ""


def test_nought_turns_it_off(begun: Begun) -> None:
    _, watch = begun("import time; time.sleep(60)")
    watch.limit = 0
    assert not looked(watch, 2 * LIMIT)


def test_one_that_waits_for_anothers_teacher_prints(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.engine.teacher_outputs.STILL_HERE", 0.0)
    lock = tmp_path / "lock"
    held, free = threading.Event(), threading.Event()

    def hold() -> None:
        with alone(lock, lambda: False):
            held.set()
            free.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(20)
    threading.Timer(1.0, free.set).start()
    with alone(lock, lambda: False):
        holder.join()
    said = capfd.readouterr().out
    assert said.startswith("Another run asks the teacher the same; this one waits for it:\n..")
    assert said.endswith(" done\n")


@pytest.mark.django_db(transaction=True)
def test_three_hangs_at_one_step_are_the_end(
    held: claims.Held, worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "SAYING", 0.1)
    console = tmp_path / "console-1.log"
    console.touch()
    for _ in range(3):
        process = subprocess.Popen(["sleep", "60"], start_new_session=True)
        gone = child.Child(process, console)
        gone.end_hung("for 2 h it told nothing")
        Run.objects.update(step=40)
        found = claims.Held(Run.objects.get(), Run.objects.get().attempt)
        deaths.settle(found, gone, process.wait(), deaths.oom_kills())
        Run.objects.update(retry_at=None)
        claims.claim(held.run.pk, worker)
    run = Run.objects.get()
    assert (run.status, run.times_lost) == ("failed", 3)
    assert run.error is not None
    assert (run.error["code"], run.error["cause"]) == ("hung", "hung")
    assert "It hung or died 3 times in a row at step 40" in run.error["detail"]
    assert "out of memory" not in run.error["detail"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("worker")
def test_a_run_that_hangs_is_ended_says_where_it_stood_and_goes_back_to_the_queue(
    project: Project,
    dataset: DatasetVersion,
    student: ModelVersion,
    settings: LazySettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(child, "SAYING", 0.5)
    settings.DISTILLHUB_STALL_SECONDS = 3
    run = launch(project, name="hangs", training=LONG)
    thread = execute(run)
    until(run, lambda run: run.step > 30, thread=thread)
    process = child_of(run)
    process.send_signal(signal.SIGUSR1)  # it says where it stands, and goes on
    reached = run.step
    until(run, lambda run: run.step > reached + 30, thread=thread)
    process.send_signal(signal.SIGSTOP)
    over(thread)
    assert not psutil.pid_exists(process.pid)
    run.refresh_from_db()
    assert (run.status, run.times_lost, run.attempt) == ("queued", 1, 1)
    told = run.events.get(kind="lost").sentence
    assert told.startswith(f"The training hung at step {run.step} and was ended: for ")
    assert told.endswith("It goes on from its newest checkpoint, in 2 s or later.")
    said = [line["text"] for line in logs.read(run=run)["lines"]]
    assert any("most recent call first" in line for line in said)
    assert any("loop.py" in line for line in said)
    assert any(line.startswith("It hangs: for ") for line in said)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("worker")
def test_of_a_run_of_two_processes_each_that_can_says_where_it_stands(
    project: Project,
    dataset: DatasetVersion,
    student: ModelVersion,
    settings: LazySettings,
    cards: Path,
) -> None:
    """One is frozen, and the other waits for what it has to add."""
    settings.DISTILLHUB_STALL_SECONDS = 4
    cards.write_text(cards.read_text().replace(", 30, 41", ", 0, 41"))  # no card is busy
    registration.start(capacity=1)
    run = launch(project, training=LONG, resources={"queue": "default", "gpus": 2})
    thread = execute(run)
    until(run, lambda run: run.step > 5, thread=thread)
    launcher = child_of(run)
    ranks = [one for one in launcher.children(recursive=True) if one.environ().get("RANK") == "1"]
    ranks[0].send_signal(signal.SIGSTOP)
    over(thread)
    run.refresh_from_db()
    assert (run.status, run.times_lost) == ("queued", 1)
    assert "hung at step" in run.events.get(kind="lost").sentence
    said = [line["text"] for line in logs.read(run=run)["lines"]]
    assert any("loop.py" in line for line in said)  # the one that waits
    assert psutil.wait_procs([launcher, *ranks], timeout=20)[1] == []
