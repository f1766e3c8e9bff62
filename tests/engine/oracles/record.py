"""Record what torchdistill and TRL answer, in recorded.json. Run by hand, when either changes:

    python -m venv env
    env/bin/pip install torch==2.13.0 numpy
    env/bin/pip install --no-deps torchdistill==1.1.5 trl==1.16.0
    env/bin/pip install packaging accelerate datasets "transformers>=5" torch==2.13.0
    env/bin/python -m tests.engine.oracles.record

(`--no-deps`, because torchdistill asks for torchvision, which does not go with a CPU build of
torch; its losses do not use it.) All in float64, so that what differs is the formula and not the
rounding.
The tests read the numbers only: none of these libraries is needed to run them.
"""

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchdistill.losses import mid_level  # type: ignore[import-not-found]
from trl.experimental.gkd.gkd_trainer import GKDTrainer  # type: ignore[import-not-found]

from tests.engine.oracles import tensors

JSON = dict[str, Any]
Value = Callable[[Tensor, Tensor, Tensor], Tensor]

LOGITS: JSON = {"student": [8, 5], "teacher": [8, 5]}
VECTORS: JSON = {"student": [8, 6], "teacher": [8, 9]}
MAPS: JSON = {"student": [6, 4, 5, 5], "teacher": [6, 7, 5, 5]}
PATHS = ("m", "output", "m", "output")


def of(loss: Any) -> Value:
    """A loss of torchdistill that finds both sides under one name."""

    def value(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
        found: Tensor = loss({"m": {"output": student}}, {"m": {"output": teacher}}, labels)
        return found

    return value


def jsd(beta: float, temperature: float) -> Value:
    def value(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
        # TRL wants [batch, time, vocabulary] and divides by the batch; one unit of time a row.
        found: Tensor = GKDTrainer.generalized_jsd_loss(
            student.unsqueeze(1), teacher.unsqueeze(1), beta=beta, temperature=temperature
        )
        return found

    return value


def oracles() -> list[tuple[str, str, JSON, JSON, Value]]:
    """Name, library, shapes, settings in the library's own words, and the loss."""
    found: list[tuple[str, str, JSON, JSON, Value]] = []

    def torchdistill(name: str, shapes: JSON, kind: str, *places: Any, **settings: Any) -> None:
        loss = getattr(mid_level, kind)(*places, **settings)
        found.append((name, "torchdistill", shapes, settings, of(loss)))

    for alpha in (0.1, 0.5):
        torchdistill("kd", LOGITS, "KDLoss", *PATHS, temperature=4.0, alpha=alpha)
    torchdistill("kd", LOGITS, "KDLoss", *PATHS, temperature=2.0, alpha=None, beta=1.0)
    torchdistill(
        "standardised_logits", LOGITS, "LogitStdKDLoss", *PATHS, temperature=2.0, alpha=0.5, beta=9
    )
    for tau in (1.0, 4.0):
        torchdistill("dist", LOGITS, "DISTLoss", *PATHS, beta=1.0, gamma=1.0, tau=tau)
    torchdistill("dist", LOGITS, "DISTLoss", *PATHS, beta=2.0, gamma=0.5, tau=1.0)
    one_pair = {"m": {"student": {"io": "output", "path": "m"}}}
    one_pair["m"]["teacher"] = one_pair["m"]["student"]
    at = mid_level.ATLoss(at_pairs=one_pair, mode="code")
    found.append(("attention_transfer", "torchdistill", MAPS, {"mode": "code"}, of(at)))
    for dist_factor, angle_factor in ((1.0, 0.0), (0.0, 1.0), (1.0, 2.0)):
        torchdistill(
            *("rkd", VECTORS, "RKDLoss", "m", "m"),
            dist_factor=dist_factor,
            angle_factor=angle_factor,
            reduction="mean",
        )
    torchdistill("similarity_preserving", VECTORS, "SPKDLoss", "m", "m", reduction="batchmean")
    torchdistill("pkt", VECTORS, "PKTLoss", *PATHS)
    for beta in (0.0, 0.1, 0.5, 0.9, 1.0):
        for temperature in (1.0, 2.0):
            settings = {"beta": beta, "temperature": temperature}
            found.append(("jsd", "trl", LOGITS, settings, jsd(**settings)))
    return found


def record() -> list[JSON]:
    recorded = []
    for seed, (name, library, shapes, settings, value) in enumerate(oracles()):
        inputs = {"seed": seed, **shapes}
        said, taught = tensors.pair(inputs)
        student = torch.tensor(said, requires_grad=True)
        teacher = torch.tensor(taught)
        labels = torch.arange(len(said)) % 5
        found = value(student, teacher, labels)
        (gradient,) = torch.autograd.grad(found, student)
        along = (gradient * torch.tensor(tensors.towards(inputs))).sum()
        recorded.append(
            {
                "name": name,
                "library": f"{library} {version(library)}",
                "settings": settings,
                "inputs": inputs,
                "value": float(found),
                "gradient_norm": float(gradient.norm()),
                "gradient_along": float(along),
            }
        )
    return recorded


if __name__ == "__main__":
    place = Path(__file__).with_name("recorded.json")
    lines = ",\n".join(json.dumps(one) for one in record())
    place.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
