"""Runs that are trained elsewhere: begun, told of and ended through REST, beside ours."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from projects.models import Project, User
from tests import make
from training.models import Run
from training.services import queue, runs
from training.worker import reaper

pytestmark = pytest.mark.django_db

RUNS = "/api/v1/projects/robots/runs/"


@pytest.fixture
def project(erin: User) -> Project:
    return make.project("robots", owner=erin)


@pytest.fixture
def client(erin: User, project: Project) -> APIClient:
    client = APIClient()
    client.force_authenticate(erin)
    return client


@pytest.fixture
def number(client: APIClient) -> int:
    answer = client.post(
        f"{RUNS}track/", {"name": "small", "params": {"lr": 0.001, "net": "cnn"}}, format="json"
    )
    assert answer.status_code == 201, answer.json()
    return int(answer.json()["number"])


def send(client: APIClient, number: int, body: Any) -> Any:
    return client.post(f"{RUNS}{number}/metrics/", body, format="json")


def test_a_run_is_begun_told_of_and_ended(client: APIClient, number: int) -> None:
    run = client.get(f"{RUNS}{number}/").json()
    assert (run["status"], run["origin"], run["name"]) == ("training", "tracked", "small")
    assert (run["dataset"], run["student"], run["teachers"]) == (None, None, [])
    assert run["config"] == {"params": {"lr": 0.001, "net": "cnn"}}

    points = [{"name": "train/loss", "step": step, "value": 1 / step} for step in (1, 2, 4)]
    assert send(client, number, {"points": points}).json() == {"received": 3}
    lines = {"lines": [{"text": "epoch 1"}, {"text": "slow", "level": "warning"}]}
    assert client.post(f"{RUNS}{number}/logs/", lines, format="json").json() == {"received": 2}
    told = {"params": {"lr": 0.002}, "steps": 8, "stage": "warming up", "tags": ["mine"]}
    changed = client.patch(f"{RUNS}{number}/", told, format="json").json()
    assert changed["config"]["params"] == {"lr": 0.002, "net": "cnn"}
    assert changed["progress"]["fraction"] == 0.5
    assert (changed["progress"]["step"], changed["progress"]["steps"]) == (4, 8)
    assert (changed["stage"], changed["tags"]) == ("warming up", ["mine"])
    assert changed["metrics"] == {"train/loss": 0.25}

    ended = client.post(f"{RUNS}{number}/end/", {"status": "finished"}, format="json").json()
    assert (ended["status"], ended["progress"]["fraction"]) == ("finished", 1.0)
    assert client.post(f"{RUNS}{number}/end/", {}, format="json").status_code == 200
    other = client.post(f"{RUNS}{number}/end/", {"status": "failed"}, format="json")
    assert (other.status_code, other.json()["code"]) == (409, "already_over")
    series = client.get(f"{RUNS}{number}/metrics/").json()["series"]
    assert series["train/loss"]["steps"] == [1, 2, 4]
    assert [line["text"] for line in client.get(f"{RUNS}{number}/logs/").json()["lines"]] == [
        "epoch 1", "slow",
    ]  # fmt: skip
    sentences = [one["sentence"] for one in client.get(f"{RUNS}{number}/events/").json()["results"]]
    assert sentences[-1] == "Finished at step 4."


def test_what_is_read_of_a_run_may_be_sent_to_another(client: APIClient, number: int) -> None:
    made = make.tracked(Project.objects.get(slug="robots"))
    body = {
        "points": [
            {"name": "val/accuracy", "step": 1, "value": 0.5, "time": "2026-11-27T04:05:06Z"},
            {"name": "val/accuracy", "step": 2, "value": "NaN", "time": 1795752307},
            {"name": "val/accuracy", "step": 3, "value": "-Infinity", "time": 1795752308.5},
        ]
    }
    assert send(client, number, body).status_code == 200
    read = client.get(f"{RUNS}{number}/metrics/").json()
    assert send(client, made.number, read).json() == {"received": 3}
    assert client.get(f"{RUNS}{made.number}/metrics/").json() == read


def test_a_batch_that_is_sent_again_changes_nothing(client: APIClient, number: int) -> None:
    times = {"train/loss": {"steps": [1, 2], "values": [3.0, 2.0], "times": [100.0, 101.0]}}
    for _ in range(3):
        assert send(client, number, {"series": times}).status_code == 200
    series = client.get(f"{RUNS}{number}/metrics/").json()["series"]
    assert series["train/loss"]["count"] == 2


@pytest.mark.parametrize(
    ("body", "at"),
    [
        ({}, "points"),
        ([], "points"),
        ({"points": 3}, "points"),
        ({"points": [], "more": 1}, "points"),
        ({"points": [3]}, "points.0"),
        ({"points": [{"name": "a"}]}, "points.0"),
        ({"points": [{"name": "a", "value": 1, "steps": 3}]}, "points.0"),
        ({"points": [{"name": "a", "value": 1, "step": 1, "time": 1, "x": 1}]}, "points.0"),
        ({"points": [{"name": "a", "value": "nan"}]}, "points.0.value"),
        ({"points": [{"name": "a", "value": True}]}, "points.0.value"),
        ({"points": [{"name": "a", "value": None}]}, "points.0.value"),
        ({"points": [{"name": "a", "value": 1, "step": -1}]}, "points.0.step"),
        ({"points": [{"name": "a", "value": 1, "step": 1.5}]}, "points.0.step"),
        ({"points": [{"name": "a", "value": 1, "step": 2**60}]}, "points.0.step"),
        ({"points": [{"name": "", "value": 1}]}, "points.0.name"),
        ({"points": [{"name": "<b>", "value": 1}]}, "points.0.name"),
        ({"points": [{"name": ["a"], "value": 1}]}, "points.0.name"),
        ({"points": [{"name": "a" * 251, "value": 1}]}, "points.0.name"),
        ({"points": [{"name": "a", "value": 1, "time": "soon"}]}, "points.0.time"),
        ({"points": [{"name": "a", "value": 1, "time": -1}]}, "points.0.time"),
        ({"points": [{"name": "a", "value": 1, "time": "0001-01-01"}]}, "points.0.time"),
        ({"points": [{"name": "a", "value": 1}] * 10_001}, "points"),
        ({"series": []}, "series"),
        ({"series": {"a": 3}}, "series.a"),
        ({"series": {"a": {"steps": [1]}}}, "series.a"),
        ({"series": {"a": {"steps": [1], "values": [1, 2]}}}, "series.a"),
        ({"series": {"a": {"steps": [1], "values": [1], "times": "x"}}}, "series.a.times"),
        ({"series": {"a": {"steps": ["1"], "values": [1]}}}, "series.a.steps.0"),
        ({"series": {"a": {"steps": [1], "values": [{}]}}}, "series.a.values.0"),
        ({"series": {"a": {"steps": [1] * 10_001, "values": [1] * 10_001}}}, "series.a"),
    ],
)
def test_what_is_no_point_is_refused_by_its_place(
    client: APIClient, number: int, body: Any, at: str
) -> None:
    answer = send(client, number, body)
    assert answer.status_code == 400, answer.json()
    assert list(answer.json()["fields"]) == [at]
    assert Run.objects.get(number=number).metrics == {}


def test_a_cancelled_run_tells_its_program_to_stop(client: APIClient, number: int) -> None:
    assert client.get(f"{RUNS}{number}/").json()["actions"] == ["cancel"]
    ended = client.post(f"{RUNS}{number}/cancel/").json()
    assert (ended["status"], ended["actions"]) == ("cancelled", ["resume"])
    refused = send(client, number, {"points": [{"name": "a", "value": 1}]})
    assert (refused.status_code, refused.json()["code"]) == (409, "cancelled")
    assert client.post(f"{RUNS}{number}/end/", {"status": "cancelled"}).status_code == 200
    assert client.post(f"{RUNS}{number}/resume/").json()["status"] == "training"
    assert send(client, number, {"points": [{"name": "a", "value": 1}]}).status_code == 200


def test_a_failed_one_says_why_and_may_go_on(client: APIClient, number: int) -> None:
    body = {"status": "failed", "error": "CUDA out of memory"}
    failed = client.post(f"{RUNS}{number}/end/", body, format="json").json()
    assert failed["error"] == {"code": "failed", "detail": "CUDA out of memory"}
    again = client.post(f"{RUNS}{number}/resume/").json()
    assert (again["status"], again["error"], again["finished_at"]) == ("training", None, None)


@pytest.mark.parametrize("action", ["pause", "retry", "clone"])
def test_what_a_worker_would_do_is_refused(client: APIClient, number: int, action: str) -> None:
    answer = client.post(f"{RUNS}{number}/{action}/", {}, format="json")
    assert (answer.status_code, answer.json()["code"]) == (409, "trained_elsewhere")


def test_what_is_trained_here_is_not_told_from_outside(client: APIClient, project: Project) -> None:
    run = make.run(project, status="training")
    for answer in (
        send(client, run.number, {"points": [{"name": "a", "value": 1}]}),
        client.post(f"{RUNS}{run.number}/logs/", {"lines": [{"text": "x"}]}, format="json"),
        client.post(f"{RUNS}{run.number}/end/", {}, format="json"),
        client.patch(f"{RUNS}{run.number}/", {"params": {"a": 1}}, format="json"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "trained_here")


def test_tracked_runs_are_searched_and_sorted_beside_ours(
    client: APIClient, project: Project, number: int
) -> None:
    make.run(project, status="finished")
    send(client, number, {"points": [{"name": "val/accuracy", "step": 1, "value": 0.9}]})

    def found(**query: str) -> list[int]:
        return [run["number"] for run in client.get(RUNS, query).json()["results"]]

    assert found() == [2, 1]
    assert found(filter="params.lr < 0.01 and metrics.val/accuracy > 0.8") == [1]
    assert found(order="-metrics.val/accuracy")[0] == 1
    assert found(q="small") == [1]


def test_a_tracked_run_takes_no_turn_of_the_queue(
    erin: User, project: Project, number: int
) -> None:
    queued = make.run(project)
    assert queue.places([queued])[queued.pk].position == 1
    assert [one.run.number for one in queue.whole(by=erin).stretch(0, 9) if one.run] == [2]
    reaper.at_start()
    reaper.after_restore(made_at="yesterday")
    assert runs.find(project=project, number=number).status == Run.Status.TRAINING


def test_the_model_of_a_tracked_run_is_no_student(client: APIClient, number: int) -> None:
    body = {"task": "text-classification", "dataset": "x", "student": f"run/{number}"}
    answer = client.post(f"{RUNS}preview/", body, format="json")
    assert "trained elsewhere" in answer.json()["fields"]["student"][0]


def test_lineage_of_a_tracked_run_is_the_run_alone(client: APIClient, number: int) -> None:
    graph = client.get(f"{RUNS}{number}/lineage/").json()
    assert [node["id"] for node in graph["nodes"]] == ["run/1"]


def test_parameters_are_bounded(client: APIClient, number: int) -> None:
    for params in (
        {f"p{place}": 1 for place in range(2001)},
        {"x" * 251: 1},
        {"x": "y" * 6001},
        {"x": list(range(6000))},
        ["x"],
    ):
        answer = client.patch(f"{RUNS}{number}/", {"params": params}, format="json")
        assert answer.status_code == 400
        assert "params" in answer.json()["fields"]


def test_a_thousand_points_cost_as_few_queries_as_one(client: APIClient, number: int) -> None:
    counts = []
    for size in (1, 1000):
        points = [{"name": "a", "step": 10 * size + place, "value": 1.5} for place in range(size)]
        with CaptureQueriesContext(connection) as asked:
            send(client, number, {"points": points})
        counts.append(len(asked))
    assert max(counts) <= 12


@pytest.mark.django_db(transaction=True)
def test_batches_at_the_same_moment_lose_nothing(erin: User) -> None:
    run = make.tracked(make.project("robots", owner=erin))

    def post(worker: int) -> int:
        client = APIClient()
        client.force_authenticate(erin)
        try:
            body = {"series": {"a": {"steps": list(range(worker, 400, 4)), "values": [1.0] * 100}}}
            return int(send(client, run.number, body).status_code)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(post, range(4))) == {200}
    client = APIClient()
    client.force_authenticate(erin)
    series = client.get(f"{RUNS}{run.number}/metrics/").json()["series"]
    assert series["a"]["steps"] == list(range(400))
