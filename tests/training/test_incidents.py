"""Incidents as people have them, by REST: seen, put off, talked about, owned, closed; alerts that
are muted; channels whose secrets are told once."""

from datetime import timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from distillhub.lib import secrets
from projects.models import Project, User
from tests.conftest import api_of
from tests.training import alert_rows as rows
from tests.training.alert_rows import CLEAN, FAR, MOVED, score
from training.models import AlertChannel, AlertMessage, Incident, Monitor, SignalAlert
from training.services import alert_channels
from training.worker import alert_senders, alerts

JSON = dict[str, Any]

pytestmark = pytest.mark.django_db


@pytest.fixture
def monitor(project: Project) -> Monitor:
    return rows.monitor(project)


@pytest.fixture
def incident(monitor: Monitor) -> Incident:
    rows.hours(monitor, *[{"input.age": MOVED, "prediction": CLEAN}] * 2)
    return Incident.objects.get()


def at(project: Project, rest: str = "incidents/") -> str:
    return f"/api/v1/projects/{project.slug}/{rest}"


def test_an_incident_is_listed_and_told_with_its_history(
    project: Project, incident: Incident, vera: User
) -> None:
    client = api_of(vera)
    [one] = client.get(at(project)).json()["results"]
    assert (one["number"], one["monitor"], one["severity"]) == (1, "intents-live", "serious")
    told = client.get(at(project, "incidents/1/")).json()
    assert told["facts"]["rows"] == ["row-7", "row-9"]
    assert [event["kind"] for event in told["events"]] == ["opened"]
    assert told["window"] == incident.window.number if incident.window else False
    for query, found in (
        ("state=open", 1), ("state=closed", 0), ("severity=critical", 0), ("owner=nobody", 1),
        ("monitor=intents-live", 1), ("monitor=other", 0), ("owner=erin", 0),
    ):  # fmt: skip
        assert len(client.get(at(project, f"incidents/?{query}")).json()["results"]) == found
    assert client.get(at(project, "incidents/?state=odd")).status_code == 400


def test_it_is_seen_owned_put_off_talked_about_and_closed(
    project: Project, incident: Incident, erin: User, monitor: Monitor
) -> None:
    client, here = api_of(erin), at(project, "incidents/1/")
    for _ in range(2):
        seen = client.post(f"{here}acknowledge/")
        assert (seen.status_code, seen.json()["acknowledged_by"]) == (200, "erin")
    assert client.put(f"{here}owner/", {"owner": "vera"}).json()["owner"] == "vera"
    assert client.put(f"{here}owner/", {"owner": "charlie"}).status_code == 400
    until = timezone.now() + timedelta(hours=4)
    assert client.post(f"{here}snooze/", {"until": until}).json()["snoozed_until"]
    assert client.post(f"{here}snooze/", {"until": timezone.now()}).status_code == 400
    client.post(f"{here}comments/", {"text": "A new camera."})
    closed = client.post(f"{here}close/", {"reason": "expected"})
    assert closed.json()["closed_at"] is not None
    told = client.get(here).json()["events"]
    assert [one["kind"] for one in told] == [
        "opened", "acknowledged", "owner", "snoozed", "comment", "closed",
    ]  # fmt: skip
    assert told[-1]["sentence"] == "erin closed it: expected"
    for rest in ("close/", "acknowledge/"):
        again = client.post(f"{here}{rest}")
        # Whoever saw it stays.
        assert again.status_code == 409, rest
    assert client.post(f"{here}comments/", {"text": "Late."}).status_code == 201


def test_one_that_a_person_closed_opens_again_by_the_rules(
    project: Project, incident: Incident, erin: User, monitor: Monitor
) -> None:
    api_of(erin).post(at(project, "incidents/1/close/"))
    assert set(SignalAlert.objects.values_list("state", flat=True)) == {"ok"}
    rows.hours(monitor, {"input.age": MOVED}, since=2)
    assert not Incident.objects.open().exists()
    rows.hours(monitor, {"input.age": MOVED}, since=3)
    assert Incident.objects.open().get().number == 2


