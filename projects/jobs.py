"""Celery jobs: ids in, one call, no logic."""

import logging
from datetime import timedelta
from typing import Any

from celery import shared_task
from django.db.models import Q
from django.utils import timezone
from kombu.exceptions import OperationalError

from distillhub.lib import told
from projects.ingest import ingestion
from projects.models import DatasetVersion

logger = logging.getLogger(__name__)

OVERDUE = timedelta(seconds=30)  # a new version nobody has begun: its message was probably lost


@shared_task(name="projects.ingest_dataset_version")  # type: ignore[untyped-decorator]
def ingest_dataset_version(*, version_id: int, **later: Any) -> None:
    with told.about(dataset_version=version_id):
        ingestion.ingest(version_id=version_id)


@shared_task(name="projects.requeue_ingestions")  # type: ignore[untyped-decorator]
def requeue_ingestions(**later: Any) -> None:
    """Wake workers for versions that nobody works on: never begun, or their worker died."""
    now = timezone.now()
    waiting = DatasetVersion.objects.ingesting().filter(
        Q(claimed_until__lt=now) | Q(claimed_until=None, created_at__lt=now - OVERDUE)
    )
    for version_id in waiting.values_list("pk", flat=True):
        send_ingestion(version_id)


def send_ingestion(version_id: int) -> None:
    """Queue the ingestion. With the broker away the version waits for `requeue_ingestions`."""
    try:
        ingest_dataset_version.delay(version_id=version_id)
    except (OperationalError, OSError) as error:
        with told.about(dataset_version=version_id):
            logger.warning("It waits: the broker is away (%s).", error)
