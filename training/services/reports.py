"""Reports: written, changed, listed, and shown to people without an account by a link that can be
taken back."""

import hashlib
import secrets
from typing import Any

from django.db import transaction
from django.db.models import Max, QuerySet
from django.utils import timezone

from distillhub.lib.errors import Conflict, Invalid, Missing
from projects.models import Project, User
from projects.services import events
from training.models import Report
from training.services import report_drafts, studies

LONGEST_TITLE = 200
LONGEST_BODY = 100_000
SECRET_BYTES = 32  # of a public link


def listed(*, project: Project) -> QuerySet[Report]:
    """Newest first, with what their rows show."""
    return Report.objects.filter(project=project).select_related("created_by", "study")


def find(*, project: Project, number: int) -> Report:
    """Raises Missing."""
    found = listed(project=project).filter(number=number).first()
    if found is None:
        raise Missing(f"There is no report {number} in this project.")
    return found


@transaction.atomic
def create(
    *,
    project: Project,
    title: Any = None,
    body: Any = None,
    study: int | None = None,
    run: int | None = None,
    by: User,
) -> Report:
    """A report with what is given; what is not is drafted from the study or the run. Raises
    Invalid, and Missing of a study or run that is not there."""
    if project.archived_at is not None:
        raise Conflict("This project is archived; nothing new can be written in it.")
    of = studies.find(project=project, number=study) if study is not None else None
    if title is None or body is None:
        draft = report_drafts.draft(project=project, study=of, run=run)
        title = draft.title if title is None else title
        body = draft.body if body is None else body
    _check(title, body)
    Project.objects.select_for_update().get(pk=project.pk)  # two reports get two numbers
    newest = Report.objects.filter(project=project).aggregate(newest=Max("number"))["newest"] or 0
    return Report.objects.create(
        project=project,
        number=newest + 1,
        title=title.strip(),
        body=body,
        study=of,
        created_by=by,
        changed_by=by,
    )


def edit(*, report: Report, title: Any = None, body: Any = None, by: User) -> Report:
    """Raises Invalid."""
    _check(report.title if title is None else title, report.body if body is None else body)
    if title is not None:
        report.title = title.strip()
    if body is not None:
        report.body = body
    report.changed_by = by
    report.save(update_fields=["title", "body", "changed_by", "changed_at"])
    return report


def remove(*, report: Report) -> None:
    """Its public link ends with it."""
    report.delete()


def share(*, report: Report, by: User) -> str:
    """The secret of a link that anybody may open; an earlier link ends. It is told once."""
    secret = secrets.token_urlsafe(SECRET_BYTES)
    report.share_digest, report.shared_by, report.shared_at = _digest(secret), by, timezone.now()
    with transaction.atomic():
        report.save(update_fields=["share_digest", "shared_by", "shared_at"])
        events.tell(
            project=report.project,
            kind="report.published",
            subject_kind="report",
            subject=str(report.number),
            title=report.title,
            sentence=f"{by.display_name} made a link that anybody may open.",
            by=by,
            data={"number": report.number, "title": report.title},
        )
    return secret


def stop_sharing(*, report: Report) -> None:
    """Who opens the link finds nothing from now on."""
    report.share_digest = report.shared_by = report.shared_at = None
    report.save(update_fields=["share_digest", "shared_by", "shared_at"])


def shared(*, secret: str) -> Report:
    """The report of a public link. Raises Missing, also of a project that is archived."""
    found = (
        Report.objects.filter(share_digest=_digest(secret), project__archived_at=None)
        .select_related("project", "created_by", "study")
        .first()
    )
    if found is None:
        raise Missing("There is no such report, or it is no longer shared.")
    return found


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _check(title: Any, body: Any) -> None:
    faults: dict[str, list[str]] = {}
    if not isinstance(title, str) or not 1 <= len(title.strip()) <= LONGEST_TITLE:
        faults["title"] = [f"A title has 1 to {LONGEST_TITLE} characters."]
    if not isinstance(body, str) or len(body) > LONGEST_BODY:
        faults["body"] = [f"A report has at most {LONGEST_BODY} characters."]
    if faults:
        raise Invalid(next(iter(faults.values()))[0], fields=faults)
