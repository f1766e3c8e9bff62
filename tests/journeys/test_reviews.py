"""A reviewer looks at rows by keyboard; what was corrected becomes a version that trains."""

import csv
import io
import re

import pytest
from playwright.sync_api import Page, expect

from tests.journeys.conftest import Stack
from tests.journeys.test_dataset_changes import is_accessible
from tests.journeys.test_first_distillation import (
    SOON,
    bring_data,
    finished,
    make_project,
    register,
    start,
)

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CORRECTED = 20


def spoilt(texts: bytes) -> bytes:
    """The same rows, of which the first have the label of the last."""
    header, *rows = list(csv.reader(io.StringIO(texts.decode())))
    wrong = [[text, rows[-1][1]] for text, _ in rows[:CORRECTED]]
    out = io.StringIO()
    csv.writer(out).writerows([header, *wrong, *rows[CORRECTED:]])
    return out.getvalue().encode()


def test_a_reviewer_corrects_twenty_rows_and_the_new_version_trains(
    stack: Stack, visitor: Page, texts: bytes
) -> None:
    right = {row["text"]: row["category"] for row in csv.DictReader(io.StringIO(texts.decode()))}
    make_project(visitor, "Reviewing")
    bring_data(
        visitor,
        "intents",
        {"name": "intents.csv", "mimeType": "text/csv", "buffer": spoilt(texts)},
    )
    visitor.get_by_role("navigation", name="Main").get_by_role("link", name="Reviews").click()
    is_accessible(visitor)
    visitor.get_by_text("New review", exact=True).click()
    visitor.get_by_role("link", name=re.compile("intents@1")).click()
    visitor.get_by_label("Which rows").select_option("first")
    visitor.get_by_label("At most").fill(str(CORRECTED + 2))
    is_accessible(visitor)
    visitor.get_by_role("button", name="Choose the rows and begin").click()

    shown = visitor.locator("form[data-row]:visible")
    expect(shown).to_be_visible()
    is_accessible(visitor)
    visitor.keyboard.press("?")
    expect(visitor.get_by_role("dialog", name="Keys of a review")).to_be_visible()
    visitor.keyboard.press("Escape")
    first = shown.get_attribute("data-row")
    visitor.keyboard.press("x")
    expect(shown).not_to_have_attribute("data-row", str(first))
    visitor.keyboard.press("u")
    expect(shown).to_have_attribute("data-row", str(first))

    for done in range(CORRECTED + 2):
        row = str(shown.get_attribute("data-row"))
        label = right[shown.locator(".review-text").inner_text()]
        if done < CORRECTED:
            key = shown.locator(f"[data-label][value='{label}']").get_attribute("data-key")
            visitor.keyboard.press(str(key))
        else:
            visitor.keyboard.press("Enter")
        expect(visitor.locator(f"form[data-row='{row}']")).to_have_count(0)
        if done < CORRECTED + 1:
            expect(shown).to_be_visible()
    expect(visitor.get_by_role("heading", name="Nothing is left for you")).to_be_visible()
    is_accessible(visitor)

    visitor.get_by_role("link", name="Results").click()
    expect(visitor.get_by_text(f"of {CORRECTED + 2}; {CORRECTED + 2} by you")).to_be_visible()
    is_accessible(visitor)
    visitor.get_by_role("link", name=re.compile("Change what you said of row")).first.click()
    expect(visitor.locator("main")).to_contain_text("What you say now counts")
    is_accessible(visitor)
    visitor.keyboard.press("x")  # the same keys, for this row alone
    expect(visitor.get_by_text("is reviewed anew")).to_be_visible()
    expect(visitor.get_by_role("region", name="Your reviews")).to_contain_text("skipped")
    visitor.get_by_role("button", name="Close", exact=True).click()
    visitor.get_by_role("button", name="Close the review").click()
    expect(visitor).to_have_url(re.compile(r"/intents/2/$"))
    expect(visitor.locator("[data-status=ready]").first).to_be_visible(timeout=SOON)
    expect(visitor.locator(".page-head")).to_contain_text(
        f"{CORRECTED} rows corrected by 1 reviewer"
    )

    register(visitor, "student", "tiny", {"Vocabulary": "500", "Width": "8"})
    visitor.get_by_role("navigation", name="Main").get_by_role("link", name="Runs").click()
    visitor.locator("main a[href$='/runs/new/']").first.click()
    expect(visitor.locator("#run-summary")).to_contain_text("intents@2")
    start(visitor, "Start run", epochs="2", learning_rate="0.01")
    finished(visitor)
