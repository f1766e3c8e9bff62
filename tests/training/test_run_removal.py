"""Deleting a run: only one that is over, all of it, and at once, however much it measured."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from projects.models import DatasetVersion, ModelVersion, Project, User
from tests import make
from tests.conftest import signed_in
from tests.training.conftest import launch
from training.models import Artifact, LogChunk, MetricChunk, MetricSeries, Run
from training.services import metrics
from training.services.metrics import Measured


@pytest.fixture
def owner(alice: User, project: Project) -> APIClient:
    client = APIClient()
    client.force_authenticate(alice)
    return client


def address(run: Run) -> str:
    return f"/api/v1/projects/{run.project.slug}/runs/{run.number}/"


def test_a_run_goes_with_its_control_and_all_they_measured_but_its_model_stays(
    owner: APIClient, project: Project
) -> None:
    run = make.distillation(project)
    other = make.run(project, status="finished")
    metrics.append(other, [Measured("train/loss", 1, 0.5, 0.0)])
    Artifact.objects.create(run=run, kind="model", name="model/x", sha256="0" * 64, bytes=1)
    output = make.model_version(project, "made")
    Run.objects.filter(pk=run.pk).update(output=output)
    assert owner.delete(address(run)).status_code == 204
    assert owner.get(address(run)).status_code == 404
    assert list(Run.objects.all()) == [other]
    assert not LogChunk.objects.exists()
    assert not Artifact.objects.exists()
    assert ModelVersion.objects.filter(pk=output.pk).exists()
    assert metrics.sweep()
    assert [row.run for row in MetricSeries.objects.all()] == [other]
    assert MetricChunk.objects.count() == 1


def test_a_deleted_runs_number_is_not_used_again(
    owner: APIClient, project: Project, dataset: DatasetVersion, student: ModelVersion
) -> None:
    first = launch(project)
    Run.objects.update(status="finished")
    newest = max(Run.objects.values_list("number", flat=True))
    assert owner.delete(address(first)).status_code == 204
    assert not Run.objects.exists()
    assert launch(project).number == newest + 1


@pytest.mark.parametrize("status", [one for one in Run.Status if one not in Run.FINAL])
def test_a_run_that_is_not_over_is_not_deleted(
    owner: APIClient, project: Project, status: str
) -> None:
    run = make.run(project, status=status)
    answer = owner.delete(address(run))
    assert (answer.status_code, answer.json()["code"]) == (409, "not_over")
    over = make.run(project, status="finished")
    make.run(project, status=status, control_of=over)
    assert owner.delete(address(over)).status_code == 409
    assert Run.objects.count() == 3


def test_a_run_that_another_waits_for_is_not_deleted(owner: APIClient, project: Project) -> None:
    run = make.run(project, status="finished")
    make.run(project, status="waiting").waits_for.add(run)
    answer = owner.delete(address(run))
    assert (answer.status_code, answer.json()["code"]) == (409, "awaited")


def test_deleting_costs_no_more_for_a_run_that_measured_much(
    owner: APIClient, project: Project
) -> None:
    def cost(points: int) -> int:
        run = make.run(project, status="finished")
        metrics.append(run, [Measured("train/loss", step, 0.5, 0.0) for step in range(points)])
        with CaptureQueriesContext(connection) as queries:
            assert owner.delete(address(run)).status_code == 204
        assert MetricChunk.objects.filter(series__run=None).exists()
        return len(queries)

    cost(1)  # the first act of an installation begins its audit log
    assert cost(10) == cost(30_000)


# The button --------------------------------------------------------------------------------------


def test_the_page_names_what_is_lost_and_deletes_for_an_owner(
    project: Project, alice: User, django_assert_max_num_queries: Any
) -> None:
    run = make.distillation(project)
    Artifact.objects.create(run=run, kind="model", name="w", sha256="a" * 64, bytes=4_000_000)
    client, page = signed_in(alice), f"/p/{project.slug}/runs/{run.number}/"
    with django_assert_max_num_queries(15):
        shown = client.get(page).content.decode()
    assert f'action="{page}delete/"' in shown
    curves = MetricSeries.objects.count()
    control = run.controls.get().number
    assert (
        f"Gone for good: its settings, its console, {curves} curves, 1 file (4 MB), "
        f"its control, run {control}."
    ) in shown
    answer = client.post(f"{page}delete/", follow=True)
    assert answer.redirect_chain == [(f"/p/{project.slug}/runs/", 302)]
    assert f"Run {run.number} is deleted." in answer.content.decode()
    assert not Run.objects.exists()


@pytest.mark.parametrize("status", [one for one in Run.Status if one not in Run.FINAL])
def test_a_run_that_is_not_over_has_no_such_button(
    project: Project, alice: User, status: str
) -> None:
    run = make.run(project, status=status)
    client, page = signed_in(alice), f"/p/{project.slug}/runs/{run.number}/"
    assert "delete/" not in client.get(page).content.decode()
    answer = client.post(f"{page}delete/", follow=True)
    assert "cancel it first" in answer.content.decode()
    assert Run.objects.exists()


def test_only_an_owner_has_the_button(project: Project, erin: User, vera: User) -> None:
    run = make.run(project, status="finished")
    page = f"/p/{project.slug}/runs/{run.number}/"
    for person in (erin, vera):
        client = signed_in(person)
        assert "delete/" not in client.get(page).content.decode()
        assert client.post(f"{page}delete/").status_code == 403
    assert Run.objects.exists()
