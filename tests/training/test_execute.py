"""Whole runs through the real job code: a child process trains, its journal becomes rows.

Each training starts a process that imports torch, so the stories are few, and each tells much.
"""

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from django.conf import LazySettings
from django.db import connection

from distillhub.lib import leases, storage
from projects.models import DatasetVersion, ModelVersion, Project, User
from projects.services import slices
from tests import make
from tests.training.conftest import SMALL, launch
from training import jobs
from training.models import MetricSeries, Run, TeacherOutputs, Worker
from training.services import artifacts, logs, metrics, runs, workers
from training.worker import folders, registration
from training.worker import runs as working

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("worker")]

#: Long enough to be met in the middle.
LONG = {
    "epochs": 200, "batch_size": 2, "gradient_accumulation": 16, "checkpoint_every_steps": 25
}  # fmt: skip


def execute(run: Run) -> threading.Thread:
    """Carry out a run in another thread, as the worker does."""

    def carry_out() -> None:
        try:
            working.execute(run.pk)
        finally:
            connection.close()

    thread = threading.Thread(target=carry_out)
    thread.start()
    return thread


def until(
    run: Run, reached: Callable[[Run], bool], *, thread: threading.Thread, seconds: float = 120
) -> None:
    """Wait for a run to be where a story needs it."""
    end = time.monotonic() + seconds
    while True:
        run.refresh_from_db()
        if reached(run):
            return
        assert thread.is_alive(), (run.status, run.error)
        assert time.monotonic() < end, (run.status, run.step)
        time.sleep(0.05)


def over(thread: threading.Thread) -> None:
    thread.join(120)
    assert not thread.is_alive()


def child_of(run: Run) -> psutil.Process:
    return psutil.Process(folders.read_json(folders.of(run.pk) / "child.json")["pid"])


def weights_of(run: Run) -> str:
    return run.artifacts.get(name="model/model.safetensors").sha256


def steps_once(run: Run) -> None:
    """Every step of every series of the training, once and in order."""
    read = metrics.read(run=run, max_points=20_000)["series"]
    for name, series in read.items():
        assert series["steps"] == sorted(set(series["steps"])), name
        assert series["count"] == len(series["steps"]), name
    assert read["train/loss"]["steps"] == list(range(1, run.summary["steps"] + 1))


def test_a_teacher_is_trained_and_distilled_with_its_control(
    project: Project, dataset: DatasetVersion, student: ModelVersion, teacher: ModelVersion
) -> None:
    """One wake-up call carries out everything that waits, in the right order; others that come
    while the only slot is taken end at once."""
    first = launch(project, name="teacher", student="big", training={"epochs": 20})
    wanted = {"label": "delivery"}
    slices.create(version=dataset, name="delivery", conditions=wanted, by=project.created_by)
    second = launch(project, name="small", teachers=["run/1"], training={"epochs": 8})
    slices.delete(dataset=dataset.dataset, name="delivery")  # the run keeps it
    control = second.controls.get()
    assert (first.status, second.status, control.status) == ("queued", "waiting", "queued")
    thread = execute(first)
    until(first, lambda run: run.status != "queued", thread=thread)
    working.execute(control.pk)
    assert thread.is_alive()
    over(thread)
    for run in (first, second, control):
        run.refresh_from_db()
        assert (run.status, run.error, run.fraction, run.attempt) == ("finished", None, 1.0, 1)
        steps_once(run)
    assert first.output is not None
    assert TeacherOutputs.objects.filter(teacher_name="big@2").exists()  # without a minute's wait
    assert (first.output.reference, first.output.labels) == ("big@2", dataset.labels)
    assert first.output.parameters is not None
    assert {file["name"] for file in first.output.files} == {
        "config.json",
        "distillhub.json",
        "model.safetensors",
        "tokenizer.json",
    }
    assert first.output.metrics["test/accuracy"] == first.summary["student"]["accuracy"] > 0.8
    assert second.config["teachers"] == ["big@2"]
    assert second.output is not None
    assert second.output.reference == "tiny@2"
    assert control.output is None
    assert {"train/soft_targets", "train/hard_labels", "val/agreement", "val/kl"} <= set(
        second.metrics
    )
    compared = second.comparison
    assert compared is not None
    assert (compared["control"], compared["rows"]) == (control.number, 30)
    assert compared["interval"][0] <= compared["difference"] <= compared["interval"][1]
    assert compared["answer"] in ("helped", "no_evidence", "hurt")
    report = artifacts.evaluation(run=second)
    assert report["control"]["run"] == control.number
    assert report["comparison"] == compared
    (part,) = report["saved_slices"]
    assert (part["name"], part["conditions"]) == ("delivery", wanted)
    for who in ("student", "teacher", "control"):
        assert {"accuracy", "macro_f1", "log_loss", "ece"} <= set(part["scores"][who])
    assert part["scores"]["difference"]["answer"] in ("helped", "no_evidence", "hurt")
    assert not control.slices.exists()
    told = [event.kind for event in second.events.all()]
    assert told == [
        "waiting", "queued", "started", "training", "evaluating", "finished", "compared",
    ]  # fmt: skip
    assert logs.read(run=second)["lines"]
    assert not (folders.of(first.pk) / "checkpoints").exists()
    assert (folders.of(first.pk) / "journal.jsonl").exists()


