"""Attacks through MLflow's protocol, beside those in tests/training/test_mlflow_protocol.py: every
address with what no client sends, and files that a browser would like to run."""

import base64
import json
from typing import Any

import pytest
from django.db import transaction
from django.http.response import StreamingHttpResponse
from django.test import Client

from projects.models import Project, User
from projects.services import accounts
from tests import make
from tests.site.permission_table import MLFLOW
from tests.site.world import ROUTES, World, world  # noqa: F401
from tests.training.mlflow_calls import Caller
from training.models import TrackedFile

LEAKS = ("Traceback", "SELECT ", "INSERT ", "sqlite", "psycopg", "/projects/", "site-packages")
FAR = base64.b64encode(json.dumps({"offset": 2**63 - 1}).encode()).decode()
ODD: list[Any] = [
    "' OR 1=1 --", "../../etc/passwd", "%2e%2e%2f", "\u202e<script>", 2**63, -1, 1e308, True,
    None, [], {}, [{}], [[]], "x" * 9000, {"key": {"a": 1}}, "0", FAR,
]  # fmt: skip
NAMES = (
    *("experiment_id", "experiment_ids", "run_id", "run_uuid", "name", "new_name", "key", "value"),
    *("filter", "order_by", "page_token", "max_results", "view_type", "run_view_type", "tags"),
    *("params", "metrics", "datasets", "models", "model_id", "path", "metric_key", "status"),
    *("source", "version", "alias", "stage", "stages", "timestamp", "step", "start_time"),
    *("end_time", "user_id", "run_name", "source_run_id", "artifact_location", "description"),
    *("artifact_directory_path", "archive_existing_versions"),
)


@pytest.fixture
def caller(project: Project, erin: User) -> Caller:
    return Caller(project, erin)


def test_no_address_fails_on_what_no_client_sends(world: World, alice: User) -> None:  # noqa: F811
    """A fault of 500 is asked again seven times by clients, and holds up a training for minutes."""
    _, raw = accounts.create_token(user=alice, name="all")
    client = Client(headers={"Authorization": f"Bearer {raw}"}, raise_request_exception=False)
    failed = []
    for n, route in enumerate(one for one in ROUTES if one.name in MLFLOW):
        address = world.address(route)
        for method in MLFLOW[route.name]:
            for turn in range(6):  # the others at the next address
                odd = ODD[(n + 3 * turn) % len(ODD)]
                body = dict.fromkeys(NAMES, odd)
                # One name at a time is what it should be, so that faults behind it are reached.
                right = NAMES[(n + turn) % len(NAMES)]
                body |= {right: "Default", "experiment_id": "0", "run_id": "x" * 32}
                with transaction.atomic():
                    if method == "GET":
                        answer: Any = client.get(address, {k: str(v) for k, v in body.items()})
                    else:
                        answer = client.generic(
                            method, address, json.dumps(body), "application/json"
                        )
                    if isinstance(answer, StreamingHttpResponse):
                        b"".join(answer)
                    transaction.set_rollback(True)
                if answer.status_code >= 500:
                    failed.append((route.name, method, str(odd)[:30], answer.status_code))
                if answer.status_code >= 400:
                    told = answer.content.decode()
                    assert set(json.loads(told)) == {"error_code", "message"}
                    assert not [leak for leak in LEAKS if leak in told], told[:300]
    assert not failed


def test_a_page_beyond_all_pages_is_empty(caller: Caller) -> None:
    run = caller.begin("first")
    caller.log(run, loss=1.0)
    for path, body in [
        ("runs/search", {"experiment_ids": ["0"]}),
        ("experiments/search", {}),
        ("logged-models/search", {"experiment_ids": ["0"]}),
    ]:
        status, answer = caller.send("POST", path, page_token=FAR, max_results=100, **body)
        assert status in {200, 400}, answer
    for path, query in [
        ("metrics/get-history", {"run_id": run, "metric_key": "loss"}),
        ("registered-models/search", {}),
        ("model-versions/search", {}),
    ]:
        status, answer = caller.send("GET", path, page_token=FAR, max_results=100, **query)
        assert status in {200, 400}, answer


HTML = b"<script>alert(document.domain)</script>"


@pytest.mark.parametrize("name", ["index.html", "a.svg", "a.xhtml", "model.html%00.txt"])
def test_a_file_is_never_a_page_of_ours(caller: Caller, name: str) -> None:
    run = caller.begin("first")
    path = f"0/{run}/artifacts/{name}"
    if "%00" in name:
        address = f"{caller.root}/mlflow-artifacts/artifacts/{path}"
        assert caller.client.put(address, HTML, content_type="text/html").status_code in {400, 404}
        return
    caller.put(path, HTML, "text/html")
    answer = caller.fetch(path)
    assert isinstance(answer, StreamingHttpResponse)
    assert b"".join(answer) == HTML
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert not answer.headers["Content-Type"].startswith(("text/html", "image/svg"))


def test_a_path_that_is_encoded_twice_is_a_name_and_leads_nowhere(
    caller: Caller, project: Project
) -> None:
    run = caller.begin("first")
    caller.put(f"0/{run}/artifacts/%252e%252e/%252e%252e/x", b"x")
    assert TrackedFile.objects.get().path == "%2e%2e/%2e%2e/x"
    assert [one["path"] for one in caller.listed(f"0/{run}/artifacts")["files"]] == ["%2e%2e"]
    for path in (f"0/{run}/../artifacts/x", f"../{run}/artifacts/x", "0//artifacts/x", "0", "x"):
        assert caller.fetch(path).status_code in {400, 404}


def test_the_files_of_another_project_are_reached_by_no_id(
    caller: Caller, alice: User, erin: User
) -> None:
    theirs = make.project("theirs", owner=alice, editor=erin)
    other = Caller(theirs, erin)
    run = other.begin("theirs")
    other.put(f"0/{run}/artifacts/a.txt", b"theirs")
    address = f"{caller.root}/mlflow-artifacts/artifacts"
    path = f"0/{run}/artifacts/a.txt"
    assert caller.fetch(path).status_code == 404
    assert caller.client.put(f"{address}/{path}", b"x").status_code == 404
    assert caller.client.delete(f"{address}/{path}").status_code == 404
    listed = caller.client.get(address, {"path": f"0/{run}/artifacts"})
    assert "a.txt" not in listed.content.decode()
    for act in ("delete", "restore", "update", "log-batch", "outputs", "log-inputs"):
        assert caller.refused(f"runs/{act}", run_id=run, status="FAILED")[0] == 404, act
    made = caller.post("registered-models/create", name="mine")
    assert made
    status, answer = caller.send(
        "POST", "model-versions/create", name="mine", source=f"runs:/{run}/a.txt", run_id=run
    )
    assert status in {400, 404}, answer
    assert b"".join(other.fetch(f"0/{run}/artifacts/a.txt")) == b"theirs"  # still there
