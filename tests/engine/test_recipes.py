"""Other libraries' recipes: their own code's numbers, and back and forth without a change.

The numbers were recorded by oracles/record_recipes.py, which runs the libraries themselves.
"""

import dataclasses
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from training.engine import options as engine_options
from training.engine.answers import Answer
from training.engine.errors import ConfigError
from training.engine.losses import LOSSES
from training.engine.recipes import RECIPES, Recipe
from training.engine.schemes import SCHEMES

RECORDED = json.loads((Path(__file__).parent / "oracles/recipes.json").read_text())
STUDENT = torch.tensor(RECORDED["student"], dtype=torch.float64)
TEACHER = torch.tensor(RECORDED["teacher"], dtype=torch.float64)
VECTORS = torch.tensor(RECORDED["vectors"], dtype=torch.float64)
TAUGHT = torch.tensor(RECORDED["taught"], dtype=torch.float64)
LABELS = torch.tensor(RECORDED["labels"])
CLASSES = STUDENT.shape[1]
EVERY = list(RECIPES)
KEYS = [recipe.key for recipe in EVERY]


def built(recipe: type[Recipe], **values: Any) -> Any:
    return engine_options.build(recipe.Options, values)


def complete(losses: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """With every option written out, as a run's configuration has them. Raises ConfigError."""
    made = []
    for loss in losses:
        values = {k: v for k, v in loss.items() if k not in ("kind", "weight")}
        timed = {k: values.pop(k) for k in ("weight_schedule", "final_weight") if k in values}
        own = engine_options.build(LOSSES[loss["kind"]].Options, values)
        made.append(loss | dataclasses.asdict(own) | timed)
    return made


def scheme_of(recipe: type[Recipe], options: Any) -> dict[str, Any]:
    """Likewise. Raises ConfigError."""
    values = recipe.scheme(options)
    kind = values.pop("kind")
    own = engine_options.build(SCHEMES[kind].Options, values)
    return {"kind": kind, **dataclasses.asdict(own)}


def reckoned(losses: list[dict[str, Any]], student: Tensor, vectors: Tensor = VECTORS) -> Tensor:
    """What a run would minimise on the recorded rows."""
    mine, theirs = Answer(student, embedding=vectors), Answer(TEACHER, embedding=TAUGHT)
    total = torch.zeros((), dtype=torch.float64)
    for loss in losses:
        values = {k: v for k, v in loss.items() if k not in ("kind", "weight")}
        method = LOSSES[loss["kind"]]
        term = method(engine_options.build(method.Options, values))
        total = total + loss["weight"] * term.values(mine, theirs, LABELS).mean()
    return total


def entropy(temperature: float) -> float:
    """Of the softened teacher, in nats: what a cross-entropy with it cannot get below."""
    return float(torch.special.entr(F.softmax(TEACHER / temperature, 1)).sum(1).mean())


def floor(recipe: str, options: Any) -> float:
    """What their value has on top of ours whatever the student says."""
    if recipe == "textbrewer" and options.kd_loss_type == "ce":
        return float(options.kd_loss_weight * entropy(options.temperature))
    if recipe == "torchtune":
        return float(options.kd_ratio * entropy(1.0))
    return 0.0


NAMES = [f"{one['recipe']} {json.dumps(one['options'])}" for one in RECORDED["cases"]]


@pytest.mark.parametrize("case", RECORDED["cases"], ids=NAMES)
def test_our_terms_are_worth_what_their_code_answers(case: dict[str, Any]) -> None:
    recipe = RECIPES[case["recipe"]]
    options = built(recipe, **case["options"])
    student, vectors = STUDENT.clone().requires_grad_(), VECTORS.clone().requires_grad_()
    value = reckoned(recipe.to_terms(options, classes=CLASSES), student, vectors)
    value.backward()  # type: ignore[no-untyped-call]
    ours = value.item() + floor(recipe.key, options)
    assert ours == pytest.approx(case["value"], rel=1e-5)
    gradients = {"gradient": student.grad, "gradient_of_vectors": vectors.grad}
    for name, gradient in gradients.items():
        assert (gradient is not None) == (name in case)
        if gradient is not None:
            theirs = torch.tensor(case[name], dtype=torch.float64)
            # Some of them reckon in float32, so a number near 0 is compared with the largest.
            assert (gradient - theirs).abs().max() <= 1e-5 * theirs.abs().max()


@pytest.mark.parametrize("recipe", EVERY, ids=KEYS)
def test_every_recipe_was_recorded_at_its_defaults(recipe: type[Recipe]) -> None:
    mine = [one["options"] for one in RECORDED["cases"] if one["recipe"] == recipe.key]
    assert {} in mine
    assert len(mine) > 1


#: Settings that say everything once: what a recipe says in two ways is said in its default way.
GRID: dict[str, dict[str, list[Any]]] = {
    "torchdistill": {
        "criterion": ["KDLoss", "LogitStdKDLoss"],
        "temperature": [1.0, 3.0, 7.5],
        "alpha": [0.1, 0.3, 0.7, 2.0],
        "beta": [0.5, 9.0],
        "label_smoothing": [0.0, 0.1],
    },
    "textbrewer": {
        "temperature": [1.0, 3.0, 8.0],
        "kd_loss_weight": [0.3, 1.0, 2.5],
        "hard_label_weight": [0.0, 0.1, 1.0],
    },
    "keras_example": {"alpha": [0.1, 0.3, 0.9], "temperature": [1.0, 3.0, 10.0]},
    "keras_distiller": {
        "student_loss_weight": [0.0, 0.1, 0.7],
        "temperature": [1.0, 3.0],
        "distillation_loss_weight": [0.3, 1.0, 3.0],
    },
    "huggingface_trainer": {"alpha": [0.0, 0.1, 0.3, 0.9], "temperature": [1.0, 2.0, 5.0]},
    "repdistiller": {
        "distill": ["rkd", "pkt"],
        "gamma": [0.0, 0.1, 1.0],
        "alpha": [0.3, 0.9],
        "beta": [0.1, 1.0, 3000.0],
        "kd_T": [1.0, 4.0],
    },
    "haitongli": {"alpha": [0.1, 0.3, 0.9, 1.0], "temperature": [1.0, 6.0, 20.0]},
    "torchtune": {"kd_ratio": [0.0, 0.1, 0.3, 0.5, 1.0]},
    "trl": {
        "trainer": ["DistillationTrainer"],
        "beta": [0.0, 0.1, 0.5, 0.9, 1.0],
        "temperature": [0.5, 2.0, 3.0],
        "max_new_tokens": [128],
        "lmbda": [0.5],  # which this trainer does not have
    },
    "distillkit": {
        "cross_entropy_weight": [0.3],
        "kl_weight": [0.1],
        "kl_temperature": [1.0, 2.0],
        "jsd_weight": [0.2],
        "jsd_temperature": [1.0, 3.0],
        "tvd_weight": [0.4],
    },
}
MORE: list[tuple[str, dict[str, Any]]] = [
    ("torchdistill", {"alpha": 0.25, "temperature": 2.0}),
    ("torchdistill", {"alpha": 0.0, "temperature": 4.0}),
    ("torchdistill", {"alpha": 0.0, "temperature": 4.0, "weight": 16.0}),
    ("textbrewer", {"temperature": 1.0, "kd_loss_type": "mse", "hard_label_weight": 0.5}),
    (
        "textbrewer",
        {
            "temperature": 3.0,
            "kd_loss_weight_scheduler": "linear_decay",
            "hard_label_weight": 1.0,
            "hard_label_weight_scheduler": "linear_growth",
        },
    ),
    *(("repdistiller", {"gamma": gamma, "kd_T": 2.0}) for gamma in (0.0, 0.1, 1.0)),
    *(("trl", {"beta": beta}) for beta in (0.0, 0.1, 0.5, 1.0)),
    ("trl", {"lmbda": 0.0}),
    ("trl", {"lmbda": 1.0, "temperature": 0.7, "max_new_tokens": 32}),
]


def grid() -> list[tuple[str, dict[str, Any]]]:
    made = []
    for key, values in GRID.items():
        made += [
            (key, dict(zip(values, chosen, strict=True)))
            for chosen in itertools.product(*values.values())
        ]
    return made + MORE


@pytest.mark.parametrize(
    ("key", "values"), grid(), ids=[f"{key} {json.dumps(values)}" for key, values in grid()]
)
def test_there_and_back_again(key: str, values: dict[str, Any]) -> None:
    recipe = RECIPES[key]
    options = built(recipe, **values)
    losses = complete(recipe.to_terms(options, classes=CLASSES))
    back = recipe.from_terms(losses, classes=CLASSES)
    assert recipe.with_scheme(back, scheme_of(recipe, options)) == options


def test_every_recipe_goes_there_and_back_again() -> None:
    assert set(GRID) == set(KEYS)


@pytest.mark.parametrize(
    ("key", "values", "simpler"),
    [
        ("torchdistill", {"reduction": "mean", "alpha": 0.5}, {"alpha": 0.5, "beta": 0.1}),
        ("torchdistill", {"alpha": 0.25, "beta": 0.75}, {"alpha": 0.25}),
        ("torchdistill", {"alpha": 0.5, "weight": 2.0}, {"alpha": 1.0, "beta": 1.0}),
        (
            "textbrewer",
            {"kd_loss_type": "mse", "temperature": 2.0},
            {"kd_loss_type": "mse", "temperature": 1.0, "kd_loss_weight": 0.25},
        ),
        ("huggingface_trainer", {"alpha": 1.0, "temperature": 9.0}, {"alpha": 1.0}),
        (
            "keras_distiller",
            {"student_loss_weight": 1.0, "temperature": 9.0},
            {"student_loss_weight": 1.0},
        ),
        ("distillkit", {"cross_entropy_weight": 1.0, "kl_weight": 1.0}, {}),
        ("trl", {"lmbda": 0.0, "temperature": 2.0}, {"lmbda": 0.0}),
        ("repdistiller", {"beta": 3.0}, {}),
    ],
)
def test_what_can_be_said_in_two_ways_is_said_in_the_simpler(
    key: str, values: dict[str, Any], simpler: dict[str, Any]
) -> None:
    recipe = RECIPES[key]
    losses = recipe.to_terms(built(recipe, **values), classes=CLASSES)
    back = recipe.from_terms(complete(losses), classes=CLASSES)
    back = recipe.with_scheme(back, scheme_of(recipe, built(recipe, **values)))
    assert back == built(recipe, **simpler)
    again = recipe.to_terms(back, classes=CLASSES)
    assert [one["weight"] for one in again] == pytest.approx([one["weight"] for one in losses])


MIXES = [
    [{"kind": "hard_labels", "weight": 1.0}],
    [{"kind": "soft_targets", "weight": 1.0, "temperature": 4.0}],
    [
        {"kind": "soft_targets", "weight": 0.9, "temperature": 2.0},
        {"kind": "hard_labels", "weight": 0.1},
    ],
    [
        {"kind": "soft_targets", "weight": 3.0, "temperature": 1.0},
        {"kind": "hard_labels", "weight": 2.0},
    ],
    [
        {"kind": "soft_targets", "weight": 0.5},
        {"kind": "hard_labels", "weight": 0.5, "label_smoothing": 0.1},
    ],
    [{"kind": "logit_mse", "weight": 1.0}],
    [{"kind": "logit_mse", "weight": 1.0}, {"kind": "soft_targets", "weight": 1.0}],
    [{"kind": "jsd", "weight": 1.0}],
    [{"kind": "jsd", "weight": 0.25, "beta": 0.5}],
    [{"kind": "jsd", "weight": 1.0, "beta": 0.1, "form": "raw"}],
    [{"kind": "reverse_kl", "weight": 1.0}],
    [{"kind": "tvd", "weight": 1.0}],
    [{"kind": "standardised_logits", "weight": 9.0}, {"kind": "hard_labels", "weight": 0.5}],
    [{"kind": "standardised_logits", "weight": 9.0}, {"kind": "soft_targets", "weight": 0.5}],
    [{"kind": "dkd", "weight": 1.0}],
    [{"kind": "relational", "weight": 1.0}],
    [{"kind": "relational", "weight": 25.0, "angle_weight": 1.0}],
    [{"kind": "relational", "weight": 3000.0, "form": "similarity_preserving"}],
    [{"kind": "relational", "weight": 30000.0, "form": "pkt"}],
    [{"kind": "soft_targets", "weight": 0.0}, {"kind": "hard_labels", "weight": 1.0}],
    [{"kind": "soft_targets", "weight": 0.0}],
    [{"kind": "soft_targets", "weight": 1.0, "weight_schedule": "warmup"}],
    [{"kind": "soft_targets", "weight": 1.0, "weight_schedule": "linear", "final_weight": 0.5}],
]


@pytest.mark.parametrize("recipe", EVERY, ids=KEYS)
@pytest.mark.parametrize("mix", MIXES, ids=json.dumps)
def test_any_losses_are_said_exactly_or_refused_with_a_sentence(
    recipe: type[Recipe], mix: list[dict[str, Any]]
) -> None:
    losses = complete(mix)
    try:
        options = recipe.from_terms(losses, classes=CLASSES)
    except ConfigError as error:
        for fault in error.faults:
            assert fault.field.startswith("losses")
            assert fault.sentence.endswith(".")
        return
    assert built(recipe, **dataclasses.asdict(options)) == options
    again = recipe.to_terms(options, classes=CLASSES)
    student = STUDENT.clone()
    if any("weight_schedule" in one for one in again):
        assert [one["weight_schedule"] for one in again] == ["linear"]
    else:
        assert float(reckoned(again, student)) == pytest.approx(float(reckoned(losses, student)))


def reckons(mix: list[dict[str, Any]]) -> list[str]:
    """The recipes that can say it."""
    said = []
    for recipe in EVERY:
        try:
            recipe.from_terms(complete(mix), classes=CLASSES)
        except ConfigError:
            continue
        said.append(recipe.key)
    return said


def test_the_usual_mix_can_be_said_nearly_everywhere() -> None:
    usual = [
        {"kind": "soft_targets", "weight": 0.9, "temperature": 2.0},
        {"kind": "hard_labels", "weight": 0.1},
    ]
    assert set(KEYS) - set(reckons(usual)) == {"haitongli", "torchtune", "trl"}


@pytest.mark.parametrize(
    ("key", "values", "field", "said"),
    [
        ("torchdistill", {"reduction": "sum"}, "reduction", "multiply the learning rate"),
        ("torchdistill", {"alpha": 2.0}, "beta", "below 0"),
        ("torchdistill", {"reduction": "mean"}, "classes", "number of classes"),
        ("haitongli", {}, "classes", "number of classes"),
        ("textbrewer", {"temperature_scheduler": "flsw"}, "temperature_scheduler", "use none"),
        ("textbrewer", {"probability_shift": True}, "probability_shift", "use false"),
        ("textbrewer", {"kd_loss_weight": 0.0}, "", "nothing to learn"),
        ("keras_distiller", {"loss": "kl_divergence"}, "loss", "KLDivergence()"),
        ("trl", {"seq_kd": True}, "seq_kd", "use false"),
        ("distillkit", {"tvd_weight": 1.0, "tvd_temperature": 2.0}, "tvd_temperature", "must be 1"),
        ("distillkit", {"cross_entropy_weight": 0.0, "kl_weight": 0.0}, "", "nothing to learn"),
    ],
)
def test_what_we_cannot_say_is_refused_at_its_setting(
    key: str, values: dict[str, Any], field: str, said: str
) -> None:
    recipe = RECIPES[key]
    with pytest.raises(ConfigError) as refused:
        recipe.to_terms(built(recipe, **values))
    [fault] = refused.value.faults
    assert fault.field == field
    assert said in fault.sentence


@pytest.mark.parametrize("recipe", EVERY, ids=KEYS)
def test_it_says_what_its_users_trip_over(recipe: type[Recipe]) -> None:
    notes = recipe.notes(built(recipe))
    assert set(recipe.traps) <= set(notes)
    assert all(note.endswith(".") for note in notes)
    assert len(set(notes)) == len(notes)
    described = recipe.described()
    assert json.loads(json.dumps(described)) == described
    assert described["formula"]
    assert described["ours"]
    assert described["paper"]


def test_the_page_of_recipes_has_a_row_for_each() -> None:
    """docs/recipes.md; what a failure shows here is what belongs there."""
    page = (Path(__file__).parents[2] / "docs/recipes.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| **")]
    assert rows == [
        f"| **{one.label}** (`{one.key}`) {one.paper} | `{one.formula}` | {one.ours} | "
        f"{' '.join(one.traps)} |"
        for one in sorted(EVERY, key=lambda one: one.label.lower())
    ]


