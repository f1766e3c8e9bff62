"""Monitors of models whose answer is more than one name: made, fitted, sent to and scored by the
real child, as those of one label a row are."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from django.test import Client
from django.urls import reverse

from distillhub.lib import storage
from distillhub.lib.errors import Invalid
from projects.models import ModelAlias, ModelVersion, Project
from tests import make
from tests.engine import jobs
from tests.training.conftest import sentences
from tests.training.test_monitor_looks import BEGAN, look, send
from training.models import Monitor
from training.operations import live_rows
from training.services import inference_rows, monitor_told, monitors
from training.services.inference_days import Asked
from training.services.inference_records import Reader, lines
from training.worker import dispatch, following

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("worker")]

JSON = dict[str, Any]


@pytest.fixture(autouse=True)
def no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "call", lambda job, **ids: True)


def kept(project: Project, name: str, weights: Path, **fields: Any) -> ModelVersion:
    files = []
    for path in sorted(weights.iterdir()):
        copy = storage.working_folder("copying") / path.name  # which storage keeps
        copy.write_bytes(path.read_bytes())
        blob = storage.put(copy)
        files.append({"name": path.name, "sha256": blob.sha256, "bytes": blob.bytes})
    return make.model_version(project, name, files=files, **fields)


def stored(project: Project, folder: Path, rows: list[JSON], **fields: Any) -> None:
    path = folder / "rows.parquet"
    parquet.write_table(pa.Table.from_pylist(rows), path)
    blob = storage.put(path)
    tests = sum(row["split"] == "test" for row in rows)
    make.dataset_version(
        project,
        "tickets",
        splits={"test": {"rows": tests, "labelled": tests, "label_counts": {}}},
        rows=len(rows),
        file_sha256=blob.sha256,
        file_bytes=blob.bytes,
        fingerprint=blob.sha256,
        **fields,
    )


def record(place: int, text: str, **more: Any) -> JSON:
    moment = BEGAN + timedelta(seconds=place)
    return {"id": f"r{place}", "time": moment.isoformat(), "input": text} | more


def opened(client: Client, project: Project) -> None:
    """Every page of the monitor, and how to send to it."""
    for page in ("health", "signals", "rows", "settings", "connect", "teacher", "alerts"):
        address = reverse(f"training:monitor_{page}", args=[project.slug, "live"])
        assert client.get(address).status_code == 200, page


# -- several labels a row -------------------------------------------------------------------------


def pairs(rows: int, seed: int = 0) -> list[JSON]:
    """Two sentences each, whose labels are both right; every sixth row has no label at all."""
    made = []
    for one, two in zip(sentences(rows, seed), sentences(rows, seed + 1), strict=True):
        bare = one["row_id"] % 6 == 0
        label = "" if bare else ";".join(sorted({one["label"], two["label"]}))
        text = "please my the order" if bare else f"{one['text']} {two['text']}"
        made.append({**one, "text": text, "label": label})
    return made


NAMES = sorted({one["label"] for one in sentences(100)})


@pytest.fixture(scope="module")
def tagging(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tagging")
    path = folder / "data.parquet"
    parquet.write_table(pa.Table.from_pylist(pairs(300)), path)
    described = {
        "path": str(path), "sha256": "", "fingerprint": "pairs", "labels": NAMES,
        "problem": "multi_label", "separator": ";",
    }  # fmt: skip
    job = jobs.write(folder / "job", described, training={"epochs": 10})
    jobs.run(job)
    return job / "output/model"


@pytest.fixture
def several(project: Project, tmp_path: Path, tagging: Path) -> Monitor:
    reading = {"problem": "multi_label", "separator": ";"}
    stored(project, tmp_path, [
        {**one, "split": "test"} for one in pairs(300)
    ], labels=tuple(NAMES), reading=reading)  # fmt: skip
    for name in ("tiny", "big"):
        kept(project, name, tagging, labels=NAMES, problem="multi_label")
    return monitors.create(
        project=project,
        asked={
            "name": "live", "model": "tiny@1", "reference": "tickets@1:test",
            "window": {"rows": 60}, "teacher": "big@1", "teacher_sample_rate": 0.5,
        },
        by=project.created_by,
    )  # fmt: skip


def sets(label: str) -> list[str]:
    return [one for one in label.split(";") if one]


def test_labels_of_which_a_row_has_any_number_are_watched_one_by_one(
    several: Monitor, project: Project, client: Client
) -> None:
    assert several.several_labels
    assert "estimated_accuracy" not in several.detectors
    look(several, fits=True)
    told = several.reference
    assert told["agreement"]["value"] == 1  # they have the same weights
    assert told["accuracy"]["value"] > 0.8
    assert told["accuracy"]["value"] <= told["overlap"]["accuracy"]["value"] <= 1
    assert any("not estimated" in one for one in told["notes"])
    expected = {f"prediction.{name}" for name in NAMES} | {"answered.labels"}
    assert expected | {"answered.other_labels", "vector"} <= set(told["signals"])
    assert "prediction" not in told["signals"]

    several.looks.filter(fits=False).delete()
    rows = pairs(120, seed=7)
    quiet = [
        record(at, one["text"], prediction=sets(one["label"]), label=sets(one["label"]),
               probabilities={name: 0.9 if name in one["label"] else 0.05 for name in NAMES})
        for at, one in enumerate(rows[:60])
    ]  # fmt: skip
    loud = [
        record(60 + at, one["text"], prediction=[NAMES[0], "brand new"], label=sets(one["label"]),
               probabilities=[0.6] * len(NAMES))
        for at, one in enumerate(rows[60:])
    ]  # fmt: skip
    send(several, quiet + loud)
    look(several)
    calm, moved = several.windows.all()
    assert calm.facts["accuracy"]["value"] == 1
    assert calm.facts["overlap"]["agreement"]["value"] > 0.8
    assert set(told["label_agreement"]) == set(NAMES)
    assert all(one["value"] == 1 for one in told["label_agreement"].values())
    assert set(calm.facts["overlap"]) == {"accuracy", "agreement"}
    assert all(one["value"] > 0.6 for one in calm.facts["label_agreement"].values())
    fell = moved.facts["label_agreement"]
    assert fell[NAMES[1]]["value"] == 0  # it is never said
    assert 0 < fell[NAMES[0]]["value"] < calm.facts["label_agreement"][NAMES[0]]["value"]
    assert 0 < fell[NAMES[0]]["rows"] <= moved.facts["rows_with_answer"]
    assert calm.facts["predicted"][NAMES[0]] == pytest.approx(
        sum(NAMES[0] in one["label"] for one in rows[:60]) / 60
    )
    assert sum(calm.facts["predicted"].values()) > 1
    assert moved.facts["accuracy"]["value"] == 0
    assert 0 < moved.facts["overlap"]["accuracy"]["value"] < 0.5
    assert moved.facts["unseen_names"]["answered.other_labels"] == {"brand new": 60}
    assert "estimated_accuracy" not in moved.scores
    first = f"prediction.{NAMES[0]}"
    assert calm.scores[first][0]["corrected"] > 0.01
    for signal in (first, "answered.other_labels", "confidence", "accuracy", "agreement"):
        assert moved.scores[signal][0]["corrected"] < 1e-4, signal
    assert sum(calm.facts["believed"]["rows"]) == 60
    assert "calibration" in calm.scores

    shown = inference_rows.rows(several, Asked(prediction="brand new"), limit=100)
    assert len(shown.rows) == 60
    client.force_login(project.created_by)
    opened(client, project)
    html = client.get(
        reverse("training:monitor_window", args=[project.slug, "live", moved.number])
    ).content.decode()
    assert "Alike with the label" in html
    page = client.get(reverse("training:monitor_teacher", args=[project.slug, "live"]))
    listed = page.context["by_label"]
    assert {one["label"] for one in listed} == set(NAMES)
    assert listed == sorted(listed, key=lambda one: one["share"])
    assert "Agreement by label" in page.content.decode()


def test_labels_of_a_model_elsewhere_are_read_as_lists(project: Project, client: Client) -> None:
    asked: JSON = {
        "name": "far", "window": {"rows": 60}, "reference": {"traffic": {"hours": 1}},
        "model": {"external": "x", "task": "text-classification", "labels": ["a", "b"],
                  "several_labels": True},
    }  # fmt: skip
    monitor = monitors.create(project=project, asked=asked, by=project.created_by)
    assert monitor_told.asked(monitor)["model"] == asked["model"]
    reader = Reader(monitor, BEGAN)
    one = record(0, "hello", prediction=["b", "a", "b"], probabilities={"a": 0.9, "b": 0.8})
    line = reader.inference({**one, "label": [], "teacher": {"prediction": []}})
    assert (line["prediction"], line["label"]) == ("a|b", "")
    assert line["teacher"] == {"prediction": ""}
    assert line["probabilities"] == [0.9, 0.8]
    for odd in (3, [3], ["a|b"], {"a": 1}):
        with pytest.raises(Invalid):
            lines([{**one, "prediction": odd}], "inferences", reader.inference)
    for wrong in ({"labels": ["a|b", "c"]}, {"labels": [], "several_labels": True}):
        with pytest.raises(Invalid):
            monitors.create(
                project=project,
                asked={**asked, "name": "odd", "model": {**asked["model"], **wrong}},
                by=project.created_by,
            )
    client.force_login(project.created_by)
    page = client.get(reverse("training:monitor_settings", args=[project.slug, "far"]))
    assert 'name="external_several"' in page.content.decode()
    typed = {
        "name": "typed", "model": "elsewhere", "external": "y", "external_labels": "a\nb",
        "external_task": "text-classification", "external_several": "on", "window": "rows",
        "window_rows": "60", "reference": "traffic next", "traffic_hours": "1", "teacher": "none",
    }  # fmt: skip
    client.post(reverse("training:monitor_new", args=[project.slug]), typed)
    assert Monitor.objects.get(name="typed").several_labels


def test_who_gives_one_label_is_not_held_against_several(project: Project, tmp_path: Path) -> None:
    files = [{"name": "model.safetensors", "sha256": "0" * 64, "bytes": 5}]
    fields: JSON = {"labels": NAMES, "files": files, "source": {"kind": "run", "run": 1}}
    make.model_version(project, "one", **fields)
    make.model_version(project, "many", problem="multi_label", **fields)
    stored(project, tmp_path, [{**one, "split": "test"} for one in pairs(30)],
           labels=tuple(NAMES), reading={"problem": "multi_label", "separator": ";"})  # fmt: skip
    asked = {
        "name": "live",
        "model": "one@1",
        "reference": "tickets@1:test",
        "window": {"rows": 60},
    }
    with pytest.raises(Invalid) as refused:
        monitors.create(project=project, asked=asked, by=project.created_by)
    assert set(refused.value.fields) == {"reference"}
    with pytest.raises(Invalid) as refused:
        monitors.create(
            project=project,
            asked={**asked, "model": "many@1", "teacher": "one@1"},
            by=project.created_by,
        )
    assert set(refused.value.fields) == {"teacher"}


# -- vectors --------------------------------------------------------------------------------------

BERT: JSON = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32,
    "vocab_size": 80, "max_length": 16,
}  # fmt: skip
VECTORS = "feature-extraction"


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A teacher as it was drawn, and a student of another width that learned from it."""
    folder = tmp_path_factory.mktemp("encoders")
    path = folder / "data.parquet"
    rows = [{**one, "label": None} for one in sentences(300)]
    schema = pa.schema({name: pa.string() for name in ("split", "label", "text", "source")} | {
        "row_id": pa.int64()
    })  # fmt: skip
    parquet.write_table(pa.Table.from_pylist(rows, schema), path)
    texts = {"path": str(path), "sha256": "", "fingerprint": "vectors", "labels": ()}
    teacher = jobs.vectors(folder, texts, BERT)
    losses: list[JSON] = [
        {"kind": "relational", "angle_weight": 0.0},
        {"kind": "embeddings", "of": "rows"},
    ]
    job = jobs.write(
        folder / "job", texts, task=VECTORS, teachers=[str(teacher)], losses=losses,
        options={"dim": 8, "vocabulary": 80, "dropout": 0.0, "word_dropout": 0.0},
        training={"epochs": 8, "learning_rate": 0.01},
    )  # fmt: skip
    jobs.run(job)
    return {"tiny": job / "output/model", "big": teacher}


