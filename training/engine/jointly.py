"""Terms whose rows speak to each other, over micro-batches and over several processes: the
gradient of the whole step.

The method of GradCache (Gao et al.: Scaling Deep Contrastive Learning Batch Size under Memory
Limited Setup, 2101.06983, section 3.2): answers of all micro-batches without their graphs, the
total over all of them and its gradient at the answers, then each micro-batch once more, with the
random numbers of the first time, to carry that gradient into the weights. One forward more, and no
more memory than one micro-batch. Processes tell each other their answers in between; each reckons
the same total, and carries the gradient of its own rows.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.engine.answers import Answer
from training.engine.errors import ConfigError, Fault
from training.engine.ranks import ALONE, Ranks
from training.engine.schemes import Scheme, Step, Total

CPU = torch.device("cpu")
Random = tuple[Tensor, Tensor | None]  # states of the CPU's generator, and of the GPU's


def backward(
    steps: Sequence[Step],
    scheme: Scheme,
    module: nn.Module,
    scaler: torch.amp.GradScaler,
    weights: Sequence[nn.Parameter] = (),
    ranks: Ranks = ALONE,
) -> Total:
    """Add the gradient of the whole step to the weights, which have none yet; this rank's share of
    the total and of its parts, without graph. A rank that has no rows brings one step without any.
    `weights` are all that are trained. Raises ConfigError where the scheme asks other networks."""
    first, steps = steps[0], [one for one in steps if len(one.rows)]
    buffers = {name: value.clone() for name, value in module.named_buffers()}
    states, answers = [], []
    for one in steps:
        states.append(_random())
        with torch.no_grad():
            answers.append(_plain(one.student()))
    after = _random()
    for name, value in module.named_buffers():
        value.copy_(buffers[name])  # running statistics move once, not twice
    said = [one.frozen() for one in steps]
    mine = [
        (answer, None if taught is None else _plain(taught), one.labels)
        for answer, taught, one in zip(answers, said, steps, strict=True)
    ]
    device = first.labels.device
    pieces = _in_order(mine, ranks)
    leaves = [[_leaf(answer.to(device)) for answer, _, _ in piece] for piece in pieces]
    teachers = [one.to(device) for piece in pieces for _, one, _ in piece if one is not None]
    whole = concatenated([one for piece in leaves for one in piece])
    taught = concatenated(teachers) if teachers else None
    labels = torch.cat([one.to(device) for piece in pieces for _, _, one in piece])

    def ask(module: nn.Module) -> Answer:
        sentence = (
            f"{scheme.label} asks other networks too, and a term compares all rows of a step: take "
            "a gradient accumulation of 1 and one process."
        )
        raise ConfigError([Fault("scheme", sentence)])

    together = replace(first, labels=labels, student=lambda: whole, frozen=lambda: taught, ask=ask)
    total, parts = scheme.teach(together)
    scaler.scale(total).backward()  # type: ignore[no-untyped-call]
    if ranks.size > 1:  # every rank has the same gradient of the terms' own weights
        for weight in weights:
            if weight.grad is not None:
                weight.grad /= ranks.size
    own = [piece[ranks.rank] for piece in leaves[: len(steps)]]
    for one, leaf, state in zip(steps, own, states, strict=True):
        _go_back(state)
        live = _tensors(one.student())
        pairs = [
            (now, then.grad)
            for now, then in zip(live, _tensors(leaf), strict=True)
            if then.grad is not None and now.requires_grad
        ]
        if pairs:
            torch.autograd.backward([now for now, _ in pairs], [grad for _, grad in pairs])
    _go_back(after)
    share = 1.0 / ranks.size
    return total.detach() * share, {kind: part.detach() * share for kind, part in parts.items()}


Said = tuple[Answer, Answer | None, Tensor]  # student's, teachers', labels: of one micro-batch


def _in_order(mine: Sequence[Said], ranks: Ranks) -> list[list[Said]]:
    """By micro-batch and rank: all that were said in the step, in the order of its rows."""
    if ranks.size == 1:
        return [[one] for one in mine]
    told = [
        (answer.to(CPU), None if taught is None else taught.to(CPU), labels.to(CPU))
        for answer, taught, labels in mine
    ]
    every = ranks.every(told)
    return [[one[at] for one in every if at < len(one)] for at in range(max(map(len, every)))]


def _random() -> Random:
    there = torch.cuda.is_available() and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return torch.get_rng_state(), torch.cuda.get_rng_state() if there else None


def _go_back(state: Random) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1])


def _plain(answer: Answer) -> Answer:
    """With its logits made, where they are not."""
    return Answer(
        answer.logits,
        answer.hidden,
        answer.attention,
        answer.relations,
        answer.embedding,
        answer.mask,
    )


def concatenated(answers: Sequence[Answer]) -> Answer:
    """Several batches' answers as one; shorter ones are padded, and masked there."""
    masks = [one.mask for one in answers if one.mask is not None]
    longest = max((mask.shape[1] for mask in masks), default=0)

    def every(name: str) -> tuple[Tensor, ...]:
        layers = zip(*(getattr(one, name) for one in answers), strict=True)
        return tuple(torch.cat([_padded(one, name, longest) for one in layer]) for layer in layers)

    embeddings = [one.embedding for one in answers if one.embedding is not None]
    return Answer(
        torch.cat([one.logits for one in answers]),
        every("hidden"),
        every("attention"),
        every("relations"),
        torch.cat(embeddings) if embeddings else None,
        torch.cat([F.pad(one, (0, longest - one.shape[1])) for one in masks]) if masks else None,
    )


def _padded(layer: Tensor, name: str, longest: int) -> Tensor:
    if not longest:
        return layer
    if name == "hidden":
        return F.pad(layer, (0, 0, 0, longest - layer.shape[1])) if layer.ndim == 3 else layer
    if name == "attention":
        short = longest - layer.shape[-1]
        return F.pad(layer, (0, short, 0, short))
    return F.pad(layer, (0, 0, 0, longest - layer.shape[2]))  # relations


def _leaf(answer: Answer) -> Answer:
    """The answer as the beginning of a graph."""

    def fresh(one: Tensor) -> Tensor:
        return one.detach().requires_grad_(True)

    return Answer(
        fresh(answer.logits),
        tuple(fresh(one) for one in answer.hidden),
        tuple(fresh(one) for one in answer.attention),
        tuple(fresh(one) for one in answer.relations),
        None if answer.embedding is None else fresh(answer.embedding),
        answer.mask,
    )


def _tensors(answer: Answer) -> list[Tensor]:
    found = [answer.logits, *answer.hidden, *answer.attention, *answer.relations]
    return found if answer.embedding is None else [*found, answer.embedding]
