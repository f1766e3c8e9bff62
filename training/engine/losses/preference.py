from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from training.engine import head_loss
from training.engine.answers import Answer
from training.engine.data import of_rationale
from training.engine.heads import Head, Unmultiplied
from training.engine.losses import LOSSES, Loss
from training.engine.options import option


@dataclass(frozen=True, slots=True)
class Options:
    beta: float = option(
        0.1,
        minimum=1e-4,
        maximum=10.0,
        label="Beta (β)",
        help="How firmly the student is held to its reference: small lets it go far.",
    )
    label_smoothing: float = option(
        0.0,
        minimum=0.0,
        maximum=0.49,
        help="The share of pairs that people are thought to have chosen wrongly.",
    )


@dataclass(frozen=True, slots=True)
class Margins:
    """Of each pair how much likelier than the reference the student finds the chosen answer, less
    the same of the rejected one: `[pairs]`, in nats; and the unit that stands for each."""

    values: Tensor
    units: Tensor


@LOSSES.register
class Preference(Loss):
    """Its units are the tokens of pairs: those of a chosen answer, then those of the rejected one,
    whose labels are below -1 as a rationale's are (`of_rationale`). A pair's value stands at the
    first token of its chosen answer, so that pairs are counted as other terms count units. The
    teacher is the reference. With label smoothing it is the conservative loss of Mitchell's note
    (2023): the share ε of pairs the other way round."""

    key = "preference"
    label = "Preferences"
    summary = (
        "The answer that people chose is to gain on the one they rejected, by how much likelier "
        "each is than the student's own beginning, or a chosen teacher, finds it: direct "
        "preference optimization (DPO)."
    )
    formula = (
        "−log σ(β Δ),  Δ = log s(chosen) / r(chosen) − log s(rejected) / r(rejected), "
        "summed over the answers' tokens"
    )
    paper = "Rafailov et al.: Direct Preference Optimization, 2305.18290, equation 7"
    needs_teacher = True
    needs_labels = True
    needs_column: ClassVar[str] = "rejected"
    of_sequences: ClassVar[bool] = True
    scheme: ClassVar[str] = "preferences"
    tasks = ("text-generation",)
    Options: ClassVar[type] = Options

    def values(self, student: Answer, teacher: Answer | None, labels: Tensor) -> Tensor:
        assert teacher is not None
        found = margins(student, teacher, labels)
        said = self.of(found.values)
        return said.new_zeros(len(labels)).index_put((found.units,), said)

    def of(self, margins: Tensor) -> Tensor:
        """`[pairs]`, from Δ."""
        smoothing = self.options.label_smoothing
        moved: Tensor = self.options.beta * margins
        right, wrong = (F.softplus(sign * moved) for sign in (-1.0, 1.0))  # −log σ(±moved)
        said: Tensor = (1 - smoothing) * right + smoothing * wrong
        return said

    def speaks(self, labels: Tensor) -> Tensor:
        pair, _ = pairs(labels)
        first = torch.zeros_like(labels, dtype=torch.bool)
        first[_firsts(pair)] = True
        return first


def pairs(labels: Tensor) -> tuple[Tensor, Tensor]:
    """(`[units]`, the pair that each unit belongs to, -1 where to none; `[units]` of bool, whether
    it is of a rejected answer). A pair begins where a chosen token follows a rejected one; chosen
    tokens without rejected ones behind them are no pair."""
    rejected = labels < -1
    known = torch.nonzero(labels != -1).flatten()
    side = rejected[known]
    begins = ~side
    begins[1:] &= side[:-1]
    number = begins.long().cumsum(0) - 1
    many = int(number[-1]) + 1 if len(number) else 0
    whole = torch.zeros(many + 1, dtype=torch.bool, device=labels.device)
    whole[number[side & (number >= 0)]] = True
    kept = whole[number] & (number >= 0)
    renumbered = whole[:many].long().cumsum(0) - 1
    pair = torch.full_like(labels, -1)
    pair[known[kept]] = renumbered[number[kept]]
    return pair, rejected


def _firsts(pair: Tensor) -> Tensor:
    """`[pairs]`: the first unit of each."""
    inside = torch.nonzero(pair >= 0).flatten()
    numbers = pair[inside]
    new = torch.ones_like(numbers, dtype=torch.bool)
    new[1:] = numbers[1:] != numbers[:-1]
    return inside[new]


def margins(student: Answer, teacher: Answer, labels: Tensor) -> Margins:
    """Of the pairs that these units make. The reference carries no gradient."""
    pair, rejected = pairs(labels)
    units = _firsts(pair)
    inside = pair >= 0
    tokens = torch.where(rejected, of_rationale(labels), labels).clamp(min=0)
    with torch.no_grad():
        reference = log_probabilities(teacher, tokens)
    gained = log_probabilities(student, tokens) - reference
    signed = torch.where(rejected, -gained, gained)[inside]
    summed = signed.new_zeros(len(units)).index_add(0, pair[inside], signed)
    return Margins(summed, units)


def log_probabilities(answer: Answer, tokens: Tensor) -> Tensor:
    """`[units]`, float32 (float64 of such logits): of the token that stands there. Of a network
    that writes, a few units at a time, whose logits are made again for the gradient, so that the
    logits of all are never in memory."""
    if not isinstance(answer, Unmultiplied) or answer.head is None or answer.made is not None:
        return _chosen(answer.logits, tokens)
    head = answer.head
    size = head_loss.tokens_at_once(len(head.hidden), len(head.weight), head.hidden.device)
    parts = []
    for start in range(0, len(tokens), size):
        some = (head.hidden[start : start + size], head.weight, head.bias)
        these = tokens[start : start + size]
        if torch.is_grad_enabled():
            parts.append(checkpoint(_of_head, *some, these, use_reentrant=False))
        else:
            parts.append(_of_head(*some, these))
    return torch.cat(parts) if parts else head.hidden.new_zeros(0)


def _of_head(hidden: Tensor, weight: Tensor, bias: Tensor | None, tokens: Tensor) -> Tensor:
    return _chosen(Head(hidden, weight, bias).logits(), tokens)


def _chosen(logits: Tensor, tokens: Tensor) -> Tensor:
    return -F.cross_entropy(logits, tokens, reduction="none")
