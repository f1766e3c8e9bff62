"""Messages on their way to real servers on loopback: signed, tried again, gathered, held back in
quiet hours, and never lost by who is killed in between."""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import Message
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from aiosmtpd.controller import Controller
from django.conf import LazySettings

from distillhub.lib import env, standard_webhooks
from projects.models import Project
from tests.site.processes import free_port
from tests.training import alert_rows as rows
from tests.training.alert_rows import FAR, MOVED
from tests.training.receiver import Receiver, listening
from training.models import AlertChannel, AlertMessage, Incident, Monitor
from training.worker import alert_delivery, alert_messages, alert_senders

JSON = dict[str, Any]

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def receiver(settings: LazySettings) -> Iterator[Receiver]:
    settings.DISTILLHUB_OUTGOING_ALLOW = ["127.0.0.0/8"]
    with listening() as found:
        yield found


@pytest.fixture
def monitor(project: Project) -> Monitor:
    return rows.monitor(project)


def queued(channel: AlertChannel, key: str = "one", **body: Any) -> AlertMessage:
    whole = {
        "kind": "opened", "title": "intents: incident 1 of live opened", "sentence": "It moved.",
        "severity": "serious", "incident": 1, "at": NOON.isoformat(), "url": "http://hub/p/1/",
    }  # fmt: skip
    return AlertMessage.objects.create(channel=channel, key=key, body=whole | body, due_at=NOON)


# Webhooks ----------------------------------------------------------------------------------------


def test_the_signature_is_that_of_standard_webhooks() -> None:
    """What the library `standardwebhooks` 1.1.0 says of its own example."""
    said = standard_webhooks.signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=1614265330,
        body=b'{"test": 2432232314}',
    )
    assert said == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_an_incident_reaches_a_webhook_signed(
    project: Project, monitor: Monitor, receiver: Receiver
) -> None:
    channel = rows.channel(project, url=receiver.url)
    rows.hours(monitor, *[{"input.age": MOVED}] * 2)
    assert alert_delivery.deliver(channel.pk) == 1
    [(headers, body)] = receiver.seen
    _, secret = alert_senders.opened(channel)
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{digest}"
    told = json.loads(body)
    assert told["type"] == "incident.opened"
    assert told["data"]["sentence"] == Incident.objects.get().sentence
    assert told["data"]["url"] == f"http://localhost:8000/p/{project.slug}/incidents/1/"
    message = AlertMessage.objects.get()
    assert (message.status, message.tries, message.error) == ("sent", 1, "")
    assert alert_delivery.deliver(channel.pk) == 0


def test_one_that_fails_is_tried_again_later_and_given_up_at_last(
    project: Project, receiver: Receiver
) -> None:
    channel = rows.channel(project, url=receiver.url)
    message = queued(channel)
    receiver.statuses = [500] * 99
    now, times = NOON, []
    for _ in range(20):
        alert_delivery.deliver(channel.pk, now=now)
        message.refresh_from_db()
        if message.status != "waiting":
            break
        times.append(message.due_at - now)
        assert alert_delivery.deliver(channel.pk, now=message.due_at - timedelta(seconds=1)) == 0
        now = message.due_at
    assert tuple(times) == alert_delivery.BACK_OFF
    assert (message.status, message.error) == ("failed", "It answered 500.")
    assert len(receiver.seen) == len(times) + 1
    assert len({headers["webhook-id"] for headers, _ in receiver.seen}) == 1
    receiver.statuses = []
    alert_delivery.send_again(message)
    assert alert_delivery.deliver(channel.pk) == 1
    message.refresh_from_db()
    assert message.status == "sent"
    assert receiver.seen[-1][0]["webhook-id"] == receiver.seen[0][0]["webhook-id"]


