"""What is told of a run once it is over, also where who finished it could not tell it."""

import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import OperationalError, connection
from django.utils import timezone

from projects.models import DatasetVersion, Project
from tests import make
from tests.training.conftest import sentences
from tests.training.test_run_slices import answered
from training.models import Run
from training.worker import afterwards, reaper

LONG_AGO = timedelta(minutes=5)


@pytest.fixture
def run(dataset: DatasetVersion, project: Project, tmp_path: Path) -> Run:
    """A distillation and its control, both finished, whose worker died before it told of them."""
    rows = [one for one in sentences(300) if one["split"] == "test"]
    made = make.distillation(project)
    control = made.controls.get()
    made.events.filter(kind="compared").delete()
    both = Run.objects.filter(pk__in=[made.pk, control.pk])
    both.update(
        dataset_version=dataset, finished_at=timezone.now() - LONG_AGO, comparison=None,
    )  # fmt: skip
    ids = [one["row_id"] for one in rows]
    answered(made, tmp_path, rows, set(ids[:3]))
    answered(control, tmp_path, rows, set(ids[:20]))
    made.refresh_from_db()
    return made


def compared(run: Run) -> tuple[Any, int]:
    """Its comparison, and how often its timeline told of it."""
    run.refresh_from_db()
    return run.comparison, run.events.filter(kind="compared").count()


def test_a_verdict_that_a_dead_worker_owed_is_told_once(run: Run) -> None:
    assert compared(run) == (None, 0)
    reaper.reap()
    found, times = compared(run)
    assert (found["difference"] > 0, times) == (True, 1)
    assert not Run.objects.filter(is_told=False, status="finished").exists()
    reaper.reap()
    assert compared(run) == (found, 1)


def test_who_finished_a_run_has_a_minute_to_tell_of_it(run: Run) -> None:
    Run.objects.update(finished_at=timezone.now())
    reaper.reap()
    assert compared(run) == (None, 0)


@pytest.mark.django_db(transaction=True)
def test_with_the_database_away_it_is_a_line_of_the_log_and_told_later(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    def away(execute: Any, sql: str, *rest: Any) -> Any:
        if "training_runslice" in sql:
            raise OperationalError("terminating connection due to unexpected postmaster exit")
        return execute(sql, *rest)

    with caplog.at_level(logging.WARNING), connection.execute_wrapper(away):
        afterwards.tell(run)
    [line] = [one for one in caplog.records if "told later" in one.getMessage()]
    assert not line.exc_info
    run.refresh_from_db()
    assert not run.is_told


@pytest.mark.parametrize("is_back", [False, True])
def test_with_storage_away_it_is_told_once_it_is_back(
    run: Run, settings: LazySettings, is_back: bool
) -> None:
    """A file in the place of the folder: nothing can be read there."""
    there = Path(settings.MEDIA_ROOT)
    moved = there.rename(there.with_name("moved"))
    there.write_bytes(b"")
    afterwards.tell(run)
    assert compared(run) == (None, 0)
    if is_back:
        there.unlink()
        moved.rename(there)
    reaper.reap()
    assert compared(run)[1] == is_back
    run.refresh_from_db()
    assert run.is_told == is_back
