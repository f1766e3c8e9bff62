from django.db import migrations, models


class Migration(migrations.Migration):
    """Dataset versions are held under the same lease as all else (distillhub/lib/leases.py)."""

    dependencies = [
        ("projects", "0007_last_deleted_run"),
    ]

    operations = [
        migrations.RenameField("datasetversion", "claimed_until", "lease_until"),
        migrations.AlterField("datasetversion", "lease_until", models.DateTimeField(null=True)),
        migrations.AlterField("datasetversion", "attempt", models.PositiveIntegerField(default=0)),
        migrations.AddField(
            "datasetversion",
            "times_lost",
            models.PositiveIntegerField(default=0, help_text="Workers that died with it."),
        ),
    ]
