"""Where runs stand, how long they wait and why; through REST and on the pages. Nothing trains."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from rest_framework.test import APIClient

from distillhub.lib.errors import Conflict
from projects.models import Membership, Project, Role, User
from tests import make
from tests.conftest import api_of, signed_in
from tests.training.journals import measured, write
from training.models import Run, Worker
from training.services import queue
from training.worker import claims, journal, record

pytestmark = pytest.mark.django_db

RUNS = "/api/v1/projects/intents/runs/"


def machine(name: str = "gpu-1", **fields: Any) -> Worker:
    usual: dict[str, Any] = {"host": name, "pid": 1, "queues": ["default"], "capacity": 1}
    return Worker.objects.create(name=name, seen_at=timezone.now(), **usual | fields)


def training(project: Project, worker: Worker, **fields: Any) -> Run:
    lease = timezone.now() + timedelta(seconds=40)
    usual: dict[str, Any] = {"status": "training", "attempt": 1, "lease_until": lease}
    return make.run(project, worker=worker, **usual | fields)


def stands(run: Run) -> queue.Place:
    return queue.places([run])[run.pk]


# How long ----------------------------------------------------------------------------------------


def test_a_wait_is_the_sum_of_what_is_before_it(project: Project) -> None:
    training(project, machine(), eta_seconds=100)
    first = make.run(project, expected_seconds=60)
    second = make.run(project, expected_seconds=60)
    third = make.run(project, expected_seconds=60, fraction=0.5)
    waits = [stands(run).waiting_seconds for run in (first, second, third)]
    assert waits == [100, 160, 220]
    assert [stands(run).position for run in (first, second, third)] == [1, 2, 3]
    assert stands(first).said == "It is next, in about 1 m 40 s."
    assert stands(third).said == "2 before it, in about 3 m 40 s."


def test_workers_share_the_line(project: Project) -> None:
    training(project, machine("a"), eta_seconds=100)
    training(project, machine("b"), expected_seconds=80, fraction=0.5, eta_seconds=None)
    machine("c", capacity=2)
    machine("away", stopped_at=timezone.now())
    made = [make.run(project, expected_seconds=30) for _ in range(5)]
    assert [stands(run).waiting_seconds for run in made] == [0, 0, 30, 30, 40]
    assert stands(made[0]).said == "It is next; a worker has room for it."


def test_what_nobody_knows_is_not_told_as_a_number(project: Project) -> None:
    run = make.run(project)
    gpu = make.run(project, queue="gpu")
    assert (stands(gpu).position, stands(gpu).waiting_seconds) == (1, None)
    assert stands(gpu).said == "No worker serves the queue gpu; it waits until one does."
    training(project, machine(), eta_seconds=None)
    assert stands(run).waiting_seconds is None
    assert stands(run).said == "It is next; nobody knows how long the runs before it will take."
    cards = make.run(project, gpus=4)
    assert "asks for 4 GPUs, and the workers of the queue default have none" in stands(cards).said


def test_a_run_behind_one_without_an_estimate_is_not_told_a_time(project: Project) -> None:
    machine()
    first, second = make.run(project), make.run(project, expected_seconds=5)
    assert (stands(first).waiting_seconds, stands(second).waiting_seconds) == (0, None)


def test_a_run_that_rests_says_so(project: Project) -> None:
    machine()
    run = make.run(project, retry_at=timezone.now() + timedelta(seconds=30))
    assert "after its worker was lost" in stands(run).said
    waits = stands(run).waiting_seconds
    assert waits is not None
    assert 20 < waits <= 30


def test_only_what_waits_stands_somewhere(project: Project) -> None:
    others = [make.run(project, status=one) for one in Run.Status.values if one != "queued"]
    assert set(queue.places(others)) == {one.pk for one in others if one.status == "waiting"}


def test_a_run_behind_one_that_nobody_can_time_is_timed_by_no_other(project: Project) -> None:
    """Not even where a run that ends sooner would leave room for it."""
    worker = machine(capacity=2, machine={"memory_bytes": 10 * 10**9})
    training(project, worker, eta_seconds=50, memory_bytes=4 * 10**9)
    training(project, worker, eta_seconds=None, memory_bytes=4 * 10**9)
    make.run(project, expected_seconds=5, memory_bytes=8 * 10**9)
    small = make.run(project, expected_seconds=5, memory_bytes=10**9)
    assert stands(small).waiting_seconds is None


# Places ------------------------------------------------------------------------------------------


def order(*runs: Run) -> list[int]:
    found = queue.places(Run.objects.filter(pk__in=[run.pk for run in runs]))
    return sorted((run.number for run in runs), key=lambda one: found_at(found, runs, one))


def found_at(found: dict[int, queue.Place], runs: tuple[Run, ...], number: int) -> int:
    (run,) = (one for one in runs if one.number == number)
    return found[run.pk].position or 0


@pytest.mark.parametrize(
    ("number", "to", "then"),
    [
        (3, "front", [3, 1, 2, 4]),
        (3, "up", [1, 3, 2, 4]),
        (3, "down", [1, 2, 4, 3]),
        (1, "up", [1, 2, 3, 4]),
        (4, "down", [1, 2, 3, 4]),
    ],
)
def test_a_run_is_moved_among_its_launchers(
    project: Project, erin: User, number: int, to: str, then: list[int]
) -> None:
    now = timezone.now()
    made = [make.run(project, queued_at=now) for _ in range(4)]  # places alike count, too
    run = made[number - 1]
    queue.move(run=run, to=to, by=erin)
    assert order(*made) == then
    assert run.events.count() == (then != [1, 2, 3, 4])


def test_runs_that_one_may_not_change_keep_their_places(
    project: Project, alice: User, erin: User
) -> None:
    hidden = make.project(owner=alice)
    Membership.objects.create(project=hidden, user=erin, role=Role.VIEWER)
    first, second = make.run(project), make.run(hidden)
    third, other = make.run(project), make.run(project, created_by=erin)
    before = {run.pk: run.place or run.queued_at for run in (second, other)}
    queue.move(run=third, to="front", by=erin)
    for run in (second, other):
        run.refresh_from_db()
        assert (run.place or run.queued_at) == before[run.pk]
    line = Run.objects.filter(created_by=alice).order_by("queued_at")
    placed = sorted(line, key=lambda run: run.place or run.queued_at or run.created_at)
    assert placed == [third, second, first]


def test_only_a_queued_run_is_moved(project: Project, alice: User) -> None:
    run = make.run(project, status="paused")
    with pytest.raises(Conflict, match="run 1 is paused"):
        queue.move(run=run, to="up", by=alice)


# REST --------------------------------------------------------------------------------------------


@pytest.fixture
def client(erin: User, project: Project) -> APIClient:
    return api_of(erin)


def test_a_queued_run_tells_its_place_and_what_may_be_asked(
    client: APIClient, project: Project
) -> None:
    make.run(project)
    shown = client.get(f"{RUNS}1/").json()
    assert shown["queue"] == {
        "name": "default",
        "position": 1,
        "waiting_seconds": None,
        "said": "No worker serves the queue default; it waits until one does.",
    }
    assert (shown["priority"], shown["pausing"]) == ("normal", False)
    assert shown["actions"] == ["pause", "cancel", "move"]
    make.run(project, status="training")
    assert client.get(f"{RUNS}2/").json()["queue"] is None


def test_actions_are_posts(client: APIClient, project: Project) -> None:
    for _ in range(2):
        make.run(project)
    moved = client.post(f"{RUNS}2/move/", {"to": "front"}).json()
    assert moved["queue"]["position"] == 1
    assert client.post(f"{RUNS}2/move/", {"to": "away"}).json()["fields"]["to"]
    assert client.post(f"{RUNS}2/pause/").json()["status"] == "paused"
    assert client.post(f"{RUNS}2/resume/").json()["status"] == "queued"
    assert client.patch(f"{RUNS}2/", {"priority": "high"}).json()["priority"] == "high"
    assert client.patch(f"{RUNS}2/", {"priority": 1}).status_code == 400
    Run.objects.update(status="failed", error={"code": "killed", "detail": "It died."})
    answer = client.post(f"{RUNS}2/retry/", {"start": "beginning"})
    assert (answer.status_code, answer.json()["status"]) == (200, "queued")
    assert client.post(f"{RUNS}2/retry/").json()["code"] == "not_retryable"
    assert client.post(f"{RUNS}1/retry/").status_code == 200  # from its checkpoint


def test_the_timeline_is_read_in_order(client: APIClient, project: Project, alice: User) -> None:
    run = make.run(project)
    run.tell("queued", "Launched by alice.", by=alice)
    run.tell("started", "Taken by worker gpu-1.")
    told = client.get(f"{RUNS}1/events/").json()["results"]
    assert [(one["kind"], one["sentence"], one["by"]) for one in told] == [
        ("queued", "Launched by alice.", "alice"),
        ("started", "Taken by worker gpu-1.", None),
    ]
    first = client.get(f"{RUNS}1/events/", {"limit": 1}).json()
    assert first["results"][0]["kind"] == "queued"
    assert client.get(first["next"]).json()["results"][0]["kind"] == "started"


def test_a_list_looks_the_queue_up_once(
    client: APIClient, project: Project, django_assert_max_num_queries: Any
) -> None:
    machine()
    for _ in range(25):
        make.run(project)
    with django_assert_max_num_queries(16):
        found = client.get(RUNS).json()["results"]
    assert sorted(one["queue"]["position"] for one in found) == list(range(1, 26))


QUEUE = "/api/v1/queue/"


def test_the_whole_line_is_told_in_the_order_of_the_turns(
    client: APIClient, project: Project
) -> None:
    training(project, machine(), eta_seconds=100)
    make.run(project, expected_seconds=60)
    make.run(project, expected_seconds=60, priority=Run.Priority.HIGH, memory_bytes=5)
    late = make.run(project, name="late", status="waiting")
    late.waits_for.add(*Run.objects.filter(number__in=(1, 2)), make.run(project, status="finished"))
    make.run(project, status="paused")
    found = client.get(QUEUE).json()
    assert (found["next"], found["previous"]) == (None, None)
    told = [(one["position"], one["waiting_seconds"]) for one in found["results"]]
    assert told == [(1, 100), (2, 160), (None, None)]
    first, _, last = found["results"]
    assert first == {
        "queue": "default",
        "position": 1,
        "waiting_seconds": 100,
        "said": "It is next, in about 1 m 40 s.",
        "waits_for": [],
        "run": {
            "project": "intents", "number": 3, "name": "run 3", "status": "queued",
            "priority": "high", "gpus": 0, "memory_bytes": 5, "created_by": "alice",
        },
    }  # fmt: skip
    assert (last["run"]["name"], last["waits_for"]) == ("late", [1, 2])
    assert last["said"] == "It waits for the model of run 1 (training), run 2 (queued)."


def test_of_other_peoples_projects_the_line_tells_places_alone(
    project: Project, charlie: User
) -> None:
    make.run(project, name="secret")
    make.run(project, status="waiting")
    mine = make.run(make.project("mine", owner=charlie), name="my own")
    answer = api_of(charlie).get(QUEUE)
    first, second = answer.json()["results"]
    assert (first["position"], first["run"]) == (1, None)
    assert (second["position"], second["run"]["number"]) == (2, mine.number)
    assert "secret" not in answer.content.decode()
    assert APIClient().get(QUEUE).status_code == 401


def test_pages_of_the_line_hold_each_run_once(client: APIClient, project: Project) -> None:
    for _ in range(7):
        make.run(project)
    for _ in range(3):
        make.run(project, status="waiting")
    make.run(project, queue="gpu")
    address, seen, back = f"{QUEUE}?limit=4&queue=default", [], ""
    while address:
        page = client.get(address).json()
        seen += [one["run"]["number"] for one in page["results"]]
        address, back = page["next"], page["previous"]
    assert sorted(seen) == list(range(1, 11))
    assert [one["run"]["number"] for one in client.get(back).json()["results"]] == seen[4:8]
    assert client.get(QUEUE, {"queue": "gpu"}).json()["results"][0]["position"] == 1
    assert client.get(QUEUE, {"queue": "none"}).json()["results"] == []
    assert client.get(QUEUE, {"cursor": 10**8}).json()["results"] == []
    for wrong in ({"cursor": "x"}, {"limit": 0}, {"limit": 10**6}, {"order": "name"}):
        assert client.get(QUEUE, wrong).status_code == 400, wrong


def test_the_line_costs_the_same_however_long(
    client: APIClient, project: Project, django_assert_max_num_queries: Any
) -> None:
    for status in ("queued", "waiting"):
        for _ in range(12):
            make.run(project, status=status)
    with django_assert_max_num_queries(10):
        assert len(client.get(QUEUE).json()["results"]) == 24


def test_a_clone_says_what_it_is_one_of(client: APIClient, project: Project) -> None:
    make.dataset_version(project, "tickets")
    make.model_version(project, "tiny")
    body = {"task": "text-classification", "dataset": "tickets", "student": "tiny"}
    client.post(RUNS, body | {"priority": "low"})
    made = client.post(f"{RUNS}1/clone/", {"priority": "high", "training": {"seed": 3}}).json()
    assert (made["priority"], made["config"]["training"]["seed"]) == ("high", 3)
    told = client.get(f"{RUNS}{made['number']}/events/").json()["results"]
    assert told[0]["sentence"] == "Launched by erin as a clone of run 1."
    assert client.post(RUNS, body | {"priority": "now"}).json()["fields"] == {
        "priority": ["It must be one of low, normal, high."]
    }


# Pages -------------------------------------------------------------------------------------------


def board(client: Client, **asked: str) -> str:
    response = client.get(reverse("training:queue"), asked)
    assert response.status_code == 200
    return response.content.decode()


def test_the_queue_shows_what_trains_and_what_waits_with_its_reason(
    project: Project, erin: User
) -> None:
    training(project, machine(), name="the live one", eta_seconds=60, fraction=0.25)
    make.run(project, name="the next one", priority=Run.Priority.HIGH)
    make.run(project, name="the resting one", status="paused", step=40)
    late = make.run(project, name="the late one", status="waiting")
    late.waits_for.add(Run.objects.get(number=1))
    shown = board(signed_in(erin))
    for said in (
        "the live one", "25 %", "the next one", "It is next", ">high<", "the resting one",
        "Rests at step 40.", "It waits for the model of run 1 (training).",
    ):  # fmt: skip
        assert said in shown, said
    assert "the live one" not in board(signed_in(erin), queue="gpu")


def test_a_viewer_sees_the_queue_and_changes_nothing(
    project: Project, vera: User, charlie: User
) -> None:
    make.run(project, name="a secret name")
    shown = board(signed_in(vera))
    assert "a secret name" in shown
    assert "/move/" not in shown
    stranger = board(signed_in(charlie))
    assert "a secret name" not in stranger
    assert "A run of a project that you are no member of" in stranger


def test_an_action_leads_back_to_where_it_was_asked(project: Project, erin: User) -> None:
    run = make.run(project)
    client = signed_in(erin)
    address = reverse("training:run_pause", args=[project.slug, run.number])
    assert client.post(address, {"back": "queue"}).headers["Location"] == reverse("training:queue")
    away = client.post(address, {"back": "https://example.org"}).headers["Location"]
    assert away == reverse("training:run_detail", args=[project.slug, run.number])


@pytest.mark.parametrize(
    ("status", "offered", "not_offered"),
    [
        ("queued", ["run_pause", "run_cancel", "run_priority"], ["run_resume", "run_retry"]),
        ("training", ["run_pause", "run_cancel"], ["run_resume", "run_retry", "run_priority"]),
        ("paused", ["run_resume", "run_cancel"], ["run_pause", "run_retry"]),
        ("failed", ["run_retry"], ["run_pause", "run_cancel"]),
        ("cancelled", ["run_resume"], ["run_pause", "run_cancel", "run_retry"]),
        ("finished", [], ["run_pause", "run_resume", "run_retry", "run_cancel"]),
    ],
)
def test_a_runs_page_offers_what_may_be_asked(
    project: Project, erin: User, status: str, offered: list[str], not_offered: list[str]
) -> None:
    error = {"code": "killed", "detail": "It died."} if status == "failed" else None
    run = make.run(project, status=status, error=error)
    address = reverse("training:run_detail", args=[project.slug, run.number])
    shown = signed_in(erin).get(address).content.decode()
    for name in [*offered, *not_offered]:
        there = reverse(f"training:{name}", args=[project.slug, run.number]) in shown
        assert there == (name in offered), name


def test_the_queue_costs_the_same_however_long(
    project: Project, erin: User, django_assert_max_num_queries: Any
) -> None:
    machine()
    for status in ("queued", "paused", "training", "waiting"):
        for _ in range(8):
            make.run(project, status=status)
    client = signed_in(erin)
    with django_assert_max_num_queries(12):
        board(client)
    with django_assert_max_num_queries(15):
        client.get(reverse("training:run_detail", args=[project.slug, 1]))


# The timeline ------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_the_timeline_says_where_at_which_step_and_why(held: claims.Held, tmp_path: Any) -> None:
    name = held.run.worker.name if held.run.worker else ""
    Run.objects.update(step=123)
    lines: list[dict[str, Any]] = [
        {"type": "resumed", "step": 100},
        {"type": "stage", "name": "training"},
        measured(101, loss=0.5),
        {"type": "stage", "name": "evaluating"},
    ]
    for line in lines:
        write(tmp_path, line)
        before = Run.objects.get().journal_offset
        record.record(held, tmp_path, journal.read(tmp_path / "journal.jsonl", before))
    told = [event.sentence for event in held.run.events.all()]
    assert told == [
        f"Taken by worker {name}.",
        f"Continued from step 100 on {name}. Steps 101 to 123 are trained once more.",
        f"Training on {name}.",
        f"Trained to step 100; being evaluated on {name}.",
    ]
