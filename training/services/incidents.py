"""Incidents, as people have them: seen, put off, talked about, owned, closed."""

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from distillhub.lib.errors import Conflict, Invalid, Missing
from projects.models import Project, User
from projects.services import comments, subjects
from training.engine.alerting import MUTED, OK, SEVERITIES, Alert
from training.models import Incident, Monitor, SignalAlert
from training.worker import alert_messages, incident_words
from training.worker import incidents as made

LONGEST_COMMENT = 5000
LONGEST_REASON = 500
LONGEST_SNOOZE = timedelta(days=90)
STATES = ("open", "closed")


def listed(
    *,
    project: Project,
    state: str = "",
    monitor: str = "",
    severity: str = "",
    owner: str = "",
) -> QuerySet[Incident]:
    """Open ones first, then newest first. `owner` is a username, or `nobody`. Raises Invalid."""
    rows = Incident.objects.filter(project=project).select_related(
        "monitor", "project", "owner", "acknowledged_by"
    )
    if state:
        if state not in STATES:
            raise _wrong("state", f"It must be one of {', '.join(STATES)}.")
        rows = rows.filter(closed_at__isnull=state == "open")
    if severity:
        if severity not in SEVERITIES:
            raise _wrong("severity", f"It must be one of {', '.join(SEVERITIES)}.")
        rows = rows.filter(severity=severity)
    if monitor:
        rows = rows.filter(monitor__name__iexact=monitor)
    if owner:
        rows = rows.filter(owner=None) if owner == "nobody" else rows.filter(owner__username=owner)
    return rows.order_by(F("closed_at").desc(nulls_first=True), "-number")


def find(*, project: Project, number: int) -> Incident:
    """Raises Missing."""
    found = listed(project=project).filter(number=number).first()
    if found is None:
        raise Missing(f"There is no incident {number} in this project.")
    return found


def of_person(*, user: User) -> QuerySet[Incident]:
    """Open ones of all projects of a person, the worst not told apart: newest first."""
    rows = Incident.objects.visible_to(user).open().filter(project__archived_at=None)
    return rows.select_related("monitor", "project", "owner").order_by("-opened_at")


def acknowledge(*, incident: Incident, by: User) -> Incident:
    """Somebody has seen it. Harmless to repeat; the first counts."""
    with transaction.atomic():
        rows = _open(incident).filter(acknowledged_at=None)
        if rows.update(acknowledged_by=by, acknowledged_at=timezone.now()):
            made.tell(incident, "acknowledged", f"{by.display_name} has seen it.", by=by)
        elif not _open(incident).exists():
            raise _over(incident)
    return _again(incident)


def snooze(*, incident: Incident, until: datetime | None, by: User) -> Incident:
    """No message about it until then, unless it gets critical; None ends that. Raises Invalid."""
    now = timezone.now()
    if until is not None and not now < until <= now + LONGEST_SNOOZE:
        raise _wrong("until", f"It lies ahead, by at most {LONGEST_SNOOZE.days} days.")
    with transaction.atomic():
        if not _open(incident).update(snoozed_until=until):
            raise _over(incident)
        if until is not None:
            when = incident_words.moment(until, incident.monitor)
            said = f"{by.display_name} put it off until {when}."
        else:
            said = f"{by.display_name} wants to hear of it again."
        made.tell(incident, "snoozed", said, by=by)
    return _again(incident)


def comment(*, incident: Incident, text: Any, by: User) -> Incident:
    """Also of one that is closed. Members that are mentioned hear of it. Raises Invalid."""
    said = text.strip() if isinstance(text, str) else ""
    if not 1 <= len(said) <= LONGEST_COMMENT:
        raise _wrong("text", f"A comment has 1 to {LONGEST_COMMENT} characters.")
    with transaction.atomic():
        kept = made.tell(incident, "comment", said, by=by)
        subject = subjects.find(
            project=incident.project, kind="incident", reference=str(incident.number)
        )
        comments.tell_of(
            project=incident.project, subject=subject, comment_id=kept.pk, text=said, by=by
        )
    return _again(incident)


def own(*, incident: Incident, owner: str | None, by: User) -> Incident:
    """Who looks after it: a member of the project by username, or nobody. Raises Invalid."""
    person = None
    if owner:
        person = incident.project.members.filter(username=owner).first()
        if person is None:
            raise _wrong("owner", f"{owner} is no member of this project.")
    with transaction.atomic():
        if not _open(incident).update(owner=person):
            raise _over(incident)
        incident.owner = person
        whom = f"{person.display_name} looks" if person is not None else "Nobody looks"
        made.tell(incident, "owner", f"{whom} after it.", by=by)
    return _again(incident)


def close(*, incident: Incident, reason: Any = "", by: User) -> Incident:
    """Over, says a person. Its alerts begin anew: it opens again where windows to come speak
    against it, by the rules. Raises Conflict for one that is closed."""
    why = reason.strip() if isinstance(reason, str) else ""
    if len(why) > LONGEST_REASON:
        raise _wrong("reason", f"A reason has at most {LONGEST_REASON} characters.")
    with transaction.atomic():
        Monitor.objects.select_for_update().get(pk=incident.monitor_id)
        incident.refresh_from_db()
        if incident.closed_at is not None:
            raise _over(incident)
        now = timezone.now()
        for one in incident.signals:
            one["closed_at"] = one.get("closed_at") or now.isoformat()
        incident.closed_at = now
        incident.save(update_fields=["signals", "closed_at"])
        _begin_anew(incident.monitor)
        said = f"{by.display_name} closed it{f': {why}' if why else '.'}"
        made.tell(incident, "closed", said, by=by)
        alert_messages.about(incident, "closed", said, key=f"closed-{incident.pk}")
    return _again(incident)


def _begin_anew(monitor: Monitor) -> None:
    for row in SignalAlert.objects.filter(monitor=monitor):
        kept = Alert.from_dict(row.kept) if row.kept else Alert()
        if kept.open or kept.recent:
            state = MUTED if kept.state == MUTED else OK
            fresh = Alert(state=state, muted_until=kept.muted_until, at=kept.at)
            row.state, row.severity, row.kept = fresh.state, "", fresh.as_dict()
            row.save(update_fields=["state", "severity", "kept", "changed_at"])


def _open(incident: Incident) -> QuerySet[Incident]:
    return Incident.objects.open().filter(pk=incident.pk)


def _again(incident: Incident) -> Incident:
    return find(project=incident.project, number=incident.number)


def _over(incident: Incident) -> Conflict:
    return Conflict(f"Incident {incident.number} is closed.", code="closed")


def _wrong(at: str, sentence: str) -> Invalid:
    return Invalid(sentence, fields={at: [sentence]})
