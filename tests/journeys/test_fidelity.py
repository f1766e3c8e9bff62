"""From a run's evaluation to the rows that its student lost, and by keyboard on to people."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect
from pytest_django.live_server_helper import LiveServer

from projects.models import DatasetVersion, Project, ReviewQueue, User
from tests import make
from tests.journeys.test_compare import drawn
from tests.journeys.test_look import Open, is_accessible, visit  # noqa: F401 - a fixture
from tests.training.conftest import dataset, sentences  # noqa: F401 - a fixture
from tests.training.test_predicted_rows import answers, keep
from tests.training.test_run_pages import evaluated
from training.models import Run

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def run(dataset: DatasetVersion, project: Project, tmp_path: Path) -> Run:  # noqa: F811
    made = make.distillation(project)
    Run.objects.filter(project=project).update(dataset_version=dataset)
    rows = [one for one in sentences(300) if one["split"] == "test"]
    keep(made, tmp_path, answers(rows, wrong=4, theirs=5))
    keep(made.controls.get(), tmp_path, answers(rows, wrong=8, theirs=5))
    evaluated(made, tmp_path)
    return made


@pytest.mark.parametrize(("dark", "width"), [(False, 1440), (True, 390)])
def test_rows_and_lens_are_accessible(
    visit: Open,  # noqa: F811
    alice: User,
    run: Run,
    live_server: LiveServer,
    dark: bool,
    width: int,
) -> None:
    here = f"/p/{run.project.slug}/runs/{run.number}/"
    page = visit(here, by=alice, dark=dark, width=width)
    for tab in ("rows", "rows&show=lost&student=billing", "lens"):
        page.goto(f"{live_server.url}{here}?tab={tab}")
        drawn(page)
        is_accessible(page)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, tab


def test_lost_rows_are_found_from_the_evaluation_and_sent_to_people(
    visit: Open,  # noqa: F811
    erin: User,
    run: Run,
) -> None:
    page = visit(f"/p/{run.project.slug}/runs/{run.number}/?tab=evaluation", by=erin)
    difference = page.get_by_role("group", name="Whose confusion").get_by_role("button")
    expect(difference).to_have_count(3)
    difference.nth(2).click()
    expect(page.locator("[data-chart-name=confusion_difference]")).to_have_attribute(
        "data-drawn", "yes"
    )
    expect(page.locator("[data-chart-name=confusion]")).to_be_hidden()
    page.get_by_role("link", name="lost to the teacher").click()
    table = page.locator("[data-rows] > tr")
    expect(table).to_have_count(3)
    expect(table.first.locator(".of-teacher").first).to_be_visible()
    page.keyboard.press("j")
    page.keyboard.press("x")
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(page.locator("[data-chosen]")).to_have_text("2 chosen")
    page.get_by_role("button", name="Do it").click()
    expect(page).to_have_url(re.compile(rf"/p/{run.project.slug}/reviews/\d+/rows/"))
    assert ReviewQueue.objects.get().items.count() == 2
