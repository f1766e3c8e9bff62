"""SQLite's INSERT OR REPLACE deletes a row without asking what guards deletions; PostgreSQL has no
such statement. A row of the audit log keeps its place against that, too."""

from typing import Any

from django.db import migrations

GUARD = (
    "CREATE TRIGGER audit_entry_place BEFORE INSERT ON projects_auditentry "
    "WHEN EXISTS (SELECT 1 FROM projects_auditentry "
    "WHERE number = NEW.number OR id = NEW.id OR digest = NEW.digest) "
    "BEGIN SELECT RAISE(ABORT, 'the audit log is only added to'); END"
)
BACK = "DROP TRIGGER IF EXISTS audit_entry_place"


def guard(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "sqlite":
        schema_editor.execute(GUARD)


def unguard(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "sqlite":
        schema_editor.execute(BACK)


class Migration(migrations.Migration):
    dependencies = [("projects", "0022_guesses")]
    operations = [migrations.RunPython(guard, unguard)]
