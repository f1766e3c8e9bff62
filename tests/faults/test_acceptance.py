"""Fifty mixed runs on two machines that are struck all the time: every one ends right, once, with
the weights of one that nobody disturbed. `make faults`; it prints how long it took."""

import contextlib
import itertools
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator

import boto3
import numpy as np
import pytest

from tests.faults.checker import Outcome, check_finished, outcome
from tests.faults.stack import JSON, OVER, PROJECT, Stack, Watched, Worker, after, started
from tests.site import servers, trained
from tests.site.processes import until

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.xdist_group("faults-long")]

RUNS = int(os.environ.get("FAULTS_RUNS", "50"))
MOST_LOST = 2  # strikes a run meets; at its sixth loss, or the third at one step, it would give up
SOFT: list[JSON] = [
    {"kind": "soft_targets", "weight": 0.9, "temperature": 4.0},
    {"kind": "hard_labels", "weight": 0.1},
]
HARD: list[JSON] = [{"kind": "hard_labels", "weight": 1.0}]
BUCKET = "faults"


def of_table(rows: int = 240) -> bytes:
    """Two columns that know the label, and one that does not."""
    chance = np.random.default_rng(0)
    lines = ["size,age,place,label"]
    for row in range(rows):
        kind = row % 3
        place = ("north", "south", "east")[kind if row % 5 else 0]
        lines.append(
            f"{kind + chance.normal(0, 0.4):.4f},{chance.normal(40, 9):.2f},{place},"
            f"{('low', 'middle', 'high')[kind]}"
        )
    return "\n".join(lines).encode()


def furnish(stack: Stack) -> list[JSON]:
    """Datasets, students and teachers; the configurations to launch, two seeds of each."""
    stack.add_dataset("prices", "tabular-classification", "prices.csv", of_table())
    stack.add_dataset("stripes", "image-classification", "stripes.zip", trained.archive())
    text, table, image = (
        "text-classification",
        "tabular-classification",
        "image-classification",
    )
    stack.add_model("text-teacher", text, "text_cnn", {}, role="teacher")
    stack.add_model("table-teacher", table, "tabular_mlp", {}, role="teacher")
    stack.add_model("image-teacher", image, "small_convnet", {}, role="teacher")
    stack.add_model("rows", table, "tabular_mlp", {"hidden": [8]})
    stack.add_model("tiny", image, "mlp", {"hidden": [8], "image_size": 8})
    dataset = {text: "orders@1", table: "prices@1", image: "stripes@1"}
    student = {text: "bag@1", table: "rows@1", image: "tiny@1"}
    teacher = {}
    for task, name in ((text, "text-teacher"), (table, "table-teacher"), (image, "image-teacher")):
        run = stack.launch(
            name=name, task=task, dataset=dataset[task], student=f"{name}@1",
            training={"epochs": 3}, resources={"queue": "both"},
        )  # fmt: skip
        assert run.until_over(seconds=300) == "finished", str(run)
        teacher[task] = run.read()["output"]

    def offline(task: str, epochs: int) -> JSON:
        return {
            "task": task,
            "dataset": dataset[task],
            "student": student[task],
            "teachers": [teacher[task]],
            "losses": SOFT,
            # Not `auto`: what is quicker at the moment is not the same to the last digit.
            "teacher_outputs": "stored",
            "training": {"epochs": epochs},
        }

    stages = [
        {"name": "like the teacher", "epochs": 5, "losses": SOFT},
        {"name": "like the labels", "epochs": 5, "losses": HARD},
    ]
    staged = offline(text, 10) | {"scheme": "staged", "stages": stages}
    del staged["losses"]
    mutual = {
        "scheme": {"kind": "mutual", "students": 2},
        "losses": [{"kind": "hard_labels"}, {"kind": "soft_targets", "temperature": 1.0}],
        "training": {"epochs": 8},
    }
    kinds = [offline(text, 10), offline(table, 10), offline(image, 10), staged, mutual]
    return [
        one | {"name": f"kind {number}, seed {seed}", "training": one["training"] | {"seed": seed}}
        for number, one in enumerate(kinds)
        for seed in (1, 2)
    ]


@pytest.fixture
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """PostgreSQL, Redis and S3, and two workers that share nothing else: each has a home and a
    queue of its own, and both take from a third queue."""
    folder = tmp_path_factory.mktemp("machines")
    with (
        servers.postgres_server() as database,
        servers.redis_server(folder / "redis") as broker,
        servers.s3(folder / "s3") as address,
    ):
        settings = {
            "S3_BUCKET": BUCKET,
            "S3_ENDPOINT_URL": address,
            "S3_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "SECRET_KEY": "the same on every machine, and long enough for anybody " * 2,
            "DISTILLHUB_SHARE_CHECKPOINTS_SECONDS": "1",
        }
        boto3.client(
            "s3",
            endpoint_url=address,
            region_name="us-east-1",
            aws_access_key_id="key",
            aws_secret_access_key="secret",
        ).create_bucket(Bucket=BUCKET)
        stack = Stack(folder, database=database, broker=broker, settings=settings)
        left = {"home": folder / "left", "queues": "default,left,both"}
        right = {"home": folder / "right", "queues": "right,both"}
        with started(stack, [left, right]):
            yield stack


