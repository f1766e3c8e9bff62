import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from training import catalog
from training.engine import config, method_docs, methods
from training.engine.config import RunConfig
from training.engine.errors import ConfigError, Fault
from training.engine.registry import Duplicate, Method, Registry

LEAST = {"task": "text-classification", "dataset": "banking77@1", "student": "tiny@1"}


def faults(**changes: Any) -> dict[str, str]:
    return {one.field: one.sentence for one in catalog.faults({**LEAST, **changes})}


def test_the_catalogs_file_is_what_the_engine_offers() -> None:
    assert catalog.methods() == json.loads(json.dumps(methods.describe())), (
        "run: python -m training.engine methods > training/catalog.json"
    )


def test_the_page_of_methods_is_made_from_the_catalog() -> None:
    page = Path(__file__).parents[2] / "docs" / "methods.md"
    assert page.read_text(encoding="utf-8") == method_docs.markdown(methods.describe()), (
        "run: python -m training.engine methods --markdown > docs/methods.md"
    )


def test_all_but_three_keys_have_a_default() -> None:
    resolved = catalog.resolve(LEAST)
    assert [loss.kind for loss in resolved.losses] == ["hard_labels"]
    assert resolved.training == config.Training(selection_metric="val/accuracy")
    assert resolved.control is False


def test_with_a_teacher_the_default_is_soft_targets_and_a_control() -> None:
    resolved = catalog.resolve({**LEAST, "teachers": ["big@1"]})
    assert [(loss.kind, loss.weight) for loss in resolved.losses] == [
        ("soft_targets", 0.9),
        ("hard_labels", 0.1),
    ]
    assert resolved.losses[0].options == {"temperature": 4.0}
    assert resolved.control is True


def test_the_documented_configuration_is_accepted_as_it_is_written() -> None:
    training = {
        "epochs": 5, "batch_size": 64, "learning_rate": 0.0005, "optimizer": "adamw",
        "weight_decay": 0.01, "schedule": "cosine", "warmup_ratio": 0.1, "max_grad_norm": 1.0,
        "gradient_accumulation": 1, "precision": "auto", "seed": 0, "early_stopping": None,
        "selection_metric": "val/accuracy", "checkpoint_every_steps": 200,
    }  # fmt: skip
    said = {
        **LEAST,
        "name": "intents-small",
        "teachers": ["minilm@2"],
        "scheme": "offline",
        "losses": [
            {"kind": "soft_targets", "weight": 0.9, "temperature": 4.0},
            {"kind": "hard_labels", "weight": 0.1},
        ],
        "training": training,
        "teacher_outputs": "auto",
        "control": True,
        "resources": {"queue": "default", "gpus": 0},
    }
    assert catalog.faults(said) == []
    resolved = catalog.resolve(said)
    assert {**dataclasses.asdict(resolved.training), **training} == dataclasses.asdict(
        resolved.training
    )


def test_a_resolved_configuration_resolves_to_itself() -> None:
    once: RunConfig = catalog.resolve(
        {**LEAST, "teachers": ["a@1", {"model": "b@2", "weight": 2}], "training": {"epochs": 3}}
    )
    posted = json.loads(json.dumps(once.as_dict()))
    assert catalog.resolve(posted) == once


def test_every_fault_is_named_at_once() -> None:
    found = faults(
        task="poetry",
        learning="fast",
        losses=[{"kind": "soft_targets", "temperature": -1, "sharpness": 2}, {"kind": "magic"}],
        training={"epochs": 0, "batch_size": "many", "learning_rate": float("nan"), "speed": 1},
    )
    assert set(found) == {
        "task",
        "learning",
        "losses.0.kind",
        "losses.1.kind",
        "training.epochs",
        "training.batch_size",
        "training.learning_rate",
        "training.speed",
    }


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"losses": [{"kind": "soft_targets"}]}, "losses.0.kind"),
        ({"losses": []}, "losses"),
        ({"losses": [{"kind": "hard_labels", "weight": 0}]}, "losses"),
        ({"losses": [{"kind": "hard_labels", "weight": -1}]}, "losses.0.weight"),
        ({"losses": [{"kind": "hard_labels"}, {"kind": "hard_labels"}]}, "losses.1.kind"),
        ({"losses": [{"kind": ["x"]}]}, "losses.0.kind"),
        ({"teachers": "big@1"}, "teachers"),
        ({"teachers": [{"model": "big@1", "weight": 0}]}, "teachers.0.weight"),
        ({"teachers": ["big@1"], "losses": [{"kind": "soft_targets", "temperature": 0}]},
         "losses.0.temperature"),
        ({"training": {"optimizer": "lion"}}, "training.optimizer"),
        ({"training": {"selection_metric": "test/accuracy"}}, "training.selection_metric"),
        ({"training": {"selection_metric": "val/agreement"}}, "training.selection_metric"),
        ({"training": {"seed": True}}, "training.seed"),
        ({"training": []}, "training"),
        ({"scheme": "online"}, "scheme"),
        ({"exports": ["punchcards"]}, "exports.0"),
        ({"resources": {"gpus": 99}}, "resources.gpus"),
        ({"student": ""}, "student"),
        ({"dataset": None}, "dataset"),
        ({"control": "yes"}, "control"),
    ],
)  # fmt: skip
def test_a_fault_is_named_at_its_field(changes: dict[str, Any], field: str) -> None:
    found = faults(**changes)
    assert field in found
    assert found[field].endswith(".")


