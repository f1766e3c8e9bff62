"""From the probabilities of tokens to those of labels.

A service tells of each token of its answer which others were likely there (`top_logprobs`, at most
20). The first token that only one label begins with decides for that label: its probability is the
label's. The answer that was given is walked token by token, so labels that share their first tokens
with it (`card_arrival`, `card_lost`) are told apart where they part. A likely token that several
labels begin with, and that was not taken, cannot be split: then there are no probabilities, only
the label (`shared`), unless the labels are scored one by one (`scored`).

Reading a classifier from the first token's probabilities: OpenAI cookbook, "Using logprobs"
(classification); Hendrycks et al. 2021, arXiv:2009.03300, for one token an answer. Scoring whole
continuations: Brown et al. 2020, arXiv:2005.14165, section 2.4, and `loglikelihood` of
lm-evaluation-harness.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from training.answering.replies import Step

MOST_SHARED = 0.02  # of the probability, on tokens that several labels begin with
LEAST_COVERED = 0.5  # of the probability, on labels at all


@dataclass(frozen=True, slots=True)
class Distribution:
    """`probabilities` sum to 1 over the labels, or are None; `covered` is the share of the
    teacher's whole probability that fell on labels; `reason` says why there are none."""

    probabilities: tuple[float, ...] | None
    covered: float
    reason: str = ""


def walked(labels: Sequence[str], steps: Sequence[Step]) -> Distribution:
    """From an answer's own tokens. A label that is among none of the likely tokens has 0."""
    if not steps or not any(step.top for step in steps[:1]):
        return Distribution(None, 0.0, "not_offered")
    found = [0.0] * len(labels)
    names = [label.casefold() for label in labels]
    shared, done, here = 0.0, "", 1.0
    for step in steps:
        for token, logprob in step.top:
            if token == step.token:
                continue
            fit = _fitting(names, done + token)
            share = here * math.exp(logprob)
            if len(fit) == 1:
                found[fit[0]] += share
            elif fit:
                shared += share
        here *= math.exp(step.logprob)
        done += step.token
        fit = _fitting(names, done)
        if len(fit) <= 1:
            if fit:
                found[fit[0]] += here
            break
    else:
        whole = _begun(done)
        if whole in names:
            found[names.index(whole)] += here
    covered = sum(found)
    if shared > MOST_SHARED * (covered + shared):
        return Distribution(None, min(1.0, covered + shared), "shared")
    if covered < LEAST_COVERED:
        return Distribution(None, covered, "elsewhere")
    return Distribution(tuple(share / covered for share in found), min(1.0, covered))


def scored(logprobs: Sequence[float]) -> Distribution:
    """From the logarithm of each label's probability as the whole continuation of the prompt."""
    highest = max(logprobs)
    if not math.isfinite(highest):
        return Distribution(None, 0.0, "elsewhere")
    shares = [math.exp(one - highest) for one in logprobs]
    covered = min(1.0, sum(math.exp(one) for one in logprobs))
    return Distribution(tuple(share / sum(shares) for share in shares), covered)


def _fitting(names: Sequence[str], text: str) -> list[int]:
    """Labels that an answer beginning like this may become, or already is."""
    begun = _begun(text)
    fit = [place for place, name in enumerate(names) if name.startswith(begun)]
    if fit:
        return fit
    over = [place for place, name in enumerate(names) if begun.startswith(name)]
    over = [place for place in over if not begun[len(names[place]) :][:1].isalnum()]
    return sorted(over, key=lambda place: -len(names[place]))[:1]


def _begun(text: str) -> str:
    return text.lstrip().lstrip("\"'`*").casefold()
