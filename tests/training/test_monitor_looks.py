"""A worker looks at what a monitor was sent: by the real child, and whatever happens to it."""

import os
import random
import signal
import threading
import time
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from django.db import connection, transaction
from django.utils import timezone

from distillhub.lib import storage
from distillhub.lib.leases import Held
from projects.models import DatasetVersion, Project
from tests import make
from tests.conftest import api_of
from training.engine.watching import reference_rows
from training.engine.watching.baseline import NAME, Baseline
from training.engine.watching.windows import Sums
from training.models import InferenceBatch, Monitor, MonitorLook, MonitorWindow
from training.services import inferences, monitor_health, monitors, windows
from training.worker import dispatch, folders, following, monitor_patience
from training.worker import monitors as looking

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("worker")]

LABELS = ["no", "yes"]
COLUMNS = [
    {"name": "age", "type": "number", "role": "feature"},
    {"name": "place", "type": "category", "role": "feature"},
    {"name": "p_no", "type": "number", "role": "soft", "class": "no"},
    {"name": "p_yes", "type": "number", "role": "soft", "class": "yes"},
]
BEGAN = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=12)


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Looks that workers were told of. No broker carries it."""
    found: list[int] = []

    def note(job: str, **ids: Any) -> bool:
        found.extend(ids.values() if job == "training.watch" else ())
        return True

    monkeypatch.setattr(dispatch, "call", note)
    return found


def row(chance: random.Random, shift: float = 0.0) -> dict[str, Any]:
    age = chance.gauss(40 + 10 * shift, 10)
    yes = min(0.98, max(0.02, chance.random()))
    return {"age": age, "place": chance.choice("abc"), "p_no": 1 - yes, "p_yes": yes}


@pytest.fixture
def rows(project: Project) -> DatasetVersion:
    chance = random.Random(1)
    made = []
    for number in range(1500):
        one = row(chance)
        right = chance.random() < one["p_yes"]
        made.append({"row_id": number, "split": "test", "label": LABELS[right], **one})
    path = storage.working_folder("making") / "rows.parquet"
    parquet.write_table(pa.Table.from_pylist(made), path)
    blob = storage.put(path)
    return make.dataset_version(
        project,
        "people",
        task="tabular-classification",
        labels=tuple(LABELS),
        splits={"test": {"rows": 1500, "labelled": 1500, "label_counts": {}}},
        columns=COLUMNS,
        rows=1500,
        file_sha256=blob.sha256,
        file_bytes=blob.bytes,
        fingerprint=blob.sha256,
    )


@pytest.fixture
def monitor(project: Project, rows: DatasetVersion) -> Monitor:
    """Its reference is fitted: here, without what a worker's child measures besides."""
    watched = made(project)
    watched.looks.all().delete()
    config = {
        "dataset": {"columns": rows.features, "soft": rows.soft_labels},
        "split": "test",
        "monitor": {"input": "columns", "labels": LABELS},
    }
    folder = storage.working_folder("making")
    fitted = Baseline.fit(
        reference_rows.of_dataset(folder / "rows.parquet", config),
        task=watched.task,
        labels=LABELS,
        reads="columns",
        slices=watched.slices,
        columns=rows.features,
    )
    fitted.save(folder / NAME)
    blob = storage.put(folder / NAME)
    watched.reference = {"rows": fitted.sums.rows}
    watched.reference_files = [{"name": NAME, "sha256": blob.sha256, "bytes": blob.bytes}]
    watched.fitted_at = timezone.now()
    watched.save()
    return watched


def made(project: Project) -> Monitor:
    """Of a model that is served elsewhere, with windows of an hour."""
    return monitors.create(
        project=project,
        asked={
            "name": "live",
            "model": {"external": "scorer", "task": "tabular-classification", "labels": LABELS},
            "reference": "people@1:test",
            "window": {"hours": 1},
            "slices": [{"name": "old", "query": {"where": ["age:from:50"]}}],
        },
        by=project.created_by,
    )


def look(monitor: Monitor, *, fits: bool = False) -> Monitor:
    """Let a worker do the look that waits."""
    one = monitor.looks.get(fits=fits, status="queued")
    looking.WORK.carry_out(one.pk)
    one.refresh_from_db()
    assert (one.status, one.error) == ("ready", None)
    monitor.refresh_from_db()
    return monitor


