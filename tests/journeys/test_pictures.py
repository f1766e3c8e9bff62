"""Pictures and what people take of them: trade-offs, reports on paper and for strangers, charts as
tables and files."""

import csv
import io
import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from projects.models import Project, User
from tests import make
from tests.journeys.test_look import Open, is_accessible, visit
from tests.training.test_chart_laws import CASES
from training.models import Run
from training.services import reports

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
__all__ = ["visit"]  # the fixture


@pytest.fixture
def run(project: Project) -> Run:
    return make.distillation(project)


def taken(page: Page, chart: str, form: str) -> Path:
    """A file of a chart, by its menu."""
    card = page.locator(f"[data-chart-name='{chart}']")
    card.scroll_into_view_if_needed()
    expect(card).to_have_attribute("data-drawn", "yes")
    card.get_by_label("table and files").click()
    with page.expect_download() as found:
        card.locator(f"[data-chart-as={form}]").click()
    return Path(found.value.path())


@pytest.mark.parametrize(("dark", "width"), [(False, 1440), (True, 390)])
def test_trade_offs_and_reports_are_accessible(
    visit: Open, alice: User, run: Run, live_server: LiveServer, dark: bool, width: int
) -> None:
    here = f"/p/{run.project.slug}"
    reports.create(project=run.project, run=run.number, by=alice)
    page = visit(f"{here}/pareto/", by=alice, dark=dark, width=width)
    for path in ("pareto/", "reports/", "reports/1/", "reports/1/edit/"):
        page.goto(f"{live_server.url}{here}/{path}")
        for chart in page.locator("[data-chart]").all():
            chart.scroll_into_view_if_needed()
            expect(chart).to_have_attribute("data-drawn", "yes")
        is_accessible(page)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, path


def test_a_chart_is_read_as_a_table_and_taken_as_files(visit: Open, alice: User, run: Run) -> None:
    page = visit(f"/p/{run.project.slug}/pareto/", by=alice)
    expect(page.get_by_role("heading", name="Paid back after")).to_be_visible()
    card = page.locator("[data-chart-name=pareto]")
    card.get_by_label("table and files").press("Enter")
    page.get_by_role("button", name="Show as a table").first.press("Enter")
    table = card.get_by_role("region", name="as a table")
    expect(table).to_be_focused()
    expect(table.get_by_role("row")).to_have_count(4)
    expect(table.get_by_role("columnheader").nth(1)).to_have_text(
        "latency of a call at batch 1, milliseconds"
    )
    is_accessible(page)
    lines = list(csv.DictReader(io.StringIO(taken(page, "pareto", "csv").read_text("utf-8-sig"))))
    assert [(one["series"], one["accuracy, validation"]) for one in lines] == [
        ("teachers", "0.91"), ("students", "0.88"), ("controls", "0.88"),
    ]  # fmt: skip
    assert taken(page, "pareto", "png").read_bytes().startswith(b"\x89PNG")
    assert taken(page, "break-even", "svg").read_text().startswith("<svg")


def test_every_figure_has_a_table(visit: Open, alice: User) -> None:
    """With the columns it names, and as many cells in each row, whatever its numbers are."""
    page = visit("/patterns/", by=alice)
    card = page.locator("[data-chart]").first
    card.scroll_into_view_if_needed()
    expect(card).to_have_attribute("data-drawn", "yes")
    figures = {str(one.id): one.values[0]() for one in CASES}  # type: ignore[operator]
    told = page.evaluate(
        """(figures) => {
            const root = document.querySelector('[data-chart]');
            const button = root.querySelector('[data-chart-as=table]');
            return Object.entries(figures).map(([name, figure]) => {
                root.figure = figure;
                button.click();
                if (root.querySelector('[data-chart-table]').hidden) button.click();
                const rows = [...root.querySelectorAll('[data-chart-table] tr')];
                return [name, rows.map((row) => [...row.cells].map((one) => one.textContent))];
            });
        }""",
        figures,
    )
    assert len(told) == len(CASES)
    for name, rows in told:
        assert len(rows[0]) >= 1, name
        assert {len(row) for row in rows} == {len(rows[0])}, name
        assert not [one for row in rows for one in row if one in ("undefined", "NaN", "null")], name
        if not name.endswith(("none", "nothing")):
            assert all(rows[0][1:]), name
    tables = dict(told)
    losses = tables["curves.losses-odd"]
    assert losses[0] == ["step", "total", "a", "b", "validation"]
    assert losses[1:3] == [["1"] + ["0.5"] * 4, ["2"] + ["–"] * 4]
    options = tables["parallel.coordinates-odd"]
    assert [row[1] for row in options[1:]] == ["1", "–", "–", "–", "0"]
    assert tables["sweeps.contour-odd"][0][-2:] == ["trial", "accuracy"]


