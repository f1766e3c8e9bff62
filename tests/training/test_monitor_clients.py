"""The clients that people copy beside their programs, against a real server: they send what was
answered, and neither slow nor fail their callers."""

import importlib
import json
import os
import re
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import AsyncRequestFactory, RequestFactory
from pytest_django.live_server_helper import LiveServer

from projects.models import Project, User
from projects.services import accounts
from tests import make
from training.models import InferenceBatch, Monitor
from training.worker import dispatch

pytestmark = pytest.mark.django_db(transaction=True)
CLIENTS = Path(__file__).parents[2] / "static/clients"
JSON = dict[str, Any]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As beside somebody's program. No broker carries what the server asks of workers."""
    monkeypatch.syspath_prepend(str(CLIENTS))
    monkeypatch.setattr(dispatch, "call", lambda job, **ids: True)
    yield
    for name in ("distillhub_monitor", "fastapi_monitor", "django_monitor"):
        sys.modules.pop(name, None)


@pytest.fixture
def token(erin: User) -> str:
    return accounts.create_token(user=erin, name="app")[1]


@pytest.fixture
def monitor(project: Project) -> Monitor:
    return make.monitor(make.model_version(project, "small", labels=["no", "yes"]))


@pytest.fixture
def address(live_server: LiveServer, monitor: Monitor) -> str:
    return f"{live_server.url}/api/v1/projects/intents/monitors/{monitor.name}"


@pytest.fixture
def clients(address: str, token: str) -> Iterator[Callable[..., Any]]:
    """Makes clients of this monitor that are quick to send."""
    made: list[Any] = []

    def make_one(**options: Any) -> Any:
        module = importlib.import_module("distillhub_monitor")
        options = {"address": address, "token": token, "every": 0.05} | options
        made.append(module.Monitor(**options))
        return made[-1]

    yield make_one
    for one in made:
        one.close(0.1)


def lines(kind: str = "inferences") -> list[JSON]:
    found: list[JSON] = []
    for batch in InferenceBatch.objects.filter(kind=kind).order_by("pk"):
        found += [json.loads(one) for one in zlib.decompress(bytes(batch.body)).split(b"\n")]
    return found


def test_what_is_recorded_arrives_in_batches(clients: Callable[..., Any]) -> None:
    client = clients(batch=100)
    names = [
        client.record(prediction="yes", input=f"text {at}", latency_ms=1.5, tags={"at": at})
        for at in range(250)
    ]
    client.label(names[0], "no")
    client.close()
    assert [one["id"] for one in lines()] == names
    assert lines("labels") == [{"id": names[0], "label": "no"}]
    assert InferenceBatch.objects.filter(kind="inferences").count() <= 5
    assert (client.sent, client.dropped) == (251, 0)


def test_a_row_that_the_server_refuses_costs_no_other(clients: Callable[..., Any]) -> None:
    client = clients()
    for at in range(10):
        client.record(id=f"{at}", prediction="yes", probabilities=[0.5] if at in (3, 7) else None)
    client.record(prediction="yes", input=float("nan"))
    client.close()
    assert [one["id"] for one in lines()] == [str(at) for at in range(10) if at not in (3, 7)]
    assert (client.sent, client.dropped) == (8, 3)


def test_with_the_server_away_nothing_waits_fails_or_grows(clients: Callable[..., Any]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        client = clients(address=f"http://127.0.0.1:{free.getsockname()[1]}/m", most_rows=100)
        for at in range(5000):
            client.record(id=f"{at}", prediction="yes", input="x" * 100)
        with client._lock:
            assert len(client._waiting) <= 100
            assert client._bytes < 100 * 300
        client.close(0.2)
    small = clients(address="http://127.0.0.1:1/m", most_bytes=5000, every=60.0)
    for at in range(100):
        small.record(id=f"{at}", prediction="yes", input="x" * 500)
    assert small._bytes <= 5000


def test_when_the_server_is_back_it_gets_what_waited(
    clients: Callable[..., Any], address: str
) -> None:
    client = clients(address="http://127.0.0.1:1/m")
    client.record(id="early", prediction="yes")
    until = time.monotonic() + 10
    while not client._told_at and time.monotonic() < until:
        time.sleep(0.01)
    client.address = address
    client.record(id="late", prediction="no")
    client.close(10)
    assert [one["id"] for one in lines()] == ["early", "late"]


PROGRAM = """
from distillhub_monitor import Monitor
monitor = Monitor("{address}", "{token}", every=30)
for at in range(20):
    monitor.record(id=str(at), prediction="yes")
"""


def run(program: str) -> None:
    subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(CLIENTS)},
        timeout=60,
        check=True,
    )


def test_what_waits_at_exit_is_sent(address: str, token: str) -> None:
    run(PROGRAM.format(address=address, token=token))
    assert len(lines()) == 20


