"""A run's life without a training: claims, fences, recording, endings, the reaper. Real rows, real
journals, real threads; no child process trains here (test_execute.py has those)."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone

from distillhub.lib.errors import Conflict
from projects.models import ModelVersion, Project, User
from tests import make
from training.models import MetricSeries, Run, Worker
from training.services import logs, metrics, runs
from training.worker import (
    child,
    claims,
    deaths,
    folders,
    journal,
    outcomes,
    reaper,
    record,
    registration,
    waiting,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def machine() -> Iterator[Worker]:
    yield registration.start(capacity=1)
    registration.stop()
    registration.stopping.clear()


@pytest.fixture
def held(project: Project, machine: Worker) -> claims.Held:
    found = claims.claim(make.run(project).pk, machine)
    assert found is not None
    return found


def broker_queue() -> Path:
    """The folder that holds a file for every message."""
    return Path(str(settings.CELERY_BROKER_TRANSPORT_OPTIONS["data_folder_out"]))


def write(folder: Path, *events: dict[str, Any], torn: str = "") -> Path:
    """Append events to a job folder's journal, as the engine does."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "journal.jsonl"
    with path.open("a") as file:
        for event in events:
            file.write(json.dumps({"seq": 1, "at": 1000.0, **event}) + "\n")
        file.write(torn)
    return path


def measured(step: int, **values: Any) -> dict[str, Any]:
    return {"type": "measured", "step": step, "epoch": 0.1, "values": values}


def steps_of(run: Run, name: str) -> list[int]:
    steps: list[int] = metrics.read(run=run, max_points=20_000)["series"][name]["steps"]
    return steps


