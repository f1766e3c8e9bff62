"""Somebody who fills in the form of a run, and what there is to choose from."""

import pytest
from django.test import Client

from projects.models import DatasetVersion, ModelVersion, Project, User
from tests import make
from tests.conftest import signed_in

LABELS = ["no", "yes"]
FILES = [{"name": "model.safetensors", "sha256": "0" * 64, "bytes": 5}]


@pytest.fixture
def alices(alice: User, project: Project) -> Client:
    return signed_in(alice)


@pytest.fixture
def data(project: Project) -> DatasetVersion:
    return make.dataset_version(project, "mails")


@pytest.fixture
def student(project: Project) -> ModelVersion:
    return make.model_version(project, "tiny", architecture="bag_of_embeddings", parameters=1000)


@pytest.fixture
def teacher(project: Project) -> ModelVersion:
    return make.model_version(
        project, "big", role="teacher", architecture="bag_of_embeddings", parameters=90_000,
        files=FILES, labels=LABELS, metrics={"test/accuracy": 0.91},
    )  # fmt: skip


@pytest.fixture
def bert(project: Project) -> ModelVersion:
    """A student that shows layers and attention."""
    return make.model_version(project, "tiny", architecture="bert", parameters=1000)


@pytest.fixture
def berts_teacher(project: Project) -> ModelVersion:
    return make.model_version(
        project, "big", role="teacher", architecture="bert", parameters=90_000, files=FILES,
        labels=LABELS,
    )  # fmt: skip