class Fate:
    """Strikes whatever is in training, and brings back what it struck."""

    def __init__(self, stack: Stack, chance: random.Random) -> None:
        self.stack, self.chance = stack, chance
        self.struck = Counter[str]()
        self.back: list[tuple[float, Worker, str]] = []  # when, who, and whether it was frozen

    def strike(self) -> None:
        """One of them, with what it holds; none that has lost too much already."""
        away = {id(worker) for _, worker, _ in self.back}
        here = [worker for worker in self.stack.workers if id(worker) not in away]
        if not here:
            return
        worker = self.chance.choice(here)
        held = self.stack.rows(
            "SELECT training_run.id, times_lost, number FROM training_run JOIN training_worker "
            "ON training_worker.id = worker_id WHERE pid = ? AND lease_until IS NOT NULL",
            worker.pid,
        )
        if not held or any(lost >= MOST_LOST for _, lost, _ in held):
            return
        how = self.chance.choice(["child", "worker", "leave", "freeze", "broker", "database"])
        if how in ("broker", "database") and self.struck[how] >= 3:
            how = "child"
        self.struck[how] += 1
        moment = time.monotonic() + self.chance.uniform(0, 6)
        match how:
            case "child":
                with contextlib.suppress(AssertionError, ProcessLookupError):
                    Watched(self.stack, held[0][2]).kill_child()
            case "worker":
                worker.kill()
                self.back.append((moment, worker, "dead"))
            case "leave":
                worker.send(signal.SIGTERM)
                self.back.append((moment, worker, "leaving"))
            case "freeze":
                worker.send(signal.SIGSTOP)
                self.back.append((moment + self.chance.uniform(0, 14), worker, "frozen"))
            case "broker" | "database":
                server = self.stack.broker if how == "broker" else self.stack.database
                assert server is not None
                server.kill()
                after(self.chance.uniform(0, 4))
                server.start()

    def mend(self, *, at_once: bool = False) -> None:
        for entry in list(self.back):
            moment, worker, how = entry
            if not at_once and time.monotonic() < moment:
                continue
            self.back.remove(entry)
            if how == "frozen":
                worker.send(signal.SIGCONT)
            else:
                worker.process.wait(timeout=60)
                self.stack.replace(worker)


def test_fifty_mixed_runs_end_right_though_machines_are_struck_all_the_time(
    machines: Stack, chance: random.Random
) -> None:
    began = time.monotonic()
    configurations = furnish(machines)
    undisturbed: list[Outcome] = []
    first = [machines.launch(**one, resources={"queue": "both"}) for one in configurations]
    for run in first:
        assert run.until_over(seconds=600) == "finished", str(run)
        undisturbed.append(outcome(run))
    print(f"\n{len(first)} undisturbed runs after {time.monotonic() - began:.0f} s")

    began = time.monotonic()
    queues = itertools.cycle(["left", "right", "both"])
    runs: list[tuple[Watched, Outcome]] = []
    for number in range(RUNS):
        which = number % len(configurations)
        one = machines.launch(**configurations[which], resources={"queue": next(queues)})
        runs.append((one, undisturbed[which]))
    fate = Fate(machines, chance)

    def ended() -> int:
        query = "SELECT count(*) FROM training_run WHERE number > ? AND status IN (?, ?, ?)"
        [(count,)] = machines.rows(query, first[-1].number, *sorted(OVER))
        return int(count)

    while ended() < RUNS:
        after(chance.uniform(1, 5))
        fate.mend()
        fate.strike()
        assert time.monotonic() - began < 90 * RUNS, [str(run) for run, _ in runs]
    fate.mend(at_once=True)
    took = time.monotonic() - began
    until(machines.answers)
    attempts = Counter[int]()
    moved = 0
    for run, expected in runs:
        run.until_over(seconds=600)
        check_finished(run, expected)
        attempts[run.column("attempt")] += 1
        moved += len({line.split("worker ")[-1] for line in run.timeline if "Taken by" in line}) > 1
    versions = machines.get(f"{PROJECT}/models/bag/versions/")
    print(
        f"{RUNS} struck runs took {took:.0f} s; strikes {dict(fate.struck)}; runs by attempts "
        f"{dict(sorted(attempts.items()))}; {moved} went on in another process; "
        f"{len(versions['results'])} versions of one student"
    )
