"""Curating a dataset in the browser: found by words and columns, chosen by keys, changed row by row
and many at a time, and made into one version."""

import os
import re

import pytest
from playwright.sync_api import FilePayload, Page, expect

from tests.journeys.test_dataset_changes import is_accessible, made
from tests.journeys.test_first_distillation import bring_data, make_project

pytestmark = [pytest.mark.browser, pytest.mark.slow]

LINES = [f"refund me please {n},refund,app" for n in range(60)]
LINES += [f"where is my card {n},card,web" for n in range(40)]
TABLE: FilePayload = {
    "name": "mails.csv",
    "mimeType": "text/csv",
    "buffer": ("text,label,channel\n" + "\n".join(LINES)).encode(),
}


def look(page: Page, name: str) -> None:
    """Accessible in light and dark, wide and narrow; kept as pictures where a folder is named."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        for width in (1400, 400):
            page.set_viewport_size({"width": width, "height": 900})
            page.wait_for_timeout(300)  # colours pass into each other
            is_accessible(page)
            if folder := os.environ.get("DISTILLHUB_LOOKS"):
                page.screenshot(path=f"{folder}/{name}-{scheme}-{width}.png", full_page=True)
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1400, "height": 900})


def test_rows_are_found_chosen_changed_and_made_into_a_version(visitor: Page) -> None:
    make_project(visitor, "Curating")
    bring_data(visitor, "mails", TABLE)
    visitor.goto(re.sub(r"\?.*", "", visitor.url))

    table = visitor.locator("#rows")
    table.get_by_text("More", exact=True).click()
    visitor.get_by_label("Column", exact=True).select_option("channel")
    visitor.get_by_label("Value", exact=True).fill("web")
    visitor.get_by_label("Value", exact=True).press("Tab")
    expect(table.locator(".filters [role=status]")).to_have_text("40 rows")
    expect(visitor).to_have_url(re.compile("where=channel%3Ais%3Aweb"))
    visitor.get_by_label("Search in texts").fill("card (1|2)$")
    visitor.get_by_label("Regular expression").check()
    expect(table.locator(".filters [role=status]")).to_have_text("2 rows")
    visitor.get_by_label("Save these conditions as a slice").fill("few")
    visitor.get_by_role("button", name="Save slice").click()
    expect(visitor.locator("#slices")).to_contain_text("few")
    expect(visitor.get_by_role("link", name="few 2")).to_be_visible()
    look(visitor, "rows")

    visitor.keyboard.press("Escape")
    visitor.locator("h1").click()
    visitor.keyboard.press("j")
    visitor.keyboard.press("x")
    expect(table.locator("[data-chosen]")).to_have_text("1 chosen")
    visitor.get_by_label("All 2 that match").check()
    visitor.get_by_label("What to do").select_option("tag")
    visitor.get_by_label("Label, split or tag").fill("short")
    visitor.get_by_role("button", name="Add change").click()
    expect(visitor.get_by_role("link", name="1 change, not yet a version")).to_be_visible()

    visitor.locator("[data-rows] a").first.click()
    expect(visitor.locator(".page-head")).to_contain_text("1 of 2 that match")
    visitor.keyboard.press("j")
    expect(visitor.locator(".page-head")).to_contain_text("2 of 2 that match")
    look(visitor, "row")
    visitor.get_by_label("Label", exact=True).fill("lost card")
    visitor.get_by_role("button", name="Keep", exact=True).click()
    visitor.get_by_role("link", name="2 changes, not yet a version").click()
    expect(visitor.locator("main")).to_contain_text("given the label lost card")
    look(visitor, "edits")
    visitor.get_by_role("button", name="Make mails@2").click()
    made(visitor, 2)
    expect(visitor.locator("#rows th").filter(has_text="tags")).to_be_visible()


def test_pictures_are_chosen_and_looked_at_one_by_one(visitor: Page, pictures: bytes) -> None:
    make_project(visitor, "Digits")
    zipped: FilePayload = {"name": "d.zip", "mimeType": "application/zip", "buffer": pictures}
    bring_data(visitor, "digits", zipped)
    visitor.goto(re.sub(r"\?.*", "", visitor.url) + "?label=3")
    boxes = visitor.locator("[data-choose]")
    boxes.nth(1).click()
    boxes.nth(4).click(modifiers=["Shift"])
    expect(visitor.locator("[data-chosen]")).to_have_text("4 chosen")
    look(visitor, "pictures")
    visitor.get_by_label("What to do").select_option("split")
    visitor.get_by_label("Label, split or tag").fill("test")
    visitor.get_by_role("button", name="Add change").click()
    expect(visitor.get_by_role("link", name="1 change, not yet a version")).to_be_visible()
    expect(visitor.locator(".is-pending")).to_have_count(4)
    visitor.locator(".picture a").nth(1).click()
    expect(visitor.locator(".large-picture")).to_be_visible()
    expect(visitor.get_by_label("Split")).to_have_value("test")
    look(visitor, "picture")
