"""Faults that take longer than a gate may: `make faults`."""

import contextlib
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import celery
import psutil
import pytest
import redis

from tests.faults.checker import check_ended, check_finished
from tests.faults.conftest import Struck, ready, strike_at
from tests.faults.proxy import Proxy
from tests.faults.stack import EVERY, LEASE, PROJECT, Stack, after, send, started
from tests.site.processes import until

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.xdist_group("faults-long")]

TEN_MINUTES = pytest.mark.skipif(
    "FAULTS_TEN_MINUTES" not in os.environ,
    reason="ten minutes of waiting each: make faults FAULTS_TEN_MINUTES=1",
)

# -- deaths ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0, 20, 60])
def test_a_killed_worker_is_missed_for_so_long(
    embedded: Struck, chance: random.Random, seconds: int
) -> None:
    run = embedded.stack.launch()
    strike_at(run, embedded, chance)
    worker = run.worker
    worker.kill()
    after(seconds)
    assert embedded.stack.engines() == []
    embedded.stack.replace(worker)
    check_finished(run, embedded.undisturbed, "went silent", r"Continued from step|Begun again")


@pytest.mark.parametrize("who", ["child", "worker"])
@pytest.mark.parametrize(
    "moment",
    ["claimed", "saved", "last step", "evaluating", "saving", "finished"],
)
def test_killed_between_two_things_that_belong_together(
    embedded: Struck, chance: random.Random, who: str, moment: str
) -> None:
    """Between claim and first step, checkpoint and row, last step and `finished`."""
    run = embedded.stack.launch()
    last = embedded.steps
    told: dict[str, Callable[[dict[str, object]], bool]] = {
        "saved": lambda line: line["type"] == "saved" and line["step"] > last // 3,  # type: ignore[operator]
        "last step": lambda line: line["type"] == "measured" and line["step"] == last,
        "evaluating": lambda line: line["type"] == "stage" and line["name"] == "evaluating",
        "saving": lambda line: line["type"] == "stage" and line["name"] == "saving",
        "finished": lambda line: line["type"] == "finished",
    }
    if moment == "claimed":
        run.child()
    else:
        run.until_told(told[moment])
    worker = embedded.stack.workers[0]
    if who == "worker":
        worker.kill()
        embedded.stack.replace(worker)
    else:
        with contextlib.suppress(AssertionError, ProcessLookupError):  # it was over first
            run.kill_child()
    check_finished(run, embedded.undisturbed)


def test_the_whole_box_is_killed_and_started(
    tmp_path_factory: pytest.TempPathFactory, chance: random.Random
) -> None:
    with started(Stack(tmp_path_factory.mktemp("box"))) as stack:
        struck = ready(stack)
        runs = [stack.launch() for _ in range(3)]
        strike_at(runs[0], struck, chance)
        stack.lose()
        stack.open([{}])
        for run in runs:
            check_finished(run, struck.undisturbed)


def test_a_worker_that_was_frozen_for_less_than_its_lease_goes_on(
    embedded: Struck, chance: random.Random
) -> None:
    run = embedded.stack.launch()
    strike_at(run, embedded, chance)
    worker = run.worker
    worker.send(signal.SIGSTOP)
    after(chance.uniform(0.5, LEASE / 3))
    worker.send(signal.SIGCONT)
    check_finished(run, embedded.undisturbed)
    assert run.column("attempt") == 1


def test_a_training_that_hangs_is_ended_by_cancelling_it(
    embedded: Struck, chance: random.Random
) -> None:
    run = embedded.stack.launch()
    strike_at(run, embedded, chance)
    os.kill(run.child(), signal.SIGSTOP)
    status, answer = run.cancel()
    assert status == 200, answer
    check_ended(run, "cancelled", "asked it to stop", r"Stopped at step \d+")


def test_a_training_that_hangs_is_noticed_ended_and_goes_on(
    embedded: Struck, chance: random.Random
) -> None:
    """People wait for half an hour before one is taken for hanging, and a test has not."""
    stack = embedded.stack
    usual = stack.workers[0]
    stack.retire(usual)
    impatient = stack.add_worker(settings={"DISTILLHUB_STALL_SECONDS": "8"}).ready()
    try:
        run = stack.launch()
        strike_at(run, embedded, chance)
        os.kill(run.child(), signal.SIGSTOP)
        check_finished(
            run,
            embedded.undisturbed,
            r"The training hung at step \d+ and was ended",
            r"Continued from step|Begun again",
        )
        assert run.column("attempt") == 2
    finally:
        stack.retire(impatient)
        stack.add_worker(**usual.options).ready()


