"""Mending a dataset in the browser: an issue with one click, labels renamed, a template, what
differs, and back again."""

import json
import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import FilePayload, Page, expect

from tests.journeys.test_first_distillation import SOON, bring_data, make_project

pytestmark = [pytest.mark.browser, pytest.mark.slow]

LINES = [f"refund me please {n},{'refund' if n % 2 else 'money back'},app" for n in range(40)]
LINES += [f"where is my card {n},card,web" for n in range(40)] + ["refund me please 3,card,web"]
TABLE: FilePayload = {
    "name": "mails.csv",
    "mimeType": "text/csv",
    "buffer": ("text,label,channel\n" + "\n".join(LINES)).encode(),
}


def is_accessible(page: Page) -> None:
    found = Axe().run(page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def made(page: Page, number: int) -> None:
    expect(page).to_have_url(re.compile(rf"/mails/{number}/$"))
    expect(page.locator("[data-status=ready]").first).to_be_visible(timeout=SOON)


def choose(page: Page, change: str) -> None:
    page.get_by_text("Change", exact=True).click()
    page.get_by_role("link", name=change, exact=True).click()
    expect(page.get_by_role("heading", name=change, level=1)).to_be_visible()


def test_a_dataset_is_mended_changed_and_compared(visitor: Page) -> None:
    make_project(visitor, "Mending")
    bring_data(visitor, "mails", TABLE)

    visitor.get_by_role("link", name=re.compile("^Issues")).click()
    conflicting = visitor.locator("#issue-conflicting_labels")
    conflicting.get_by_role("button", name="Leave them out").click()
    dialog = visitor.get_by_role("dialog", name="Make mails@2?")
    expect(dialog).to_contain_text("mails@1 stays as it is")
    is_accessible(visitor)
    dialog.get_by_role("button", name="Make mails@2").click()
    made(visitor, 2)
    expect(visitor.locator(".page-head")).to_contain_text("Left out rows with conflicting labels")

    choose(visitor, "Rename labels")
    visitor.get_by_label("money back").fill("refund")
    tried = visitor.locator("#tried")
    expect(tried).to_contain_text("First rows that change")
    expect(tried.locator("ins").first).to_have_text("refund")
    is_accessible(visitor)
    visitor.get_by_role("button", name="Make mails@3").click()
    made(visitor, 3)

    choose(visitor, "Columns")
    visitor.get_by_label("Group, kept in one split").select_option("channel")
    expect(tried).not_to_contain_text("Say what is to change")
    is_accessible(visitor)

    choose_again = visitor.get_by_text("Another change")
    choose_again.click()
    visitor.get_by_role("link", name="Make texts by a template").click()
    visitor.get_by_label("Or write one").fill("{channel}: {nothing}")
    expect(tried).to_contain_text("There is no column 'nothing'")
    visitor.get_by_label("Or write one").fill("{channel}: {text}")
    expect(tried.locator("ins").first).to_have_text(re.compile("^(app|web): "))
    is_accessible(visitor)
    visitor.get_by_role("button", name="Make mails@4").click()
    made(visitor, 4)

    visitor.get_by_text("Version 4", exact=True).click()
    visitor.get_by_role("link", name="Compare versions").click()
    visitor.get_by_label("From").select_option("1")
    expect(visitor).to_have_url(re.compile("from=1"))
    visitor.get_by_label("To", exact=True).select_option("3")
    expect(visitor).to_have_url(re.compile("to=3"))
    removed = visitor.locator(".stat", has_text="Removed")
    expect(removed.locator(".stat-value")).to_have_text("2")
    visitor.get_by_role("link", name=re.compile("^Changed")).click()
    expect(visitor.locator("del", has_text="money back").first).to_be_visible()
    is_accessible(visitor)
    visitor.set_viewport_size({"width": 390, "height": 844})
    is_accessible(visitor)

    visitor.goto(visitor.url.split("diff/")[0] + "4/?tab=details")
    is_accessible(visitor)
    visitor.set_viewport_size({"width": 1440, "height": 900})
    with visitor.expect_download() as download:
        visitor.get_by_text("Download", exact=True).click()
        visitor.get_by_role("link", name="JSON Lines").click()
    lines = download.value.path().read_text().splitlines()
    assert json.loads(lines[0])["text"].startswith(("app: ", "web: "))
    assert len(lines) == 79

    visitor.get_by_role("button", name="Delete this version").click()
    visitor.get_by_role("dialog").get_by_role("button", name="Delete this version").click()
    expect(visitor.get_by_text("mails@4 is deleted.")).to_be_visible()
    expect(visitor).to_have_url(re.compile(r"/mails/3/$"))
