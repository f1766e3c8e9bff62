"""How several frozen teachers become one: options and arithmetic shared by the schemes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from training.engine.options import option


@dataclass(frozen=True, slots=True)
class Joined:
    combine: str = option(
        "mean",
        choices=("mean", "confidence", "loss", "route"),
        label="Several teachers",
        help="mean: their probabilities, by the teachers' weights. confidence: the surer one "
        "(lower entropy) counts more, row by row. loss: the one nearer to the label counts more "
        "(CA-MKD, 2201.00007, equation 3). route: a column names each row's teacher.",
    )
    route_column: str = option(
        "",
        help="With route: the dataset's column that holds, for each row, the name of its teacher; "
        "rows that name none take the mean.",
    )


def join(
    options: Joined,
    said: Sequence[Tensor],
    weights: Sequence[float],
    labels: Tensor,
    route: Tensor | None,
) -> Tensor:
    """`[units, classes]`: the logarithm of the teachers' mixed probabilities; one teacher's own
    logits where it is alone."""
    if len(said) == 1:
        return said[0].float()
    logs = torch.stack([F.log_softmax(one.float(), dim=-1) for one in said])  # [teachers, units, c]
    shares = torch.tensor(weights, dtype=torch.float32, device=logs.device)
    by_unit = (shares / shares.sum()).unsqueeze(1).expand(len(said), logs.shape[1])
    if options.combine == "confidence":
        entropy = -(logs.exp() * logs).sum(-1)
        by_unit = F.normalize(by_unit * torch.exp(-entropy), p=1.0, dim=0)
    elif options.combine == "loss" and labels.ndim == 1:
        by_unit = torch.where(labels >= 0, _nearer(logs, labels) * by_unit, by_unit)
        by_unit = F.normalize(by_unit, p=1.0, dim=0)
    elif options.combine == "route" and route is not None:
        numbers = torch.arange(len(said), device=logs.device).unsqueeze(1)
        by_unit = torch.where(route >= 0, (numbers == route).float(), by_unit)
    return torch.logsumexp(logs + by_unit.clamp_min(1e-30).log().unsqueeze(-1), dim=0)


def _nearer(logs: Tensor, labels: Tensor) -> Tensor:
    """`[teachers, units]`: 1 − the softmax of the teachers' cross-entropies with the label, over
    their number less one."""
    index = labels.clamp_min(0).expand(len(logs), -1).unsqueeze(-1)
    entropies = -logs.gather(-1, index).squeeze(-1)
    return (1.0 - F.softmax(entropies, dim=0)) / (len(logs) - 1)


def names(values: Sequence[Any], teachers: Sequence[str]) -> Tensor:
    """`[rows]`, int64: the number of the teacher that each value names, -1 for none. A teacher is
    named as it is referred to (`big@2`) or without its version (`big`)."""
    known = {name: place for place, name in enumerate(teachers)}
    known |= {name.partition("@")[0]: place for place, name in enumerate(teachers)}
    return torch.tensor([known.get(str(value), -1) for value in values], dtype=torch.int64)
