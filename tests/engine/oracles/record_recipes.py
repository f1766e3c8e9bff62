"""Writes recipes.json: what other libraries' own code answers on fixed logits, and its gradients.

Not run by the tests. In an environment of its own:

    pip install torch torchdistill textbrewer trl keras torchtune transformers datasets accelerate
    python tests/engine/oracles/record_recipes.py SOURCES

torchtune may be installed without what it asks for. SOURCES holds files of what is no package, in
folders named as in SOURCES_OF below; only the named functions are taken from them, as they are.
"""

import ast
import importlib
import json
import math
import os
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

ROWS, CLASSES = 6, 5
DRAW = np.random.default_rng(0)
STUDENT = DRAW.normal(0, 2, (ROWS, CLASSES)).round(3)
TEACHER = DRAW.normal(0, 2, (ROWS, CLASSES)).round(3)
LABELS = DRAW.integers(0, CLASSES, ROWS)
# What stands before the last layer of each, for losses that compare rows.
VECTORS = torch.tensor(DRAW.normal(0, 1, (ROWS, 4)).round(3), requires_grad=True)
TAUGHT = torch.tensor(DRAW.normal(0, 1, (ROWS, 3)).round(3))
FILE = Path(__file__).parent / "recipes.json"
SOURCES_OF = {
    "philschmid/train.py": "philschmid/knowledge-distillation-transformers-pytorch-sagemaker, "
    "scripts/train.py at 2cdcb885a65d",
    "keras-io/knowledge_distillation.py": "keras-team/keras-io, "
    "examples/vision/knowledge_distillation.py (Keras 3)",
    "repdistiller/KD.py": "HobbitLong/RepDistiller, distiller_zoo/KD.py at 1e2f81692647",
    "repdistiller/RKD.py": "the same, distiller_zoo/RKD.py",
    "repdistiller/PKT.py": "the same, distiller_zoo/PKT.py",
    "haitongli/net.py": "haitongli/knowledge-distillation-pytorch, model/net.py at 862fcd8d8f53",
    "distillkit/kl.py": "arcee-ai/DistillKit, distillkit/lossfuncs/kl.py at 361c7ac00c8e",
    "distillkit/jsd.py": "zcomputerwiz/DistillKit, distillkit/lossfuncs/jsd.py at 04bbaf605c40",
    "distillkit/tvd.py": "DistillKit, distillkit/lossfuncs/tvd.py",
}

Answer = Callable[[Tensor, Tensor, Tensor], Tensor]  # student, teacher, labels: their total
CASES: list[tuple[str, dict[str, Any], Answer]] = []


def taken(file: str, name: str, **around: Any) -> Any:
    """A function or class of a source file, run with these names around it."""
    tree = ast.parse((Path(sys.argv[1]) / file).read_text())
    body: list[Any] = tree.body
    for part in name.split("."):
        found = next(one for one in body if getattr(one, "name", None) == part)
        body = getattr(found, "body", [])
    space: dict[str, Any] = {"torch": torch, "nn": nn, "F": F, "math": math, **around}
    exec(compile(ast.Module([found], []), file, "exec"), space)
    return space[found.name]


def case(recipe: str, **options: Any) -> Callable[[Answer], Answer]:
    def remember(answer: Answer) -> Answer:
        CASES.append((recipe, options, answer))
        return answer

    return remember


# torchdistill -----------------------------------------------------------------------------------

high_level = importlib.import_module("torchdistill.losses.high_level")
mid_level = importlib.import_module("torchdistill.losses.mid_level")

