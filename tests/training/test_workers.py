"""Workers: their GPUs and who gets them, how busy they were, draining and resuming."""

import fcntl
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from django.utils import timezone

from distillhub.lib import leases
from distillhub.lib.errors import Forbidden, Missing
from projects import jobs
from projects.ingest import ingestion
from projects.models import DatasetVersion, Project, User
from projects.services import datasets
from tests import make
from tests.conftest import api_of, signed_in
from training.models import Run, Worker, WorkerLoad
from training.services import workers
from training.worker import claims, gpus, history, line, machine, registration, seats
from training.worker.gpus import Card
from training.worker.history import DAY, HOUR, History

pytestmark = pytest.mark.django_db(transaction=True)

FOUR = [Card(index, f"GPU-{index}", "card", 100, 0) for index in range(4)]


# -- what a machine has ----------------------------------------------------------------------------


def test_cards_are_what_nvidia_smi_tells_where_nvml_is_not_there(cards: Path) -> None:
    first, second = gpus.read()
    assert (first.index, first.id, first.name) == (0, "GPU-aaaa-0000", "NVIDIA L4")
    assert (first.memory_bytes, first.memory_used_bytes) == (23034 << 20, 1 << 30)
    assert (first.percent, first.celsius, first.watts) == (30, 41, 35.5)
    facts = machine.facts()["gpus"]
    assert [one["driver"] for one in facts] == ["570.10", "570.10"]
    assert machine.load()["gpus"][1]["watts"] == second.watts == 12.25


def test_what_a_card_does_not_tell_is_unknown_and_odd_lines_are_passed_over() -> None:
    told = (
        "0, GPU-a, A100 MIG, 40960, [N/A], [Not Supported], 50, [N/A], 570\nNVIDIA-SMI has failed\n"
    )
    (card,) = gpus.cards_of_smi(told)
    assert (card.memory_used_bytes, card.percent, card.celsius, card.watts) == (
        None,
        None,
        50,
        None,
    )


@pytest.mark.parametrize(
    ("allowed", "seen"),
    [
        (None, [0, 1, 2, 3]),
        ("", []),
        ("-1", []),
        ("2,0", [2, 0]),
        ("GPU-3,1", [3, 1]),
        ("1,9,2", [1]),  # as CUDA: what follows a word that is no card does not count
        ("1,1", [1]),
        ("GPU-", []),  # the beginning of several
    ],
)
def test_only_the_cards_that_a_worker_was_given_are_its_own(
    allowed: str | None, seen: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [card.index for card in gpus.visible(FOUR, allowed)] == seen


def test_a_worker_needs_neither_the_library_nor_a_gpu() -> None:
    script = (
        "import sys; sys.modules['pynvml'] = None; sys.modules['torch'] = None;"
        "from training.worker import gpus; print(gpus.read())"
    )
    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env={"PATH": ""}, check=True
    )
    assert said.stdout.strip() == "[]"


# -- who gets which --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "shared", "taken", "chosen"),
    [
        (1, {}, set(), [0]),
        (1, {}, {"GPU-0"}, [1]),
        (2, {"GPU-1": 1}, {"GPU-0"}, [2, 3]),
        (3, {"GPU-1": 1}, {"GPU-0"}, None),
        (4, {}, set(), [0, 1, 2, 3]),
        (5, {}, set(), None),
        (0, {}, {"GPU-0"}, [1]),
        (0, {"GPU-1": 2, "GPU-2": 1}, {"GPU-0", "GPU-3"}, [2]),
        (0, {}, {card.id for card in FOUR}, []),  # trains on the CPU
    ],
)
def test_cards_for_a_run(
    wanted: int, shared: dict[str, int], taken: set[str], chosen: list[int] | None
) -> None:
    found = seats.choose(FOUR, wanted, shared, taken)
    assert (found if found is None else [card.index for card in found]) == chosen


def test_of_free_cards_those_with_the_most_free_memory_are_taken() -> None:
    cards = [Card(0, "a", "x", 100, 90), Card(1, "b", "x", 100, 10), Card(2, "c", "x", 100, 50)]
    found = seats.choose(cards, 2, {}, set())
    assert found is not None
    assert [card.index for card in found] == [1, 2]


