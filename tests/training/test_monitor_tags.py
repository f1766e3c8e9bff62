"""Monitors of models that answer word by word: made, fitted, sent to and scored by the real child,
their rows sent on to the next dataset version."""

from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from django.test import Client
from django.urls import reverse

from distillhub.lib.errors import Invalid
from projects.models import ModelVersion, Project
from tests import make
from tests.engine import jobs
from tests.training.test_monitor_looks import BEGAN, look, send
from tests.training.test_monitor_tasks import kept, opened, stored
from training.models import Monitor
from training.services import inference_rows, inferences, monitor_told, monitors
from training.services.inference_days import Asked
from training.services.inference_records import Reader, lines
from training.worker import dispatch

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("worker")]

JSON = dict[str, Any]
TASK = "token-classification"
TAGS = ["B-LOC", "B-PER", "I-PER", "O"]
PEOPLE, PLACES = ["Ada", "Alan", "Grace", "Linus"], ["Paris", "Oslo", "Lima", "Rome"]
FILLER = ["went", "to", "from", "yesterday", "and", "saw", "the", "sea", "with"]


@pytest.fixture(autouse=True)
def no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "call", lambda job, **ids: True)


def tagged(rows: int, seed: int = 0, people: int = 1) -> list[JSON]:
    """Sentences with so many people, of one name or of two, and a place."""
    chance = Random(seed)
    made = []
    for row in range(rows):
        parts = [[(one, "O")] for one in chance.choices(FILLER, k=chance.randint(3, 9))]
        for _ in range(people):
            names = [(chance.choice(PEOPLE), "B-PER")]
            parts.append(names + [("Smith", "I-PER")] * chance.randint(0, 1))
        parts.append([(chance.choice(PLACES), "B-LOC")])
        chance.shuffle(parts)
        words, tags = zip(*(one for part in parts for one in part), strict=True)
        split = ("train", "train", "validation", "test")[row % 4]
        made.append({"row_id": row, "split": split, "label": " ".join(tags),
                     "text": " ".join(words), "source": f"row {row}"})  # fmt: skip
    return made


