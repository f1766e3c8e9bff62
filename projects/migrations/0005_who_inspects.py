from django.db import migrations, models


class Migration(migrations.Migration):
    """An inspection is claimed as every other work is (distillhub/lib/leases.py)."""

    dependencies = [
        ("projects", "0004_what_models_answer"),
    ]

    operations = [
        migrations.AddField("modelversion", "attempt", models.PositiveIntegerField(default=0)),
        migrations.AddField("modelversion", "lease_until", models.DateTimeField(null=True)),
        migrations.AddField(
            "modelversion",
            "times_lost",
            models.PositiveIntegerField(default=0, help_text="Workers that died with it."),
        ),
    ]
