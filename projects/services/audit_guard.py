"""What the database refuses of the audit log: to change, delete, replace or truncate its entries.

Migrations put it there. One that builds the table anew, as SQLite does for nearly every change of a
column, takes it off with the old table: so it is looked for after every `migrate`, and put back.
"""

import logging
from typing import Any

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

log = logging.getLogger(__name__)

TABLE = "projects_auditentry"
SENTENCE = "the audit log is only added to"
_FUNCTION = "audit_entry_refuse"

_ABORT = f"BEGIN SELECT RAISE(ABORT, '{SENTENCE}'); END"
_TAKEN = "number = NEW.number OR id = NEW.id OR digest = NEW.digest"

#: By name. INSERT OR REPLACE deletes a row without asking what guards deletions (SQLite).
SQLITE = {
    "audit_entry_UPDATE": f"BEFORE UPDATE ON {TABLE} {_ABORT}",
    "audit_entry_DELETE": f"BEFORE DELETE ON {TABLE} {_ABORT}",
    "audit_entry_place": f"BEFORE INSERT ON {TABLE} "  # noqa: S608 - our own names
    f"WHEN EXISTS (SELECT 1 FROM {TABLE} WHERE {_TAKEN}) {_ABORT}",
}
POSTGRESQL = {
    "audit_entry_rows": f"BEFORE UPDATE OR DELETE ON {TABLE} "
    f"FOR EACH ROW EXECUTE FUNCTION {_FUNCTION}()",
    "audit_entry_all": f"BEFORE TRUNCATE ON {TABLE} "
    f"FOR EACH STATEMENT EXECUTE FUNCTION {_FUNCTION}()",
}
REFUSE = (
    f"CREATE OR REPLACE FUNCTION {_FUNCTION}() RETURNS trigger LANGUAGE plpgsql AS "
    f"$$ BEGIN RAISE EXCEPTION '{SENTENCE}' USING ERRCODE = 'integrity_constraint_violation'; "
    "END $$"
)


def missing(connection: BaseDatabaseWrapper) -> dict[str, str]:
    """The triggers that are not there, or rest."""
    is_sqlite = connection.vendor == "sqlite"
    there = (
        "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = %s"
        if is_sqlite
        else "SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass AND tgenabled <> 'D'"
    )
    with connection.cursor() as cursor:
        cursor.execute(there, [TABLE])
        names = {name for (name,) in cursor.fetchall()}
    wanted = SQLITE if is_sqlite else POSTGRESQL
    return {name: how for name, how in wanted.items() if name not in names}


def put_on(connection: BaseDatabaseWrapper) -> list[str]:
    """What was not there; empty in every installation that nobody meddled with."""
    gone = missing(connection)
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        if gone and connection.vendor != "sqlite":
            cursor.execute(REFUSE)
        for name, how in gone.items():
            cursor.execute(f"DROP TRIGGER IF EXISTS {_named(connection, name)}")
            cursor.execute(f'CREATE TRIGGER "{name}" {how}')
    return list(gone)


def take_off(connection: BaseDatabaseWrapper) -> None:
    """Tests alone: they empty all tables."""
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        for name in SQLITE if connection.vendor == "sqlite" else POSTGRESQL:
            cursor.execute(f"DROP TRIGGER IF EXISTS {_named(connection, name)}")


def after_migrate(*, using: str, plan: object = None, **kwargs: Any) -> None:
    """After `migrate`. Emptying all tables says the same, without a plan, and is refused anyway."""
    connection = connections[using]
    if plan is None or TABLE not in connection.introspection.table_names():
        return
    if put_on(connection):
        log.warning("The audit log was not guarded by the database any more. It is again.")


def _named(connection: BaseDatabaseWrapper, name: str) -> str:
    return f'"{name}"' if connection.vendor == "sqlite" else f'"{name}" ON {TABLE}'
