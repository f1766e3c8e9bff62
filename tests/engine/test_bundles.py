"""Bundles run by themselves, and answer as the network did."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.engine import jobs, shipping
from training.engine import bundling, data, export_config, methods, sounds
from training.engine.bundled import sounds as bundled_sounds
from training.engine.errors import ConfigError, ModelError

AUDIO, TABLE = "audio-classification", "tabular-classification"
WISH = {"format": "bundle", "options": {"examples": 3}}
#: What must not be imported where a bundle runs.
OURS = ("torch", "transformers", "training", "distillhub", "onnx", "pyarrow", "scipy")


@pytest.fixture(scope="session")
def bundles(
    tmp_path_factory: pytest.TempPathFactory,
    texts: jobs.JSON,
    images: jobs.JSON,
    teacher: Path,
    image_teacher: Path,
) -> dict[str, Path]:
    """The folder of a bundle of texts and one of pictures."""
    made = {}
    for kind, model, dataset in (("text", teacher, texts), ("image", image_teacher, images)):
        folder = tmp_path_factory.mktemp(f"bundle-{kind}")
        shipping.ship(folder, model, dataset, {**WISH, "options": {"examples": 3, "int8": True}})
        made[kind] = folder / "output"
    return made


def predict(folder: Path, *arguments: str, python: str = sys.executable) -> str:
    done = subprocess.run(
        [python, "predict.py", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_bundle_holds_what_it_needs_and_says_which_versions(bundles: dict[str, Path]) -> None:
    files = {path.name for path in bundles["text"].iterdir()}
    assert {
        *("model.onnx", "model-int8.onnx", "tokenizer.json", "labels.json", "predict.py"),
        *("inputs.py", "requirements.txt", "examples.json", "bundle.json", "README.txt"),
    } <= files
    pins = (bundles["text"] / "requirements.txt").read_text().split()
    assert [one.split("==")[0] for one in pins] == ["numpy", "onnxruntime", "tokenizers"]
    assert all("+" not in one for one in pins)
    assert json.loads((bundles["text"] / "labels.json").read_text()) == jobs.LABELS
    assert "predict.py --check" in (bundles["text"] / "README.txt").read_text()
    pictures = {path.name for path in bundles["image"].iterdir()}
    assert {"example-0.png", "example-1.png", "example-2.png"} <= pictures


def test_it_answers_texts_as_the_network_does(
    bundles: dict[str, Path], teacher: Path, texts: jobs.JSON, tmp_path: Path
) -> None:
    written = ["pay the", "please send", "", "a word nobody knows zzz", "refund " * 300]
    lines = predict(bundles["text"], *written).splitlines()
    found = [json.loads(line) for line in lines]
    network = shipping.load(teacher, shipping.TEXT)
    dataset = jobs.of_texts(tmp_path / "rows.parquet", written)
    inputs = network.preprocessing.prepare(Path(dataset["path"]), tmp_path / "prepared")
    logits = network.module(**inputs.batch(np.arange(len(written)))).detach()
    own = logits.double().softmax(-1)
    for one, probabilities in zip(found, own, strict=True):
        np.testing.assert_allclose(one["probabilities"], probabilities, atol=1e-4)
        assert one["label"] == network.labels[int(probabilities.argmax())]


@pytest.mark.parametrize("kind", ["text", "image"])
def test_it_checks_itself_and_notices_a_change(
    bundles: dict[str, Path], kind: str, tmp_path: Path
) -> None:
    folder = shutil.copytree(bundles[kind], tmp_path / "copy")
    assert "3 of 3 examples answer as the model did" in predict(folder, "--check")
    answers = json.loads((folder / "examples.json").read_text())
    answers[0]["answer"]["probabilities"][0] += 0.01
    (folder / "examples.json").write_text(json.dumps(answers))
    with pytest.raises(ModelError, match="0 of 3 examples answer otherwise"):
        bundling.check(folder)


def test_nothing_of_ours_is_imported(bundles: dict[str, Path]) -> None:
    program = (
        "import sys; sys.path.insert(0, '.')\nfrom predict import Predictor\n"
        "print(Predictor().check()[0])\n"
        f"print([one for one in {OURS!r} if one in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=bundles["text"],
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split("\n")[:2] == ["True", "[]"], done.stderr


def _trained(
    folder: Path, dataset: jobs.JSON, task: str, architecture: str, **options: Any
) -> Path:
    job = jobs.write(
        folder, dataset, task=task, architecture=architecture, options=options,
        training={"epochs": 1},
    )  # fmt: skip
    jobs.run(job)
    return job / "output" / "model"


@pytest.mark.parametrize("problem", ["single_label", "regression"])
def test_rows_of_tables_are_answered(tmp_path: Path, problem: str) -> None:
    dataset = jobs.tables(tmp_path / "rows.parquet", problem=problem)
    model = _trained(tmp_path / "train", dataset, TABLE, "tabular_mlp", hidden=[8])
    shipping.ship(tmp_path / "out", model, dataset, WISH)
    folder = tmp_path / "out/output"
    row = json.loads((folder / "examples.json").read_text())[0]
    (answer,) = predict(folder, json.dumps(row["input"])).splitlines()
    name = "value" if problem == "regression" else "label"
    assert json.loads(answer)[name] == pytest.approx(row["answer"][name], abs=1e-3)
    empty = json.loads(predict(folder, "{}"))  # every column is missing
    assert set(empty) == set(row["answer"])


def test_sounds_are_answered(tmp_path: Path) -> None:
    dataset = jobs.sounds(tmp_path / "rows.parquet")
    model = _trained(tmp_path / "train", dataset, AUDIO, "spectrogram_convnet")
    shipping.ship(tmp_path / "out", model, dataset, WISH)
    folder = tmp_path / "out/output"
    assert "soundfile==" in (folder / "requirements.txt").read_text()
    row = json.loads((folder / "examples.json").read_text())[0]
    (answer,) = predict(folder, row["input"]["file"]).splitlines()
    assert json.loads(answer)["label"] == row["answer"]["label"]


@pytest.mark.parametrize("trimmed", [True, False])
def test_a_bundle_makes_the_waveforms_of_the_engine(trimmed: bool, tmp_path: Path) -> None:
    dataset = jobs.sounds(tmp_path / "rows.parquet", rows=10)
    wish = sounds.Wish(scaled=True, masked=True, trimmed=trimmed, rate=6_000, minimum=500)
    said = sounds.fitted(wish, 6_000, 0.2)
    path = Path(dataset["path"])
    own = said.prepare(path, tmp_path / "prepared").batch(np.arange(10))
    longest = own["input_values"].shape[1]
    shapes = {"input_values": ["batch", "length" if trimmed else longest]}
    inputs = bundled_sounds.Inputs(tmp_path, said.as_dict(), shapes)
    found = inputs.batch(data.values(path, "audio", np.arange(10)))
    np.testing.assert_allclose(found["input_values"], own["input_values"], atol=1e-3)
    np.testing.assert_array_equal(found["attention_mask"], own["attention_mask"])


@pytest.mark.parametrize(("before", "after"), [(44_100, 16_000), (8_000, 16_000), (48_000, 4_000)])
def test_a_bundle_resamples_as_the_engine_does(before: int, after: int) -> None:
    chance = np.random.default_rng(0)
    wave = chance.normal(size=before // 3).astype(np.float32) * 0.2
    own = sounds.resampled(wave, before, after)
    theirs = bundled_sounds._resampled(wave, before, after)
    assert len(own) == len(theirs)
    np.testing.assert_allclose(theirs, own, atol=2e-6)


@pytest.mark.parametrize("features", ["log_mel", "kaldi", "whisper"])
def test_a_bundle_makes_the_spectrograms_of_the_engine(features: Any, tmp_path: Path) -> None:
    wish = sounds.Wish(features=features, mels=20, scaled=False)
    said = sounds.fitted(wish, 16_000, 0.5)
    wave = np.random.default_rng(1).normal(size=6_000).astype(np.float32) * 0.1
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, 16_000, format="WAV", subtype="FLOAT")
    inputs = bundled_sounds.Inputs(tmp_path, said.as_dict(), {})
    (found,) = inputs.batch([buffer.getvalue()]).values()
    own = said.spectrogram(said.decode(buffer.getvalue(), 0))
    theirs = found[0] if features == "kaldi" else found.reshape(found.shape[-2:]).T
    np.testing.assert_allclose(theirs, own.astype(np.float16).astype(np.float32), atol=1e-5)


def test_vectors_are_answered(tmp_path: Path, texts: jobs.JSON) -> None:
    asked = {"architecture": "bag_of_embeddings", "options": {"dim": 8, "vocabulary": 60}}
    model = jobs.vectors(tmp_path / "train", texts, asked)
    shipping.ship(tmp_path / "out", model, texts, WISH)
    row = json.loads((tmp_path / "out/output/examples.json").read_text())[0]
    (answer,) = predict(tmp_path / "out/output", row["input"]).splitlines()
    np.testing.assert_allclose(json.loads(answer)["vector"], row["answer"]["vector"], atol=1e-3)


@pytest.mark.slow
def test_networks_of_transformers_run_by_themselves(tmp_path: Path, texts: jobs.JSON) -> None:
    """Their texts are framed and cut by a tokenizer of their own."""
    small = {"dim": 32, "hidden_dim": 64, "n_layers": 1}
    model = _trained(tmp_path / "train", texts, shipping.TEXT, "distilbert", **small)
    shipping.ship(tmp_path / "out", model, texts, WISH)
    assert "3 of 3 examples" in predict(tmp_path / "out/output", "--check")


def test_rows_may_stay_at_home(tmp_path: Path, teacher: Path, texts: jobs.JSON) -> None:
    wish = {"format": "bundle", "options": {"examples": 0}}
    report = shipping.ship(tmp_path, teacher, texts, wish)
    assert json.loads((tmp_path / "output/examples.json").read_text()) == []
    assert "no examples" in predict(tmp_path / "output", "--check")
    assert report["agreement"] == 1.0


@pytest.mark.parametrize("task", ["text-generation", "token-classification"])
def test_other_tasks_are_refused(task: str) -> None:
    with pytest.raises(ConfigError) as caught:
        export_config.read(WISH, methods.describe(), task)
    assert f"Bundle is not made of {task}. It must be one of onnx" in str(caught.value)


@pytest.mark.slow
def test_bundles_run_in_a_clean_environment(bundles: dict[str, Path], tmp_path: Path) -> None:
    """A virtual environment of its own, with what requirements.txt names and nothing else."""
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True
    )
    python = str(tmp_path / "venv/bin/python")
    pip = [sys.executable, "-m", "pip", "--python", python]
    pins = [part for kind in bundles for part in ("-r", str(bundles[kind] / "requirements.txt"))]
    quiet = ["--quiet", "--disable-pip-version-check", "--no-compile"]
    done = subprocess.run([*pip, "install", *quiet, *pins], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    listed = subprocess.run(
        [*pip, "list", "--format=freeze"], capture_output=True, text=True, check=True
    ).stdout.lower()
    assert not any(f"\n{one}==" in f"\n{listed}" for one in OURS)
    for kind, folder in bundles.items():
        away = shutil.copytree(folder, tmp_path / kind)
        assert "3 of 3 examples" in predict(away, "--check", python=python)
        row = json.loads((away / "examples.json").read_text())[0]
        given = row["input"] if kind == "text" else row["input"]["file"]
        (answer,) = predict(away, given, python=python).splitlines()
        np.testing.assert_allclose(
            json.loads(answer)["probabilities"], row["answer"]["probabilities"], atol=1e-4
        )
