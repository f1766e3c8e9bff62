"""Waiting for SQLite's one writer, and not waiting."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db.backends.base.base import BaseDatabaseWrapper


@contextmanager
def at_once(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """What is written in here raises OperationalError after a tenth of a second when somebody else
    is writing, instead of waiting. PostgreSQL's writers do not wait for each other anyway."""
    if connection.vendor != "sqlite":
        yield
        return
    with connection.cursor() as cursor:
        patience = cursor.execute("PRAGMA busy_timeout").fetchone()[0]
        cursor.execute("PRAGMA busy_timeout = 100")
        try:
            yield
        finally:
            cursor.execute(f"PRAGMA busy_timeout = {patience:d}")