def test_ten_lines_are_enough(address: str, token: str) -> None:
    program = (CLIENTS / "ten_lines.py").read_text()
    program = re.sub('ADDRESS = ".*"', f'ADDRESS = "{address}"', program)
    program = re.sub('TOKEN = ".*"', f'TOKEN = "{token}"', program)
    row = '{"id": str(at), "time": "2026-11-27T10:00:00Z", "prediction": "yes"}'
    row = row.replace("2026-11-27T10:00:00Z", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    run(program + f"\nfor at in range(700):\n    rows.append({row})\n")
    assert len(lines()) == 700


def test_the_shells_example_is_taken(address: str, token: str) -> None:
    script = (CLIENTS / "send.sh").read_text()
    script = script.replace(
        "2026-11-27T10:00:00Z", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    )
    script = script.replace("card_arrival", "yes").replace("curl", "curl -sS --fail")
    subprocess.run(
        ["bash", "-ec", script],
        env=os.environ | {"ADDRESS": address, "TOKEN": token},
        timeout=60,
        check=True,
        capture_output=True,
    )
    assert [one["id"] for one in lines()] == ["5f2c"]
    assert lines("labels")[0]["label"] == "yes"


def test_fastapi_tells_what_it_answered(clients: Callable[..., Any]) -> None:
    from fastapi import FastAPI, Request
    from starlette.testclient import TestClient

    middleware = importlib.import_module("fastapi_monitor").MonitorMiddleware
    client = clients()

    def endpoint(app: FastAPI) -> None:
        @app.post("/predict")
        async def predict(request: Request) -> JSON:
            asked = await request.json()
            if asked.get("noted"):
                request.state.inference = {"input": asked["text"], "prediction": "no"}
            if asked.get("fails"):
                raise RuntimeError("the model fell over")
            return {"label": "yes"}

    app = FastAPI()
    endpoint(app)
    app.add_middleware(
        middleware,
        monitor=client,
        paths=["/predict"],
        read=lambda asked, answered: {"input": asked["text"], "prediction": answered["label"]},
    )
    web = TestClient(app, raise_server_exceptions=False)
    assert web.post("/predict", json={"text": "a"}).json() == {"label": "yes"}
    assert web.post("/predict", json={"text": "b", "noted": True}).json() == {"label": "yes"}
    assert web.post("/predict", json={"other": "c"}).json() == {"label": "yes"}  # read() fails
    assert web.post("/predict", json={"text": "d", "fails": True}).status_code == 500
    assert web.get("/elsewhere").status_code == 404
    client.close()
    told = [(one["text"], one["prediction"]) for one in lines()]
    assert told == [("a", "yes"), ("b", "no")]
    assert all(one["latency_ms"] > 0 for one in lines())


def read(asked: JSON, answered: JSON) -> JSON:
    return {"input": asked["text"], "prediction": answered["label"]}


def test_django_tells_what_it_answered(address: str, token: str, settings: LazySettings) -> None:
    settings.MONITOR = {
        "address": address,
        "token": token,
        "paths": ["/predict/"],
        "read": f"{__name__}.read",
        "options": {"every": 0.05},
    }
    middleware = importlib.import_module("django_monitor").MonitorMiddleware

    def view(request: HttpRequest) -> HttpResponse:
        asked = json.loads(request.body)
        if asked.get("noted"):
            request.inference = {"input": "noted", "prediction": "no"}  # type: ignore[attr-defined]
        return JsonResponse({"label": "yes"}, status=asked.get("status", 200))

    handler = middleware(view)
    web = RequestFactory()
    for place, asked in (
        ("/predict/", {"text": "a"}),
        ("/predict/", {"text": "b", "noted": True}),
        ("/predict/", {"other": "c"}),
        ("/predict/", {"text": "d", "status": 500}),
        ("/elsewhere/", {"text": "e"}),
    ):
        answer = handler(web.post(place, json.dumps(asked), content_type="application/json"))
        assert json.loads(answer.content) == {"label": "yes"}
    handler.monitor.close()
    assert [(one["text"], one["prediction"]) for one in lines()] == [("a", "yes"), ("noted", "no")]


def test_django_tells_what_an_async_view_answered(
    address: str, token: str, settings: LazySettings
) -> None:
    from asgiref.sync import async_to_sync

    settings.MONITOR = {"address": address, "token": token}
    middleware = importlib.import_module("django_monitor").MonitorMiddleware

    async def view(request: HttpRequest) -> HttpResponse:
        request.inference = [{"prediction": "no"}, {"prediction": "yes"}]  # type: ignore[attr-defined]
        return JsonResponse({})

    handler = middleware(view)
    # In a thread apart: a browser's event loop may run in this one.
    with ThreadPoolExecutor(1) as apart:
        asked = AsyncRequestFactory().post("/predict/")
        answer = apart.submit(async_to_sync(handler), asked).result()
    assert answer.status_code == 200
    handler.monitor.close()
    assert [one["prediction"] for one in lines()] == ["no", "yes"]