@pytest.mark.parametrize(
    ("status", "said", "ends"),
    [
        (302, "not followed", "waiting"),
        (410, "no more messages", "failed"),
        (404, "404", "waiting"),
    ],
)
def test_what_an_address_answers_is_told(
    project: Project, receiver: Receiver, status: int, said: str, ends: str
) -> None:
    channel = rows.channel(project, url=receiver.url)
    message = queued(channel)
    receiver.statuses = [status]
    assert alert_delivery.deliver(channel.pk, now=NOON) == 0
    message.refresh_from_db()
    assert (message.status, len(receiver.seen)) == (ends, 1)
    assert said in message.error
    assert "canary" not in message.error


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/x", "https://10.0.0.1/x", "http://169.254.169.254/latest/meta-data"]
)
def test_nothing_is_posted_to_what_only_this_machine_reaches(
    project: Project, receiver: Receiver, settings: LazySettings, url: str
) -> None:
    settings.DISTILLHUB_OUTGOING_ALLOW = []
    for address in (url, receiver.url):
        channel = rows.channel(project, url=address, name=address)
        message = queued(channel)
        assert alert_delivery.deliver(channel.pk, now=NOON) == 0
        message.refresh_from_db()
        assert "no public address" in message.error
    assert receiver.seen == []


def test_who_is_killed_while_sending_sends_again_under_the_same_id(
    project: Project, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    channel = rows.channel(project, url=receiver.url)
    message = queued(channel)
    send = alert_senders.send

    def die(message: AlertMessage) -> None:
        send(message)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(alert_senders, "send", die)
        with pytest.raises(Killed):
            alert_delivery.deliver(channel.pk, now=NOON)
    later = NOON + alert_delivery.LEASE
    assert alert_delivery.deliver(channel.pk, now=later - timedelta(seconds=1)) == 0
    assert alert_delivery.deliver(channel.pk, now=later) == 1
    assert [headers["webhook-id"] for headers, _ in receiver.seen] == [f"msg_{message.pk}"] * 2
    assert alert_delivery.deliver(channel.pk, now=later + timedelta(hours=1)) == 0


def test_slack_gets_blocks_in_which_nothing_that_people_typed_is_a_mention(
    project: Project, receiver: Receiver
) -> None:
    channel = rows.channel(project, "slack", url=receiver.url)
    queued(channel, sentence="<!channel> & <http://evil|here>")
    assert alert_delivery.deliver(channel.pk, now=NOON) == 1
    [told] = receiver.told()
    text = told["attachments"][0]["blocks"][0]["text"]["text"]
    assert "&lt;!channel&gt; &amp; &lt;http://evil|here&gt;" in text
    assert "<http://hub/p/1/|Open the incident>" in text
    assert told["text"] == "Serious: intents: incident 1 of live opened"
    assert "webhook-signature" not in receiver.seen[0][0]


# Many at once ------------------------------------------------------------------------------------


def test_what_waits_for_a_channel_goes_as_one_message(project: Project, receiver: Receiver) -> None:
    channel = rows.channel(project, url=receiver.url)
    for number in range(1, 51):
        queued(channel, f"window-{number}", incident=number, severity="notice")
    queued(channel, "window-99", incident=99, severity="critical")
    assert alert_delivery.deliver(channel.pk, now=NOON) == 1
    [told] = receiver.told()
    assert told["data"]["title"] == "51 changes of 51 incidents"
    assert told["data"]["severity"] == "critical"
    assert len(told["data"]["changes"]) == alert_delivery.MOST_TOLD
    assert told["data"]["left_out"] == 51 - alert_delivery.MOST_TOLD
    assert set(AlertMessage.objects.values_list("status", flat=True)) == {"sent"}
    assert AlertMessage.objects.filter(within=None).count() == 1


def test_a_storm_is_a_message_a_minute_and_twelve_an_hour(
    project: Project, receiver: Receiver
) -> None:
    channel = rows.channel(project, url=receiver.url)
    for second in range(0, 3600, 10):
        now = NOON + timedelta(seconds=second)
        queued(channel, f"window-{second}", incident=second)
        AlertMessage.objects.filter(key=f"window-{second}").update(due_at=now)
        alert_delivery.deliver(channel.pk, now=now)
    assert len(receiver.seen) == alert_delivery.MOST_AN_HOUR
    alert_delivery.deliver(channel.pk, now=NOON + timedelta(hours=1, seconds=1))
    assert len(receiver.seen) == alert_delivery.MOST_AN_HOUR + 1
    assert not AlertMessage.objects.exclude(status="sent").exists()


def test_what_is_critical_waits_a_minute_and_no_hour(project: Project, receiver: Receiver) -> None:
    channel = rows.channel(project, url=receiver.url)
    for number in range(alert_delivery.MOST_AN_HOUR):
        queued(channel, f"window-{number}", status="sent")
    AlertMessage.objects.update(status="sent", sent_at=NOON)
    queued(channel, "calm")
    bad = queued(channel, "bad", severity="critical")
    assert alert_delivery.deliver(channel.pk, now=NOON) == 0
    bad.refresh_from_db()
    assert bad.due_at == NOON + alert_delivery.BETWEEN
    assert alert_delivery.deliver(channel.pk, now=bad.due_at) == 1
    assert not AlertMessage.objects.exclude(status="sent").exists()


def test_a_group_that_failed_goes_again_as_it_was(project: Project, receiver: Receiver) -> None:
    channel = rows.channel(project, url=receiver.url)
    receiver.statuses = [500]
    queued(channel, "one")
    queued(channel, "two")
    alert_delivery.deliver(channel.pk, now=NOON)
    queued(channel, "three")
    alert_delivery.deliver(channel.pk, now=NOON + timedelta(seconds=10))
    alert_delivery.deliver(channel.pk, now=NOON + timedelta(seconds=20))
    bodies = receiver.told()
    assert [len(one["data"].get("changes", [0])) for one in bodies] == [2, 1, 2]
    assert bodies[0] == bodies[2]
    assert not AlertMessage.objects.exclude(status="sent").exists()


# Whom, and when ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quiet", "now", "ends"),
    [
        ({"from": "22:00", "until": "07:00"}, "2026-03-02 21:59", None),
        ({"from": "22:00", "until": "07:00"}, "2026-03-02 22:00", "2026-03-03 07:00"),
        ({"from": "22:00", "until": "07:00"}, "2026-03-02 06:59", "2026-03-02 07:00"),
        ({"from": "22:00", "until": "07:00"}, "2026-03-02 07:00", None),
        ({"from": "12:00", "until": "13:00"}, "2026-03-02 12:30", "2026-03-02 13:00"),
        # The night of a Friday, then a quiet weekend and its last night.
        (
            {"from": "22:00", "until": "07:00", "days": [5, 6]},
            "2026-03-06 23:00",
            "2026-03-09 07:00",
        ),
        # Clocks go forward in this night.
        ({"from": "22:00", "until": "07:00"}, "2026-03-28 23:00", "2026-03-29 07:00"),
    ],
)
def test_quiet_hours_end_by_the_clocks_of_their_zone(
    quiet: JSON, now: str, ends: str | None
) -> None:
    zone = ZoneInfo("Europe/Berlin")
    there = datetime.fromisoformat(now).replace(tzinfo=zone).astimezone(UTC)
    found = alert_messages.end_of_quiet(quiet, there, zone)
    expected = datetime.fromisoformat(ends or now).replace(tzinfo=zone)
    assert found == expected.astimezone(UTC)