def sent(many: int, hour: int, *, seed: int = 0, shift: float = 0.0, **more: Any) -> list[Any]:
    chance = random.Random(f"{hour} {seed}")
    found = []
    for number in range(many):
        one = row(chance, shift)
        at = BEGAN + timedelta(hours=hour, seconds=number)
        found.append(
            {
                "id": f"{hour}-{seed}-{number}",
                "time": at.isoformat(),
                "input": {"age": one["age"], "place": one["place"]},
                "prediction": LABELS[one["p_yes"] > 0.5],
                "probabilities": [one["p_no"], one["p_yes"]],
                "latency_ms": chance.lognormvariate(3, 0.5),
            }
            | more
        )
    return found


def send(monitor: Monitor, records: list[Any]) -> None:
    inferences.receive(monitor=monitor, records_sent=records, by=monitor.created_by)


def test_rows_become_windows_with_scores(monitor: Monitor, told: list[int]) -> None:
    send(monitor, sent(300, 0) + sent(300, 1))
    send(monitor, sent(300, 2, shift=2.0))
    assert len(told) == 2  # of its reference, and of the first batch
    look(monitor)
    assert (monitor.rows, monitor.inbox.count()) == (900, 0)
    assert monitor.last_row_at == BEGAN + timedelta(hours=2, seconds=299)
    found = list(monitor.windows.all())
    assert [one.rows for one in found[:3]] == [300, 300, 300]
    assert {one.rows for one in found[3:]} == {0}  # over, though nothing came
    assert found[0].starts_at == BEGAN
    first, moved = found[1].scores["input.age"][0], found[2].scores["input.age"][0]
    assert first["corrected"] > 0.01
    assert moved["corrected"] < 1e-6
    assert moved["effect"] > 0.25
    assert set(found[0].scores) >= {
        "input.age", "input.place", "prediction", "confidence", "estimated_accuracy",
        "quality.missing", "volume", "latency",
    }  # fmt: skip
    assert found[0].facts["latency"]["p95"] > found[0].facts["latency"]["p50"] > 10
    assert 0.6 < found[0].facts["estimated_accuracy"]["value"] < 0.9
    assert found[0].slices["old"]["rows"] < 100 < found[2].slices["old"]["rows"]
    assert monitor.windows.exclude(judged_at=None).count() >= 3
    rest_tells_of_them(monitor)


def rest_tells_of_them(monitor: Monitor) -> None:
    api = api_of(monitor.created_by)
    address = f"/api/v1/projects/{monitor.project.slug}/monitors/{monitor.name}/reports/"
    page = api.get(f"{address}?limit=5&signal=input.age").json()
    assert set(page["results"][0]["scores"]) == {"input.age"}
    numbers = [one["number"] for one in page["results"]]
    assert numbers == sorted(numbers, reverse=True)
    first = monitor.windows.order_by("number").first()
    assert first is not None
    one = api.get(f"{address}{first.number}/", {"signal": "input.age"}).json()
    assert one["facts"]["volume"] == 300
    assert sum(one["spread"]["now"]) == pytest.approx(1, abs=1e-3)
    assert one["slices"]["old"]["rows"] == first.slices["old"]["rows"]
    assert api.get(f"{address}999/").status_code == 404
    assert api.get(address, {"since": "soon"}).status_code == 400
    assert api.get(f"{address}merged/", {"every": "year"}).status_code == 400

    until = (BEGAN + timedelta(hours=2)).isoformat()
    (two,) = api.get(f"{address}merged/", {"every": "all", "until": until}).json()["results"]
    assert (two["windows"], two["rows"], two["left"]) == (2, 600, 0)
    assert two["scores"]["input.age"][0]["rows"] == 600
    assert "volume" not in two["scores"]
    weeks = windows.merged(monitor, "week")
    assert sum(week.rows for week in weeks) == 900
    points = windows.series(monitor, "input.age")
    assert [one["rows"] for one in points[:3]] == [300, 300, 300]
    assert points[2]["value"] > points[1]["value"]