# -- the queue ---------------------------------------------------------------------------------


def test_garbage_in_the_queue_stops_nobody(served: Struck, chance: random.Random) -> None:
    stack = served.stack
    assert stack.broker is not None
    with (
        celery.Celery(broker=stack.broker.address, set_as_current=False) as app,
        app.connection() as link,
    ):
        app.send_task("no.such.job", kwargs={"x": 1}, queue="default")
        app.send_task("training.execute_run", kwargs={"run_id": "one"}, queue="default")
        app.send_task("training.execute_run", args=[1, 2, 3], queue="default")
        app.send_task("training.execute_run", kwargs={"run_id": 10**12}, queue="default")
        producer = link.Producer()
        for content_type, body in [
            ("application/json", "not JSON at all {"),
            ("application/json", '{"a": 1}'),
            ("application/x-python-serialize", b"cos\nsystem\n(S'true'\ntR."),
            ("application/octet-stream", os.urandom(99)),
        ]:
            producer.publish(
                body,
                routing_key="default",
                exchange="default",
                content_type=content_type,
                content_encoding="utf-8" if isinstance(body, str) else "binary",
                headers={"task": "training.execute_run", "id": str(chance.random())},
            )
    with redis.Redis.from_url(stack.broker.address) as store:
        for raw in (os.urandom(99), b"{", b"5", b"[]", b'{"properties": {}}'):
            store.lpush("default", raw)
    run = stack.launch()
    check_finished(run, served.undisturbed)
    for worker in stack.workers:
        assert worker.process.poll() is None, worker.said[-3000:]


def test_a_broker_that_comes_back_empty_with_twenty_runs_in_line(
    served: Struck, chance: random.Random
) -> None:
    stack = served.stack
    assert stack.broker is not None
    runs = [stack.launch() for _ in range(22)]
    until(lambda: len(stack.engines()) == 2)
    after(chance.uniform(0, 3))
    stack.broker.kill()
    after(chance.uniform(5, 20))
    stack.broker.start()
    for run in runs:
        run.until_over(seconds=600)
        check_finished(run, served.undisturbed)
        assert run.column("attempt") == 1


def test_two_schedulers_do_no_harm(served: Struck, chance: random.Random) -> None:
    stack = served.stack
    second = stack.run("beat")
    second.until_said("beat: Starting")
    runs = [stack.launch() for _ in range(3)]
    strike_at(runs[0], served, chance)
    runs[0].kill_child()
    for run in runs:
        check_finished(run, served.undisturbed)
    second.stop()
    stack.others.remove(second)


# -- the network and the database --------------------------------------------------------------


@pytest.mark.parametrize("seconds", [5, 60, pytest.param(600, marks=TEN_MINUTES)])
@pytest.mark.parametrize("how", ["cut", "swallow"])
@pytest.mark.parametrize("what", ["database", "broker"])
def test_the_network_of_a_worker_is_away(
    served: Struck, chance: random.Random, what: str, how: str, seconds: int
) -> None:
    """Longer than the lease, its run is taken from it; whoever trains it, it is told once."""
    stack = served.stack
    assert stack.database is not None
    assert stack.broker is not None
    server = stack.database if what == "database" else stack.broker
    name = "DATABASE_URL" if what == "database" else "REDIS_URL"
    with Proxy(server.port) as wire:
        behind = {name: server.address.replace(str(server.port), str(wire.port))}
        worker = stack.add_worker(settings=behind, queues="default,far").ready()
        try:
            mine = stack.launch(resources={"queue": "far"})
            runs = [mine, stack.launch()]
            strike_at(mine, served, chance)
            getattr(wire, how)()
            after(seconds)
            wire.mend()
            for run in runs:
                check_finished(run, served.undisturbed)
        finally:
            stack.retire(worker)


def test_a_slow_network_is_only_slow(served: Struck, chance: random.Random) -> None:
    stack = served.stack
    assert stack.database is not None
    with Proxy(stack.database.port) as wire:
        wire.delay = 0.05
        url = stack.database.address.replace(str(stack.database.port), str(wire.port))
        worker = stack.add_worker(settings={"DATABASE_URL": url}).ready()
        runs = [stack.launch() for _ in range(4)]
        for run in runs:
            check_finished(run, served.undisturbed)
        stack.retire(worker)


