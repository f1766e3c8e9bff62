"""The Celery application. Jobs live in `projects/jobs.py`, `training/jobs.py` and
`training/retraining/jobs.py`."""

import os
from collections.abc import Mapping
from typing import Any

from celery import Celery, Task
from django.db import InterfaceError, OperationalError

from distillhub.lib import request_ids, told

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "distillhub.settings")


class Job(Task):  # type: ignore[misc]
    Strategy = "distillhub.lib.messages:careful"
    #: While the database is away every job fails; a line of the log says so, and no traceback. What
    #: it should have done is done by a later one.
    throws = (OperationalError, InterfaceError)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Its lines tell which request sent it."""
        sent_by = request_ids.checked((self.request.headers or {}).get(request_ids.MESSAGE))
        if not sent_by:
            return super().__call__(*args, **kwargs)
        with told.about(request=sent_by):
            return super().__call__(*args, **kwargs)


class Hub(Celery):  # type: ignore[misc]
    def send_task(
        self, *args: Any, headers: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        if name := request_ids.current():
            headers = {**(headers or {}), request_ids.MESSAGE: name}
        return super().send_task(*args, headers=headers, **options)


app = Hub("distillhub", task_cls=Job)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["projects", "training", "training.retraining"], related_name="jobs")
