"""Bringing data in the browser: two files, a corrected mapping, a file that is bad at its end."""

import re

import pytest
from playwright.sync_api import FilePayload, Page, expect

from tests.journeys.test_first_distillation import SOON, make_project

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def table(name: str, content: bytes) -> FilePayload:
    return {"name": name, "mimeType": "text/csv", "buffer": content}


def offer(page: Page, *files: FilePayload) -> None:
    """Choose files on the upload page and send them."""
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Datasets").click()
    page.locator("main a[href$='/datasets/new/']").first.click()
    page.locator("input[name=file][multiple]").set_input_files(list(files))
    page.get_by_role("button", name="Upload and look").click()


def test_two_files_a_correction_and_every_tab(visitor: Page, texts: bytes) -> None:
    make_project(visitor, "Two files")
    lines = texts.splitlines(keepends=True)
    test = lines[0] + b"".join(lines[1::9])
    offer(visitor, table("test.csv", test), table("words.csv", texts))
    expect(visitor.get_by_label("First rows of words.csv").first).to_be_visible()
    expect(visitor.locator("#split-1")).to_have_value("test")

    visitor.locator("#header-0").select_option("no")
    expect(visitor.get_by_role("columnheader", name="column_1").first).to_be_visible()
    visitor.locator("#header-0").select_option("yes")
    expect(visitor.locator("#role-label")).to_have_value("category")
    expect(visitor.get_by_role("columnheader", name="column_1")).to_have_count(0)

    visitor.locator("#mapping input[name=name]").fill("words")
    visitor.get_by_role("button", name="Make the dataset").click()
    expect(visitor.locator("[data-status=ready]").first).to_be_visible(timeout=SOON)
    expect(visitor.locator(".stats")).to_contain_text("Test")

    visitor.get_by_label("Search in texts").fill("a")
    expect(visitor).to_have_url(re.compile("q=a"))
    visitor.get_by_label("Split", exact=True).select_option("test")
    expect(visitor).to_have_url(re.compile("split=test"))
    visitor.reload()
    expect(visitor.get_by_label("Split", exact=True)).to_have_value("test")

    tabs = visitor.get_by_role("navigation", name="About this version")
    tabs.get_by_role("link", name="Labels").click()
    expect(visitor.locator("[data-chart-area] .main-svg").first).to_be_visible()
    tabs.get_by_role("link", name="Statistics").click()
    expect(visitor.get_by_role("heading", name="In numbers")).to_be_visible()
    tabs.get_by_role("link", name="Issues").click()
    expect(visitor.get_by_role("heading", name="Leak")).to_be_visible()
    tabs.get_by_role("link", name="Details").click()
    expect(visitor.get_by_text("Train and test as given")).to_be_visible()


def test_a_bad_file_says_where_and_can_be_read_differently(visitor: Page) -> None:
    make_project(visitor, "Bad files")
    good = b"".join(b"words number %d,%s\n" % (n, [b"spam", b"ham"][n % 2]) for n in range(80_000))
    many = [table(f"{n}.csv", good[:100]) for n in range(51)]
    visitor.goto(visitor.url + "datasets/new/")
    visitor.locator("input[name=file][multiple]").set_input_files(many)
    expect(visitor.get_by_role("alert")).to_contain_text("At most 50 files")

    offer(visitor, table("long.csv", b"text,label\n" + good + b"one,too,many\n"))
    visitor.get_by_role("button", name="Make the dataset").click()
    failed = visitor.get_by_role("alert").filter(has_text="Line 80002 has 3 values")
    expect(failed).to_be_visible(timeout=SOON)

    visitor.get_by_role("button", name="Read it differently").click()
    leave_out = visitor.get_by_label("Leave out lines with a wrong number of values")
    expect(leave_out).to_be_visible()
    leave_out.check()
    visitor.get_by_role("button", name="Make the next version").click()
    expect(visitor.locator("[data-status=ready]").first).to_be_visible(timeout=SOON)
    expect(visitor.locator(".stats")).to_contain_text("80\u202f000")


def test_a_dataset_of_the_hub_is_fetched_and_read_differently(visitor: Page) -> None:
    make_project(visitor, "From a hub")
    visitor.goto(visitor.url + "datasets/new/")
    hub = visitor.get_by_role("form", name="From a hub")
    hub.get_by_label("Id of the dataset").fill("some/none")
    hub.get_by_role("button", name="Fetch it").click()
    expect(visitor.get_by_text("The hub has no public dataset called some/none.")).to_be_visible(
        timeout=SOON
    )
    visitor.get_by_role("link", name="Ask for another one").click()
    hub.get_by_label("Id of the dataset").fill("some/words")
    hub.get_by_role("button", name="Fetch it").click()
    expect(visitor.locator("[data-status=ready]").first).to_be_visible(timeout=SOON)
    expect(visitor.locator(".stats")).to_contain_text("100")

    tabs = visitor.get_by_role("navigation", name="About this version")
    tabs.get_by_role("link", name="Labels").click()
    expect(visitor.get_by_text("lost card").first).to_be_visible()
    tabs.get_by_role("link", name="Details").click()
    expect(visitor.get_by_text("0123456789abcdef0123456789abcdef01234567")).to_be_visible()
    visitor.get_by_role("button", name="Read it differently").click()
    expect(visitor.locator("#role-label")).to_have_value("label")