@pytest.mark.parametrize("seconds", [8, 60])
def test_a_database_file_that_somebody_locks(
    embedded: Struck, chance: random.Random, seconds: int
) -> None:
    """Beyond SQLite's patience of 20 s a change is answered with 503; training goes on."""
    stack = embedded.stack
    run = stack.launch()
    strike_at(run, embedded, chance)
    link = sqlite3.connect(stack.home / "distillhub.sqlite3", isolation_level=None, timeout=30)
    with contextlib.closing(link):
        link.execute("BEGIN IMMEDIATE")
        if seconds > 20:
            body = {"name": "Meanwhile"}
            status, headers, content = send(stack, "/api/v1/projects/", body)
            assert (status, "Retry-After" in headers) == (503, True), content
            seconds -= 20
        assert send(stack, f"{PROJECT}/")[0] == 200  # readers wait for nobody
        after(seconds)
        link.execute("ROLLBACK")
    check_finished(run, embedded.undisturbed)


# -- clocks ------------------------------------------------------------------------------------


@pytest.fixture
def wrong_clock() -> Iterator[str]:
    """A library that a process loads first, after which its clock is off."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler is here to make a clock that is wrong")
    source = Path(__file__).with_name("clock.c")
    with tempfile.TemporaryDirectory(prefix="distillhub-clock-") as folder:
        made = Path(folder) / "clock.so"
        subprocess.run([compiler, "-shared", "-fPIC", "-o", made, source, "-ldl"], check=True)
        Path(folder).chmod(0o755)  # PostgreSQL runs as somebody else
        yield str(made)


@pytest.mark.parametrize("hours", [-2, 2])
def test_a_worker_whose_clock_is_two_hours_off(
    served: Struck, chance: random.Random, wrong_clock: str, hours: int
) -> None:
    """It finds what a dead worker left, and goes on with it."""
    stack = served.stack
    off = {"LD_PRELOAD": wrong_clock, "CLOCK_OFF": str(hours * 3600)}
    others = list(stack.workers)
    odd = stack.add_worker(settings=off).ready()
    odd.send(signal.SIGSTOP)  # until another has the run
    run = stack.launch()
    strike_at(run, served, chance)
    for worker in others:
        worker.kill()
    odd.send(signal.SIGCONT)
    try:
        check_finished(run, served.undisturbed, "went silent", "attempt 2")
        again = stack.launch()
        strike_at(again, served, chance)
        again.kill_child()
        check_finished(again, served.undisturbed, "was killed")
    finally:
        stack.retire(odd)


@pytest.mark.parametrize("hours", [-2, 2])
def test_a_database_whose_clock_is_two_hours_off(
    served: Struck, chance: random.Random, wrong_clock: str, hours: int
) -> None:
    """Its clock is the only one that counts; a worker that starts disturbs none that lives."""
    stack = served.stack
    assert stack.database is not None
    for worker in stack.workers:
        worker.stop()
    stack.database.kill()
    stack.database.surroundings = {"LD_PRELOAD": wrong_clock, "CLOCK_OFF": str(hours * 3600)}
    stack.database.start()
    try:
        until(stack.answers)
        stack.replace(stack.workers[0])
        run = stack.launch()
        strike_at(run, served, chance)
        stack.replace(stack.workers[0])
        check_finished(run, served.undisturbed)
        assert run.column("attempt") == 1
        run = stack.launch()
        strike_at(run, served, chance)
        run.worker.kill()
        check_finished(run, served.undisturbed, "went silent", "attempt 2")
    finally:
        for worker in stack.workers:
            worker.stop()
        stack.database.kill()
        stack.database.surroundings = {}
        stack.database.start()
        until(stack.answers)


# -- disk and memory ---------------------------------------------------------------------------


@pytest.fixture
def small_disk(embedded: Struck) -> Iterator[Path]:
    """The folder of job folders, on a disk of its own. Where nobody may mount, it is left out."""
    jobs = embedded.stack.home / "jobs"
    options = ["-t", "tmpfs", "-o", "size=16m", "none", str(jobs)]
    if subprocess.run(["mount", *options], capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here; the short gate limits the size of files instead")
    try:
        yield jobs
    finally:
        subprocess.run(["umount", "--lazy", str(jobs)], check=True)


@pytest.mark.parametrize("left", [0, 1000, 100_000])
def test_a_disk_that_is_full_to_the_last_byte(
    embedded: Struck, small_disk: Path, chance: random.Random, left: int
) -> None:
    """While it trains, spools and writes a checkpoint: each of them may be the one that fails."""
    run = embedded.stack.launch()
    run.until_checkpoint(EVERY * chance.randrange(1, embedded.steps * 6 // 10 // EVERY))
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        file.write(b"\0" * max(0, shutil.disk_usage(small_disk).free - left))
        while left == 0:
            file.write(b"\0")
    check_ended(run, "failed", "The disk is full")
    assert run.read()["error"]["code"] == "disk_full"
    filler.unlink()
    run.stack.post(f"{run.path}/resume/")
    check_finished(run, embedded.undisturbed, "disk is full", "Resumed by")


def test_a_training_that_wants_more_memory_than_there_is(
    embedded: Struck, chance: random.Random
) -> None:
    """Its weights are so many that the first checkpoint and the first copy of the best need more
    than it has freed by then."""
    stack = embedded.stack
    rows = [f"{row % 3},{row % 7},{('low', 'middle', 'high')[row % 3]}" for row in range(240)]
    content = "\n".join(["size,age,label", *rows]).encode()
    task = "tabular-classification"
    stack.add_dataset("prices", task, "prices.csv", content)
    stack.add_model("wide", task, "tabular_mlp", {"hidden": [4096, 4096]})
    run = stack.launch(task=task, dataset="prices@1", student="wide@1")
    run.until_step(chance.randrange(1, EVERY // 2))
    child = psutil.Process(run.child())
    child.rlimit(resource.RLIMIT_AS, (1 << 20, 1 << 20))
    check_ended(run, "failed", r"out of memory|ran out of memory|crashed|batch")
    assert run.read()["error"]["code"] == "out_of_memory"
    assert run.column("attempt") == 1


@pytest.mark.parametrize("how", ["truncated", "missing", "swapped", "emptied", "no manifest"])
def test_a_damaged_newest_checkpoint_is_passed_over_by_name(
    embedded: Struck, chance: random.Random, how: str
) -> None:
    run = embedded.stack.launch()
    run.until_checkpoint(EVERY * chance.randrange(3, embedded.steps * 6 // 10 // EVERY))
    run.kill_child()
    home = run.folder() / "checkpoints"
    older, newest = sorted(one for one in home.iterdir() if one.name.isdigit())[-2:]
    files = sorted(one for one in newest.iterdir() if one.name != "manifest.json")
    file = chance.choice(files)
    match how:
        case "truncated":
            os.truncate(file, file.stat().st_size // 2)
        case "missing":
            file.unlink()
        case "swapped":
            shutil.copy(older / "model.safetensors", newest / "model.safetensors")
        case "emptied":
            file.write_bytes(b"")
        case "no manifest":
            (newest / "manifest.json").unlink()
    check_finished(
        run, embedded.undisturbed, "was killed", f"Continued from step {int(older.name)}"
    )
    assert f"The checkpoint of step {int(newest.name)} is not used:" in run.console


def test_a_dataset_that_changed_between_two_attempts_is_named(
    embedded: Struck, chance: random.Random
) -> None:
    stack = embedded.stack
    run = stack.launch()
    strike_at(run, embedded, chance)
    run.kill_child()
    [(sha256,)] = stack.rows(
        "SELECT file_sha256 FROM projects_datasetversion JOIN training_run "
        "ON projects_datasetversion.id = dataset_version_id WHERE training_run.id = ?",
        run.pk,
    )
    kept = next((stack.home / "files").rglob(sha256))
    content = kept.read_bytes()
    kept.chmod(0o644)
    changed = bytearray(content)
    changed[chance.randrange(len(changed))] ^= 1
    kept.write_bytes(changed)
    placed = run.folder() / "inputs/dataset.parquet"
    if placed.exists() and not placed.samefile(kept):
        placed.unlink()
        shutil.copy(kept, placed)
    try:
        check_ended(run, "failed", "was killed", "An input of this run is damaged")
        assert run.read()["error"]["code"] == "dataset_changed"
    finally:
        kept.write_bytes(content)
    stack.post(f"{run.path}/resume/")
    check_finished(run, embedded.undisturbed, "is damaged", "Resumed by")


def test_cancelled_at_twenty_moments(served: Struck, chance: random.Random) -> None:
    ends = Counter[str]()
    for _ in range(20):
        run = served.stack.launch()
        after(chance.uniform(0, 8))
        status, answer = run.cancel()
        assert status in (200, 409), answer
        if status == 409:
            check_finished(run, served.undisturbed)
        else:
            check_ended(run, "cancelled", r"Cancelled by|asked it to stop")
        ends[run.status] += 1
    print(dict(ends))
