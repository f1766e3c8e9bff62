"""Webhooks against a real receiver on loopback, which verifies with the library `standardwebhooks`:
signed, tried again, turned off, sent again, and each event once whoever dies in between."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import transaction
from standardwebhooks.webhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from distillhub.lib import secrets
from distillhub.lib.errors import Conflict, Invalid
from projects.models import AuditEntry, Event, Project, User, Webhook, WebhookDelivery
from projects.services import events, notifications, webhook_secrets, webhooks
from tests.training import alert_rows as rows
from tests.training.receiver import Receiver, listening
from training.models import AlertMessage
from training.worker import alert_delivery, fanning, webhook_delivery

JSON = dict[str, Any]

pytestmark = pytest.mark.django_db

Status = WebhookDelivery.Status


@pytest.fixture
def receiver(settings: LazySettings) -> Iterator[Receiver]:
    settings.DISTILLHUB_OUTGOING_ALLOW = ["127.0.0.0/8"]
    with listening() as found:
        yield found


@pytest.fixture
def hook(project: Project, alice: User, receiver: Receiver) -> tuple[Webhook, str]:
    return webhooks.create(project=project, asked={"name": "ci", "url": receiver.url}, by=alice)


def told(project: Project, by: User | None = None, kind: str = "report.published") -> Event:
    return events.tell(
        project=project,
        kind=kind,
        subject_kind="report",
        subject="3",
        title="Ünder the hood",
        sentence="A link was made.",
        by=by,
        data={"number": 3, "title": "Ünder the hood"},
    )


def verified(receiver: Receiver, secret: str, place: int = -1) -> JSON:
    headers, body = receiver.seen[place]
    Verifier(secret).verify(body.decode(), headers)
    found: JSON = json.loads(body)
    return found


def test_an_event_reaches_a_receiver_that_verifies_it(
    project: Project, alice: User, hook: tuple[Webhook, str], receiver: Receiver
) -> None:
    webhook, secret = hook
    event = told(project, alice)
    assert fanning.fan_out() == 1
    assert webhook_delivery.deliver(webhook.pk) == 1
    assert verified(receiver, secret) == {
        "type": "report.published",
        "timestamp": event.at.isoformat(),
        "data": {
            "event": event.pk,
            "project": project.slug,
            "subject": {
                "kind": "report",
                "reference": "3",
                "title": "Ünder the hood",
                "url": f"http://localhost:8000/p/{project.slug}/reports/3/",
            },
            "sentence": "A link was made.",
            "by": "alice",
            "facts": {"number": 3, "title": "Ünder the hood"},
        },
    }
    [delivery] = webhook.deliveries.all()
    assert receiver.seen[0][0]["webhook-id"] == delivery.message_id
    assert (delivery.status, delivery.tries) == (Status.DELIVERED, 1)
    assert delivery.answered[0]["status"] == 204
    assert fanning.fan_out() == webhook_delivery.deliver(webhook.pk) == 0


def test_a_body_that_was_touched_is_refused_by_the_library(
    project: Project, hook: tuple[Webhook, str], receiver: Receiver
) -> None:
    webhook, secret = hook
    told(project)
    fanning.fan_out()
    webhook_delivery.deliver(webhook.pk)
    headers, body = receiver.seen[0]
    with pytest.raises(WebhookVerificationError):
        Verifier(secret).verify(body.decode() + " ", headers)


def test_a_webhook_is_told_only_what_it_asks_for(
    project: Project, alice: User, hook: tuple[Webhook, str], receiver: Receiver
) -> None:
    webhook, _ = hook
    webhooks.edit(webhook=webhook, asked={"events": ["run.finished"]})
    told(project)
    fanning.fan_out()
    assert not webhook.deliveries.exists()
    webhooks.edit(webhook=webhook, asked={"events": []})
    told(project)
    fanning.fan_out()
    assert [one.kind for one in webhook.deliveries.all()] == ["report.published"]


def test_a_failed_delivery_is_tried_again_under_its_id_and_ever_later(
    project: Project, hook: tuple[Webhook, str], receiver: Receiver
) -> None:
    webhook, _ = hook
    told(project)
    fanning.fan_out()
    receiver.statuses, receiver.answer = [500] * 7, b"x" * 5000 + b"\x00"
    now = datetime.now(UTC) + timedelta(seconds=1)
    waits = []
    for _ in range(8):
        webhook_delivery.deliver(webhook.pk, now=now)
        delivery = webhook.deliveries.get()
        if delivery.status == Status.WAITING:
            waits.append((delivery.due_at - now) / timedelta(seconds=1))
            assert webhook_delivery.deliver(webhook.pk, now=delivery.due_at - timedelta(0, 1)) == 0
            now = delivery.due_at
    steps = [5, 300, 1800, 7200, 18_000, 36_000, 50_400]
    assert len(waits) == len(steps)
    assert all(step <= wait <= step * 1.1 for step, wait in zip(steps, waits, strict=True))
    assert delivery.status == Status.DELIVERED
    assert {headers["webhook-id"] for headers, _ in receiver.seen} == {delivery.message_id}
    assert {body for _, body in receiver.seen} == {receiver.seen[0][1]}
    assert len(delivery.answered) == 8
    assert delivery.answered[0]["status"] == 204
    assert delivery.answered[1]["error"] == "It answered 500."
    assert delivery.answered[1]["answer"] == "x" * 1000
    webhook.refresh_from_db()
    assert webhook.failing_since is None


def test_after_the_last_try_it_is_given_up_and_sent_again_by_wish(
    project: Project, hook: tuple[Webhook, str], receiver: Receiver
) -> None:
    webhook, secret = hook
    told(project)
    fanning.fan_out()
    receiver.statuses = [503] * 8
    now = datetime.now(UTC) + timedelta(seconds=1)
    for _ in range(8):
        webhook_delivery.deliver(webhook.pk, now=now)
        now += timedelta(hours=16)
    delivery = webhook.deliveries.get()
    assert (delivery.status, delivery.tries) == (Status.FAILED, 8)
    later = delivery.created_at + timedelta(seconds=1)
    assert webhooks.redeliver_failed(webhook=webhook, since=later) == 0
    assert webhooks.redeliver_failed(webhook=webhook, since=delivery.created_at) == 1
    assert webhook_delivery.deliver(webhook.pk) == 1
    assert receiver.seen[-1][0]["webhook-id"] == delivery.message_id
    webhooks.redeliver(webhook=webhook, delivery_id=delivery.pk)
    assert webhook_delivery.deliver(webhook.pk) == 1
    assert verified(receiver, secret)["type"] == "report.published"


def test_410_turns_it_off_and_its_maker_is_notified(
    project: Project, alice: User, hook: tuple[Webhook, str], receiver: Receiver
) -> None:
    webhook, _ = hook
    told(project)
    told(project)
    fanning.fan_out()
    receiver.statuses = [410]
    webhook_delivery.deliver(webhook.pk)
    webhook.refresh_from_db()
    assert not webhook.is_on
    assert webhook.turned_off == "Its receiver answered 410: it takes no more messages."
    assert {one.status for one in webhook.deliveries.all()} == {Status.FAILED}
    assert len(receiver.seen) == 1
    fanning.fan_out()
    assert [one.topic for one in alice.notifications.all()].count("webhook_off") == 1
    with pytest.raises(Conflict):
        webhooks.redeliver_failed(webhook=webhook)
    webhook, _ = webhooks.edit(webhook=webhook, asked={"is_on": True})
    assert (webhook.turned_off, webhook.failing_since) == ("", None)
    assert webhooks.redeliver_failed(webhook=webhook) == 2
    assert webhook_delivery.deliver(webhook.pk) == 2


def test_five_days_of_failures_turn_it_off(
    project: Project, hook: tuple[Webhook, str], receiver: Receiver
) -> None:
    webhook, _ = hook
    now = datetime.now(UTC) + timedelta(seconds=1)
    for days, is_on in ((0, True), (4.9, True), (5.1, False)):
        told(project)
        fanning.fan_out()
        receiver.statuses = [500] * 3
        webhook_delivery.deliver(webhook.pk, now=now + timedelta(days=days))
        webhook.refresh_from_db()
        assert webhook.is_on == is_on
    assert webhook.turned_off.startswith("Nothing was taken for 5 days.")
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.via, entry.subject) == ("webhook.change", "worker", str(webhook.pk))
    assert entry.detail == {"is_on": False, "why": webhook.turned_off}


def test_others_wait_behind_one_that_nobody_answers(
    project: Project, hook: tuple[Webhook, str], receiver: Receiver
) -> None:
    webhook, _ = hook
    webhooks.edit(webhook=webhook, asked={"url": "http://127.0.0.1:9/hook"})  # nobody listens
    for _ in range(3):
        told(project)
    fanning.fan_out()
    now = datetime.now(UTC) + timedelta(seconds=1)
    webhook_delivery.deliver(webhook.pk, now=now)
    assert sorted(one.tries for one in webhook.deliveries.all()) == [0, 0, 1]
    assert all(one.due_at > now for one in webhook.deliveries.all())


def test_two_secrets_hold_while_one_is_rotated(
    project: Project, hook: tuple[Webhook, str], receiver: Receiver
) -> None:
    webhook, first = hook
    second = webhook_secrets.rotate(webhook=webhook)
    told(project)
    fanning.fan_out()
    webhook_delivery.deliver(webhook.pk)
    assert verified(receiver, first) == verified(receiver, second)
    third = webhook_secrets.rotate(webhook=webhook, grace=timedelta())
    told(project)
    fanning.fan_out()
    webhook_delivery.deliver(webhook.pk)
    verified(receiver, third)
    for old in (first, second):
        with pytest.raises(WebhookVerificationError):
            verified(receiver, old)
    with pytest.raises(Invalid):
        webhook_secrets.rotate(webhook=webhook, grace=timedelta(days=31))


def test_a_secret_is_not_kept_for_another_host(hook: tuple[Webhook, str]) -> None:
    webhook, first = hook
    path = webhook_secrets.opened(webhook).url + "&more=1"
    _, told_again = webhooks.edit(webhook=webhook, asked={"url": path})
    assert told_again == ""
    changed, second = webhooks.edit(webhook=webhook, asked={"url": "http://127.0.0.2/hook"})
    assert second.startswith("whsec_")
    assert second != first
    assert webhook_secrets.opened(changed).now() == [second]
    assert changed.host == "127.0.0.2"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/hook",
        "https://localhost/hook",
        "https://169.254.169.254/latest",
        "https://[::ffff:10.0.0.1]/",
        "https://0x7f.1/",
        "ftp://example.com/",
        "https://user:pass@example.com/",
    ],
)
def test_addresses_inside_are_refused(
    project: Project, alice: User, settings: LazySettings, url: str
) -> None:
    settings.DISTILLHUB_OUTGOING_ALLOW = []
    with pytest.raises(Invalid) as refused:
        webhooks.create(project=project, asked={"name": "in", "url": url}, by=alice)
    assert "url" in refused.value.fields


def test_an_address_that_moved_inside_since_it_was_saved_is_asked_nothing(
    project: Project, hook: tuple[Webhook, str], receiver: Receiver, settings: LazySettings
) -> None:
    webhook, _ = hook
    settings.DISTILLHUB_OUTGOING_ALLOW = []
    told(project)
    fanning.fan_out()
    webhook_delivery.deliver(webhook.pk)
    assert receiver.seen == []
    [delivery] = webhook.deliveries.all()
    assert "no public address" in delivery.answered[0]["error"]


def test_a_redirect_is_not_followed(
    project: Project, hook: tuple[Webhook, str], receiver: Receiver
) -> None:
    webhook, _ = hook
    receiver.statuses = [302]
    webhooks.test(webhook=webhook, by=webhook.created_by)
    webhook_delivery.deliver(webhook.pk)
    [delivery] = webhook.deliveries.all()
    assert delivery.answered[0]["error"].startswith("It answered 302, which leads elsewhere")
    assert len(receiver.seen) == 1


def test_no_secret_and_no_address_is_in_any_row(
    project: Project, hook: tuple[Webhook, str], receiver: Receiver
) -> None:
    webhook, secret = hook
    receiver.statuses = [500]
    webhooks.test(webhook=webhook, by=webhook.created_by)
    webhook_delivery.deliver(webhook.pk)
    rows = [*Webhook.objects.values(), *WebhookDelivery.objects.values(), *Event.objects.values()]
    assert secret not in str(rows)
    assert "canary-5f1c" not in str(rows)
    assert secrets.unseal(webhook.sealed)


def test_an_event_that_cannot_be_told_keeps_no_other_from_it(
    project: Project, hook: tuple[Webhook, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook, _ = hook
    bad, good = told(project), told(project)
    whole = notifications.make

    def make(event: Event) -> None:
        if event.pk == bad.pk:
            raise ValueError("broken")
        whole(event)

    monkeypatch.setattr("projects.services.notifications.make", make)
    assert fanning.fan_out() == 1
    assert [one.event_id for one in webhook.deliveries.all()] == [good.pk]
    Event.objects.filter(pk=bad.pk).update(at=datetime.now(UTC) - timedelta(days=2))
    assert fanning.fan_out() == 0
    assert not Event.objects.untold().exists()


def test_a_claimed_delivery_is_anybodys_again_when_its_worker_died(
    project: Project, hook: tuple[Webhook, str], receiver: Receiver
) -> None:
    webhook, _ = hook
    told(project)
    fanning.fan_out()
    now = datetime.now(UTC) + timedelta(seconds=1)
    mine = webhook_delivery.claim(webhook.pk, now=now)
    assert mine is not None
    assert webhook_delivery.claim(webhook.pk, now=now) is None
    assert webhook_delivery.deliver(webhook.pk, now=now + webhook_delivery.LEASE) == 1
    webhook_delivery.send(mine, now=now)  # thawed: it sends again, under the same id
    [delivery] = webhook.deliveries.all()
    assert delivery.status == Status.DELIVERED
    assert [one["status"] for one in delivery.answered] == [204, None]
    assert delivery.answered[1]["error"] == webhook_delivery.LOST
    assert {headers["webhook-id"] for headers, _ in receiver.seen} == {delivery.message_id}


def test_a_delivery_with_which_eight_workers_died_is_given_up(
    project: Project, hook: tuple[Webhook, str], receiver: Receiver
) -> None:
    webhook, _ = hook
    told(project)
    fanning.fan_out()
    now = datetime.now(UTC)
    for _ in range(9):
        now += webhook_delivery.LEASE
        webhook_delivery.claim(webhook.pk, now=now)
    [delivery] = webhook.deliveries.all()
    assert (delivery.status, delivery.tries) == (Status.FAILED, 8)
    assert [one["error"] for one in delivery.answered] == [webhook_delivery.LOST] * 8
    webhooks.redeliver(webhook=webhook, delivery_id=delivery.pk)
    assert webhook_delivery.deliver(webhook.pk) == 1


def test_old_deliveries_are_forgotten_and_waiting_ones_stay(
    project: Project, hook: tuple[Webhook, str], receiver: Receiver
) -> None:
    webhook, _ = hook
    told(project)
    fanning.fan_out()
    webhook_delivery.deliver(webhook.pk)
    webhooks.test(webhook=webhook, by=webhook.created_by)
    later = datetime.now(UTC) + timedelta(days=31)
    assert webhook_delivery.forget_old(now=later) == 1
    assert [one.kind for one in webhook.deliveries.all()] == ["test"]


@pytest.mark.django_db(transaction=True)
def test_an_event_wakes_a_worker_once_a_transaction(
    project: Project, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    monkeypatch.setattr("distillhub.lib.calls.call", lambda job, **ids: calls.append(job))
    with transaction.atomic():
        told(project)
        told(project)
        assert calls == []
    assert calls == ["training.fan_out_events"]
    with transaction.atomic():
        told(project)
        transaction.set_rollback(True)
    assert calls == ["training.fan_out_events"]
    assert Event.objects.filter(kind="report.published").count() == 2


def test_a_channel_hears_other_events_when_it_is_told_to(
    project: Project, receiver: Receiver
) -> None:
    hears = rows.channel(project, url=receiver.url, hears=["report.published"])
    rows.channel(project, kind="slack", url=receiver.url)  # hears of incidents alone
    told(project)
    fanning.fan_out()
    assert alert_delivery.deliver(hears.pk) == 1
    [message] = receiver.told()
    assert message["type"] == "report.published"
    assert (
        message["data"]["title"] == f"{project.name}: report 3, Ünder the hood (report published)"
    )
    assert message["data"]["url"].endswith(f"/p/{project.slug}/reports/3/")
    assert AlertMessage.objects.count() == 1
