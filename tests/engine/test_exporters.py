"""Every form answers as the network it came from, and can be used without this code."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pytest
import torch
from PIL import Image

from tests.engine import jobs, shipping
from tests.engine.shipping import IMAGE, TEXT
from training.engine import export_config, exporting, methods
from training.engine.errors import ConfigError, DataError, ModelError
from training.engine.exporters import EXPORTERS, onnx_graph
from training.engine.exporters.instructions import README

CATALOG = methods.describe()
CLASSIFYING = [one.key for one in EXPORTERS if TEXT in one.tasks]
# 8 bits move logits a little, and the least sure of twelve rows may tip over.
LEAST_AGREEMENT = {"onnx-int8": 0.9, "onnx-int8-static": 0.9}
CLOSE = {"safetensors": 1e-6, "onnx": 1e-4, "torch-export": 1e-4}


@pytest.fixture(scope="session")
def shipped(
    tmp_path_factory: pytest.TempPathFactory,
    texts: jobs.JSON,
    images: jobs.JSON,
    teacher: Path,
    image_teacher: Path,
) -> Any:
    """`shipped(kind, form)`: the folder and the report, made once a session."""
    made: dict[tuple[str, str], tuple[Path, jobs.JSON]] = {}
    models = {"bag": (teacher, texts), "convnet": (image_teacher, images)}

    def of(kind: str, form: str) -> tuple[Path, jobs.JSON]:
        if (kind, form) not in made:
            folder = tmp_path_factory.mktemp("export")
            model, dataset = models[kind]
            report = shipping.ship(folder, model, dataset, {"format": form})
            made[kind, form] = (folder / "output", report)
        return made[kind, form]

    return of


@pytest.mark.parametrize("form", CLASSIFYING)
@pytest.mark.parametrize("kind", ["bag", "convnet"])
def test_what_was_written_answers_as_the_network_did(shipped: Any, kind: str, form: str) -> None:
    folder, report = shipped(kind, form)
    assert report["rows"] == (12 if kind == "bag" else 6)  # validation, and no other row
    assert report["agreement"] >= LEAST_AGREEMENT.get(form, 1.0)
    if form in CLOSE:
        assert report["difference"]["max"] <= CLOSE[form]
    assert report["metric"]["name"] == "accuracy"
    assert report["size"]["after"] == (folder / EXPORTERS[form].weights).stat().st_size
    for when in ("before", "after"):
        for size in ("1", "32"):
            measured = report["latency_ms"][when][size]
            assert 0 < measured["median"] <= measured["p95"]
        assert report["energy_per_million_wh"][when] > 0
    assert report["energy_source"]
    json.dumps(report, allow_nan=False)


@pytest.mark.parametrize("form", CLASSIFYING)
def test_nothing_of_this_machine_is_in_the_files(shipped: Any, form: str) -> None:
    folder, _ = shipped("bag", form)
    for path in folder.iterdir():
        content = path.read_bytes()
        assert str(jobs.ROOT).encode() not in content, path.name
        assert b"site-packages" not in content, path.name


def test_rows_and_their_length_are_free(shipped: Any, teacher: Path) -> None:
    folder, _ = shipped("bag", "onnx")
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    network = shipping.load(teacher, TEXT)
    wanted = [one.name for one in session.get_inputs()]
    for rows, length in ((1, 1), (1, 7), (5, 2), (40, 9)):
        ids = torch.randint(1, 20, (rows, length))
        ids[-1, length // 2 + 1 :] = 0
        inputs = {"input_ids": ids, "attention_mask": (ids > 0).long()}
        with torch.inference_mode():
            own = network.module(**inputs)
        said = session.run(None, {name: inputs[name].numpy() for name in wanted})[0]
        np.testing.assert_allclose(said, own, atol=1e-4)


def test_an_onnx_file_says_what_it_is(shipped: Any) -> None:
    folder, _ = shipped("bag", "onnx")
    model = onnx.load(str(folder / "model.onnx"))
    said = {one.key: one.value for one in model.metadata_props}
    assert json.loads(said["labels"]) == jobs.LABELS
    assert said["task"] == TEXT
    assert json.loads(said["preprocessing"])["max_length"] == 128
    shape = [one.dim_param for one in model.graph.input[0].type.tensor_type.shape.dim]
    assert shape == ["batch", "length"]
    assert [one.name for one in model.graph.output] == ["logits"]


@pytest.mark.parametrize("form", ["onnx", "torch-export"])
@pytest.mark.parametrize("kind", ["bag", "convnet"])
def test_the_example_beside_it_runs_as_it_stands(
    shipped: Any,
    kind: str,
    form: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, _ = shipped(kind, form)
    Image.new("L", (8, 8), 200).save(folder / "picture.png")
    text = (folder / README).read_text()
    program = text[text.index("    import json") :]
    lines = [line.removeprefix("    ") for line in program.splitlines()]
    monkeypatch.chdir(folder)
    exec(compile("\n".join(lines), README, "exec"), {})
    answers = capsys.readouterr().out.strip()
    assert any(label in answers for label in jobs.LABELS)
    (folder / "picture.png").unlink()


def test_the_example_needs_nothing_of_this_code(shipped: Any) -> None:
    folder, _ = shipped("bag", "onnx")
    text = (folder / README).read_text()
    lines = [
        line.removeprefix("    ") for line in text[text.index("    import json") :].split("\n")
    ]
    program = "\n".join(lines) + "\nimport sys\nassert 'torch' not in sys.modules\n"
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_a_safetensors_export_is_a_model_folder(shipped: Any, teacher: Path) -> None:
    folder, report = shipped("bag", "safetensors")
    assert (folder / "model.safetensors").read_bytes() == (
        teacher / "model.safetensors"
    ).read_bytes()
    assert report["size"]["share"] == 1.0


def test_convolutions_are_not_rounded_as_they_come(tmp_path: Path, images: jobs.JSON) -> None:
    trained = jobs.write(
        tmp_path / "train", images, task=IMAGE, architecture="small_convnet",
        options={"channels": [8, 16], "hidden": 0}, training={"epochs": 1},
    )  # fmt: skip
    jobs.run(trained)
    with pytest.raises(ModelError, match="Export it as onnx-int8-static"):
        shipping.ship(tmp_path / "a", trained / "output/model", images, {"format": "onnx-int8"})


def test_a_network_beyond_two_gigabytes_is_refused(
    tmp_path: Path, teacher: Path, texts: jobs.JSON, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_graph, "MOST_BYTES", 100)
    with pytest.raises(ModelError, match="at most 2 GB"):
        shipping.ship(tmp_path, teacher, texts, {"format": "onnx"})


def test_rows_of_another_dataset_are_refused(
    tmp_path: Path, teacher: Path, texts: jobs.JSON
) -> None:
    with pytest.raises(DataError, match="changed"):
        shipping.ship(tmp_path, teacher, {**texts, "sha256": "0" * 64}, {"format": "onnx"})


def test_labels_that_the_model_does_not_know_are_not_scored(
    tmp_path: Path, teacher: Path, texts: jobs.JSON
) -> None:
    other = {**texts, "labels": ["cancel", "pay", "return"]}
    report = shipping.ship(tmp_path, teacher, other, {"format": "safetensors"})
    assert report["metric"] is None
    assert report["agreement"] == 1.0


def report_of(alone: float, many: float, share: float, change: float) -> jobs.JSON:
    return {
        "speed_up": {"1": alone, "32": many},
        "size": {"share": share},
        "metric": {"name": "accuracy", "before": 0.9, "after": 0.9 + change, "change": change},
        "agreement": 0.99,
        "rows": 1000,
    }


def test_a_slower_form_is_not_recommended() -> None:
    said = exporting.verdict(report_of(0.4, 2.0, 0.25, 0.0))
    assert said["recommended"] is False
    assert said["sentence"].startswith("Slower: one row takes 2.5 times as long")


def test_a_form_that_loses_accuracy_is_not_recommended() -> None:
    said = exporting.verdict(report_of(3.0, 2.0, 0.25, -0.05))
    assert said["recommended"] is False
    assert said["sentence"].startswith("Worse: its accuracy is 85.0 % instead of 90.0 %")


def test_a_faster_and_smaller_form_is_recommended() -> None:
    said = exporting.verdict(report_of(3.0, 0.5, 0.25, 0.0))
    assert said["recommended"] is True
    assert said["sentence"] == (
        "It answers 99.0 % of 1,000 validation rows as the model does. It is 3.0 times as fast. "
        "32 rows at once take 2.0 times as long. Its file has 25 % of the bytes."
    )


@pytest.mark.parametrize(
    ("wish", "field", "sentence"),
    [
        ({}, "format", "It must be one of"),
        ({"format": "tflite"}, "format", "It must be one of bundle, onnx,"),
        ({"format": "onnx", "size": 3}, "size", "There is no such key"),
        ({"format": "onnx", "options": {"opset": 3}}, "options.opset", "between 18 and 23"),
        ({"format": "onnx", "options": {"bits": 3}}, "options.bits", "no such option"),
        ({"format": "onnx", "options": []}, "options", "an object"),
        ({"format": "onnx", "compress": "small"}, "compress", "It must be"),
        ({"format": "onnx", "compress": {"kind": "zip"}}, "compress.kind", "one of"),
        (
            {"format": "safetensors", "compress": {"kind": "int8-static"}},
            "compress.kind",
            "ships as onnx.",
        ),
        (
            {"format": "onnx", "compress": {"kind": "low-rank", "options": {"share": 2}}},
            "compress.options.share",
            "between",
        ),
    ],
)
def test_a_bad_wish_is_named(wish: jobs.JSON, field: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        export_config.read(wish, CATALOG, TEXT)
    assert [fault.field for fault in caught.value.faults] == [field]
    assert sentence in caught.value.faults[0].sentence


def test_a_wish_is_completed_and_means_the_same_again() -> None:
    raw = {"format": "onnx-int8", "compress": {"kind": "structured-pruning"}}
    wish = export_config.read(raw, CATALOG, IMAGE)
    assert wish.options == {"opset": 20, "per_channel": True}
    assert wish.compress is not None
    assert wish.compress["options"]["share"] == 0.5
    assert export_config.read(wish.as_dict(), CATALOG, IMAGE) == wish


@pytest.mark.slow
def test_the_command_writes_its_result_or_its_reason(
    tmp_path: Path, teacher: Path, texts: jobs.JSON
) -> None:
    good = shipping.write(tmp_path / "good", teacher, texts, {"format": "safetensors"})
    bad = shipping.write(tmp_path / "bad", teacher, texts, {"format": "gguf"})
    both = [jobs.spawn(good, "export"), jobs.spawn(bad, "export")]
    assert [one.wait(timeout=240) for one in both] == [0, 1]
    found = json.loads((good / "result.json").read_text())
    for file in found["files"]:
        content = (good / "output" / file["name"]).read_bytes()
        assert file["sha256"] == hashlib.sha256(content).hexdigest()
        assert file["bytes"] == len(content)
    stages = [line["name"] for line in jobs.lines(good, "stage")]
    assert stages[0] == "reading the model"
    assert stages[-1] == "measuring speed"
    failed = json.loads((bad / "result.json").read_text())["failed"]
    assert failed["code"] == "bad_configuration"
    assert not (bad / "output").exists()


TRANSFORMERS: list[tuple[str, jobs.JSON, list[str]]] = [
    ("bert", {"hidden_size": 32, "intermediate_size": 64}, ["onnx", "onnx-int8-static"]),
    ("distilbert", {"dim": 32, "hidden_dim": 64}, ["onnx-int8", "torch-export"]),
    ("vit", {"hidden_size": 16, "num_hidden_layers": 1}, ["onnx", "onnx-int8"]),
    ("resnet", {"hidden_sizes": [8, 16], "depths": [1, 1]}, ["onnx", "onnx-int8-static"]),
    ("mobilenet_v2", {"depth_multiplier": 0.2}, ["onnx-int8-static"]),
]


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "options", "forms"), TRANSFORMERS)
def test_networks_of_transformers_are_shipped(
    tmp_path: Path,
    texts: jobs.JSON,
    images: jobs.JSON,
    architecture: str,
    options: jobs.JSON,
    forms: list[str],
) -> None:
    """Texts of different lengths share a batch, so the masks of attention are met."""
    task = TEXT if "bert" in architecture else IMAGE
    dataset = texts if task == TEXT else images
    trained = jobs.write(
        tmp_path / "train", dataset, task=task, architecture=architecture, options=options,
        training={"epochs": 3, "learning_rate": 0.003},
    )  # fmt: skip
    jobs.run(trained)
    for form in forms:
        report = shipping.ship(tmp_path / form, trained / "output/model", dataset, {"format": form})
        spread = 1.0 if "int8" in form else 1e-4
        assert report["difference"]["max"] < spread, form
        assert report["size"]["after"] > 0


def test_the_process_ends_with_its_parent() -> None:
    """What keeps a dead worker's export from going on is asked first of all."""
    environment = {**os.environ, "DISTILLHUB_PARENT_PID": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "training.engine", "export", "nowhere"],
        cwd=jobs.ROOT,
        env=environment,
        capture_output=True,
    )
    assert done.returncode == 1
    assert not Path("nowhere").exists()


