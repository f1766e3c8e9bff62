from typing import Any

from django.db import migrations, models


def _note_gpus(apps: Any, schema_editor: Any) -> None:
    """Cards of the runs that are not over, as their configurations ask for them."""
    run_model = apps.get_model("training", "Run")
    over = ["finished", "failed", "cancelled"]
    for run in run_model.objects.exclude(status__in=over).only("pk", "config"):
        gpus = (run.config.get("resources") or {}).get("gpus") or 0
        if gpus:
            run_model.objects.filter(pk=run.pk).update(gpus=gpus)


class Migration(migrations.Migration):
    """Pausing, priorities, places in line, and what a run needs of a worker."""

    dependencies = [
        ("training", "0005_one_lease"),
    ]

    operations = [
        migrations.AddField(
            "run",
            "priority",
            models.SmallIntegerField(choices=[(-1, "low"), (0, "normal"), (1, "high")], default=0),
        ),
        migrations.AddField(
            "run",
            "place",
            models.DateTimeField(
                help_text="It stands in line as if queued then; null: as it was queued.", null=True
            ),
        ),
        migrations.AddField(
            "run",
            "gpus",
            models.PositiveSmallIntegerField(default=0, help_text="Cards that it has to itself."),
        ),
        migrations.AddField(
            "run",
            "memory_bytes",
            models.BigIntegerField(
                help_text="That it will hold, as estimated or asked at launch.", null=True
            ),
        ),
        migrations.AddField(
            "run",
            "expected_seconds",
            models.FloatField(help_text="Of the whole run, estimated.", null=True),
        ),
        migrations.AddField(
            "run",
            "taken_at",
            models.DateTimeField(help_text="When a worker last took it.", null=True),
        ),
        migrations.AddField(
            "run",
            "pause_requested_at",
            models.DateTimeField(
                help_text="A run in training that is to checkpoint and pause.", null=True
            ),
        ),
        migrations.AddIndex(
            "run", models.Index(fields=["created_by", "status", "taken_at"], name="run_by_share")
        ),
        migrations.RunPython(_note_gpus, migrations.RunPython.noop),
    ]
