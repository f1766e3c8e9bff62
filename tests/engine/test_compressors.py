"""What is made smaller is smaller, answers nearly as before, and opens again."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from tests.engine import jobs, shipping
from tests.engine.shipping import IMAGE, TEXT
from training.engine import data, few_bits, networks
from training.engine.compressors import COMPRESSORS, Material, tuning
from training.engine.compressors.magnitude_pruning import MagnitudePruning
from training.engine.compressors.quantisation_aware import QuantisationAware
from training.engine.errors import DataError, ModelError
from training.engine.job_config import DatasetInput, NetworkInput
from training.engine.networks import Network, Place

CPU = Place(torch.device("cpu"))


@pytest.fixture(scope="session")
def mlp(tmp_path_factory: pytest.TempPathFactory, images: jobs.JSON) -> Path:
    folder = jobs.write(
        tmp_path_factory.mktemp("mlp"), images, task=IMAGE, architecture="mlp",
        options={"hidden": [32, 16]}, training={"epochs": 4, "learning_rate": 0.01},
    )  # fmt: skip
    jobs.run(folder)
    return folder / "output" / "model"


def dataset_of(said: jobs.JSON) -> data.Dataset:
    described = DatasetInput(
        path=said["path"],
        sha256=said["sha256"],
        fingerprint=said["fingerprint"],
        labels=tuple(said["labels"]),
    )
    return data.open_dataset(Path("/"), described)


def material(network: Network, said: jobs.JSON, home: Path) -> Material:
    dataset = dataset_of(said)
    inputs = network.preprocessing.prepare(dataset.path, home)
    return Material(dataset, inputs, CPU, None, lambda _: None)


@pytest.mark.parametrize("method", list(COMPRESSORS), ids=lambda one: one.key)
def test_every_compressor_is_shipped_and_told(
    tmp_path: Path, mlp: Path, images: jobs.JSON, method: Any
) -> None:
    wish = {"format": method.formats[0], "compress": {"kind": method.key}}
    report = shipping.ship(tmp_path, mlp, images, wish)
    assert report["compress"]["kind"] == method.key
    assert report["said"].endswith(".")
    assert report["agreement"] >= 0.5
    assert report["parameters"]["after"] <= report["parameters"]["before"]
    if "safetensors" in method.formats:
        again = shipping.load(tmp_path / "output", IMAGE)
        assert again.parameters == report["parameters"]["after"]


def test_int8_of_onnx_is_the_form_of_that_name(
    tmp_path: Path, mlp: Path, images: jobs.JSON
) -> None:
    asked = {"format": "onnx", "compress": {"kind": "int8-dynamic"}}
    shipping.ship(tmp_path / "a", mlp, images, asked)
    shipping.ship(tmp_path / "b", mlp, images, {"format": "onnx-int8"})
    one, other = (tmp_path / name / "output/model.onnx" for name in "ab")
    assert one.read_bytes() == other.read_bytes()


LAYERS = [
    (nn.Linear(70, 9), (4, 70)),
    (nn.Conv2d(4, 6, 3, padding=1, stride=2), (2, 4, 8, 8)),
    (nn.Conv1d(6, 5, 3), (2, 6, 11)),
    (nn.Embedding(30, 64), (3, 7)),
]


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=lambda one: type(one).__name__)
def test_few_bits_are_the_nearest_grid_to_the_weights(
    layer: Any, shape: tuple[int, ...], bits: int
) -> None:
    few = few_bits.of(layer, bits)
    assert isinstance(few, few_bits.FewBits)
    step = few.scales.repeat_interleave(few.group, dim=1).reshape(layer.weight.shape)
    assert ((few.weight - layer.weight).abs() <= step / 2 + 1e-7).all()
    table = isinstance(layer, nn.Embedding)
    inputs = torch.randint(0, 30, shape) if table else torch.randn(shape)
    rounded = type(layer).__call__
    with torch.no_grad():
        said = few(inputs)
        layer.weight.copy_(few.weight)  # a plain layer with these very weights
        torch.testing.assert_close(said, rounded(layer, inputs))
    assert few.codes.numel() * few.codes.element_size() <= layer.weight.numel() * bits / 8 + 9
    assert few_bits.count(few) == few_bits.count(layer)


def test_layers_of_few_bits_cannot_be_trained(tmp_path: Path, mlp: Path, images: jobs.JSON) -> None:
    wish = {"format": "safetensors", "compress": {"kind": "weight-only"}}
    report = shipping.ship(tmp_path, mlp, images, wish)
    assert report["size"]["share"] < 0.5
    stored = load_file(tmp_path / "output" / "model.safetensors")
    assert any(value.dtype == torch.int8 for value in stored.values())
    asked = NetworkInput(name="tiny@3", architecture="mlp", config={}, path="output")
    with pytest.raises(ModelError, match="cannot be trained"):
        networks.student(asked, tmp_path, dataset_of(images), IMAGE, print)
    network = shipping.load(tmp_path / "output", IMAGE)
    pruning = MagnitudePruning(MagnitudePruning.Options(epochs=0))
    with pytest.raises(ModelError, match="made from"):
        pruning.compress(network, material(network, images, tmp_path))


@pytest.mark.parametrize("scope", ["network", "layer"])
def test_pruned_weights_stay_zero_while_the_others_are_trained(
    tmp_path: Path, mlp: Path, images: jobs.JSON, scope: str
) -> None:
    network = shipping.load(mlp, IMAGE)
    before = {name: one.detach().clone() for name, one in network.module.named_parameters()}
    asked = MagnitudePruning.Options(share=0.75, scope=scope, epochs=2, learning_rate=0.01)
    pruned, told = MagnitudePruning(asked).compress(network, material(network, images, tmp_path))
    matrices = {n: one for n, one in pruned.module.named_parameters() if one.ndim > 1}
    zeros = sum(int((one == 0).sum()) for one in matrices.values())
    assert zeros == pytest.approx(0.75 * sum(one.numel() for one in matrices.values()), abs=3)
    assert told.startswith("75.0 % of the weights")
    if scope == "layer":
        for one in matrices.values():
            assert (one == 0).float().mean() == pytest.approx(0.75, abs=0.02)
    kept = [(one != 0, before[name]) for name, one in matrices.items()]
    if scope == "network":  # what was largest is what is left
        least = min(float(was[mask].abs().min()) for mask, was in kept)
        most = max(float(was[~mask].abs().max()) for mask, was in kept)
        assert most <= least


def test_quantisation_aware_weights_lie_on_the_grid(
    tmp_path: Path, mlp: Path, images: jobs.JSON
) -> None:
    network = shipping.load(mlp, IMAGE)
    asked = tuning.Options(epochs=1, learning_rate=0.001)
    trained, _ = QuantisationAware(asked).compress(network, material(network, images, tmp_path))
    assert set(trained.module.state_dict()) == set(shipping.load(mlp, IMAGE).module.state_dict())
    for one in trained.module.parameters():
        if one.ndim > 1:
            steps = one / (one.abs().amax(dim=1, keepdim=True) / 127)
            torch.testing.assert_close(steps, steps.round(), atol=1e-3, rtol=0)


def test_quantisation_aware_trains_where_layers_compute_in_bfloat16(
    tmp_path: Path, mlp: Path, images: jobs.JSON
) -> None:
    network = shipping.load(mlp, IMAGE)
    known = material(network, images, tmp_path)
    half = replace(known, place=Place(torch.device("cpu"), torch.bfloat16))
    trained, _ = QuantisationAware(tuning.Options(epochs=1)).compress(network, half)
    assert all(one.dtype is torch.float32 for one in trained.module.parameters())


def test_training_makes_nothing_worse_and_is_repeatable(
    tmp_path: Path, mlp: Path, images: jobs.JSON
) -> None:
    found = []
    for misled in (False, False, True):
        network = shipping.load(mlp, IMAGE)
        given = material(network, images, tmp_path)
        if misled:  # by training rows whose labels are wrong
            given.dataset.labels[given.training] = (given.dataset.labels[given.training] + 1) % 3
        lesson = tuning._Lesson(network, given, tuning.Options())
        before = lesson.distance()
        tuning.tune(network, given, tuning.Options(epochs=2, learning_rate=0.005))
        assert lesson.distance() <= before
        found.append(torch.cat([one.flatten() for one in network.module.parameters()]))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[2], torch.cat([
        one.flatten() for one in shipping.load(mlp, IMAGE).module.parameters()
    ]))  # fmt: skip


def unlabelled(path: Path, said: jobs.JSON) -> jobs.JSON:
    """The same rows, without a label in the training split."""
    table = pq.read_table(said["path"])
    labels = np.array(table["label"].to_pylist(), dtype=object)
    labels[np.array(table["split"].to_pylist()) == "train"] = None
    at = table.schema.get_field_index("label")
    pq.write_table(table.set_column(at, table.schema.field(at), [labels.tolist()]), path)
    return {**said, "path": str(path), "sha256": ""}


def test_without_labels_a_teacher_has_to_speak(
    tmp_path: Path, texts: jobs.JSON, teacher: Path
) -> None:
    bare = unlabelled(tmp_path / "bare.parquet", texts)
    wish = {"format": "safetensors", "compress": {"kind": "magnitude-pruning"}}
    with pytest.raises(DataError, match="name a teacher"):
        shipping.ship(tmp_path / "alone", teacher, bare, wish)
    report = shipping.ship(tmp_path / "taught", teacher, bare, wish, teacher=teacher)
    assert "Trained on a teacher's answers, 30 epochs of 96 rows" in report["said"]
    stored = list((tmp_path / "taught" / "teacher-outputs").rglob("manifest.json"))
    assert {json.loads(one.read_text())["split"] for one in stored} == {"train", "validation"}


def test_a_tables_rows_are_narrowed_with_their_readers(
    tmp_path: Path, texts: jobs.JSON, teacher: Path
) -> None:
    wish: jobs.JSON = {
        "format": "safetensors",
        "compress": {"kind": "structured-pruning", "options": {"parts": "width", "epochs": 1}},
    }
    report = shipping.ship(tmp_path, teacher, texts, wish)
    assert report["parameters"]["after"] < 0.6 * report["parameters"]["before"]
    again = shipping.load(tmp_path / "output", TEXT)
    assert again.config["dim"] == 8


def test_what_cannot_be_pruned_says_what_can(
    tmp_path: Path, texts: jobs.JSON, teacher: Path
) -> None:
    wish = {"format": "safetensors", "compress": {"kind": "structured-pruning"}}
    with pytest.raises(ModelError, match="make it narrower"):
        shipping.ship(tmp_path, teacher, texts, wish)


@pytest.mark.slow
def test_a_transformer_of_few_bits_opens_again(tmp_path: Path, texts: jobs.JSON) -> None:
    trained = jobs.write(
        tmp_path / "train", texts, architecture="bert",
        options={"hidden_size": 32, "intermediate_size": 64}, training={"epochs": 1},
    )  # fmt: skip
    jobs.run(trained)
    model = trained / "output/model"
    for kind, form in (("weight-only", "safetensors"), ("low-rank", "onnx")):
        report = shipping.ship(
            tmp_path / kind, model, texts, {"format": form, "compress": {"kind": kind}}
        )
        assert report["size"]["share"] < 0.8
        assert report["difference"]["max"] < 0.5