def test_labels_come_late_and_rows_in_any_order(monitor: Monitor) -> None:
    records = sent(200, 0) + sent(200, 1)
    labels = [{"id": one["id"], "label": one["prediction"]} for one in records[:150]]
    send(monitor, records[200:] + records[50:100])
    look(monitor)
    send(monitor, records[:50] + records[100:200] + records[50:60])
    inferences.receive_labels(monitor=monitor, labels=labels, by=monitor.created_by)
    looking.look_again()
    begun(monitor)
    look(monitor)
    assert monitor.rows == 400
    window = monitor.windows.order_by("number").first()
    assert window is not None
    assert window.facts["accuracy"]["value"] == 1.0
    assert window.facts["accuracy"]["rows"] == 150
    assert Sums.from_bytes(bytes(window.sums)).labelled == 150
    assert window.late_rows == 150  # it was judged by then


def test_what_came_before_the_reference_is_counted_by_it(project: Project, rows: Any) -> None:
    monitor = made(project)
    monitor.looks.all().delete()
    send(monitor, sent(200, 0) + sent(200, 1, shift=2.0))
    look(monitor)
    window = monitor.windows.get(number=int(BEGAN.timestamp() // 3600))
    assert window.facts["uncounted"].startswith("These rows came before")
    assert "input.age" not in window.scores
    assert not monitor.windows.exclude(judged_at=None).exists()
    inferences.receive_labels(
        monitor=monitor, labels=[{"id": "0-0-1", "label": "yes"}], by=monitor.created_by
    )
    following.ask(monitor, monitor.created_by)
    monitor.looks.filter(fits=False, status="queued").delete()
    look(monitor, fits=True)
    assert monitor.reference["rows"] == 1500
    first, second = monitor.windows.filter(rows__gt=0)
    assert "uncounted" not in first.facts
    assert first.facts["accuracy"]["rows"] == 1
    assert (
        second.scores["input.age"][0]["corrected"]
        < 1e-6
        < first.scores["input.age"][0]["corrected"]
    )
    assert first.is_judged
    assert monitor.rows == 400


def test_a_batch_that_cannot_be_read_fails_alone(monitor: Monitor) -> None:
    send(monitor, sent(60, 0))
    InferenceBatch.objects.create(
        monitor=monitor, kind="inferences", rows=3, body=zlib.compress(b'{"id": tor')
    )
    send(monitor, sent(60, 1))
    look(monitor)
    assert monitor.rows == 120
    assert monitor.inbox.count() == 0
    broken = InferenceBatch.every.get(monitor=monitor)
    assert broken.error.startswith("It cannot be read")


def begun(monitor: Monitor) -> MonitorLook:
    """A look that waits, whenever the last one was."""
    looking._begin(monitor)
    return monitor.looks.get(fits=False, status="queued")


def killed_at(monitor: Monitor, moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker takes the look and dies: when its child is done, before or after what was found is
    committed. Another finds its lease run out."""
    look_ = begun(monitor)

    class Dies(BaseException):
        pass

    def die(*args: Any, **more: Any) -> Any:
        raise Dies

    with monkeypatch.context() as patch:
        place = {"before": (looking, "_keep_windows"), "after": (Held, "settle")}[moment]
        patch.setattr(*place, die)
        with pytest.raises(Dies):
            looking.WORK.carry_out(look_.pk)
    past = timezone.now() - timedelta(seconds=1)
    assert MonitorLook.objects.filter(pk=look_.pk, status="working").update(lease_until=past)
    looking.WORK.carry_out(look_.pk)
    look_.refresh_from_db()
    assert (look_.status, look_.times_lost, look_.attempt) == ("ready", 1, 2)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_worker_that_dies_loses_nothing_and_doubles_nothing(
    monitor: Monitor, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = sent(80, 0, label="yes")
    send(monitor, records)
    killed_at(monitor, moment, monkeypatch)
    monitor.refresh_from_db()
    assert (monitor.rows, monitor.inbox.count()) == (80, 0)
    window = monitor.windows.get(rows__gt=0)
    sums = Sums.from_bytes(bytes(window.sums))
    assert (sums.rows, sums.labelled) == (80, 80)
    assert monitor.parts.filter(kind="rows").count() == 1
    # What streams know went on once: the newest look says what the next begins with.
    newest = monitor.looks.filter(fits=False).order_by("-pk").first()
    assert newest is not None
    report: Any = newest.report
    (state,) = report["streams"]["error_stream"]
    assert state["state"]["width"] == 80


@pytest.mark.skipif(connection.vendor == "sqlite", reason="one writes at a time")
def test_a_monitor_is_deleted_while_a_look_is_written_down(monitor: Monitor) -> None:
    half, faults = threading.Event(), []
    pid = make_look(monitor)

    def write() -> None:
        try:
            with transaction.atomic():
                MonitorLook.objects.filter(pk=pid).update(rows=1)
                monitor.windows.create(number=7, starts_at=BEGAN, ends_at=BEGAN)
                half.set()
                time.sleep(0.5)
                monitor.parts.create(kind="rows", day=BEGAN.date(), rows=1, size_bytes=1)
        except BaseException as fault:
            faults.append(fault)
        finally:
            connection.close()

    thread = threading.Thread(target=write)
    thread.start()
    assert half.wait(10)
    monitors.remove(monitor=monitor)
    thread.join(10)
    assert faults == []
    assert not MonitorWindow.objects.exists()


def make_look(monitor: Monitor) -> int:
    return MonitorLook.objects.create(monitor=monitor, created_by=monitor.created_by).pk


def test_a_child_that_is_killed_leaves_everything_to_the_next_look(
    monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(monitor, sent(80, 0))

    def kill(row: MonitorLook, folder: Path) -> None:
        os.kill(folders.read_json(folder / "child.json")["pid"], signal.SIGKILL)

    waiting = begun(monitor)
    with monkeypatch.context() as patch:
        patch.setattr(looking.WORK, "meanwhile", kill)
        looking.WORK.carry_out(waiting.pk)
    waiting.refresh_from_db()
    error: Any = waiting.error
    assert (waiting.status, error["code"]) == ("failed", "crashed")
    monitor.refresh_from_db()
    assert (monitor.rows, monitor.inbox.count()) == (0, 1)
    assert monitor_health.health(monitor).state == "stuck"
    begun(monitor)
    look(monitor)
    assert (monitor.rows, monitor.inbox.count()) == (80, 0)


def test_a_batch_that_ends_its_child_is_set_aside_and_the_others_taken_in(
    monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor_patience, "MOST_BATCHES", 1)
    send(monitor, sent(60, 0))
    poison = zlib.compress(b'{"id": "x", "time": "no time"}')
    InferenceBatch.objects.create(monitor=monitor, kind="inferences", rows=1, body=poison)
    send(monitor, sent(60, 1))
    said = []
    while monitor.inbox.exists():
        looking.WORK.carry_out(begun(monitor).pk)
        health = monitor_health.health(monitor)
        said.append((health.state, "set aside" in health.sentence))
    assert said == [("silent", False), ("stuck", False), ("stuck", True), ("stuck", True)]
    monitor.refresh_from_db()
    assert monitor.rows == 120
    assert InferenceBatch.every.get(monitor=monitor).error.startswith("It cannot be taken in.")


def test_looks_that_fail_wait_longer_each_time(monitor: Monitor) -> None:
    now = timezone.now()
    assert monitor_patience.rests_until(monitor) <= now
    waits = []
    for at in range(8):
        MonitorLook.objects.create(
            monitor=monitor,
            status="failed",
            error={"code": "away", "detail": "Storage is away."},
            finished_at=now,
            created_by=monitor.created_by,
        )
        waits.append((monitor_patience.rests_until(monitor) - now).total_seconds())
        assert monitor_patience.most_batches(at) == max(1, 512 // 8**at)
    assert waits == [15, 30, 60, 120, 240, 480, 900, 900]
    send(monitor, sent(60, 0))
    looking.look_again()
    assert not monitor.looks.filter(fits=False, status="queued").exists()
    assert monitor_health.health(monitor).sentence.endswith("Storage is away.")


def test_looks_rest_as_long_as_they_take_and_longer_while_others_work(monitor: Monitor) -> None:
    now = timezone.now()
    look = MonitorLook.objects.create(
        monitor=monitor, status="ready", finished_at=now, created_by=monitor.created_by
    )
    MonitorLook.objects.filter(pk=look.pk).update(queued_at=now - timedelta(seconds=6))

    def rest() -> float:
        return (monitor_patience.rests_until(monitor) - now).total_seconds()

    assert rest() == pytest.approx(6)
    at_work = make.run(monitor.project, status="training")
    assert rest() == pytest.approx(12)
    at_work.delete()
    assert rest() == pytest.approx(6)
    MonitorLook.objects.create(
        monitor=make.monitor(make.model_version(monitor.project, "other"), name="other"),
        status="working",
        created_by=monitor.created_by,
    )
    assert rest() == pytest.approx(12)
