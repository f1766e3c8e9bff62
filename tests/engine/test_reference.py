"""The reference of a monitor: rows become answers, vectors, sums, a plane and false alarms."""

import csv
import gzip
import io
import json
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.engine import jobs
from training.engine import data as engine_data
from training.engine import job_config, networks
from training.engine.detectors.pca_ks import PcaKs
from training.engine.detectors.psi import Psi
from training.engine.errors import ConfigError, DataError
from training.engine.watching import counting, describing, parts, reference, vectors
from training.engine.watching.reference import Reference

TASK = "text-classification"


def config(dataset: jobs.JSON, **others: Any) -> jobs.JSON:
    monitor = {
        "task": TASK,
        "labels": jobs.LABELS,
        "input": "text",
        "window_rows": 20,
        "minimum_rows": 5,
        "slices": [],
        "detectors": {},
        "salt": "s",
        **others.pop("monitor", {}),
    }
    return {
        "format": 1, "fits": True, "now": 1000.0, "monitor": monitor, "model": None,
        "teacher": None, "dataset": {"columns": {}} | dataset, "split": "train",
    } | others  # fmt: skip


def model(folder: Path, task: str = TASK, name: str = "small@1") -> jobs.JSON:
    return {"name": name, "path": str(folder), "task": task}


@pytest.fixture(scope="module")
def fitted(
    tmp_path_factory: pytest.TempPathFactory, texts: jobs.JSON, teacher: Path
) -> tuple[jobs.JSON, Path]:
    """(the result, the folder) of a fit of texts, a student and a teacher (its twin)."""
    folder = tmp_path_factory.mktemp("reference")
    said = config(texts, model=model(teacher), teacher=model(teacher, name="big@1"))
    return reference.fit(said, folder), folder


def test_a_reference_tells_what_its_student_and_its_teacher_said(
    fitted: tuple[jobs.JSON, Path],
) -> None:
    told = fitted[0]["reference"]
    assert told["rows"] == 96
    assert told["of"] == "dataset"
    assert told["made_by"] == "small@1"
    assert told["accuracy"]["value"] > 0.9
    assert told["agreement"] == {"value": 1, "low": pytest.approx(0.96, abs=0.01), "high": 1,
                                 "rows": 96}  # fmt: skip
    assert told["answers_needed"] < told["rows"] * 10
    assert told["estimated_accuracy"] > 0.9
    assert told["notes"] == []
    signals = told["signals"]
    assert signals["vector"] == {"kind": "embeddings", "rows": 96, "missing": 0}
    assert signals["prediction"]["kind"] == "categories"
    assert {f"described.{one}" for one in ("length", "language", "out_of_vocabulary")} < {*signals}
    assert {"confidence.top", "confidence.entropy"} < {*signals}
    assert json.loads(json.dumps(told)) == told


def test_false_alarms_of_a_monitor_are_measured_on_its_reference(
    fitted: tuple[jobs.JSON, Path],
) -> None:
    alarms = fitted[0]["reference"]["false_alarms"]
    assert "psi" in alarms["described.length"]
    assert {"pca_ks", "mmd_features"} == {*alarms["vector"]}
    for signal in ("vector", "prediction", "confidence", "described.words"):
        for one in alarms[signal].values():
            assert one["windows"] >= 20
            assert one["rate"] <= 0.2
            assert one["level"] == 0.05


def test_what_is_loaded_again_is_what_was_fitted_and_places_rows_on_its_plane(
    fitted: tuple[jobs.JSON, Path], teacher: Path
) -> None:
    result, folder = fitted
    assert {one["name"] for one in result["files"]} == {
        "baseline.json", "reference_rows.parquet", "vectors_plane.npz",
    }  # fmt: skip
    known = Reference.load(folder / "output")
    named = {one["name"]: folder / "output" / one["name"] for one in result["files"]}
    assert Reference.load(named).baseline.key == known.baseline.key
    assert known.near is not None
    rows = known.rows.to_pylist()
    assert len(rows) == 96
    points = np.array([[one["x"], one["y"]] for one in rows])
    assert known.place(known.near.vectors) == pytest.approx(points, abs=2e-3)
    student = vectors.Model.open(model(teacher), folder, jobs.LABELS)
    same, strange = rows[0]["text"], "zebra xylophone"
    said = student.answer([{"text": same}, {"text": strange}, None])
    assert said.vectors is not None
    placed, far = known.place(said.vectors), known.distances(said.vectors)
    assert placed[0] == pytest.approx(points[0], abs=5e-3)
    assert far[1] > far[0]
    assert np.isnan(placed[2]).all()
    assert np.isnan(far[2])
    limits = result["reference"]["far"]
    assert limits["0.5"] <= limits["0.9"] <= limits["0.99"]
    assert np.isnan(known.distances(np.zeros((3, 7)))).all()  # of another student


