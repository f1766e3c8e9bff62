"""What people paste into names and labels stays where it belongs: texts of rows are seen beside
labels of two hundred characters, on a screen as on a phone."""

import pytest
from django.urls import reverse
from playwright.sync_api import Page

from projects.models import Project, User
from tests.conftest import api_of
from tests.journeys.test_look import Open, visit
from tests.projects.test_operations import upload

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
__all__ = ["visit"]

LONG = "a label that somebody pasted a whole sentence into " * 3
NAME = "a-name-that-somebody-typed-without-thinking-about-how-it-looks-in-tables-and-crumbs"
ROWS = [f"question {n} about something,{LONG if n % 2 else 'short'}" for n in range(40)]
TABLE = "\n".join(["text,label", *ROWS, f"question 1 about something,{LONG}"])


def seen(page: Page, selector: str) -> float:
    """How much of the first such element stands within its table, in pixels of its width."""
    found = page.locator(selector).first.evaluate(
        """cell => {
            const inside = cell.closest('.table-wrap').getBoundingClientRect();
            const at = cell.getBoundingClientRect();
            return Math.min(at.right, inside.right) - Math.max(at.left, inside.left);
        }"""
    )
    return float(found)


@pytest.mark.parametrize(("width", "least"), [(1400, 300), (400, 70)])
def test_texts_are_seen_beside_the_longest_labels(
    project: Project, erin: User, visit: Open, width: int, least: int
) -> None:
    upload(api_of(erin), TABLE, NAME)
    address = reverse("projects:dataset_version", args=["intents", NAME, 1])
    page = visit(address, by=erin, width=width)
    assert seen(page, "#rows td:has(.cell-text), #rows td.cell-text") > least
    listed = visit(reverse("projects:dataset_list", args=["intents"]), by=erin, width=width)
    assert seen(listed, "td:has(> .row-name)") > 140
    issues = visit(f"{address}?tab=issues", by=erin, width=width)
    assert seen(issues, "#issue-duplicate td.w-100") > 3 * least or width > 1000
    for one in (page, issues):
        over = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert one.evaluate(over) <= 0
