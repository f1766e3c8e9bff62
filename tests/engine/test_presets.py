"""Every preset is a configuration that trains: on tiny data, end to end, with all its terms."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.engine import jobs, writings
from training.engine import config, methods, presets
from training.engine.events import Finished, Measured
from training.engine.presets import PRESETS, Preset
from training.engine.schemes import SCHEMES

TEXT, IMAGE, SOUND = "text-classification", "image-classification", "audio-classification"
WRITING, VECTORS = "text-generation", "feature-extraction"
REASONED = f"{WRITING}/reasoned"  # prompts whose answers come with reasons
PAIRED = f"{WRITING}/pairs"  # prompts with a better and a worse answer
BERT: jobs.JSON = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16,
    "vocab_size": 60, "max_length": 16,
}  # fmt: skip
WAVES: jobs.JSON = {
    "conv_dim": [8, 8], "conv_stride": [10, 8], "conv_kernel": [20, 8], "hidden_size": 16,
    "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
    "classifier_proj_size": 8,
}  # fmt: skip
RESNET: jobs.JSON = {
    "hidden_sizes": [8, 16],
    "depths": [1, 1],
    "embedding_size": 8,
    "layer_type": "basic",
}


@dataclass(frozen=True)
class Pair:
    """A teacher and a student of one kind of data, as the preset's words describe them."""

    task: str
    teacher: tuple[str, jobs.JSON]
    student: tuple[str, jobs.JSON]
    training: jobs.JSON = field(default_factory=dict)


PAIRS = {
    TEXT: Pair(
        TEXT, ("bert", {**BERT, "num_hidden_layers": 4, "hidden_size": 24}), ("bert", BERT),
        {"learning_rate": 0.003},
    ),
    IMAGE: Pair(
        IMAGE, ("small_convnet", {"channels": [8, 8], "hidden": 16}),
        ("small_convnet", {"channels": [4, 4], "hidden": 0}), {"learning_rate": 0.01},
    ),
    WRITING: Pair(
        WRITING, ("gru_language_model", writings.LARGER), ("gru_language_model", writings.SMALL),
        {"learning_rate": 0.02, "batch_size": 8},
    ),
    VECTORS: Pair(
        VECTORS, ("bert-embedding", {**BERT, "hidden_size": 24}), ("bert-embedding", BERT),
    ),
    "step_by_step": Pair(
        REASONED, ("gru_language_model", writings.LARGER),
        ("gru_language_model", {**writings.SMALL, "max_length": 48}),
        {"learning_rate": 0.02, "batch_size": 8},
    ),
    "preferences": Pair(
        PAIRED, ("gru_language_model", writings.LARGER), ("gru_language_model", writings.SMALL),
        {"batch_size": 8},
    ),
    "resnet_to_mobilenet": Pair(
        IMAGE, ("resnet", RESNET), ("mobilenet_v2", {"depth_multiplier": 0.1}),
        {"learning_rate": 0.01, "epochs": 2},
    ),
    "speech": Pair(
        SOUND, ("wav2vec2", WAVES), ("spectrogram_convnet", {"channels": [6], "mels": 16}),
        {"learning_rate": 0.01},
    ),
}  # fmt: skip
EVERY = [one.key for one in PRESETS]


def pair_of(preset: type[Preset]) -> str:
    """The pair that a preset is tried with."""
    if preset.key in PAIRS:
        return preset.key
    fitting = catalogued(preset.key)["tasks"]
    return next(name for name in (TEXT, IMAGE, SOUND, WRITING, VECTORS) if name in fitting)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, jobs.JSON]:
    home = tmp_path_factory.mktemp("data")
    texts = jobs.texts(home / "texts.parquet")
    return {
        TEXT: texts,
        VECTORS: texts,
        IMAGE: jobs.images(home / "images.parquet"),
        SOUND: jobs.sounds(home / "sounds.parquet"),
        WRITING: writings.texts(home / "writings.parquet"),
        REASONED: writings.reasoned(home / "reasoned.parquet"),
        PAIRED: writings.preferred(home / "pairs.parquet"),
    }


