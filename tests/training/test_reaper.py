"""What crashes leave is mended: leases that ran out, messages that were lost or are none."""

import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.utils import timezone

from distillhub.lib import leases
from projects.models import Project, User
from tests import make
from training.models import Run, Worker
from training.services import launching, runs
from training.worker import child, claims, folders, machine, reaper

pytestmark = pytest.mark.django_db(transaction=True)


SLACK = 0.9  # seconds


def broker_queue() -> Path:
    """The folder that holds a file for every message."""
    return Path(str(settings.CELERY_BROKER_TRANSPORT_OPTIONS["data_folder_out"]))


def test_a_lost_run_goes_back_with_a_growing_pause_and_fails_after_the_fifth(
    held: claims.Held, worker: Worker
) -> None:
    for loss, pause in enumerate([2, 4, 8, 16, 32, None], 1):
        before = timezone.now()
        Run.objects.update(step=loss, lease_until=before - timedelta(seconds=1))
        reaper.reap()
        run = Run.objects.get()
        assert (run.retry_at is None) == (pause is None)
        if run.retry_at is None or pause is None:
            break
        # The moments before and after it, which lie apart on a busy machine.
        longest = (run.retry_at - before).total_seconds()
        shortest = (run.retry_at - timezone.now()).total_seconds()
        assert shortest - SLACK <= pause <= longest + SLACK
        Run.objects.update(retry_at=None)
        assert claims.claim(run.pk, worker) is not None
    assert (run.status, run.times_lost) == ("failed", 6)
    assert run.error is not None
    assert run.error["code"] == "lost"


def test_three_deaths_at_one_step_are_poison(held: claims.Held, worker: Worker) -> None:
    for _ in range(3):
        Run.objects.update(step=40, lease_until=timezone.now() - timedelta(seconds=1))
        reaper.reap()
        Run.objects.update(retry_at=None)
        claims.claim(held.run.pk, worker)
    run = Run.objects.get()
    assert run.status == "failed"
    assert run.error is not None
    assert "three" in run.error["detail"] or "3 times" in run.error["detail"]
    assert "out of memory" in run.error["detail"]


def test_a_lease_that_holds_is_left_alone(held: claims.Held) -> None:
    reaper.reap()
    assert Run.objects.get().status == "starting"


def test_a_cancelled_run_whose_worker_died_is_cancelled(held: claims.Held, alice: User) -> None:
    runs.cancel(run=held.run, by=alice)
    Run.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    reaper.reap()
    assert Run.objects.get().status == "cancelled"


def test_a_queued_run_whose_message_was_lost_is_called_again(
    project: Project, worker: Worker
) -> None:
    queue = broker_queue()
    before = len(list(queue.iterdir()))
    for _ in range(3):  # a queue that nobody serves fills no broker
        make.run(project, queue="gpu", queued_at=timezone.now() - timedelta(minutes=1))
    make.run(project)  # just queued: its message may still be on its way
    make.run(project, queued_at=timezone.now() - timedelta(minutes=1))
    make.run(
        project,
        queued_at=timezone.now() - timedelta(minutes=1),
        retry_at=timezone.now() + timedelta(minutes=1),
    )
    reaper.reap()
    assert len(list(queue.iterdir())) == before + 1


def test_a_waiting_run_that_nobody_told_is_settled(project: Project) -> None:
    upstream = make.run(project, status="failed")
    run = make.run(project, status="waiting")
    run.waits_for.add(upstream)
    reaper.reap()
    run.refresh_from_db()
    assert run.status == "failed"


def test_at_start_the_runs_of_a_dead_worker_on_this_machine_are_free_at_once(
    held: claims.Held, worker: Worker, project: Project
) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    dead = Worker.objects.create(
        name="dead", host=worker.host, pid=gone.pid, seen_at=timezone.now()
    )
    far = Worker.objects.create(name="far", host="elsewhere", pid=gone.pid, seen_at=timezone.now())
    lease = timezone.now() + timedelta(seconds=40)
    lost = make.run(project, status="training", worker=dead, attempt=1, lease_until=lease)
    there = make.run(project, status="training", worker=far, attempt=1, lease_until=lease)
    sleeper = subprocess.Popen(["sleep", "60"], start_new_session=True)
    folder = folders.of(lost.pk)
    folder.mkdir(parents=True)
    started = child._started(sleeper.pid)
    folders.write_json(folder / "child.json", {"pid": sleeper.pid, "started": started})
    with leases.kept(held):
        reaper.at_start()
    sleeper.wait(5)
    for run in (lost, there, held.run):
        run.refresh_from_db()
    assert (lost.status, there.status, held.run.status) == ("queued", "training", "starting")


def test_launching_works_while_the_broker_is_away(project: Project, alice: User) -> None:
    make.dataset_version(project, "tickets")
    make.model_version(project, "tiny")
    asked = {"task": "text-classification", "dataset": "tickets", "student": "tiny"}
    queue = broker_queue()
    away = queue.rename(queue.with_name("away"))
    try:
        run = launching.launch(project=project, configuration=asked, by=alice)
        reaper.reap()
    finally:
        away.rename(queue)
    assert run.status == "queued"


def test_a_message_that_is_no_message_does_not_end_a_worker() -> None:
    from celery import current_app
    from kombu.exceptions import KombuError

    name = "garbage-test"
    garbage = (b"", b"\x80\x04pickle", b'{"half', b"5", b"{}", b'{"properties": {}}')
    for content in garbage:
        (broker_queue() / f"1_{len(content)}.{name}.msg").write_bytes(content)
    with current_app.connection_for_read() as connected:
        simple = connected.SimpleQueue(name)
        for _ in garbage:
            with pytest.raises((simple.Empty, KombuError)):
                simple.get(block=False)
        simple.put({"run_id": 1})
        assert not list(broker_queue().glob(".*"))
        assert simple.get(block=False).payload == {"run_id": 1}
        simple.close()


def test_a_lock_is_one_holders_and_goes_with_it(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "exports.lock"):
        with machine.alone(place) as first, machine.alone(place) as second:
            assert (first, second) == (True, False)
        with machine.alone(place) as again:
            assert again
    gone = tmp_path / "export-1-1"
    with pytest.raises(FileNotFoundError), machine.alone(gone):
        pass
    assert not gone.exists()
