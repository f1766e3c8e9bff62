"""Divergences between what a student and a teacher say, in log space.

Every function takes logarithms of probabilities, softened by `temperature`, and answers one number
per unit, in nats, times temperature²: so gradients keep their size whatever the temperature. They
are exactly 0 where both agree, finite for logits of any size, and differentiable by both sides.

From a temperature of WARM on, p (log(p / q) − 1) + q is summed instead of p log(p / q). Both give
the same, since p and q each sum to 1, but there no class is below 0, and a common error of all
logarithms cancels out: the square of a high temperature would multiply it a million times.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

WARM = 10.0  # below it, rounding errors times temperature² stay under 1e-5
FAR = 80.0  # e^80 is still a float32
NEAR = 1.0  # how close logarithms are whose difference keeps its digits in expm1


def log_probabilities(logits: Tensor, problem: str, temperature: float = 1.0) -> Tensor:
    """`[units, classes]` of logits as logarithms of softened probabilities.

    With several labels a row, each label is a yes or a no of its own: `[units, classes, 2]`.
    """
    softened = logits if temperature == 1.0 else logits / temperature
    if problem == "multi_label":
        return torch.stack((F.logsigmoid(softened), F.logsigmoid(-softened)), dim=-1)
    return F.log_softmax(softened, dim=-1)


def kl(p: Tensor, q: Tensor, temperature: float = 1.0) -> Tensor:
    """KL(p ‖ q), `[units]`; the mean over labels of `[units, labels, 2]`."""
    usual = F.kl_div(q, p, reduction="none", log_target=True).sum(dim=-1)
    return _scaled(usual, p, p - q if temperature >= WARM else None, temperature)


def skewed_kl(p: Tensor, q: Tensor, share: float, temperature: float = 1.0) -> Tensor:
    """KL(p ‖ m), `[units]`, where m = share · p + (1 − share) · q; KL(p ‖ q) at share 0."""
    if share == 0.0:
        return kl(p, q, temperature)
    above_p = _mixture(p - q, share)[0] if share <= 0.5 else -_mixture(q - p, 1.0 - share)[1]
    return _gap(p, above_p, temperature)


def balanced_js(p: Tensor, q: Tensor, beta: float, temperature: float = 1.0) -> Tensor:
    """The generalised Jensen-Shannon divergence over β(1 − β), `[units]`.

    With m = βp + (1 − β)q it is KL(p ‖ m) / (1 − β) + KL(q ‖ m) / β, which tends to KL(p ‖ q) where
    β tends to 0, and to KL(q ‖ p) where it tends to 1.
    """
    if beta > 0.5:
        p, q, beta = q, p, 1.0 - beta
    if beta == 0.0:
        return kl(p, q, temperature)
    above_p, over_q = _mixture(p - q, beta)
    ours, others = _gap(p, above_p, temperature), _gap(q, -over_q, temperature)
    return ours / (1.0 - beta) + others / beta


def _gap(p: Tensor, above: Tensor, temperature: float) -> Tensor:
    """KL(p ‖ q) where above = log(p / q) is given, with digits that p − q would lose."""
    usual = (p.exp() * above).sum(dim=-1)
    return _scaled(usual, p, above if temperature >= WARM else None, temperature)


def _scaled(usual: Tensor, p: Tensor, above: Tensor | None, temperature: float) -> Tensor:
    """The divergences, their values mended where `above` is given; their gradients need none."""
    if above is not None:
        with torch.no_grad():
            mended = _apart(p, above).sum(dim=-1) - usual
        usual = usual + mended
    if usual.ndim > 1:
        usual = usual.flatten(1).mean(dim=1)
    return usual if temperature == 1.0 else usual * float(temperature**2)


def _apart(p: Tensor, above: Tensor) -> Tensor:
    """p (above − 1) + q, class by class; by way of expm1 where p and q are close."""
    share = p.exp()
    near = torch.expm1(-above).add_(above).clamp_(min=0.0).mul_(share)
    far = (p - above).exp_().sub_(share).addcmul_(share, above)
    return torch.where(above.abs() < NEAR, near, far)


def _mixture(over: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """log(p / m) and log(m / q) for over = log(p / q) and m = share · p + (1 − share) · q, where
    share is at most one half.

    log1p and expm1 keep every digit where p and q are close or the share is small. Where p is FAR
    above q, m is share · p.
    """
    most = over.clamp(max=FAR)
    mixed = torch.log1p(share * torch.expm1(most))
    return most - mixed, mixed + (over - most)
