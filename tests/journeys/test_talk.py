"""Two people and a run: one mentions the other by keyboard, who hears of it, follows and answers;
then runs are archived from the table."""

import pytest
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from projects.models import Comment, Notification, Project, User
from tests import make
from tests.journeys.test_look import Open, is_accessible, visit  # noqa: F401 - a fixture
from training.models import Run
from training.worker import fanning

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def runs(project: Project) -> list[Run]:
    data, student = make.dataset_version(project), make.model_version(project)
    shared = {"dataset_version": data, "student": student, "status": "finished"}
    return [make.run(project, number=number, **shared) for number in (1, 2, 3)]


def comes_back(page: Page) -> None:
    """To a tab that was not looked at: it asks at once what is new, not in some seconds."""
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def test_people_talk_hear_and_tidy_up(
    visit: Open,  # noqa: F811
    live_server: LiveServer,
    project: Project,
    alice: User,
    erin: User,
    runs: list[Run],
) -> None:
    page = visit(f"/p/{project.slug}/runs/1/", by=alice)
    page.get_by_label("Say something").click()
    page.keyboard.type("Look at **this**, @er")
    expect(page.get_by_role("option", name="erin")).to_be_visible()
    page.keyboard.press("Enter")
    page.keyboard.type("please")
    is_accessible(page)
    page.keyboard.press("Control+Enter")
    expect(page.locator(".said-text strong")).to_have_text("this")
    expect(page.locator(".mention")).to_have_text("@erin")
    page.get_by_role("button", name="Favourite").click()
    expect(page.locator("#favourites a")).to_have_text("run 1")
    fanning.fan_out()

    hers = visit("/notifications/", by=erin, dark=True, width=390)
    is_accessible(hers)
    assert hers.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    expect(hers.get_by_role("link", name="Notifications, 1 unread")).to_be_visible()
    hers.locator(".note-words").click()
    expect(hers.locator(".said.is-meant .mention")).to_be_in_viewport()
    # A browser tells nobody of an answer to a page that it has left: the row does.
    for _ in range(100):
        if Notification.objects.get(user=erin).read_at is not None:
            break
        hers.wait_for_timeout(100)
    hers.reload()
    expect(hers.get_by_role("link", name="Notifications", exact=True)).to_be_visible()
    page.get_by_label("Say something").fill("Half a thou")
    hers.get_by_label("Say something").fill("I see.")
    hers.get_by_role("button", name="Comment", exact=True).click()
    expect(hers.locator(".said")).to_have_count(2)
    fanning.fan_out()
    comes_back(page)
    expect(page.locator(".said-text").last).to_have_text("I see.")
    expect(page.locator("[data-news]")).to_have_text("erin said something.")
    expect(page.get_by_label("Say something")).to_have_value("Half a thou")
    expect(page.get_by_label("Say something")).to_be_focused()
    expect(page.get_by_role("link", name="Notifications, 1 unread")).to_be_visible()
    hers.get_by_label("Change the comment of erin").click()
    hers.get_by_role("button", name="Edit", exact=True).click()
    is_accessible(hers)
    hers.get_by_label("Change it").fill("I see now.")
    hers.get_by_role("button", name="Keep", exact=True).click()
    expect(hers.locator(".said-text").last).to_have_text("I see now.")
    hers.on("dialog", lambda dialog: dialog.accept())
    hers.get_by_label("Change the comment of erin").click()
    hers.get_by_role("button", name="Delete", exact=True).click()
    expect(hers.get_by_text("This comment was deleted.")).to_be_visible()
    assert Comment.objects.filter(deleted_at=None).count() == 1
    comes_back(page)
    expect(page.get_by_text("This comment was deleted.")).to_be_visible()
    expect(page.get_by_label("Say something")).to_have_value("Half a thou")
    hers.goto(f"{live_server.url}/account/notifications/")
    is_accessible(hers)

    page.goto(f"{live_server.url}/p/{project.slug}/runs/")
    page.get_by_label("Choose run 2").check()
    page.get_by_label("Choose run 3").check()
    page.locator("summary", has_text="Colour").click()
    is_accessible(page)
    page.get_by_label("Colour 5", exact=True).click()
    expect(page.get_by_text("2 runs coloured.")).to_be_visible()
    page.get_by_role("button", name="Archive").click()
    expect(page.get_by_text("2 runs archived.")).to_be_visible()
    expect(page.locator("[data-choose-run]")).to_have_count(1)
    page.get_by_role("link", name="Archived runs").click()
    expect(page.locator("[data-choose-run]")).to_have_count(2)
    is_accessible(page)