@pytest.fixture
def encoding(project: Project, tmp_path: Path, encoders: dict[str, Path]) -> Monitor:
    rows = [{**one, "split": "test"} for one in sentences(300)]
    stored(project, tmp_path, rows, task=VECTORS)
    for name, weights in encoders.items():
        kept(project, name, weights, task=VECTORS, problem="embedding")
    return monitors.create(
        project=project,
        asked={
            "name": "live", "model": "tiny@1", "reference": "tickets@1:test",
            "window": {"rows": 100}, "teacher": "big@1", "teacher_sample_rate": 1,
        },
        by=project.created_by,
    )  # fmt: skip


def test_vectors_are_watched_and_neighbours_compared_with_the_teachers(
    encoding: Monitor, project: Project, client: Client
) -> None:
    assert {"accuracy", "confidence", "whose_fault"}.isdisjoint(encoding.detectors)
    look(encoding, fits=True)
    told = encoding.reference
    assert told["notes"] == []
    assert told["width"] == 8
    assert told["agreement"]["rows"] == 300
    assert told["agreement"]["value"] > 0.3  # ten of three hundred by chance: 0.03
    assert "neighbours.npz" in {one["name"] for one in encoding.reference_files}

    encoding.looks.filter(fits=False).delete()
    rows = sentences(200, seed=3)
    quiet = [record(at, one["text"]) for at, one in enumerate(rows[:100])]
    loud = [
        record(100 + at, one["text"], vector=[1.0, *[0.01 * at] * 7], latency_ms=2.5)
        for at, one in enumerate(rows[100:])
    ]
    send(encoding, quiet + loud)
    look(encoding)
    calm, moved = encoding.windows.all()
    before = told["agreement"]["value"]
    assert calm.facts["agreement"]["rows"] == 100
    assert calm.facts["agreement"]["value"] == pytest.approx(before, abs=0.25)
    assert calm.scores["vector"][0]["corrected"] > 0.001
    assert moved.scores["vector"][0]["corrected"] < 1e-6
    assert moved.scores["agreement"][0]["corrected"] < 1e-3
    assert moved.scores["latency"] is not None
    assert {"prediction", "accuracy"}.isdisjoint(moved.scores)
    shown = inference_rows.rows(encoding, Asked(disagreeing=True), limit=200).rows
    assert 0 < len(shown) < 200
    client.force_login(project.created_by)
    opened(client, project)
    # Neighbours are no labels of a dataset.
    kept_rows = live_rows.read(
        encoding, since=None, until=BEGAN + timedelta(days=1), seed=0, labels=True
    ).rows
    assert {(one.answer, one.label) for one in kept_rows} == {("", None)}


