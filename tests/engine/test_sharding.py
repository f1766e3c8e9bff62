"""A student in parts takes the steps of a whole one, and is whole again at the end."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.engine import jobs, together
from training.engine import networks
from training.engine.errors import ConfigError

STILL_BERT: jobs.JSON = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "vocab_size": 60, "max_length": 16, "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}  # fmt: skip
TRAINING: jobs.JSON = {
    "optimizer": "sgd", "learning_rate": 0.05, "epochs": 2, "batch_size": 19,
    "gradient_accumulation": 2, "max_grad_norm": 0.5, "weight_decay": 0.1,
}  # fmt: skip


def job(folder: Path, texts: jobs.JSON, teacher: Path, **training: Any) -> Path:
    return jobs.write(
        folder, texts, architecture="bert", options=STILL_BERT, teachers=[str(teacher)],
        training={**TRAINING, **training},
    )  # fmt: skip


def weights(folder: Path) -> dict[str, torch.Tensor]:
    output = folder / "output" / "model"
    return networks.load("tiny", output, "text-classification").module.state_dict()


@pytest.mark.slow
def test_two_processes_with_half_the_student_each_take_the_steps_of_one_and_come_back(
    tmp_path: Path, texts: jobs.JSON, teacher: Path
) -> None:
    # 96 rows in steps of twice 19: the last one holds 19 and 1, of which one process has none
    whole = job(tmp_path / "whole", texts, teacher)
    parts = job(tmp_path / "parts", texts, teacher, sharding="fsdp")
    broken = job(tmp_path / "broken", texts, teacher, sharding="fsdp")
    adam = job(tmp_path / "adam", texts, teacher, optimizer="adamw", learning_rate=0.001)
    adam_parts = job(
        tmp_path / "adam-parts", texts, teacher, optimizer="adamw", learning_rate=0.001,
        sharding="fsdp",
    )  # fmt: skip
    (broken / "stop-at").write_text("4")
    (adam_parts / "stop-at").write_text("6")
    alone = jobs.run(whole)[-1].summary  # type: ignore[union-attr]
    jobs.run(adam)
    together.processes(parts, broken, broken, adam_parts, adam_parts)
    for one, two, near in ((whole, parts, 1e-4), (parts, broken, 1e-6), (adam, adam_parts, 1e-3)):
        ours, theirs = weights(one), weights(two)
        for name, value in ours.items():
            assert torch.allclose(value, theirs[name], rtol=near, atol=near), (two.name, name)
    told = json.loads((parts / "told.json").read_text())
    summary = told[-1]["summary"]
    for name in ("steps", "best_step", "best_value"):
        assert summary[name] == pytest.approx(alone[name], rel=1e-3), name
    resumed = [one for one in json.loads((broken / "told.json").read_text())
               if one["type"] == "Resumed"]  # fmt: skip
    assert resumed[0]["step"] > 0


def test_a_process_alone_takes_nothing_apart(
    tmp_path: Path, texts: jobs.JSON, teacher: Path
) -> None:
    with pytest.raises(ConfigError, match="several processes"):
        jobs.run(job(tmp_path, texts, teacher, sharding="fsdp"))


def test_what_only_a_whole_student_can_is_refused_by_name(
    tmp_path: Path, texts: jobs.JSON, teacher: Path
) -> None:
    folder = jobs.write(
        tmp_path, texts, teachers=[str(teacher)], losses=[{"kind": "relational"}],
        training={"sharding": "fsdp", "compile": True},
    )  # fmt: skip
    with pytest.raises(ConfigError) as fault:
        jobs.run(folder)
    assert len(fault.value.faults) == 3