class TestClaim:
    def test_of_many_at_once_exactly_one_claims(self, project: Project, machine: Worker) -> None:
        run = make.run(project)
        got: list[Any] = []

        def claim() -> None:
            try:
                got.append(claims.claim(run.pk, machine))
            finally:
                connection.close()

        threads = [threading.Thread(target=claim) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(got) == 8
        assert sum(one is not None for one in got) == 1
        run.refresh_from_db()
        assert (run.status, run.attempt) == ("starting", 1)

    def test_the_lease_is_the_databases_time(self, held: claims.Held) -> None:
        run = Run.objects.get()
        assert run.lease_until is not None
        left = (run.lease_until - timezone.now()).total_seconds()
        assert 40 < left < 46

    @pytest.mark.parametrize("status", ["waiting", "training", "finished", "cancelled", "failed"])
    def test_only_a_queued_run_is_claimed(
        self, project: Project, machine: Worker, status: str
    ) -> None:
        assert claims.claim(make.run(project, status=status).pk, machine) is None

    def test_a_run_that_rests_or_waits_in_another_queue_is_left(
        self, project: Project, machine: Worker
    ) -> None:
        make.run(project, retry_at=timezone.now() + timedelta(seconds=30))
        make.run(project, queue="gpu")
        assert claims.claim_next(machine) is None
        oldest = make.run(project, queued_at=timezone.now() - timedelta(hours=1))
        make.run(project)
        found = claims.claim_next(machine)
        assert found is not None
        assert found.run.pk == oldest.pk

    def test_an_older_attempt_can_write_nothing(
        self, held: claims.Held, machine: Worker, tmp_path: Path
    ) -> None:
        Run.objects.update(status="queued")
        again = claims.claim(held.run.pk, machine)
        assert again is not None
        write(tmp_path, measured(1, loss=0.5))
        batch = journal.read(tmp_path / "journal.jsonl", 0)
        for attempt in (
            lambda: held.write(step=99),
            lambda: held.move("training"),
            lambda: record.record(held, tmp_path, batch),
            lambda: outcomes.finish(held, tmp_path, {}, 5),
            lambda: outcomes.fail(held, code="x", detail="x"),
            lambda: outcomes.cancel(held),
        ):
            with pytest.raises(claims.Fenced):
                attempt()
        run = Run.objects.get()
        assert (run.status, run.step, run.journal_offset) == ("starting", 0, 0)
        assert not MetricSeries.objects.exists()

    def test_the_heartbeat_renews_only_what_this_process_holds(
        self, held: claims.Held, machine: Worker
    ) -> None:
        past = timezone.now() - timedelta(seconds=5)
        Run.objects.update(lease_until=past)
        registration.beat(machine.pk)
        assert Run.objects.get().lease_until == past
        with registration.kept(held):
            registration.beat(machine.pk)
        assert Run.objects.get().lease_until > timezone.now()  # type: ignore[operator]


class TestRecord:
    def test_a_journal_becomes_rows(self, held: claims.Held, tmp_path: Path) -> None:
        path = write(
            tmp_path,
            {"type": "stage", "name": "training"},
            measured(1, **{"train/loss": 0.5, "val/kl": "NaN"}),
            {"type": "progress", "step": 1, "steps": 10, "fraction": 0.1, "eta_seconds": 9.5},
            {"type": "logged", "level": "info", "text": "hello\x00 there"},
            torn='{"seq": 9, "type": "meas',
        )
        batch = journal.read(path, 0)
        record.record(held, tmp_path, batch)
        run = Run.objects.get()
        assert (run.status, run.stage) == ("training", "training")
        assert (run.step, run.steps, run.fraction, run.eta_seconds) == (1, 10, 0.1, 9.5)
        assert run.metrics == {"train/loss": 0.5, "val/kl": "NaN"}
        assert run.journal_offset == batch.offset < path.stat().st_size
        assert [line["text"] for line in logs.read(run=run)["lines"]] == [
            "— training",
            "hello� there",
        ]

    def test_progress_does_not_fall_back_while_a_resumed_attempt_prepares(
        self, held: claims.Held, tmp_path: Path
    ) -> None:
        path = write(
            tmp_path,
            {"type": "progress", "step": 8, "steps": 10, "fraction": 0.8, "eta_seconds": 2.0},
        )
        batch = journal.read(path, 0)
        record.record(held, tmp_path, batch)
        write(
            tmp_path,
            {"type": "resumed", "step": 6},
            {"type": "progress", "step": 0, "steps": 0, "fraction": 0.0, "eta_seconds": None},
        )
        record.record(held, tmp_path, journal.read(path, batch.offset))
        run = Run.objects.get()
        assert (run.step, run.steps, run.fraction, run.eta_seconds) == (6, 10, 0.8, None)

    def test_a_batch_recorded_twice_changes_nothing(
        self, held: claims.Held, tmp_path: Path
    ) -> None:
        path = write(tmp_path, *(measured(step, loss=step / 2) for step in range(1, 50)))
        batch = journal.read(path, 0)
        record.record(held, tmp_path, batch)
        before = metrics.read(run=held.run)
        record.record(held, tmp_path, batch)
        assert metrics.read(run=held.run) == before

    def test_going_on_from_a_checkpoint_leaves_every_step_once(
        self, held: claims.Held, tmp_path: Path
    ) -> None:
        path = write(
            tmp_path,
            *(measured(step, loss=1.0) for step in range(1, 31)),
            {"type": "resumed", "step": 20},
            *(measured(step, loss=2.0) for step in range(21, 41)),
        )
        record.record(held, tmp_path, journal.read(path, 0))
        assert steps_of(held.run, "loss") == list(range(1, 41))
        values = metrics.read(run=held.run)["series"]["loss"]["values"]
        assert values == [1.0] * 20 + [2.0] * 20

    @pytest.mark.parametrize(
        "line",
        [
            "not json\n",
            "[1, 2]\n",
            '{"type": 5}\n',
            '{"type": "measured", "step": "NaN", "values": {"a": "many"}}\n',
            '{"type": "measured", "step": 1e400, "values": 3}\n',
            '{"type": "progress", "step": null, "fraction": 7}\n',
            '{"type": "saved", "kind": "model", "path": "../../../etc/passwd"}\n',
            '{"type": "saved", "kind": "model", "path": "/etc/passwd"}\n',
            '{"type": "unheard"}\n',
        ],
    )
    def test_an_odd_line_never_stops_a_training(
        self, held: claims.Held, tmp_path: Path, line: str
    ) -> None:
        path = write(tmp_path, torn=line)
        write(tmp_path, measured(3, loss=0.25))
        record.record(held, tmp_path, journal.read(path, 0))
        run = Run.objects.get()
        assert run.metrics["loss"] == 0.25
        assert run.journal_offset == path.stat().st_size
        assert not run.artifacts.exists()

    def test_a_long_journal_is_worked_off_in_pieces(self, tmp_path: Path) -> None:
        path = write(tmp_path, *({"type": "logged", "text": "x" * 5000} for _ in range(500)))
        batch = journal.read(path, 0)
        assert 0 < batch.offset < path.stat().st_size
        seen = len(batch.events)
        while batch.offset < path.stat().st_size:
            batch = journal.read(path, batch.offset)
            seen += len(batch.events)
        assert seen == 500

    def test_an_ending_is_kept_apart_from_what_was_told_before_it(self, tmp_path: Path) -> None:
        path = write(
            tmp_path, measured(1, a=1), {"type": "finished", "summary": {}}, measured(2, a=2)
        )
        batch = journal.read(path, 0)
        assert [event["type"] for event in batch.events] == ["measured"]
        assert batch.last is not None
        assert batch.last["type"] == "finished"
        assert batch.offset < batch.last_offset
        assert journal.read(path, batch.last_offset).events[0]["step"] == 2


class TestEndings:
    def test_whoever_comes_first_of_cancellation_and_completion_wins(
        self, project: Project, machine: Worker, alice: User, tmp_path: Path
    ) -> None:
        first, second = make.run(project, control_of=make.run(project)), make.run(project)
        held = claims.claim(first.pk, machine)
        assert held is not None
        runs.cancel(run=first, by=alice)
        assert first.status == "cancelling"
        outcomes.finish(held, tmp_path, {"steps": 3}, 10)
        first.refresh_from_db()
        assert (first.status, first.summary) == ("cancelled", {})

        Run.objects.filter(pk=second.pk).update(control_of=first.pk)
        held = claims.claim(second.pk, machine)
        assert held is not None
        outcomes.finish(held, tmp_path, {"steps": 3, "ece": float("nan")}, 10)
        with pytest.raises(Conflict):
            runs.cancel(run=second, by=alice)
        second.refresh_from_db()
        assert (second.status, second.summary) == ("finished", {"steps": 3, "ece": "NaN"})

    @pytest.mark.parametrize(
        ("status", "then"),
        [
            ("waiting", "cancelled"),
            ("queued", "cancelled"),
            ("paused", "cancelled"),
            ("starting", "cancelling"),
            ("training", "cancelling"),
            ("evaluating", "cancelling"),
            ("cancelling", "cancelling"),
            ("cancelled", "cancelled"),
        ],
    )
    def test_a_run_can_be_cancelled_at_every_moment(
        self, project: Project, alice: User, status: str, then: str
    ) -> None:
        run = make.run(project, status=status)
        assert runs.cancel(run=run, by=alice).status == then
        run.refresh_from_db()
        assert run.status == then
        assert (run.finished_at is not None) == (then == "cancelled" and status != "cancelled")

    def test_a_run_given_back_counts_no_loss(self, held: claims.Held) -> None:
        outcomes.give_back(held, "The worker was stopped.", 7)
        run = Run.objects.get()
        assert (run.status, run.worker, run.lease_until) == ("queued", None, None)
        assert (run.times_lost, run.retry_at, run.journal_offset) == (0, None, 7)

    def test_runs_that_wait_for_a_failed_run_fail_and_can_be_resumed_after_it(
        self, project: Project, machine: Worker, alice: User
    ) -> None:
        upstream = make.run(project)
        middle, last = make.run(project, status="waiting"), make.run(project, status="waiting")
        for run, awaited in ((middle, upstream), (last, middle)):
            run.config["student"] = f"run/{awaited.number}"
            run.waits_for.add(awaited)
            run.save()
        held = claims.claim(upstream.pk, machine)
        assert held is not None
        outcomes.fail(held, code="diverged", detail="The loss is not a number.")
        for run in (middle, last):
            run.refresh_from_db()
            assert run.status == "failed"
            assert run.error is not None
            assert run.error["code"] == "upstream_failed"
        with pytest.raises(Conflict, match="Resume run 1 first"):
            runs.resume(run=middle, by=alice)
        upstream.refresh_from_db()
        runs.resume(run=upstream, by=alice)
        assert upstream.status == "queued"
        assert runs.resume(run=middle, by=alice).status == "waiting"

    def test_a_waiting_run_is_released_with_its_reference_pinned(self, project: Project) -> None:
        made = make.model_version(project, "big", role="teacher")
        upstream = make.run(project, status="finished", output=made)
        run = make.run(project, status="waiting")
        run.config["teachers"] = [{"model": f"run/{upstream.number}", "weight": 0.5}]
        run.save()
        run.waits_for.add(upstream)
        assert waiting.release(run)
        run.refresh_from_db()
        assert run.status == "queued"
        assert run.config["teachers"] == [{"model": "big@1", "weight": 0.5}]
        assert list(run.teachers.all()) == [made]


class TestReaper:
    def test_a_lost_run_goes_back_with_a_growing_pause_and_fails_after_the_fifth(
        self, held: claims.Held, machine: Worker
    ) -> None:
        pauses = []
        for loss in range(1, 7):
            Run.objects.update(step=loss, lease_until=timezone.now() - timedelta(seconds=1))
            reaper.reap()
            run = Run.objects.get()
            if run.retry_at is None:
                break
            pauses.append((run.retry_at - timezone.now()).total_seconds())
            Run.objects.update(retry_at=None)
            assert claims.claim(run.pk, machine) is not None
        assert [round(pause) for pause in pauses] == [2, 4, 8, 16, 32]
        assert (run.status, run.times_lost) == ("failed", 6)
        assert run.error is not None
        assert run.error["code"] == "lost"

    def test_three_deaths_at_one_step_are_poison(self, held: claims.Held, machine: Worker) -> None:
        for _ in range(3):
            Run.objects.update(step=40, lease_until=timezone.now() - timedelta(seconds=1))
            reaper.reap()
            Run.objects.update(retry_at=None)
            claims.claim(held.run.pk, machine)
        run = Run.objects.get()
        assert run.status == "failed"
        assert run.error is not None
        assert "three" in run.error["detail"] or "3 times" in run.error["detail"]
        assert "out of memory" in run.error["detail"]

    def test_a_lease_that_holds_is_left_alone(self, held: claims.Held) -> None:
        reaper.reap()
        assert Run.objects.get().status == "starting"

    def test_a_cancelled_run_whose_worker_died_is_cancelled(
        self, held: claims.Held, alice: User
    ) -> None:
        runs.cancel(run=held.run, by=alice)
        Run.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
        reaper.reap()
        assert Run.objects.get().status == "cancelled"

    def test_a_queued_run_whose_message_was_lost_is_called_again(self, project: Project) -> None:
        queue = broker_queue()
        before = len(list(queue.iterdir()))
        make.run(project)  # just queued: its message may still be on its way
        make.run(project, queued_at=timezone.now() - timedelta(minutes=1))
        make.run(
            project,
            queued_at=timezone.now() - timedelta(minutes=1),
            retry_at=timezone.now() + timedelta(minutes=1),
        )
        reaper.reap()
        assert len(list(queue.iterdir())) == before + 1

    def test_a_waiting_run_that_nobody_told_is_settled(self, project: Project) -> None:
        upstream = make.run(project, status="failed")
        run = make.run(project, status="waiting")
        run.waits_for.add(upstream)
        reaper.reap()
        run.refresh_from_db()
        assert run.status == "failed"

    def test_at_start_the_runs_of_a_dead_worker_on_this_machine_are_free_at_once(
        self, held: claims.Held, machine: Worker, project: Project
    ) -> None:
        gone = subprocess.Popen(["true"])
        gone.wait()
        dead = Worker.objects.create(
            name="dead", host=machine.host, pid=gone.pid, seen_at=timezone.now()
        )
        far = Worker.objects.create(
            name="far", host="elsewhere", pid=gone.pid, seen_at=timezone.now()
        )
        lease = timezone.now() + timedelta(seconds=40)
        lost = make.run(project, status="training", worker=dead, attempt=1, lease_until=lease)
        there = make.run(project, status="training", worker=far, attempt=1, lease_until=lease)
        sleeper = subprocess.Popen(["sleep", "60"], start_new_session=True)
        folder = folders.of(lost.pk)
        folder.mkdir(parents=True)
        started = child._started(sleeper.pid)
        folders.write_json(folder / "child.json", {"pid": sleeper.pid, "started": started})
        with registration.kept(held):
            reaper.at_start()
        sleeper.wait(5)
        for run in (lost, there, held.run):
            run.refresh_from_db()
        assert (lost.status, there.status, held.run.status) == ("queued", "training", "starting")


class TestChildren:
    def test_a_childs_environment_holds_no_secret(self, monkeypatch: pytest.MonkeyPatch) -> None:
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

    def test_a_process_that_took_over_an_old_pid_is_not_killed(self, tmp_path: Path) -> None:
        sleeper = subprocess.Popen(["sleep", "60"], start_new_session=True)
        noted = {"pid": sleeper.pid, "started": time.time() - 5000}
        folders.write_json(tmp_path / "child.json", noted)
        assert child.end_orphan(tmp_path) is False
        assert sleeper.poll() is None
        folders.write_json(tmp_path / "child.json", {"pid": "x"})
        assert child.end_orphan(tmp_path) is False
        sleeper.kill()
        sleeper.wait()

    def test_the_guard_ends_the_child_with_its_parent(self, tmp_path: Path) -> None:
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
        self, held: claims.Held, tmp_path: Path, script: str, code: str, said: str
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

    def test_a_killed_process_goes_on_from_its_checkpoint(
        self, held: claims.Held, tmp_path: Path
    ) -> None:
        console = tmp_path / "console-1.log"
        console.touch()
        process = subprocess.Popen(["sleep", "60"])
        os.kill(process.pid, signal.SIGKILL)
        deaths.settle(held, child.Child(process, console), process.wait(), deaths.oom_kills())
        run = Run.objects.get()
        assert (run.status, run.times_lost) == ("queued", 1)
        assert "killed" in run.events.order_by("-pk")[0].sentence


def test_numbers_are_given_once_under_parallel_launches(project: Project, alice: User) -> None:
    make.dataset_version(project, "tickets")
    make.model_version(project, "tiny")
    asked = {"task": "text-classification", "dataset": "tickets", "student": "tiny"}
    failures: list[BaseException] = []

    def launch() -> None:
        try:
            for _ in range(3):
                runs.launch(project=project, configuration=asked, by=alice)
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=launch) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert sorted(Run.objects.values_list("number", flat=True)) == list(range(1, 16))


