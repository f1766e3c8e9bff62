"""From an upload with a column of weights to a run that heeds them."""

import pytest

from projects import jobs
from projects.models import DatasetVersion, Project
from projects.services import operations
from tests import make
from tests.projects.test_dataset_versions import uploaded
from tests.training.test_execute_shapes import done
from training.worker import folders

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("worker"),
    pytest.mark.slow,
]


def weighed(project: Project) -> DatasetVersion:
    """Mails of which every third is labelled wrongly, and counts nothing."""
    lines = ["text,label,counts"]
    for row in range(240):
        topic, wrong = ("refund", "card")[row % 2], row % 3 == 0
        label = ("card", "refund")[row % 2] if wrong else topic
        lines.append(f"please help me with my {topic} {row},{label},{0 if wrong else 1}")
    version = uploaded(project, "\n".join(lines).encode(), name="mails")
    made = operations.change(
        version=version,
        operation="columns",
        options={"roles": {"weight": "counts"}},
        by=project.created_by,
    )
    jobs.ingest_dataset_version(version_id=made.pk)
    made.refresh_from_db()
    assert made.is_ready, made.error
    return made


def test_rows_count_as_their_weight_says(project: Project) -> None:
    version = weighed(project)
    assert version.column_of("weight") == "counts"
    bag = {"dim": 8, "vocabulary": 200}
    make.model_version(project, "tiny", architecture="bag_of_embeddings", config=bag)
    training = {"epochs": 8, "batch_size": 16, "learning_rate": 0.05}
    told = {"task": "text-classification", "student": "tiny@1", "training": training}
    heeded = done(project, **told, dataset="mails@2")
    plain = done(project, **told, dataset="mails@1")
    described = [folders.read_json(folders.of(run.pk) / "config.json") for run in (heeded, plain)]
    assert [one["dataset"].get("weight") for one in described] == ["counts", None]
    losses = [run.summary["student"]["log_loss"] for run in (heeded, plain)]
    assert losses[0] != losses[1]