def test_rows_of_a_window_that_stand_farthest_from_the_reference_are_named(
    fitted: tuple[jobs.JSON, Path],
) -> None:
    known = Reference.load(fitted[1] / "output")
    assert known.near is not None
    width = known.near.width
    strange = np.zeros((1, width), dtype=np.float16)
    strange[0, 0] = -1
    some = np.concatenate([known.near.vectors[:30], strange])
    ids = [*(f"usual-{at}" for at in range(30)), "strange"]
    table = pa.table({"id": ids, "vector": vectors.lists(some, pa.float16())})
    baseline = replace(known.baseline, near=known.near)
    sums = counting.count(counting.View.of(table, baseline), baseline)
    far = {name: distance for distance, name in sums.foreign}
    assert next(iter(far)) == "strange"
    assert far["strange"] == pytest.approx(known.near.distances(strange)[0], abs=1e-3)
    assert far["strange"] > fitted[0]["reference"]["far"]["0.99"]


def test_answers_are_the_networks_own_whatever_stands_beside_a_row(
    texts: jobs.JSON, teacher: Path, tmp_path: Path
) -> None:
    network = networks.load("small@1", teacher, TASK)
    written = pq.read_table(texts["path"])["text"].to_pylist()[:40]
    student = vectors.Model.open(model(teacher), tmp_path, [*jobs.LABELS, "other"])
    several = student.answer([{"text": one} for one in written])
    alone = [student.answer([{"text": one}]) for one in written]
    assert several.predictions == [one.predictions[0] for one in alone]
    assert several.probabilities is not None
    assert several.probabilities.shape == (40, 4)
    assert several.probabilities.sum(axis=1) == pytest.approx(1)
    assert not several.probabilities[:, 3].any()  # a label that it does not know
    assert several.vectors is not None
    lengths = np.linalg.norm(several.vectors.astype(np.float32), axis=1)
    assert lengths == pytest.approx(1, abs=2e-3)
    dataset = engine_data.open_dataset(
        tmp_path, job_config.DatasetInput(**{**texts, "labels": tuple(jobs.LABELS)})
    )
    truth = [jobs.LABELS[one] for one in dataset.labels[:40]]
    assert np.mean([a == b for a, b in zip(several.predictions, truth, strict=True)]) >= 0.9
    assert network.labels == tuple(jobs.LABELS)


def test_pictures_that_cannot_be_read_have_no_answer(
    images: jobs.JSON, image_teacher: Path, tmp_path: Path
) -> None:
    said = config(
        images,
        model=model(image_teacher, "image-classification"),
        monitor={"task": "image-classification", "input": "image"},
    )
    table = pq.read_table(images["path"])
    pictures = table["image"].to_pylist()
    pictures[0] = b"broken"
    place = table.schema.get_field_index("image")
    pq.write_table(table.set_column(place, "image", pa.array(pictures)), tmp_path / "data.parquet")
    said["dataset"]["path"] = "data.parquet"
    told = reference.fit(said, tmp_path)["reference"]
    assert told["signals"]["described.brightness"]["missing"] == 1
    assert told["signals"]["prediction"]["rows"] == told["rows"] - 1
    assert "could not read 1 of 48 rows" in told["notes"][0]
    assert reference.NO_TEACHER in told["notes"]
    assert Reference.load(tmp_path / "output").near is not None


@pytest.mark.parametrize("problem", ["single_label", "regression"])
def test_columns_of_a_table_are_its_signals(problem: str, tmp_path: Path) -> None:
    dataset = jobs.tables(tmp_path / "data.parquet", problem=problem)
    folder = jobs.write(
        tmp_path / "job",
        dataset,
        task="tabular-classification",
        architecture="tabular_mlp",
        losses=[{"kind": "hard_labels", "weight": 1.0}],
    )
    jobs.run(folder)
    said = config(
        dataset,
        model=model(folder / "output/model", "tabular-classification"),
        monitor={
            "task": "tabular-classification",
            "labels": dataset["labels"],
            "input": "columns",
        },
    )
    told = reference.fit(said, tmp_path)["reference"]
    assert told["columns"] == dataset["columns"]
    assert told["signals"]["input.size"]["missing"] > 0
    assert told["signals"]["input.place"]["kind"] == "categories"
    assert told["signals"]["prediction"]["kind"] == (
        "numbers" if problem == "regression" else "categories"
    )
    assert "vector" in told["signals"]
    assert ("accuracy" in told) == (problem == "single_label")


