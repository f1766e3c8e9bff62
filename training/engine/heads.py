"""Last layers over large vocabularies, whose logits are better not made all at once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from training.engine.answers import Answer
from training.engine.errors import ConfigError, Fault


@dataclass(frozen=True, slots=True)
class Head:
    """Logits that are not there yet: `hidden @ weight.T + bias`, `[units, vocabulary]`."""

    hidden: Tensor  # [units, width]
    weight: Tensor  # [vocabulary, width]
    bias: Tensor | None = None  # [vocabulary]

    def logits(self, start: int = 0, stop: int | None = None) -> Tensor:
        """`[stop - start, vocabulary]`, float32."""
        part = self.hidden[start:stop].to(self.weight.dtype)
        return torch.nn.functional.linear(part, self.weight, self.bias).float()

    def each(self, change: Callable[[Tensor], Tensor]) -> "Head":
        bias = None if self.bias is None else change(self.bias)
        return Head(change(self.hidden), change(self.weight), bias)


@dataclass(frozen=True, slots=True)
class TopK:
    """The largest logits of each unit, and what all the others weigh together.

    Without the rest, renormalised probabilities have a gradient that is 10 to 90 % wrong; with it
    the rest is one more word, and the divergence is that of k + 1 words.
    """

    values: Tensor  # [units, k], float32
    indices: Tensor  # [units, k], int64, distinct
    rest: Mapping[float, Tensor]  # by temperature T: log Σ exp(t / T) over the others, [units]

    def bucketed(self, temperature: float, start: int, stop: int) -> Tensor:
        """`[units, k + 1]` logits whose softmax at this temperature is the teacher's."""
        rest = self.rest[temperature][start:stop].unsqueeze(1) * temperature
        return torch.cat([self.values[start:stop], rest], dim=1)

    def bucket(self, logits: Tensor, temperature: float, start: int, stop: int) -> Tensor:
        """A student's logits `[units, vocabulary]`, with the same words together: `[units, k + 1]`.
        Carries a gradient."""
        indices = self.indices[start:stop]
        others = logits.scatter(1, indices, -torch.inf) / temperature
        rest = others.logsumexp(dim=1, keepdim=True) * temperature
        return torch.cat([logits.gather(1, indices), rest], dim=1)

    def first(self, start: int, stop: int) -> Tensor:
        """The likeliest word of each unit, `[units]`."""
        best = self.values[start:stop].argmax(dim=1, keepdim=True)
        return self.indices[start:stop].gather(1, best).squeeze(1)

    def each(self, change: Callable[[Tensor], Tensor]) -> "TopK":
        rest = {temperature: change(one) for temperature, one in self.rest.items()}
        return TopK(change(self.values), change(self.indices), rest)


Taught = Head | TopK | Tensor | None  # a tensor: logits, `[units, vocabulary]`


class Unmultiplied(Answer):
    """An answer whose logits are made when somebody asks for them, and kept only then.

    `head` is the last layer with what stands before it; a stored top k has no logits at all, and
    `top` instead.
    """

    __slots__ = ("head", "made", "top")

    def __init__(
        self,
        head: Head | None,
        top: TopK | None = None,
        *,
        like: Answer | None = None,
        mask: Tensor | None = None,
    ) -> None:
        self.head, self.top = head, top
        self.made: Tensor | None = None
        self.hidden = like.hidden if like is not None else ()
        self.attention = like.attention if like is not None else ()
        self.relations = like.relations if like is not None else ()
        self.embedding = like.embedding if like is not None else None
        self.mask = mask

    @property
    def logits(self) -> Tensor:
        if self.made is None:
            if self.head is None:
                sentence = "The teacher's stored top k has no logit of every word: store more."
                raise ConfigError([Fault("teacher_outputs", sentence)])
            self.made = self.head.logits()
        return self.made

    @logits.setter
    def logits(self, value: Tensor) -> None:
        self.made = value

    def each(self, change: Callable[[Tensor], Tensor]) -> "Unmultiplied":
        like = Answer(torch.empty(0), self.hidden, self.attention, self.relations, self.embedding)
        other = Unmultiplied(
            None if self.head is None else self.head.each(change),
            None if self.top is None else self.top.each(change),
            like=like.each(change),
            mask=None if self.mask is None else change(self.mask),
        )
        other.made = None if self.made is None else change(self.made)
        return other


def taught(answer: Answer | None) -> Taught:
    """What a teacher says, in the form it has it in."""
    if isinstance(answer, Unmultiplied):
        if answer.head is not None:
            return answer.head
        if answer.top is not None:
            return answer.top
    return None if answer is None else answer.logits
