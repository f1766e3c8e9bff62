"""Notifications by e-mail: what came for a person within a minute goes in one letter.

    due       a notification whose `email_due_at` has come (projects/services/notifications.py)
    claim     with the person's row locked, all that is due and all that still gathers: for LEASE
              they are this process's, then anybody's again
    settle    sent; or due again after BACK_OFF; or given up after the last try

What was read meanwhile, and what is of a project that the person has left, is not sent.
"""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from email.utils import format_datetime
from urllib.parse import urlsplit

from django.conf import settings
from django.core import mail
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from distillhub.lib import leases, told
from projects.models import Notification, User
from projects.services import notifications
from training.worker import dispatch

log = logging.getLogger(__name__)

MAIL = "training.mail_notifications"
LEASE = timedelta(minutes=2)
MOST = 100  # notifications in a letter; the others go in the next
LONGEST_SUBJECT = 150
KEPT = timedelta(days=180)
MOST_FORGOTTEN = 10_000  # at a time, every six hours
#: After each try that failed; as many tries as there are steps, and one.
BACK_OFF = (
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=6),
)


def look_again(*, now: datetime | None = None) -> None:
    """Wake workers for people for whom something is due."""
    due = Notification.objects.filter(email_due_at__lte=now or timezone.now())
    for user_id in due.order_by().values_list("user", flat=True).distinct():
        dispatch.call(MAIL, user_id=user_id)


def deliver(user_id: int, *, now: datetime | None = None) -> int:
    """Send what is due to a person; how many letters went out. Harmless in two processes."""
    sent = 0
    while leases.takes_more():
        claimed = claim(user_id, now=now or timezone.now())
        if not claimed:
            break
        with told.about(user=user_id):
            if not _send(claimed, now or timezone.now()):
                break
            sent += 1
    return sent


def forget_old(*, now: datetime | None = None) -> int:
    """Notifications that nobody needs any more; how many. What happened stays in the feed."""
    old = Notification.objects.filter(created_at__lt=(now or timezone.now()) - KEPT)
    pks = list(old.order_by("pk").values_list("pk", flat=True)[:MOST_FORGOTTEN])
    return Notification.objects.filter(pk__in=pks).delete()[0]


def claim(user_id: int, *, now: datetime) -> list[Notification]:
    """What goes in the next letter, this process's for a while; empty when nothing is due."""
    with transaction.atomic():
        user = User.objects.select_for_update().filter(pk=user_id).first()
        waiting = Notification.objects.filter(user=user_id, email_due_at__isnull=False)
        if not waiting.filter(email_due_at__lte=now).exists():
            return []
        with_those_that_gather = Q(email_due_at__lte=now) | Q(email_tries=0)
        found = list(
            waiting.filter(with_those_that_gather)
            .select_related("event__project")
            .order_by("pk")[:MOST]
        )
        kept = _wanted(user, found)
        ids = {one.pk for one in kept}
        dropped = [one.pk for one in found if one.pk not in ids]
        Notification.objects.filter(pk__in=dropped).update(email_due_at=None)
        Notification.objects.filter(pk__in=ids).update(
            email_due_at=now + LEASE, email_tries=F("email_tries") + 1
        )
    for one in kept:
        one.email_tries += 1
        one.user = user  # type: ignore[assignment]
    return kept if kept else claim(user_id, now=now) if dropped else []


def letter(claimed: Sequence[Notification]) -> mail.EmailMessage:
    """One letter of all of them, oldest first, in plain text."""
    user, host = claimed[0].user, urlsplit(settings.SITE_URL).hostname or "localhost"
    site = settings.SITE_URL.rstrip("/")
    last = f"{site}/notifications/unsubscribe/{notifications.unsubscribe_token(user)}/"
    subject = f"[{claimed[0].event.project.name}] {claimed[0].event.sentence}"
    if len(claimed) > 1:
        places = sorted({one.event.project.name for one in claimed})
        subject = f"[{', '.join(places)}] {len(claimed)} notifications"
    lines: list[str] = []
    for one in claimed:
        lines += [one.event.sentence, f"{site}{notifications.address(one.event)}", ""]
    lines += [
        "--",
        f"What you hear of: {site}/account/notifications/",
        f"No e-mails any more: {last}",
    ]
    return mail.EmailMessage(
        subject=" ".join(subject.split())[:LONGEST_SUBJECT],
        body="\n".join(lines),
        to=[user.email],
        headers={
            # The same however often these are sent: mail programs show it once.
            "Message-ID": f"<notice-{claimed[0].pk}-{claimed[-1].pk}-{len(claimed)}@{host}>",
            "Auto-Submitted": "auto-generated",
            "Date": format_datetime(timezone.now()),
            "List-Unsubscribe": f"<{last}>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        },
    )


def _wanted(user: User | None, found: Sequence[Notification]) -> list[Notification]:
    """Those that are still news to the person, and still theirs to know."""
    if user is None or not user.is_active or not user.email or not settings.EMAIL_URL:
        return []
    places = set(user.memberships.values_list("project", flat=True))
    return [one for one in found if one.read_at is None and one.event.project_id in places]


def _send(claimed: Sequence[Notification], now: datetime) -> bool:
    """Never raises for what a mail server does: that is written to the notifications."""
    rows = Notification.objects.filter(pk__in=[one.pk for one in claimed])
    try:
        with mail.get_connection() as connection:
            written = letter(claimed)
            written.connection = connection
            written.send()
    except Exception as error:  # smtplib's, and whatever a strange address makes of a letter
        tries = max(one.email_tries for one in claimed)
        given_up = tries > len(BACK_OFF)
        log.warning(
            "A letter %s: %s.", "is given up" if given_up else "waits", type(error).__name__
        )
        rows.update(email_due_at=None if given_up else now + BACK_OFF[tries - 1])
        return False
    rows.update(email_due_at=None, emailed_at=now)
    return True
