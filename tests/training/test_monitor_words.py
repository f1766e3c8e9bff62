"""What pages of monitors say depends on what is watched: whether it can be retrained here, and what
is counted of it."""

from typing import Any

import pytest
from django.test import Client

from projects.models import Project, User
from tests.conftest import signed_in
from tests.training import monitor_rows as rows
from training.charts import drift_shapes
from training.models import Monitor

pytestmark = pytest.mark.django_db


def window_page(alice: User, monitor: Monitor) -> str:
    rows.window(monitor, 1, moved=True)
    client: Client = signed_in(alice)
    answer = client.get(f"/p/{monitor.project.slug}/monitors/{monitor.name}/windows/1/")
    health = client.get(f"/p/{monitor.project.slug}/monitors/{monitor.name}/")
    assert answer.status_code == health.status_code == 200
    advice = answer.content.decode().split("What to do:</b>")[1].split("</span>")[0]
    assert advice in health.content.decode()
    return answer.content.decode()


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "read the rows, then retrain it on them."),
        ({"task": "text-generation"}, "with the right answers, and launch its run again"),
        ({"task": "feature-extraction"}, "make a dataset of them, and launch its run again"),
        ({"external": "vendor/one", "model": None, "version": None}, "where it is made"),
        ({"privacy": "hashed"}, "It keeps no inputs"),
    ],
)
def test_it_is_told_to_retrain_only_what_can_be_retrained(
    project: Project, alice: User, fields: dict[str, Any], says: str
) -> None:
    monitor = rows.fitted(project, rows=500)
    Monitor.objects.filter(pk=monitor.pk).update(**fields)
    page = window_page(alice, Monitor.objects.get(pk=monitor.pk))
    assert "The student does worse than it did" in page
    assert says in page
    assert ("retrain it" in page) == (not fields)


@pytest.mark.parametrize(
    ("fields", "title", "unit"),
    [
        ({}, "Predicted classes", "share of rows"),
        ({"several_labels": True}, "Predicted labels", "share of rows"),
        ({"task": "token-classification"}, "Predicted tags", "share of words"),
    ],
)
def test_what_is_predicted_is_called_and_counted_as_it_is(
    project: Project, alice: User, fields: dict[str, Any], title: str, unit: str
) -> None:
    monitor = rows.fitted(project, rows=500, **fields)
    page = window_page(alice, monitor)
    assert f">{title}<" in page
    assert f'"{unit}"' in page.split(f">{title}<")[1].split("</section>")[0].replace("&quot;", '"')


def test_without_a_reference_none_is_drawn_nor_told_of() -> None:
    some = [{"count": 90, "confidence": 0.8, "accuracy": 0.7}]
    for alone, beside in (
        (drift_shapes.categories("ab", [0, 0], [0.4, 0.6]),
         drift_shapes.categories("ab", [0.5, 0.5], [0.4, 0.6])),
        (drift_shapes.calibration([], some), drift_shapes.calibration(some, some)),
    ):  # fmt: skip
        assert "reference" not in str(alone)
        assert "reference" in {trace["name"] for trace in beside["data"]}
