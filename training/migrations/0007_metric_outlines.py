from typing import Any

import django.db.models.deletion
from django.db import migrations, models
from django.db.models import OuterRef, Subquery


def _note_projects(apps: Any, schema_editor: Any) -> None:
    """Of the series that are there. What holds no full chunk needs no outline."""
    series_model = apps.get_model("training", "MetricSeries")
    run_model = apps.get_model("training", "Run")
    its = run_model.objects.filter(pk=OuterRef("run")).values("project")
    series_model.objects.update(project=Subquery(its))
    series_model.objects.filter(count__lt=1000).update(is_outlined=True)
    # PostgreSQL indexes no table on which checks are pending.
    schema_editor.connection.check_constraints()


class Migration(migrations.Migration):
    """Outlines of long series, an index by value, series that outlive their run for a moment."""

    dependencies = [
        ("projects", "0001_first"),
        ("training", "0006_control"),
    ]

    operations = [
        migrations.CreateModel(
            name="MetricOutline",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("index", models.PositiveIntegerField()),
                ("first_step", models.BigIntegerField()),
                ("last_step", models.BigIntegerField()),
                ("count", models.PositiveIntegerField()),
                ("minimum", models.FloatField(null=True)),
                ("maximum", models.FloatField(null=True)),
                ("steps", models.BinaryField()),
                ("values", models.BinaryField()),
                ("times", models.BinaryField()),
                (
                    "series",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="outlines",
                        to="training.metricseries",
                    ),
                ),
            ],
            options={"ordering": ["index"]},
        ),
        migrations.AddConstraint(
            "metricoutline",
            models.UniqueConstraint(fields=("series", "index"), name="metric_outline_once"),
        ),
        migrations.AddField(
            "metricseries",
            "is_outlined",
            models.BooleanField(
                default=False,
                help_text="Whether its full chunks have outlines; older ones have none.",
            ),
        ),
        migrations.AlterField(
            "metricseries",
            "is_outlined",
            models.BooleanField(
                default=True,
                help_text="Whether its full chunks have outlines; older ones have none.",
            ),
        ),
        migrations.AddField(
            "metricseries",
            "project",
            models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="projects.project",
            ),
        ),
        migrations.AlterField(
            "metricseries",
            "run",
            models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="series",
                to="training.run",
            ),
        ),
        migrations.RunPython(_note_projects, migrations.RunPython.noop),
        migrations.AddIndex(
            "metricseries",
            models.Index(
                fields=["project", "name", "last_value", "run"], name="metric_series_by_value"
            ),
        ),
        migrations.AddIndex(
            "metricchunk",
            models.Index(fields=["series", "last_step"], name="metric_chunk_by_step"),
        ),
    ]
