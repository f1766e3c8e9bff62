"""Runs are chosen by keyboard, compared, looked at from every side, and the view is saved."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from projects.models import Project, User
from tests import make
from tests.journeys.test_look import Open, is_accessible, visit  # noqa: F401 - a fixture
from tests.training.conftest import sentences
from tests.training.test_run_slices import answered
from training.models import Run

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def runs(project: Project, tmp_path: Path) -> list[Run]:
    """A distillation and its control, which left their answers, and a run trained elsewhere."""
    first = make.distillation(project)
    control = first.controls.get()
    rows = [one for one in sentences(100) if one["split"] == "test"]
    answered(first, tmp_path, rows, {rows[0]["row_id"]})
    answered(control, tmp_path, rows, {rows[1]["row_id"], rows[2]["row_id"]})
    make.tracked(project, config={"params": {"lr": 0.1}}, metrics={"val/accuracy": 0.5})
    return [first, control]


def drawn(page: Page) -> None:
    for chart in page.locator("[data-chart]").all():
        chart.scroll_into_view_if_needed()
        expect(chart).to_have_attribute("data-drawn", "yes")


@pytest.mark.parametrize(("dark", "width"), [(False, 1440), (True, 390)])
def test_every_side_of_a_comparison_is_accessible(
    visit: Open,  # noqa: F811
    alice: User,
    project: Project,
    runs: list[Run],
    live_server: LiveServer,
    dark: bool,
    width: int,
) -> None:
    here = f"/p/{project.slug}/compare/"
    page = visit(here, by=alice, dark=dark, width=width)
    is_accessible(page)
    for tab in ("table&base=1", "curves", "relations", "configuration", "rows"):
        page.goto(f"{live_server.url}{here}?runs=1,2,3&tab={tab}")
        drawn(page)
        is_accessible(page)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, tab
    page.goto(f"{live_server.url}/p/{project.slug}/runs/?group=status&pin=1")
    for name in ("Views", "Columns"):
        page.locator("summary", has_text=name).click()
        is_accessible(page)
        page.keyboard.press("Escape")
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_runs_are_chosen_compared_and_the_view_is_saved(
    visit: Open,  # noqa: F811
    alice: User,
    project: Project,
    runs: list[Run],
) -> None:
    page = visit(f"/p/{project.slug}/runs/", by=alice)
    for key in ("j", "j", "x", "j", "x"):
        page.keyboard.press(key)
    expect(page.locator("[data-chosen-count]")).to_have_text("2")
    page.reload()
    expect(page.locator("[data-chosen-count]")).to_have_text("2")  # they stay chosen
    page.keyboard.press("c")
    expect(page).to_have_url(re.compile(r"compare/\?runs=1,2$"))
    page.get_by_role("link", name="Pin run 1").click()
    expect(page.locator("tr.is-base")).to_contain_text("run 1")

    page.get_by_role("link", name="Curves").click()
    chart = page.locator("[data-compared]").first
    expect(chart).to_be_visible()
    page.get_by_label("Logarithmic").check()
    page.get_by_role("button", name="Run 2 in the charts").click()
    expect(page).to_have_url(re.compile("log=yes&hide=2"))
    box = chart.locator(".nsewdrag").first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 64, steps=5)
    page.mouse.up()
    expect(page).to_have_url(re.compile("zoom="))
    ranges = page.evaluate(
        "[...document.querySelectorAll('[data-compared] [data-chart-area]')]"
        ".map((one) => String(one.layout.xaxis.range))"
    )
    assert len(set(ranges)) == 1

    page.locator("summary", has_text="Views").click()
    page.get_by_label("Save this view as").fill("Both, zoomed")
    page.get_by_role("button", name="Save the view").click()
    expect(page.get_by_text("Saved as Both, zoomed.")).to_be_visible()
    expect(page).to_have_url(re.compile("log=yes.*zoom="))
    expect(page.get_by_label("Logarithmic")).to_be_checked()

    page.get_by_role("link", name="Rows").click()
    page.get_by_role("link", name="Only A right 2").click()
    expect(page.locator("[data-rows] > tr")).to_have_count(2)
    page.get_by_role("button", name="Send to review").click()
    expect(page.get_by_text("Where two runs disagree").first).to_be_visible()
