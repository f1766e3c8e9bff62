"""Monitors of models that write texts: made, fitted, sent to and scored by the real child."""

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from django.test import Client
from django.urls import reverse

from distillhub.lib import storage
from distillhub.lib.errors import Invalid
from projects.models import Project
from tests import make
from tests.engine import jobs, writings
from tests.training.test_monitor_looks import BEGAN, look, send
from tests.training.test_monitor_tasks import kept, opened, record
from training.models import Monitor
from training.services import inference_rows, monitor_told, monitors
from training.services.inference_days import Asked
from training.services.inference_records import Reader, lines
from training.worker import dispatch
from training.worker import monitors as looking

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("worker")]

JSON = dict[str, Any]
TASK = "text-generation"
PROMPT = {"name": "prompt", "type": "string", "role": "prompt"}
ANSWER = {"name": "text", "type": "string", "role": "input"}


@pytest.fixture(autouse=True)
def no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "call", lambda job, **ids: True)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[JSON]]:
    """Weights that have learned the one answer that there is, and rows of prompts."""
    folder = tmp_path_factory.mktemp("writing")
    chance = random.Random(0)
    asked = [" ".join(chance.choices(["red", "blue", "green"], k=2)) for _ in range(120)]
    said = writings.rows(folder / "data.parquet", ["fine"] * 120, prompt=asked)
    job = writings.write(folder / "job", said, training={"epochs": 8, "learning_rate": 0.05})
    jobs.run(job)
    return job / "output/model", parquet.read_table(folder / "data.parquet").to_pylist()


def stored(project: Project, folder: Path, rows: list[JSON], columns: list[JSON]) -> None:
    path = folder / "rows.parquet"
    schema = {name: pa.string() for name in rows[0]} | {"row_id": pa.int64()}
    table = pa.Table.from_pylist([{**one, "split": "test"} for one in rows], pa.schema(schema))
    parquet.write_table(table, path)
    blob = storage.put(path)
    make.dataset_version(
        project,
        "questions",
        task=TASK,
        labels=(),
        columns=columns,
        splits={"test": {"rows": len(rows), "labelled": len(rows), "label_counts": {}}},
        rows=len(rows),
        file_sha256=blob.sha256,
        file_bytes=blob.bytes,
        fingerprint=blob.sha256,
    )


def made(project: Project, **changes: Any) -> Monitor:
    asked = {
        "name": "live", "model": "tiny@1", "reference": "questions@1:test",
        "window": {"rows": 60}, "teacher": "big@1", "teacher_sample_rate": 0.5,
    }  # fmt: skip
    return monitors.create(project=project, asked=asked | changes, by=project.created_by)


@pytest.fixture
def writing(project: Project, tmp_path: Path, trained: tuple[Path, list[JSON]]) -> Monitor:
    weights, rows = trained
    stored(project, tmp_path, rows, [PROMPT, ANSWER])
    for name in ("tiny", "big"):
        kept(project, name, weights, task=TASK, problem="single_label", labels=[])
    return made(project)


def answers(rows: list[JSON], first: int = 0, **more: Any) -> list[JSON]:
    """As the reference's rows were to be answered."""
    return [
        record(first + at, one["prompt"], prediction=one["text"], log_probability=-0.2, **more)
        for at, one in enumerate(rows)
    ]


