"""A map of rows in the browser: made by a worker, drawn, its points clicked and chosen, and rows
sought by what they mean."""

import re

import pytest
from playwright.sync_api import FilePayload, Page, expect

from tests.journeys.test_curation import look
from tests.journeys.test_first_distillation import bring_data, make_project

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def drag(page: Page, way: list[tuple[float, float]]) -> None:
    """Over the picture, from place to place, each as shares of its width and height."""
    box = page.locator(".nsewdrag").first.bounding_box()
    assert box is not None
    for number, (across, down) in enumerate(way):
        x, y = box["x"] + across * box["width"], box["y"] + down * box["height"]
        page.mouse.move(x, y, steps=5)
        if not number:
            page.mouse.down()
    page.mouse.up()


def test_a_map_is_made_and_leads_to_rows(visitor: Page, texts: bytes) -> None:
    make_project(visitor, "Meaning")
    bring_data(visitor, "mails", FilePayload(name="m.csv", mimeType="text/csv", buffer=texts))
    visitor.goto(re.sub(r"\?.*", "", visitor.url))
    visitor.get_by_label("Search by meaning").fill("my card has not come")
    visitor.get_by_label("Search by meaning").press("Enter")
    expect(visitor.locator("#rows")).to_contain_text("has no map yet")
    visitor.get_by_role("link", name="To the map").click()
    look(visitor, "map-none")

    visitor.get_by_label("On the plane").select_option("principal")
    visitor.get_by_role("button", name="Make the map").click()
    chart = visitor.locator("[data-map][data-started]")
    expect(chart).to_be_visible(timeout=90_000)
    points = chart.locator(".points path")
    assert points.count() > 100
    visitor.wait_for_timeout(500)
    look(visitor, "map")

    visitor.get_by_role("button", name="Lasso").click()
    drag(visitor, [(0.01, 0.01), (0.99, 0.01), (0.99, 0.99), (0.01, 0.99), (0.01, 0.02)])
    expect(visitor.locator("[data-map-count]")).to_have_text(re.compile(r"\d+ rows chosen"))
    visitor.get_by_label("What to do").select_option("tag")
    visitor.get_by_label("Label, split or tag").fill("all")
    visitor.get_by_role("button", name="Add change").click()
    expect(visitor.get_by_role("link", name="1 change, not yet a version")).to_be_visible()

    visitor.get_by_role("link", name="Map", exact=True).click()
    expect(chart).to_be_visible()
    visitor.get_by_label("Coloured by", exact=True).select_option("split")
    expect(visitor).to_have_url(re.compile("by=split"))
    expect(chart).to_be_visible()
    visitor.wait_for_timeout(500)
    point = points.last.bounding_box()
    assert point is not None
    visitor.mouse.click(point["x"] + point["width"] / 2, point["y"] + point["height"] / 2)
    expect(visitor).to_have_url(re.compile(r"/rows/\d+/$"))
    expect(visitor.locator("#neighbours tbody tr")).to_have_count(6)
    visitor.get_by_role("link", name="All, the nearest first").click()
    expect(visitor.locator("#rows thead")).to_contain_text("Likeness")
    look(visitor, "rows-like")
    visitor.get_by_role("link", name="Show rows in their own order").click()
    visitor.get_by_label("Search by meaning").fill("my card has not come")
    visitor.get_by_label("Search by meaning").press("Enter")
    expect(visitor.locator("#rows thead")).to_contain_text("Likeness")
    expect(visitor).to_have_url(re.compile("meaning="))
