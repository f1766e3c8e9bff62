"""The laws of all that a child does in one go, whatever it is: its row owns it, one attempt of one
worker holds it, and no death of a worker loses it or tries it for ever."""

import subprocess
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from distillhub.lib import leases, storage
from projects.models import DatasetVersion, ModelVersion, Project
from tests import make
from training.models import Worker
from training.worker import child, dispatch, folders, machine, reaper, registration
from training.worker.work import MOST_LOSSES, Work

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("worker"),
    pytest.mark.parametrize("work", reaper.WORKS, ids=lambda work: work.verb),
]

Asked = Callable[..., Any]


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What workers are told: job and id. No broker carries it."""
    found: list[tuple[str, int]] = []

    def note(job: str, **ids: Any) -> bool:
        found.extend((job, one) for one in ids.values())
        return True

    monkeypatch.setattr(dispatch, "call", note)
    return found


@pytest.fixture
def files(tmp_path: Path) -> list[dict[str, Any]]:
    """Of a model that is none, in storage."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"weights")
    blob = storage.put(path)
    return [{"name": "model.safetensors", "sha256": blob.sha256, "bytes": blob.bytes}]


@pytest.fixture
def asked(
    work: Work[Any], project: Project, dataset: DatasetVersion, files: list[dict[str, Any]]
) -> Asked:
    """Makes a row that waits for a worker, of the kind that a test is about."""

    def row(**fields: Any) -> Any:
        if work.model is ModelVersion:
            fields = {"status": "inspecting", "files": files} | fields
            return make.model_version(project, **fields)
        used = fields.pop("files", files)
        version = make.model_version(project, labels=["no", "yes"], files=used)
        if work.verb == "embed":
            return make.row_map(dataset, version=version, **fields)
        if work.verb == "watch":
            return make.monitor_look(version, **fields)
        if work.verb == "questions":
            return make.teacher_question(version, **fields)
        if work.verb == "read":
            return make.run_import(project, files=used, **fields)
        if work.verb == "publish":
            return make.publication(version, **fields)
        build: Any = make.export if work.verb == "export" else make.gate
        blank = {"status": "queued", "report": None, "finished_at": None}
        return build(version, dataset, **blank | fields)

    return row


def late(work: Work[Any], row: Any) -> None:
    """The lease of a row has run out."""
    past = timezone.now() - timedelta(seconds=1)
    work.rows.filter(pk=row.pk).update(lease_until=past)


class Away:
    """The database, which is not there for so many tries to write how something ended."""

    def __init__(self, times: int) -> None:
        self.times = times

    def __call__(self, execute: Any, sql: str, *rest: Any) -> Any:
        if not self.times or not sql.startswith("UPDATE") or '"status" = ' not in sql:
            return execute(sql, *rest)
        self.times -= 1
        raise OperationalError("the connection is closed")


def lost_files() -> list[dict[str, Any]]:
    return [{"name": "model.safetensors", "sha256": "a" * 64, "bytes": 4}]