def test_odd_numbers_are_drawn_as_what_they_are(visit: Open, alice: User) -> None:
    """On the page of patterns, with figures of none, one, and broken points beside its own."""
    page = visit("/patterns/", by=alice)
    drawn: dict[int, list[float | None]] = {0: [], 1: [0.5], 2: [None, 0.5, None, 0.7, None]}
    page.evaluate(
        """async (drawn) => {
            const text = await (await fetch('/patterns/')).text();
            const page = new DOMParser().parseFromString(text, 'text/html');
            const place = document.createElement('div');
            place.id = 'odd';
            for (const y of Object.values(drawn)) {
                const chart = document.importNode(page.querySelector('[data-chart]'), true);
                const trace = {type: 'scatter', mode: 'lines', name: '=1+1', x: y.map((_, n) => n),
                               y, line: {}, meta: {tone: 'student'}};
                chart.querySelector('[data-chart-figure]').content.textContent = JSON.stringify(
                    {data: [trace], layout: {xaxis: {}, yaxis: {}, meta: {}}});
                place.append(chart);
            }
            document.querySelector('main').append(place);
            place.dispatchEvent(new CustomEvent('htmx:afterSettle', {bubbles: true}));
        }""",
        drawn,
    )
    charts = page.locator("#odd [data-chart]")
    for at in drawn:
        charts.nth(at).scroll_into_view_if_needed()
        expect(charts.nth(at)).to_have_attribute("data-drawn", "yes")
    expect(charts.nth(0).get_by_text("nothing measured")).to_be_visible()
    expect(charts.nth(1).locator(".point")).to_have_count(1)
    expect(charts.nth(2).locator(".point")).to_have_count(2)
    charts.nth(2).get_by_label("table and files").click()
    with page.expect_download() as found:
        charts.nth(2).locator("[data-chart-as=csv]").click()
    told = Path(found.value.path()).read_text("utf-8-sig")
    assert told.splitlines()[0] == "x,'=1+1"  # no formula of a spreadsheet
    assert told.splitlines()[1:3] == ["0,", "1,0.5"]


def test_a_report_prints_in_light_and_is_read_by_who_has_its_link(
    visit: Open, alice: User, run: Run, browser: Browser, live_server: LiveServer
) -> None:
    report = reports.create(project=run.project, run=run.number, by=alice)
    page = visit(f"/p/{run.project.slug}/reports/1/", by=alice, dark=True)
    charts = page.locator("[data-chart][data-drawn=yes]")
    expect(charts).to_have_count(4)  # also those far below: all are printed
    assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    expect(page.get_by_role("navigation", name="Breadcrumbs")).to_be_hidden()
    ink = page.locator("h1").evaluate("one => getComputedStyle(one).color")
    assert sum(map(int, json.loads(ink.replace("rgb(", "[").replace(")", "]")))) < 200  # dark ink
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    secret = reports.share(report=report, by=alice)
    stranger = browser.new_page()
    asked: list[str] = []
    stranger.on("request", lambda request: asked.append(request.url))
    stranger.goto(f"{live_server.url}/shared/reports/{secret}/")
    expect(stranger.locator("[data-chart][data-drawn=yes]")).to_have_count(4)
    is_accessible(stranger)
    assert all("/static/" in one or "/shared/reports/" in one for one in asked)
    reports.stop_sharing(report=report)
    stranger.reload()
    expect(stranger.get_by_role("heading", name="Nothing here")).to_be_visible()
    stranger.close()
