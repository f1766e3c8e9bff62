"""Webhooks and activity, as people and programs have them: the pages, and the same through REST."""

from typing import Any

import jsonschema
import pytest
from django.conf import LazySettings
from pytest_django import DjangoAssertNumQueries

from projects.models import Event, Project, User, Webhook, WebhookDelivery, event_kinds
from projects.services import events, webhook_messages, webhook_secrets, webhooks
from tests import make
from tests.conftest import api_of, signed_in
from training.services import tracking

pytestmark = pytest.mark.django_db

URL = "https://hooks.example.com/canary-77aa?key=1"
Assert = DjangoAssertNumQueries


@pytest.fixture(autouse=True)
def allowed(settings: LazySettings) -> None:
    settings.DISTILLHUB_OUTGOING_ALLOW = ["hooks.example.com"]


@pytest.fixture
def hook(project: Project, alice: User) -> Webhook:
    return webhooks.create(project=project, asked={"name": "ci", "url": URL}, by=alice)[0]


def base(project: Project) -> str:
    return f"/api/v1/projects/{project.slug}/webhooks/"


def page_of(project: Project, more: str = "") -> str:
    return f"/p/{project.slug}/settings/webhooks/{more}"


def deliver(hook: Webhook, project: Project, count: int, **fields: Any) -> list[WebhookDelivery]:
    tries = [{"at": "2026-11-27T12:00:00+00:00", "status": 502, "milliseconds": 31,
              "error": "It answered 502.", "answer": "<b>no</b>"}]  # fmt: skip
    made = []
    for _ in range(count):
        event = events.tell(
            project=project, kind="report.published", subject_kind="report", subject="1",
            title="<i>Told</i>", sentence="A link.", data={"number": 1, "title": "<i>Told</i>"},
        )  # fmt: skip
        made.append(
            hook.deliveries.create(
                event=event,
                message_id=webhook_messages.message_id(hook.pk, event.pk),
                kind=event.kind,
                body=webhook_messages.body_of(event),
                due_at=event.at,
                **{"status": "failed", "tries": 8, "answered": tries} | fields,
            )
        )
    return made


# REST --------------------------------------------------------------------------------------------


def test_a_webhook_is_made_changed_and_deleted_and_its_secret_told_once(
    project: Project, alice: User
) -> None:
    api = api_of(alice)
    asked = {"name": "ci", "url": URL, "events": ["run.failed", "run.finished"]}
    key = "one"
    made = api.post(base(project), asked, format="json", HTTP_IDEMPOTENCY_KEY=key)
    assert made.status_code == 201
    assert made.json()["secret"].startswith("whsec_")
    assert made.json()["events"] == ["run.finished", "run.failed"]  # in the order of the list
    again = api.post(base(project), asked, format="json", HTTP_IDEMPOTENCY_KEY=key)
    assert again.json()["secret"] is None
    address = f"{base(project)}{made.json()['id']}/"
    assert "secret" not in api.get(address).json()
    assert "canary-77aa" not in api.get(address).content.decode()
    assert api.get(base(project)).json()["results"][0]["host"] == "hooks.example.com"
    changed = api.patch(address, {"is_on": False, "events": []}, format="json").json()
    assert (changed["is_on"], changed["events"], changed["secret"]) == (False, [], None)
    assert api.post(f"{address}test/").json()["code"] == "off"
    assert api.delete(address).status_code == 204
    assert not Webhook.objects.exists()


@pytest.mark.parametrize(
    ("asked", "at"),
    [
        ({"url": URL}, "name"),
        ({"name": "x"}, "url"),
        ({"name": "x", "url": "https://10.0.0.1/"}, "url"),
        ({"name": "x", "url": URL, "secret": "short"}, "secret"),
        ({"name": "x", "url": URL, "events": ["run.nothing"]}, "events"),
        ({"name": "x", "url": URL, "events": "run.finished"}, "events"),
        ({"name": "x", "url": URL, "is_on": "no"}, "is_on"),
        ({"name": "x", "url": URL, "created_by": "erin"}, "created_by"),
    ],
)
def test_what_cannot_be_is_said_at_its_field(
    project: Project, alice: User, asked: dict[str, Any], at: str
) -> None:
    answer = api_of(alice).post(base(project), asked, format="json")
    assert answer.status_code == 400
    assert at in answer.json()["fields"]


