from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('projects', '0012_completions_inbox'),
    ]

    operations = [
        migrations.AddField(
            model_name='datasetversion',
            name='issue_rows',
            field=models.JSONField(default=dict, help_text='{code: {"rows", "better"?, "beside"?}}: more than is named.'),
        ),
        migrations.AlterField(
            model_name='datasetversion',
            name='issues',
            field=models.JSONField(default=list, help_text='[{"code", "severity", "count", "rows", "places", "detail"}]'),
        ),
    ]