for options in (
    {},
    {"temperature": 4.0, "alpha": 0.1},
    {"temperature": 4.0, "alpha": 0.3, "beta": 2.0, "weight": 0.5},
    {"temperature": 4.0, "alpha": 0.0},
    {"temperature": 4.0, "alpha": 0.0, "weight": 16.0},
    {"temperature": 2.0, "alpha": 0.25, "reduction": "mean"},
    {"temperature": 2.0, "alpha": 0.0, "reduction": "mean"},
    {"temperature": 3.0, "alpha": 0.5, "label_smoothing": 0.1},
    {"criterion": "LogitStdKDLoss", "temperature": 2.0, "alpha": 0.5, "beta": 9.0},
):

    def by_torchdistill(
        student: Tensor, teacher: Tensor, labels: Tensor, options: dict[str, Any] = options
    ) -> Tensor:
        said = {"temperature": 1.0, "alpha": 0.5, **options}
        weight, criterion = said.pop("weight", 1.0), said.pop("criterion", "KDLoss")
        kd = getattr(mid_level, criterion)(".", "output", ".", "output", **said)
        terms = {"kd": {"criterion": kd, "weight": weight}}
        answers = {"student": {".": {"output": student}}, "teacher": {".": {"output": teacher}}}
        answered: Tensor = high_level.WeightedSumLoss(sub_terms=terms)(answers, {}, labels)
        return answered

    case("torchdistill", **options)(by_torchdistill)

# TextBrewer -------------------------------------------------------------------------------------

textbrewer = importlib.import_module("textbrewer")

for options in (
    {},
    {"temperature": 8.0, "kd_loss_weight": 0.7, "hard_label_weight": 0.3},
    {"kd_loss_type": "mse", "kd_loss_weight": 2.0, "hard_label_weight": 1.0, "temperature": 2.0},
):

    def by_textbrewer(
        student: Tensor, teacher: Tensor, labels: Tensor, options: dict[str, Any] = options
    ) -> Tensor:
        config = textbrewer.DistillationConfig(**options)
        distiller = textbrewer.GeneralDistiller.__new__(textbrewer.GeneralDistiller)
        distiller.d_config = config
        distiller.kd_loss = textbrewer.KD_LOSS_MAP[config.kd_loss_type]
        distiller.has_custom_matches = False
        said = {"logits": [student], "losses": [F.cross_entropy(student, labels)]}
        answered: Tensor = distiller.compute_loss(said, {"logits": [teacher]})[0]
        return answered

    case("textbrewer", **options)(by_textbrewer)

# Keras ------------------------------------------------------------------------------------------

os.environ["KERAS_BACKEND"] = "torch"
keras = importlib.import_module("keras")
keras.backend.set_floatx("float64")
of_example = taken(
    "keras-io/knowledge_distillation.py", "Distiller.compute_loss", ops=keras.ops, keras=keras
)

for options in ({}, {"alpha": 0.1, "temperature": 10.0}, {"alpha": 0.6, "temperature": 1.0}):

    def by_keras_example(
        student: Tensor, teacher: Tensor, labels: Tensor, options: dict[str, Any] = options
    ) -> Tensor:
        distiller = SimpleNamespace(
            teacher=lambda x, training: teacher,
            student_loss_fn=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            distillation_loss_fn=keras.losses.KLDivergence(),
            **{"alpha": 0.1, "temperature": 3, **options},
        )
        answered: Tensor = of_example(distiller, None, labels, student)
        return answered

    case("keras_example", **options)(by_keras_example)

for options in (
    {},
    {"student_loss_weight": 0.2, "temperature": 5.0},
    {"student_loss_weight": 0.2, "temperature": 2.0, "distillation_loss_weight": 3.0},
):

    def by_keras_distiller(
        student: Tensor, teacher: Tensor, labels: Tensor, options: dict[str, Any] = options
    ) -> Tensor:
        def model() -> Any:
            return keras.Sequential([keras.Input((CLASSES,)), keras.layers.Identity()])

        said = dict(options)
        weight = said.pop("distillation_loss_weight", 1.0)
        logits = keras.distillation.LogitsDistillation(
            loss=keras.losses.KLDivergence(), **_only(said, "temperature")
        )
        distiller = keras.distillation.Distiller(
            model(), model(), [logits], [weight], **_only(said, "student_loss_weight")
        )
        distiller.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        # Its teacher is the identity, so what it is shown is what it answers.
        answered: Tensor = distiller.compute_loss(x=teacher, y=labels, y_pred=student)
        return answered

    case("keras_distiller", **options)(by_keras_distiller)