def test_a_name_is_taken_once(project: Project, alice: User, hook: Webhook) -> None:
    answer = api_of(alice).post(base(project), {"name": "ci", "url": URL}, format="json")
    assert (answer.status_code, answer.json()["code"]) == (409, "name_taken")


def test_the_log_is_filtered_and_sent_again(project: Project, alice: User, hook: Webhook) -> None:
    api, address = api_of(alice), f"{base(project)}{hook.pk}/"
    first, second = deliver(hook, project, 2)
    deliver(hook, project, 1, status="delivered")
    found = api.get(f"{address}deliveries/?status=failed&kind=report.published&limit=1").json()
    assert [one["id"] for one in found["results"]] == [second.pk]
    assert found["next"]
    assert found["results"][0]["answered"][0]["status"] == 502
    assert api.get(f"{address}deliveries/?status=odd").status_code == 400
    assert api.get(f"{address}deliveries/{first.pk}/").json()["body"]["type"] == "report.published"
    again = api.post(f"{address}deliveries/{first.pk}/redeliver/")
    assert (again.status_code, again.json()["status"], again.json()["tries"]) == (202, "waiting", 0)
    assert again.json()["message_id"] == first.message_id
    since = second.created_at.isoformat()
    assert api.post(f"{address}redeliver/", {"since": since}, format="json").json() == {"count": 1}
    assert api.post(f"{address}redeliver/", {"since": "soon"}, format="json").status_code == 400
    assert api.post(f"{address}test/").json()["kind"] == "test"


def test_a_rotated_secret_is_told_and_the_one_before_holds_for_a_while(
    project: Project, alice: User, hook: Webhook
) -> None:
    api, address = api_of(alice), f"{base(project)}{hook.pk}/rotate/"
    [first] = webhook_secrets.opened(hook).now()
    second = api.post(address, {"grace_hours": 1}, format="json").json()["secret"]
    hook.refresh_from_db()
    assert webhook_secrets.opened(hook).now() == [second, first]
    assert api.post(address, {"grace_hours": 999}, format="json").status_code == 400


def test_programs_learn_what_there_is_to_hear(project: Project, charlie: User) -> None:
    found = api_of(charlie).get("/api/v1/webhooks/events/").json()
    assert [one["kind"] for one in found] == list(event_kinds.KINDS)
    for one in found:
        jsonschema.Draft202012Validator.check_schema(one["schema"])


def test_the_feed_is_read_by_kind_person_and_subject(
    project: Project, erin: User, vera: User
) -> None:
    run = tracking.begin(project=project, by=erin, name="elsewhere")
    tracking.end(project=project, number=run.number, by=erin)
    api, address = api_of(vera), f"/api/v1/projects/{project.slug}/events/"
    found = api.get(f"{address}?kind=run&by=erin&subject=run/{run.number}").json()["results"]
    assert [one["kind"] for one in found] == ["run.finished", "run.started"]
    assert found[0]["url"].endswith(f"/p/{project.slug}/runs/{run.number}/")
    assert found[0]["data"]["name"] == "elsewhere"
    assert api.get(f"{address}?kind=nothing").status_code == 400
    assert api.get(f"{address}?kind=alias").json()["results"] == []


# Pages -------------------------------------------------------------------------------------------


def test_an_owner_adds_a_webhook_and_sees_its_secret_once(project: Project, alice: User) -> None:
    site = signed_in(alice)
    assert "No other program is told yet" in site.get(page_of(project)).content.decode()
    form = {"name": "ci", "url": URL, "which": "some", "events": ["run.finished"]}
    wrong = site.post(page_of(project), form | {"url": "https://127.0.0.1/"})
    assert wrong.status_code == 400
    assert "no public address" in wrong.content.decode()
    shown = site.post(page_of(project), form, follow=True).content.decode()
    hook = Webhook.objects.get()
    [secret] = webhook_secrets.opened(hook).now()
    assert hook.events == ["run.finished"]
    assert secret in shown
    again = site.get(page_of(project, f"{hook.pk}/")).content.decode()
    assert secret not in again
    assert "canary-77aa" not in shown + again


