"""A teacher labels the rows it is asked about, of whatever kind, and is not asked twice."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch

from tests.engine import jobs
from training.engine import annotation, config, data, evaluate, gate, methods, networks
from training.engine.errors import ModelError
from training.engine.networks import Place
from training.engine.students import ARCHITECTURES
from training.engine.tasks import TASKS

#: A kind of rows: task, rows, architecture, its options, and the problem.
KINDS: dict[str, tuple[str, Any, str, dict[str, Any]]] = {
    "texts": ("text-classification", jobs.texts, "bag_of_embeddings", {"dim": 8}),
    "images": ("image-classification", jobs.images, "small_convnet", jobs.SMALL_CONVNET),
    "sounds": ("audio-classification", jobs.sounds, "spectrogram_convnet", {}),
    "tables": ("tabular-classification", jobs.tables, "tabular_mlp", {}),
    "numbers": (
        "tabular-classification",
        lambda path: jobs.tables(path, problem="regression"),
        "tabular_mlp",
        {},
    ),
    "several": (
        "tabular-classification",
        lambda path: jobs.tables(path) | {"problem": "multi_label", "separator": "|"},
        "tabular_mlp",
        {},
    ),
    "words": ("token-classification", None, "bilstm", {"dim": 8, "hidden": 8}),
}


def words(path: Path) -> jobs.JSON:
    """Every word is its own tag; every third row is not tagged."""
    texts = [
        " ".join(jobs.LABELS[(row + at) % 3] for at in range(1 + row % 4)) for row in range(60)
    ]
    labels = [None if row % 3 == 0 else text for row, text in enumerate(texts)]
    return jobs._write(path, {"text": pa.array(texts, pa.string())}, labels)


@pytest.fixture(params=KINDS)
def drawn(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Any, Any]:
    """A job folder of asking a network that was drawn at random; the network and the dataset."""
    task, make, architecture, options = KINDS[request.param]
    described = (make or words)(tmp_path / "dataset.parquet")
    kind = TASKS[task]
    found, faults = config.check_architecture(task, architecture, options, methods.describe())
    assert not faults
    said = gate.read({"task": task, "model": {}, "dataset": described})[2]
    dataset = data.open_dataset(tmp_path, said, kind.unit)
    torch.manual_seed(0)
    network = networks.draw(
        "big@1", architecture, found, task, dataset.names,
        kind.fit(dataset, ARCHITECTURES[architecture], found), dataset.problem,
    )  # fmt: skip
    network.scale = dataset.scale
    networks.save(network, tmp_path / "model")
    raw = {
        "format": 1,
        "task": task,
        "model": {"name": "big@1", "path": "model"},
        "dataset": described,
        "teacher_outputs": {"mode": "auto", "store": str(tmp_path / "store")},
        "threads": 1,
    }
    (tmp_path / "config.json").write_text(json.dumps(raw))
    return tmp_path, networks.load("big@1", tmp_path / "model", task), dataset


def asked(folder: Path, **more: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    raw = json.loads((folder / "config.json").read_text()) | more
    (folder / "config.json").write_text(json.dumps(raw))
    found = annotation.annotate(folder)
    return found, pq.read_table(folder / annotation.ANSWERS).to_pylist()


def test_what_is_written_is_what_the_network_says_of_the_rows_that_were_wanted(
    drawn: tuple[Path, Any, Any],
) -> None:
    folder, network, dataset = drawn
    wanted = np.arange(1, len(dataset), 3)
    np.save(folder / "row_ids.npy", wanted)
    found, answers = asked(folder, row_ids="row_ids.npy")
    assert [one["row_id"] for one in answers] == wanted.tolist()
    assert (found["rows"], found["asked"], found["found"]) == (len(wanted), len(wanted), 0)

    inputs = network.preprocessing.prepare(dataset.path, folder / "expected")
    place = Place.choose("auto")
    place.settle(network)
    said = evaluate.predict(network, inputs, wanted, place)
    starts = data.offsets(inputs, wanted)
    for at, one in enumerate(answers):
        own = torch.from_numpy(said[starts[at] : starts[at + 1]]).double()
        if dataset.problem == "regression":
            assert float(one["label"]) == pytest.approx(float(own[0, 0]), rel=1e-2)
            assert (one["confidence"], one["probabilities"]) == (None, None)
        elif dataset.problem == "multi_label":
            chances = torch.sigmoid(own[0])
            assert one["probabilities"] == pytest.approx(chances.tolist(), abs=1e-3)
            told = set((one["label"] or "").split("|")) - {""}
            sure = [name for name, c in zip(dataset.names, chances, strict=True) if c > 0.501]
            assert told >= set(sure)
        elif getattr(inputs, "by_word", False):
            tags = [dataset.names[int(best)] for best in own.argmax(dim=1)]
            assert one["label"].split() == tags
            assert 0 < one["confidence"] <= 1
        else:
            chances = torch.softmax(own[0], dim=0)
            assert one["probabilities"] == pytest.approx(chances.tolist(), abs=1e-3)
            assert one["confidence"] == pytest.approx(max(one["probabilities"]), abs=1e-6)
            assert one["label"] == dataset.names[int(np.argmax(one["probabilities"]))]

    again, same = asked(folder, row_ids="row_ids.npy")
    assert (again["asked"], again["found"]) == (0, len(wanted))
    assert same == answers


def test_what_a_gate_has_stored_of_whole_splits_is_not_asked_again(
    tmp_path: Path, teacher: Path, texts: jobs.JSON
) -> None:
    from tests.engine.test_gate import write

    folder = write(tmp_path / "job", teacher, texts)
    gate.gate(folder)
    np.save(folder / "row_ids.npy", np.array([0, 5, 8, 9]))
    found, answers = asked(folder, row_ids="row_ids.npy")
    assert (found["asked"], found["found"], len(answers)) == (0, 4, 4)


def test_rows_of_a_single_split_are_labelled_too(
    tmp_path: Path, teacher: Path, texts: jobs.JSON
) -> None:
    """What is to be labelled need not be divided for training."""
    from tests.engine.test_gate import write

    table = pq.read_table(texts["path"])
    kept = table.filter(pc.equal(table["split"], "train"))
    pq.write_table(kept, tmp_path / "train.parquet")
    alone = {**texts, "path": str(tmp_path / "train.parquet"), "sha256": "", "fingerprint": "x"}
    found, answers = asked(write(tmp_path / "job", teacher, alone))
    assert found["rows"] == len(answers) == len(kept)


def test_some_rows_have_an_address_of_their_own(tmp_path: Path, texts: jobs.JSON) -> None:
    described = gate.read({"task": "text-classification", "model": {}, "dataset": texts})[2]
    dataset = data.open_dataset(tmp_path, described)
    rows = dataset.splits["train"]
    parts = [annotation.part(dataset, "train", some) for some in (rows[:9], rows[1:10])]
    assert len({one.fingerprint for one in (dataset, *parts)}) == 3
    assert parts[0].place[rows[:9]].tolist() == list(range(9))
    assert replace(parts[0], fingerprint="").splits["test"] is dataset.splits["test"]


def test_a_model_that_writes_gives_no_labels(tmp_path: Path, texts: jobs.JSON) -> None:
    raw = {"format": 1, "task": "text-generation", "model": {"name": "x", "path": "."}}
    (tmp_path / "config.json").write_text(json.dumps(raw | {"dataset": texts}))
    with pytest.raises(ModelError, match="write answers"):
        annotation.annotate(tmp_path)