def _only(said: dict[str, Any], name: str) -> dict[str, Any]:
    return {name: said[name]} if name in said else {}


# Trainer recipe, RepDistiller, haitongli --------------------------------------------------------

compute_loss = taken("philschmid/train.py", "DistillationTrainer.compute_loss")

for options in ({}, {"alpha": 0.9, "temperature": 4.0}, {"alpha": 0.0, "temperature": 7.0}):

    def by_trainer(
        student: Tensor, teacher: Tensor, labels: Tensor, options: dict[str, Any] = options
    ) -> Tensor:
        said = {"alpha": 0.5, "temperature": 2.0, **options}
        trainer = SimpleNamespace(
            args=SimpleNamespace(**said), teacher=lambda: SimpleNamespace(logits=teacher)
        )
        own = SimpleNamespace(logits=student, loss=F.cross_entropy(student, labels))
        answered: Tensor = compute_loss(trainer, lambda: own, {})
        return answered

    case("huggingface_trainer", **options)(by_trainer)

for options in (
    {},
    {"gamma": 0.1},
    {"gamma": 0.5, "alpha": 2.0, "kd_T": 6.0},
    {"distill": "rkd", "alpha": 0.0, "beta": 1.0},
    {"distill": "pkt", "alpha": 1.0, "beta": 30000.0},
):

    def by_repdistiller(
        student: Tensor, teacher: Tensor, labels: Tensor, options: dict[str, Any] = options
    ) -> Tensor:
        said = {"distill": "kd", "gamma": 1.0, "alpha": 0.9, "beta": 0.0, "kd_T": 4.0, **options}
        divergence = taken("repdistiller/KD.py", "DistillKL")(said["kd_T"])(student, teacher)
        others = {
            "rkd": taken("repdistiller/RKD.py", "RKDLoss"),
            "pkt": taken("repdistiller/PKT.py", "PKT"),
        }
        other: Any = others[said["distill"]]()(VECTORS, TAUGHT) if said["distill"] in others else 0
        answered: Tensor = (  # the sum stands in helper/loops.py, in the middle of the epoch
            said["gamma"] * F.cross_entropy(student, labels)
            + said["alpha"] * divergence
            + said["beta"] * other
        )
        return answered

    case("repdistiller", **options)(by_repdistiller)

loss_fn_kd = taken("haitongli/net.py", "loss_fn_kd")

for options in ({}, {"alpha": 0.5, "temperature": 4.0}):

    def by_haitongli(
        student: Tensor, teacher: Tensor, labels: Tensor, options: dict[str, Any] = options
    ) -> Tensor:
        said = SimpleNamespace(**{"alpha": 0.9, "temperature": 20.0, **options})
        answered: Tensor = loss_fn_kd(student, labels, teacher, said)
        return answered

    case("haitongli", **options)(by_haitongli)

# torchtune --------------------------------------------------------------------------------------


# Its losses alone: the package itself wants torchao.
[of_torchtune] = [
    file
    for file in metadata.files("torchtune") or []
    if str(file) == "torchtune/modules/loss/kd_losses.py"
]
ForwardKLLoss = taken(str(of_torchtune.locate()), "ForwardKLLoss")

for options in ({}, {"kd_ratio": 0.8}):

    def by_torchtune(
        student: Tensor, teacher: Tensor, labels: Tensor, options: dict[str, Any] = options
    ) -> Tensor:
        ratio = options.get("kd_ratio", 0.5)
        kd = ForwardKLLoss()(student, teacher, labels)
        answered: Tensor = (1 - ratio) * F.cross_entropy(student, labels) + ratio * kd
        return answered

    case("torchtune", **options)(by_torchtune)


# TRL --------------------------------------------------------------------------------------------

GKDTrainer = importlib.import_module("trl.experimental.gkd").GKDTrainer
distillation_trainer = importlib.import_module("trl.trainer.distillation_trainer")