def test_of_a_model_that_is_served_elsewhere_columns_tell_what_it_said(tmp_path: Path) -> None:
    dataset = jobs.texts(tmp_path / "data.parquet")
    table = pq.read_table(tmp_path / "data.parquet")
    sure = np.random.default_rng(0).dirichlet([1, 1, 1], table.num_rows)
    for place, label in enumerate(jobs.LABELS):
        table = table.append_column(f"p_{label}", pa.array(sure[:, place]))
    pq.write_table(table, tmp_path / "data.parquet")
    soft = {label: f"p_{label}" for label in jobs.LABELS}
    told = reference.fit(config(dataset | {"soft": soft}), tmp_path)["reference"]
    assert told["signals"]["prediction"]["rows"] == 96
    assert 0.2 < told["accuracy"]["value"] < 0.5
    bare = reference.fit(config(dataset), tmp_path)["reference"]
    assert "prediction" not in bare["signals"]
    assert bare["notes"] == [reference.NO_ANSWERS, reference.NO_TEACHER]


def test_a_teacher_that_cannot_be_read_leaves_a_note_and_the_rest(
    texts: jobs.JSON, tmp_path: Path
) -> None:
    (tmp_path / "none").mkdir()
    told = reference.fit(config(texts, teacher=model(tmp_path / "none")), tmp_path)["reference"]
    assert told["notes"][0].startswith("The teacher could not be asked: ")
    assert told["signals"]["described.length"]["rows"] == 96


def part(folder: Path, at: int, labelled: bool) -> jobs.JSON:
    """A part of 100 rows that came at hour `at` of 1970, stored in a folder."""
    chance = np.random.default_rng(at)
    sure = chance.dirichlet([4, 1, 1], 100).astype(np.float32)
    table = pa.table(
        {
            "id": [f"{at}-{one}" for one in range(100)],
            "time": pa.array([at * 3_600_000_000 + one for one in range(100)]).cast(parts.TIME),
            "text": [f"text number {one}" for one in range(100)],
            "prediction": [jobs.LABELS[one] for one in sure.argmax(axis=1)],
            "probabilities": vectors.lists(sure, pa.float32()),
            "described.length": pa.array(chance.normal(20, 3, 100)),
            "vector": vectors.lists(chance.normal(size=(100, 8)).astype(np.float16), pa.float16()),
        }
    )
    if labelled:
        said = {"id": [f"{at}-{one}" for one in range(50)], "label": ["cancel"] * 50}
        table = pa.table(said)
    name = f"{'said' if labelled else 'rows'}-{at}"
    pq.write_table(table, folder / name)
    return {"kind": name.partition("-")[0], "day": "1970-01-01", "rows": 100, "sha256": name}


