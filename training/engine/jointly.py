"""Terms whose rows speak to each other, over micro-batches: the gradient of the whole step.

The method of GradCache (Gao et al.: Scaling Deep Contrastive Learning Batch Size under Memory
Limited Setup, 2101.06983, section 3.2): answers of all micro-batches without their graphs, the
total over all of them and its gradient at the answers, then each micro-batch once more, with the
random numbers of the first time, to carry that gradient into the weights. One forward more, and no
more memory than one micro-batch.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.engine.answers import Answer
from training.engine.schemes import Scheme, Step, Total


def backward(
    steps: Sequence[Step], scheme: Scheme, module: nn.Module, scaler: torch.amp.GradScaler
) -> Total:
    """Add the gradient of the whole step to the weights; the total and its parts, without graph."""
    buffers = {name: value.clone() for name, value in module.named_buffers()}
    states, answers = [], []
    for one in steps:
        states.append(torch.get_rng_state())
        with torch.no_grad():
            answers.append(one.student())
    after = torch.get_rng_state()
    for name, value in module.named_buffers():
        value.copy_(buffers[name])  # running statistics move once, not twice
    leaves = [_leaf(one) for one in answers]
    said = [one.frozen() for one in steps]
    teachers = [one for one in said if one is not None]
    first = steps[0]
    whole = concatenated(leaves)
    taught = concatenated(teachers) if teachers else None
    labels = torch.cat([one.labels for one in steps])
    together = replace(first, labels=labels, student=lambda: whole, frozen=lambda: taught)
    total, parts = scheme.teach(together)
    scaler.scale(total).backward()  # type: ignore[no-untyped-call]
    for one, leaf, state in zip(steps, leaves, states, strict=True):
        torch.set_rng_state(state)
        live = _tensors(one.student())
        pairs = [
            (now, then.grad)
            for now, then in zip(live, _tensors(leaf), strict=True)
            if then.grad is not None and now.requires_grad
        ]
        if pairs:
            torch.autograd.backward([now for now, _ in pairs], [grad for _, grad in pairs])
    torch.set_rng_state(after)
    return total.detach(), {kind: part.detach() for kind, part in parts.items()}


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
