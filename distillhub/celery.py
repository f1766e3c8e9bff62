"""The Celery application. Jobs live in `projects/jobs.py`, `training/jobs.py` and
`training/retraining/jobs.py`."""

import os

from celery import Celery, Task
from django.db import InterfaceError, OperationalError

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "distillhub.settings")


class Job(Task):  # type: ignore[misc]
    Strategy = "distillhub.lib.messages:careful"
    #: While the database is away every job fails; a line of the log says so, and no traceback. What
    #: it should have done is done by a later one.
    throws = (OperationalError, InterfaceError)


app = Celery("distillhub", task_cls=Job)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["projects", "training", "training.retraining"], related_name="jobs")