class Stored:
    """Files by name in a folder, as a worker brings them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def files(self, names: Iterable[str]) -> dict[str, Path | None]:
        return {one: self.folder / one for one in names}


def test_a_time_of_traffic_is_a_reference_with_what_was_said_of_it_later(tmp_path: Path) -> None:
    some = [part(tmp_path, at, False) for at in range(4)] + [part(tmp_path, 2, True)]
    asked = config({}, model=None) | {
        "dataset": None, "traffic": {"from": 3600.0, "until": 3 * 3600.0}, "parts": some,
    }  # fmt: skip
    told = reference.fit(asked, tmp_path, Stored(tmp_path))["reference"]
    assert (told["of"], told["rows"], told["accuracy"]["rows"]) == ("traffic", 200, 50)
    assert 0.5 < told["accuracy"]["value"] < 1
    assert {"vector", "prediction", "described.length", "confidence.top"} <= {*told["signals"]}
    assert Reference.load(tmp_path / "output").rows["id"][0].as_py() == "1-0"
    asked["traffic"] = {"from": 9e6, "until": 9e6 + 60}
    with pytest.raises(DataError, match="No row came in that time"):
        reference.fit(asked, tmp_path, Stored(tmp_path))


def test_what_cannot_be_a_reference_is_refused_in_a_sentence(
    texts: jobs.JSON, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="no holdout rows"):
        reference.fit(config(texts, split="holdout"), tmp_path)
    with pytest.raises(ConfigError, match="no column image"):
        reference.fit(config(texts, monitor={"input": "image"}), tmp_path)
    with pytest.raises(ConfigError, match="neither is there any more"):
        reference.fit(config(texts) | {"dataset": None}, tmp_path)


def test_a_student_that_answers_vectors_has_no_predictions_to_compare(
    texts: jobs.JSON, tmp_path: Path
) -> None:
    asked = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
             "intermediate_size": 16, "vocab_size": 80}  # fmt: skip
    folder = jobs.vectors(tmp_path, texts, asked)
    said = config(
        texts,
        model=model(folder, "feature-extraction"),
        monitor={"task": "feature-extraction", "labels": []},
    )
    told = reference.fit(said, tmp_path)["reference"]
    assert told["width"] == 16
    assert "prediction" not in told["signals"]
    assert told["signals"]["vector"]["rows"] == 96


def test_pictures_that_get_darker_are_found_by_their_brightness(
    shared_data: Path, tmp_path: Path
) -> None:
    raw = gzip.decompress((shared_data / "fashion_mnist/t10k-images-idx3-ubyte.gz").read_bytes())
    pixels = np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 28, 28)[:600]
    pictures = [png(one) for one in pixels]
    table = pa.table(
        {
            "row_id": pa.array(range(400), pa.int64()),
            "split": ["test"] * 400,
            "label": pa.nulls(400, pa.string()),
            "image": pa.array(pictures[:400], pa.binary()),
        }
    )
    pq.write_table(table, tmp_path / "data.parquet", row_group_size=150)
    dataset = {"path": "data.parquet", "labels": jobs.LABELS}
    asked = {"task": "image-classification", "input": "image"}
    said = reference.fit(config(dataset, split="test", monitor=asked), tmp_path)["reference"]
    assert said["rows"] == 400
    known = Reference.load(tmp_path / "output").baseline
    later = {"same": pictures[400:], "darker": [png(one // 2) for one in pixels[400:]]}
    ps = {}
    for name, some in later.items():
        values = describing.describe("image", some)
        for signal in ("described.brightness", "described.size"):
            there, bins = known.sums.sketches[signal], known.bins[signal]
            ps[name, signal] = Psi().score(there, bins.sketch(values[signal])).p or 0.0
    assert ps["same", "described.brightness"] > 0.01
    assert ps["darker", "described.brightness"] < 1e-6
    assert ps["darker", "described.size"] == 1


def png(pixels: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_questions_of_a_bank_are_a_reference_that_foreign_texts_lie_far_from(
    shared_data: Path, tmp_path: Path
) -> None:
    with (shared_data / "banking77/train.csv").open() as file:
        rows = [one for one in csv.DictReader(file) if one["category"] in BANK]
    labels = sorted(BANK)
    table = pa.table(
        {
            "row_id": pa.array(range(len(rows)), pa.int64()),
            "split": ["validation" if at % 4 == 0 else "train" for at in range(len(rows))],
            "label": [one["category"] for one in rows],
            "text": [one["text"] for one in rows],
            "source": [str(at) for at in range(len(rows))],
        }
    )
    pq.write_table(table, tmp_path / "data.parquet")
    dataset = {"path": str(tmp_path / "data.parquet"), "sha256": "", "fingerprint": "bank",
               "labels": labels}  # fmt: skip
    folder = jobs.write(
        tmp_path / "job", dataset, options={"dim": 32, "vocabulary": 2000}, training={"epochs": 8}
    )
    jobs.run(folder)
    said = config(
        dataset,
        model=model(folder / "output/model"),
        split="validation",
        monitor={"labels": labels},
    )
    told = reference.fit(said, tmp_path)["reference"]
    assert told["accuracy"]["value"] > 0.8
    known = Reference.load(tmp_path / "output")
    opened = vectors.Model.open(said["model"], tmp_path, labels)
    strange = opened.answer([{"text": one} for one in STRANGE])
    usual = opened.answer([{"text": one["text"]} for one in rows[:200]])
    assert np.median(known.distances(strange.vectors)) > np.quantile(
        known.distances(usual.vectors), 0.9
    )
    bins = known.baseline.bins["vector"]
    score = PcaKs().score(known.baseline.sums.sketches["vector"], bins.sketch(strange.vectors))
    assert score.p is not None
    assert score.p < 0.01
    shutil.rmtree(folder)


BANK = {"card_arrival", "exchange_rate", "lost_or_stolen_card", "top_up_failed"}
STRANGE = [
    "what is the weather like in paris tomorrow",
    "play some jazz in the living room please",
    "how many calories are in a banana",
    "remind me to water the plants on sunday",
    "who won the match between spain and italy",
    "translate good morning into japanese",
    "tell me a joke about penguins and polar bears",
    "book a table for four at an italian restaurant",
] * 4
