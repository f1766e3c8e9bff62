"""The playground in a browser: a text typed, a sound recorded, what is right said of it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import LazySettings
from playwright.sync_api import expect
from pytest_django.live_server_helper import LiveServer

from projects.models import Feedback, Project, User
from tests.engine import jobs
from tests.engine.test_serving import made
from tests.journeys.test_look import Open, is_accessible, visit
from tests.training.test_serving import stored
from training.worker import predictor

__all__ = ["visit"]  # a fixture

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def models(
    own_files: None, project: Project, tmp_path: Path, settings: LazySettings
) -> Iterator[None]:
    """Two that read texts and one that hears, as they were drawn."""
    settings.DISTILLHUB_WARM_SECONDS = 60
    for name, make_rows, task, architecture, asked in (
        ("big", jobs.texts, "text-classification", "bag_of_embeddings", {"dim": 16}),
        ("tiny", jobs.texts, "text-classification", "bag_of_embeddings", {"dim": 4}),
        ("ears", jobs.sounds, "audio-classification", "spectrogram_convnet", {}),
    ):
        folder = tmp_path / name
        folder.mkdir()
        home = made(folder, make_rows(folder / "dataset.parquet"), task, architecture, asked)
        role = "teacher" if name == "big" else "student"
        stored(project, home, name, task=task, role=role)
    yield
    predictor.hang_up()


@pytest.mark.parametrize(("dark", "width"), [(False, 1440), (True, 390)])
@pytest.mark.usefixtures("models")
def test_models_are_tried_and_corrected(
    visit: Open, live_server: LiveServer, project: Project, erin: User,
    dark: bool, width: int,
) -> None:  # fmt: skip
    here = f"/p/{project.slug}/playground/"
    page = visit(here, by=erin, dark=dark, width=width)
    is_accessible(page)
    page.get_by_label("Model", exact=True).select_option("big@1")
    page.get_by_role("button", name="Try it").click()
    page.get_by_label("Another model").select_option("tiny@1")
    page.wait_for_load_state("networkidle")  # what is typed before would go with the old form
    panels = page.locator(".panel")
    page.get_by_label("A text").fill("please refund my card")
    page.get_by_label("A text").press("Control+Enter")
    expect(panels).to_have_count(2, timeout=60_000)
    expect(panels.first).to_contain_text("ms an input")
    expect(page.locator(".agreement")).to_be_visible()
    is_accessible(page)
    page.get_by_label("A text").fill("cancel it")
    page.get_by_role("button", name="Ask", exact=True).click()
    tried = page.locator("[data-recent-list] .example")
    expect(tried).to_have_count(2)
    tried.nth(1).click()
    expect(tried.first).to_have_text("please refund my card")  # answered once more
    expect(page.get_by_label("A text")).to_have_value("please refund my card")
    page.get_by_label("The right label").select_option("refund")
    page.get_by_role("button", name="Save as feedback").click()
    expect(page.get_by_text("Saved.")).to_be_visible()

    page.goto(f"{live_server.url}{here}?ask=ears@1")
    page.get_by_role("button", name="Record").click()
    expect(page.locator("[data-record-time]")).to_have_text(re.compile(r"\d\.\d s"))
    page.wait_for_timeout(500)  # something to hear
    page.get_by_role("button", name="Stop").click()
    expect(panels).to_have_count(1, timeout=60_000)
    expect(panels).to_contain_text("ms an input")
    expect(page.locator("[data-preview] audio")).to_be_visible()
    is_accessible(page)
    page.get_by_role("button", name="Save as feedback").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    page.get_by_role("link", name="All feedback").click()
    expect(page.get_by_text("please refund my card")).to_be_visible()
    is_accessible(page)
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    kept = {one.task: one for one in Feedback.objects.all()}
    assert kept["text-classification"].label == "refund"
    assert len(kept["text-classification"].said) == 2
    assert kept["audio-classification"].sha256
