"""The protocol of MLflow, request by request: who may, in which words faults are told, what is
accepted, and what never leads to an answer that clients try again for minutes."""

import base64
import json
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from distillhub.lib import sweeping
from projects.models import ModelAlias, Project, User
from projects.services import accounts, registry
from tests import make
from tests.conftest import api_of
from tests.training.mlflow_calls import JSON, Caller
from training.models import Experiment, ExperimentRun, Run, TrackedFile
from training.services import experiment_runs, runs
from training.worker.metrics import Measured

pytestmark = pytest.mark.django_db
NOW = 1_700_000_000_000


@pytest.fixture
def caller(project: Project, erin: User) -> Caller:
    return Caller(project, erin)


@pytest.fixture
def run(caller: Caller) -> str:
    return caller.begin("first")


# Who -------------------------------------------------------------------------------------------


def test_a_viewer_reads_and_a_stranger_sees_nothing(
    project: Project, caller: Caller, run: str, vera: User, charlie: User
) -> None:
    viewer, stranger = Caller(project, vera), Caller(project, charlie)
    assert viewer.get("runs/get", run_id=run)["run"]["info"]["run_name"] == "first"
    assert viewer.post("runs/search", experiment_ids=["0"])["runs"]
    status, word = viewer.refused("runs/log-metric", run_id=run, key="x", value=1, timestamp=NOW)
    assert (status, word.split(":")[0]) == (403, "PERMISSION_DENIED")
    for path in ("runs/get", "experiments/get-by-name"):
        status, word = stranger.refused(path, "GET", run_id=run, experiment_name="Default")
        assert (status, word.split(":")[0]) == (404, "RESOURCE_DOES_NOT_EXIST")


def test_the_runs_of_one_project_do_not_exist_in_another(
    caller: Caller, run: str, erin: User
) -> None:
    other = Caller(make.project("elsewhere", owner=erin), erin)
    caller.put(f"0/{run}/artifacts/a.txt", b"a")
    assert other.refused("runs/get", "GET", run_id=run)[0] == 404
    assert other.refused("runs/set-tag", run_id=run, key="a", value="b")[0] == 404
    assert other.fetch(f"0/{run}/artifacts/a.txt").status_code == 404
    assert other.client.get(
        f"{other.root}/mlflow-artifacts/artifacts", {"path": f"0/{run}/artifacts"}
    ).status_code == 404  # fmt: skip
    created = other.refused("logged-models", experiment_id="0", name="x", source_run_id=run)
    assert created[0] == 404


@pytest.mark.parametrize("name", ["erin", "token", "anybody"])
def test_a_token_is_also_a_password(project: Project, erin: User, name: str) -> None:
    raw = accounts.create_token(user=erin, name="x")[1]
    basic = base64.b64encode(f"{name}:{raw}".encode()).decode()
    client = Client(headers={"Authorization": f"Basic {basic}"})
    assert client.get("/mlflow/intents/api/2.0/mlflow/experiments/search").status_code == 200


