"""The Celery application. Jobs live in `projects/jobs.py` and `training/jobs.py`."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "distillhub.settings")

app = Celery("distillhub")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["projects", "training"], related_name="jobs")
