"""A student made of a trained version by a worker, and trained on: the whole way."""

import pytest

from projects.models import DatasetVersion, ModelVersion, Project
from tests.training.conftest import launch
from training import jobs
from training.services import derivations, lineage, networks
from training.worker import runs as working

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("worker")]


@pytest.fixture
def taught(project: Project, dataset: DatasetVersion, student: ModelVersion) -> ModelVersion:
    """The version that a finished fine-tuning left."""
    run = launch(project)
    working.execute(run.pk)
    run.refresh_from_db()
    assert run.output is not None, run.error
    return run.output


def derived(project: Project, name: str, **source: object) -> ModelVersion:
    """Registered, and inspected by a child process."""
    version = networks.register(
        project=project,
        name=name,
        role="student",
        task="text-classification",
        source={"kind": "derived", **source},
        by=project.created_by,
    )
    jobs.inspect_model_version(version_id=version.pk)
    version.refresh_from_db()
    return version


def test_a_worker_makes_a_student_of_a_trained_version_that_learns_on(
    project: Project, dataset: DatasetVersion, taught: ModelVersion
) -> None:
    made = derived(
        project,
        "smaller",
        **{"from": taught.reference, "method": "narrow", "dataset": dataset.reference},
    )
    assert made.status == "ready", made.error
    assert made.source["made"]["said"] == "4 of 8 dimensions"
    assert made.source["made"]["rows"] == 240  # every training row there is
    assert made.source["made"]["teacher_parameters"] == taught.parameters
    assert made.parameters is not None
    assert taught.parameters is not None
    assert made.parameters < taught.parameters
    assert made.config == {**taught.config, "dim": 4}
    assert (made.labels, made.is_trained) == (taught.labels, False)
    assert {file["name"] for file in made.files} >= {"model.safetensors", "tokenizer.json"}

    run = launch(
        project, name="on", student=made.reference, teachers=[taught.reference], control=False
    )
    working.execute(run.pk)
    run.refresh_from_db()
    assert run.status == "finished", run.error
    assert run.output is not None
    assert run.output.config["dim"] == 4
    edges = lineage.of_run(run=run)["edges"]
    assert {"from": taught.reference, "to": made.reference, "as": "weights"} in edges
    assert list(derivations.made_of(version=taught)) == [made]


def test_what_cannot_be_made_fails_with_its_sentence_and_may_be_tried_again(
    project: Project, taught: ModelVersion
) -> None:
    ModelVersion.objects.filter(pk=taught.pk).update(architecture="text_cnn")  # a lie
    made = derived(project, "wrong", **{"from": taught.reference, "method": "low_rank"})
    assert made.status == "failed"
    assert made.error is not None
    assert made.error["code"] == "bad_model"
    assert "its only layer is the last one" in made.error["detail"]
    again = networks.inspect_again(version=made, by=project.created_by)
    assert again.status == "inspecting"
