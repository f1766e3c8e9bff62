"""Webhooks against a real receiver on loopback, which verifies with the library `standardwebhooks`:
signed, tried again, turned off, sent again, and each event once whoever dies in between."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import LazySettings
from standardwebhooks.webhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from projects.models import Event, Project, User, Webhook, WebhookDelivery
from projects.services import events, webhooks
from tests.training.receiver import Receiver, listening
from training.worker import fanning, webhook_delivery

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
