"""A service labels the rows of a dataset in the browser: it is registered, asked within a budget,
what it refused is looked at, and a student learns from what it said."""

import csv
import io
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import FilePayload, Page, expect

from tests.journeys.test_dataset_changes import choose, is_accessible
from tests.journeys.test_first_distillation import (
    SOON,
    bring_data,
    finished,
    make_project,
    register,
    start,
)
from tests.training.api_server import Body, Service, prompt_of, serving

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def half(texts: bytes) -> tuple[FilePayload, dict[str, str]]:
    """Every second row without its label; and all labels by text."""
    rows = list(csv.DictReader(io.StringIO(texts.decode())))
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["text", "label"])
    for at, row in enumerate(rows):
        writer.writerow([row["text"], row["category"] if at % 2 else ""])
    file: FilePayload = {
        "name": "half.csv",
        "mimeType": "text/csv",
        "buffer": out.getvalue().encode(),
    }
    return file, {row["text"].strip(): row["category"] for row in rows}


@pytest.fixture
def service(half: tuple[FilePayload, dict[str, str]]) -> Iterator[Service]:
    """Knows every label, and refuses about every ninth text."""
    truth = half[1]

    def text_of(body: Body) -> str:
        said = prompt_of(body).split("\n\n")
        return said[1].strip() if said[0].startswith("Which label") else ""

    def knows(body: Body) -> str:
        return truth.get(text_of(body), "ready")

    def refuses(number: int, body: Body) -> str | None:
        text = text_of(body)
        return "refused" if text and not sum(text.encode()) % 9 else None

    with serving(Service(answer=knows, fault=refuses, key="sk-secret-1234")) as one:
        yield one


def test_a_service_labels_rows_within_a_budget_and_a_student_learns_from_them(
    visitor: Page, half: tuple[FilePayload, dict[str, str]], service: Service
) -> None:
    make_project(visitor, "Paid labels")
    bring_data(visitor, "half", half[0])
    address = visitor.url

    visitor.get_by_role("navigation", name="Main").get_by_role("link", name="Teachers").click()
    visitor.get_by_role("link", name="New teacher").first.click()
    visitor.locator("#id_name").fill("gpt")
    visitor.get_by_text("Through an API").first.click()
    visitor.get_by_label("Address", exact=True).fill(service.base_url)
    visitor.locator("[name='api.model']").fill("big")
    visitor.locator("#id_api_key").fill("sk-secret-1234")
    visitor.locator("[name='api.input_price']").fill("1.00")
    visitor.locator("[name='api.output_price']").fill("2.00")
    visitor.get_by_role("button", name="Register teacher").click()
    expect(visitor.locator("[data-status=ready]")).to_be_visible(timeout=SOON)
    assert "sk-secret" not in visitor.content()

    visitor.goto(address)
    choose(visitor, "Have a teacher label rows")
    visitor.locator("select[name=teacher]").select_option(label="gpt@1, through an API")
    tried = visitor.locator("#tried")
    expect(tried).to_contain_text("Rows it asks about")
    expect(tried).to_contain_text("at most")
    visitor.locator("[name=budget]").fill("0.50")
    is_accessible(visitor)
    visitor.get_by_role("button", name="Make half@2").click()
    expect(visitor).to_have_url(re.compile(r"/half/2/$"))
    expect(visitor.locator("[data-status=ready]").first).to_be_visible(timeout=SOON)
    expect(visitor.locator(".page-head")).to_contain_text("gpt@1 gave labels")
    assert set(service.charges.values()) == {1}

    visitor.get_by_role("link", name=re.compile("^Issues")).click()
    refused = visitor.locator("#issue-not_answered_refused")
    expect(refused).to_contain_text("the teacher refused to answer")
    is_accessible(visitor)

    register(visitor, "student", "tiny", {"Vocabulary": "500", "Width": "4"})
    visitor.get_by_role("navigation", name="Main").get_by_role("link", name="Runs").click()
    visitor.locator("main a[href$='/runs/new/']").first.click()
    visitor.locator("[name=student][value='tiny@1']").check()
    start(visitor, "Start run", epochs="4", learning_rate="0.01")
    finished(visitor)