def test_a_webhook_is_changed_rotated_tried_and_deleted(
    project: Project, alice: User, hook: Webhook
) -> None:
    site, address = signed_in(alice), page_of(project, f"{hook.pk}/")
    site.post(address, {"name": "ci 2", "which": "all", "events": ["run.failed"], "is_on": "true"})
    hook.refresh_from_db()
    assert (hook.name, hook.events, hook.is_on) == ("ci 2", [], True)
    before = webhook_secrets.opened(hook).now()
    shown = site.post(f"{address}rotate/", {"grace_hours": "0"}, follow=True).content.decode()
    hook.refresh_from_db()
    [now] = webhook_secrets.opened(hook).now()
    assert now in shown
    assert now not in before
    site.post(f"{address}test/")
    assert hook.deliveries.get().kind == "test"
    [failed] = deliver(hook, project, 1)
    page = site.get(address).content.decode()
    assert "Send 1 given up again" in page
    assert "&lt;b&gt;no&lt;/b&gt;" in page
    assert "<i>Told</i>" not in page
    site.post(f"{address}deliveries/{failed.pk}/redeliver/")
    failed.refresh_from_db()
    assert failed.status == "waiting"
    site.post(address, {"name": "ci 2", "which": "all"})  # the box is not ticked
    refused = site.post(f"{address}test/", follow=True).content.decode()
    assert "ci 2 is off" in refused
    site.post(f"{address}delete/")
    assert not Webhook.objects.exists()


def test_the_log_of_a_webhook_is_paged_at_a_bounded_price(
    project: Project, vera: User, hook: Webhook, django_assert_max_num_queries: Assert
) -> None:
    site, address = signed_in(vera), page_of(project, f"{hook.pk}/")
    deliver(hook, project, 60)
    site.get(address)
    with django_assert_max_num_queries(12):
        page = site.get(address).content.decode()
    assert page.count('class="delivery"') == 50
    assert "Send again" not in page  # a viewer reads
    older = hook.deliveries.order_by("-pk")[49].pk
    assert f"before={older}" in page
    rest = site.get(f"{address}?before={older}&status=failed").content.decode()
    assert rest.count('class="delivery"') == 10
    with django_assert_max_num_queries(12):
        site.get(page_of(project))


def test_activity_is_shown_by_day_and_kind_and_as_text(
    project: Project, vera: User, erin: User, django_assert_max_num_queries: Assert
) -> None:
    site, address = signed_in(vera), f"/p/{project.slug}/activity/"
    assert "Nothing has happened yet" in site.get(address).content.decode()
    for n in range(62):
        run = make.run(project, name=f"<b>{n}</b>", created_by=erin)
        run.tell("cancelled", "Cancelled by <i>Erin</i>.", by=erin)
    make.model_version(project, "small").announce()
    Event.objects.filter(subject="62").update(at="2025-01-05T12:00:00Z")
    with django_assert_max_num_queries(12):
        page = site.get(address).content.decode()
    assert "Today" in page
    assert page.count('class="note"') == 60
    assert "<b>61</b>" not in page
    assert f'href="/p/{project.slug}/models/small/1/"' in page
    assert "Sunday, 5 January 2025" in page
    last = Event.objects.order_by("-id")[59].pk
    assert site.get(f"{address}?before={last}").content.decode().count('class="note"') == 3
    models = site.get(f"{address}?kind=model_version").content.decode()
    assert models.count('class="note"') == 1
    assert "Nothing like that" in site.get(f"{address}?kind=alias").content.decode()


def test_webhooks_of_all_projects_are_listed_and_no_foreign_ones(
    project: Project, vera: User, charlie: User
) -> None:
    make.webhook(project, "ci")
    make.webhook(make.project("foreign", owner=charlie), "theirs")
    listed = api_of(vera).get("/api/v1/webhooks/").json()["results"]
    assert [(one["project"], one["name"]) for one in listed] == [(project.slug, "ci")]
