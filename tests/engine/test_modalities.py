"""Sounds and tables through the whole engine: fine-tuned, distilled, evaluated, reloaded."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.engine import jobs, shipping
from tests.engine.test_architectures import built
from training.engine import networks
from training.engine.answers import Wanted
from training.engine.errors import ConfigError
from training.engine.events import Finished
from training.engine.networks import Place

SOUND, TABLE = "audio-classification", "tabular-classification"
STEADY: jobs.JSON = {"epochs": 8, "learning_rate": 0.01}
TINY_WAVES: jobs.JSON = {
    "conv_dim": [8, 8],
    "conv_stride": [10, 8],
    "conv_kernel": [20, 8],
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "classifier_proj_size": 8,
}
LARGER: dict[str, tuple[str, jobs.JSON]] = {
    SOUND: ("spectrogram_convnet", {"channels": [16, 16], "mels": 16}),
    TABLE: ("tabular_mlp", {"hidden": [32]}),
}
SMALLER: dict[str, tuple[str, jobs.JSON]] = {
    SOUND: ("spectrogram_convnet", {"channels": [6], "mels": 16}),
    TABLE: ("tabular_mlp", {"hidden": [4], "embedding": 2}),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, jobs.JSON]:
    home = tmp_path_factory.mktemp("data")
    return {
        SOUND: jobs.sounds(home / "sounds.parquet"),
        TABLE: jobs.tables(home / "tables.parquet"),
        "regression": jobs.tables(home / "numbers.parquet", problem="regression"),
    }


@pytest.fixture(scope="module")
def teachers(
    tmp_path_factory: pytest.TempPathFactory, data: dict[str, jobs.JSON]
) -> dict[str, Path]:
    """A fine-tuned teacher of each task, its model's folder."""
    made = {}
    for task, (architecture, options) in LARGER.items():
        folder = jobs.write(
            tmp_path_factory.mktemp("teacher"),
            data[task],
            task=task,
            architecture=architecture,
            options=options,
            training=STEADY,
        )
        done = jobs.of(jobs.run(folder), Finished)[0].summary
        assert done["student"]["accuracy"] > 0.8
        made[task] = folder / "output" / "model"
    return made


@pytest.mark.parametrize("task", [SOUND, TABLE])
def test_a_student_learns_from_a_teacher(
    tmp_path: Path, data: dict[str, jobs.JSON], teachers: dict[str, Path], task: str
) -> None:
    architecture, options = SMALLER[task]
    folder = jobs.write(
        tmp_path,
        data[task],
        task=task,
        architecture=architecture,
        options=options,
        teachers=[str(teachers[task])],
        training={"epochs": 20, "learning_rate": 0.02},
    )
    done = jobs.of(jobs.run(folder), Finished)[0].summary
    assert done["agreement"] > 0.6
    assert done["compression"] > 1
    again = networks.load("student", folder / "output" / "model", task)
    network = networks.load("teacher", teachers[task], task)
    assert again.parameters < network.parameters


@pytest.mark.parametrize("strength", ["light", "strong"])
def test_augmented_sounds_are_shown_to_student_and_teacher(
    tmp_path: Path, data: dict[str, jobs.JSON], teachers: dict[str, Path], strength: str
) -> None:
    architecture, options = SMALLER[SOUND]
    folder = jobs.write(
        tmp_path,
        data[SOUND],
        task=SOUND,
        architecture=architecture,
        options=options,
        teachers=[str(teachers[SOUND])],
        training={"epochs": 1, "augmentation": strength},
    )
    assert jobs.of(jobs.run(folder), Finished)


def test_a_transformers_student_hears_waveforms(
    tmp_path: Path, data: dict[str, jobs.JSON], teachers: dict[str, Path]
) -> None:
    """Its teacher sees spectrograms: each has its own way of hearing."""
    folder = jobs.write(
        tmp_path,
        data[SOUND],
        task=SOUND,
        architecture="wav2vec2",
        options=TINY_WAVES,
        teachers=[str(teachers[SOUND])],
        training={"epochs": 1},
    )
    assert jobs.of(jobs.run(folder), Finished)
    model = folder / "output" / "model"
    assert (model / "preprocessor_config.json").exists()
    ours = networks.load("student", model, SOUND)
    theirs = _as_others_load_it(model)
    wave = np.random.default_rng(0).normal(0, 0.1, 400).astype(np.float32)
    inputs = {"input_values": torch.from_numpy(wave)[None]}
    ours.module.eval()
    with torch.inference_mode():
        assert torch.allclose(ours.module(**inputs), theirs(**inputs).logits, atol=1e-5)


