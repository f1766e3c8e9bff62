"""Finding runs by what they measured: as a loop over all of them would, but by an index."""

import operator
import random
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from distillhub.lib import planner
from projects.models import Project, User
from tests import make
from training.models import Run
from training.services import metrics, run_search
from training.services.metrics import Measured

ACCURACY = "val/accuracy"
COMPARED = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
}


@pytest.fixture
def measured(project: Project) -> dict[int, float | None]:
    """The latest accuracy of forty runs by their numbers; some share one, some have none, and one
    is not finite."""
    chance = random.Random(1)
    version, student = make.dataset_version(project), make.model_version(project)
    found: dict[int, float | None] = {}
    for number in range(1, 41):
        run = make.run(project, number=number, dataset_version=version, student=student)
        value = chance.choice([0.1, 0.5, 0.9, chance.random(), None])
        if value is not None:
            metrics.append(
                run, [Measured(ACCURACY, 1, 2.0, 0.0), Measured(ACCURACY, 2, value, 0.0)]
            )
        found[number] = value
    broken = make.run(project, number=41, dataset_version=version, student=student)
    metrics.append(broken, [Measured(ACCURACY, 1, float("nan"), 0.0)])
    return found | {41: None}


def numbers(project: Project, filter: str) -> set[int]:
    return set(run_search.search(project=project, filter=filter).values_list("number", flat=True))


@pytest.mark.parametrize("word", COMPARED)
@pytest.mark.parametrize("bound", [0.1, 0.5, 0.7, 2.0])
def test_a_metric_is_compared_as_a_loop_would(
    project: Project, measured: dict[int, float | None], word: str, bound: float
) -> None:
    holds = COMPARED[word]
    expected = {
        number for number, value in measured.items() if value is not None and holds(value, bound)
    }
    asked = f"metrics.{ACCURACY} {word} {bound}"
    assert numbers(project, asked) == expected
    assert numbers(project, f"not {asked}") == set(measured) - expected
    assert numbers(project, f"{asked} and number <= 20") == {n for n in expected if n <= 20}
    assert numbers(project, f"number > 35 or {asked}") == expected | set(range(36, 42))


def test_not_equal_holds_of_runs_without_the_metric_too(
    project: Project, measured: dict[int, float | None]
) -> None:
    expected = {number for number, value in measured.items() if value != 0.5}
    assert numbers(project, f"metrics.{ACCURACY} != 0.5") == expected


@pytest.mark.parametrize("minus", ["", "-"])
def test_pages_in_order_of_a_metric_hold_every_run_once_those_without_it_last(
    alice: User, project: Project, measured: dict[int, float | None], minus: str
) -> None:
    client = APIClient()
    client.force_authenticate(alice)
    address = f"/api/v1/projects/{project.slug}/runs/?limit=7&order={minus}metrics.{ACCURACY}"
    seen: list[int] = []
    while address:
        page = client.get(address).json()
        seen += [run["number"] for run in page["results"]]
        address = page["next"]
    sign = -1.0 if minus else 1.0

    def rank(number: int) -> tuple[bool, float, int]:
        value = measured[number]
        return value is None, sign * (value or 0.0), -number

    assert seen == sorted(measured, key=rank)


def test_a_list_reads_whole_only_the_runs_it_shows(
    alice: User, project: Project, measured: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    made = Run.from_db.__func__  # type: ignore[attr-defined]

    def from_db(cls: type[Run], db: str, names: list[str], values: list[Any]) -> Run:
        if "config" in names:
            read.append(values)
        run: Run = made(cls, db, names, values)
        return run

    monkeypatch.setattr(Run, "from_db", classmethod(from_db))
    client = APIClient()
    client.force_authenticate(alice)
    address = f"/api/v1/projects/{project.slug}/runs/?limit=5&order=metrics.{ACCURACY}"
    with CaptureQueriesContext(connection) as queries:
        assert len(client.get(address).json()["results"]) == 5
    assert len(read) == 5
    assert len(queries) <= 12


def test_a_metric_is_looked_up_by_its_values(project: Project) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("with a handful of rows PostgreSQL reads the table")
    found = run_search.search(project=project, filter=f"metrics.{ACCURACY} > 0.9")
    assert "metric_series_by_value" in found.explain()


@pytest.mark.django_db(transaction=True)
def test_controls_are_looked_up_by_an_index_where_hardly_any_run_has_one(project: Project) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("with a handful of rows PostgreSQL reads the table")
    version, student = make.dataset_version(project), make.model_version(project)
    for _ in range(20):
        make.run(project, dataset_version=version, student=student)
    planner.refresh()
    assert "run_by_control" in Run.objects.filter(control_of__in=[1, 2, 3]).explain()


def test_what_a_deleted_run_measured_is_found_no_more(project: Project) -> None:
    run = make.run(project)
    other = make.run(project)
    for one in (run, other):
        metrics.append(one, [Measured(ACCURACY, 1, 0.9, 0.0)])
    metrics.detach(Run.objects.filter(pk=run.pk))
    assert numbers(project, f"metrics.{ACCURACY} > 0.5") == {other.number}
    assert numbers(project, f"not metrics.{ACCURACY} > 0.5") == {run.number}