def test_a_run_stopped_with_its_worker_paused_and_killed_goes_on_bit_for_bit(
    project: Project, dataset: DatasetVersion, student: ModelVersion, alice: User
) -> None:
    undisturbed = launch(project, name="undisturbed", training=LONG)
    working.execute(undisturbed.pk)
    undisturbed.refresh_from_db()
    assert undisturbed.status == "finished", undisturbed.error

    run = launch(project, name="disturbed", training=LONG)
    thread = execute(run)
    until(run, lambda run: run.step > 30, thread=thread)
    leases.stopping.set()  # SIGTERM to the worker
    over(thread)
    run.refresh_from_db()
    assert (run.status, run.times_lost, run.attempt) == ("queued", 0, 1)
    leases.stopping.clear()

    reached = run.step
    thread = execute(run)
    until(run, lambda run: run.step > reached + 30, thread=thread)
    runs.pause(run=run, by=alice)
    assert (run.status, run.is_pausing) == ("training", True)
    over(thread)
    run.refresh_from_db()
    assert (run.status, run.is_pausing, run.times_lost, run.attempt) == ("paused", False, 0, 2)
    assert run.events.order_by("-pk")[0].sentence.startswith(f"Paused at step {run.step};")
    working.execute(run.pk)  # nobody takes it
    runs.resume(run=run, by=alice)

    reached = run.step
    thread = execute(run)
    until(run, lambda run: run.step > reached + 60, thread=thread)
    assert run.attempt == 3
    told = f"Continued from step {reached} on "
    assert run.events.filter(sentence__startswith=told).exists()  # where it paused, to the step
    assert any("going on from step" in line["text"] for line in logs.last(run=run)["lines"])
    child_of(run).send_signal(signal.SIGKILL)
    over(thread)
    run.refresh_from_db()
    assert (run.status, run.times_lost) == ("queued", 1)
    assert run.retry_at is not None

    Run.objects.update(retry_at=None)
    working.execute(run.pk)
    run.refresh_from_db()
    assert (run.status, run.attempt) == ("finished", 4)
    steps_once(run)
    assert weights_of(run) == weights_of(undisturbed)
    assert run.metrics["test/accuracy"] == undisturbed.metrics["test/accuracy"]


