"""What a network says of a batch: its logits, and whatever else a term of the loss looks at.

A term says what it `wants`; the network's forward is then watched (features.py), and the term finds
it here. Nothing is collected that nobody wants.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Wanted:
    """Beside the logits. Two wishes are joined with `|`."""

    hidden: bool = False  # the output of every layer, the embeddings' first
    attention: bool = False  # the attention probabilities of every layer
    relations: bool = False  # queries, keys and values of the last attention layer
    embedding: bool = False  # what stands before the last layer, one vector a row

    def __or__(self, other: "Wanted") -> "Wanted":
        return Wanted(
            self.hidden or other.hidden,
            self.attention or other.attention,
            self.relations or other.relations,
            self.embedding or other.embedding,
        )

    def __bool__(self) -> bool:
        return self.hidden or self.attention or self.relations or self.embedding


NOTHING = Wanted()


@dataclass(slots=True)
class Answer:
    """Of one batch. A unit is what a label belongs to: a row, or a token where tokens have labels.

    logits: `[units, classes]`, float32. hidden, one entry a layer: `[batch, time, width]` of text
    and sound, `[batch, channels, height, width]` of convolutions, `[batch, width]` elsewhere.
    attention, one a layer: `[batch, heads, time, time]`. relations: queries, keys and values, each
    `[batch, heads, time, width of a head]`. embedding: `[batch, width]`. mask: `[batch, time]`,
    True where there is a token; None where all places are real, or nobody looks at places.
    """

    logits: Tensor
    hidden: tuple[Tensor, ...] = ()
    attention: tuple[Tensor, ...] = ()
    relations: tuple[Tensor, ...] = ()
    embedding: Tensor | None = None
    mask: Tensor | None = None

    def each(self, change: Callable[[Tensor], Tensor]) -> "Answer":
        """The same, with every tensor changed."""
        return Answer(
            change(self.logits),
            tuple(change(one) for one in self.hidden),
            tuple(change(one) for one in self.attention),
            tuple(change(one) for one in self.relations),
            None if self.embedding is None else change(self.embedding),
            None if self.mask is None else change(self.mask),
        )

    def detached(self) -> "Answer":
        """The same, carrying no gradient."""
        return self.each(Tensor.detach)

    def to(self, device: torch.device) -> "Answer":
        """The same on a device."""
        return self.each(lambda one: one.to(device))