@pytest.mark.slow
def test_a_network_of_waveforms_ships_with_lengths_that_vary(
    tmp_path: Path, data: dict[str, jobs.JSON]
) -> None:
    """What was written is asked with the shortest sound there is, and with longer ones."""
    torch.manual_seed(0)
    folder = jobs.write(
        tmp_path / "job",
        data[SOUND],
        task=SOUND,
        architecture="wav2vec2",
        options=TINY_WAVES,
        training={"epochs": 1},
    )
    jobs.run(folder)
    model = folder / "output" / "model"
    report = shipping.ship(tmp_path / "shipped", model, data[SOUND], {"format": "torch-export"})
    assert report["agreement"] == 1.0


@pytest.mark.slow
def test_a_table_ships_with_its_numbers_and_words(
    tmp_path: Path, data: dict[str, jobs.JSON], teachers: dict[str, Path]
) -> None:
    report = shipping.ship(tmp_path, teachers[TABLE], data[TABLE], {"format": "onnx"})
    assert report["agreement"] == 1.0


def _as_others_load_it(folder: Path) -> Any:
    from transformers import AutoModelForAudioClassification

    return AutoModelForAudioClassification.from_pretrained(folder).eval()


def test_a_checkpoint_of_others_is_a_teacher_of_sounds(
    tmp_path: Path, data: dict[str, jobs.JSON]
) -> None:
    """A folder as the hub has it: no word of ours in it."""
    from transformers import HubertConfig, HubertForSequenceClassification, Wav2Vec2FeatureExtractor

    torch.manual_seed(0)
    config = HubertConfig(**TINY_WAVES, num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2)
    config.id2label = dict(enumerate(jobs.LABELS))
    config.num_feat_extract_layers = 2
    HubertForSequenceClassification(config).save_pretrained(tmp_path / "theirs")
    Wav2Vec2FeatureExtractor(sampling_rate=4000).save_pretrained(tmp_path / "theirs")
    architecture, options = SMALLER[SOUND]
    folder = jobs.write(
        tmp_path / "job",
        data[SOUND],
        task=SOUND,
        architecture=architecture,
        options=options,
        teachers=[str(tmp_path / "theirs")],
        training={"epochs": 1},
    )
    assert jobs.of(jobs.run(folder), Finished)


def test_numbers_are_learned_from_tables(tmp_path: Path, data: dict[str, jobs.JSON]) -> None:
    teacher = jobs.write(
        tmp_path / "teacher",
        data["regression"],
        task=TABLE,
        architecture="tabular_mlp",
        options={"hidden": [32], "dropout": 0.0},
        training={"epochs": 30, "learning_rate": 0.02},
    )
    taught = jobs.of(jobs.run(teacher), Finished)[0].summary["student"]
    assert taught["r2"] > 0.8
    student = jobs.write(
        tmp_path / "student",
        data["regression"],
        task=TABLE,
        architecture="tabular_mlp",
        options={"hidden": [8], "dropout": 0.0},
        teachers=[str(teacher / "output" / "model")],
        losses=[{"kind": "logit_mse", "weight": 1.0}],
        training={"epochs": 30, "learning_rate": 0.02},
    )
    assert jobs.of(jobs.run(student), Finished)[0].summary["student"]["r2"] > 0.6


@pytest.mark.parametrize("key", ["wav2vec2", "sew"])
def test_what_is_seen_of_a_sound_has_a_mask_of_its_own_places(key: str) -> None:
    network = built(key)
    network.module.eval()
    waves, real = torch.randn(2, 2400), torch.ones(2, 2400, dtype=torch.int64)
    waves[0, 1200:], real[0, 1200:] = 0.0, 0
    batch = {"input_values": waves, "attention_mask": real}
    place = Place(torch.device("cpu"))
    for wanted in (Wanted(hidden=True), Wanted(attention=True), Wanted(relations=True)):
        with torch.no_grad():
            seen = place.answer(network, batch, wanted)
        assert seen.mask is not None
        time = [*(one.shape[1] for one in seen.hidden), *(one.shape[-1] for one in seen.attention)]
        assert {*time, *(one.shape[2] for one in seen.relations)} == {seen.mask.shape[1]}
        assert 0 < int(seen.mask[0].sum()) < int(seen.mask[1].sum()) == seen.mask.shape[1]


def test_attention_that_goes_past_its_layers_is_refused_by_name() -> None:
    network = built("wavlm")
    batch = {"input_values": torch.randn(2, 2400)}
    with pytest.raises(ConfigError, match="queries, keys and values"):
        Place(torch.device("cpu")).answer(network, batch, Wanted(relations=True))
