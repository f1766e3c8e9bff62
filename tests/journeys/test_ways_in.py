"""How people come in, in a browser: invited, with a second factor, by single sign-on; and how they
are out again. Every page that they meet is accessible, in light and dark, on desks and phones."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
from django.conf import LazySettings
from django.conf import settings as django_settings
from django.core import mail
from django.core.cache import cache
from playwright.sync_api import Browser, BrowserContext, Page, expect
from pytest_django.live_server_helper import LiveServer

from projects.models import Project, User
from tests import make
from tests.journeys.conftest import LEFT, UNSEEN_UNTIL_READY
from tests.journeys.test_look import is_accessible
from tests.projects import openid_provider
from tests.projects.test_people_second_factor import code_of
from training.models import Run

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PASSWORD = "correct horse battery"
#: A browser and htmx say so of every answer that refuses; ours are looked at by the tests.
REFUSED = (
    "Failed to load resource: the server responded with a status of 4",
    "Response Status Error Code 404",
)

Opened = Callable[..., Page]


@pytest.fixture
def opened(browser: Browser, live_server: LiveServer, settings: LazySettings) -> Iterator[Opened]:
    """A browser of somebody who is not signed in, at an address. Nothing may go wrong unseen in it,
    and no other host be asked."""
    settings.SITE_URL = live_server.url
    said: list[str] = []
    hosts: set[str | None] = set()

    def note(text: str) -> None:
        if not text.startswith((*LEFT, *REFUSED)):
            said.append(text)

    with ExitStack() as open_ones:

        def begin(path: str = "/sign-in/", *, dark: bool = False) -> Page:
            context: BrowserContext = browser.new_context(
                viewport={"width": 390 if dark else 1440, "height": 900},
                color_scheme="dark" if dark else "light",
            )
            open_ones.callback(context.close)
            context.set_default_timeout(15_000)
            page = context.new_page()
            page.on("console", lambda one: note(one.text) if one.type == "error" else None)
            page.on("pageerror", lambda error: note(str(error)))
            page.on("request", lambda one: hosts.add(urlsplit(one.url).hostname))
            page.add_init_script(UNSEEN_UNTIL_READY)
            page.goto(path if path.startswith("http") else live_server.url + path)
            return page

        yield begin
    assert said == []
    assert hosts <= {"localhost", "127.0.0.1", None}


def seen(page: Page, heading: str | None = None) -> None:
    """A page that is accessible, and fits."""
    if heading:
        expect(page.get_by_role("heading", name=heading).first).to_be_visible()
    is_accessible(page)
    wider = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wider <= 0, f"{page.url} scrolls sideways"


def sign_in(page: Page, name: str, password: str = PASSWORD) -> None:
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in", exact=True).click()


def sign_out(page: Page) -> None:
    page.context.clear_cookies(name=django_settings.SESSION_COOKIE_NAME)
    page.goto(re.sub(r"(//[^/]+)/.*", r"\1/sign-in/", page.url))


def give(page: Page, code: str) -> None:
    page.get_by_label("Code").fill(code)
    page.get_by_role("button", name="Sign in", exact=True).click()


def at_home(page: Page) -> None:
    expect(page.get_by_role("link", name="Notifications")).to_be_visible()


def test_whoever_is_invited_signs_up_by_the_link_of_the_letter_and_joins(
    opened: Opened, alice: User, project: Project, settings: LazySettings
) -> None:
    cache.clear()  # of allauth's own limits
    settings.EMAIL_URL, settings.ACCOUNT_EMAIL_VERIFICATION = "smtp://mail.example", "mandatory"
    owner = opened(f"/sign-in/?next=/p/{project.slug}/settings/", dark=True)
    sign_in(owner, "alice")
    owner.locator("#invitation-email").fill("nora@example.org")
    owner.get_by_role("button", name="Invite").click()
    expect(owner.get_by_text("The invitation was sent to nora@example.org.")).to_be_visible()
    seen(owner, "Invitations")
    [letter] = mail.outbox
    [link] = re.findall(r"http\S+/invitations/\S+", str(letter.body))

    page = opened(link)
    seen(page, f"Join {project.name}")
    page.get_by_role("link", name="Make an account").click()
    page.get_by_label("Username").fill("nora")
    expect(page.get_by_label("E-mail")).to_have_value("nora@example.org")
    page.locator("#id_password1").fill("12345")
    page.locator("#id_password2").fill("1")
    page.get_by_role("button", name="Make account").click()
    expect(page.locator(".field-error").first).to_be_visible()
    seen(page, "Make an account")
    page.locator("#id_password1").fill(PASSWORD)
    page.locator("#id_password2").fill(PASSWORD)
    page.get_by_role("button", name="Make account").click()
    page.get_by_role("button", name="Join as nora").click()
    expect(page.get_by_text(f"You are viewer of {project.name} now.")).to_be_visible()
    assert project.memberships.get(user__username="nora").role == "viewer"

    late = opened(link, dark=True)
    seen(late, "No invitation here")


def test_a_second_factor_is_set_up_asked_for_and_stood_in_for(opened: Opened, alice: User) -> None:
    page = opened("/sign-in/?next=/account/second-factor/")
    sign_in(page, "alice")
    seen(page, "Second factor")
    page.get_by_role("link", name="Set up").click()
    seen(page, "Is it you?")
    page.get_by_label("Your password").fill(PASSWORD)
    page.get_by_role("button", name="Go on").click()
    seen(page, "Set up your app")
    link = page.get_by_role("link", name="open it in the app").get_attribute("href")
    assert link is not None
    drawn = page.locator(".factor-code").evaluate("it => it.complete && it.naturalWidth")
    assert drawn > 0
    secret = page.locator(".factor-key").inner_text()
    assert link.startswith("otpauth://totp/")
    assert f"secret={secret}" in link
    page.get_by_label("Code that the app shows").fill(code_of(secret, -1))
    page.get_by_role("button", name="Turn on").click()
    seen(page, "Recovery codes")
    codes = page.locator(".factor-codes li").all_inner_texts()
    assert len(codes) == 10
    page.get_by_role("link", name="Done").click()
    seen(page, "Authenticator app")

    phone = opened(dark=True)
    sign_in(phone, "alice")
    seen(phone, "One more thing")
    give(phone, "000000")
    expect(phone.get_by_text("This code is not right, or was used before.")).to_be_visible()
    seen(phone)
    give(phone, codes[0])
    at_home(phone)
    sign_out(phone)
    sign_in(phone, "alice")
    give(phone, codes[0])
    expect(phone.get_by_text("This code is not right, or was used before.")).to_be_visible()
    give(phone, code_of(secret))
    at_home(phone)
    phone.goto(re.sub(r"(//[^/]+)/.*", r"\1/account/second-factor/", phone.url))
    expect(phone.get_by_text("9 left")).to_be_visible()
    seen(phone, "Recovery codes")


def test_a_browser_is_signed_out_from_another_one(opened: Opened, alice: User) -> None:
    there, here = opened(), opened("/sign-in/?next=/account/browsers/", dark=True)
    sign_in(there, "alice")
    at_home(there)
    sign_in(here, "alice")
    seen(here, "Signed in")
    here.get_by_role("row").filter(has_not_text="this one").get_by_role("button").click()
    expect(here.get_by_text("That browser is signed out.")).to_be_visible()
    here.reload()
    expect(here.get_by_text("this one")).to_be_visible()
    there.reload()
    expect(there.get_by_role("heading", name="Sign in")).to_be_visible()


def test_people_come_in_by_the_button_of_their_provider(
    opened: Opened, settings: LazySettings, alice: User
) -> None:
    settings.SIGN_UP = "open"
    with openid_provider.running() as provider:
        openid_provider.known(settings, provider)
        provider.person = {"sub": "1", "preferred_username": "alice", "name": "Alma"}
        page = opened(dark=True)
        button = page.get_by_role("button", name="Sign in with Corp")
        expect(button).to_be_visible()
        seen(page, "Sign in")
        button.click()
        seen(page, "Nearly there")  # her name is taken, and her address not known
        page.get_by_label("Username").fill("alma")
        page.get_by_label("E-mail").fill("alma@corp.example")
        page.get_by_role("button", name="Make account").click()
        at_home(page)
        page.goto(re.sub(r"(//[^/]+)/.*", r"\1/account/connections/", page.url))
        seen(page, "Single sign-on")
        again = opened("/sign-in/?next=/account/")
        again.get_by_role("button", name="Sign in with Corp").click()
        expect(again.get_by_role("heading", name="alma")).to_be_visible()


def test_who_is_removed_from_a_project_is_out_of_a_page_that_stands_open(
    opened: Opened, vera: User, project: Project
) -> None:
    run = make.run(project, status=Run.Status.TRAINING, fraction=0.4)
    home = f"/p/{project.slug}/runs/{run.number}/"
    page = opened(f"/sign-in/?next={home}", dark=True)
    sign_in(page, "vera")
    expect(page.locator("[data-live-url]")).to_be_attached()
    project.memberships.filter(user=vera).delete()
    seen(page, "Not Found")
    assert "run 1" not in page.content()


def test_wrong_passwords_end_at_a_page_that_says_for_how_long(
    opened: Opened, alice: User, settings: LazySettings
) -> None:
    settings.DISTILLHUB_GUESSES = 2
    page = opened()
    for _ in range(3):
        sign_in(page, "alice", "wrong")
    expect(page.get_by_text("There were too many tries. Wait 15 minutes")).to_be_visible()
    seen(page, "Sign in")