def test_an_alias_of_a_model_of_vectors_is_followed(encoding: Monitor, project: Project) -> None:
    encoding.refresh_from_db()
    version = encoding.version
    assert version is not None
    ModelAlias.objects.create(model=version.model, name="production", version=version)
    monitors.edit(monitor=encoding, asked={"model": "tiny@production"}, by=project.created_by)
    newer = ModelVersion.objects.get(pk=version.pk)
    newer.pk, newer.number = None, 2
    newer.save()
    ModelAlias.objects.update(version=newer)
    assert following.look_again() == 1
    encoding.refresh_from_db()
    assert encoding.version == newer


def test_nobody_says_what_vector_is_right(encoding: Monitor) -> None:
    reader = Reader(encoding, BEGAN)
    one = record(0, "hello")
    assert reader.inference({**one, "prediction": None, "vector": [1, 2]})["vector"] == [1.0, 2.0]
    every: list[JSON] = [
        {"prediction": "a"}, {"label": "a"}, {"vector": "x"}, {"vector": []},
        {"teacher": {"prediction": "a"}}, {"probabilities": [1]},
    ]  # fmt: skip
    for odd in every:
        with pytest.raises(Invalid):
            lines([one | odd], "inferences", reader.inference)
    with pytest.raises(Invalid):
        lines([{"id": "a", "label": "b"}], "labels", reader.late_label)
