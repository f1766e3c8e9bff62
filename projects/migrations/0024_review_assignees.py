from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

OPENED, ASSIGNED = "review.opened", "review.assigned"


def tell_opened_apart(apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    """That rows wait was called `review.assigned`, which now means that somebody is asked. Who
    heard of the one hears of both; what was told is called what it was."""
    apps.get_model("projects", "Event").objects.filter(kind=ASSIGNED).update(kind=OPENED)
    for name in ("Notification", "NotificationRule"):
        rows = apps.get_model("projects", name).objects.filter(topic="review_assigned")
        rows.update(topic="review_opened")
    for webhook in apps.get_model("projects", "Webhook").objects.all():
        if ASSIGNED in webhook.events:
            webhook.events = [*webhook.events, OPENED]
            webhook.save(update_fields=["events"])


class Migration(migrations.Migration):
    dependencies = [
        ("projects", "0023_audit_rows_stay"),
    ]

    operations = [
        migrations.AddField(
            model_name="reviewqueue",
            name="assignees",
            field=models.ManyToManyField(
                help_text="Who is asked to review.", related_name="+", to="projects.membership"
            ),
        ),
        migrations.AddField(
            model_name="reviewqueue",
            name="only_assignees",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="Nobody else reviews, as long as somebody is asked.",
            ),
        ),
        migrations.RunPython(tell_opened_apart, migrations.RunPython.noop),
    ]
