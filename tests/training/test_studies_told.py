"""Studies are told of once all their runs are over, whatever is away at that moment."""

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
from training.models import Run, Study
from training.worker import reaper
from training.worker import studies as telling

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def study(dataset: DatasetVersion, project: Project, tmp_path: Path) -> Study:
    """Of one seed, distilled and not, both finished and told of; it is not."""
    made = Study.objects.create(
        project=project, number=1, kind="seeds", name="S", created_by=project.created_by,
        asked={"comparisons": [["distilled", "control"]]},
    )  # fmt: skip
    rows = [one for one in sentences(300) if one["split"] == "test"]
    run = make.distillation(project)
    control = run.controls.get()
    ids = [one["row_id"] for one in rows]
    for one, arm, wrong in ((run, "distilled", ids[:3]), (control, "control", ids[:20])):
        Run.objects.filter(pk=one.pk).update(
            dataset_version=dataset, study=made, arm=arm, is_told=True, finished_at=timezone.now()
        )
        answered(one, tmp_path, rows, set(wrong))
    return made


def answer_of(study: Study) -> Any:
    study.refresh_from_db()
    return study.status, (study.verdict or {}).get("answer")


def close(settings: LazySettings) -> tuple[Path, Path]:
    """A file in the place of storage's folder: nothing can be read there."""
    there = Path(settings.MEDIA_ROOT)
    moved = there.rename(there.with_name("moved"))
    there.write_bytes(b"")
    return there, moved


def test_with_storage_away_it_is_told_once_it_is_back(study: Study, settings: LazySettings) -> None:
    there, moved = close(settings)
    telling.tell(study.pk)
    assert answer_of(study) == ("running", None)
    there.unlink()
    moved.rename(there)
    reaper.reap()
    assert answer_of(study) == ("finished", "helped")


def test_after_a_week_what_is_away_is_lost_and_no_path_is_told(
    study: Study, settings: LazySettings
) -> None:
    Run.objects.update(finished_at=timezone.now() - timedelta(days=8))
    close(settings)
    telling.tell(study.pk)
    assert answer_of(study) == ("finished", None)
    assert study.report is not None
    assert study.report["error"]
    assert str(settings.MEDIA_ROOT) not in str(study.report)


def test_with_the_database_away_it_is_a_line_of_the_log_and_told_later(
    study: Study, caplog: pytest.LogCaptureFixture
) -> None:
    def away(execute: Any, sql: str, *rest: Any) -> Any:
        if "training_artifact" in sql:
            raise OperationalError("terminating connection due to unexpected postmaster exit")
        return execute(sql, *rest)

    with caplog.at_level(logging.WARNING), connection.execute_wrapper(away):
        telling.tell(study.pk)
    [line] = [one for one in caplog.records if "told of later" in one.getMessage()]
    assert not line.exc_info
    assert answer_of(study) == ("running", None)
    telling.tell(study.pk)
    assert answer_of(study) == ("finished", "helped")


def test_a_study_that_cannot_be_carried_on_keeps_nobody_from_the_others(study: Study) -> None:
    """Its row holds what no version of this product wrote."""
    Study.objects.create(
        project=study.project, number=2, kind="sweep", name="B", created_by=study.created_by,
        asked={"arms": ["distilled"]},
    )  # fmt: skip
    reaper.reap()
    assert answer_of(study) == ("finished", "helped")
