"""Who teaches whom: laws that every scheme keeps because it is registered, and each one's own."""

import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.engine import jobs
from training.engine import networks
from training.engine.errors import ConfigError, DataError
from training.engine.events import Finished, Halted, Logged, Measured, Stage
from training.engine.lesson import Lesson
from training.engine.schemes import SCHEMES
from training.engine.schemes.joining import Joined, join, names

EVERY = [one.key for one in SCHEMES if one.tasks != ("text-generation",)]
CONVNET: jobs.JSON = {"channels": [4, 4], "hidden": 8}
STAGES: list[jobs.JSON] = [
    {"name": "answers", "losses": [{"kind": "logit_mse"}], "epochs": 1, "learning_rate": 0.02},
    {"losses": jobs.SOFT},
]


def asked(folder: Path, images: jobs.JSON, teacher: Path, key: str, **others: Any) -> Path:
    """A job of this scheme over pictures."""
    scheme = SCHEMES[key]
    losses = {"stages": STAGES} if key == "staged" else {"losses": jobs.SOFT}
    return jobs.write(
        folder, images, task="image-classification", architecture="small_convnet", options=CONVNET,
        teachers=[] if scheme.brings_teacher else [str(teacher)],
        scheme=key, training={"learning_rate": 0.01, "epochs": 2}, **{**losses, **others},
    )  # fmt: skip


@pytest.mark.parametrize("key", EVERY)
def test_it_trains_to_the_end_and_leaves_the_student_alone_in_the_folder(
    tmp_path: Path, images: jobs.JSON, image_teacher: Path, key: str
) -> None:
    folder = asked(tmp_path, images, image_teacher, key)
    told = jobs.run(folder)
    assert isinstance(told[-1], Finished)
    left = networks.load("tiny", folder / "output" / "model", "image-classification")
    plain = jobs.write(
        tmp_path / "plain", images, task="image-classification", architecture="small_convnet",
        options=CONVNET, training={"epochs": 1},
    )  # fmt: skip
    jobs.run(plain)
    other = networks.load("tiny", plain / "output" / "model", "image-classification")
    assert left.module.state_dict().keys() == other.module.state_dict().keys()
    steps = [one.step for one in jobs.of(told, Measured) if "train/loss" in one.values]
    assert steps == list(range(1, told[-1].summary["steps"] + 1))


@pytest.mark.parametrize("key", EVERY)
def test_stopped_and_resumed_it_ends_with_the_same_weights(
    tmp_path: Path, images: jobs.JSON, image_teacher: Path, key: str
) -> None:
    whole = asked(tmp_path / "whole", images, image_teacher, key)
    jobs.run(whole)
    broken = asked(tmp_path / "broken", images, image_teacher, key)
    for attempt, patience in enumerate((4, 3, 4)):
        steps = iter(range(1000))
        told = jobs.run(
            broken,
            resuming=attempt > 0,
            asked_to_stop=lambda steps=steps, most=patience: next(steps) >= most,
        )
        assert isinstance(told[-1], Halted)
    told = jobs.run(broken, resuming=True)
    assert isinstance(told[-1], Finished)
    assert jobs.weights(broken) == jobs.weights(whole)


def together(problem: str, *weights: float) -> Lesson:
    """A lesson of teachers that are never asked, for how it puts together what they said."""
    scheme = SCHEMES["offline"](Joined())
    dataset = SimpleNamespace(problem=problem)
    lesson: Any = SimpleNamespace(scheme=scheme, dataset=dataset, route=None, recorded=[])
    lesson.teachers = [SimpleNamespace(weight=one) for one in weights]
    lesson._together = partial(Lesson._together, lesson)
    return lesson  # type: ignore[no-any-return]


def test_several_labels_of_several_teachers_are_each_a_yes_or_a_no() -> None:
    chance = torch.Generator().manual_seed(0)
    said = [2 * torch.randn(5, 3, generator=chance) for _ in range(2)]
    labels = torch.full((5, 3), torch.nan)
    joined = Lesson.join(together("multi_label", 3.0, 1.0), said, np.arange(5), labels)
    expected = 0.75 * said[0].sigmoid() + 0.25 * said[1].sigmoid()
    assert torch.allclose(joined.sigmoid(), expected, atol=1e-6)


def test_numbers_of_several_teachers_are_averaged() -> None:
    said = [torch.tensor([[1.0], [5.0]]), torch.tensor([[3.0], [1.0]])]
    labels = torch.full((2, 1), torch.nan)
    joined = Lesson.join(together("regression", 3.0, 1.0), said, np.arange(2), labels)
    assert torch.allclose(joined, torch.tensor([[1.5], [4.0]]))