def test_runs_of_one_machine_get_different_cards(cards: Path, project: Project) -> None:
    alone = [make.run(project, gpus=1) for _ in range(3)]
    with seats.seat(alone[0]) as first, seats.seat(alone[1]) as second:
        assert first is not None
        assert second is not None
        told = [seats.surroundings(one)["CUDA_VISIBLE_DEVICES"] for one in (first, second)]
        assert sorted(told) == ["GPU-aaaa-0000", "GPU-bbbb-1111"]
        assert seats.of(alone[0].pk) == first
        with seats.seat(alone[2]) as third:
            assert third is None
        with seats.seat(make.run(project)) as none:
            assert none == []
            assert seats.surroundings(none)["CUDA_VISIBLE_DEVICES"] == ""
    with seats.seat(alone[2]) as third:
        assert third is not None


def test_runs_that_ask_for_no_card_share_one_that_nobody_has_alone(
    cards: Path, project: Project
) -> None:
    with (
        seats.seat(make.run(project, gpus=1)) as alone,
        seats.seat(make.run(project)) as one,
        seats.seat(make.run(project)) as other,
    ):
        assert alone is not None
        assert one == other
        assert one != alone
        with seats.seat(make.run(project, gpus=1)) as late:  # the shared one is not to be had
            assert late is None


@pytest.fixture
def neighbour(cards: Path) -> Iterator[None]:
    """Another worker of this home holds the first card."""
    with (machine.home() / "gpu-GPU-aaaa-0000.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def test_two_workers_of_one_machine_do_not_give_away_the_same_card(
    neighbour: None, project: Project, worker: Worker
) -> None:
    assert seats.gone(memory=0, used=0) == (1, 0)
    registration.start(capacity=2)
    worker.refresh_from_db()
    both = make.run(project, gpus=2)
    assert line.next_for(worker) is None  # it fits, but not beside the neighbour's
    one = make.run(project, gpus=1)
    assert line.next_for(worker) == one.pk
    with seats.seat(one) as taken, seats.seat(both) as nothing:
        assert taken is not None
        assert [card.index for card in taken] == [1]
        assert nothing is None


# -- how busy it was -------------------------------------------------------------------------------


def beats(found: History, begin: int, seconds: int, percent: float = 50.0) -> None:
    for at in range(begin, begin + seconds, 10):
        found.note({"cpu_percent": percent, "memory_percent": 20.0, "gpus": []}, at)
        found.save()


def test_a_day_of_heartbeats_is_a_dozen_rows(worker: Worker) -> None:
    begin = 1_800_000_000
    found = History(worker.pk)
    for hour in range(26):
        # Not every heartbeat of a day, which would take long: a stretch each hour.
        beats(found, begin + hour * 3600, 660)
        history.forget_old(begin + hour * 3600 + 660)
    rows = WorkerLoad.objects.filter(worker=worker)
    assert rows.filter(every=HOUR.every).count() <= 3
    assert rows.filter(every=DAY.every).count() <= 8
    longest = max(len(row.samples["times"]) for row in rows)
    assert longest <= 4 * 60
    first = rows.filter(every=HOUR.every).order_by("-begins")[0].samples
    assert first["times"] == sorted(set(first["times"]))


def test_a_sample_is_one_statement_however_many_cards(
    worker: Worker, django_assert_num_queries: Any
) -> None:
    found = History(worker.pk)
    load = {"cpu_percent": 5.0, "memory_percent": 9.0, "gpus": [{"index": n} for n in range(8)]}
    found.note(load, 1_800_000_000)
    with django_assert_num_queries(3):  # with its transaction
        found.save()
    with django_assert_num_queries(0):
        found.save()


