"""A frozen backbone: whatever the architecture, the head alone learns."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.engine import jobs
from tests.engine.test_architectures import SMALL, SOME, built, some_inputs
from training.engine import freezing, job_config, methods, optimization
from training.engine.config import Training
from training.engine.errors import ConfigError
from training.engine.events import Finished, Logged
from training.engine.features import last_layer
from training.engine.losses import LOSSES
from training.engine.trainer import identity

# WavLM as transformers builds it gives torch a mask of each kind.
pytestmark = pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")

FROZEN = {**jobs.TRAINING, "freeze": "backbone"}


@pytest.mark.parametrize("key", SMALL + SOME)
def test_steps_change_the_head_and_nothing_else_statistics_of_norms_included(key: str) -> None:
    network = built(key)
    module = network.module
    freezing.freeze(module)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    weights = [one for one in module.parameters() if one.requires_grad]
    optimizer = optimization.optimizer(weights, Training(learning_rate=0.1))
    for _ in range(2):
        module.train()  # as the loop does, at every epoch's beginning
        module(**some_inputs(network)).logsumexp(-1).sum().backward()
        optimizer.step()
    after = module.state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    learning = {name for name, one in module.named_parameters() if one.requires_grad}
    head = [one for one in last_layer(module).parameters() if one.requires_grad]
    assert changed == learning
    assert head
    assert freezing.learning(module) < network.parameters / 2
    assert all(one.grad is None for one in module.parameters() if not one.requires_grad)
    assert set(optimizer.state) == set(weights)


@pytest.mark.parametrize("key", ["small_convnet", "resnet", "bert"])
def test_what_a_frozen_backbone_sees_is_the_same_in_every_step(key: str) -> None:
    """No dropout and no statistics of the batch: a row's features do not depend on the others."""
    module = built(key).module
    freezing.freeze(module)
    module.train()
    inside = [
        one
        for one in module.modules()
        if any(True for _ in one.parameters())
        and not any(p.requires_grad for p in one.parameters())
    ]
    assert inside
    assert not any(one.training for one in inside)
    assert module.training


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A student that learned something before."""
    home = tmp_path_factory.mktemp("freezing")
    dataset = jobs.texts(home / "texts.parquet")
    folder = jobs.write(home / "first", dataset)
    jobs.run(folder)
    return folder / "output" / "model", dataset


def test_a_run_with_a_frozen_backbone_says_what_learns_and_keeps_the_rest(
    trained: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    model, dataset = trained
    folder = jobs.write(tmp_path, dataset, path=str(model), training=FROZEN)
    told = jobs.run(folder)
    said = [one.text for one in jobs.of(told, Logged)]
    assert "Its backbone is frozen: 27 of its weights learn." in said
    assert not [one for one in jobs.of(told, Logged) if one.level == "warning"]
    before, after = (
        load_file(one / "model.safetensors") for one in (model, tmp_path / "output/model")
    )
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert sorted(changed) == ["head.bias", "head.weight"]
    [finished] = jobs.of(told, Finished)
    spent = finished.summary["spent"]
    assert list(spent) == ["asking", "training", "evaluating"]
    assert spent["training"]["seconds"] > 0
    assert spent["asking"]["seconds"] == 0


def test_a_student_without_weights_is_frozen_with_a_warning(
    trained: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    folder = jobs.write(tmp_path, trained[1], training={**FROZEN, "epochs": 1})
    warned = [one.text for one in jobs.of(jobs.run(folder), Logged) if one.level == "warning"]
    assert len(warned) == 1
    assert "has no weights yet" in warned[0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"training": {**FROZEN, "lora_rank": 2}}, "choose one"),
        ({"training": {**FROZEN, "sharding": "fsdp"}}, "no sharding"),
        ({"training": FROZEN, "losses": [{"kind": "hidden_states", "weight": 1.0}]}, "hidden_st"),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    changes: dict[str, Any], said: str, trained: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    model, dataset = trained
    folder = jobs.write(tmp_path, dataset, path=str(model), teachers=[str(model)], **changes)
    with pytest.raises(ConfigError, match=said) as refused:
        jobs.run(folder)
    assert [one.field for one in refused.value.faults] == ["training.freeze"]


def test_a_network_whose_last_layer_is_its_words_has_no_head_to_train() -> None:
    module = torch.nn.Module()
    module.words = torch.nn.Embedding(5, 3)
    module.head = torch.nn.Linear(3, 5, bias=False)
    module.head.weight = module.words.weight
    with pytest.raises(ConfigError, match="no weights of its own"):
        freezing.freeze(module)


def test_vectors_have_no_head(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no head that could learn alone"):
        jobs.run(
            jobs.write(
                tmp_path, trained[1], task="feature-extraction", architecture="bert-embedding",
                teachers=[str(trained[0])], losses=[{"kind": "logit_mse", "weight": 1.0}],
                training=FROZEN,
            )
        )  # fmt: skip


def test_checkpoints_from_before_there_was_a_choice_go_on(
    trained: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """Their identity is the one of a configuration that says nothing of it."""
    folder = jobs.write(tmp_path, trained[1])
    raw = json.loads((folder / "config.json").read_text())
    plain = identity(job_config.parse_job(raw, methods.describe()))
    raw["training"]["freeze"] = "none"
    assert identity(job_config.parse_job(raw, methods.describe())) == plain
    raw["training"]["freeze"] = "backbone"
    assert identity(job_config.parse_job(raw, methods.describe())) != plain


# The label that a teacher names ------------------------------------------------------------------


def test_a_pseudo_label_is_the_teachers_where_a_row_has_none() -> None:
    student = torch.tensor([[2.0, 0.0, -1.0], [2.0, 0.0, -1.0]])
    teacher = torch.tensor([[0.0, 9.0, 0.0], [0.0, 9.0, 0.0]])
    labels = torch.tensor([0, -1])
    logs = student[0].log_softmax(-1)
    method = LOSSES["pseudo_labels"]
    kept = method(method.Options()).per_row(student, teacher, labels)
    assert kept.tolist() == pytest.approx([-float(logs[0]), -float(logs[1])])
    replaced = method(method.Options(replace=True)).per_row(student, teacher, labels)
    assert replaced.tolist() == pytest.approx([-float(logs[1])] * 2)


def test_of_several_labels_a_row_those_it_lacks_are_the_teachers() -> None:
    student, teacher = torch.zeros(1, 3), torch.tensor([[3.0, -3.0, 3.0]])
    labels = torch.tensor([[0.0, torch.nan, torch.nan]])
    method = LOSSES["pseudo_labels"]
    student = torch.tensor([[-5.0, -5.0, 5.0]])
    right = method(method.Options(), "multi_label").per_row(student, teacher, labels)
    wrong = method(method.Options(), "multi_label").per_row(-student, teacher, labels)
    assert float(right) < 0.01
    assert float(wrong) > 4.9
