"""The pages as a browser sees them: accessible, quiet in the console, at home in dark and on a
phone, and nothing asked of another host."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from projects.models import Project, User
from projects.services import accounts, tokens
from tests import make
from tests.conftest import signed_in
from tests.journeys.conftest import UNSEEN_UNTIL_READY
from tests.training import monitor_rows
from tests.training.test_retraining_rules import judged
from tests.training.test_run_pages import evaluated
from training.models import Run
from training.services import model_cards, promotion
from training.worker import metrics

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

Open = Callable[..., Page]


@pytest.fixture
def visit(browser: Browser, live_server: LiveServer) -> Iterator[Open]:
    """Opens an address as a person; afterwards, nothing may have been said in the console and no
    other host asked."""
    contexts, said, hosts = [], [], set()

    def open_page(path: str, *, by: User, dark: bool = False, width: int = 1440) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light"
        )
        contexts.append(context)
        value = signed_in(by).cookies[settings.SESSION_COOKIE_NAME].value
        cookie = {"name": settings.SESSION_COOKIE_NAME, "value": value, "url": live_server.url}
        context.add_cookies([cookie])  # type: ignore[list-item]
        page = context.new_page()
        page.on("console", lambda one: said.append(one.text) if one.type == "error" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
        page.add_init_script(UNSEEN_UNTIL_READY)
        page.goto(live_server.url + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []
    assert hosts - {""} <= {urlsplit(live_server.url).netloc}


@pytest.fixture
def run(project: Project, tmp_path: Path) -> Run:
    made = make.distillation(project)
    evaluated(made, tmp_path)
    return made


VERSION_PAGES = ("card", "promotion", "publish", "lineage")


def _shipped(run: Run) -> str:
    """The address of a version that the run left, with an export, a card, and rules that refuse."""
    files = [{"name": "model.safetensors", "sha256": "0" * 64, "bytes": 5}]
    left = make.model_version(run.project, "shipped", files=files, labels=["no", "yes"])
    run.output = left
    run.save()
    make.export(left, run.data, format="bundle")
    make.publication(left, status="ready", report={"files": [], "bytes": 5, "commit": "0" * 40})
    by = run.created_by
    model_cards.write(version=left, text="# Use\n\n| a | b |\n|---|---|\n| 1 | 2 |", by=by)
    rules = {"min_score": 0.99, "min_retention": 0.5}
    promotion.set_rules(model=left.model, alias="production", rules=rules, by=by)
    promotion.promote(project=run.project, version=left, alias="production", by=by)
    return f"{left.model.name}/{left.number}"


MONITOR_PAGES = ("alerts/", "", "signals/?signal=vector", "windows/4/", "rows/", "teacher/")


def _moved(run: Run) -> str:
    """The address of a monitor in which something moved."""
    monitor = monitor_rows.moved(run.project, name="moved")
    monitor_rows.incident(monitor)
    return f"/p/{run.project.slug}/monitors/{monitor.name}/"


def is_accessible(page: Page) -> None:
    found = Axe().run(page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []


# Colours are a theme's and places a width's: two ways meet both of each.
@pytest.mark.parametrize(("dark", "width"), [(False, 1440), (True, 390)])
def test_every_page_is_accessible(
    visit: Open, alice: User, run: Run, live_server: LiveServer, dark: bool, width: int
) -> None:
    here = f"/p/{run.project.slug}"
    make.run(run.project, status=Run.Status.TRAINING, fraction=0.4, name="going")
    failed = make.run(
        run.project, status="failed", error={"code": "crashed", "detail": "It broke.", "trace": "x"}
    )
    page = visit("/", by=alice, dark=dark, width=width)
    paths = ["/", f"{here}/", f"{here}/runs/", "/workers/", "/storage/", "/patterns/", "/recipes/"]
    paths += [f"{here}/runs/{one.number}/" for one in (run, failed)]
    paths += [f"{here}/models/{_shipped(run)}/{one}/" for one in VERSION_PAGES]
    watched = make.monitor(run.project.models.get(name="shipped").versions.get(number=1))
    settings = f"{here}/monitors/{watched.name}/settings/"
    connect = f"{here}/monitors/{watched.name}/connect/"
    paths += [f"{here}/monitors/", f"{here}/monitors/new/", settings, connect]
    judged(make.retraining(watched, status="deciding"), passed=False)
    paths += [f"{here}/monitors/{watched.name}/retraining/", f"{here}/retrainings/1/"]
    paths += [f"{here}/studies/", f"{here}/studies/{make.strategies(run.project).number}/"]
    moved = _moved(run)
    paths += [f"{moved}{one}" for one in MONITOR_PAGES]
    channel = make.alert_channel(run.project)
    told = {"title": "Opened", "sentence": "Texts got longer.", "severity": "serious"}
    channel.messages.create(key="1", body=told, status="failed", error="No.", due_at=timezone.now())
    channels = f"{here}/alert-channels/"
    paths += [f"{here}/incidents/", f"{here}/incidents/1/", channels, f"{channels}{channel.pk}/"]
    hook = make.webhook(run.project)
    tried = {"at": "2026-11-27T12:00:00+00:00", "status": 502, "milliseconds": 9, "answer": "No."}
    sent = {"message_id": "msg_1", "kind": "test", "body": {}, "due_at": timezone.now()}
    hook.deliveries.create(
        status="failed", answered=[tried | {"error": "It answered 502."}], **sent
    )
    hooks = f"{here}/settings/webhooks/"
    paths += [f"{here}/activity/", hooks, f"{hooks}{hook.pk}/"]
    accounts.create_token(user=alice, name="nightly")
    tokens.create_for_project(project=run.project, name="robot", by=alice)
    paths += ["/account/tokens/", f"{here}/settings/tokens/", f"{here}/settings/audit/"]
    brought = make.looked_into(run.project)
    paths += [f"{here}/runs/import/", f"{here}/runs/import/{brought.pk}/", f"{here}/mlflow/"]
    elsewhere = make.tracked(
        run.project, status="failed", error={"code": "failed", "detail": "It told no more."}
    )
    paths += [f"{here}/runs/{elsewhere.number}/"]
    User.objects.filter(pk=alice.pk).update(is_superuser=True)
    paths += [f"/{one}/" for one in ("account", "account/browsers", "account/confirm", "people")]
    tabs = ("curves", "evaluation", "logs", "configuration", "artifacts")
    paths += [f"{here}/runs/{run.number}/?tab={tab}" for tab in tabs]
    for path in paths:
        page.goto(live_server.url + path)
        # Those below wait until they are near, and those behind a switch until they are chosen.
        for chart in page.locator("[data-chart]:visible").all():
            chart.scroll_into_view_if_needed()
            expect(chart).to_have_attribute("data-drawn", "yes")
        is_accessible(page)
        wider = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wider <= 0, f"{path} scrolls sideways"


@pytest.mark.parametrize(("dark", "width"), [(False, 1440), (True, 390)])
def test_the_run_form_stays_accessible_whatever_is_unfolded(
    visit: Open, alice: User, project: Project, dark: bool, width: int
) -> None:
    make.dataset_version(project, "mails")
    make.model_version(project, "tiny", architecture="bert", parameters=1_000)
    files = [{"name": "model.safetensors", "sha256": "0" * 64, "bytes": 5}]
    make.model_version(
        project, "big", role="teacher", architecture="bert", files=files, labels=["no", "yes"]
    )
    page = visit(f"/p/{project.slug}/runs/new/", by=alice, dark=dark, width=width)
    is_accessible(page)
    page.get_by_text("more recipes").click()
    page.get_by_label("Find a recipe").press_sequentially("tiny")
    expect(page.locator("#preset-mutual")).not_to_be_visible()
    page.get_by_label("Find a recipe").press("Enter")  # searches, and sends nothing
    page.locator("#preset-tinybert").check()
    expect(page.locator(".stage")).to_have_count(2)
    is_accessible(page)
    page.get_by_role("button", name="Move predictions up").click()
    expect(page.locator(".stage input").first).to_have_value("predictions")
    page.evaluate(
        "for (const one of document.querySelectorAll('#run-form details')) one.open = true"
    )
    is_accessible(page)
    page.get_by_role("button", name="Edit as YAML").click()
    written = page.get_by_role("textbox", name="The whole configuration")
    written.fill(written.input_value().replace("seed: 0", "seed: many"))
    expect(page.get_by_text("It must be a whole number.")).to_be_visible()
    is_accessible(page)
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    written.fill(written.input_value().replace("seed: many", "seed: 7"))
    expect(page.get_by_text("It must be a whole number.")).not_to_be_visible()
    page.get_by_role("button", name="Guided").click()
    expect(page.locator("#id_training_seed")).to_have_value("7")


@pytest.mark.parametrize(("dark", "width"), [(False, 1440), (True, 390)])
def test_a_service_is_registered_and_its_key_replaced(
    visit: Open, alice: User, project: Project, dark: bool, width: int
) -> None:
    form = f"/p/{project.slug}/models/new/?role=teacher&task=text-classification"
    page = visit(form, by=alice, dark=dark, width=width)
    page.locator("#id_name").fill("gpt")
    page.locator("#source-api").check()
    expect(page.locator("#id_api_base_url")).to_be_visible()
    page.locator("#id_api_key").fill("sk-0123456789-kept")
    page.locator("#id_api_api").select_option("bedrock")
    expect(page.locator("#id_api_region")).to_be_visible()
    expect(page.locator("#id_api_key")).to_have_value("sk-0123456789-kept")
    page.locator("#id_api_api").select_option("openai-chat")
    expect(page.locator("#id_api_region")).not_to_be_visible()
    page.locator("summary", has_text="Limits").click()
    page.locator("#id_api_base_url").fill("https://10.0.0.1/v1")
    page.locator("#id_api_model").fill("gpt-5-mini")
    is_accessible(page)
    page.locator("aside").get_by_role("button", name="Register teacher").click()
    expect(page.get_by_text("no public address")).to_be_visible()
    is_accessible(page)
    page.locator("#id_api_base_url").fill("https://1.1.1.1/v1")
    page.locator("#id_api_key").fill("sk-0123456789-TAIL")
    page.locator("aside").get_by_role("button", name="Register teacher").click()
    expect(page.get_by_role("heading", name="gpt@1")).to_be_visible()
    expect(page.get_by_text("…TAIL")).to_be_visible()
    is_accessible(page)
    page.get_by_label("Another key").fill("sk-0123456789-NEXT")
    page.get_by_role("button", name="Replace").click()
    expect(page.get_by_text("…NEXT")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    is_accessible(page)


def test_a_stranger_to_the_product_finds_a_way_to_begin(visit: Open, charlie: User) -> None:
    page = visit("/", by=charlie)
    expect(page.get_by_role("link", name="Create a project")).to_be_visible()
    is_accessible(page)


def test_the_theme_is_the_systems_until_chosen_and_then_kept(visit: Open, alice: User) -> None:
    page = visit("/", by=alice, dark=True)
    html = page.locator("html")
    expect(html).to_have_attribute("data-bs-theme", "dark")
    page.get_by_role("button", name="Change between light and dark").click()
    expect(html).to_have_attribute("data-bs-theme", "light")
    page.reload()
    expect(html).to_have_attribute("data-bs-theme", "light")


def test_the_keyboard_walks_the_table_and_goes_places(visit: Open, alice: User, run: Run) -> None:
    page = visit(f"/p/{run.project.slug}/runs/", by=alice)
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(rf"/runs/{run.number}/$"))
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("o")
    expect(page).to_have_url(re.compile(rf"/p/{run.project.slug}/$"))


def test_a_search_narrows_the_table_and_is_in_the_address(
    visit: Open, alice: User, run: Run
) -> None:
    make.run(run.project, name="needle", status=Run.Status.CANCELLED)
    page = visit(f"/p/{run.project.slug}/runs/", by=alice)
    page.get_by_role("searchbox").press_sequentially("needle")
    expect(page.locator("[data-rows] tr")).to_have_count(1)
    expect(page).to_have_url(re.compile("q=needle"))
    page.get_by_role("link", name="Cancelled").click()
    expect(page).to_have_url(re.compile("(?=.*status=cancelled)(?=.*q=needle)"))
    page.reload()
    expect(page.locator("[data-rows] tr")).to_have_count(1)


def test_the_menu_of_a_phone_opens_and_closes(visit: Open, alice: User, run: Run) -> None:
    page = visit("/", by=alice, width=390)
    link = page.get_by_role("navigation", name="Main").get_by_role("link", name="Workers")
    expect(link).not_to_be_visible()
    page.get_by_role("button", name="Menu").click()
    expect(link).to_be_visible()
    page.keyboard.press("Escape")
    expect(link).not_to_be_visible()


def test_a_live_page_draws_new_points_by_itself_and_shows_the_end(
    visit: Open, alice: User, project: Project
) -> None:
    run = make.run(project, status=Run.Status.TRAINING, step=10, steps=100, fraction=0.1)
    measured = [metrics.Measured("train/loss", step, 2.0, 0.0) for step in range(1, 11)]
    metrics.append(run, measured)
    page = visit(f"/p/{project.slug}/runs/{run.number}/", by=alice)
    page.wait_for_selector("[data-chart-name=loss][data-drawn]")

    latest = metrics.append(run, [metrics.Measured("train/loss", 50, 0.5, 0.0)])
    Run.objects.filter(pk=run.pk).update(fraction=0.5, step=50, metrics=latest)
    expect(page.locator("[data-live=percent]")).to_have_text("50 %")
    expect(page.locator("[data-live=loss]")).to_have_text("0.5000")
    last = "document.querySelector('[data-chart-name=loss] [data-chart-area]').data[0].x.at(-1)"
    page.wait_for_function(f"{last} === 50")

    Run.objects.filter(pk=run.pk).update(status=Run.Status.CANCELLED, fraction=0.5)
    expect(page.locator("[data-status=cancelled]").first).to_be_visible()
    expect(page.locator("[data-live-url]")).to_have_count(0)


def test_a_lost_connection_is_said_quietly_and_mends_itself(
    visit: Open, alice: User, project: Project
) -> None:
    run = make.run(project, status=Run.Status.TRAINING, fraction=0.1)
    page = visit(f"/p/{project.slug}/runs/{run.number}/", by=alice)
    page.route("**/live/**", lambda route: route.fulfill(status=200, body="not JSON"))
    notice = page.get_by_text("The server does not answer")
    expect(notice).to_be_visible()
    page.unroute("**/live/**")
    expect(notice).not_to_be_visible(timeout=10_000)


def test_the_evaluation_draws_its_charts_under_the_strict_policy(
    visit: Open, alice: User, run: Run
) -> None:
    page = visit(f"/p/{run.project.slug}/runs/{run.number}/?tab=evaluation", by=alice)
    for name in ("confusion", "reliability", "per_class"):
        page.wait_for_selector(f"[data-chart-name={name}] .main-svg")
    response = page.request.get(page.url)
    policy = response.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe-eval" not in policy


def test_smoothing_draws_an_average_over_the_faded_line(visit: Open, alice: User, run: Run) -> None:
    page = visit(f"/p/{run.project.slug}/runs/{run.number}/?tab=curves", by=alice)
    page.wait_for_selector("[data-chart-name=loss][data-drawn]")
    lines = "document.querySelector('[data-chart-name=loss] [data-chart-area]').data.length"
    before = page.evaluate(lines)
    page.get_by_label("Smoothing").fill("0.6")
    page.wait_for_function(f"{lines} === {before + 3}")