def test_the_hour_and_the_day_are_read_from_a_moment_on(worker: Worker, alice: User) -> None:
    now = int(timezone.now().timestamp())
    found = History(worker.pk)
    beats(found, now - 1200, 1200)
    found.note(
        {"cpu_percent": 80.0, "memory_percent": 1.0, "gpus": [{"index": 1, "percent": 7}]}, now
    )
    found.save()
    read = workers.load(workers=[worker])[worker.pk]
    assert (
        len(read["times"]) == len(read["series"]["cpu"]) == len(read["series"]["gpu1/load"]) == 121
    )
    assert read["series"]["gpu1/load"][-2:] == [None, 7]
    since = workers.load(workers=[worker], since=float(now - 10))[worker.pk]
    assert (since["times"], since["series"]["cpu"]) == ([now], [80.0])
    day = workers.load(workers=[worker], window="day")[worker.pk]
    assert 20 <= len(day["times"]) <= 22
    told = api_of(alice).get(
        reverse("api_worker_load", args=[worker.pk]),
        {"since": datetime.fromtimestamp(now - 10, UTC).isoformat()},
    )
    assert told.json()["series"]["cpu"] == [80.0]
    assert told.json()["every"] == 10
    bad = api_of(alice).get(reverse("api_worker_load", args=[worker.pk]), {"window": "year"})
    assert bad.status_code == 400


def test_the_heartbeat_notes_how_busy_the_machine_is(worker: Worker) -> None:
    registration.beat(worker.pk)
    registration.beat(worker.pk)
    told = workers.load(workers=[worker])[worker.pk]
    assert told["series"]["memory"][0] > 0
    assert abs(told["times"][-1] - timezone.now().timestamp()) < 60


# -- draining --------------------------------------------------------------------------------------


def test_a_drained_worker_takes_nothing_until_it_is_resumed(
    project: Project, worker: Worker, alice: User
) -> None:
    run = make.run(project)
    workers.drain(worker_id=worker.pk, by=alice)
    assert line.next_for(worker) is None
    assert claims.claim(run.pk, worker) is None  # not even one that was chosen before
    (shown,) = workers.listed(by=alice)
    assert workers.state(shown) == "drained"
    assert workers.queues(listed=[shown])[0]["workers"] == []
    workers.resume(worker_id=worker.pk, by=alice)
    assert claims.claim_next(worker) is not None
    said = [event.sentence for event in workers.events(worker=worker)]
    assert said[1] == f"Drained by {alice.display_name}: takes nothing new, its runs end there."
    assert said[0].startswith("Resumed by")


def test_a_drained_worker_leaves_uploads_to_others(
    worker: Worker, project: Project, alice: User
) -> None:
    workers.drain(worker_id=worker.pk, by=alice)
    content = b"text,label\n" + b"".join(b"word %d,%d\n" % (row, row % 2) for row in range(40))
    version = datasets.upload(
        project=project, name="words", task="", file=SimpleUploadedFile("w.csv", content), by=alice
    )
    jobs.ingest_dataset_version(version_id=version.pk)
    assert version in DatasetVersion.objects.unclaimed()
    workers.resume(worker_id=worker.pk, by=alice)
    jobs.ingest_dataset_version(version_id=version.pk)
    version.refresh_from_db()
    assert version.status == "ready"


def test_the_heartbeat_keeps_a_version_that_is_being_made(
    worker: Worker, project: Project, alice: User
) -> None:
    version = make.dataset_version(project, status="ingesting")
    turn = ingestion.claim(version.pk)
    assert turn is not None
    past = timezone.now() - timedelta(seconds=1)
    DatasetVersion.objects.filter(pk=version.pk).update(lease_until=past)
    with leases.kept(turn.held):
        registration.beat(worker.pk)
    assert not DatasetVersion.objects.lost().exists()


def test_draining_twice_is_told_once_and_now_may_follow_after(
    held: claims.Held, worker: Worker, alice: User
) -> None:
    for now in (False, False, True, True):
        workers.drain(worker_id=worker.pk, now=now, by=alice)
    worker.refresh_from_db()
    assert worker.is_leaving
    assert [event.kind for event in workers.events(worker=worker)] == ["drained", "drained"]
    (shown,) = workers.listed(by=alice)
    assert workers.state(shown) == "draining"
    assert held.run.events.filter(kind="drained", by=alice).count() == 1