def test_texts_are_described_and_held_against_labels_and_the_teachers(
    writing: Monitor, project: Project, client: Client, trained: tuple[Path, list[JSON]]
) -> None:
    assert {"confidence", "accuracy", "agreement"} <= set(writing.detectors)
    assert {"whose_fault", "calibration", "estimated_accuracy"}.isdisjoint(writing.detectors)
    look(writing, fits=True)
    told = writing.reference
    assert told["agreement"]["value"] == 1  # they have the same weights
    assert told["overlap"]["agreement"] == {"value": 1.0, "rows": 120}
    assert told["accuracy"]["value"] <= told["overlap"]["accuracy"]["value"] <= 1
    described = {"length", "words", "language", "non_letters", "empty", "repeated", "tokens"}
    assert {f"answered.{name}" for name in described} <= set(told["signals"])
    assert {"described.length", "vector", "error", "difference", "confidence.top"} <= set(
        told["signals"]
    )
    assert "prediction" not in told["signals"]
    assert told["confidence"]["mean"] > 0.3

    writing.looks.filter(fits=False).delete()
    rows = trained[1][:60]
    quiet = answers(rows, latency_ms=12.0, tokens=9)
    for one, row in zip(quiet, rows, strict=True):
        one["label"] = f" {row['text'].upper()}. "
    loud = [
        record(60 + at, one["prompt"], prediction="I am sorry to say so " * 9,
               log_probability=-3.0, tokens=60, label=one["text"])
        for at, one in enumerate(rows[:58])
    ] + [record(118 + at, "red blue", prediction="", tokens=1) for at in range(2)]  # fmt: skip
    send(writing, quiet + loud)
    look(writing)
    calm, moved = writing.windows.all()
    assert calm.facts["accuracy"]["value"] == 1  # whatever its case, and what stands at its ends
    assert calm.facts["overlap"]["accuracy"]["value"] == 1
    assert 0 < calm.facts["agreement"]["rows"] < 60
    assert calm.facts["overlap"]["agreement"]["value"] > 0.3
    assert moved.facts["accuracy"]["value"] == 0
    assert moved.facts["overlap"]["accuracy"]["value"] == 0
    assert "faults" not in moved.facts
    signals = ("answered.length", "answered.repeated", "confidence", "accuracy", "error")
    for signal in (*signals, "agreement", "difference"):
        assert moved.scores[signal][0]["corrected"] < 1e-4, signal
    assert "error_stream" in moved.scores
    assert moved.scores["error_stream"][0]["facts"]["mean"] == 1
    assert calm.scores["described.length"][0]["corrected"] > 0.01
    assert calm.scores["vector"] is not None

    wrong = inference_rows.rows(writing, Asked(wrong=True), limit=200).rows
    assert len(wrong) == 58
    assert wrong[0]["answered"]["label_alike"] == 0
    assert wrong[0]["answered"]["repeated"] > 0.5
    client.force_login(project.created_by)
    opened(client, project)
    page = client.get(
        reverse("training:monitor_window", args=[project.slug, "live", moved.number])
    ).content.decode()
    assert "Alike with the label" in page
    rows_page = reverse("training:monitor_rows", args=[project.slug, "live"])
    assert "alike with the label" in client.get(rows_page, {"id": "r60"}).content.decode()
    assert (
        "repetition in answers"
        in client.get(
            reverse("training:monitor_signals", args=[project.slug, "live"])
        ).content.decode()
    )


def test_chats_and_what_else_is_sent_of_texts_are_read(project: Project, client: Client) -> None:
    asked: JSON = {
        "name": "live", "window": {"rows": 60}, "reference": {"traffic": {"hours": 1}},
        "model": {"external": "x", "task": TASK, "labels": []},
    }  # fmt: skip
    monitor = monitors.create(project=project, asked=asked, by=project.created_by)
    assert monitor_told.asked(monitor)["model"] == asked["model"]
    reader = Reader(monitor, BEGAN)
    chat = [{"role": "user", "content": "hi", "name": "erin"}]
    one = record(0, "hello", prediction="", tokens=0, log_probability=-0.5, label="x")
    for given in (chat, {"messages": chat}):
        line = reader.inference({**one, "input": given, "teacher": {"prediction": "y"}})
        assert json.loads(line["text"]) == [{"role": "user", "content": "hi"}]
    assert (line["prediction"], line["tokens"], line["log_probability"]) == ("", 0, -0.5)
    odd: list[JSON] = [
        {"prediction": 3}, {"prediction": None}, {"label": ["a"]}, {"log_probability": 0.5},
        {"tokens": -1}, {"input": [{"role": "user"}]}, {"input": []}, {"probabilities": [1]},
        {"vector": [1]},
    ]  # fmt: skip
    for wrong in odd:
        with pytest.raises(Invalid):
            lines([one | wrong], "inferences", reader.inference)
    named = {**asked, "name": "b", "model": {**asked["model"], "labels": ["a", "b"]}}
    with pytest.raises(Invalid) as refused:
        monitors.create(project=project, asked=named, by=project.created_by)
    assert set(refused.value.fields) == {"model.labels"}
    client.force_login(project.created_by)
    opened(client, project)


def test_plain_texts_say_nothing_of_what_is_asked_and_chats_do(
    project: Project, tmp_path: Path, trained: tuple[Path, list[JSON]]
) -> None:
    chat = [{"role": "user", "content": "red"}, {"role": "assistant", "content": "red red"}]
    weights, rows = trained
    texts = [{**one, "text": json.dumps(chat)} for one in rows[:20]]
    for one in texts:
        del one["prompt"]
    stored(project, tmp_path, texts, [ANSWER])
    kept(project, "tiny", weights, task=TASK, problem="single_label", labels=[])
    monitor = made(project, teacher=None, teacher_sample_rate=0)
    look(monitor, fits=True)
    assert monitor.reference["overlap"]["accuracy"]["rows"] == 20
    stored(project, tmp_path, [{**one, "text": "once upon"} for one in texts], [ANSWER])
    other = made(
        project, name="plain", reference="questions@2:test", teacher=None, teacher_sample_rate=0
    )
    fit = other.looks.get(fits=True)
    looking.WORK.carry_out(fit.pk)
    fit.refresh_from_db()
    assert fit.status == "failed"
    assert "plain texts" in str(fit.error)
