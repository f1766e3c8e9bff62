"""Middleware for Django: tell a monitor what was answered, after it was answered.

    # settings.py
    MIDDLEWARE += ["django_monitor.MonitorMiddleware"]
    MONITOR = {"address": ADDRESS, "token": os.environ["MONITOR_TOKEN"], "paths": ["/predict/"]}

    # views.py
    def predict(request):
        label, probabilities = model(request.POST["text"])
        request.inference = {
            "input": request.POST["text"], "prediction": label, "probabilities": probabilities
        }
        return JsonResponse({"label": label})

Where a view should not know of it, MONITOR["read"] names a function that makes rows of what came
and went, such as "shop.monitoring.read":

    def read(asked, answered):
        return {"input": asked["text"], "prediction": answered["label"]}

Both give one row, or a list of them. The time that the answer took is added. What cannot be told is
logged, and the answer goes out as it was.
"""

import json
import logging
import time

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from distillhub_monitor import Monitor
from django.conf import settings
from django.utils.module_loading import import_string

log = logging.getLogger("distillhub.monitor")

MOST_BYTES = 1 << 20  # of a body that is read along


class MonitorMiddleware:
    sync_capable = async_capable = True

    def __init__(self, get_response):
        self.get_response = get_response
        said = settings.MONITOR
        self.monitor = Monitor(said["address"], said["token"], **said.get("options", {}))
        self.paths = set(said["paths"]) if said.get("paths") else None
        self.read = import_string(said["read"]) if said.get("read") else None
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request):
        if iscoroutinefunction(self):
            return self._later(request)
        began, asked = time.perf_counter(), self._asked(request)
        response = self.get_response(request)
        self._tell(request, response, asked, began)
        return response

    async def _later(self, request):
        began, asked = time.perf_counter(), self._asked(request)
        response = await self.get_response(request)
        self._tell(request, response, asked, began)
        return response

    def _asked(self, request):
        """The body, before a view reads it as a stream."""
        if self.read is None or not self._is_told(request):
            return None
        try:
            size = int(request.META.get("CONTENT_LENGTH") or 0)
            return request.body if size <= MOST_BYTES else None
        except Exception:
            return None

    def _is_told(self, request):
        return self.paths is None or request.path in self.paths

    def _tell(self, request, response, asked, began):
        try:
            if not self._is_told(request) or not 200 <= response.status_code < 300:
                return
            noted = getattr(request, "inference", None)
            short = not response.streaming and len(response.content) <= MOST_BYTES
            if noted is None and asked is not None and short:
                noted = self.read(json.loads(asked), json.loads(response.content))
            milliseconds = 1000.0 * (time.perf_counter() - began)
            for row in noted if isinstance(noted, list) else [noted]:
                if row:
                    self.monitor.record(**{"latency_ms": milliseconds, **row})
        except Exception:
            log.exception("What was answered is not told to the monitor.")
