"""The demo project: real images, a teacher, a student 99 times smaller, and its control.

scikit-learn brings 1 797 handwritten digits of 8 by 8 pixels (UCI, "Optical Recognition of
Handwritten Digits"), so that nothing is downloaded. Labels are treated as expensive, which is when
distillation earns its keep: of each digit 20 images to train on have a label and 60 have none. The
teacher learns from the first and tells the student about all of them.
"""

import io
import time
import zipfile
from collections import Counter

from django.core.files.base import ContentFile
from PIL import Image

from distillhub.lib.later import np
from projects.models import DatasetVersion, ModelVersion, Project, RegisteredModel, User
from projects.services import datasets, projects
from training.models import Run
from training.services import networks, runs

NAME = "Handwritten digits (demo)"
SLUG = "handwritten-digits-demo"
DATASET, TEACHER, STUDENT = "digits", "convnet", "pocket-convnet"
TASK = "image-classification"
LABELLED, UNLABELLED, VALIDATION = 20, 60, 15  # images of each digit; all others are the test
PATIENCE = 120.0  # seconds for the worker to read the images and count the weights

DESCRIPTION = (
    "A demo that really trains: 1,797 handwritten digits, of which only 200 to train on have a "
    "label. A convolutional teacher learns from those; then a student 99 times smaller learns what "
    "the teacher says about 600 more, and once again from the labels alone, to see whether the "
    "teacher helped. Archive it any time."
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
    return project.archived_at is None and project.runs.count() < 3


def seed(*, by: User) -> Project:
    """Make the demo through the services that people use, or complete one that was interrupted.

    Waits for the worker between the steps. Raises Unready.
    """
    project = Project.objects.filter(slug=SLUG).first()
    if project is None:
        project = projects.create(name=NAME, description=DESCRIPTION, by=by)
    if not wanted():
        return project
    version = DatasetVersion.objects.filter(
        dataset__project=project, dataset__name=DATASET
    ).last() or datasets.upload(
        project=project,
        name=DATASET,
        task=TASK,
        file=ContentFile(_archive(), name="digits.zip"),
        description="8 by 8 pixels, from the UCI repository, as scikit-learn ships them.",
        by=by,
    )
    teacher = _model(project, TEACHER, "teacher", TEACHER_CONFIG, by)
    student = _model(project, STUDENT, "student", STUDENT_CONFIG, by)
    for row in (version, teacher, student):
        _wait_for(row)
    _launch(project, by=by)
    return project


def _launch(project: Project, *, by: User) -> None:
    """The teacher's run, and the student's, which waits for it."""
    common = {"task": TASK, "dataset": f"{DATASET}@1"}
    taught = project.runs.order_by("number").first() or runs.launch(
        project=project,
        configuration={
            **common,
            "name": "Teacher, fine-tuned",
            "student": f"{TEACHER}@1",
            "training": {"epochs": 40, "batch_size": 32, "learning_rate": 0.002},
        },
        by=by,
    )
    if project.runs.filter(number__gt=taught.number).exists():
        return
    distilled = runs.launch(
        project=project,
        configuration={
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
        by=by,
    )
    for run in (taught, distilled, *Run.objects.filter(control_of=distilled)):
        runs.edit(run=run, tags=["demo"], by=by)


def _model(
    project: Project, name: str, role: str, config: dict[str, object], by: User
) -> ModelVersion:
    model = RegisteredModel.objects.filter(project=project, name=name).first()
    if model is not None:
        return model.versions.get(number=1)
    return networks.register(
        project=project,
        name=name,
        role=role,
        task=TASK,
        source={"kind": "architecture", "architecture": "small_convnet", "config": config},
        by=by,
    )


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


def _archive() -> bytes:
    """The digits in a zip: `train/3/0042.png`, without a label `train/0043.png`."""
    # Imported here: scikit-learn and SciPy take 100 MB, which no web process should hold.
    from sklearn.datasets import load_digits  # noqa: PLC0415

    digits = load_digits()
    shuffled = np.random.default_rng(0).permutation(len(digits.target))
    seen: Counter[int] = Counter()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in shuffled:
            label = int(digits.target[number])
            pixels = (digits.images[number] * 255 / 16).round().astype(np.uint8)
            png = io.BytesIO()
            Image.fromarray(pixels).save(png, "PNG")
            archive.writestr(f"{_folder(label, seen[label])}/{number:04}.png", png.getvalue())
            seen[label] += 1
    return buffer.getvalue()


def _folder(label: int, place: int) -> str:
    """Of the `place`-th image of a digit."""
    if place < LABELLED:
        return f"train/{label}"
    if place < LABELLED + UNLABELLED:
        return "train"
    if place < LABELLED + UNLABELLED + VALIDATION:
        return f"validation/{label}"
    return f"test/{label}"
