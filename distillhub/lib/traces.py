"""OpenTelemetry traces, where OTEL_EXPORTER_OTLP_ENDPOINT names who collects them; else nothing of
it is even imported. OpenTelemetry's own variables say the rest (sampling, headers, attributes).

A request is a span; so is a job, below the request that sent it, whichever machine does it.
"""

import logging
import os
from typing import TYPE_CHECKING, Any

from django.conf import settings

from distillhub import __version__
from distillhub.lib import request_ids

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

log = logging.getLogger(__name__)

REQUEST = "distillhub.request_id"
#: Asked every few seconds by machines: a trace of them tells nothing.
UNTRACED = "healthz,readyz,metrics,static/"


def begin(part: str) -> "TracerProvider | None":
    """Trace this process, a `part` (web, worker, beat), from now on, if anybody collects traces.

    Call it before Django reads its middleware and before Celery takes a message. Without the
    packages of the extra `traces` it says so in the log, and the process works untraced.
    """
    if not settings.DISTILLHUB_TRACES:
        return None
    os.environ.setdefault("OTEL_SERVICE_NAME", f"distillhub-{part}")
    os.environ.setdefault("OTEL_PYTHON_DJANGO_EXCLUDED_URLS", UNTRACED)
    try:
        from opentelemetry import trace  # noqa: PLC0415
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )
        from opentelemetry.instrumentation.celery import CeleryInstrumentor  # noqa: PLC0415
        from opentelemetry.instrumentation.django import DjangoInstrumentor  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        log.warning("No traces: %s. Install them: pip install 'distillhub[traces]'.", error)
        return None
    provider = TracerProvider(resource=Resource.create({"service.version": __version__}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    DjangoInstrumentor().instrument(request_hook=None, response_hook=_name)
    CeleryInstrumentor().instrument()  # type: ignore[no-untyped-call]
    return provider


def _name(span: "Span", request: "HttpRequest", response: "HttpResponse") -> None:
    """So that a line of the log leads to its trace."""
    name: Any = response.headers.get(request_ids.HEADER)
    if name and span.is_recording():
        span.set_attribute(REQUEST, name)