def test_stages_follow_each_other_with_their_own_terms_epochs_and_rates(
    tmp_path: Path, images: jobs.JSON, image_teacher: Path
) -> None:
    told = jobs.run(asked(tmp_path, images, image_teacher, "staged"))
    assert [one.name for one in jobs.of(told, Stage)][1:5] == [
        "asking the teacher", "answers", "asking the teacher", "stage 2",
    ]  # fmt: skip
    terms = [set(one.values) for one in jobs.of(told, Measured) if "train/loss" in one.values]
    first, second = terms[:3], terms[3:]
    assert all("train/logit_mse" in one and "train/hard_labels" not in one for one in first)
    assert all("train/hard_labels" in one and "train/logit_mse" not in one for one in second)
    summary = told[-1].summary  # type: ignore[union-attr]
    assert summary["epochs"] == 3
    epochs = [one.epoch for one in jobs.of(told, Measured) if "val/accuracy" in one.values]
    assert epochs == [1.0, 2.0, 3.0]


def test_a_stage_that_compares_layers_decides_for_all_how_the_student_reads(
    tmp_path: Path, texts: jobs.JSON
) -> None:
    """Which tokens it reads must not depend on the stage in which a job was resumed."""
    bert = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 16, "max_length": 16}  # fmt: skip
    teacher = jobs.write(
        tmp_path / "teacher", texts, architecture="bert", options={**bert, "vocab_size": 40},
        training={"epochs": 1},
    )  # fmt: skip
    jobs.run(teacher)
    layers = {"losses": [{"kind": "hidden_states"}], "epochs": 1}
    answers = {"losses": jobs.SOFT, "epochs": 1}
    for name, stages in (("first", [layers, answers]), ("last", [answers, layers])):
        folder = jobs.write(
            tmp_path / name, texts, architecture="bert", options={**bert, "vocab_size": 60},
            teachers=[str(teacher / "output" / "model")], scheme="staged", stages=stages,
            losses=None,
        )  # fmt: skip
        steps = iter(range(1000))
        told = jobs.run(folder, asked_to_stop=lambda steps=steps: next(steps) >= 8)
        assert isinstance(told[-1], Halted)
        assert isinstance(jobs.run(folder, resuming=True)[-1], Finished), name
        student = networks.load("tiny", folder / "output" / "model", "text-classification")
        assert student.config["vocab_size"] == 60
        assert (
            student.preprocessing.as_dict()
            == networks.load(
                "big", teacher / "output" / "model", "text-classification"
            ).preprocessing.as_dict()
        )


def test_the_newest_weights_of_a_stage_about_layers_go_on(
    tmp_path: Path, images: jobs.JSON, image_teacher: Path
) -> None:
    """Scores of a last layer that learned nothing choose nothing, and stop nothing."""
    stages = [
        {"name": "layers", "losses": [{"kind": "hidden_states"}], "epochs": 5},
        {"name": "answers", "losses": jobs.SOFT, "epochs": 1},
    ]
    folder = asked(tmp_path, images, image_teacher, "staged", stages=stages)
    raw = json.loads((folder / "config.json").read_text())
    raw["training"]["early_stopping"] = 1
    (folder / "config.json").write_text(json.dumps(raw))
    told = jobs.run(folder)
    scored = [one for one in jobs.of(told, Measured) if "val/accuracy" in one.values]
    assert [one.epoch for one in scored] == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    left = json.loads((folder / "stages" / "0.json").read_text())
    assert left["best_value"] == scored[4].values["val/accuracy"]


def test_each_generation_is_taught_by_the_one_before(tmp_path: Path, images: jobs.JSON) -> None:
    folder = asked(tmp_path, images, tmp_path, "born_again")
    told = jobs.run(folder)
    assert [one.name for one in jobs.of(told, Stage) if one.name.startswith("gen")] == [
        "generation 0", "generation 1", "generation 2",
    ]  # fmt: skip
    taught = [one.step for one in jobs.of(told, Measured) if "train/soft_targets" in one.values]
    assert min(taught) == told[-1].summary["steps"] // 3 + 1  # type: ignore[union-attr]
    assert any("is kept" in one.text for one in jobs.of(told, Logged))
    weights = [
        (folder / "stages" / str(stage) / "model.safetensors").read_bytes() for stage in (0, 1)
    ]
    assert weights[0] != weights[1]


def test_mutual_students_begin_apart_and_the_better_one_is_kept(
    tmp_path: Path, images: jobs.JSON
) -> None:
    three = {"kind": "mutual", "students": 3}
    folder = asked(tmp_path, images, tmp_path, "mutual")
    raw = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**raw, "scheme": three}))
    told = jobs.run(folder)
    assert any("train/soft_targets" in one.values for one in jobs.of(told, Measured))
    assert isinstance(told[-1], Finished)