def test_a_silence_that_a_person_closed_is_not_told_again(project: Project, erin: User) -> None:
    rows.monitor(project, last_row_at=timezone.now() - timedelta(days=3))
    alerts.look_again()
    assert api_of(erin).post(at(project, "incidents/1/close/")).status_code == 200
    alerts.look_again()
    assert Incident.objects.count() == 1


def test_a_snoozed_incident_is_silent_until_it_is_critical_or_the_time_is_over(
    project: Project, incident: Incident, erin: User, monitor: Monitor
) -> None:
    rows.channel(project)
    soon = {"until": timezone.now() + timedelta(hours=4)}
    api_of(erin).post(at(project, "incidents/1/snooze/"), soon)
    fell = score(0.06, 1e-7, "agreement")
    rows.hours(monitor, *[{"agreement": fell}] * 2, since=2)
    assert not AlertMessage.objects.exists()
    rows.hours(monitor, {"input.age": FAR}, since=4)
    assert AlertMessage.objects.get().body["severity"] == "critical"
    Incident.objects.update(snoozed_until=timezone.now())
    alerts.look_again()
    alerts.look_again()
    assert sorted(one.body["kind"] for one in AlertMessage.objects.all()) == [
        "still_open", "worsened",
    ]  # fmt: skip


def test_a_muted_signal_opens_nothing_and_is_heard_again(
    project: Project, monitor: Monitor, erin: User
) -> None:
    rows.hours(monitor, {"input.age": CLEAN, "prediction": CLEAN})
    client, here = api_of(erin), at(project, "monitors/intents-live/alerts/")
    until = timezone.now() + timedelta(days=2)
    told = client.patch(here, {"signal": "input.age", "muted_until": until})
    assert (told.status_code, told.json()["state"]) == (200, "muted")
    rows.hours(monitor, *[{"input.age": FAR, "prediction": CLEAN}] * 3, since=1)
    assert not Incident.objects.exists()
    found = {one["signal"]: one["state"] for one in client.get(here).json()["results"]}
    assert found == {"input.age": "muted", "prediction": "ok"}
    heard = client.patch(here, {"signal": "input.age", "muted_until": None})
    assert heard.json()["state"] == "pending"
    rows.hours(monitor, {"input.age": FAR}, since=4)
    assert Incident.objects.count() == 1
    assert client.patch(here, {"signal": "no", "muted_until": None}).status_code == 404


# Channels ----------------------------------------------------------------------------------------


def test_a_webhook_is_added_and_its_secret_told_once(project: Project, alice: User) -> None:
    client, here = api_of(alice), at(project, "alert-channels/")
    asked = {"name": "ops", "kind": "webhook", "url": "https://1.1.1.1/hook?key=canary-77"}
    made = client.post(here, asked, headers={"Idempotency-Key": "one"})
    assert made.status_code == 201, made.json()
    told = made.json()
    assert told["secret"].startswith("whsec_")
    assert told["place"] == "1.1.1.1"
    channel = AlertChannel.objects.get()
    assert alert_senders.opened(channel) == (asked["url"], told["secret"])
    again = client.post(here, asked, headers={"Idempotency-Key": "one"})
    assert told["secret"] not in again.content.decode()
    seen = client.get(here).content.decode() + client.get(f"{here}{channel.pk}/").content.decode()
    assert "canary-77" not in seen
    assert told["secret"] not in seen
    assert channel.sealed not in seen


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"kind": "webhook", "url": "https://10.0.0.1/x"}, "url"),
        ({"kind": "webhook", "url": "http://1.1.1.1/x"}, "url"),
        ({"kind": "slack"}, "url"),
        ({"kind": "webhook", "url": "https://1.1.1.1/x", "secret": "short"}, "secret"),
        ({"kind": "email", "addresses": ["nobody"]}, "addresses"),
        ({"kind": "email", "addresses": []}, "addresses"),
        ({"kind": "email", "addresses": ['"a,b@example.org,c"@example.com']}, "addresses"),
        ({"kind": "email", "addresses": ["a@example.com\nBcc: b@example.com"]}, "addresses"),
        ({"kind": "pigeon"}, "kind"),
        ({"kind": "email", "addresses": ["a@example.com"], "name": ""}, "name"),
        ({"kind": "email", "addresses": ["a@example.com"], "least": "dire"}, "least"),
        ({"kind": "email", "addresses": ["a@example.com"], "colour": "red"}, "colour"),
    ],
)
def test_what_is_no_channel_is_refused_at_its_field(
    project: Project, alice: User, asked: JSON, field: str
) -> None:
    answer = api_of(alice).post(at(project, "alert-channels/"), {"name": "ops", **asked})
    assert (answer.status_code, list(answer.json()["fields"])) == (400, [field])


