"""The demo project: real images, a teacher, a student 99 times smaller, its control, and traffic.

Labels are treated as expensive, which is when distillation earns its keep: of each digit 20 images
to train on have a label and 60 have none. The teacher learns from the first, shifted now and then,
and tells the student about all of them as they are. What comes when the student is shipped,
traffic.py sends.
"""

import time

from django.core.files.base import ContentFile
from django.db import transaction

from projects.models import DatasetVersion, ModelVersion, Project, RegisteredModel, User
from projects.services import datasets, projects
from training.demo import images, traffic
from training.demo.noted import note
from training.demo.traffic import DATASET, STUDENT
from training.models import Run
from training.services import launching, networks, runs

NAME = "Handwritten digits (demo)"
SLUG = "handwritten-digits-demo"
TEACHER = "convnet"
TASK = "image-classification"
PATIENCE = 120.0  # seconds for the worker to read the images and count the weights

DESCRIPTION = (
    "A demo that really trains: 1,797 handwritten digits, of which only 200 to train on have a "
    "label. A convolutional teacher learns from those; then a student 99 times smaller learns what "
    "the teacher says about 600 more, and once again from the labels alone, to see whether the "
    "teacher helped. Then it is shipped, and real images that no run saw are replayed to it: as "
    "they are, and then darker and shifted, until the alarm leads to the next student. Archive it "
    "any time."
)
TEACHER_CONFIG = {"image_size": 8, "channels": [48, 96], "hidden": 256}
STUDENT_CONFIG = {"image_size": 8, "channels": [8, 16], "hidden": 0, "dropout": 0.0}


class Unready(Exception):
    """No worker prepared the demo's files in time."""


def wanted() -> bool:
    """Whether the demo was never completed here. One that was archived stays away."""
    project = Project.objects.filter(slug=SLUG).first()
    if project is None:
        return True
    if project.archived_at is not None:
        return False
    return project.runs.count() < 3 or not traffic.is_over(project)


def seed(*, by: User) -> Project:
    """Make the demo through the services that people use, or complete one that was interrupted.

    Waits for the worker between the steps; `traffic.replay` is what comes after. Raises Unready.
    """
    project = Project.objects.filter(slug=SLUG).first()
    if project is None:
        with transaction.atomic():
            project = projects.create(name=NAME, description=DESCRIPTION, by=by)
            note("project.create", project=project, subject=NAME)
    if project.runs.count() >= 3 or not wanted():
        return project
    version = DatasetVersion.objects.filter(
        dataset__project=project, dataset__name=DATASET
    ).last() or _upload(project, by)
    teacher = _model(project, TEACHER, "teacher", TEACHER_CONFIG, by)
    student = _model(project, STUDENT, "student", STUDENT_CONFIG, by)
    for row in (version, teacher, student):
        _wait_for(row)
    _launch(project, by=by)
    return project


def _upload(project: Project, by: User) -> DatasetVersion:
    version = datasets.upload(
        project=project,
        name=DATASET,
        task=TASK,
        file=ContentFile(images.archive(), name="digits.zip"),
        description="8 by 8 pixels, from the UCI repository, as scikit-learn ships them.",
        by=by,
    )
    note("dataset.create", project=project, subject=DATASET)
    return version


def _launch(project: Project, *, by: User) -> None:
    """The teacher's run, and the student's, which waits for it."""
    common = {"task": TASK, "dataset": f"{DATASET}@1"}
    taught = project.runs.order_by("number").first() or _run(
        project,
        {
            **common,
            "name": "Teacher, fine-tuned",
            "student": f"{TEACHER}@1",
            "training": {
                "epochs": 60,
                "batch_size": 32,
                "learning_rate": 0.002,
                "augmentation": "light",
            },
        },
        by,
    )
    if project.runs.filter(number__gt=taught.number).exists():
        return
    distilled = _run(
        project,
        {
            **common,
            "name": "Student, distilled",
            "student": f"{STUDENT}@1",
            "teachers": [f"run/{taught.number}"],
            "losses": [
                {"kind": "soft_targets", "weight": 0.9, "temperature": 4.0},
                {"kind": "hard_labels", "weight": 0.1},
            ],
            "training": {"epochs": 40, "batch_size": 64, "learning_rate": 0.01},
            "control": True,
        },
        by,
    )
    for run in (taught, distilled, *Run.objects.filter(control_of=distilled)):
        runs.edit(run=run, tags=["demo"], by=by)


def _run(project: Project, configuration: dict[str, object], by: User) -> Run:
    with transaction.atomic():
        run = launching.launch(project=project, configuration=configuration, by=by)
        note("run.create", project=project, subject=str(run.number))
    return run


def _model(
    project: Project, name: str, role: str, config: dict[str, object], by: User
) -> ModelVersion:
    model = RegisteredModel.objects.filter(project=project, name=name).first()
    if model is not None:
        return model.versions.get(number=1)
    with transaction.atomic():
        version = networks.register(
            project=project,
            name=name,
            role=role,
            task=TASK,
            source={"kind": "architecture", "architecture": "small_convnet", "config": config},
            by=by,
        )
        note("model.create", project=project, subject=name)
    return version


def _wait_for(row: DatasetVersion | ModelVersion) -> None:
    """Until a worker has read the images, or counted the weights."""
    end = time.monotonic() + PATIENCE
    while row.status in (DatasetVersion.Status.INGESTING, ModelVersion.Status.INSPECTING):
        if time.monotonic() > end:
            raise Unready(f"{row} is still {row.status} after {PATIENCE:.0f} s.")
        time.sleep(0.25)
        row.refresh_from_db()
    if row.status == "failed":
        raise Unready(f"{row} failed: {row.error}")
