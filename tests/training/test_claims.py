"""Who has a run: claimed once, under a lease, fenced. Real rows and threads; nothing trains."""

import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from distillhub.lib import leases
from projects.models import Project
from projects.services import projects
from tests import make
from tests.training.journals import measured, write
from training.models import MetricSeries, Run, Worker
from training.services import queue
from training.worker import claims, journal, outcomes, record, registration

pytestmark = pytest.mark.django_db(transaction=True)


def test_of_many_at_once_exactly_one_claims(project: Project, worker: Worker) -> None:
    run = make.run(project)
    got: list[Any] = []

    def claim() -> None:
        try:
            got.append(claims.claim(run.pk, worker))
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


def test_the_lease_is_the_databases_time(held: claims.Held) -> None:
    run = Run.objects.get()
    assert run.lease_until is not None
    left = (run.lease_until - timezone.now()).total_seconds()
    assert 40 < left < 46


@pytest.mark.parametrize("status", ["waiting", "training", "finished", "cancelled", "failed"])
def test_only_a_queued_run_is_claimed(project: Project, worker: Worker, status: str) -> None:
    assert claims.claim(make.run(project, status=status).pk, worker) is None


def test_a_run_that_rests_or_waits_in_another_queue_is_left(
    project: Project, worker: Worker
) -> None:
    make.run(project, retry_at=timezone.now() + timedelta(seconds=30))
    make.run(project, queue="gpu")
    assert claims.claim_next(worker) is None
    oldest = make.run(project, queued_at=timezone.now() - timedelta(hours=1))
    make.run(project)
    found = claims.claim_next(worker)
    assert found is not None
    assert found.run.pk == oldest.pk


def test_what_is_queued_in_an_archived_project_waits(project: Project, worker: Worker) -> None:
    run = make.run(project)
    projects.archive(project=project, by=project.created_by)
    assert claims.claim(run.pk, worker) is None
    assert claims.claim_next(worker) is None
    assert "archived" in queue.places([run])[run.pk].said
    projects.restore(project=project, by=project.created_by)
    assert claims.claim_next(worker) is not None


def test_a_claim_looks_at_the_status_of_the_very_row(project: Project, worker: Worker) -> None:
    """In a subquery of the UPDATE, PostgreSQL would not look again when another was faster."""
    run = make.run(project)
    with CaptureQueriesContext(connection) as asked:
        claims.claim(run.pk, worker)
    [update] = [
        one["sql"] for one in asked if one["sql"].startswith("UPDATE") and '"attempt"' in one["sql"]
    ]
    where = update.split(" WHERE ", 1)[1]
    assert '"training_run"."status" = ' in where
    assert '"training_run"."id" IN' not in where


def test_an_older_attempt_can_write_nothing(
    held: claims.Held, worker: Worker, tmp_path: Path
) -> None:
    Run.objects.update(status="queued")
    again = claims.claim(held.run.pk, worker)
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
    held: claims.Held, worker: Worker
) -> None:
    past = timezone.now() - timedelta(seconds=5)
    Run.objects.update(lease_until=past)
    registration.beat(worker.pk)
    assert Run.objects.get().lease_until == past
    with leases.kept(held):
        registration.beat(worker.pk)
    assert Run.objects.get().lease_until > timezone.now()  # type: ignore[operator]