def test_a_training_is_cancelled_within_seconds_and_can_go_on(
    project: Project,
    dataset: DatasetVersion,
    student: ModelVersion,
    alice: User,
    monkeypatch: pytest.MonkeyPatch,
    settings: LazySettings,
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://canary")
    run = launch(project, training=LONG | {"epochs": 5000})
    thread = execute(run)
    until(run, lambda run: run.step > 20, thread=thread)
    child = child_of(run)
    environment = "".join(child.environ().values())
    runs.cancel(run=run, by=alice)
    assert run.status == "cancelling"
    over(thread)
    run.refresh_from_db()
    assert (run.status, run.output) == ("cancelled", None)
    assert run.fraction < 0.5  # a training that tells much is heard no later
    assert not child.is_running()
    assert runs.resume(run=run, by=alice).status == "queued"

    written = b"".join(
        path.read_bytes() for path in folders.of(run.pk).rglob("*") if path.is_file()
    )
    assert b"canary" not in written + environment.encode()
    assert settings.SECRET_KEY.encode() not in written + environment.encode()


def test_a_diverging_training_fails_with_a_reason(
    project: Project, dataset: DatasetVersion, student: ModelVersion
) -> None:
    run = launch(
        project,
        training={
            "optimizer": "sgd",
            "learning_rate": 100.0,
            "max_grad_norm": None,
            "weight_decay": 10.0,
            "epochs": 300,
        },
    )
    working.execute(run.pk)
    run.refresh_from_db()
    assert run.status == "failed"
    assert run.error is not None
    assert run.error["code"] == "diverged"
    assert MetricSeries.objects.filter(run=run, name="train/loss").exists()
    assert run.events.order_by("-pk")[0].sentence == run.error["detail"][:500]


def test_a_training_without_memory_fails_with_a_reason_and_harms_no_other(
    project: Project,
    dataset: DatasetVersion,
    settings: LazySettings,
) -> None:
    settings.DISTILLHUB_RUN_MEMORY_MIB = 2500
    make.model_version(project, "huge", config=SMALL | {"dim": 4096, "bigrams": 150_000})
    run = launch(project, student="huge")
    working.execute(run.pk)
    run.refresh_from_db()
    assert run.status == "failed"
    assert run.error is not None
    assert run.error["code"] == "out_of_memory", run.error
    assert "memory" in run.error["detail"]


def test_a_changed_dataset_file_is_noticed_before_anything_is_trained(
    project: Project, dataset: DatasetVersion, student: ModelVersion, settings: LazySettings
) -> None:
    run = launch(project)
    blob = Path(settings.MEDIA_ROOT) / storage.key(dataset.file_sha256)
    content = bytearray(blob.read_bytes())
    content[len(content) // 2] ^= 1
    blob.chmod(0o644)
    blob.write_bytes(content)
    working.execute(run.pk)
    run.refresh_from_db()
    assert run.status == "failed"
    assert run.error is not None
    assert run.error["code"] == "dataset_changed"
    assert not (folders.of(run.pk) / "journal.jsonl").exists()


def test_what_another_machine_measured_is_not_mixed_and_an_ending_is_not_trained_again(
    project: Project, dataset: DatasetVersion, student: ModelVersion
) -> None:
    run = launch(project)
    metrics.append(run, [metrics.Measured("train/loss", step, 9.0, 0.0) for step in range(1, 900)])
    Run.objects.filter(pk=run.pk).update(job_home="elsewhere", journal_offset=5000, step=899)
    working.execute(run.pk)
    run.refresh_from_db()
    assert run.status == "finished", run.error
    steps_once(run)
    assert 9.0 not in metrics.read(run=run)["series"]["train/loss"]["values"]
    assert any("begins again" in event.sentence for event in run.events.all())

    # Killed between the engine's last word and the row: the journal has everything.
    offset = run.journal_offset
    Run.objects.filter(pk=run.pk).update(
        status="queued", output=None, summary={}, journal_offset=offset // 2
    )
    working.execute(run.pk)
    run.refresh_from_db()
    assert (run.status, run.attempt, run.journal_offset) == ("finished", 2, offset)
    steps_once(run)


def test_a_version_is_inspected(project: Project) -> None:
    version = make.model_version(
        project, config=SMALL, status=ModelVersion.Status.INSPECTING, parameters=None
    )
    jobs.inspect_model_version(version_id=version.pk, from_the_future=1)
    version.refresh_from_db()
    assert version.status == "ready", version.error
    assert version.parameters is not None
    assert version.size_bytes == 4 * version.parameters
    assert version.config["dim"] == SMALL["dim"]


@pytest.mark.slow
def test_two_processes_train_one_run_and_leave_together_when_it_is_cancelled(
    project: Project, dataset: DatasetVersion, student: ModelVersion, cards: Path
) -> None:
    """As on a machine of two GPUs; here both compute on the CPU."""
    registration.start(capacity=1)
    several = {"queue": "default", "gpus": 2}
    whole = launch(project, name="both", training={"epochs": 4}, resources=several)
    thread = execute(whole)
    over(thread)
    whole.refresh_from_db()
    assert (whole.status, whole.error) == ("finished", None)
    steps_once(whole)

    long = launch(project, name="long", training=LONG, resources=several)
    thread = execute(long)
    until(long, lambda run: run.step > 0, thread=thread)
    launcher = child_of(long)
    assert launcher.environ()["CUDA_VISIBLE_DEVICES"] == "GPU-aaaa-0000,GPU-bbbb-1111"
    assert long.cards == [0, 1]
    ranks = launcher.children(recursive=True)
    assert len(ranks) >= 2
    runs.cancel(run=long, by=long.created_by)
    over(thread)
    long.refresh_from_db()
    assert long.status == "cancelled"
    assert psutil.wait_procs([launcher, *ranks], timeout=20)[1] == []


def test_a_drained_worker_ends_its_run_or_hands_it_on_with_a_checkpoint(
    project: Project, dataset: DatasetVersion, student: ModelVersion, worker: Worker, alice: User
) -> None:
    run = launch(project, name="moved", training=LONG)
    thread = execute(run)
    until(run, lambda run: run.step > 30, thread=thread)
    workers.drain(worker_id=worker.pk, by=alice)
    other = launch(project, name="not here")
    until(run, lambda run: run.step > 60, thread=thread)  # it may end there
    workers.drain(worker_id=worker.pk, now=True, by=alice)
    over(thread)
    run.refresh_from_db()
    assert (run.status, run.times_lost, run.worker) == ("queued", 0, None)
    assert run.events.order_by("-pk")[0].sentence == (
        f"Worker {worker.name} was drained; it goes on from its checkpoint at step {run.step}."
    )
    other.refresh_from_db()
    assert other.status == "queued"
    working.execute(other.pk)  # a message that comes nevertheless
    assert [workers.state(one) for one in workers.listed(by=alice)] == ["drained"]

    reached = run.step
    workers.resume(worker_id=worker.pk, by=alice)
    thread = execute(run)
    until(run, lambda run: run.step > reached, thread=thread)
    runs.cancel(run=run, by=alice)
    over(thread)
    run.refresh_from_db()
    losses = metrics.read(run=run, names=["train/loss"], max_points=20_000)["series"]["train/loss"]
    assert losses["steps"] == list(range(1, losses["count"] + 1))
    machine = metrics.read(run=run, names=["system/memory_bytes", "system/energy_wh"])["series"]
    assert machine["system/memory_bytes"]["count"] >= 2
    spent = machine["system/energy_wh"]["values"]
    assert spent == sorted(spent)  # of both attempts together
    said = [line["text"] for line in logs.read(run=run)["lines"]]
    assert [line for line in said if line.startswith("Attempt ")] == [
        f"Attempt {attempt}, on {worker.host}" for attempt in (1, 2)
    ]