@pytest.mark.parametrize(
    "header",
    ["", "Basic", "Basic !!!", "Basic bm9ib2R5OndvcmQ=", "Bearer dh_wrong", "Digest x",
     "Basic 4w=="],
)  # fmt: skip
def test_other_credentials_are_none(project: Project, header: str) -> None:
    client = Client(headers={"Authorization": header} if header else {})
    answer = client.get("/mlflow/intents/api/2.0/mlflow/experiments/search")
    assert answer.status_code == 401
    assert answer.json()["error_code"] == "UNAUTHENTICATED"
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_session_of_a_browser_opens_nothing(project: Project, alice: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    address = "/mlflow/intents/api/2.0/mlflow/runs/create"
    answer = client.post(address, "{}", content_type="application/json")
    assert answer.status_code == 401


def test_narrow_tokens_track_and_register_nothing(project: Project, erin: User) -> None:
    raw = accounts.create_token(user=erin, name="x", scope="track")[1]
    tracker = Caller(project, erin, token=raw)
    run = tracker.begin("by a narrow token")
    tracker.log(run, loss=1.0)
    tracker.put(f"0/{run}/artifacts/a.txt", b"a")
    assert tracker.refused("registered-models/create", name="student")[0] == 403
    assert tracker.refused("runs/delete", run_id=run)[0] == 403
    reader = Caller(
        project, erin, token=accounts.create_token(user=erin, name="y", scope="read")[1]
    )
    assert reader.post("runs/search", experiment_ids=["0"])["runs"]
    assert reader.refused("runs/log-metric", run_id=run, key="x", value=1, timestamp=NOW)[0] == 403


def test_an_archived_project_takes_nothing(project: Project, caller: Caller, run: str) -> None:
    Project.objects.filter(pk=project.pk).update(archived_at="2026-01-01T00:00:00Z")
    for path, body in (("runs/create", {}), ("runs/set-tag", {"run_id": run, "key": "a"})):
        status, word = caller.refused(path, **body)
        assert (status, word.split(":")[0]) == (409, "RESOURCE_CONFLICT")
    assert caller.get("runs/get", run_id=run)


# Faults ----------------------------------------------------------------------------------------

ODD: list[tuple[str, JSON]] = [
    ("runs/log-metric", {"key": "x", "value": "much", "timestamp": NOW}),
    ("runs/log-metric", {"key": "x", "value": None, "timestamp": NOW}),
    ("runs/log-metric", {"key": "x", "value": True, "timestamp": NOW}),
    ("runs/log-metric", {"key": "x", "value": [1], "timestamp": NOW}),
    ("runs/log-metric", {"key": "x", "value": 1}),
    ("runs/log-metric", {"key": "x", "value": 1, "timestamp": "soon"}),
    ("runs/log-metric", {"key": "x", "value": 1, "timestamp": -5}),
    ("runs/log-metric", {"key": "x", "value": 1, "timestamp": 10**18}),
    ("runs/log-metric", {"key": "x", "value": 1, "timestamp": NOW, "step": 2**63}),
    ("runs/log-metric", {"key": "x", "value": 1, "timestamp": NOW, "step": 0.5}),
    ("runs/log-metric", {"key": "", "value": 1, "timestamp": NOW}),
    ("runs/log-metric", {"key": "<b>", "value": 1, "timestamp": NOW}),
    ("runs/log-metric", {"key": "x" * 251, "value": 1, "timestamp": NOW}),
    ("runs/log-metric", {"key": {"a": 1}, "value": 1, "timestamp": NOW}),
    ("runs/log-parameter", {"key": "x" * 251, "value": "1"}),
    ("runs/log-parameter", {"key": "x", "value": "1" * 6001}),
    ("runs/log-parameter", {"key": "x", "value": 1}),
    ("runs/log-parameter", {"value": "1"}),
    ("runs/log-batch", {"metrics": "all"}),
    ("runs/log-batch", {"metrics": [1]}),
    ("runs/log-batch", {"params": [{"key": "a", "value": "1"}, {"key": "a", "value": "2"}]}),
    ("runs/log-batch", {"tags": [{"value": "2"}]}),
    ("runs/set-tag", {"key": "x", "value": {"a": 1}}),
    ("runs/set-tag", {"key": "x", "value": "1" * 20_001}),
    ("runs/update", {"status": "DREAMING"}),
    ("runs/update", {"status": "FINISHED", "end_time": "never"}),
    ("runs/update", {"status": "FINISHED", "end_time": -1}),
    ("runs/search", {"experiment_ids": ["0"], "max_results": 50_001}),
    ("runs/search", {"experiment_ids": ["0"], "max_results": 0}),
    ("runs/search", {"experiment_ids": ["0"], "page_token": "!"}),
    ("runs/search", {"experiment_ids": ["0"], "page_token": "eyJvZmZzZXQiOi0xfQ=="}),
    ("runs/search", {"experiment_ids": {"a": 1}}),
    ("runs/search", {"experiment_ids": ["0"], "run_view_type": "SOME"}),
    ("runs/search", {"experiment_ids": ["0"], "filter": "x" * 20_001}),
    ("runs/search", {"experiment_ids": ["0"], "order_by": [1.5]}),
    ("runs/log-inputs", {"datasets": [{}]}),
    ("runs/log-inputs", {"datasets": [{"dataset": {"name": 1}}]}),
    ("runs/log-inputs", {"datasets": [{"dataset": {"name": "a", "digest": "x" * 37}}]}),
    ("runs/outputs", {"models": [{}]}),
    ("experiments/create", {}),
    ("experiments/create", {"name": " "}),
    ("experiments/create", {"name": "x" * 501}),
    ("experiments/create", {"name": ["x"]}),
    ("experiments/search", {"view_type": "SOME"}),
    ("experiments/search", {"filter": "password = 'x'"}),
    ("registered-models/create", {"name": "a/b"}),
    ("registered-models/create", {"name": "x" * 101}),
    ("logged-models", {"experiment_id": "0", "name": "x" * 501}),
    ("logged-models/search", {"experiment_ids": ["0"], "order_by": [{}]}),
]


@pytest.mark.parametrize(("path", "body"), ODD, ids=lambda part: str(part)[:60])
def test_what_cannot_be_used_is_refused_at_once(
    caller: Caller, run: str, path: str, body: JSON
) -> None:
    told = (
        body if path.startswith(("experiments", "registered", "logged")) else body | {"run_id": run}
    )
    status, word = caller.refused(path, **told)
    assert (status, word.split(":")[0]) == (400, "INVALID_PARAMETER_VALUE")


@pytest.mark.parametrize(
    "body",
    [b"[]", b"null", b"3", b"{", b"\xff", b'{"run_id": "\\u0000"}', b'{"run_id": NaN}',
     b'{"run_id": ' + b"[" * 100 + b"]" * 100 + b"}", b'{"value": 1e999}'],
    ids=lambda body: repr(body[:20]),
)  # fmt: skip
@pytest.mark.parametrize("path", ["runs/log-batch", "runs/create", "runs/search"])
def test_odd_bodies_are_refused_in_mlflows_words(caller: Caller, path: str, body: bytes) -> None:
    for kind in ("application/json", "text/plain"):
        answer = caller.client.generic("POST", f"{caller.root}/mlflow/{path}", body, kind)
        assert answer.status_code == 400
        assert set(answer.json()) == {"error_code", "message"}


def test_what_is_nowhere_is_said_in_mlflows_words(caller: Caller) -> None:
    for address in (
        "/mlflow/intents/api/3.0/mlflow/server-info",
        "/mlflow/intents/api/2.0/mlflow/runs/fly",
        "/mlflow/intents/no",
        "/mlflow/",
        "/mlflow/no%20slug/api/2.0/mlflow/runs/get",
    ):
        answer = caller.client.get(address)
        assert answer.status_code == 404
        assert answer.json()["error_code"] == "ENDPOINT_NOT_FOUND"
    wrong = caller.client.get(f"{caller.root}/mlflow/runs/create")
    assert (wrong.status_code, wrong.json()["error_code"]) == (405, "BAD_REQUEST")


def test_a_name_that_is_taken_says_no_more_than_that(caller: Caller) -> None:
    caller.post("experiments/create", name="digits")
    status, word = caller.refused("experiments/create", name="digits")
    assert status == 400
    assert word == "RESOURCE_ALREADY_EXISTS: Experiment 'digits' already exists."
    number = caller.get("experiments/get-by-name", experiment_name="digits")
    caller.post("experiments/delete", experiment_id=number["experiment"]["experiment_id"])
    assert "restore it" in caller.refused("experiments/create", name="digits")[1]
    assert caller.refused("experiments/create", name="Default")[0] == 400


# What is accepted ------------------------------------------------------------------------------


def test_numbers_may_be_texts_and_values_words(caller: Caller, run: str) -> None:
    for step, value in enumerate(["NaN", "Infinity", "-Infinity", "0.5", 1, 2.5]):
        caller.post(
            "runs/log-metric", run_uuid=run, key="x y/z:é", value=value, timestamp=str(NOW),
            step=str(step - 1),
        )  # fmt: skip
    history = caller.get("metrics/get-history", run_id=run, metric_key="x y/z:é", max_results=4)
    assert [point["value"] for point in history["metrics"]] == ["NaN", "Infinity", "-Infinity", 0.5]
    assert [point["step"] for point in history["metrics"]] == [-1, 0, 1, 2]
    rest = caller.get(
        "metrics/get-history", run_id=run, metric_key="x y/z:é", max_results=4,
        page_token=history["next_page_token"],
    )  # fmt: skip
    assert [point["value"] for point in rest["metrics"]] == [1.0, 2.5]
    assert "next_page_token" not in rest
    latest = caller.get("runs/get", run_id=run)["run"]["data"]["metrics"]
    assert latest == [{"key": "x y/z:é", "value": 2.5, "timestamp": NOW, "step": 4}]


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_no_answer_holds_what_is_no_json(caller: Caller, run: str, value: str) -> None:
    caller.post("runs/log-metric", run_id=run, key="x", value=value, timestamp=NOW, step=2**62)
    for answer in (
        caller.ask("GET", "runs/get", run_id=run),
        caller.ask("POST", "runs/search", {"experiment_ids": ["0"]}),
        caller.ask("GET", "metrics/get-history", run_id=run, metric_key="x"),
    ):
        told = getattr(answer, "content", b"").decode()
        assert f'"value":"{value}"' in told.replace(" ", "")
        json.loads(told, parse_constant=pytest.fail)


@pytest.mark.parametrize(
    "text",
    ["1", "0", "-0.0", "1.0", "5e-05", "1e-3", "0.10", "1e+22", "007", "True", "None", "nan", "inf",
     "9" * 30, "0.1" + "0" * 10, "\u0661", "", " 1", "1_000", "-3", "1.5e-07", "x" * 6000],
)  # fmt: skip
def test_a_parameter_is_answered_as_it_was_sent(caller: Caller, run: str, text: str) -> None:
    caller.post("runs/log-parameter", run_id=run, key="p", value=text)
    caller.post("runs/log-parameter", run_id=run, key="p", value=text)
    found = caller.get("runs/get", run_id=run)["run"]["data"]["params"]
    assert found == [{"key": "p", "value": text}]
    assert caller.refused("runs/log-parameter", run_id=run, key="p", value=f"{text[:5]}!")[0] == 400


def test_more_than_clients_send_at_once_is_taken(caller: Caller, run: str) -> None:
    caller.post(
        "runs/log-batch",
        run_id=run,
        metrics=[
            {"key": f"m{step % 7}", "value": step, "timestamp": NOW, "step": step}
            for step in range(1000)
        ],
        params=[{"key": f"p{place}", "value": "v" * 100} for place in range(100)],
        tags=[{"key": f"t{place}", "value": "v" * 8000} for place in range(100)],
    )
    data = caller.get("runs/get", run_id=run)["run"]["data"]
    assert (len(data["metrics"]), len(data["params"]), len(data["tags"])) == (7, 100, 101)


def test_a_batch_is_kept_whole_or_not_at_all(caller: Caller, run: str) -> None:
    caller.log(run, {"lr": "1"})
    status, _ = caller.refused(
        "runs/log-batch",
        run_id=run,
        metrics=[{"key": "loss", "value": 1, "timestamp": NOW}],
        params=[{"key": "lr", "value": "2"}],
        tags=[{"key": "a", "value": "b"}],
    )
    data = caller.get("runs/get", run_id=run)["run"]["data"]
    assert status == 400
    assert (data["metrics"], [tag["key"] for tag in data["tags"]]) == ([], ["mlflow.runName"])


def test_a_batch_costs_as_many_queries_whatever_is_in_it(caller: Caller, run: str) -> None:
    def cost(count: int) -> int:
        caller.log(run, {}, **{f"m{place}": 0.0 for place in range(count)})  # they are there
        with CaptureQueriesContext(connection) as queries:
            caller.log(run, {}, **{f"m{place}": 1.0 for place in range(count)})
        return len(queries)

    assert cost(2) == cost(40) <= 12


def test_a_search_costs_as_many_queries_however_many_it_finds(caller: Caller) -> None:
    def cost(more: int) -> int:
        for _ in range(more):
            caller.log(caller.begin(), {"lr": "1"}, loss=1.0)
        with CaptureQueriesContext(connection) as queries:
            caller.post("runs/search", experiment_ids=["0"], filter="metrics.loss > 0")
        return len(queries)

    assert cost(1) == cost(6) <= 8


# One run, two sides ----------------------------------------------------------------------------


def test_what_people_change_clients_read(caller: Caller, run: str, erin: User) -> None:
    ours = ExperimentRun.objects.get(key=run).run
    api = api_of(erin)
    address = f"/api/v1/projects/intents/runs/{ours.number}/"
    changed = {"name": "renamed", "notes": "# Look", "params": {"lr": 0.5}}
    assert api.patch(address, changed, format="json").status_code == 200
    read = caller.get("runs/get", run_id=run)["run"]
    assert read["info"]["run_name"] == "renamed"
    tags = {tag["key"]: tag["value"] for tag in read["data"]["tags"]}
    assert tags == {"mlflow.runName": "renamed", "mlflow.note.content": "# Look"}
    assert read["data"]["params"] == [{"key": "lr", "value": "0.5"}]


def test_a_person_who_cancels_stops_the_training(caller: Caller, run: str, erin: User) -> None:
    ours = ExperimentRun.objects.get(key=run).run
    runs.cancel(run=ours, by=erin)
    status, word = caller.refused("runs/log-metric", run_id=run, key="x", value=1, timestamp=NOW)
    assert (status, word.split(":")[0]) == (409, "RESOURCE_CONFLICT")  # which is not tried again
    ended = caller.post("runs/update", run_id=run, status="FAILED", end_time=NOW)
    assert ended["run_info"]["status"] == "KILLED"
    caller.post("runs/update", run_id=run, status="RUNNING", end_time=NOW)  # resumed on purpose
    caller.log(run, loss=1.0)


def test_a_run_goes_through_every_state(caller: Caller, run: str) -> None:
    for said in ("SCHEDULED", "RUNNING", "FINISHED", "FAILED", "KILLED", "RUNNING", "FINISHED"):
        info = caller.post("runs/update", run_id=run, status=said, end_time=NOW)["run_info"]
        assert info["status"] == said
        assert ("end_time" in info) == (said not in ("SCHEDULED", "RUNNING"))
        found = caller.post(
            "runs/search", experiment_ids=["0"], filter=f"attributes.status = '{said}'"
        )
        assert len(found["runs"]) == 1
    assert Run.objects.get().status == Run.Status.FINISHED


def test_a_deleted_run_is_put_away_and_comes_back_from_either_side(
    caller: Caller, run: str
) -> None:
    caller.post("runs/delete", run_id=run)
    assert Run.objects.get().archived_at is not None
    assert caller.refused("runs/set-tag", run_id=run, key="a", value="b")[0] == 400
    Run.objects.update(archived_at=None)  # as the page does
    assert caller.get("runs/get", run_id=run)["run"]["info"]["lifecycle_stage"] == "active"
    caller.post("runs/set-tag", run_id=run, key="a", value="b")


def test_an_experiment_takes_its_runs_with_it_but_not_those_gone_before(caller: Caller) -> None:
    made = caller.post("experiments/create", name="digits")["experiment_id"]
    first, second = caller.begin("a", experiment=made), caller.begin("b", experiment=made)
    caller.post("runs/delete", run_id=first)
    caller.post("experiments/delete", experiment_id=made)
    stages = [
        caller.get("runs/get", run_id=one)["run"]["info"]["lifecycle_stage"]
        for one in (first, second)
    ]
    assert stages == ["deleted", "deleted"]
    assert caller.refused("runs/create", experiment_id=made)[0] == 400
    caller.post("experiments/restore", experiment_id=made)
    stages = [
        caller.get("runs/get", run_id=one)["run"]["info"]["lifecycle_stage"]
        for one in (first, second)
    ]
    assert stages == ["deleted", "active"]


def test_default_is_there_before_anything_is_in_it(caller: Caller) -> None:
    for found in (
        caller.get("experiments/get", experiment_id="0"),
        caller.get("experiments/get-by-name", experiment_name="Default"),
    ):
        assert found["experiment"]["name"] == "Default"
    assert not Experiment.objects.exists()
    assert caller.post("experiments/create", name="first")["experiment_id"] == "1"
    caller.begin("unasked")
    found = caller.post("experiments/search", max_results=1, order_by=["name"])
    assert found["experiments"][0]["name"] == "Default"
    more = caller.post(
        "experiments/search", max_results=1, order_by=["name"], page_token=found["next_page_token"]
    )
    assert more["experiments"][0]["name"] == "first"


# Files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["", "application/json", "text/html", "multipart/form-data", "x"])
def test_files_come_with_any_content_type_or_none(caller: Caller, run: str, kind: str) -> None:
    caller.put(f"0/{run}/artifacts/sub/a.bin", b"{\x00\xff", kind)
    answer: Any = caller.fetch(f"0/{run}/artifacts/sub/a.bin")
    assert b"".join(answer) == b"{\x00\xff"
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_files_are_listed_folder_by_folder(caller: Caller, run: str) -> None:
    root = f"0/{run}/artifacts"
    for path in ("a.txt", "sub/b.txt", "sub/deep/c.txt", "subway.txt"):
        caller.put(f"{root}/{path}", path.encode())
    assert caller.listed(root)["files"] == [
        {"path": "a.txt", "is_dir": False, "file_size": 5},
        {"path": "sub", "is_dir": True},
        {"path": "subway.txt", "is_dir": False, "file_size": 10},
    ]
    assert [one["path"] for one in caller.listed(f"{root}/sub")["files"]] == ["b.txt", "deep"]
    assert caller.listed(f"{root}/a.txt") == caller.listed(f"{root}/no") == caller.listed("") == {}
    older = caller.get("artifacts/list", run_id=run, path="sub")
    assert older["root_uri"] == f"mlflow-artifacts:/{root}"
    assert [one["path"] for one in older["files"]] == ["sub/b.txt", "sub/deep"]


def test_a_file_takes_the_place_of_the_one_before_and_may_be_removed(
    caller: Caller, run: str
) -> None:
    path = f"0/{run}/artifacts/a.txt"
    caller.put(path, b"old")
    caller.put(path, b"new")
    assert b"".join(caller.fetch(path)) == b"new"
    assert TrackedFile.objects.get().bytes == 3
    assert bytes.fromhex(TrackedFile.objects.get().sha256) in sweeping.named()
    address = f"{caller.root}/mlflow-artifacts/artifacts/{path}"
    assert caller.client.delete(address).status_code == 200
    assert caller.fetch(path).status_code == 404


@pytest.mark.parametrize(
    "path",
    ["../../x", "a/../b", "./a", "a//b", "a\\b", "%2e%2e/x", "..%2f..%2fx", "a%0ab", "x" * 1001],
)
def test_paths_that_lead_elsewhere_are_refused(caller: Caller, run: str, path: str) -> None:
    address = f"{caller.root}/mlflow-artifacts/artifacts/0/{run}/artifacts/{path}"
    answer = caller.client.put(address, b"x", content_type="text/plain")
    assert answer.status_code in (400, 404)
    assert set(answer.json()) == {"error_code", "message"}
    assert not TrackedFile.objects.exists()


def test_a_path_is_a_file_or_a_folder(caller: Caller, run: str) -> None:
    caller.put(f"0/{run}/artifacts/a", b"x")
    address = f"{caller.root}/mlflow-artifacts/artifacts/0/{run}/artifacts"
    assert caller.client.put(f"{address}/a/b", b"x").status_code == 400
    caller.put(f"0/{run}/artifacts/c/d", b"x")
    assert caller.client.put(f"{address}/c", b"x").status_code == 400
    assert caller.client.put(f"{address}/", b"x").status_code == 400
    assert caller.client.put(f"{address[:-10]}/a", b"x").status_code == 404


# Models ----------------------------------------------------------------------------------------


def test_our_own_models_are_found_and_fetched(caller: Caller, project: Project, erin: User) -> None:
    caller.put(f"0/{caller.begin()}/artifacts/config.json", b"{}")
    file = TrackedFile.objects.get()
    files = [{"name": "config.json", "sha256": file.sha256, "bytes": 2}]
    version = make.model_version(project, "small", files=files)
    registry.set_alias(model=version.model, name="production", version=version, by=erin)
    found = caller.get("registered-models/search", filter="name LIKE 'sm%'", max_results="100")
    assert found["registered_models"][0]["aliases"] == [{"alias": "production", "version": "1"}]
    at = caller.get("registered-models/alias", name="small", alias="production")["model_version"]
    where = caller.get("model-versions/get-download-uri", name="small", version=at["version"])
    assert where["artifact_uri"] == "mlflow-artifacts:/registry/small/1"
    assert caller.listed("registry/small/1")["files"][0]["path"] == "config.json"
    assert b"".join(caller.fetch("registry/small/1/config.json")) == b"{}"
    assert caller.fetch("registry/small/2/config.json").status_code == 404


def test_an_alias_with_rules_is_not_moved_by_a_client(
    caller: Caller, project: Project, erin: User
) -> None:
    version = make.model_version(project, "small")
    rules = {"min_score": 0.5}
    version.model.alias_rules.create(name="production", rules=rules, changed_by=erin)
    told = {"name": "small", "alias": "production", "version": "1"}
    status, word = caller.refused("registered-models/alias", **told)
    assert (status, word.split(":")[0]) == (409, "RESOURCE_CONFLICT")
    assert not ModelAlias.objects.exists()


def test_clients_leave_prompts_out_and_find_what_is_no_prompt(caller: Caller) -> None:
    caller.post("registered-models/create", name="student")
    caller.post(
        "registered-models/create",
        name="words",
        tags=[{"key": "mlflow.prompt.is_prompt", "value": "true"}],
    )
    asked = "tag.`mlflow.prompt.is_prompt` != 'true'"
    found = caller.get("registered-models/search", filter=asked)["registered_models"]
    assert [one["name"] for one in found] == ["student"]


def test_a_version_names_what_its_source_holds(caller: Caller, run: str) -> None:
    for path in ("m/a.bin", "m/b.bin", "other.txt"):
        caller.put(f"0/{run}/artifacts/{path}", b"x")
    caller.post("registered-models/create", name="student")
    for source, names in (
        (f"runs:/{run}/m", ["a.bin", "b.bin"]),
        (f"mlflow-artifacts:/0/{run}/artifacts/m", ["a.bin", "b.bin"]),
        (f"runs:/{run}/other.txt", []),
        ("s3://bucket/model", []),
    ):
        made = caller.post("model-versions/create", name="student", source=source, run_id=run)
        number = made["model_version"]["version"]
        listed = caller.listed(f"registry/student/{number}").get("files", [])
        assert [one["path"] for one in listed] == names, source
    stranger = f"runs:/{'0' * 32}/m"
    assert caller.refused("model-versions/create", name="student", source=stranger)[0] == 404


def test_histories_of_many_points_are_read_page_by_page(caller: Caller, run: str) -> None:
    one = ExperimentRun.objects.get(key=run).run
    points = [Measured("loss", step, float(step), 1.7e9) for step in range(2500)]
    experiment_runs.log(project=one.project, key=run, points=points)
    steps: list[int] = []
    token = ""
    while True:
        asked = {"page_token": token} if token else {}
        found = caller.get(
            "metrics/get-history", run_id=run, metric_key="loss", max_results=999, **asked
        )
        steps += [point["step"] for point in found["metrics"]]
        token = found.get("next_page_token", "")
        if not token:
            break
    assert steps == list(range(2500))