@pytest.fixture(scope="module")
def taught_by(
    tmp_path_factory: pytest.TempPathFactory, data: dict[str, jobs.JSON]
) -> Callable[[str], Path]:
    """The model folder of a pair's teacher, fine-tuned once."""
    made: dict[str, Path] = {}

    def teacher(name: str) -> Path:
        if name not in made:
            pair = PAIRS[name]
            architecture, options = pair.teacher
            if pair.task == VECTORS:  # random ones are good enough to be imitated
                home = tmp_path_factory.mktemp("vectors")
                made[name] = jobs.vectors(home, data[pair.task], options)
                return made[name]
            folder = jobs.write(
                tmp_path_factory.mktemp("teacher"), data[pair.task], task=pair.task,
                architecture=architecture, options=options, evaluate=False,
                training={"epochs": 3, **pair.training},
            )  # fmt: skip
            jobs.run(folder)
            made[name] = folder / "output" / "model"
        return made[name]

    return teacher


@cache
def catalog() -> jobs.JSON:
    return methods.describe()


def catalogued(key: str) -> jobs.JSON:
    return next(one for one in catalog()["presets"] if one["key"] == key)


@pytest.mark.parametrize("key", EVERY)
def test_it_trains_to_the_end_with_every_term_it_names(
    tmp_path: Path, data: dict[str, jobs.JSON], taught_by: Callable[[str], Path], key: str
) -> None:
    preset = PRESETS[key]
    name = pair_of(preset)
    pair = PAIRS[name]
    asked = preset.configuration()
    asked.pop("exports", None)
    training = {"epochs": 2, **pair.training, **asked.pop("training", {})}
    architecture, options = pair.student
    folder = jobs.write(
        tmp_path, data[pair.task], task=pair.task.split("/")[0], architecture=architecture,
        teachers=[str(taught_by(name)) for _ in range(catalogued(key)["teachers"])],
        training=training, options=options,
        evaluate=False, **asked,
    )  # fmt: skip
    told = jobs.run(folder)

    assert isinstance(told[-1], Finished)
    assert told[-1].summary["best_value"] >= 0.0
    steps = [one.values for one in jobs.of(told, Measured) if "train/loss" in one.values]
    assert all(math.isfinite(one["train/loss"]) for one in steps)
    measured = {name for one in steps for name in one}
    assert {f"train/{term['kind']}" for term in preset.terms()} <= measured
    scheduled = [one["kind"] for one in preset.terms() if one.get("weight_schedule")]
    assert {f"train/{kind}_weight" for kind in scheduled} <= measured


@pytest.mark.parametrize("key", EVERY)
def test_it_can_be_asked_for_whatever_it_is_offered_for(key: str) -> None:
    entry = catalogued(key)
    assert entry["tasks"]
    assert entry["problems"]
    for task in entry["tasks"]:
        for problem in entry["problems"]:
            asked = {
                "task": task, "dataset": "d@1", "student": "s@1",
                "teachers": [f"t@{number + 1}" for number in range(entry["teachers"])],
                **PRESETS[key].configuration(),
            }  # fmt: skip
            parsed = config.parse(asked, catalog(), problem=problem)
            terms = [loss.kind for loss in parsed.losses] + [
                loss.kind for stage in parsed.stages for loss in stage.losses
            ]
            assert set(terms) == {term["kind"] for term in PRESETS[key].terms()}


@pytest.mark.parametrize("key", EVERY)
def test_it_says_what_it_does_when_to_take_it_and_where_it_comes_from(key: str) -> None:
    preset = PRESETS[key]
    assert preset.family in presets.FAMILIES
    for words in (preset.summary, preset.when):
        assert words.endswith(".")
        assert len(words) <= 100
    assert preset.paper or preset.key in ("fine_tune", "balanced")
    if {"hidden_states", "attention_maps"} & {term["kind"] for term in preset.terms()}:
        assert preset.warning


def test_one_that_needs_no_teacher_offers_none() -> None:
    for entry in catalog()["presets"]:
        kind = entry["scheme"] if isinstance(entry["scheme"], str) else entry["scheme"]["kind"]
        assert entry["needs_teacher"] or not SCHEMES[kind].needs_teacher
        if SCHEMES[kind].takes_teachers and entry["needs_teacher"]:
            assert entry["teachers"] >= 1
        else:
            assert entry["teachers"] == 0


def test_the_catalog_has_them_all_and_is_plain_json() -> None:
    entries: list[dict[str, Any]] = catalog()["presets"]
    assert sorted(one["key"] for one in entries) == sorted(EVERY)
    assert json.loads(json.dumps(entries)) == entries
    assert entries[0]["key"] == "fine_tune"
    families = [one["family"] for one in entries]
    assert list(dict.fromkeys(families)) == list(presets.FAMILIES.values())