def test_a_reference_to_a_run_waits_for_it(project: Project, alice: User) -> None:
    make.dataset_version(project, "tickets")
    make.model_version(project, "tiny")
    asked: dict[str, Any] = {"task": "text-classification", "dataset": "tickets", "student": "tiny"}
    first = runs.launch(project=project, configuration=asked, by=alice)
    second = runs.launch(project=project, configuration=asked | {"teachers": ["run/1"]}, by=alice)
    assert (first.status, second.status) == ("queued", "waiting")
    assert second.config["teachers"] == ["run/1"]
    assert list(second.waits_for.all()) == [first]
    control = second.controls.get()
    assert (control.status, control.number) == ("queued", 3)


def test_launching_works_while_the_broker_is_away(project: Project, alice: User) -> None:
    make.dataset_version(project, "tickets")
    make.model_version(project, "tiny")
    asked = {"task": "text-classification", "dataset": "tickets", "student": "tiny"}
    queue = broker_queue()
    away = queue.rename(queue.with_name("away"))
    try:
        run = runs.launch(project=project, configuration=asked, by=alice)
        reaper.reap()
    finally:
        away.rename(queue)
    assert run.status == "queued"


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"


def test_inspected_versions_are_never_left_waiting_for_a_lost_message(project: Project) -> None:
    queue = broker_queue()
    version = make.model_version(project, status=ModelVersion.Status.INSPECTING)
    before = len(list(queue.iterdir()))
    reaper.reap()
    assert len(list(queue.iterdir())) == before
    ModelVersion.objects.filter(pk=version.pk).update(
        created_at=timezone.now() - timedelta(minutes=5)
    )
    reaper.reap()
    assert len(list(queue.iterdir())) == before + 1


def test_a_message_that_is_no_message_does_not_end_a_worker() -> None:
    from celery import current_app
    from kombu.exceptions import KombuError

    name = "garbage-test"
    for content in (b"", b"\x80\x04pickle", b'{"half'):
        (broker_queue() / f"1_{len(content)}.{name}.msg").write_bytes(content)
    with current_app.connection_for_read() as connected:
        simple = connected.SimpleQueue(name)
        for _ in range(3):
            with pytest.raises((simple.Empty, KombuError)):
                simple.get(block=False)
        simple.put({"run_id": 1})
        assert not list(broker_queue().glob(".*"))
        assert simple.get(block=False).payload == {"run_id": 1}
        simple.close()
