"""Record what TRL's DPOTrainer answers, in recorded_preferences.json. Run by hand:

    python -m venv env
    env/bin/pip install torch==2.13.0 numpy
    env/bin/pip install --no-deps trl==1.16.0
    env/bin/pip install packaging accelerate datasets "transformers>=5" torch==2.13.0
    env/bin/python -m tests.engine.oracles.record_preferences

The trainer's own code adds up tokens, takes the ratios and makes the loss; networks are tensors, in
float64. The tests read the numbers only: TRL is not needed to run them.
"""

import json
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from trl import DPOTrainer  # type: ignore[import-not-found]

from tests.engine.oracles import pairs

JSON = dict[str, Any]
SIZES = {"pairs": 3, "time": 7, "vocabulary": 11}


def speaker(logits: Tensor) -> Any:
    """A network that says these logits, as TRL's fused last layer answers."""

    def answer(*, labels: Tensor, **_: Any) -> Any:
        told = labels[:, 1:]
        known = told != -100
        logs = logits.log_softmax(-1).gather(-1, told.clamp(min=0).unsqueeze(-1)).squeeze(-1)
        nothing = torch.zeros_like(logs)
        return SimpleNamespace(
            log_probs=torch.where(known, logs, nothing),
            entropy=nothing,
            mean_logits=nothing,
            is_top1=known,
        )

    return answer


def trainer(beta: float, reference: Tensor) -> Any:
    """A DPOTrainer as far as its loss looks at it."""
    made: Any = DPOTrainer.__new__(DPOTrainer)
    accelerator = SimpleNamespace(
        device=torch.device("cpu"), gather=lambda one: one, gather_for_metrics=lambda one: one
    )
    made.__dict__.update(
        model=SimpleNamespace(training=False, is_gradient_checkpointing=False),
        accelerator=accelerator,
        args=SimpleNamespace(gradient_checkpointing_kwargs=None),
        aux_loss_enabled=False,
        ld_alpha=None,
        precompute_ref_logps=False,
        ref_model=speaker(reference),
        f_divergence_type="reverse_kl",
        loss_types=["sigmoid"],
        loss_weights=[1.0],
        beta=beta,
        use_weighting=False,
        _metrics={"eval": defaultdict(list)},
        _total_train_tokens=0,
    )
    return made


def record(seed: int, beta: float) -> JSON:
    inputs = {"seed": seed, **SIZES}
    tokens, counts = pairs.answers(inputs)
    said, held = pairs.logits(inputs)
    student = torch.tensor(said, requires_grad=True)
    prompt = torch.zeros(len(tokens), 1, dtype=torch.int64)
    batch = {
        "input_ids": torch.cat([prompt, torch.tensor(tokens)], dim=1),
        "attention_mask": torch.ones(len(tokens), tokens.shape[1] + 1),
        "completion_mask": torch.cat([prompt, torch.tensor(counts).long()], dim=1),
    }
    made = trainer(beta, torch.tensor(held))
    loss = made._compute_loss(speaker(student), batch, False)
    (gradient,) = torch.autograd.grad(loss, student)
    return {
        "library": f"trl {version('trl')}",
        "settings": {"beta": beta},
        "inputs": inputs,
        "value": float(loss.detach()),
        "preferred": made._metrics["eval"]["rewards/accuracies"][0],
        "gradient_norm": float(gradient.norm()),
        "gradient_along": float((gradient * torch.tensor(pairs.towards(inputs))).sum()),
    }


if __name__ == "__main__":
    place = Path(__file__).with_name("recorded_preferences.json")
    cases = [record(seed, beta) for seed, beta in enumerate((0.01, 0.1, 0.1, 0.5, 2.0))]
    lines = ",\n".join(json.dumps(one) for one in cases)
    place.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
