"""Calling workers. A message only says "look": the row owns the work, so a message that is lost,
doubled or late does no harm."""

import logging
from collections.abc import Callable

from celery import current_app
from django.db import transaction
from kombu.exceptions import KombuError

from distillhub.lib import told

log = logging.getLogger(__name__)


def call(job: str, *, queue: str = "default", after: float = 0.0, **ids: int) -> bool:
    """Send a job by its name; False, and a line in the log, when the broker is away."""
    try:
        current_app.send_task(job, kwargs=ids, queue=queue, countdown=after or None)
    except (KombuError, OSError) as error:
        with told.about(**{name.removesuffix("_id"): number for name, number in ids.items()}):
            log.warning("%s waits: the broker is away (%s).", job, error)
        return False
    return True


def once_committed(send: Callable[[], object]) -> None:
    """Have a function called when this transaction is committed: once, however often it is named
    here. Where a savepoint that named it is undone it may not be: look again from time to time."""
    connection = transaction.get_connection()
    if not any(one[1] is send for one in connection.run_on_commit):
        transaction.on_commit(send, robust=True)
