"""Address and secrets of a webhook, sealed: several secrets while one is rotated out."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from distillhub.lib import secrets, standard_webhooks
from distillhub.lib.errors import Invalid
from projects.models import Webhook

GRACE = timedelta(hours=24)  # in which the secret before is signed with, too
LONGEST_GRACE = timedelta(days=30)
MOST = 3  # that hold at once


@dataclass(frozen=True, slots=True)
class Secret:
    secret: str
    until: datetime | None = None  # None: the newest, for good

    def holds(self, now: datetime) -> bool:
        return self.until is None or self.until > now


@dataclass(frozen=True, slots=True)
class Sealed:
    url: str
    secrets: Sequence[Secret]  # the newest first

    def sealed(self) -> str:
        kept = [
            {"secret": one.secret, "until": one.until.isoformat() if one.until else None}
            for one in self.secrets
        ]
        return secrets.seal(json.dumps({"url": self.url, "secrets": kept}))

    def now(self) -> list[str]:
        """Secrets that hold."""
        now = timezone.now()
        return [one.secret for one in self.secrets if one.holds(now)]


def opened(webhook: Webhook) -> Sealed:
    """Raises secrets.Unreadable."""
    found = json.loads(secrets.unseal(webhook.sealed))
    kept = [
        Secret(one["secret"], datetime.fromisoformat(one["until"]) if one["until"] else None)
        for one in found["secrets"]
    ]
    return Sealed(found["url"], kept)


def rotate(*, webhook: Webhook, grace: timedelta = GRACE) -> str:
    """A new secret, told this once. For the time of grace messages are signed with the one before,
    too, so that receivers change over without losing any; 0 ends it at once, as one that leaked
    must. Raises Invalid."""
    if not timedelta() <= grace <= LONGEST_GRACE:
        sentence = f"The time of grace is 0 to {LONGEST_GRACE.days * 24} hours."
        raise Invalid(sentence, fields={"grace_hours": [sentence]})
    now, made = timezone.now(), standard_webhooks.make_secret()
    until = now + grace
    with transaction.atomic():
        held = Webhook.objects.select_for_update().get(pk=webhook.pk)
        before = opened(held)
        kept = [Secret(one.secret, min(one.until or until, until)) for one in before.secrets]
        found = [Secret(made), *(one for one in kept if one.holds(now))][:MOST]
        held.sealed = Sealed(before.url, found).sealed()
        held.save(update_fields=["sealed"])
    webhook.sealed = held.sealed
    return made


# -- sealing keys ---------------------------------------------------------------------------------


def unreadable() -> list[Webhook]:
    """Those whose address this machine cannot open. Raises secrets.BadKeys."""
    found = []
    for webhook in _all():
        try:
            secrets.unseal(webhook.sealed)
        except secrets.Unreadable:
            found.append(webhook)
    return found


def seal_again() -> tuple[int, list[Webhook]]:
    """As projects/services/api_keys.py does with keys of APIs."""
    done, lost = 0, []
    for webhook in _all():
        try:
            sealed = secrets.seal_again(webhook.sealed)
        except secrets.Unreadable:
            lost.append(webhook)
            continue
        mine = Webhook.objects.filter(pk=webhook.pk, sealed=webhook.sealed)
        done += mine.update(sealed=sealed)
    return done, lost


def _all() -> QuerySet[Webhook]:
    return Webhook.objects.select_related("project").order_by("pk")
