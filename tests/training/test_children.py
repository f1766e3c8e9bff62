"""Child processes: what they are told, how they end with their worker, what their death means."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from training.models import Run
from training.worker import child, claims, deaths, folders, runs

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_childs_environment_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "SECRET_KEY",
        "DATABASE_URL",
        "REDIS_URL",
        "AWS_SECRET_ACCESS_KEY",
        "HF_TOKEN",
    ):
        monkeypatch.setenv(name, "canary")
    found = child.environment(threads=2)
    assert "canary" not in found.values()
    assert found["OMP_NUM_THREADS"] == "2"


def test_a_process_that_took_over_an_old_pid_is_not_killed(tmp_path: Path) -> None:
    sleeper = subprocess.Popen(["sleep", "60"], start_new_session=True)
    noted = {"pid": sleeper.pid, "started": time.time() - 5000}
    folders.write_json(tmp_path / "child.json", noted)
    assert child.end_orphan(tmp_path) is False
    assert sleeper.poll() is None
    folders.write_json(tmp_path / "child.json", {"pid": "x"})
    assert child.end_orphan(tmp_path) is False
    sleeper.kill()
    sleeper.wait()


def test_what_a_gone_child_left_waits_for_the_database_and_does_not_spin(tmp_path: Path) -> None:
    gone = child.Child(subprocess.Popen(["true"]), tmp_path / "console")
    gone.process.wait()
    began = time.monotonic()
    runs._wait(gone, 0.3)
    assert time.monotonic() - began >= 0.3


def test_the_guard_ends_the_child_with_its_parent(tmp_path: Path) -> None:
    guard = Path(child.__file__).with_name("guard.py")
    script = (
        "import os, subprocess, sys, time;"
        f"p = subprocess.Popen([sys.executable, '-I', '-S', {str(guard)!r}, str(os.getpid()),"
        " '0', '--', '/bin/sleep', '60']);"
        "print(p.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    until = time.monotonic() + 10
    while "sleep" not in Path(f"/proc/{pid}/cmdline").read_text():
        assert time.monotonic() < until
        time.sleep(0.02)
    parent.kill()
    parent.communicate()
    while Path(f"/proc/{pid}").exists() and "Z" not in _state(pid):
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("script", "code", "said"),
    [
        ("import os; os.kill(os.getpid(), 11)", "crashed", "SIGSEGV"),
        ("import sys; print('odd'); sys.exit(7)", "crashed", "status 7"),
        ("raise MemoryError", "out_of_memory", "out of memory"),
    ],
)
def test_a_process_that_dies_without_a_word_fails_its_run_with_a_reason(
    held: claims.Held, tmp_path: Path, script: str, code: str, said: str
) -> None:
    console = tmp_path / "console-1.log"
    with console.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-c", script], stdout=out, stderr=out)
    status = process.wait()
    deaths.settle(held, child.Child(process, console), status, deaths.oom_kills())
    run = Run.objects.get()
    assert run.status == "failed"
    assert run.error is not None
    assert run.error["code"] == code
    assert said in run.error["detail"]


def test_a_killed_process_goes_on_from_its_checkpoint(held: claims.Held, tmp_path: Path) -> None:
    console = tmp_path / "console-1.log"
    console.touch()
    process = subprocess.Popen(["sleep", "60"])
    os.kill(process.pid, signal.SIGKILL)
    deaths.settle(held, child.Child(process, console), process.wait(), deaths.oom_kills())
    run = Run.objects.get()
    assert (run.status, run.times_lost) == ("queued", 1)
    assert "killed" in run.events.order_by("-pk")[0].sentence


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"
