"""Traces as a collector receives them: one is run on loopback, and real processes send to it."""

import gzip
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.site.processes import ROOT, clean_environment

#: A request through the very application that uvicorn serves, and the job that it sends, which this
#: process takes from the queue and does, as a worker would.
PROGRAM = """
import asyncio, json
from distillhub.asgi import application
from distillhub.celery import app
from django.urls import path
from celery.worker.request import Request
from django.http import HttpResponse
from django.contrib.auth.decorators import login_not_required
from distillhub import urls

@app.task(name="tests.done")
def done(): ...

@login_not_required
def sends(request):
    from training.worker import dispatch
    dispatch.call("tests.done")
    return HttpResponse("sent")

urls.urlpatterns.insert(0, path("sends/", sends))

async def ask(path):
    said = []
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET",
        "scheme": "http", "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"x-request-id", b"of-the-proxy-1")],
        "client": ("127.0.0.1", 1), "server": ("localhost", 80)}
    asked = []
    async def receive():
        if asked:
            await asyncio.sleep(60)  # the visitor stays
        asked.append(1)
        return {"type": "http.request", "body": b"", "more_body": False}
    async def send(message):
        said.append(message)
    await application(scope, receive, send)
    return said[0]["status"]

statuses = [asyncio.run(ask(path)) for path in ("/sends/", "/healthz")]
with app.connection_for_read() as connection:
    message = connection.SimpleQueue("default").get(timeout=10)
    Request(message, app=app, hostname="here", task=app.tasks["tests.done"]).execute()
import sys
if "opentelemetry.sdk" in sys.modules:
    from opentelemetry import trace
    trace.get_tracer_provider().shutdown()
print(json.dumps([statuses, "opentelemetry" in sys.modules]))
"""


@pytest.fixture
def collector() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """Its address, and what it was sent."""
    received: list[ExportTraceServiceRequest] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            received.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", received
    server.shutdown()
    server.server_close()


def run(home: Path, **environment: str) -> list[object]:
    env = clean_environment(home, **environment)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[object] = json.loads(done.stdout.splitlines()[-1])
    return found


def _spans(received: list[ExportTraceServiceRequest]) -> dict[str, Span]:
    return {
        span.name: span
        for one in received
        for resource in one.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    }


def test_a_job_is_a_span_of_the_request_that_sent_it(
    tmp_path: Path, collector: tuple[str, list[ExportTraceServiceRequest]]
) -> None:
    address, received = collector
    statuses, _ = run(tmp_path / "home", OTEL_EXPORTER_OTLP_ENDPOINT=address)
    assert statuses == [200, 200]
    spans = _spans(received)
    request, job = spans["GET sends/"], spans["run/tests.done"]
    assert request.trace_id == job.trace_id
    assert not any("healthz" in name for name in spans)
    told = {one.key: one.value.string_value for one in request.attributes}
    assert told["distillhub.request_id"] == "of-the-proxy-1"
    names = {
        one.key: one.value.string_value for one in received[0].resource_spans[0].resource.attributes
    }
    assert names["service.name"] == "distillhub-web"


def test_without_a_collector_nothing_of_it_is_imported(tmp_path: Path) -> None:
    assert run(tmp_path / "home") == [[200, 200], False]
