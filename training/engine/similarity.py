"""How alike two layers are, and which layers of two networks belong together."""

import torch
from torch import Tensor

MOST_SAMPLES = 1024  # enough for two digits, and its square still small
FEWEST = 4  # samples, of which the unbiased estimate is defined


def linear_cka(x: Tensor, y: Tensor) -> float:
    """Centred kernel alignment of two sets of activations of the same samples, at most 1.

    x: `[samples, width]`, y: `[samples, another width]`. Turning or scaling either changes
    nothing. Kornblith et al., 1905.00414, with the unbiased estimate of Nguyen et al., 2010.15327,
    equation 3: the usual one nears 1 for any two layers wider than the samples are many. 0 where
    one side does not vary, or with fewer than 4 samples.
    """
    if len(x) < FEWEST:
        return 0.0
    one, two = _centred(x[:MOST_SAMPLES]), _centred(y[:MOST_SAMPLES])
    alone = _hsic(one, one) * _hsic(two, two)
    if alone <= 0.0:
        return 0.0
    return float(_hsic(one, two) / alone**0.5)


def _centred(x: Tensor) -> Tensor:
    """The products of all pairs of samples, without their own, `[samples, samples]`."""
    x = x.double()
    x = x - x.mean(dim=0)
    gram = x @ x.T
    return gram.fill_diagonal_(0.0)


def _hsic(k: Tensor, m: Tensor) -> float:
    """The unbiased estimate of how dependent two sets are."""
    n = len(k)
    both = (k * m).sum()
    apart = k.sum() * m.sum() / ((n - 1) * (n - 2))
    mixed = 2.0 / (n - 2) * (k.sum(dim=0) @ m.sum(dim=0))
    return float((both + apart - mixed) / (n * (n - 3)))


def in_order(scores: Tensor) -> list[int]:
    """For each student layer the teacher's layer, so that the sum of scores is largest and the
    order is kept: no two student layers share one, unless the teacher has fewer.

    scores: `[student's layers, teacher's layers]`. The lower layer where two are as good.
    """
    mine, theirs = scores.shape
    step = 1 if theirs >= mine else 0  # how far the next layer must lie above the last
    best = scores.double().clone()
    came: list[Tensor] = []
    for layer in range(1, mine):
        before = torch.full((theirs,), -torch.inf, dtype=torch.float64)
        highest, where = best[layer - 1].cummax(dim=0)
        where = _first_of(best[layer - 1], highest)
        before[step:] = highest[: theirs - step]
        came.append(where)
        best[layer] = best[layer] + before
    place = int(best[-1].argmax())
    found = [place]
    for where in reversed(came):
        place = int(where[place - step])
        found.append(place)
    return found[::-1]


def _first_of(scores: Tensor, highest: Tensor) -> Tensor:
    """For each place, the first place at which the highest so far stands."""
    fresh = torch.ones_like(scores, dtype=torch.bool)
    fresh[1:] = scores[1:] > highest[:-1]
    places = torch.arange(len(scores)) * fresh
    return places.cummax(dim=0).values