def test_of_many_at_once_exactly_one_claims(work: Work[Any], asked: Asked) -> None:
    row = asked()
    got: list[Any] = []

    def claim() -> None:
        try:
            got.append(work.claim(row.pk))
        finally:
            connection.close()

    threads = [threading.Thread(target=claim) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 6
    assert [one.attempt for one in got if one is not None] == [1]


def test_what_is_settled_or_held_is_left_alone(work: Work[Any], asked: Asked) -> None:
    lease = timezone.now() + timedelta(seconds=30)
    held = asked(status=work.model.LEASED[0], attempt=1, lease_until=lease)
    for row in (held, asked(status="ready"), asked(status="failed")):
        before = work.rows.values().get(pk=row.pk)
        work.carry_out(row.pk)
        assert work.rows.values().get(pk=row.pk) == before


def test_one_call_does_all_that_waits(work: Work[Any], asked: Asked) -> None:
    rows = [asked(files=lost_files()) for _ in range(3)]
    work.carry_out(rows[1].pk)
    for row in rows:
        row.refresh_from_db()
        assert (row.status, row.error["code"]) == ("failed", "damaged")
        assert (row.attempt, row.lease_until) == (1, None)
    assert not list(machine.home().glob(f"*{work.verb}-*"))


def test_one_that_has_a_machine_to_itself_waits_for_it(work: Work[Any], asked: Asked) -> None:
    row = asked(files=lost_files())
    with machine.alone(machine.home() / f"{work.verb}.lock") as ours:
        assert ours
        work.carry_out(row.pk)
    row.refresh_from_db()
    assert row.attempt == (0 if work.alone and work.seats == 1 else 1)


def test_the_heartbeat_keeps_it_whatever_it_does(
    work: Work[Any], asked: Asked, worker: Worker
) -> None:
    held = work.claim(asked().pk)
    assert held is not None
    late(work, held.row)
    registration.beat(worker.pk)
    assert work.rows.lost().exists()
    with leases.kept(held):
        registration.beat(worker.pk)
    assert not work.rows.lost().exists()


def test_one_whose_worker_died_is_done_by_another_but_not_for_ever(
    work: Work[Any], asked: Asked, told: list[tuple[str, int]]
) -> None:
    gone = {"status": work.model.LEASED[0], "files": lost_files()}
    gone["lease_until"] = timezone.now() - timedelta(seconds=1)
    lost = asked(attempt=1, **gone)
    poison = asked(attempt=3, times_lost=MOST_LOSSES - 1, **gone)
    reaper.reap()
    assert told == [(work.job, lost.pk), (work.job, poison.pk)]
    for row in (lost, poison):
        work.carry_out(row.pk)
        row.refresh_from_db()
    assert (lost.times_lost, lost.attempt) == (1, 2)
    assert lost.error["code"] == "damaged"  # it was tried
    assert poison.error["code"] == "lost"  # it was not
    assert "3 workers died" in poison.error["detail"]


def test_a_lost_message_is_sent_again(
    work: Work[Any], asked: Asked, told: list[tuple[str, int]]
) -> None:
    asked()  # its message may still be on its way
    old = asked()
    past = timezone.now() - timedelta(minutes=1)
    work.rows.filter(pk=old.pk).update(**{work.asked_at: past})
    reaper.reap()
    assert told == [(work.job, old.pk)]


def test_a_worker_that_leaves_puts_it_back(work: Work[Any], asked: Asked) -> None:
    row = asked()
    held = work.claim(row.pk)
    assert held is not None
    leases.stopping.set()
    work.attempt(held)
    row.refresh_from_db()
    assert (row.status, row.lease_until, row.times_lost) == (work.model.CLAIMABLE, None, 0)
    assert row in work.rows.unclaimed()


def test_a_stale_attempt_writes_nothing(work: Work[Any], asked: Asked) -> None:
    row = asked(files=lost_files())
    stale = work.claim(row.pk)
    assert stale is not None
    late(work, row)
    other = work.claim(row.pk)
    assert other is not None
    assert other.attempt == 2
    work.attempt(stale)
    row.refresh_from_db()
    assert (row.status, row.error) == (work.model.LEASED[0], None)
    assert other.mine.exists()


def test_how_it_ended_is_written_when_the_database_is_back(
    work: Work[Any], asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "AGAIN", 0.01)
    held = work.claim(asked(files=lost_files()).pk)
    assert held is not None
    with connection.execute_wrapper(Away(times=3)):
        work.attempt(held)
    held.row.refresh_from_db()
    assert (held.row.status, held.row.error["code"]) == ("failed", "damaged")
    assert (held.row.attempt, held.row.times_lost, held.row.lease_until) == (1, 0, None)


def test_how_it_ended_is_not_written_where_it_went_on_elsewhere_meanwhile(
    work: Work[Any], asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = asked(files=lost_files())
    stale = work.claim(row.pk)
    assert stale is not None

    def taken_meanwhile(seconds: float) -> bool:
        late(work, row)
        assert work.claim(row.pk) is not None
        return False

    monkeypatch.setattr(leases.stopping, "wait", taken_meanwhile)
    with connection.execute_wrapper(Away(times=1)):
        work.attempt(stale)
    row.refresh_from_db()
    assert (row.status, row.error, row.attempt) == (work.model.LEASED[0], None, 2)


def test_a_worker_that_leaves_waits_for_no_database(work: Work[Any], asked: Asked) -> None:
    held = work.claim(asked(files=lost_files()).pk)
    assert held is not None
    leases.stopping.set()
    with connection.execute_wrapper(Away(times=100)):
        work.attempt(held)
    held.row.refresh_from_db()
    assert held.mine.exists()


def test_at_a_start_what_a_dead_worker_of_this_machine_held_is_free_at_once(
    work: Work[Any], asked: Asked, told: list[tuple[str, int]]
) -> None:
    dead, alive = work.claim(asked().pk), work.claim(asked().pk)
    assert dead is not None
    assert alive is not None
    home = machine.home()
    left, used = (home / f"{work.verb}-{one.row.pk}-1" for one in (dead, alive))
    left.mkdir()
    used.mkdir()
    sleeper = subprocess.Popen(["sleep", "60"], start_new_session=True)
    started = child._started(sleeper.pid)
    folders.write_json(left / "child.json", {"pid": sleeper.pid, "started": started})
    with machine.alone(used):
        reaper.at_start()
        assert used.exists()
    sleeper.wait(5)
    assert told == [(work.job, dead.row.pk)]
    assert [one.pk for one in work.rows.lost()] == [dead.row.pk]
    assert not left.exists()
