"""Monitors: made from what is asked, with every default filled in and every fault at its field."""

from typing import Any

import pytest

from projects.models import DatasetVersion, ModelVersion, Project
from tests import make
from training.models import Monitor, MonitorLook
from training.services import monitor_health, monitor_told, monitors

pytestmark = pytest.mark.django_db

LABELS = ["account", "billing", "delivery"]
FILES = [{"name": "model.safetensors", "sha256": "a" * 64, "bytes": 10}]


@pytest.fixture
def rows(project: Project) -> DatasetVersion:
    return make.dataset_version(project, "tickets", labels=tuple(LABELS))


def trained(project: Project, name: str = "small", **fields: Any) -> ModelVersion:
    given = {"labels": LABELS, "files": FILES, "source": {"kind": "run", "run": 1}}
    return make.model_version(project, name, **given | fields)


@pytest.fixture
def student(project: Project) -> ModelVersion:
    return trained(project)


def asked(**more: Any) -> dict[str, Any]:
    return {
        "name": "live", "model": "small@1", "reference": "tickets@1:test", "window": {"rows": 500},
    } | more  # fmt: skip


def create(project: Project, **more: Any) -> Monitor:
    return monitors.create(project=project, asked=asked(**more), by=project.created_by)


def test_a_monitor_of_little_is_whole(
    project: Project, rows: DatasetVersion, student: ModelVersion
) -> None:
    monitor = create(project)
    assert monitor.version == student
    assert (monitor.dataset_version, monitor.split) == (rows, "test")
    assert monitor.labels == LABELS
    assert [one["kind"] for one in monitor.detectors["numbers"]] == ["psi"]
    assert monitor.detectors["numbers"][0]["bins"] == 10
    assert (monitor.minimum_rows, monitor.retention_days, monitor.privacy) == (50, 90, "raw")
    assert monitor.teacher is None
    assert monitor.teacher_share == 0
    assert MonitorLook.objects.get(monitor=monitor).fits
    assert monitor_health.health(monitor).state == "fitting"
    again = monitor_told.asked(monitor) | {"name": "again"}
    assert monitors.create(project=project, asked=again, by=project.created_by).name == "again"
