"""The loop's own promises: joint terms over micro-batches, layers, labels of every problem, and
several processes."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tests.engine import jobs
from training.engine import networks
from training.engine.errors import ConfigError
from training.engine.events import Finished, Logged, Measured

CONVNET: jobs.JSON = {"channels": [4, 4], "hidden": 8}
TINY_BERT: jobs.JSON = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "vocab_size": 60, "max_length": 16,
}  # fmt: skip
STILL: jobs.JSON = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
STEADY_BAG: jobs.JSON = {**jobs.SMALL_BAG, "dropout": 0.0, "word_dropout": 0.0}
RELATIONAL: list[jobs.JSON] = [{"kind": "relational"}, {"kind": "hard_labels", "weight": 0.5}]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory, texts: jobs.JSON) -> Path:
    folder = jobs.write(
        tmp_path_factory.mktemp("bert"), texts, architecture="bert",
        options={**TINY_BERT, "num_hidden_layers": 4}, training={"epochs": 1},
    )  # fmt: skip
    jobs.run(folder)
    return folder / "output" / "model"


def weights(folder: Path, task: str) -> dict[str, torch.Tensor]:
    return networks.load("tiny", folder / "output" / "model", task).module.state_dict()


def test_rows_that_speak_to_each_other_do_so_across_micro_batches(
    tmp_path: Path, texts: jobs.JSON, teacher: Path
) -> None:
    """A relational term over 16 rows at once, and over 4 times 4: equal weights."""
    made = []
    for name, size, times in (("one", 16, 1), ("four", 4, 4)):
        folder = jobs.write(
            tmp_path / name, texts, teachers=[str(teacher)], losses=RELATIONAL,
            options=STEADY_BAG,
            training={"batch_size": size, "gradient_accumulation": times, "epochs": 1,
                      "optimizer": "sgd", "learning_rate": 0.1},
        )  # fmt: skip
        jobs.run(folder)
        made.append(weights(folder, "text-classification"))
    for name, value in made[0].items():
        assert torch.allclose(value, made[1][name], atol=1e-6), name


def test_layers_and_attention_are_learned_with_the_teachers_tokenizer(
    tmp_path: Path, texts: jobs.JSON, bert: Path
) -> None:
    losses: list[jobs.JSON] = [
        {"kind": "hidden_states"},
        {"kind": "attention_maps"},
        {"kind": "soft_targets"},
    ]
    folder = jobs.write(
        tmp_path, texts, architecture="bert", options={**TINY_BERT, "hidden_size": 8},
        teachers=[str(bert)], losses=losses, training={"epochs": 2, "learning_rate": 0.005},
    )  # fmt: skip
    told = jobs.run(folder)
    assert isinstance(told[-1], Finished)
    lines = [one.values for one in jobs.of(told, Measured) if "train/loss" in one.values]
    assert lines[-1]["train/hidden_states"] < lines[0]["train/hidden_states"]
    assert all(one["train/attention_maps"] >= 0 for one in lines)
    output = folder / "output" / "model"
    assert (output / "tokenizer.json").read_bytes() == (bert / "tokenizer.json").read_bytes()
    names = networks.load("s", output, "text-classification").module.state_dict()
    assert not any("projection" in name for name in names)


def test_projections_of_a_stopped_job_come_back(
    tmp_path: Path, texts: jobs.JSON, bert: Path
) -> None:
    made = []
    for name, stops in (("whole", False), ("broken", True)):
        folder = jobs.write(
            tmp_path / name, texts, architecture="bert",
            options={**TINY_BERT, "hidden_size": 8}, teachers=[str(bert)],
            losses=[{"kind": "hidden_states"}, {"kind": "hard_labels", "weight": 0.1}],
            training={"epochs": 2, "learning_rate": 0.005},
        )  # fmt: skip
        if stops:
            steps = iter(range(1000))
            jobs.run(folder, asked_to_stop=lambda steps=steps: next(steps) >= 8)
            assert list((folder / "checkpoints").glob("*/beside.safetensors"))
        jobs.run(folder, resuming=stops)
        made.append(jobs.weights(folder))
    assert made[0] == made[1]


def test_layers_of_other_tokens_are_refused_with_what_to_do(
    tmp_path: Path, texts: jobs.JSON, bert: Path
) -> None:
    other = jobs.write(
        tmp_path / "other", texts, architecture="bert", options={**TINY_BERT, "vocab_size": 40},
        training={"epochs": 1},
    )  # fmt: skip
    jobs.run(other)
    folder = jobs.write(
        tmp_path / "job", texts, path=str(other / "output" / "model"), teachers=[str(bert)],
        losses=[{"kind": "hidden_states"}],
    )  # fmt: skip
    with pytest.raises(ConfigError, match="Begin with a student without weights"):
        jobs.run(folder)


def test_a_network_that_shows_no_attention_is_refused(
    tmp_path: Path, texts: jobs.JSON, bert: Path
) -> None:
    folder = jobs.write(
        tmp_path, texts, teachers=[str(bert)], losses=[{"kind": "attention_maps"}]
    )  # fmt: skip
    with pytest.raises(ConfigError, match="shows no attention"):
        jobs.run(folder)


def test_adapters_are_learned_resumed_and_added_to_an_ordinary_model(
    tmp_path: Path, texts: jobs.JSON, teacher: Path, bert: Path
) -> None:
    made = []
    for name, stops in (("whole", False), ("broken", True)):
        folder = jobs.write(
            tmp_path / name, texts, path=str(bert), teachers=[str(teacher)],
            training={"lora_rank": 2, "learning_rate": 0.01},
        )  # fmt: skip
        if stops:
            steps = iter(range(1000))
            jobs.run(folder, asked_to_stop=lambda steps=steps: next(steps) >= 8)
        jobs.run(folder, resuming=stops)
        made.append(jobs.weights(folder))
    assert made[0] == made[1]
    before = networks.load("b", bert, "text-classification").module.state_dict()
    after = weights(tmp_path / "whole", "text-classification")
    assert before.keys() == after.keys()
    assert any(not torch.equal(value, after[name]) for name, value in before.items())
    staged = jobs.write(
        tmp_path / "born", texts, path=str(bert), scheme="born_again", losses=jobs.SOFT,
        training={"lora_rank": 2},
    )  # fmt: skip
    with pytest.raises(ConfigError, match="one stage"):
        jobs.run(staged)


# -- labels of every problem ---------------------------------------------------------------------


def relabelled(dataset: jobs.JSON, path: Path, written: list[str | None], **said: Any) -> jobs.JSON:
    """The dataset with other labels."""
    table = pq.read_table(dataset["path"])
    place = table.schema.get_field_index("label")
    table = table.set_column(place, "label", pa.array(written, pa.string()))
    pq.write_table(table, path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"path": str(path), "sha256": sha256, "fingerprint": sha256, **said}


def test_rows_of_several_labels_are_learned_and_distilled(tmp_path: Path, texts: jobs.JSON) -> None:
    written = pq.read_table(texts["path"])["text"].to_pylist()
    words = ["card", "order", "pay"]
    labels: list[str | None] = ["|".join(w for w in words if w in t.split()) for t in written]
    labels[0] = None
    several = relabelled(
        texts, tmp_path / "several.parquet", labels, labels=words, problem="multi_label"
    )
    taught = jobs.write(
        tmp_path / "teacher",
        several,
        training={"epochs": 12},
        options={**jobs.SMALL_BAG, "dim": 16},
    )
    summary = jobs.run(taught)[-1].summary  # type: ignore[union-attr]
    assert summary["student"]["macro_f1"] > 0.9
    assert summary["headline"] == "macro_f1"
    student = jobs.write(
        tmp_path / "student", several, teachers=[str(taught / "output" / "model")],
        training={"epochs": 12},
    )  # fmt: skip
    told = jobs.run(student)
    found = told[-1].summary  # type: ignore[union-attr]
    assert found["agreement"] > 0.8
    assert found["retention"] > 0.6
    rows = pq.read_table(student / "output" / "predictions.parquet").to_pylist()
    assert {row["student_value"] for row in rows} <= {0.0, 1.0}
    evaluation = json.loads((student / "output" / "evaluation.json").read_text())
    assert [one["label"] for one in evaluation["student"]["per_class"]] == words


def test_numbers_are_learned_and_distilled(tmp_path: Path, texts: jobs.JSON) -> None:
    worth = {"cancel": "1000", "pay": "1500", "refund": "3000"}
    labels: list[str | None] = [
        worth[one] for one in pq.read_table(texts["path"])["label"].to_pylist()
    ]
    numbers = relabelled(texts, tmp_path / "n.parquet", labels, labels=[], problem="regression")
    taught = jobs.write(
        tmp_path / "teacher",
        numbers,
        options=STEADY_BAG,
        training={"epochs": 30, "learning_rate": 0.001},
    )
    summary = jobs.run(taught)[-1].summary  # type: ignore[union-attr]
    assert summary["headline"] == "rmse"
    assert summary["selection_metric"] == "val/rmse"
    losses: list[jobs.JSON] = [{"kind": "logit_mse"}, {"kind": "hard_labels", "weight": 0.1}]
    student = jobs.write(
        tmp_path / "student", numbers, teachers=[str(taught / "output" / "model")], losses=losses,
        options=STEADY_BAG, training={"epochs": 30, "learning_rate": 0.001},
    )  # fmt: skip
    told = jobs.run(student)
    found = told[-1].summary  # type: ignore[union-attr]
    assert found["student"]["r2"] > 0.3
    assert found["student"]["rmse"] < 600  # of numbers between 1000 and 3000
    assert found["retention"] is None
    assert found["teacher_rmse"] >= 0.0
    rows = pq.read_table(student / "output" / "predictions.parquet").to_pylist()
    squares = [(float(row["student"]) - float(row["label"])) ** 2 for row in rows]
    assert [row["student_value"] for row in rows] == pytest.approx(squares, rel=1e-3, abs=1e-6)


def test_a_term_that_a_problem_does_not_know_is_refused(tmp_path: Path, texts: jobs.JSON) -> None:
    numbers = {**texts, "labels": [], "problem": "regression"}
    folder = jobs.write(tmp_path, numbers, losses=[{"kind": "dist"}], scheme="mutual")
    with pytest.raises(ConfigError, match="not defined for numbers as labels"):
        jobs.run(folder)


# -- pictures that move --------------------------------------------------------------------------


def test_a_teacher_sees_the_pictures_that_its_student_sees(
    tmp_path: Path, images: jobs.JSON, image_teacher: Path
) -> None:
    made = []
    for name in ("a", "b"):
        folder = jobs.write(
            tmp_path / name, images, task="image-classification", architecture="small_convnet",
            options=CONVNET, teachers=[str(image_teacher)],
            training={"augmentation": "light", "learning_rate": 0.01},
        )  # fmt: skip
        told = jobs.run(folder)
        assert not any("train rows" in one.text for one in jobs.of(told, Logged))
        made.append(jobs.weights(folder))
    assert made[0] == made[1]


# -- several processes ---------------------------------------------------------------------------


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one(
    tmp_path: Path, texts: jobs.JSON, teacher: Path
) -> None:
    """Under `accelerate launch`, which starts torchrun, which a worker starts: equal weights and
    metrics. (--multi_gpu is how it is asked for several processes; without GPUs they use gloo.)"""
    told = []
    for name, size in (("alone", 1), ("together", 2)):
        folder = jobs.write(
            tmp_path / name, texts, teachers=[str(teacher)],
            options=STEADY_BAG,
            training={"epochs": 2, "learning_rate": 0.002, "batch_size": 15},
        )  # fmt: skip
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        launcher += [f"--nproc-per-node={size}"]
        if size > 1:
            launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"]
            launcher += ["--num_machines=1", f"--num_processes={size}", "--mixed_precision=no"]
            launcher += ["--dynamo_backend=no", "--main_process_port=0"]
        command = [*launcher, "-m", "training.engine", "train", str(folder)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            command, cwd=jobs.ROOT, env=environment, capture_output=True, text=True, timeout=300,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        lines = jobs.lines(folder)
        assert lines[-1]["type"] == "finished"
        assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
        told.append((folder, lines))
    one, two = (weights(folder, "text-classification") for folder, _ in told)
    for name, value in one.items():
        assert torch.allclose(value, two[name], rtol=1e-3, atol=1e-4), name
    losses = [
        [line["values"]["train/loss"] for line in lines
         if line["type"] == "measured" and "train/loss" in line["values"]]
        for _, lines in told
    ]  # fmt: skip
    assert np.allclose(losses[0], losses[1], rtol=1e-4)
