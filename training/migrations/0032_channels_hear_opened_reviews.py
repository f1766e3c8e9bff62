from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

OPENED, ASSIGNED = "review.opened", "review.assigned"


def hear_both(apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    """As projects' 0024_review_assignees does for webhooks: that rows wait is told apart."""
    for channel in apps.get_model("training", "AlertChannel").objects.all():
        if ASSIGNED in channel.hears:
            channel.hears = [*channel.hears, OPENED]
            channel.save(update_fields=["hears"])


class Migration(migrations.Migration):
    dependencies = [
        ("projects", "0024_review_assignees"),
        ("training", "0031_run_imports"),
    ]

    operations = [migrations.RunPython(hear_both, migrations.RunPython.noop)]
