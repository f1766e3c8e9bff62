from django.db import migrations, models


class Migration(migrations.Migration):
    """Runs, exports and gates are held under one kind of lease (distillhub/lib/leases.py)."""

    dependencies = [
        ("training", "0004_teacher_gates"),
    ]

    operations = [
        migrations.RenameField("run", "losses_of_worker", "times_lost"),
        migrations.RemoveIndex("export", "export_by_claim"),
        migrations.RenameField("export", "claimed_until", "lease_until"),
        migrations.RenameField("export", "losses", "times_lost"),
        migrations.AddIndex(
            "export", models.Index(fields=["status", "lease_until"], name="export_by_claim")
        ),
        migrations.RemoveIndex("teachergate", "gate_by_claim"),
        migrations.RenameField("teachergate", "claimed_until", "lease_until"),
        migrations.RenameField("teachergate", "losses", "times_lost"),
        migrations.AddIndex(
            "teachergate", models.Index(fields=["status", "lease_until"], name="gate_by_claim")
        ),
        migrations.AlterField(
            "export", "report", models.JSONField(help_text="What the engine found.", null=True)
        ),
        migrations.AlterField(
            "run",
            "times_lost",
            models.PositiveIntegerField(default=0, help_text="Workers that died with it."),
        ),
    ]
