"""Schemes and stages through the real job code: what the form and REST ask for is what trains."""

import pytest

from projects.models import DatasetVersion, ModelVersion, Project
from tests import make
from tests.training.conftest import launch
from tests.training.test_execute import steps_once
from training.models import Run
from training.services import metrics
from training.worker import runs as working

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("worker")]
HARD = {"kind": "hard_labels", "weight": 1.0}
SOFT = {"kind": "soft_targets", "weight": 0.5, "weight_schedule": "linear"}


def finished(run: Run) -> Run:
    working.execute(run.pk)
    run.refresh_from_db()
    assert (run.status, run.error) == ("finished", None)
    steps_once(run)
    return run


def test_students_teach_each_other_and_one_is_kept(
    project: Project, dataset: DatasetVersion, student: ModelVersion
) -> None:
    mutual = {"kind": "mutual", "students": 2}
    run = finished(
        launch(project, scheme=mutual, losses=[HARD, SOFT], control=False, training={"epochs": 2})
    )
    series = metrics.read(run=run, max_points=1000)["series"]
    assert {"train/soft_targets", "train/soft_targets_weight"} <= series.keys()
    assert series["train/soft_targets_weight"]["values"][0] == 0.5
    assert series["train/hard_labels_share"]["values"]
    assert run.output is not None
    assert run.output.reference == "tiny@2"


def test_stages_are_trained_one_after_the_other(
    project: Project, dataset: DatasetVersion, student: ModelVersion
) -> None:
    stages = [
        {"name": "warm", "losses": [{**HARD, "label_smoothing": 0.2}], "epochs": 1},
        {"name": "sharp", "losses": [HARD], "learning_rate": 0.005},
    ]
    run = finished(launch(project, scheme="staged", stages=stages, training={"epochs": 2}))
    assert run.summary["epochs"] == 3
    rates = metrics.read(run=run, max_points=1000)["series"]["train/learning_rate"]["values"]
    per_epoch = len(rates) // 3
    assert max(rates[:per_epoch]) == pytest.approx(0.01)
    assert max(rates[per_epoch:]) == pytest.approx(0.005)


def test_a_control_is_the_same_student_where_layers_are_compared(
    project: Project, dataset: DatasetVersion
) -> None:
    """Which takes over its teacher's tokens, and so must its control: else it is smaller, and the
    verdict compares two networks."""
    bert = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    bert |= {"intermediate_size": 16, "max_length": 16}
    for name, role, vocabulary in (("big", "teacher", 28), ("tiny", "student", 200)):
        config = {**bert, "vocab_size": vocabulary}
        make.model_version(project, name, role=role, architecture="bert", config=config)
    finished(launch(project, student="big@1", training={"epochs": 1}))
    run = launch(
        project, teachers=["big@2"], losses=[{"kind": "hidden_states"}, {"kind": "soft_targets"}],
        training={"epochs": 1},
    )  # fmt: skip
    control = Run.objects.get(control_of=run)
    for one in (run, control):
        working.execute(one.pk)
        one.refresh_from_db()
        assert (one.status, one.error) == ("finished", None)
    sizes = [one.summary["student"]["parameters"] for one in (run, control)]
    assert sizes[0] == sizes[1]