def test_only_who_answers_for_everybody_drains(
    project: Project, worker: Worker, alice: User, erin: User, charlie: User
) -> None:
    with pytest.raises(Forbidden):
        workers.drain(worker_id=worker.pk, by=erin)
    with pytest.raises(Missing):
        workers.drain(worker_id=worker.pk, by=charlie)
    make.project("elsewhere", owner=charlie)
    for person in (alice, charlie):  # neither owns all
        with pytest.raises(Forbidden):
            workers.drain(worker_id=worker.pk, by=person)
    charlie.is_superuser = True
    charlie.save()
    assert workers.drain(worker_id=worker.pk, by=charlie).drained_at is not None


def test_a_worker_that_is_started_anew_stays_drained(worker: Worker, alice: User) -> None:
    gone = make.worker(
        f"{machine.host()}:4194000", queues=worker.queues, machine=worker.machine,
        drained_at=timezone.now(), drain="after",
    )  # fmt: skip
    registration.stop()
    Worker.objects.filter(pk=worker.pk).delete()
    fresh = registration.start(capacity=1)
    assert fresh.drained_at is not None
    assert gone.name in workers.events(worker=fresh)[0].sentence
    gone.refresh_from_db()
    assert gone.drained_at is None


def test_rest_drains_and_resumes(worker: Worker, project: Project, alice: User) -> None:
    client = api_of(alice)
    told = client.post(reverse("api_worker_drain", args=[worker.pk]), {"now": True}, format="json")
    assert (told.status_code, told.json()["drain"], told.json()["state"]) == (200, "now", "drained")
    assert told.json()["events"][0]["by"] == "alice"
    listed = client.get(reverse("api_workers")).json()["results"][0]
    assert (listed["id"], listed["state"], listed["drain"]) == (worker.pk, "drained", "now")
    told = client.post(reverse("api_worker_resume", args=[worker.pk]))
    assert (told.json()["state"], told.json()["drained_at"]) == ("online", None)


# -- the page --------------------------------------------------------------------------------------


def test_the_page_shows_what_runs_where_and_hides_what_is_others(
    cards: Path, held: claims.Held, worker: Worker, alice: User, charlie: User
) -> None:
    registration.start(capacity=2)
    held.write(cards=[1])
    mine = signed_in(alice).get(reverse("training:worker_list")).content.decode()
    assert held.run.name in mine
    assert f"#{held.run.number}, GPU 1" in mine
    assert "NVIDIA L4" in mine
    assert "data-busy" in mine
    theirs = signed_in(charlie).get(reverse("training:worker_list")).content.decode()
    assert held.run.name not in theirs
    assert "1 run of others" in theirs
    assert "Drain" not in theirs


def test_one_answer_has_all_that_changed_and_says_whether_to_ask_again(
    held: claims.Held, worker: Worker, alice: User, django_assert_max_num_queries: Any
) -> None:
    registration.beat(worker.pk)
    client = signed_in(alice)
    address = reverse("training:worker_live")
    with django_assert_max_num_queries(12):
        told = client.get(address).json()
    assert told["busy"] is True
    assert list(told["workers"]) == [str(worker.pk)]
    assert len(told["series"][f"worker/{worker.pk}/cpu"]["steps"]) >= 1
    again = client.get(address, {"since": told["since"]}).json()
    assert all(not one["steps"] for one in again["series"].values())
    assert client.get(address, {"since": "x" * 50}).status_code == 200
    Run.objects.update(status="finished", lease_until=None)
    assert client.get(address).json()["busy"] is False


def test_a_worker_that_went_silent_is_lost(worker: Worker, alice: User) -> None:
    Worker.objects.filter(pk=worker.pk).update(seen_at=timezone.now() - timedelta(minutes=2))
    (shown,) = workers.listed(by=alice)
    assert workers.state(shown) == "lost"
    assert 'data-status="lost"' in signed_in(alice).get("/workers/").content.decode()