def test_a_channel_is_changed_and_its_secret_is_kept_for_no_other_host(
    project: Project, alice: User
) -> None:
    client = api_of(alice)
    channel = rows.channel(project, url="https://1.1.1.1/one", name="ops")
    _, secret = alert_senders.opened(channel)
    monitor = rows.monitor(project, alerting={"channels": ["ops", "other"]})
    here = at(project, f"alert-channels/{channel.pk}/")
    changed = client.patch(here, {"name": "team", "url": "https://1.1.1.1/two"})
    assert (changed.status_code, changed.json()["secret"]) == (200, None)
    channel.refresh_from_db()
    assert alert_senders.opened(channel) == ("https://1.1.1.1/two", secret)
    monitor.refresh_from_db()
    assert monitor.alerting["channels"] == ["team", "other"]
    other = client.patch(here, {"url": "https://8.8.8.8/two"}).json()["secret"]
    assert other.startswith("whsec_")
    assert other != secret
    assert client.patch(here, {"kind": "slack"}).status_code == 400
    rows.channel(project, "email", name="mail")
    assert client.patch(here, {"name": "mail"}).status_code == 409
    assert client.delete(here).status_code == 204


def test_a_test_message_and_one_that_is_sent_again_stand_in_the_log(
    project: Project, alice: User, vera: User, settings: LazySettings
) -> None:
    settings.EMAIL_URL = "smtp://somewhere"
    channel = rows.channel(project, "email")
    client, here = api_of(alice), at(project, f"alert-channels/{channel.pk}/")
    assert client.post(f"{here}test/").status_code == 202
    [log] = api_of(vera).get(f"{here}messages/").json()["results"]
    assert (log["status"], log["body"]["kind"], log["incident"]) == ("waiting", "test", None)
    AlertMessage.objects.update(status="failed", tries=8, error="It answered 500.")
    again = client.post(f"{here}messages/{log['id']}/redeliver/")
    assert (again.status_code, again.json()["status"]) == (202, "waiting")
    assert client.post(f"{here}messages/999999/redeliver/").status_code == 404
    client.patch(here, {"is_on": False})
    assert client.post(f"{here}test/").status_code == 409


def test_channels_are_sealed_anew_when_keys_are_rotated(
    project: Project, settings: LazySettings
) -> None:
    old, new = secrets.make_key(), secrets.make_key()
    settings.DISTILLHUB_SECRET_KEYS = [old]
    channel = rows.channel(project, url="https://1.1.1.1/x")
    rows.channel(project, "email")
    settings.DISTILLHUB_SECRET_KEYS = [new, old]
    assert alert_channels.seal_again() == (1, [])
    settings.DISTILLHUB_SECRET_KEYS = [new]
    channel.refresh_from_db()
    assert alert_channels.unreadable() == []
    assert alert_senders.opened(channel)[0] == "https://1.1.1.1/x"
    settings.DISTILLHUB_SECRET_KEYS = [old]
    assert alert_channels.unreadable() == [channel]
    assert alert_channels.seal_again() == (0, [channel])


def test_lists_ask_the_database_as_often_however_long_they_are(
    project: Project, vera: User
) -> None:
    client = api_of(vera)
    for number in range(1, 31):
        of = rows.monitor(project, f"m{number}")
        rows.hours(of, *[{"input.age": MOVED}] * 2)
        rows.channel(project, "email", name=f"c{number}")
    for rest in ("incidents/", "alert-channels/"):
        with CaptureQueriesContext(
            connection,
        ) as asked:
            assert len(client.get(at(project, rest)).json()["results"]) == 30
        assert len(asked) <= 12, rest
