"""Pages of incidents and channels: what they show, what is done on them, and how often they ask the
database."""

from datetime import timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from projects.models import Project, User
from tests.conftest import signed_in
from tests.training import alert_rows as rows
from tests.training.alert_rows import FAR, MOVED, score
from training.models import AlertChannel, AlertMessage, Incident, Monitor, SignalAlert
from training.services import incidents
from training.worker import alert_senders, alerts

JSON = dict[str, Any]

pytestmark = pytest.mark.django_db


@pytest.fixture
def monitor(project: Project) -> Monitor:
    return rows.monitor(project)


@pytest.fixture
def incident(project: Project, monitor: Monitor) -> Incident:
    rows.channel(project, "email")
    fell = score(0.2, 1e-7, "agreement", facts={"reference": 0.95})
    facts = {"agreement": {"value": 0.71, "low": 0.66, "high": 0.76, "rows": 210}}
    slices = {"night": {"rows": 80, "scores": {"input.age": [score(0.6)]}}}
    for hour in range(3):
        scores = {"input.age": MOVED, "agreement": fell}
        made = rows.window(monitor, hour, scores, facts=facts, slices=slices)
        made.save()
    alerts.judge(monitor)
    return Incident.objects.get()


def here(project: Project, rest: str = "incidents/") -> str:
    return f"/p/{project.slug}/{rest}"


def text(client: Client, address: str, status: int = 200) -> str:
    answer = client.get(address)
    assert answer.status_code == status
    return answer.content.decode()


def test_the_list_shows_what_changed_and_is_filtered(
    project: Project, incident: Incident, vera: User
) -> None:
    client = signed_in(vera)
    shown = text(client, here(project))
    assert incident.sentence[:40] in shown
    assert "nobody has it" in shown
    assert "No incident is like that" in text(client, here(project, "incidents/?state=closed"))
    assert "It must be one of" in text(client, here(project, "incidents/?severity=odd"))
    assert 'class="side-badge">1<' in text(client, here(project, ""))


def test_without_incidents_the_page_says_what_would_be_one(project: Project, vera: User) -> None:
    shown = text(signed_in(vera), here(project))
    assert "No incidents" in shown
    assert "side-badge" not in shown


def test_the_page_says_what_moved_where_and_whether_it_harms(
    project: Project, incident: Incident, vera: User
) -> None:
    shown = text(signed_in(vera), here(project, "incidents/1/"))
    for words in (
        "Harm is seen", "71 %", "95 % on the reference", "the column age", "night",
        "agreement with the teacher", "1 message about it", "data-chart-area",
    ):  # fmt: skip
        assert words in shown, words
    assert "I have seen it" not in shown  # a viewer only reads


def test_people_do_what_there_is_to_do(project: Project, incident: Incident, erin: User) -> None:
    client, at = signed_in(erin), here(project, "incidents/1/")
    assert "I have seen it" in text(client, at)
    client.post(f"{at}acknowledge/")
    client.post(f"{at}owner/", {"owner": "vera"})
    client.post(f"{at}snooze/", {"hours": "4"})
    client.post(f"{at}comment/", {"text": "<b>A new camera</b>"})
    shown = text(client, at)
    assert "vera has it" in shown
    assert "put off until" in shown
    assert "&lt;b&gt;A new camera&lt;/b&gt;" in shown
    client.post(f"{at}snooze/", {"hours": "0"})
    assert "put off until" not in text(client, at)
    assert "Say for how many hours" in text_after(client, f"{at}snooze/", {"hours": "x"})
    client.post(f"{at}close/", {"reason": "expected"})
    closed = text(client, at)
    assert "erin closed it: expected" in closed
    assert "close-incident" not in closed
    assert "is closed" in text_after(client, f"{at}close/", {})


def text_after(client: Client, address: str, data: JSON) -> str:
    return client.post(address, data, follow=True).content.decode()


def test_channels_are_added_tested_changed_and_deleted(
    project: Project, alice: User, vera: User, settings: LazySettings
) -> None:
    client, at = signed_in(alice), here(project, "alert-channels/")
    assert "Nobody is told yet" in text(client, at)
    assert "EMAIL_URL" in text(client, at)
    refused = client.post(at, {"name": "ops", "kind": "webhook", "url": "https://10.0.0.1/x"})
    assert refused.status_code == 400
    assert "no public address" in refused.content.decode()
    asked = {
        "name": "ops",
        "kind": "webhook",
        "url": "https://1.1.1.1/x?key=canary-91",
        "least": "serious",
    }
    made = client.post(at, asked)
    channel = AlertChannel.objects.get()
    assert made["Location"] == f"{at}{channel.pk}/"
    _, secret = alert_senders.opened(channel)
    once = text(client, made["Location"])
    assert secret in once
    again = text(client, made["Location"])
    assert secret not in again
    assert "canary-91" not in once + again + text(client, at)
    assert "way" in text_after(client, f"{made['Location']}test/", {})
    message = AlertMessage.objects.get()
    AlertMessage.objects.update(status="failed", error="It answered 500.")
    log = text(signed_in(vera), made["Location"])
    assert "It answered 500." in log
    assert "Send again" not in log
    client.post(f"{made['Location']}messages/{message.pk}/redeliver/")
    message.refresh_from_db()
    assert message.status == "waiting"
    client.post(made["Location"], {"name": "team", "least": "critical"})
    channel.refresh_from_db()
    assert (channel.name, channel.least, channel.is_on) == ("team", "critical", False)
    client.post(f"{made['Location']}delete/")
    assert not AlertChannel.objects.exists()


