import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("projects", "0019_teams"),
        ("training", "0029_listed_runs"),
    ]

    operations = [
        migrations.RemoveField(model_name="experimentrun", name="inputs"),
        migrations.AddField(
            model_name="metricseries",
            name="last_time",
            field=models.FloatField(
                help_text="Seconds since the epoch; old rows: null.", null=True
            ),
        ),
        migrations.AlterField(
            model_name="metricseries", name="name", field=models.CharField(max_length=250)
        ),
        migrations.CreateModel(
            name="RunInput",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=500)),
                ("digest", models.CharField(max_length=36)),
                (
                    "context",
                    models.CharField(
                        blank=True, help_text="training, evaluation, …", max_length=500
                    ),
                ),
                (
                    "told",
                    models.JSONField(help_text='{"source_type", "source", "schema", "profile"}'),
                ),
                ("tags", models.JSONField(default=dict)),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="inputs",
                        to="training.run",
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("run", "name", "digest"), name="run_input_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="RegistryNote",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("tags", models.JSONField(default=dict)),
                (
                    "description",
                    models.TextField(blank=True, help_text="Of a version.", max_length=5000),
                ),
                (
                    "stage",
                    models.CharField(
                        default="None", help_text="As older clients have it.", max_length=20
                    ),
                ),
                ("changed_at", models.DateTimeField(auto_now=True)),
                (
                    "model",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="projects.registeredmodel",
                    ),
                ),
                (
                    "version",
                    models.OneToOneField(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="note",
                        to="projects.modelversion",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("version", None)),
                        fields=("model",),
                        name="registry_note_once_per_model",
                    )
                ],
            },
        ),
    ]