def test_numbers_are_answered_in_their_unit(tmp_path: Path) -> None:
    """A network answers deviations from a mean; what is shipped answers what was asked."""
    dataset = jobs.tables(tmp_path / "numbers.parquet", problem="regression")
    trained = jobs.write(
        tmp_path / "train", dataset, task="tabular-classification", architecture="tabular_mlp",
        options={"hidden": [8]}, training={"epochs": 2},
    )  # fmt: skip
    jobs.run(trained)
    report = shipping.ship(tmp_path / "out", trained / "output/model", dataset, {"format": "onnx"})
    assert report["metric"]["name"] == "rmse"
    assert report["metric"]["after"] == pytest.approx(report["metric"]["before"], rel=1e-4)
    assert report["agreement"] is None


@pytest.mark.slow
def test_a_network_that_reads_step_by_step_is_shipped(tmp_path: Path) -> None:
    """Its labels are of words, and texts of one word are read like long ones."""
    chance = np.random.default_rng(0)
    said = [
        " ".join(chance.choice(jobs.LABELS, size=int(chance.integers(1, 7)))) for _ in range(60)
    ]
    path = tmp_path / "dataset.parquet"
    dataset = jobs._write(path, {"text": pa.array(said, pa.string())}, list(said))
    trained = jobs.write(
        tmp_path / "train", dataset, task="token-classification", architecture="bilstm",
        options={"dim": 4, "hidden": 4, "vocabulary": 30}, training={"epochs": 2},
    )  # fmt: skip
    jobs.run(trained)
    model = trained / "output/model"
    for form, close in (("onnx", 1e-4), ("onnx-int8", 0.5)):
        report = shipping.ship(tmp_path / form, model, dataset, {"format": form})
        assert report["difference"]["max"] < close
    with pytest.raises(ModelError, match="step by step"):
        shipping.ship(tmp_path / "graph", model, dataset, {"format": "torch-export"})
