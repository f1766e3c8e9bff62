"""When a fault is the database's being away, and not ours."""

from django.db import InterfaceError, InternalError, OperationalError

#: PostgreSQL ended a session that froze within its transaction (idle_transactions.py). Others of
#: InternalError are faults of ours: to go on in a transaction that failed, for one.
ENDED = "25P03"


def is_away(error: BaseException | None) -> bool:
    """Whether the same may do in a moment, on another connection."""
    if isinstance(error, InternalError):
        return getattr(error.__cause__, "sqlstate", None) == ENDED
    return isinstance(error, OperationalError | InterfaceError)
