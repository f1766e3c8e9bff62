"""The page of a run that is trained elsewhere, and the example that docs/tracking.md gives."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.test import Client
from pytest_django.live_server_helper import LiveServer

from projects.models import Project, User
from projects.services import accounts
from tests import make
from training.models import Run
from training.services import tracking
from training.views import tracked_run
from training.worker import arrivals
from training.worker.metrics import Measured

pytestmark = pytest.mark.django_db

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(erin: User) -> Project:
    return make.project("robots", owner=erin)


@pytest.fixture
def pages(client: Client, erin: User) -> Client:
    client.force_login(erin)
    return client


def measured(run: Run, *names: str) -> Run:
    points = [Measured(name, step, 0.5, 1.0) for name in names for step in range(3)]
    run.metrics = arrivals.record(run, points)
    run.save()
    return run


@pytest.mark.parametrize("tab", [key for key, _ in tracked_run.TABS])
@pytest.mark.parametrize("names", [(), ("train/loss", "val/loss", "val/accuracy", "odd name:1")])
def test_every_tab_is_shown_with_and_without_points(
    pages: Client, project: Project, tab: str, names: tuple[str, ...]
) -> None:
    config = {"params": {"lr": 0.1, "net": {"depth": 3}, "<b>": "<script>"}}
    run = measured(make.tracked(project, config=config), *names)
    answer = pages.get(f"/p/robots/runs/{run.number}/?tab={tab}")
    assert answer.status_code == 200
    shown = answer.content.decode()
    assert "<script>" not in re.sub(r"<script (src|defer|id)", "", shown)
    assert "trained elsewhere" in shown


@pytest.mark.parametrize("tab", ["evaluation", "machine", "rows"])
def test_it_has_no_tab_of_what_a_worker_makes(pages: Client, project: Project, tab: str) -> None:
    run = make.tracked(project)
    assert pages.get(f"/p/robots/runs/{run.number}/?tab={tab}").status_code == 404


def test_one_measure_on_several_splits_is_one_chart() -> None:
    names = ["eval_loss", "train/loss", "loss", "lr", "val/accuracy", "system/gpu", "test.loss"]
    assert tracked_run.grouped(names) == {
        "loss": ["eval_loss", "loss", "test.loss", "train/loss"],
        "accuracy": ["val/accuracy"],
        "lr": ["lr"],
    }


@pytest.mark.parametrize("tab", ["overview", "curves"])
def test_what_was_measured_once_is_a_number_and_no_chart(
    pages: Client, project: Project, tab: str
) -> None:
    run = measured(make.tracked(project), "train/loss")
    names = [*(f"a{number}" for number in range(4)), "score/once"]
    run.metrics |= arrivals.record(run, [Measured(name, 0, 0.25, 1.0) for name in names])
    run.save()
    address = f"/p/robots/runs/{run.number}/?tab={tab}"
    live = pages.get(address).content.decode()
    assert live.count("data-chart-area") > 1  # it may go on
    Run.objects.filter(pk=run.pk).update(status=Run.Status.FINISHED)
    shown = pages.get(address).content.decode()
    assert shown.count("data-chart-area") == 1
    assert re.search(r"score/once</dt>\s*<dd>\s*0\.2500", shown)


def test_its_page_asks_the_database_as_little_as_that_of_a_run_of_ours(
    pages: Client, project: Project, django_assert_max_num_queries: object
) -> None:
    run = measured(make.tracked(project, status=Run.Status.FINISHED), "a", "b", "c", "d", "e")
    address = f"/p/robots/runs/{run.number}/"
    pages.get(address)
    with django_assert_max_num_queries(15):  # type: ignore[operator]
        pages.get(address)


def test_a_run_that_failed_elsewhere_is_told_what_can_be_done_of_it(
    pages: Client, project: Project
) -> None:
    run = make.tracked(project)
    tracking.end(project=project, number=run.number, by=run.created_by, status="failed")
    shown = pages.get(f"/p/robots/runs/{run.number}/").content.decode()
    assert "It failed where it was trained" in shown
    assert "Retry" not in shown
    assert "clone" not in shown.lower()


def test_a_live_page_learns_of_series_that_it_does_not_draw(
    pages: Client, project: Project
) -> None:
    run = measured(make.tracked(project), "train/loss")
    shown = pages.get(f"/p/robots/runs/{run.number}/").content.decode()
    assert 'data-known="1"' in shown
    answer = pages.get(f"/p/robots/runs/{run.number}/live/").json()
    assert answer["known"] == 1
    assert answer["values"]["train/loss"] == "0.5000"


def test_it_stands_in_the_tables_beside_ours(pages: Client, project: Project) -> None:
    make.distillation(project)
    measured(make.tracked(project, name="from a notebook"), "val/accuracy", "train/loss")
    for address in ("/p/robots/runs/", "/p/robots/", "/", "/queue/"):
        answer = pages.get(address)
        assert answer.status_code == 200
        assert ("from a notebook" in answer.content.decode()) == (address != "/queue/")


def test_a_new_run_is_not_made_of_it(pages: Client, project: Project) -> None:
    run = make.tracked(project)
    assert pages.get(f"/p/robots/runs/new/?clone={run.number}").status_code == 404
    assert "?clone=" not in pages.get(f"/p/robots/runs/{run.number}/").content.decode()


@pytest.mark.django_db(transaction=True)
def test_the_documented_example_runs_as_it_stands(live_server: LiveServer, erin: User) -> None:
    make.project("robots", owner=erin)
    text = (ROOT / "docs" / "tracking.md").read_text()
    found = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert found is not None
    _, token = accounts.create_token(user=erin, name="notebook")
    env = os.environ | {
        "DISTILLHUB_URL": live_server.url,
        "DISTILLHUB_TOKEN": token,
        "DISTILLHUB_PROJECT": "robots",
    }
    subprocess.run([sys.executable, "-c", found[1]], env=env, check=True, timeout=60)
    run = Run.objects.get()
    assert (run.status, run.step, run.name) == ("finished", 99, "small, no teacher")
    assert run.series.get().count == 100
