"""Notifications by e-mail, to a real server on loopback: gathered, once, only to whom they still
concern, and with a way to end them; and what channels hear besides incidents."""

import re
from collections.abc import Iterator
from datetime import timedelta
from email import message_from_bytes
from email.message import Message
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from django.conf import LazySettings
from django.test import Client
from django.utils import timezone

from projects.models import Event, Membership, Notification, Project, User
from projects.services import comments, notifications, subjects
from tests import make
from tests.conftest import api_of, signed_in
from tests.site.processes import free_port
from training.models import AlertMessage
from training.worker import alert_delivery, fanning, notices

pytestmark = pytest.mark.django_db


class Mailbox:
    def __init__(self) -> None:
        self.letters: list[Message] = []
        self.refuses = False

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        if self.refuses:
            return "451 Not now"
        self.letters.append(message_from_bytes(envelope.content))
        return "250 OK"


@pytest.fixture
def mailbox(settings: LazySettings) -> Iterator[Mailbox]:
    found, port = Mailbox(), free_port()
    controller = Controller(found, hostname="127.0.0.1", port=port)
    controller.start()
    settings.EMAIL_URL = f"smtp+plain://127.0.0.1:{port}"
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", port
    yield found
    controller.stop()


@pytest.fixture
def of_erin(project: Project, erin: User) -> Project:
    """Erin launched run 1."""
    make.run(project, number=1, name="small", created_by=erin)
    return project


def failed(project: Project, sentence: str = "It failed.") -> Event:
    event = Event.objects.create(
        project=project,
        kind="run.failed",
        subject_kind="run",
        subject="1",
        title="small",
        sentence=sentence,
    )
    notifications.make(event)
    return event


def later(minutes: float = 1.1) -> Any:
    return timezone.now() + timedelta(minutes=minutes)


def test_what_comes_within_a_minute_is_one_letter(
    of_erin: Project, erin: User, mailbox: Mailbox
) -> None:
    for number in range(3):
        failed(of_erin, f"Run 1 failed: {number}\nand more.")
    assert notices.deliver(erin.pk) == 0  # it still gathers
    assert notices.deliver(erin.pk, now=later()) == 1
    assert notices.deliver(erin.pk, now=later(60)) == 0
    [letter] = mailbox.letters
    assert letter["To"] == "erin@example.org"
    assert letter["Subject"] == "[intents] 3 notifications"
    body = letter.get_payload(decode=True).decode()  # type: ignore[union-attr]
    assert body.count("/p/intents/runs/1/") == 3
    assert Notification.objects.filter(emailed_at=None).count() == 0


def test_a_letter_can_be_the_last(of_erin: Project, erin: User, mailbox: Mailbox) -> None:
    failed(of_erin)
    notices.deliver(erin.pk, now=later())
    [letter] = mailbox.letters
    assert letter["Subject"] == "[intents] It failed."
    assert letter["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    address = re.sub(r"\s", "", letter["List-Unsubscribe"]).strip("<>")
    path = address[address.index("/notifications/") :]
    assert Client().post(path, {"List-Unsubscribe": "One-Click"}).status_code == 200
    failed(of_erin)
    assert notices.deliver(erin.pk, now=later()) == 0
    assert notifications.unread(user=erin) == 2  # on the page as ever


def test_what_was_read_and_what_is_no_longer_theirs_is_not_sent(
    of_erin: Project, erin: User, mailbox: Mailbox
) -> None:
    failed(of_erin)
    notifications.mark(user=erin)
    assert notices.deliver(erin.pk, now=later()) == 0
    failed(of_erin)
    Membership.objects.filter(user=erin).delete()
    assert notices.deliver(erin.pk, now=later()) == 0
    assert mailbox.letters == []
    assert not Notification.objects.exclude(email_due_at=None).exists()


def test_a_server_that_refuses_is_tried_again_and_given_up_at_last(
    of_erin: Project, erin: User, mailbox: Mailbox
) -> None:
    failed(of_erin)
    mailbox.refuses = True
    now = later()
    assert notices.deliver(erin.pk, now=now) == 0
    assert Notification.objects.get().email_due_at == now + notices.BACK_OFF[0]
    assert notices.deliver(erin.pk, now=now) == 0
    assert Notification.objects.get().email_tries == 1  # it rests
    for _ in notices.BACK_OFF:
        now += timedelta(days=1)
        notices.deliver(erin.pk, now=now)
    assert Notification.objects.get().email_due_at is None
    mailbox.refuses = False
    assert notices.deliver(erin.pk, now=now + timedelta(days=1)) == 0


def test_two_workers_send_one_letter_and_a_dead_ones_is_sent_again(
    of_erin: Project, erin: User, mailbox: Mailbox
) -> None:
    failed(of_erin)
    now = later()
    assert len(notices.claim(erin.pk, now=now)) == 1  # by one that dies now
    assert notices.claim(erin.pk, now=now) == []
    assert notices.deliver(erin.pk, now=now + notices.LEASE) == 1
    assert len(mailbox.letters) == 1


def test_old_notifications_are_forgotten(of_erin: Project, erin: User) -> None:
    failed(of_erin)
    assert notices.forget_old() == 0
    assert notices.forget_old(now=later() + notices.KEPT) == 1


def test_a_mention_travels_from_a_comment_to_a_mailbox(
    of_erin: Project, alice: User, vera: User, mailbox: Mailbox
) -> None:
    subject = subjects.find(project=of_erin, kind="run", reference="1")
    said = comments.add(project=of_erin, subject=subject, text="@vera: is it so?", by=alice)
    fanning.fan_out()
    assert notifications.unread(user=vera) == 1
    notices.deliver(vera.pk, now=later())
    [letter] = mailbox.letters
    body = letter.get_payload(decode=True).decode()  # type: ignore[union-attr]
    assert "alice said of run 1, small: @vera: is it so?" in body
    assert f"/p/intents/runs/1/#comment-{said.pk}" in body


def test_a_channel_hears_what_its_boxes_say(
    of_erin: Project, alice: User, vera: User, mailbox: Mailbox
) -> None:
    pages = signed_in(alice)
    form = {"kind": "email", "name": "team", "addresses": "team@example.org", "least": "critical"}
    address = f"/p/{of_erin.slug}/alert-channels/"
    pages.post(address, {**form, "hears": ["run.failed", "comment.created"]})
    channel = of_erin.alert_channels.get()
    assert channel.hears == ["run.failed", "comment.created"]
    Event.objects.create(project=of_erin, kind="run.started", subject_kind="run", subject="1")
    failed(of_erin, "It failed.")
    fanning.fan_out()
    [message] = AlertMessage.objects.all()
    assert message.body["kind"] == "run.failed"
    assert alert_delivery.deliver(channel.pk) == 1
    [letter] = mailbox.letters
    assert letter["To"] == "team@example.org"
    assert "intents: run 1, small" in letter["Subject"]
    page = pages.get(f"{address}{channel.pk}/").content.decode()
    assert 'value="run.failed" checked' in page
    assert "Other events" in page
    assert 'value="incident.opened"' not in page  # by its severity
    rest = f"/api/v1/projects/{of_erin.slug}/alert-channels/{channel.pk}/"
    api = api_of(alice)
    assert api.patch(rest, {"hears": ["incident.opened"]}, format="json").status_code == 400
    assert api.patch(rest, {"hears": ["run.finished"]}, format="json").json()["hears"] == [
        "run.finished"
    ]
    pages.post(f"{address}{channel.pk}/", {**form, "is_on": "true"})
    assert of_erin.alert_channels.get().hears == []