@pytest.mark.parametrize("recipe", EVERY, ids=KEYS)
@pytest.mark.parametrize(
    "scheme",
    [
        {"kind": "mutual", "students": 2},
        {"kind": "on_policy", "share": 0.3, "temperature": 0.9, "max_new_tokens": 9},
        {"kind": "on_policy", "share": 1.0, "temperature": 0.0, "max_new_tokens": 9},
    ],
    ids=json.dumps,
)
def test_another_scheme_is_said_or_refused(recipe: type[Recipe], scheme: dict[str, Any]) -> None:
    options = built(recipe)
    try:
        told = recipe.with_scheme(options, scheme)
    except ConfigError as error:
        [fault] = error.faults
        assert fault.field.startswith("scheme")
        assert fault.sentence.endswith(".")
        return
    said = recipe.scheme(told)
    assert (said["kind"], said["share"]) == ("on_policy", 0.3)


def test_the_trainer_that_softens_only_knows_the_students_own_words() -> None:
    recipe = RECIPES["trl"]
    losses = [{"kind": "jsd", "weight": 1.0, "beta": 0.5, "form": "raw", "temperature": 2.0}]
    options = recipe.from_terms(losses)
    own = {"kind": "on_policy", "share": 1.0, "temperature": 2.0, "max_new_tokens": 64}
    assert recipe.with_scheme(options, own).trainer == "DistillationTrainer"
    for other in ({"kind": "offline"}, own | {"share": 0.5}, own | {"temperature": 1.0}):
        with pytest.raises(ConfigError):
            recipe.with_scheme(options, other)


def test_torchdistill_jumps_where_alpha_is_nothing() -> None:
    recipe = RECIPES["torchdistill"]
    near, at = (
        float(reckoned(recipe.to_terms(built(recipe, temperature=4.0, alpha=alpha)), STUDENT))
        for alpha in (1e-6, 0.0)
    )
    assert near == pytest.approx(16 * at, rel=1e-5)
    assert "forgets beta" in recipe.notes(built(recipe, alpha=0.0))[0]


def test_translating_needs_no_torch() -> None:
    script = (
        "import sys; from training.engine.recipes import RECIPES; list(RECIPES); "
        "print(sorted({'torch', 'numpy', 'transformers'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.stdout.strip() == "[]"
