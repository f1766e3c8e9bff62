from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [("training", "0009_shared_checkpoints")]

    operations: ClassVar = [
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                fields=["control_of"],
                condition=models.Q(control_of__isnull=False),
                name="run_by_control",
            ),
        )
    ]
