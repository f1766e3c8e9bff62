"""Celery jobs: ids in, one call, no logic."""

import logging
from datetime import timedelta
from typing import Any

from celery import shared_task
from django.db.models.functions import Now
from kombu.exceptions import OperationalError

from distillhub.lib import told
from projects.ingest import hub, ingestion
from projects.models import DatasetVersion, Guess, ResumableUpload

logger = logging.getLogger(__name__)

OVERDUE = timedelta(seconds=10)  # a new version nobody has begun: its message was probably lost
MOST_AT_ONCE = 50  # messages of a kind


@shared_task(name="projects.ingest_dataset_version")  # type: ignore[untyped-decorator]
def ingest_dataset_version(*, version_id: int, **later: Any) -> None:
    from projects.operations import carrying  # noqa: PLC0415 - brings REST's serializers, 11 MB

    ingestion.ingest(version_id=version_id, source_of=carrying.source_of)


@shared_task(name="projects.requeue_ingestions")  # type: ignore[untyped-decorator]
def requeue_ingestions(**later: Any) -> None:
    """Wake workers for versions that nobody works on: never begun, or their worker died."""
    versions = DatasetVersion.objects.all()
    for waiting in (versions.unclaimed().filter(created_at__lt=Now() - OVERDUE), versions.lost()):
        for version_id in waiting.order_by("pk").values_list("pk", flat=True)[:MOST_AT_ONCE]:
            send_ingestion(version_id)


@shared_task(name="projects.forget_uploads")  # type: ignore[untyped-decorator]
def forget_uploads(**later: Any) -> None:
    """Discard uploads that nobody has added to for a day, and files that came in part only."""
    for upload in ResumableUpload.objects.expired()[:MOST_AT_ONCE]:
        upload.discard()
    hub.forget_old()


@shared_task(name="projects.forget_guesses")  # type: ignore[untyped-decorator]
def forget_guesses(**later: Any) -> None:
    """Of passwords, codes and tokens: counts whose time is over."""
    Guess.objects.all().over().delete()


def send_ingestion(version_id: int) -> None:
    """Queue the ingestion. With the broker away the version waits for `requeue_ingestions`."""
    try:
        ingest_dataset_version.delay(version_id=version_id)
    except (OperationalError, OSError) as error:
        with told.about(datasetversion=version_id):
            logger.warning("It waits: the broker is away (%s).", error)
