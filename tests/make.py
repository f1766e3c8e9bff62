"""Makers of rows for tests: real rows through the ORM, each with sensible defaults."""

from itertools import count
from typing import Any

from django.utils import timezone

from projects.models import (
    Dataset,
    DatasetVersion,
    Membership,
    ModelVersion,
    Project,
    RegisteredModel,
    Role,
    User,
)
from training.models import Run

_numbers = count(1)


def user(username: str = "") -> User:
    username = username or f"person-{next(_numbers)}"
    return User.objects.create_user(username, f"{username}@example.org", "correct horse battery")


def project(
    name: str = "", *, owner: User, editor: User | None = None, viewer: User | None = None
) -> Project:
    name = name or f"project-{next(_numbers)}"
    made = Project.objects.create(name=name, slug=name, created_by=owner)
    roles = {Role.OWNER: owner, Role.EDITOR: editor, Role.VIEWER: viewer}
    for role, person in roles.items():
        if person is not None:
            Membership.objects.create(project=made, user=person, role=role)
    return made


def dataset_version(
    project: Project,
    name: str = "",
    *,
    task: str = "text-classification",
    labels: tuple[str, ...] = ("no", "yes"),
    **fields: Any,
) -> DatasetVersion:
    """The next version of a dataset, ready, as a row alone: it has no file."""
    dataset, _ = Dataset.objects.get_or_create(
        project=project,
        name=name or f"dataset-{next(_numbers)}",
        defaults={"task": task, "created_by": project.created_by},
    )
    splits = {
        split: {"rows": rows, "label_counts": {}}
        for split, rows in (("train", 80), ("validation", 10), ("test", 10))
    }
    defaults = {
        "status": DatasetVersion.Status.READY,
        "labels": list(labels),
        "splits": splits,
        "rows": 100,
        "fingerprint": "f" * 64,
        "created_by": project.created_by,
    }
    number = dataset.versions.count() + 1
    return DatasetVersion.objects.create(dataset=dataset, number=number, **defaults | fields)


def model_version(
    project: Project,
    name: str = "",
    *,
    role: str = "student",
    task: str = "text-classification",
    **fields: Any,
) -> ModelVersion:
    """The next version of a model, ready, as a row alone: an architecture without weights."""
    model, _ = RegisteredModel.objects.get_or_create(
        project=project,
        name=name or f"model-{next(_numbers)}",
        defaults={"role": role, "task": task, "created_by": project.created_by},
    )
    defaults = {
        "status": ModelVersion.Status.READY,
        "source": {"kind": "architecture", "architecture": "bag_of_embeddings"},
        "architecture": "bag_of_embeddings",
        "created_by": project.created_by,
    }
    number = model.versions.count() + 1
    return ModelVersion.objects.create(model=model, number=number, **defaults | fields)


def run(project: Project, **fields: Any) -> Run:
    """A queued run, as a row alone; give it a status to have it elsewhere in its life."""
    number = fields.pop("number", None) or project.runs.count() + 1
    version = fields.pop("dataset_version", None) or dataset_version(project)
    student = fields.pop("student", None) or model_version(project)
    config = {
        "name": f"run {number}",
        "task": "text-classification",
        "dataset": version.reference,
        "student": student.reference,
        "teachers": [],
        "scheme": "offline",
        "losses": [{"kind": "hard_labels", "weight": 1.0}],
        "training": {"epochs": 1, "batch_size": 16, "seed": 0, "selection_metric": "val/accuracy"},
        "teacher_outputs": "auto",
        "control": False,
        "exports": [],
        "resources": {"queue": "default", "gpus": 0},
    }
    defaults = {
        "name": config["name"],
        "task": "text-classification",
        "config": config,
        "dataset_version": version,
        "student": student,
        "created_by": project.created_by,
        "queued_at": timezone.now(),
    }
    return Run.objects.create(project=project, number=number, **defaults | fields)
