"""The audit log is only added to: the database itself refuses all else. Tokens that may do less."""

from typing import Any

from django.db import migrations, models

SENTENCE = "the audit log is only added to"

SQLITE = [
    f"CREATE TRIGGER audit_entry_{act} BEFORE {act} ON projects_auditentry "
    f"BEGIN SELECT RAISE(ABORT, '{SENTENCE}'); END"
    for act in ("UPDATE", "DELETE")
]
SQLITE_BACK = [f"DROP TRIGGER IF EXISTS audit_entry_{act}" for act in ("UPDATE", "DELETE")]

POSTGRESQL = [
    "CREATE OR REPLACE FUNCTION audit_entry_refuse() RETURNS trigger LANGUAGE plpgsql AS "
    f"$$ BEGIN RAISE EXCEPTION '{SENTENCE}' USING ERRCODE = 'integrity_constraint_violation'; "
    "END $$",
    "CREATE TRIGGER audit_entry_rows BEFORE UPDATE OR DELETE ON projects_auditentry "
    "FOR EACH ROW EXECUTE FUNCTION audit_entry_refuse()",
    "CREATE TRIGGER audit_entry_all BEFORE TRUNCATE ON projects_auditentry "
    "FOR EACH STATEMENT EXECUTE FUNCTION audit_entry_refuse()",
]
POSTGRESQL_BACK = [
    "DROP TRIGGER IF EXISTS audit_entry_rows ON projects_auditentry",
    "DROP TRIGGER IF EXISTS audit_entry_all ON projects_auditentry",
    "DROP FUNCTION IF EXISTS audit_entry_refuse()",
]


def guard(apps: Any, schema_editor: Any) -> None:
    for statement in SQLITE if schema_editor.connection.vendor == "sqlite" else POSTGRESQL:
        schema_editor.execute(statement)


def unguard(apps: Any, schema_editor: Any) -> None:
    is_sqlite = schema_editor.connection.vendor == "sqlite"
    for statement in SQLITE_BACK if is_sqlite else POSTGRESQL_BACK:
        schema_editor.execute(statement)


class Migration(migrations.Migration):
    dependencies = [("projects", "0020_favourite_titles")]
    operations = [
        migrations.RunPython(guard, unguard),
        migrations.AlterField(
            model_name="apitoken",
            name="scope",
            field=models.CharField(
                choices=[
                    ("read", "Read"),
                    ("write", "Write"),
                    ("track", "Track"),
                    ("infer", "Infer"),
                ],
                default="write",
                max_length=10,
            ),
        ),
    ]
