"""Divergences between what a student and a teacher say, in log space.

Every function takes logarithms of probabilities and answers one number per unit, in nats. They are
exactly 0 where both agree, never less, finite for logits of any size, and differentiable by both
sides.

KL(p ‖ q) is summed as p (log(p / q) − 1) + q, class by class, instead of p log(p / q): both give
the same, since p and q each sum to 1, but here no class is below 0. So rounding cannot make a
divergence negative, and a common error of all logarithms, which high temperatures would multiply by
T², cancels out.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

FAR = 80.0  # e^80 is still a float32
NEAR = 0.1  # logarithms this close are compared by a series


def log_probabilities(logits: Tensor, problem: str, temperature: float = 1.0) -> Tensor:
    """`[units, classes]` of logits as logarithms of softened probabilities.

    With several labels a row, each label is a yes or a no of its own: `[units, classes, 2]`.
    """
    softened = logits if temperature == 1.0 else logits / temperature
    if problem == "multi_label":
        return torch.stack((F.logsigmoid(softened), F.logsigmoid(-softened)), dim=-1)
    return F.log_softmax(softened, dim=-1)


def kl(p: Tensor, q: Tensor) -> Tensor:
    """KL(p ‖ q), `[units]`."""
    return _over_labels(gap(p, p - q))


def skewed_kl(p: Tensor, q: Tensor, share: float) -> Tensor:
    """KL(p ‖ m), `[units]`, where m = share · p + (1 − share) · q; KL(p ‖ q) at share 0."""
    if share == 0.0:
        return kl(p, q)
    if share <= 0.5:
        above_p, _ = _mixture(p - q, share)
    else:
        above_p = -_mixture(q - p, 1.0 - share)[1]
    return _over_labels(gap(p, above_p))


def balanced_js(p: Tensor, q: Tensor, beta: float) -> Tensor:
    """The generalised Jensen-Shannon divergence over β(1 − β), `[units]`.

    With m = βp + (1 − β)q it is KL(p ‖ m) / (1 − β) + KL(q ‖ m) / β, which tends to KL(p ‖ q) where
    β tends to 0, and to KL(q ‖ p) where it tends to 1.
    """
    if beta > 0.5:
        p, q, beta = q, p, 1.0 - beta
    if beta == 0.0:
        return kl(p, q)
    above_p, over_q = _mixture(p - q, beta)
    return _over_labels(gap(p, above_p) / (1.0 - beta) + gap(q, -over_q) / beta)


def gap(p: Tensor, above: Tensor) -> Tensor:
    """The sum over the last dimension of p (above − 1) + q, where above = log(p / q) is given.

    p: logarithms of probabilities, `[..., classes]`. It is KL(p ‖ q) where q sums to 1.
    """
    summed: Tensor = _Gap.apply(p, above)  # type: ignore[no-untyped-call]
    return summed


class _Gap(torch.autograd.Function):
    """Keeps nothing but its inputs for the backward pass: a vocabulary is large."""

    @staticmethod
    def forward(ctx: Any, p: Tensor, above: Tensor) -> Tensor:
        ctx.save_for_backward(p, above)
        return _apart(p, above).sum(dim=-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, pulled: Tensor) -> tuple[Tensor | None, Tensor | None]:
        p, above = ctx.saved_tensors
        pulled = pulled.unsqueeze(-1)
        by_p = _apart(p, above).mul_(pulled) if ctx.needs_input_grad[0] else None
        by_above = None
        if ctx.needs_input_grad[1]:
            by_above = p.exp().sub_((p - above).exp_()).mul_(pulled)
        return by_p, by_above


def _apart(p: Tensor, above: Tensor) -> Tensor:
    """p (above − 1) + q, class by class; p (above²/2 − above³/6 + ...) where above is small."""
    share = p.exp()
    far = (p - above).exp_().sub_(share).addcmul_(share, above)
    series = above.mul(1 / 720).sub_(1 / 120)
    for term in (1 / 24, -1 / 6, 1 / 2, 0.0):
        series.mul_(above).add_(term)
    return torch.where(above.abs() < NEAR, series.mul_(above).mul_(share), far)


def _mixture(over: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """log(p / m) and log(m / q) for over = log(p / q) and m = share · p + (1 − share) · q, where
    share is at most one half.

    log1p and expm1 keep every digit where p and q are close or the share is small. Where p is FAR
    above q, m is share · p.
    """
    most = over.clamp(max=FAR)
    mixed = torch.log1p(share * torch.expm1(most))
    return most - mixed, mixed + (over - most)


def _over_labels(values: Tensor) -> Tensor:
    """`[units]`; the mean over labels where there are several, `[units, labels]`."""
    return values if values.ndim == 1 else values.mean(dim=-1)
