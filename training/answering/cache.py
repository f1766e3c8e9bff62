"""The rows of requests: found, claimed before they are sent, and written before they are used."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from django.db.models import F, Sum
from django.db.models.functions import Now

from distillhub.lib.leases import Held
from projects.models import ModelVersion
from training.answering.faults import Fault
from training.answering.replies import Reply
from training.models import TeacherAnswer

Status = TeacherAnswer.Status


def digest(address: str, body: Mapping[str, Any], sample: int) -> str:
    """Of the exact request: where it goes, what it says, and the how manieth of its kind it is."""
    said = [address, body, sample]
    written = json.dumps(said, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(written.encode("utf-8", "surrogatepass")).hexdigest()


def rows(version: ModelVersion, digests: Iterable[str], purpose: str) -> dict[str, TeacherAnswer]:
    """A row for each, made where there was none."""
    wanted = set(digests)
    mine = TeacherAnswer.objects.filter(project=version.model.project_id)
    found = {row.digest: row for row in mine.filter(digest__in=wanted)}
    if missing := wanted - set(found):
        TeacherAnswer.objects.bulk_create(
            [
                TeacherAnswer(
                    project_id=version.model.project_id,
                    version=version,
                    digest=one,
                    purpose=purpose,
                )
                for one in sorted(missing)
            ],
            ignore_conflicts=True,  # another asks the same at this moment
        )
        found |= {row.digest: row for row in mine.filter(digest__in=missing)}
    return found


def claim(row: TeacherAnswer) -> Held[TeacherAnswer] | None:
    """Be the one who asks; None where somebody else is at it, or was answered meanwhile."""
    this = TeacherAnswer.objects.filter(pk=row.pk)
    this.filter(status=Status.FAILED).update(status=Status.WAITING)
    if not this.claim(status=Status.ASKING):
        return None
    claimed = TeacherAnswer.objects.get(pk=row.pk)
    return Held(claimed, claimed.attempt)


def answered(
    held: Held[TeacherAnswer], reply: Reply, cost: Decimal, sent: int, risk: Decimal
) -> None:
    """Raises Fenced."""
    held.settle(
        status=Status.ANSWERED,
        reply=reply.stored(),
        reason="",
        detail="",
        input_tokens=reply.input_tokens,
        output_tokens=reply.output_tokens,
        cost=cost,
        requests=F("requests") + sent,
        risked=F("risked") + risk,
        answered_at=Now(),
    )


def failed(held: Held[TeacherAnswer], fault: Fault, sent: int, risk: Decimal) -> None:
    """Raises Fenced."""
    held.settle(
        status=Status.FAILED,
        reason=fault.reason,
        detail=fault.sentence[:1000],
        requests=F("requests") + sent,
        risked=F("risked") + risk,
    )


def give_back(held: Held[TeacherAnswer], sent: int, risk: Decimal) -> None:
    """Not asked to the end: whoever comes next may. Raises Fenced."""
    held.settle(status=Status.WAITING, requests=F("requests") + sent, risked=F("risked") + risk)


def spent(project_id: int, purpose: str) -> Decimal:
    """What was paid for one purpose so far, and at most may have been."""
    sums = TeacherAnswer.objects.filter(project=project_id, purpose=purpose).aggregate(
        cost=Sum("cost"), risked=Sum("risked")
    )
    return (sums["cost"] or Decimal(0)) + (sums["risked"] or Decimal(0))
