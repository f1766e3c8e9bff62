"""A try of which nobody wrote down what was answered is told in the log of its delivery."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("projects", "0025_audit_promises")]
    operations = [
        migrations.AddField(
            "webhookdelivery",
            "claimed_at",
            models.DateTimeField(null=True, help_text="Of a try of which no answer is kept yet."),
        )
    ]
