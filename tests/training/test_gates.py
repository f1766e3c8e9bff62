"""Teachers are asked before they teach, by a worker, and people see what came of it."""

import pytest
from django.test import Client

from distillhub.lib.errors import Invalid
from projects.models import DatasetVersion, ModelVersion, Project, User
from tests import make
from tests.conftest import api_of, signed_in
from tests.training.conftest import launch
from training.models import Run, TeacherGate, TeacherOutputs
from training.services import gates, teacher_outputs
from training.worker import gates as working
from training.worker import runs as executing


@pytest.fixture
def knowing(project: Project, dataset: DatasetVersion) -> ModelVersion:
    """A trained teacher, as a row alone."""
    file = {"name": "model.safetensors", "sha256": "0" * 64, "bytes": 1}
    return make.model_version(project, "wise", role="teacher", files=[file], labels=dataset.labels)


def alone(project: Project, dataset: DatasetVersion, value: float, **fields: object) -> Run:
    """A finished run without a teacher."""
    summary = {"selection_metric": "val/accuracy", "best_value": value}
    return make.run(
        project, dataset_version=dataset, status=Run.Status.FINISHED, summary=summary, **fields
    )


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("worker")
def test_a_teacher_is_asked_and_its_run_pays_nothing(
    project: Project, dataset: DatasetVersion, student: ModelVersion, teacher: ModelVersion
) -> None:
    trained = launch(project, name="teacher", student="big", training={"epochs": 15})
    executing.execute(trained.pk)
    trained.refresh_from_db()
    assert trained.output is not None, trained.error

    gate = gates.ask(version=trained.output, dataset="tickets@1", by=project.created_by)
    assert gates.ask(version=trained.output, dataset="tickets", by=project.created_by) == gate
    working.WORK.carry_out(gate.pk)
    gate.refresh_from_db()
    assert (gate.status, gate.error, gate.attempt) == ("ready", None, 1)
    assert gate.report is not None
    assert gate.report["rows"] == 30
    assert gate.report["metrics"]["accuracy"] > 0.6
    assert gate.report["recommended"]
    known = gates.teacher_score(version=trained.output, dataset=dataset)
    assert known is not None
    assert known.value == gate.report["metrics"]["accuracy"]

    stored = TeacherOutputs.objects.all()
    assert {one.split for one in stored} == {"train", "validation", "test"}
    assert {(one.fingerprint, one.reused) for one in stored} == {(dataset.fingerprint, 0)}

    assert {one.teacher for one in stored} == {teacher_outputs.digest(trained.output)}

    run = launch(project, teachers=["big@2"], control=False)
    executing.execute(run.pk)
    run.refresh_from_db()
    assert run.status == "finished", run.error
    assert "teacher/val/other_mass" in run.metrics
    chunks = [line["text"] for chunk in run.log_chunks.all() for line in chunk.lines]
    assert sum("had answered before (stored)" in text for text in chunks) == 3


@pytest.mark.django_db
def test_only_what_can_be_asked_is_asked(
    project: Project, dataset: DatasetVersion, knowing: ModelVersion, student: ModelVersion
) -> None:
    make.dataset_version(project, "others", labels=("x", "y"))
    make.dataset_version(project, "pictures", task="image-classification")
    by = project.created_by
    for version, asked, words in (
        (student, "tickets@1", "has not been trained"),
        (knowing, "", "Name the dataset"),
        (knowing, 3, "Name the dataset"),
        (knowing, "nothing@1", "no dataset"),
        (knowing, "others@1", "does not know x, y"),
        (knowing, "pictures@1", "is for image-classification"),
    ):
        with pytest.raises(Invalid) as refused:
            gates.ask(version=version, dataset=asked, by=by)
        assert words in str(refused.value.detail)
    assert [one.reference for one in gates.choices(version=knowing)] == ["tickets@1"]


@pytest.mark.django_db
def test_a_teacher_no_better_than_the_student_alone_is_told(
    project: Project, dataset: DatasetVersion, knowing: ModelVersion, student: ModelVersion
) -> None:
    make.gate(knowing, dataset, accuracy=0.61)
    assert gates.warnings(teachers=[knowing], student=student, dataset=dataset) == []
    run = alone(project, dataset, 0.88, student=student)
    alone(project, dataset, 0.95)  # another student's
    (said,) = gates.warnings(teachers=[knowing], student=student, dataset=dataset)
    assert said.startswith("wise@1 scores 61.0 % accuracy on validation rows; the student alone")
    assert f"88.0 % accuracy in run {run.number}" in said
    best = gates.best_alone(dataset=dataset, metric="accuracy")
    assert best is not None
    assert best.value == 0.95


@pytest.mark.django_db
def test_an_earlier_run_knows_a_teacher_too(
    project: Project, dataset: DatasetVersion, knowing: ModelVersion, student: ModelVersion
) -> None:
    run = make.run(project, dataset_version=dataset, metrics={"teacher/val/accuracy": 0.7})
    run.config["teachers"] = ["wise@1"]
    run.save()
    run.teachers.add(knowing)
    known = gates.teacher_score(version=knowing, dataset=dataset)
    assert known == gates.Known("accuracy", 0.7, run.number)


@pytest.mark.django_db
def test_gates_through_rest(
    project: Project, dataset: DatasetVersion, knowing: ModelVersion, erin: User
) -> None:
    client = api_of(erin)
    address = f"/api/v1/projects/{project.slug}/models/wise/versions/1/gates/"
    made = client.post(address, {"dataset": "tickets@1"})
    assert made.status_code == 202
    assert (made.json()["status"], made.json()["report"]) == ("queued", None)
    refused = client.post(address, {"dataset": "nothing@1"})
    assert refused.status_code == 400
    assert "dataset" in refused.json()["fields"]
    TeacherGate.objects.all().delete()
    gate = make.gate(knowing, dataset)
    run = alone(project, dataset, 0.8)
    told = client.get(f"{address}{gate.pk}/").json()
    assert told["student_alone"] == {"run": run.number, "metric": "accuracy", "value": 0.8}
    assert [one["id"] for one in client.get(address).json()["results"]] == [gate.pk]


@pytest.mark.django_db
def test_the_page_of_a_version_says_how_good_it_teaches(
    project: Project, dataset: DatasetVersion, knowing: ModelVersion, erin: User, vera: User
) -> None:
    page = f"/p/{project.slug}/models/wise/1/"
    client: Client = signed_in(erin)
    before = client.get(page).content.decode()
    assert "How good is it as a teacher?" in before
    assert "Not asked yet" in before
    sent = client.post(f"{page}gates/", {"dataset": "tickets@1"})
    assert sent.status_code == 302
    assert sent.headers["Location"].endswith("#gates-section")
    part = client.get(f"{page}gates/", headers={"HX-Request": "true"}).content.decode()
    assert "every 2s" in part
    TeacherGate.objects.all().delete()
    make.gate(knowing, dataset, accuracy=0.7)
    alone(project, dataset, 0.8)
    after = signed_in(vera).get(page).content.decode()
    assert "It is right on 70.0 %" in after
    assert "this teacher knows no more" in after
    assert "gate-reliability" in after
    assert "Ask it" not in after
    refused = client.post(f"{page}gates/", {"dataset": "nothing@1"}, headers={"HX-Request": "true"})
    assert "field-error" in refused.content.decode()
