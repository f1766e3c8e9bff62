"""Whole runs through the real job code: a child process trains, its journal becomes rows."""

import pytest

from projects.models import DatasetVersion, ModelVersion, Project
from tests.training.conftest import launch
from training.models import Run
from training.services import metrics
from training.worker import runs as working

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("worker")]


def test_a_run_trains_and_leaves_a_model(
    project: Project, dataset: DatasetVersion, student: ModelVersion
) -> None:
    run = launch(project, name="first")
    working.execute(run.pk)
    run.refresh_from_db()
    assert (run.status, run.error) == (Run.Status.FINISHED, None)
    print(run.summary, run.metrics)
    print([e.sentence for e in run.events.all()])
    print(metrics.read(run=run))
    print(run.output.files, run.output)