@pytest.mark.parametrize(("breaks", "waits"), [(True, False), (False, True)])
def test_what_is_critical_breaks_through_quiet_hours_unless_it_must_not(
    project: Project, breaks: bool, waits: bool
) -> None:
    quiet = {"from": "00:00", "until": "23:59"}
    alerting = {"quiet_hours": quiet, "critical_breaks_through": breaks}
    rows.channel(project)
    for name, scores in (("calm", MOVED), ("bad", FAR)):
        monitor = rows.monitor(project, name, alerting=alerting)
        rows.hours(monitor, *[{"input.age": scores}] * 2)
    due = {
        one.body["monitor"]: one.due_at > one.created_at + timedelta(seconds=5)
        for one in AlertMessage.objects.all()
    }
    assert due == {"calm": True, "bad": waits}


def test_a_monitor_tells_the_channels_it_names_and_those_from_their_severity_on(
    project: Project,
) -> None:
    for name, least in (("all", "notice"), ("bad", "critical"), ("other", "notice")):
        rows.channel(project, name=name, least=least)
    rows.channel(project, name="off", is_on=False)
    rows.hours(rows.monitor(project, "one"), *[{"input.age": MOVED}] * 2)
    named = {"channels": ["all", "bad"]}
    rows.hours(rows.monitor(project, "two", alerting=named), *[{"input.age": FAR}] * 2)
    bad = {"least": "critical"}
    rows.hours(rows.monitor(project, "three", alerting=bad), *[{"input.age": MOVED}] * 2)
    found = {
        (one.body["monitor"], one.channel.name)
        for one in AlertMessage.objects.select_related("channel")
    }
    assert found == {("one", "all"), ("one", "other"), ("two", "all"), ("two", "bad")}


