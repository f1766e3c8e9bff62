"""A sweep in a browser: begun on the form of a run, looked at while it goes on and when it is over,
in the dark and on a phone."""

import re

import pytest
from playwright.sync_api import expect

from projects.models import Project, User
from tests import make
from tests.journeys.test_look import Open, is_accessible
from tests.journeys.test_look import visit as visit  # a fixture
from training.models import Run, Study
from training.worker import studies as telling

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def carry_out(study: Study) -> None:
    """Every trial that is asked for, as if it had been trained: higher temperatures are better."""
    while trial := study.trials.filter(state="running").select_related("run").first():
        assert trial.run is not None
        value = 0.5 + float(trial.parameters["losses.0.temperature"]) / 40
        summary = {"best_value": value, "selection_metric": "val/accuracy"}
        Run.objects.filter(pk=trial.run.pk).update(status="finished", summary=summary)
        telling.tell(study.pk)


@pytest.mark.parametrize(("dark", "width"), [(False, 1440), (True, 390)])
def test_a_sweep_is_begun_and_looked_at(
    visit: Open, alice: User, project: Project, dark: bool, width: int
) -> None:
    make.dataset_version(project, "mails")
    make.model_version(project, "tiny", parameters=1_000)
    make.model_version(project, "small", parameters=4_000)
    files = [{"name": "model.safetensors", "sha256": "0" * 64, "bytes": 5}]
    make.model_version(project, "big", role="teacher", files=files, labels=["no", "yes"])
    page = visit(f"/p/{project.slug}/runs/new/", by=alice, dark=dark, width=width)
    page.get_by_label("How often").select_option("sweep")
    page.get_by_role("button", name="Choose what is varied").click()
    page.get_by_role("checkbox", name="Temperature, soft targets", exact=True).check()
    page.get_by_label("Temperature, soft targets, highest").fill("12")
    page.get_by_role("checkbox", name="Learning rate", exact=True).check()
    page.get_by_label("Learning rate, lowest").fill("5")
    page.get_by_label("Learning rate, highest").fill("1")
    page.get_by_role("button", name="Start the sweep").click()
    expect(page.get_by_text("low must be less than high.")).to_be_visible()
    page.get_by_text("Every other option").click()
    is_accessible(page)
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    page.get_by_label("Learning rate, lowest").fill("0.0001")
    page.get_by_label("Learning rate, highest").fill("0.01")
    page.get_by_label("Trials", exact=True).fill("8")
    page.get_by_label("Search as long for the control").uncheck()
    page.get_by_role("button", name="Start the sweep").click()
    expect(page).to_have_url(re.compile(r"/studies/1/$"))
    expect(page.get_by_text("The first trials are being chosen")).to_be_visible()
    is_accessible(page)

    study = Study.objects.get()
    telling.tell(study.pk)
    carry_out(study)
    page.reload()
    for chart in page.locator("[data-chart]:visible").all():
        chart.scroll_into_view_if_needed()
        expect(chart).to_have_attribute("data-drawn", "yes")
    expect(page.locator("[data-chart]")).to_have_count(4)
    is_accessible(page)
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    page.get_by_role("button", name="Add trials").click()
    page.get_by_label("How many more").fill("2")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_text("8 of at most 10 trials were asked for")).to_be_visible()
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    telling.tell(study.pk)
    carry_out(study)
    page.reload()
    page.get_by_role("button", name="Test the best").click()
    expect(page.get_by_role("heading", name=re.compile("tested$"))).to_be_visible()
