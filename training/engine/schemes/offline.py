from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from training.engine.schemes import SCHEMES, Scheme


@SCHEMES.register
class Offline(Scheme):
    """Frozen teachers. Their outputs do not change, so they are asked once and stored."""

    key = "offline"
    label = "Offline"
    summary = "One or several frozen teachers; several are averaged by their probabilities."
    formula = "t = log Σ wᵢ · softmax(tᵢ),  Σ wᵢ = 1;  one teacher: its own logits"
    paper = "Hinton, Vinyals, Dean, 1503.02531"

    @staticmethod
    def target(logits: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
        if len(logits) == 1:
            return logits[0].float()
        shares = torch.tensor(weights, dtype=torch.float64)
        shares = (shares / shares.sum()).log()
        parts = [
            F.log_softmax(one.float(), dim=-1) + float(share)
            for one, share in zip(logits, shares, strict=True)
        ]
        return torch.logsumexp(torch.stack(parts), dim=0)