@pytest.fixture(scope="module")
def taggers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A student, and a teacher that learned longer."""
    folder = tmp_path_factory.mktemp("taggers")
    path = folder / "data.parquet"
    parquet.write_table(pa.Table.from_pylist(tagged(300)), path)
    described = {"path": str(path), "sha256": "", "fingerprint": "tagged", "labels": TAGS}
    found = {}
    for name, epochs in (("tiny", 3), ("big", 8)):
        job = jobs.write(
            folder / name, described, task=TASK, architecture="bilstm",
            options={"dim": 8, "hidden": 8, "vocabulary": 100},
            training={"epochs": epochs, "learning_rate": 0.02},
        )  # fmt: skip
        jobs.run(job)
        found[name] = job / "output/model"
    return found


@pytest.fixture
def tagging(project: Project, tmp_path: Path, taggers: dict[str, Path]) -> Monitor:
    rows = [{**one, "split": "test"} for one in tagged(300, seed=5)]
    stored(project, tmp_path, rows, task=TASK, labels=tuple(TAGS))
    for name, weights in taggers.items():
        kept(project, name, weights, task=TASK, labels=TAGS)
    return monitors.create(
        project=project,
        asked={
            "name": "live", "model": "tiny@1", "reference": "tickets@1:test",
            "window": {"rows": 100}, "teacher": "big@1", "teacher_sample_rate": 0.6,
        },
        by=project.created_by,
    )  # fmt: skip


def record(place: int, row: JSON, tags: list[str] | None = None, **more: Any) -> JSON:
    moment = BEGAN + timedelta(seconds=place)
    said = row["label"].split() if tags is None else tags
    return {
        "id": f"r{place}", "time": moment.isoformat(), "input": row["text"].split(),
        "prediction": said, "label": row["label"].split(),
        "probabilities": [{tag: 0.9, TAGS[tag == TAGS[0]]: 0.1} if tag in TAGS else
                          [0.25] * 4 for tag in said],
    } | more  # fmt: skip


def misread(label: str) -> list[str]:
    """All persons as something new, and nothing else."""
    return ["B-NEW" if tag == "B-PER" else "O" for tag in label.split()]


def test_tags_of_words_are_watched(tagging: Monitor, project: Project, client: Client) -> None:
    look(tagging, fits=True)
    told = tagging.reference
    assert told["notes"] == []
    assert told["width"] == 16
    assert told["accuracy"]["rows"] == 300
    assert 0.7 < told["accuracy"]["value"] < 1
    assert told["span_f1"]["low"] < told["span_f1"]["value"] < told["span_f1"]["high"]
    assert told["agreement"]["rows"] == 300
    assert told["estimated_accuracy"] == pytest.approx(told["accuracy"]["value"], abs=0.02)
    expected = {f"prediction.{tag}" for tag in TAGS} | {"answered.tagged", "answered.spans"}
    assert expected | {"answered.other_labels", "vector", "described.words"} <= set(told["signals"])

    rates = told["false_alarms"]["prediction.B-PER"] | told["false_alarms"]["answered.spans"]
    assert rates
    assert all(one["rate"] <= 0.15 for one in rates.values()), rates

    tagging.looks.filter(fits=False).delete()
    quiet = tagged(100, seed=7)
    loud = tagged(100, seed=8, people=4)
    send(tagging, [
        *(record(at, one) for at, one in enumerate(quiet)),
        *(record(100 + at, one, misread(one["label"])) for at, one in enumerate(loud)),
    ])  # fmt: skip
    look(tagging)
    calm, moved = tagging.windows.all()
    assert calm.facts["accuracy"]["value"] == 1
    assert calm.facts["span_f1"]["value"] == 1
    assert calm.facts["rows_with_label"] == calm.facts["accuracy"]["rows"] == 100
    words = [tag for one in quiet for tag in one["label"].split()]
    assert calm.facts["predicted"]["B-PER"] == pytest.approx(words.count("B-PER") / len(words))
    assert 20 < calm.facts["agreement"]["rows"] < 90
    assert calm.facts["confidence"]["mean"] == pytest.approx(0.9)
    assert sum(calm.facts["believed"]["rows"]) == len(words)
    assert calm.facts["faults"]["student_wrong"] == 0
    assert moved.facts["span_f1"]["value"] == 0
    assert 0 < moved.facts["accuracy"]["value"] < 0.7
    assert moved.facts["unseen_names"]["answered.other_labels"] == {"B-NEW": 100}
    for signal in ("prediction.B-PER", "answered.spans", "answered.tagged", "accuracy",
                   "answered.other_labels", "span_f1", "agreement"):  # fmt: skip
        assert moved.scores[signal][0]["corrected"] < 1e-4, signal
    for signal in ("accuracy", "span_f1", "vector", "answered.other_labels"):
        assert calm.scores[signal][0]["corrected"] > 0.01, signal
    assert "calibration" in calm.scores
    assert "misfits" not in moved.facts

    found = inference_rows.rows(tagging, Asked(prediction="B-NEW"), limit=200).rows
    assert len(found) == 100
    assert found[0]["prediction"].count("B-NEW") == 4
    assert set(found[0]["probabilities"][0]) == set(TAGS)
    client.force_login(project.created_by)
    opened(client, project)
    html = client.get(
        reverse("training:monitor_window", args=[project.slug, "live", moved.number])
    ).content.decode()
    assert "Span F1" in html
    one = reverse("training:monitor_rows", args=[project.slug, "live"])
    assert "B-NEW" in client.get(f"{one}?id=r150").content.decode()


def test_a_label_of_another_length_is_told_and_not_counted(tagging: Monitor) -> None:
    row = tagged(1)[0]
    send(tagging, [record(0, row, label=None), record(1, row)])
    labels = [{"id": "r0", "label": ["O"]}]
    inferences.receive_labels(monitor=tagging, labels=labels, by=tagging.created_by)
    look(tagging)
    facts = tagging.windows.get().facts
    assert facts["misfits"] == 1
    assert facts["accuracy"]["rows"] == 1


def test_what_has_no_tag_for_each_word_is_refused(tagging: Monitor) -> None:
    reader = Reader(tagging, BEGAN)
    row = tagged(1)[0]
    words = len(row["text"].split())
    line = reader.inference(record(0, row))
    assert (line["text"], line["prediction"]) == (row["text"], row["label"])
    assert len(line["probabilities"]) == words * len(TAGS)
    spelt = reader.inference(record(0, row, input=f" {row['text'].replace(' ', '  ')} "))
    assert spelt["text"] == row["text"]
    every: list[tuple[str, JSON]] = [
        ("prediction", {"prediction": ["O"]}),
        ("prediction", {"prediction": []}),
        ("prediction.0", {"prediction": ["a b"] * words}),
        ("prediction", {"prediction": 3}),
        ("label", {"label": ["O"]}),
        ("probabilities", {"probabilities": [[0.25] * 4]}),
        ("probabilities.0", {"probabilities": [[0.5] * 4] * words}),
        ("probabilities.0", {"probabilities": [0.25] * 4 * words}),
        ("teacher.prediction", {"teacher": {"prediction": ["O"]}}),
        ("teacher.probabilities",
         {"teacher": {"prediction": ["O"] * words, "probabilities": [[0.25] * 4]}}),
        ("input", {"input": []}),
        ("input.0", {"input": ["New York"] * words}),
    ]  # fmt: skip
    for where, odd in every:
        one = record(0, row) | odd
        with pytest.raises(Invalid) as refused:
            lines([one], "inferences", reader.inference)
        assert set(refused.value.fields) == {f"inferences.0.{where}"}, odd
    late = reader.late_label({"id": "a", "label": ["O", "B-PER"]})
    assert late["label"] == "O B-PER"


def test_a_tagger_elsewhere_is_watched_by_its_traffic(project: Project, client: Client) -> None:
    asked: JSON = {
        "name": "far", "window": {"rows": 60}, "reference": {"traffic": {"hours": 1}},
        "model": {"external": "x", "task": TASK, "labels": TAGS},
    }  # fmt: skip
    monitor = monitors.create(project=project, asked=asked, by=project.created_by)
    assert monitor_told.asked(monitor)["model"] == asked["model"]
    assert "span_f1" in monitor.detectors
    wrong: list[JSON] = [{"labels": []}, {"labels": ["a b", "c"]}, {"several_labels": True}]
    for one in wrong:
        with pytest.raises(Invalid):
            monitors.create(
                project=project,
                asked={**asked, "name": "odd", "model": {**asked["model"], **one}},
                by=project.created_by,
            )
    client.force_login(project.created_by)
    page = client.get(reverse("training:monitor_connect", args=[project.slug, "far"]))
    assert "B-LOC" in page.content.decode()


def test_a_service_is_no_teacher_of_words(project: Project, tagging: Monitor) -> None:
    make.model_version(project, "api", task=TASK, labels=TAGS, source={"kind": "api"})
    assert ModelVersion.objects.get(model__name="api").is_asked
    with pytest.raises(Invalid) as refused:
        monitors.edit(monitor=tagging, asked={"teacher": "api@1"}, by=project.created_by)
    assert set(refused.value.fields) == {"teacher"}
