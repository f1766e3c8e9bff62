"""The worst of an inference log: batches pour in, some of them twice, while workers are killed in
the middle of their looks. Every row is counted once, and so is every label."""

import csv
import io
import random
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.faults.stack import PROJECT, Stack, started
from tests.site.processes import until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("monitor-killed")]

BATCHES, ROWS = 16, 250
KILLS = 2
MONITOR = f"{PROJECT}/monitors/live/"


def people() -> bytes:
    chance = random.Random(1)
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["age", "place", "label"])
    for _ in range(600):
        age = chance.gauss(40, 10)
        writer.writerow([f"{age:.2f}", chance.choice("abc"), "yes" if age > 40 else "no"])
    return out.getvalue().encode()


def batch(number: int, began: datetime) -> list[dict[str, Any]]:
    chance = random.Random(number)
    made = []
    for at in range(ROWS):
        age = chance.gauss(40, 10)
        when = began + timedelta(minutes=chance.randrange(180))
        made.append(
            {
                "id": f"{number}-{at}",
                "time": when.isoformat(),
                "input": {"age": age, "place": chance.choice("abc")},
                "prediction": "yes" if age > 40 else "no",
            }
        )
    return made


def test_rows_and_labels_are_counted_once_however_often_workers_die(tmp_path: Path) -> None:
    began = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=5)
    with started(Stack(tmp_path)) as stack:
        stack.add_dataset("people", "tabular-classification", "people.csv", people())
        asked = {
            "name": "live",
            "model": {
                "external": "scorer", "task": "tabular-classification", "labels": ["no", "yes"],
            },
            "reference": "people@1:test",
            "window": {"hours": 1},
        }  # fmt: skip
        stack.post(f"{PROJECT}/monitors/", asked)
        until(lambda: stack.get(MONITOR)["found"] is not None)

        def send(kind: str, records: list[dict[str, Any]]) -> None:
            status, answer = stack.ask(f"{MONITOR}{kind}/", body={kind: records})
            assert status == 202, answer

        chance = random.Random(7)
        for number in range(BATCHES):
            rows = batch(number, began)
            send("inferences", rows)
            labels = [{"id": one["id"], "label": one["prediction"]} for one in rows[::5]]
            send("labels", labels)
            if number % 6 == 5:
                send("inferences", rows[:50])  # again
            if number % (BATCHES // KILLS) == 4:
                time.sleep(chance.random() * 2)
                (worker,) = stack.workers
                worker.kill()
                stack.replace(worker)

        def counted() -> bool:
            return (told()["rows"], told()["waiting"]) == (BATCHES * ROWS, 0)

        def told() -> dict[str, int]:
            ((rows_,),) = stack.rows("select rows from training_monitor")
            ((waiting,),) = stack.rows("select count(*) from training_inferencebatch")
            return {"rows": rows_, "waiting": waiting}

        until(counted, seconds=120)
        windows = stack.get(f"{MONITOR}reports/")["results"]
        (month,) = stack.get(f"{MONITOR}reports/merged/?every=all")["results"]
        kept = stack.rows("select sum(rows) from training_inferencepart where kind = 'rows'")
        lost = stack.rows("select sum(times_lost), count(*) from training_monitorlook")
    assert sum(one["rows"] for one in windows) == BATCHES * ROWS
    assert kept == [(BATCHES * ROWS,)]
    assert (month["rows"], month["facts"]["rows_with_label"]) == (BATCHES * ROWS, BATCHES * 50)
    assert month["facts"]["accuracy"]["value"] == 1.0
    assert month["scores"]["input.age"][0]["corrected"] > 1e-4
    print(f"{lost[0][1]} looks, {lost[0][0]} of which lost their worker")