def test_what_is_no_object_is_refused() -> None:
    refused: list[Any] = [None, [], "x", 3]
    for raw in refused:
        assert catalog.faults(raw)


def test_a_students_architecture_recommends_its_training() -> None:
    plain = catalog.training_defaults()
    bag = catalog.training_defaults("bag_of_embeddings")
    bert = catalog.training_defaults("bert", trained=True)
    assert bag["epochs"] > plain["epochs"]
    assert bert["learning_rate"] < plain["learning_rate"]
    resolved = catalog.resolve(LEAST, architecture="bag_of_embeddings")
    assert resolved.training.epochs == bag["epochs"]
    asked = catalog.resolve({**LEAST, "training": {"learning_rate": 0.1}}, architecture="bert")
    assert asked.training.learning_rate == 0.1


def test_recommended_options_can_be_used() -> None:
    for one in catalog.methods()["architectures"]:
        for trained in (False, True):
            task = one["tasks"][0]
            teachers = ["big@1"] if task == "feature-extraction" else []  # it has no labels
            asked = {**LEAST, "task": task, "teachers": teachers}
            catalog.resolve(asked, architecture=one["key"], trained=trained)


def test_presets_can_be_used() -> None:
    for preset in catalog.presets():
        asked = {name: preset[name] for name in ("scheme", "losses", "stages", "training")}
        asked |= {"task": preset["tasks"][0], "teachers": ["big@1"] * preset["teachers"]}
        assert catalog.faults({**LEAST, **asked}) == []


@pytest.mark.parametrize(
    ("task", "key", "values", "field"),
    [
        ("text-classification", "small_convnet", {}, "architecture"),
        ("text-classification", "nonsense", {}, "architecture"),
        ("text-classification", "bag_of_embeddings", {"dim": 0}, "config.dim"),
        ("text-classification", "bag_of_embeddings", {"width": 3}, "config.width"),
        ("text-classification", "bag_of_embeddings", [], "config"),
        ("text-classification", "bert", {"auto_map": {"AutoModel": "x.py"}}, "config.auto_map"),
        ("text-classification", "bert", {"hidden_size": 0}, "config.hidden_size"),
        ("image-classification", "small_convnet", {"channels": []}, "config.channels"),
    ],
)
def test_a_bad_architecture_is_named_at_its_field(
    task: str, key: str, values: Any, field: str
) -> None:
    _, found = catalog.resolve_architecture(task, key, values)
    assert [one.field for one in found] == [field]


def test_a_transformers_architecture_takes_any_key_of_its_configuration() -> None:
    resolved, found = catalog.resolve_architecture(
        "text-classification", "bert", {"hidden_act": "relu"}
    )
    assert found == []
    assert resolved["hidden_act"] == "relu"
    assert resolved["hidden_size"] == 128


def test_the_default_architecture_comes_first() -> None:
    assert catalog.architectures("text-classification")[0]["key"] == "bag_of_embeddings"
    assert catalog.architectures("image-classification")[0]["key"] == "small_convnet"


def test_two_methods_of_one_key_are_refused() -> None:
    registry: Registry[type[Method]] = Registry("loss", "training.engine.losses")

    class One(Method):
        key = "one"

    registry.register(One)
    with pytest.raises(Duplicate):
        registry.register(One)


def test_all_faults_are_in_the_errors_sentence() -> None:
    with pytest.raises(ConfigError) as caught:
        catalog.resolve({"task": "text-classification"})
    assert "dataset: It must be given." in str(caught.value)
    assert "student: It must be given." in str(caught.value)


@pytest.mark.parametrize(
    ("task", "problem", "metric", "fits"),
    [
        ("text-classification", "regression", "val/rmse", True),
        ("text-classification", "regression", "val/loss", True),
        ("text-classification", "regression", "val/kl", False),
        ("feature-extraction", "embedding", "val/cosine", True),
        ("feature-extraction", "embedding", "val/loss", False),
        ("token-classification", "single_label", "val/span_f1", True),
        ("text-classification", "single_label", "val/span_f1", False),
    ],
)
def test_a_checkpoint_is_chosen_by_what_its_problem_has(
    task: str, problem: str, metric: str, fits: bool
) -> None:
    faults: list[Fault] = []
    asked = config.Training(selection_metric=metric)
    config.select(asked, catalog.methods(), task, problem, True, faults)
    assert [one.field for one in faults] == ([] if fits else ["training.selection_metric"])
