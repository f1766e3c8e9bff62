"""Where messages about incidents, and about other events that a channel hears, go: e-mail,
webhooks, Slack and what takes the same.

A webhook's address and its secret are sealed and never told again: the address of a Slack webhook
is a secret by itself. What is shown is the host.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.db.models import Count, Max, Q, QuerySet
from django.utils import timezone

from distillhub.lib import secrets
from distillhub.lib.errors import Conflict, Missing, refuse
from projects.models import Project, User, event_kinds
from projects.services import receivers
from projects.services.receivers import Faults
from training.engine.alerting import SEVERITIES
from training.models import AlertChannel, AlertMessage, Monitor
from training.worker import alert_delivery, alert_messages, alert_senders, fanning

Kind = AlertChannel.Kind
Status = AlertMessage.Status

KNOWN = ("name", "kind", "addresses", "url", "secret", "least", "hears", "is_on")
#: Kinds of events that a channel may hear of, besides incidents by their severity.
HEARD = tuple(kind for kind in event_kinds.KINDS if kind not in fanning.OF_MONITORS)
MOST_ADDRESSES = 20
MOST_CHANNELS = 50
LONGEST_PLACE = 500


def listed(*, project: Project) -> QuerySet[AlertChannel]:
    """By name, with how it goes: waiting, failed since the last that was sent, last sent."""
    return (
        AlertChannel.objects.filter(project=project)
        .select_related("created_by")
        .annotate(
            waiting=Count("messages", filter=Q(messages__status=Status.WAITING)),
            failed=Count("messages", filter=Q(messages__status=Status.FAILED)),
            last_sent_at=Max("messages__sent_at"),
        )
    )


def find(*, project: Project, channel_id: int) -> AlertChannel:
    """Raises Missing."""
    found = listed(project=project).filter(pk=channel_id).first()
    if found is None:
        raise Missing(f"There is no channel {channel_id} in this project.")
    return found


def create(*, project: Project, asked: Any, by: User) -> tuple[AlertChannel, str]:
    """The channel, and the secret that a webhook's messages are signed with: it is told this once;
    "" for other kinds. `asked`: {"name", "kind", "addresses"? , "url"?, "secret"?, "least"?,
    "hears"?}.

    Raises Invalid with every fault at its field, and Conflict for a name that is taken.
    """
    faults = receivers.unknown(asked, noun="channel", known=KNOWN)
    kind = asked.get("kind")
    if kind not in Kind.values:
        faults["kind"] = [f"It must be one of {', '.join(Kind.values)}."]
    columns = _columns(asked, faults)
    if "name" not in columns and "name" not in faults:
        faults["name"] = ["Give it a name."]
    place, sealed, secret = "", "", ""
    if kind == Kind.EMAIL:
        place = _addresses(asked.get("addresses"), faults)
    elif kind in Kind.values:
        place, sealed, secret = _webhook(asked, faults)
    if project.alert_channels.count() >= MOST_CHANNELS:
        faults["name"] = [f"A project has at most {MOST_CHANNELS} channels."]
    refuse(faults)
    with receivers.once("channel", columns["name"]):
        made = AlertChannel.objects.create(
            project=project, kind=str(kind), place=place, sealed=sealed, created_by=by, **columns
        )
    return find(project=project, channel_id=made.pk), secret if kind == Kind.WEBHOOK else ""


def edit(*, channel: AlertChannel, asked: Any) -> tuple[AlertChannel, str]:
    """Change what is named; a new secret is told once. A monitor that names the channel follows its
    new name. Raises like `create`."""
    faults = receivers.unknown(asked, noun="channel", known=KNOWN)
    if "kind" in asked and asked["kind"] != channel.kind:
        faults["kind"] = ["The kind of a channel stays: make another one."]
    columns = _columns(asked, faults)
    secret = ""
    if channel.kind == Kind.EMAIL:
        if "addresses" in asked:
            columns["place"] = _addresses(asked["addresses"], faults)
    elif asked.get("url") or asked.get("secret"):
        columns["place"], columns["sealed"], secret = _changed(channel, asked, faults)
    refuse(faults)
    before = channel.name
    for name, value in columns.items():
        setattr(channel, name, value)
    with transaction.atomic():
        with receivers.once("channel", channel.name):
            channel.save(update_fields=list(columns))
        if channel.name != before:
            _rename(channel, before)
        if columns.get("is_on"):
            alert_messages.wake(channel)
    told = secret if channel.kind == Kind.WEBHOOK else ""
    return find(project=channel.project, channel_id=channel.pk), told


def remove(*, channel: AlertChannel) -> None:
    """With the log of its messages."""
    channel.delete()


def test(*, channel: AlertChannel, by: User) -> AlertMessage:
    """A message that says that messages arrive; sent like any other. Raises Conflict for a channel
    that is off."""
    if not channel.is_on:
        raise Conflict(f"{channel.name} is off: nothing is sent to it.", code="off")
    now = timezone.now()
    sentence = f"{by.display_name} asked for this message, to see whether it arrives. It does."
    body = {
        "kind": "test",
        "title": f"{channel.project.name}: a test of {channel.name}",
        "sentence": sentence,
        "severity": SEVERITIES[0],
        "project": channel.project.slug,
        "at": now.isoformat(),
        "url": f"{settings.SITE_URL.rstrip('/')}/p/{channel.project.slug}/alert-channels/",
    }
    with transaction.atomic():
        key = f"test-{now:%Y%m%dT%H%M%S%f}"
        made = AlertMessage.objects.create(channel=channel, key=key, body=body, due_at=now)
        alert_messages.wake(channel)
    return made


def messages(*, channel: AlertChannel) -> QuerySet[AlertMessage]:
    """Newest first, with what they are about."""
    return channel.messages.select_related("incident", "within").order_by("-pk")


def of_incident(*, incident_id: int) -> QuerySet[AlertMessage]:
    """What was sent about an incident, newest first."""
    rows = AlertMessage.objects.filter(incident=incident_id).select_related("channel")
    return rows.order_by("-pk")


def send_again(*, channel: AlertChannel, message_id: int) -> AlertMessage:
    """One that was sent or given up goes out once more, under the id it had. Raises Missing."""
    found = messages(channel=channel).filter(pk=message_id).first()
    if found is None:
        raise Missing(f"{channel.name} has no message {message_id}.")
    with transaction.atomic():
        head = alert_delivery.send_again(found)
        alert_messages.wake(channel)
    return head


def unreadable() -> list[AlertChannel]:
    """Those whose address this machine cannot open. Raises secrets.BadKeys."""
    found = []
    for channel in _sealed():
        try:
            secrets.unseal(channel.sealed)
        except secrets.Unreadable:
            found.append(channel)
    return found


def seal_again() -> tuple[int, list[AlertChannel]]:
    """As projects/services/api_keys.py does with keys of APIs."""
    done, lost = 0, []
    for channel in _sealed():
        try:
            sealed = secrets.seal_again(channel.sealed)
        except secrets.Unreadable:
            lost.append(channel)
            continue
        mine = AlertChannel.objects.filter(pk=channel.pk, sealed=channel.sealed)
        done += mine.update(sealed=sealed)
    return done, lost


def _sealed() -> QuerySet[AlertChannel]:
    return AlertChannel.objects.exclude(sealed="").select_related("project").order_by("pk")


def _columns(asked: Mapping[str, Any], faults: Faults) -> dict[str, Any]:
    columns = receivers.columns(asked, faults)
    if "least" in asked:
        if asked["least"] not in SEVERITIES:
            faults["least"] = [f"It must be one of {', '.join(SEVERITIES)}."]
        columns["least"] = asked["least"]
    if "hears" in asked:
        given = asked["hears"]
        if not isinstance(given, list) or not all(one in HEARD for one in given):
            faults["hears"] = [f"It is a list of kinds of events: {', '.join(HEARD)}."]
        else:
            columns["hears"] = [kind for kind in HEARD if kind in given]
    return columns


def _addresses(given: Any, faults: Faults) -> str:
    words = given.split(",") if isinstance(given, str) else given
    if not isinstance(words, list) or not all(isinstance(one, str) for one in words):
        faults["addresses"] = ["List addresses, such as ops@example.com."]
        return ""
    found = list(dict.fromkeys(one.strip() for one in words if one.strip()))
    if not 1 <= len(found) <= MOST_ADDRESSES:
        faults["addresses"] = [f"Give 1 to {MOST_ADDRESSES} addresses."]
    for one in found:
        try:
            validate_email(one)
            if '"' in one or "," in one:  # kept in one line, they would be other addresses
                raise ValidationError("quoted")
        except ValidationError:
            faults["addresses"] = [f"{one[:100]} is no address of e-mail."]
    place = ", ".join(found)
    if len(place) > LONGEST_PLACE:
        faults["addresses"] = [f"Together they have at most {LONGEST_PLACE} characters."]
    return place


def _webhook(asked: Mapping[str, Any], faults: Faults) -> tuple[str, str, str]:
    """What is shown, what is sealed, and the secret."""
    url = receivers.url(asked.get("url"), faults)
    secret = receivers.secret(asked.get("secret"), faults)
    if faults:
        return "", "", ""
    host = receivers.host(url, longest=LONGEST_PLACE)
    return host, alert_senders.seal(url=url, secret=secret), secret


def _changed(
    channel: AlertChannel, asked: Mapping[str, Any], faults: Faults
) -> tuple[str, str, str]:
    """A stored secret is never kept for another host."""
    url, secret = asked.get("url"), asked.get("secret")
    try:
        old_url, old_secret = alert_senders.opened(channel)
    except secrets.Unreadable:
        old_url, old_secret = "", ""
    given = {"url": url or old_url}
    if secret:
        given["secret"] = secret
    elif old_secret and (not url or urlsplit(str(url)).netloc == urlsplit(old_url).netloc):
        given["secret"] = old_secret
    place, sealed, now = _webhook(given, faults)
    return place, sealed, now if now != old_secret else ""


def _rename(channel: AlertChannel, before: str) -> None:
    for monitor in Monitor.objects.select_for_update().filter(project=channel.project):
        names = (monitor.alerting or {}).get("channels") or []
        if before in names:
            names = [channel.name if one == before else one for one in names]
            monitor.alerting = {**monitor.alerting, "channels": names}
            monitor.save(update_fields=["alerting"])
