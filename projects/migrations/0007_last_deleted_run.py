from django.db import migrations, models


class Migration(migrations.Migration):
    """A run's number stays its own when it is deleted."""

    dependencies = [
        ("projects", "0006_ended_run_days"),
    ]

    operations = [
        migrations.AddField(
            "project",
            "last_deleted_run",
            models.PositiveIntegerField(
                default=0, help_text="The highest number of a deleted run; no other run gets it."
            ),
        ),
    ]
