"""A worker looks at what a monitor was sent: by the real child, and whatever happens to it."""

import random
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from django.utils import timezone

from distillhub.lib import storage
from projects.models import DatasetVersion, Project
from tests import make
from training.engine.watching.windows import Sums
from training.models import InferenceBatch, Monitor, MonitorLook
from training.services import inferences, monitors
from training.worker import dispatch, monitor_patience
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
    """Of a model that is served elsewhere, with windows of an hour; its reference is fitted."""
    made = monitors.create(
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
    return look(made, fits=True)


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
    assert monitor.reference["rows"] == 1500
    send(monitor, sent(300, 0) + sent(300, 1))
    send(monitor, sent(300, 2, shift=2.0))
    assert len(told) == 2  # of its reference, and of the first batch
    look(monitor)
    assert (monitor.rows, monitor.inbox.count()) == (900, 0)
    assert monitor.last_row_at == BEGAN + timedelta(hours=2, seconds=299)
    windows = list(monitor.windows.all())
    assert [one.rows for one in windows[:3]] == [300, 300, 300]
    assert {one.rows for one in windows[3:]} == {0}  # over, though nothing came
    assert windows[0].starts_at == BEGAN
    first, moved = windows[1].scores["input.age"][0], windows[2].scores["input.age"][0]
    assert first["corrected"] > 0.01
    assert moved["corrected"] < 1e-6
    assert moved["effect"] > 0.25
    assert set(windows[0].scores) >= {
        "input.age", "input.place", "prediction", "confidence", "estimated_accuracy",
        "quality.missing", "volume", "latency",
    }  # fmt: skip
    assert windows[0].facts["latency"]["p95"] > windows[0].facts["latency"]["p50"] > 10
    assert 0.6 < windows[0].facts["estimated_accuracy"]["value"] < 0.9
    assert windows[0].slices["old"]["rows"] < 100 < windows[2].slices["old"]["rows"]
    assert monitor.windows.exclude(judged_at=None).count() >= 3


def test_labels_come_late_and_rows_in_any_order(monitor: Monitor) -> None:
    records = sent(200, 0) + sent(200, 1)
    labels = [{"id": one["id"], "label": one["prediction"]} for one in records[:150]]
    send(monitor, records[200:] + records[50:100])
    look(monitor)
    send(monitor, records[:50] + records[100:200] + records[50:60])
    inferences.receive_labels(monitor=monitor, labels=labels, by=monitor.created_by)
    looking.look_again()
    if not monitor.looks.filter(status="queued").exists():  # it rests
        looking._begin(monitor)
    look(monitor)
    assert monitor.rows == 400
    window = monitor.windows.order_by("number").first()
    assert window is not None
    assert window.facts["accuracy"]["value"] == 1.0
    assert window.facts["accuracy"]["rows"] == 150
    assert Sums.from_bytes(bytes(window.sums)).labelled == 150
    assert window.late_rows == 150  # it was judged by then


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
