"""A process that freezes within a transaction holds rows that others wait for: PostgreSQL ends the
session of one that did nothing with its transaction for so many seconds.

A setting of the session, not a start-up option, which poolers refuse. Where PgBouncer lends a
connection for one transaction it would be set for somebody else: there the role has it on the
server (docs/operations.md).
"""

from typing import Any

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created


def bound(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    seconds = settings.DISTILLHUB_IDLE_TRANSACTION_SECONDS
    if connection.vendor != "postgresql" or seconds <= 0 or _is_lent(connection):
        return
    with connection.cursor() as cursor:
        cursor.execute(f"SET idle_in_transaction_session_timeout = {seconds * 1000:d}")


def unbound(connection: BaseDatabaseWrapper) -> None:
    """Within a transaction: this one may rest, as one that only holds a lock."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")


def begin() -> None:
    """From now on, of every connection of this process."""
    connection_created.connect(bound, dispatch_uid="idle_transactions")


def _is_lent(connection: BaseDatabaseWrapper) -> bool:
    """For a transaction, by a pool (settings/database.py, `pgbouncer=true`)."""
    return bool(connection.settings_dict["DISABLE_SERVER_SIDE_CURSORS"])