# E-mail ------------------------------------------------------------------------------------------


class Mailbox:
    def __init__(self) -> None:
        self.letters: list[Message] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        self.letters.append(message_from_bytes(envelope.content))
        return "250 OK"


@pytest.fixture
def mailbox(settings: LazySettings) -> Iterator[Mailbox]:
    found = Mailbox()
    port = free_port()
    controller = Controller(found, hostname="127.0.0.1", port=port)
    controller.start()
    settings.EMAIL_URL = f"smtp+plain://127.0.0.1:{port}"
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", port
    yield found
    controller.stop()


def test_an_incident_reaches_a_mailbox(
    project: Project, monitor: Monitor, mailbox: Mailbox
) -> None:
    channel = rows.channel(project, "email", place="ops@example.com, lead@example.com")
    rows.hours(monitor, *[{"input.age": MOVED}] * 2)
    assert alert_delivery.deliver(channel.pk) == 1
    [letter] = mailbox.letters
    message = AlertMessage.objects.get()
    assert letter["Subject"] == "[Serious] intents: incident 1 of intents-live opened"
    assert letter["To"] == "ops@example.com, lead@example.com"
    assert letter["Message-ID"] == f"<alert-{message.pk}@localhost>"
    assert letter["From"] == "DistillHub <distillhub@localhost>"
    text = letter.get_payload(decode=True)
    assert isinstance(text, bytes)
    assert Incident.objects.get().sentence in text.decode()
    assert f"http://localhost:8000/p/{project.slug}/incidents/1/" in text.decode()


def test_without_a_mail_server_a_message_says_so(project: Project, settings: LazySettings) -> None:
    settings.EMAIL_URL = ""
    channel = rows.channel(project, "email")
    message = queued(channel)
    assert alert_delivery.deliver(channel.pk, now=NOON) == 0
    message.refresh_from_db()
    assert (message.status, message.error) == ("failed", alert_senders.NO_SERVER)


def test_the_mail_server_is_one_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(url: str) -> tuple[Any, ...]:
        monkeypatch.setenv("EMAIL_URL", url)
        return tuple(env.mail_server("EMAIL_URL"))

    found = read("smtp://me%40x:p%2Fw@mail.example.com")
    assert found == ("mail.example.com", 587, "me@x", "p/w", True, False)
    assert read("smtps://mail.example.com")[1:] == (465, "", "", False, True)
    assert read("smtp+plain://localhost:2525")[1:] == (2525, "", "", False, False)
    for wrong in ("mail.example.com", "smtp://", "smtp://host/x", "smtp://u:secret@host:port"):
        with pytest.raises(env.BadSetting) as refused:
            read(wrong)
        assert "secret@" not in str(refused.value)