def test_exits_need_layers_to_leave_from(tmp_path: Path, texts: jobs.JSON) -> None:
    folder = jobs.write(tmp_path, texts, losses=jobs.SOFT, scheme="early_exits")
    with pytest.raises(ConfigError, match="at least two layers"):
        jobs.run(folder)


def test_a_scheme_without_teachers_refuses_some(
    tmp_path: Path, texts: jobs.JSON, teacher: Path
) -> None:
    folder = jobs.write(tmp_path, texts, teachers=[str(teacher)], scheme="mutual")
    with pytest.raises(ConfigError, match="students teach themselves"):
        jobs.run(folder)


def test_the_surer_teacher_counts_more_by_confidence() -> None:
    sure, unsure = torch.tensor([[9.0, 0.0, 0.0]]), torch.tensor([[0.0, 0.1, 0.0]])
    unknown = torch.tensor([-1])
    mean = join(Joined(), [sure, unsure], [1.0, 1.0], unknown, None).softmax(-1)
    weighed = join(Joined("confidence"), [sure, unsure], [1.0, 1.0], unknown, None).softmax(-1)
    assert weighed[0, 0] > mean[0, 0]
    assert torch.allclose(weighed.sum(-1), torch.ones(1))


def test_by_loss_the_teacher_nearer_to_the_label_counts_more() -> None:
    right, wrong = torch.tensor([[4.0, 0.0], [4.0, 0.0]]), torch.tensor([[0.0, 4.0], [0.0, 4.0]])
    labels = torch.tensor([0, -1])
    said = join(Joined("loss"), [right, wrong], [1.0, 1.0], labels, None).softmax(-1)
    assert said[0, 0] > 0.9
    assert said[1, 0] == pytest.approx(0.5)


def test_a_column_routes_rows_to_their_teachers(
    tmp_path: Path, texts: jobs.JSON, teacher: Path
) -> None:
    route = names(["big@2", "nobody", "big", None], ["small@1", "big@2"])
    assert route.tolist() == [1, -1, 1, -1]
    one, two = torch.randn(4, 3), torch.randn(4, 3)
    options = Joined("route", "source")
    said = join(options, [one, two], [1.0, 1.0], torch.full((4,), -1), route).softmax(-1)
    assert torch.allclose(said[0], two[0].softmax(-1), atol=1e-6)
    mean = (one[1].softmax(-1) + two[1].softmax(-1)) / 2
    assert torch.allclose(said[1], mean, atol=1e-6)
    folder = jobs.write(
        tmp_path, texts, teachers=[str(teacher), str(teacher)],
        scheme={"kind": "offline", "combine": "route", "route_column": "source"},
    )  # fmt: skip
    with pytest.raises(DataError, match="No row's source names a teacher"):
        jobs.run(folder)


def test_a_weight_that_is_scheduled_moves_and_is_told(
    tmp_path: Path, texts: jobs.JSON, teacher: Path
) -> None:
    losses: list[jobs.JSON] = [
        {"kind": "soft_targets", "weight": 1.0, "weight_schedule": "linear", "final_weight": 0.0},
        {"kind": "hard_labels", "weight": 0.5, "weight_schedule": "warmup"},
    ]
    told = jobs.run(jobs.write(tmp_path, texts, teachers=[str(teacher)], losses=losses))
    lines = [one.values for one in jobs.of(told, Measured) if "train/loss" in one.values]
    falling = [one["train/soft_targets_weight"] for one in lines]
    assert falling == pytest.approx(np.linspace(1.0, 1.0 / 12, 12))
    assert lines[0]["train/hard_labels_weight"] == 0.0
    assert lines[-1]["train/hard_labels_weight"] == 0.5
    for one in lines:
        whole = sum(one[f"train/{kind}"] * one[f"train/{kind}_weight"] for kind in (
            "soft_targets", "hard_labels",
        ))  # fmt: skip
        assert one["train/loss"] == pytest.approx(whole, rel=1e-5)


def test_the_shares_of_the_gradient_are_told_and_add_up(
    tmp_path: Path, texts: jobs.JSON, teacher: Path
) -> None:
    told = jobs.run(jobs.write(tmp_path, texts, teachers=[str(teacher)]))
    lines = [one.values for one in jobs.of(told, Measured) if "train/loss" in one.values]
    shared = [
        one["train/soft_targets_share"] + one["train/hard_labels_share"]
        for one in lines
        if "train/soft_targets_share" in one
    ]
    assert shared
    assert shared == pytest.approx([1.0] * len(shared), abs=1e-5)
