"""Every table as of 0023: what an empty database runs instead of 23 migrations one by one.

One that has begun with those goes on with them; what they did to rows has nothing to do here.
"""

import importlib

import django.contrib.auth.models
import django.contrib.auth.validators
import django.core.validators
import django.db.models.deletion
import django.db.models.functions.text
import django.utils.timezone
import uuid
from django.conf import settings
from django.db import migrations, models

from distillhub.lib.tables_at_once import TablesAtOnce

#: What keeps the audit log from being changed.
GUARDS = [
    importlib.import_module(f"projects.migrations.{name}")
    for name in ("0021_audit_and_tokens", "0023_audit_rows_stay")
]


class Migration(migrations.Migration):

    replaces = [
        ('projects', '0001_first'),
        ('projects', '0002_ingestion_claim'),
        ('projects', '0003_email_once'),
        ('projects', '0004_what_models_answer'),
        ('projects', '0005_who_inspects'),
        ('projects', '0006_ended_run_days'),
        ('projects', '0007_last_deleted_run'),
        ('projects', '0008_one_lease'),
        ('projects', '0009_resumable_uploads'),
        ('projects', '0010_prompts_and_deleted_versions'),
        ('projects', '0011_api_keys'),
        ('projects', '0012_completions_inbox'),
        ('projects', '0013_issue_rows'),
        ('projects', '0014_pending_edits'),
        ('projects', '0015_reviews'),
        ('projects', '0016_what_was_said'),
        ('projects', '0017_alias_rules'),
        ('projects', '0018_feedback'),
        ('projects', '0019_teams'),
        ('projects', '0020_favourite_titles'),
        ('projects', '0021_audit_and_tokens'),
        ('projects', '0022_guesses'),
        ('projects', '0023_audit_rows_stay'),
    ]

    initial = True

    dependencies = [
        ('auth', '0012_alter_user_first_name_max_length'),
    ]

    operations = [
        TablesAtOnce([
        migrations.CreateModel(
            name='AuditHead',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.BigIntegerField(default=0)),
                ('digest', models.CharField(default='0000000000000000000000000000000000000000000000000000000000000000', max_length=64)),
            ],
        ),
        migrations.CreateModel(
            name='Guess',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.CharField(help_text='sha256 of what is guarded.', max_length=64, unique=True)),
                ('count', models.PositiveIntegerField()),
                ('since', models.DateTimeField(db_index=True)),
            ],
        ),
        migrations.CreateModel(
            name='ReviewItem',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('order', models.PositiveIntegerField()),
                ('row_id', models.BigIntegerField()),
                ('priority', models.FloatField(default=0.0, help_text='Why it was chosen: more is earlier.')),
                ('label', models.TextField(blank=True, help_text='When the queue was made.', null=True)),
                ('is_swapped', models.BooleanField(default=False, help_text='The second answer stands left.')),
                ('said', models.JSONField(blank=True, help_text='What a run answered: {"student", "student_confidence", "teacher", …}.', null=True)),
            ],
            options={
                'ordering': ['order'],
            },
        ),
        migrations.CreateModel(
            name='User',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('password', models.CharField(max_length=128, verbose_name='password')),
                ('last_login', models.DateTimeField(blank=True, null=True, verbose_name='last login')),
                ('is_superuser', models.BooleanField(default=False, help_text='Designates that this user has all permissions without explicitly assigning them.', verbose_name='superuser status')),
                ('username', models.CharField(error_messages={'unique': 'A user with that username already exists.'}, help_text='Required. 150 characters or fewer. Letters, digits and @/./+/-/_ only.', max_length=150, unique=True, validators=[django.contrib.auth.validators.UnicodeUsernameValidator()], verbose_name='username')),
                ('first_name', models.CharField(blank=True, max_length=150, verbose_name='first name')),
                ('last_name', models.CharField(blank=True, max_length=150, verbose_name='last name')),
                ('email', models.EmailField(blank=True, max_length=254, verbose_name='email address')),
                ('is_staff', models.BooleanField(default=False, help_text='Designates whether the user can log into this admin site.', verbose_name='staff status')),
                ('is_active', models.BooleanField(default=True, help_text='Designates whether this user should be treated as active. Unselect this instead of deleting accounts.', verbose_name='active')),
                ('date_joined', models.DateTimeField(default=django.utils.timezone.now, verbose_name='date joined')),
                ('time_zone', models.CharField(default='UTC', max_length=64)),
                ('avatar', models.CharField(blank=True, db_default='', help_text='sha256 of a stored PNG.', max_length=64)),
                ('is_service', models.BooleanField(db_default=False, default=False, help_text="No person: what a project's own token acts as. It never signs in.")),
                ('groups', models.ManyToManyField(blank=True, help_text='The groups this user belongs to. A user will get all permissions granted to each of their groups.', related_name='user_set', related_query_name='user', to='auth.group', verbose_name='groups')),
                ('user_permissions', models.ManyToManyField(blank=True, help_text='Specific permissions for this user.', related_name='user_set', related_query_name='user', to='auth.permission', verbose_name='user permissions')),
            ],
            options={
                'verbose_name': 'user',
                'verbose_name_plural': 'users',
                'abstract': False,
                'constraints': [models.UniqueConstraint(django.db.models.functions.text.Lower('email'), condition=models.Q(('email', ''), _negated=True), name='email_once')],
            },
            managers=[
                ('objects', django.contrib.auth.models.UserManager()),
            ],
        ),
        migrations.CreateModel(
            name='AuditEntry',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.BigIntegerField(help_text='Without gaps, from 1.', unique=True)),
                ('at', models.DateTimeField()),
                ('actor_id', models.BigIntegerField(help_text='Null: nobody who signed in.', null=True)),
                ('actor', models.CharField(help_text='The username, as it was.', max_length=150)),
                ('via', models.CharField(help_text='page, rest, mlflow, command or worker.', max_length=20)),
                ('token', models.CharField(blank=True, help_text='Name and prefix, if by one.', max_length=120)),
                ('address', models.CharField(blank=True, help_text='Network address.', max_length=45)),
                ('request_id', models.CharField(blank=True, max_length=64)),
                ('action', models.CharField(help_text='run.cancel, member.add, sign_in.failed, …', max_length=60)),
                ('project_id', models.BigIntegerField(null=True)),
                ('project', models.CharField(blank=True, help_text='The slug, as it was.', max_length=100)),
                ('subject', models.CharField(blank=True, max_length=300)),
                ('detail', models.JSONField(default=dict, help_text='What was asked; never a secret.')),
                ('previous', models.CharField(max_length=64)),
                ('digest', models.CharField(max_length=64, unique=True)),
            ],
            options={
                'ordering': ['-number'],
                'indexes': [models.Index(fields=['project_id', '-number'], name='audit_by_project'), models.Index(fields=['actor_id', '-number'], name='audit_by_actor'), models.Index(fields=['action', '-number'], name='audit_by_action')],
            },
        ),
        migrations.CreateModel(
            name='Dataset',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100, validators=[django.core.validators.RegexValidator('\\A[A-Za-z0-9][A-Za-z0-9._-]*\\Z', 'Use letters, digits, dots, hyphens and underscores, beginning with a letter or digit.')])),
                ('task', models.CharField(help_text='A Hugging Face pipeline tag.', max_length=50)),
                ('description', models.TextField(blank=True, max_length=2000)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('last_deleted_version', models.PositiveIntegerField(default=0, editable=False)),
                ('created_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['name'],
            },
        ),
        migrations.CreateModel(
            name='DatasetVersion',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField()),
                ('status', models.CharField(choices=[('ingesting', 'Ingesting'), ('ready', 'Ready'), ('failed', 'Failed')], default='ingesting', max_length=10)),
                ('stage', models.CharField(blank=True, help_text='What ingestion is doing now.', max_length=100)),
                ('fraction', models.FloatField(default=0.0, help_text='Progress of ingestion, 0 to 1.')),
                ('error', models.JSONField(blank=True, help_text='{"code", "detail", "line"?}', null=True)),
                ('source_name', models.CharField(blank=True, max_length=255)),
                ('source_sha256', models.CharField(blank=True, help_text="The upload's blob.", max_length=64)),
                ('source_bytes', models.BigIntegerField(default=0)),
                ('format', models.CharField(blank=True, help_text='Key of the ingest format.', max_length=50)),
                ('reading', models.JSONField(default=dict, help_text='Delimiter, encoding, header, columns, splits: as corrected.')),
                ('file_sha256', models.CharField(blank=True, help_text="The Parquet's blob.", max_length=64)),
                ('file_bytes', models.BigIntegerField(default=0)),
                ('fingerprint', models.CharField(blank=True, help_text="sha256 of the rows, whatever the file's encoding.", max_length=64)),
                ('rows', models.BigIntegerField(default=0)),
                ('columns', models.JSONField(default=list, help_text='[{"name", "type", "role"}]')),
                ('labels', models.JSONField(default=list, help_text="Sorted; a label's index is its class id.")),
                ('splits', models.JSONField(default=dict, help_text='{name: {"rows", "label_counts"}}')),
                ('statistics', models.JSONField(default=dict)),
                ('issues', models.JSONField(default=list, help_text='[{"code", "severity", "count", "rows", "places", "detail"}]')),
                ('operation', models.JSONField(blank=True, null=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('ready_at', models.DateTimeField(blank=True, null=True)),
                ('attempt', models.PositiveIntegerField(default=0)),
                ('lease_until', models.DateTimeField(null=True)),
                ('times_lost', models.PositiveIntegerField(default=0, help_text='Workers that died with it.')),
                ('issue_rows', models.JSONField(default=dict, help_text='{code: {"rows", "better"?, "beside"?}}: more than is named.')),
                ('created_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('dataset', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='versions', to='projects.dataset')),
                ('parent', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, to='projects.datasetversion')),
            ],
            options={
                'ordering': ['-number'],
                'constraints': [models.UniqueConstraint(fields=('dataset', 'number'), name='dataset_version_once')],
            },
        ),
        migrations.CreateModel(
            name='Event',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(help_text='run.finished, comment.created, …', max_length=50)),
                ('subject_kind', models.CharField(help_text='run, study, dataset_version, …', max_length=30)),
                ('subject', models.CharField(help_text='Its reference in the project: 12, intents@3.', max_length=300)),
                ('title', models.CharField(help_text='What it is called.', max_length=300)),
                ('sentence', models.CharField(help_text='What happened, in words.', max_length=1000)),
                ('data', models.JSONField(default=dict, help_text='What programs are told, by kind.')),
                ('at', models.DateTimeField(auto_now_add=True)),
                ('told_at', models.DateTimeField(help_text='When notifications and deliveries were made of it.', null=True)),
                ('by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['-id'],
                'indexes': [models.Index(condition=models.Q(('told_at', None)), fields=['id'], name='event_untold')],
            },
        ),
        migrations.CreateModel(
            name='IdempotencyKey',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.CharField(max_length=200)),
                ('request_digest', models.CharField(help_text='sha256 of method, path and body.', max_length=64)),
                ('status', models.PositiveSmallIntegerField(help_text='None while in progress.', null=True)),
                ('answer', models.JSONField(null=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('user', 'key'), name='idempotency_key_once_per_user')],
            },
        ),
        migrations.CreateModel(
            name='Membership',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('role', models.CharField(choices=[('viewer', 'Viewer'), ('editor', 'Editor'), ('owner', 'Owner')], default='viewer', max_length=10)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='memberships', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['created_at'],
            },
        ),
        migrations.CreateModel(
            name='Notification',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('topic', models.CharField(max_length=50)),
                ('on_page', models.BooleanField(default=True)),
                ('read_at', models.DateTimeField(null=True)),
                ('email_due_at', models.DateTimeField(help_text='Null: by no e-mail, or sent.', null=True)),
                ('email_tries', models.PositiveSmallIntegerField(default=0)),
                ('emailed_at', models.DateTimeField(null=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('event', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='notifications', to='projects.event')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='notifications', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['-id'],
                'indexes': [models.Index(condition=models.Q(('on_page', True), ('read_at', None)), fields=['user'], name='notification_unread'), models.Index(condition=models.Q(('email_due_at__isnull', False)), fields=['email_due_at'], name='notification_email_due')],
                'constraints': [models.UniqueConstraint(fields=('user', 'event'), name='notification_once')],
            },
        ),
        migrations.CreateModel(
            name='PendingEdits',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('changes', models.JSONField(default=list, help_text='As the operation `edit` takes them, in the order they are made.')),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('by', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('version', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='pending_edits', to='projects.datasetversion')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('version', 'by'), name='pending_edits_once')],
            },
        ),
        migrations.CreateModel(
            name='Project',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100)),
                ('slug', models.SlugField(max_length=100, unique=True)),
                ('description', models.TextField(blank=True, max_length=2000)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('archived_at', models.DateTimeField(blank=True, null=True)),
                ('ended_run_days', models.PositiveIntegerField(blank=True, help_text='Days for which failed and cancelled runs keep their checkpoints; 0 for ever, null as this installation does.', null=True)),
                ('last_deleted_run', models.PositiveIntegerField(default=0, help_text='The highest number of a deleted run; no other run gets it.')),
                ('created_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('members', models.ManyToManyField(related_name='projects', through='projects.Membership', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['name'],
            },
        ),
        migrations.CreateModel(
            name='NotificationRule',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('topic', models.CharField(help_text='run_failed, beat_the_best, mentioned, …', max_length=50)),
                ('whose', models.CharField(default='mine', help_text='mine, or all.', max_length=10)),
                ('on_page', models.BooleanField(default=True)),
                ('by_email', models.BooleanField(default=False)),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='notification_rules', to=settings.AUTH_USER_MODEL)),
                ('project', models.ForeignKey(help_text='Null: in all.', null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='projects.project')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('user', 'project', 'topic'), name='notification_rule_once'), models.UniqueConstraint(condition=models.Q(('project', None)), fields=('user', 'topic'), name='notification_rule_for_all_once')],
            },
        ),
        migrations.AddField(
            model_name='membership',
            name='project',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='memberships', to='projects.project'),
        ),
        migrations.CreateModel(
            name='Invitation',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('role', models.CharField(choices=[('viewer', 'Viewer'), ('editor', 'Editor'), ('owner', 'Owner')], default='viewer', max_length=10)),
                ('email', models.EmailField(blank=True, help_text='Whom it is for; empty: whoever has the link.', max_length=254)),
                ('digest', models.CharField(max_length=64, unique=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('expires_at', models.DateTimeField()),
                ('emailed_at', models.DateTimeField(null=True)),
                ('accepted_at', models.DateTimeField(null=True)),
                ('revoked_at', models.DateTimeField(null=True)),
                ('accepted_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('created_by', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('project', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='invitations', to='projects.project')),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='Feedback',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('task', models.CharField(help_text='A Hugging Face pipeline tag.', max_length=50)),
                ('text', models.TextField(blank=True)),
                ('cells', models.JSONField(blank=True, help_text='{column: value}.', null=True)),
                ('sha256', models.CharField(blank=True, help_text='Of a picture or sound.', max_length=64)),
                ('label', models.TextField(help_text='What is right, as a dataset writes it.')),
                ('said', models.JSONField(default=list, help_text='[{"model", "label", "probability"}]')),
                ('note', models.CharField(blank=True, max_length=1000)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('created_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('version', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='projects.datasetversion')),
                ('project', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='feedback', to='projects.project')),
            ],
            options={
                'verbose_name_plural': 'feedback',
                'ordering': ['-pk'],
            },
        ),
        migrations.CreateModel(
            name='Favourite',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('subject_kind', models.CharField(max_length=30)),
                ('subject', models.CharField(blank=True, max_length=300)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('title', models.CharField(blank=True, db_default='', help_text='What it is called, for lists.', max_length=300)),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='favourites', to=settings.AUTH_USER_MODEL)),
                ('project', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='favourites', to='projects.project')),
            ],
            options={
                'ordering': ['-id'],
                'constraints': [models.UniqueConstraint(fields=('user', 'project', 'subject_kind', 'subject'), name='favourite_once')],
            },
        ),
        migrations.AddField(
            model_name='event',
            name='project',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='events', to='projects.project'),
        ),
        migrations.AddField(
            model_name='dataset',
            name='project',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='datasets', to='projects.project'),
        ),
        migrations.CreateModel(
            name='Comment',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('subject_kind', models.CharField(max_length=30)),
                ('subject', models.CharField(max_length=300)),
                ('text', models.TextField(max_length=10000)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('edited_at', models.DateTimeField(null=True)),
                ('deleted_at', models.DateTimeField(help_text='Its place stays, its text goes.', null=True)),
                ('by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('mentions', models.ManyToManyField(related_name='+', to=settings.AUTH_USER_MODEL)),
                ('project', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='comments', to='projects.project')),
            ],
            options={
                'ordering': ['id'],
                'indexes': [models.Index(fields=['project', 'subject_kind', 'subject'], name='comment_by_subject')],
            },
        ),
        migrations.CreateModel(
            name='ApiToken',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100)),
                ('scope', models.CharField(choices=[('read', 'Read'), ('write', 'Write'), ('track', 'Track'), ('infer', 'Infer')], default='write', max_length=10)),
                ('prefix', models.CharField(help_text='Its first characters, to recognise it by.', max_length=12)),
                ('digest', models.CharField(max_length=64, unique=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
                ('last_used_at', models.DateTimeField(blank=True, null=True)),
                ('revoked_at', models.DateTimeField(blank=True, null=True)),
                ('rotated_at', models.DateTimeField(help_text='When its successor was made.', null=True)),
                ('created_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='api_tokens', to=settings.AUTH_USER_MODEL)),
                ('project', models.ForeignKey(help_text='The only one it opens; null: all that its user may see.', null=True, on_delete=django.db.models.deletion.CASCADE, related_name='api_tokens', to='projects.project')),
            ],
            options={
                'ordering': ['-created_at'],
            },
        ),
        migrations.CreateModel(
            name='PromptTemplate',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100, validators=[django.core.validators.RegexValidator('\\A[A-Za-z0-9][A-Za-z0-9._-]*\\Z', 'Use letters, digits, dots, hyphens and underscores, beginning with a letter or digit.')])),
                ('description', models.TextField(blank=True, max_length=2000)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('created_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('project', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='prompt_templates', to='projects.project')),
            ],
            options={
                'ordering': ['name'],
                'constraints': [models.UniqueConstraint(fields=('project', 'name'), name='prompt_template_name_once')],
            },
        ),
        migrations.CreateModel(
            name='PromptTemplateVersion',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField()),
                ('text', models.TextField(max_length=20000)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('created_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('template', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='versions', to='projects.prompttemplate')),
            ],
            options={
                'ordering': ['-number'],
                'constraints': [models.UniqueConstraint(fields=('template', 'number'), name='prompt_template_version_once')],
            },
        ),
        migrations.CreateModel(
            name='RegisteredModel',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100, validators=[django.core.validators.RegexValidator('\\A[A-Za-z0-9][A-Za-z0-9._-]*\\Z', 'Use letters, digits, dots, hyphens and underscores, beginning with a letter or digit.')])),
                ('role', models.CharField(choices=[('teacher', 'Teacher'), ('student', 'Student')], max_length=10)),
                ('task', models.CharField(max_length=50)),
                ('description', models.TextField(blank=True, max_length=2000)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('created_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('project', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='models', to='projects.project')),
            ],
            options={
                'ordering': ['name'],
                'constraints': [models.UniqueConstraint(fields=('project', 'name'), name='model_name_once')],
            },
        ),
        migrations.CreateModel(
            name='ModelVersion',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField()),
                ('status', models.CharField(choices=[('inspecting', 'Inspecting'), ('ready', 'Ready'), ('failed', 'Failed')], default='inspecting', max_length=10)),
                ('error', models.JSONField(blank=True, help_text='{"code", "detail"}', null=True)),
                ('source', models.JSONField(help_text='{"kind": architecture|hub|upload|run, ...}')),
                ('architecture', models.CharField(blank=True, help_text='Registry key.', max_length=100)),
                ('config', models.JSONField(default=dict, help_text='Resolved architecture options.')),
                ('labels', models.JSONField(default=list, help_text='Empty until trained, and of numbers.')),
                ('tokenizer', models.JSONField(blank=True, help_text='{"kind", "vocabulary", ...}', null=True)),
                ('parameters', models.BigIntegerField(blank=True, null=True)),
                ('size_bytes', models.BigIntegerField(blank=True, help_text='Of the weights.', null=True)),
                ('files', models.JSONField(default=list, help_text='[{"name", "sha256", "bytes"}]')),
                ('metrics', models.JSONField(default=dict, help_text='Of the run that produced it.')),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('problem', models.CharField(default='single_label', help_text='What it answers: single_label, multi_label or regression.', max_length=20)),
                ('attempt', models.PositiveIntegerField(default=0)),
                ('lease_until', models.DateTimeField(null=True)),
                ('times_lost', models.PositiveIntegerField(default=0, help_text='Workers that died with it.')),
                ('created_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('model', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='versions', to='projects.registeredmodel')),
            ],
            options={
                'ordering': ['-number'],
                'constraints': [models.UniqueConstraint(fields=('model', 'number'), name='model_version_once')],
            },
        ),
        migrations.CreateModel(
            name='ModelAlias',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100, validators=[django.core.validators.RegexValidator('\\A[A-Za-z0-9][A-Za-z0-9._-]*\\Z', 'Use letters, digits, dots, hyphens and underscores, beginning with a letter or digit.')])),
                ('changed_at', models.DateTimeField(auto_now=True)),
                ('version', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='aliases', to='projects.modelversion')),
                ('model', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='aliases', to='projects.registeredmodel')),
            ],
            options={
                'ordering': ['name'],
                'constraints': [models.UniqueConstraint(fields=('model', 'name'), name='model_alias_once')],
            },
        ),
        migrations.CreateModel(
            name='ApiKey',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('origin', models.CharField(help_text='https://host:port, where it is sent.', max_length=300)),
                ('sealed', models.TextField()),
                ('ending', models.CharField(blank=True, help_text='Its last characters, to show.', max_length=4)),
                ('changed_at', models.DateTimeField(auto_now=True)),
                ('changed_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('model', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='api_keys', to='projects.registeredmodel')),
            ],
            options={
                'ordering': ['origin'],
                'constraints': [models.UniqueConstraint(fields=('model', 'origin'), name='api_key_once')],
            },
        ),
        migrations.CreateModel(
            name='AliasRules',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100, validators=[django.core.validators.RegexValidator('\\A[A-Za-z0-9][A-Za-z0-9._-]*\\Z', 'Use letters, digits, dots, hyphens and underscores, beginning with a letter or digit.')])),
                ('rules', models.JSONField(help_text='As training/services/promotion_rules.py has them.')),
                ('changed_at', models.DateTimeField(auto_now=True)),
                ('changed_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('model', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='alias_rules', to='projects.registeredmodel')),
            ],
            options={
                'ordering': ['name'],
                'constraints': [models.UniqueConstraint(fields=('model', 'name'), name='alias_rules_once')],
            },
        ),
        migrations.CreateModel(
            name='AliasChange',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100)),
                ('how', models.CharField(choices=[('set', 'Set'), ('promoted', 'Promoted'), ('overridden', 'Overridden'), ('rolled_back', 'Rolled Back'), ('removed', 'Removed')], max_length=11)),
                ('reason', models.TextField(blank=True, max_length=2000)),
                ('at', models.DateTimeField(auto_now_add=True)),
                ('by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('version', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='alias_changes', to='projects.modelversion')),
                ('model', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='alias_changes', to='projects.registeredmodel')),
            ],
            options={
                'ordering': ['-pk'],
                'indexes': [models.Index(fields=['model', 'name'], name='alias_change_by_alias')],
            },
        ),
        migrations.CreateModel(
            name='ResumableUpload',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('expires_at', models.DateTimeField()),
                ('name', models.CharField(max_length=255)),
                ('bytes', models.BigIntegerField(help_text='Of the whole file.')),
                ('received', models.BigIntegerField(default=0, help_text='Bytes that are stored, from the first.')),
                ('sha256', models.CharField(blank=True, help_text='Of the file, if it was told.', max_length=64)),
                ('created_by', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['-created_at'],
            },
        ),
        migrations.CreateModel(
            name='Review',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('verdict', models.CharField(blank=True, choices=[('accept', 'Accept'), ('correct', 'Correct'), ('skip', 'Skip'), ('rate', 'Rate'), ('choose', 'Choose')], max_length=10)),
                ('label', models.TextField(blank=True, help_text='Of a correction.', null=True)),
                ('rating', models.PositiveSmallIntegerField(blank=True, null=True)),
                ('chosen', models.CharField(blank=True, choices=[('a', 'First'), ('b', 'Second'), ('tie', 'Tie')], max_length=3)),
                ('note', models.CharField(blank=True, max_length=1000)),
                ('seconds', models.FloatField(default=0.0)),
                ('at', models.DateTimeField(blank=True, null=True)),
                ('taken_until', models.DateTimeField()),
                ('person', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('item', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='reviews', to='projects.reviewitem')),
            ],
            options={
                'ordering': ['pk'],
                'constraints': [models.UniqueConstraint(fields=('item', 'person'), name='review_once')],
            },
        ),
        migrations.CreateModel(
            name='EarlierReview',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('verdict', models.CharField(choices=[('accept', 'Accept'), ('correct', 'Correct'), ('skip', 'Skip'), ('rate', 'Rate'), ('choose', 'Choose')], max_length=10)),
                ('label', models.TextField(blank=True, null=True)),
                ('rating', models.PositiveSmallIntegerField(blank=True, null=True)),
                ('chosen', models.CharField(blank=True, choices=[('a', 'First'), ('b', 'Second'), ('tie', 'Tie')], max_length=3)),
                ('note', models.CharField(blank=True, max_length=1000)),
                ('at', models.DateTimeField(blank=True, null=True)),
                ('review', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='earlier', to='projects.review')),
            ],
            options={
                'ordering': ['pk'],
            },
        ),
        migrations.CreateModel(
            name='ReviewQueue',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100)),
                ('kind', models.CharField(choices=[('labels', 'Labels'), ('ratings', 'Ratings'), ('compare', 'Compare')], max_length=10)),
                ('choice', models.JSONField(help_text='{"how", "seed", "many", "columns", "conditions"}')),
                ('pair', models.JSONField(default=list, help_text='Two columns with answers to compare.')),
                ('blind', models.BooleanField(default=False, help_text='The present label is not shown.')),
                ('reviews_per_row', models.PositiveSmallIntegerField(default=1)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('closed_at', models.DateTimeField(blank=True, null=True)),
                ('closed_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('created_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('made', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='projects.datasetversion')),
                ('project', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='review_queues', to='projects.project')),
                ('version', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='projects.datasetversion')),
            ],
            options={
                'ordering': ['-pk'],
            },
        ),
        migrations.AddField(
            model_name='reviewitem',
            name='queue',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='items', to='projects.reviewqueue'),
        ),
        migrations.CreateModel(
            name='SignInLink',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('digest', models.CharField(max_length=64, unique=True)),
                ('expires_at', models.DateTimeField()),
                ('used_at', models.DateTimeField(blank=True, null=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to=settings.AUTH_USER_MODEL)),
            ],
        ),
        migrations.CreateModel(
            name='Slice',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100, validators=[django.core.validators.RegexValidator('\\A[A-Za-z0-9][A-Za-z0-9._-]*\\Z', 'Use letters, digits, dots, hyphens and underscores, beginning with a letter or digit.')])),
                ('conditions', models.JSONField(help_text='As the operation `filter` takes them.')),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('created_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('dataset', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='slices', to='projects.dataset')),
            ],
            options={
                'ordering': ['name'],
                'constraints': [models.UniqueConstraint(fields=('dataset', 'name'), name='slice_name_once')],
            },
        ),
        migrations.CreateModel(
            name='StagedUpload',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('source_name', models.CharField(max_length=255)),
                ('source_sha256', models.CharField(max_length=64)),
                ('source_bytes', models.BigIntegerField()),
                ('format', models.CharField(max_length=50)),
                ('understood', models.JSONField(default=dict, help_text="What the format's sniff() reported.")),
                ('created_by', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to=settings.AUTH_USER_MODEL)),
                ('dataset', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, to='projects.dataset')),
                ('project', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='projects.project')),
            ],
        ),
        migrations.CreateModel(
            name='StoredCompletion',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.CharField(help_text="The caller's; sent twice it is one call.", max_length=200)),
                ('sha256', models.CharField(help_text='Of request and answer.', max_length=64)),
                ('called_at', models.DateTimeField()),
                ('received_at', models.DateTimeField(auto_now_add=True)),
                ('model', models.CharField(max_length=200)),
                ('request', models.JSONField(help_text='{"messages": [...], ...}')),
                ('response', models.JSONField(help_text='{"choices": [{"message": {...}}], "usage": ...}')),
                ('asked', models.CharField(blank=True, help_text='The last words of a user.', max_length=2000)),
                ('answered', models.CharField(blank=True, max_length=2000)),
                ('finish_reason', models.CharField(blank=True, max_length=50)),
                ('input_tokens', models.PositiveIntegerField(blank=True, null=True)),
                ('output_tokens', models.PositiveIntegerField(blank=True, null=True)),
                ('latency_ms', models.PositiveIntegerField(blank=True, null=True)),
                ('metadata', models.JSONField(default=dict)),
                ('tag_line', models.TextField(blank=True, help_text='Each tag between line ends.')),
                ('project', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='completions', to='projects.project')),
            ],
            options={
                'ordering': ['-called_at', '-pk'],
                'indexes': [models.Index(fields=['project', '-called_at', '-id'], name='completion_newest'), models.Index(fields=['project', 'model'], name='completion_model')],
                'constraints': [models.UniqueConstraint(fields=('project', 'key'), name='completion_once')],
            },
        ),
        migrations.CreateModel(
            name='UploadedPiece',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('offset', models.BigIntegerField()),
                ('bytes', models.BigIntegerField()),
                ('sha256', models.CharField(max_length=64)),
                ('upload', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='pieces', to='projects.resumableupload')),
            ],
            options={
                'ordering': ['offset'],
                'constraints': [models.UniqueConstraint(fields=('upload', 'offset'), name='upload_piece_once')],
            },
        ),
        migrations.CreateModel(
            name='Webhook',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100)),
                ('host', models.CharField(help_text='Of its address, to show.', max_length=300)),
                ('sealed', models.TextField(help_text='Address and secrets, sealed; two secrets while one is rotated out.')),
                ('events', models.JSONField(default=list, help_text='Kinds of events; empty for all.')),
                ('is_on', models.BooleanField(default=True)),
                ('turned_off', models.CharField(blank=True, help_text='Why, if not by a person.', max_length=300)),
                ('failing_since', models.DateTimeField(null=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('created_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('project', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='webhooks', to='projects.project')),
            ],
            options={
                'ordering': ['name'],
                'constraints': [models.UniqueConstraint(fields=('project', 'name'), name='webhook_once')],
            },
        ),
        migrations.CreateModel(
            name='WebhookDelivery',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('message_id', models.CharField(help_text='Kept over all tries.', max_length=64, unique=True)),
                ('kind', models.CharField(max_length=50)),
                ('body', models.JSONField()),
                ('status', models.CharField(choices=[('waiting', 'Waiting'), ('delivered', 'Delivered'), ('failed', 'Failed')], default='waiting', max_length=10)),
                ('tries', models.PositiveIntegerField(default=0)),
                ('due_at', models.DateTimeField()),
                ('answered', models.JSONField(default=list, help_text='[{"at", "status", "milliseconds", "error", "answer"}], last first.')),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('delivered_at', models.DateTimeField(null=True)),
                ('event', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='deliveries', to='projects.event')),
                ('webhook', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='deliveries', to='projects.webhook')),
            ],
            options={
                'ordering': ['-id'],
                'indexes': [models.Index(condition=models.Q(('status', 'waiting')), fields=['due_at'], name='webhook_delivery_due')],
                'constraints': [models.UniqueConstraint(condition=models.Q(('event__isnull', False)), fields=('webhook', 'event'), name='webhook_delivery_once')],
            },
        ),
        migrations.AddConstraint(
            model_name='membership',
            constraint=models.UniqueConstraint(fields=('project', 'user'), name='one_membership_per_person'),
        ),
        migrations.AddIndex(
            model_name='event',
            index=models.Index(fields=['project', '-id'], name='event_by_project'),
        ),
        migrations.AddIndex(
            model_name='event',
            index=models.Index(fields=['project', 'subject_kind', 'subject'], name='event_by_subject'),
        ),
        migrations.AddConstraint(
            model_name='dataset',
            constraint=models.UniqueConstraint(fields=('project', 'name'), name='dataset_name_once'),
        ),
        migrations.AddConstraint(
            model_name='reviewitem',
            constraint=models.UniqueConstraint(fields=('queue', 'order'), name='review_item_order_once'),
        ),
        migrations.AddConstraint(
            model_name='reviewitem',
            constraint=models.UniqueConstraint(fields=('queue', 'row_id'), name='review_item_row_once'),
        ),
        ]),
        *(migrations.RunPython(one.guard, one.unguard) for one in GUARDS),
    ]