def test_pages_ask_the_database_as_often_however_much_there_is(
    project: Project, vera: User, monitor: Monitor
) -> None:
    client = signed_in(vera)
    for number in range(2, 32):
        of = rows.monitor(project, f"m{number}")
        rows.channel(project, "email", name=f"c{number}")
        rows.hours(of, *[{f"input.c{one}": FAR for one in range(20)}] * 2)
    one, channel = Incident.objects.get(number=1), AlertChannel.objects.latest("pk")
    for _ in range(30):
        incidents.comment(incident=one, text="more", by=vera)
    for rest, most in (
        ("incidents/", 12), ("incidents/1/", 15), ("alert-channels/", 12),
        (f"alert-channels/{channel.pk}/", 12),
    ):  # fmt: skip
        with CaptureQueriesContext(connection) as asked:
            text(client, here(project, rest))
        assert len(asked) <= most, (rest, [one["sql"][:150] for one in asked])


def test_home_and_overview_tell_of_open_incidents(
    project: Project, incident: Incident, vera: User, charlie: User
) -> None:
    assert incident.sentence[:40] in text(signed_in(vera), "/")
    assert incident.sentence[:40] in text(signed_in(vera), here(project, ""))
    assert incident.sentence[:40] not in text(signed_in(charlie), "/")
    Incident.objects.update(closed_at=timezone.now() - timedelta(hours=1))
    assert incident.sentence[:40] not in text(signed_in(vera), "/")


# The alerts of a monitor -------------------------------------------------------------------------


def test_the_tab_shows_how_alerts_stand_and_mutes_one(
    project: Project, incident: Incident, erin: User, vera: User
) -> None:
    at = here(project, "monitors/intents-live/alerts/")
    seen = text(signed_in(vera), at)
    assert "firing" in seen
    assert "for a week" not in seen
    client = signed_in(erin)
    assert "for a week" in text(client, at)
    client.post(f"{at}mute/", {"signal": "input.age", "hours": "24"})
    assert "muted" in text(client, at)
    assert "erin muted the column age until" in text(client, here(project, "incidents/1/"))
    client.post(f"{at}mute/", {"signal": "input.age", "hours": "0"})
    assert SignalAlert.objects.get(signal="input.age").state == "firing"
    assert "Say for how many hours" in text_after(client, f"{at}mute/", {"signal": "input.age"})


def test_rules_and_who_is_told_are_kept_as_they_are_typed(
    project: Project, monitor: Monitor, erin: User
) -> None:
    rows.channel(project, "email", name="ops")
    Monitor.objects.update(rules={"input.age": {"worth": 0.5}})
    client, at = signed_in(erin), here(project, "monitors/intents-live/alerts/")
    assert 'name="input.age:worth"' in text(client, at)
    typed = {
        "*:closes": "5", "input:level": "0,0001", "input:opens": "3", "input.age:worth": "0.6",
        "to": "some", "channels": ["ops"], "least": "serious", "silence_hours": "6",
        "from": "22:00", "until": "07:00", "zone": "Europe/Berlin", "days": ["5", "6"],
    }  # fmt: skip
    kept = client.post(at, typed)
    assert kept.status_code == 302
    monitor.refresh_from_db()
    assert monitor.rules == {
        "*": {"closes": 5},
        "input": {"level": 0.0001, "opens": 3},
        "input.age": {"worth": 0.6},
    }
    quiet = {"from": "22:00", "until": "07:00", "zone": "Europe/Berlin", "days": [5, 6]}
    assert monitor.alerting == {
        "channels": ["ops"], "least": "serious", "silence_hours": 6,
        "critical_breaks_through": False, "quiet_hours": quiet,
    }  # fmt: skip
    shown = text(client, at)
    assert 'value="0.0001"' in shown
    assert 'value="Europe/Berlin"' in shown
    refused = client.post(at, {**typed, "input:level": "2", "zone": "Nowhere"})
    assert refused.status_code == 400
    assert "rules.input.level" in refused.content.decode()
    assert "Name a time zone" in refused.content.decode()