for options in ({}, {"beta": 0.1}, {"beta": 0.0}, {"beta": 1.0}):

    def by_gkd(
        student: Tensor, teacher: Tensor, labels: Tensor, options: dict[str, Any] = options
    ) -> Tensor:
        answered: Tensor = GKDTrainer.generalized_jsd_loss(
            student[None], teacher[None], labels[None], **{"beta": 0.5, **options}
        )
        return answered

    case("trl", **options)(by_gkd)

for options in ({"beta": 0.3, "temperature": 2.0}, {"beta": 1.0, "temperature": 1.5}):

    def by_distillation(
        student: Tensor, teacher: Tensor, labels: Tensor, options: dict[str, Any] = options
    ) -> Tensor:
        # With the identity for a head, hidden states are logits.
        head, mask = torch.eye(CLASSES, dtype=student.dtype), torch.ones(1, ROWS)
        answered: Tensor = distillation_trainer._chunked_divergence_loss(
            student[None], teacher[None], head, head, mask, **options
        )[0]
        return answered

    case("trl", trainer="DistillationTrainer", **options)(by_distillation)

# DistillKit -------------------------------------------------------------------------------------

kl = taken("distillkit/kl.py", "dense_kl_div")
jsd = taken("distillkit/jsd.py", "dense_js_div", divergence_dtype=lambda logits: logits.dtype)
tvd = taken("distillkit/tvd.py", "dense_tvd")

for options in (
    {},
    {"cross_entropy_weight": 1.0, "kl_weight": 3.0, "kl_temperature": 2.0},
    {"jsd_weight": 1.0, "jsd_temperature": 2.0, "tvd_weight": 2.0},
):

    def by_distillkit(
        student: Tensor, teacher: Tensor, labels: Tensor, options: dict[str, Any] = options
    ) -> Tensor:
        said = {"cross_entropy_weight": 0.5, "kl_weight": 0.5, **options}
        mask = (labels >= 0)[None, :, None]
        summed = said["cross_entropy_weight"] * F.cross_entropy(student, labels)
        for name, function in (("kl", kl), ("jsd", jsd), ("tvd", tvd)):
            at = said.get(f"{name}_temperature", 1.0)
            value = function(student[None], teacher[None], mask, temperature=at) * at**2
            summed = summed + said.get(f"{name}_weight", 0.0) * value / mask.float().sum()
        answered: Tensor = summed / sum(v for name, v in said.items() if name.endswith("_weight"))
        return answered

    case("distillkit", **options)(by_distillkit)


def listed(numbers: Tensor) -> list[list[float]]:
    return [[float(f"{one:.12g}") for one in row] for row in numbers.tolist()]


def record() -> dict[str, Any]:
    recorded = []
    for recipe, options, answer in CASES:
        logits, VECTORS.grad = torch.tensor(STUDENT, requires_grad=True), None
        value = answer(logits, torch.tensor(TEACHER), torch.tensor(LABELS))
        value.backward()  # type: ignore[no-untyped-call]
        assert logits.grad is not None
        said: dict[str, Any] = {"recipe": recipe, "options": options, "value": value.item()}
        said["gradient"] = listed(logits.grad)
        if VECTORS.grad is not None:
            said["gradient_of_vectors"] = listed(VECTORS.grad)
        recorded.append(said)
    packages = ("torch", "torchdistill", "textbrewer", "keras", "torchtune", "trl")
    return {
        "versions": {name: metadata.version(name) for name in packages},
        "sources": SOURCES_OF,
        "student": STUDENT.tolist(),
        "teacher": TEACHER.tolist(),
        "labels": LABELS.tolist(),
        "vectors": VECTORS.tolist(),
        "taught": TAUGHT.tolist(),
        "cases": recorded,
    }


if __name__ == "__main__":
    FILE.write_text(
        json.dumps(record(), separators=(",", ":")).replace('{"recipe"', '\n{"recipe"') + "\n"
    )
