import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("training", "0023_retraining_steps"),
    ]

    operations = [
        migrations.AddField(
            model_name="alertmessage",
            name="within",
            field=models.ForeignKey(
                help_text="The message that carries it, where several waited for one channel.",
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="carried",
                to="training.alertmessage",
            ),
        ),
    ]
