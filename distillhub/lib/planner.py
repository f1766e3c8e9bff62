"""SQLite's planner statistics: without them it guesses which index narrows a search. PostgreSQL
gathers its own (autovacuum)."""

import logging
import sqlite3

from django.db import DatabaseError, connection

log = logging.getLogger(__name__)

LOOKED_AT = 1000  # rows of an index; enough to tell a few from many, and milliseconds
BY_ITSELF = (3, 46, 0)  # from here on `optimize` knows which tables have changed enough
ALL_TABLES = 0x10002  # also those that this connection has not asked yet


def refresh() -> None:
    """Look again where rows have become many or few: at every start, and every hour. Never fails:
    a database that is busy or away has older statistics, which is no fault."""
    if connection.vendor != "sqlite":
        return
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA analysis_limit={LOOKED_AT}")
            newer = sqlite3.sqlite_version_info >= BY_ITSELF
            cursor.execute(f"PRAGMA optimize={ALL_TABLES}" if newer else "ANALYZE")
    except DatabaseError as error:
        log.info("The planner's statistics stay as they are: %s", error)
