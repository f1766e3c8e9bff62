"""Answers of networks that do not exist: random, ragged, and of every kind a loss may want."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from training.engine import options
from training.engine.answers import Answer
from training.engine.data import of_rationale
from training.engine.losses import LOSSES, Loss

LENGTHS = (5, 2, 4, 1, 5, 3)  # real tokens of each row; repeated where there are more rows
TIME = 5


def text(
    rows: int = 6,
    classes: int = 5,
    seed: int = 0,
    *,
    layers: int = 2,
    width: int = 8,
    heads: int = 2,
    size: float = 1.0,
) -> Answer:
    """What a transformer says of a ragged batch; `layers` beside the embeddings."""
    chance = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return size * torch.randn(*shape, generator=chance)

    mask = torch.tensor(
        [[place < LENGTHS[row % 6] for place in range(TIME)] for row in range(rows)]
    )
    unseen = ~mask[:, None, None, :]
    return Answer(
        drawn(rows, classes),
        tuple(drawn(rows, TIME, width) for _ in range(layers + 1)),
        tuple(
            drawn(rows, heads, TIME, TIME).masked_fill(unseen, -torch.inf).softmax(-1)
            for _ in range(layers)
        ),
        tuple(drawn(rows, heads, TIME, width // heads) for _ in range(3)),
        drawn(rows, width),
        mask,
    )


def maps(
    rows: int = 6, classes: int = 5, seed: int = 0, *, channels: int = 4, side: int = 6
) -> Answer:
    """What a convnet says: three maps, each half as large as the one before."""
    chance = torch.Generator().manual_seed(seed)
    hidden = tuple(
        torch.randn(rows, channels, side // 2**half, side // 2**half, generator=chance)
        for half in range(3)
    )
    logits = torch.randn(rows, classes, generator=chance)
    return Answer(logits, hidden, embedding=torch.randn(rows, channels, generator=chance))


def each(answer: Answer, change: Any) -> Answer:
    """The answer with every tensor but the mask changed."""
    return Answer(
        change(answer.logits),
        tuple(change(one) for one in answer.hidden),
        tuple(change(one) for one in answer.attention),
        tuple(change(one) for one in answer.relations),
        None if answer.embedding is None else change(answer.embedding),
        answer.mask,
    )


def tensors(answer: Answer) -> list[Tensor]:
    found = [answer.logits, *answer.hidden, *answer.attention, *answer.relations]
    return found if answer.embedding is None else [*found, answer.embedding]


def rows_of(answer: Answer, which: Any) -> Answer:
    """These rows only, or in this order; `which` is what a tensor can be indexed with."""
    some = each(answer, lambda one: one[which])
    return replace(some, mask=None if answer.mask is None else answer.mask[which])


def learning(answer: Answer) -> Answer:
    """A copy whose every tensor wants a gradient."""
    return each(answer, lambda one: one.detach().clone().requires_grad_(True))


def near(answer: Answer, by: float, seed: int) -> Answer:
    """Another answer, this far away; attention stays one."""
    chance = torch.Generator().manual_seed(seed)

    def moved(one: Tensor) -> Tensor:
        return one + by * torch.randn(one.shape, generator=chance)

    other = each(answer, moved)
    attention = tuple(
        (one.clamp(min=1e-9).log() + by * torch.randn(one.shape, generator=chance)).softmax(-1)
        for one in answer.attention
    )
    return replace(other, attention=attention)


def padded(answer: Answer, more: int, seed: int) -> Answer:
    """The same rows in a longer batch, with nonsense wherever there is no token."""
    assert answer.mask is not None
    chance = torch.Generator().manual_seed(seed)
    rows, time = answer.mask.shape
    mask = torch.zeros(rows, time + more, dtype=torch.bool)
    mask[:, :time] = answer.mask

    def longer(one: Tensor, *dims: int) -> Tensor:
        shape = [size + more if dim in dims else size for dim, size in enumerate(one.shape)]
        nonsense = 50 * torch.randn(*shape, generator=chance)
        real = torch.ones(shape, dtype=torch.bool)
        for dim in dims:
            real &= mask.reshape(
                [rows if at == 0 else -1 if at == dim else 1 for at in range(len(shape))]
            )
        wide = torch.zeros(shape)
        wide[tuple(slice(size) for size in one.shape)] = one
        return torch.where(real, wide, nonsense)

    return Answer(
        answer.logits,
        tuple(longer(one, 1) for one in answer.hidden),
        tuple(longer(one, 2, 3).abs() for one in answer.attention),
        tuple(longer(one, 2) for one in answer.relations),
        answer.embedding,
        mask,
    )


def labels(problem: str, rows: int = 6, classes: int = 5) -> Tensor:
    if problem == "single_label":
        return torch.arange(rows) % classes
    chance = torch.Generator().manual_seed(99)
    if problem == "multi_label":
        return (torch.rand(rows, classes, generator=chance) < 0.4).float()
    return torch.randn(rows, 1, generator=chance)


def without_label(labels: Tensor, row: int) -> Tensor:
    hidden = labels.clone()
    hidden[row] = -1 if labels.ndim == 1 else torch.nan
    return hidden


@dataclass(frozen=True)
class Case:
    """A registered loss with some options, for some problem."""

    key: str
    options: tuple[tuple[str, Any], ...] = ()
    problem: str = "single_label"

    def __str__(self) -> str:
        said = [f"{name}={value}" for name, value in self.options]
        if self.problem != "single_label":
            said.append(self.problem)
        return "-".join([self.key, *said])

    def term(self, **others: Any) -> Loss:
        method = LOSSES[self.key]
        values = {**dict(self.options), **others}
        return method(options.build(method.Options, values), self.problem)  # type: ignore[arg-type]

    def answer(self, seed: int, **shape: Any) -> Answer:
        if dict(self.options).get("form") == "attention_transfer":
            return maps(seed=seed, classes=self.classes)
        return text(seed=seed, classes=self.classes, **shape)

    @property
    def classes(self) -> int:
        return 1 if self.problem == "regression" else 5

    @property
    def labels(self) -> Tensor:
        found = labels(self.problem)
        if LOSSES[self.key].needs_column == "rationale":
            found = torch.as_tensor(of_rationale(found))
        if LOSSES[self.key].of_sequences:  # two pairs: of two and one, and of one and two tokens
            worse = torch.tensor([False, False, True, False, True, True])
            found = torch.where(worse, of_rationale(found), found)
        return found

    def learns(self) -> bool:
        """Whether the term has weights of its own for networks of one width."""
        return any(True for _ in self.fitted(self.answer(0), self.answer(1))[1].parameters())

    def fitted(self, student: Answer, teacher: Answer, **others: Any) -> tuple[Loss, nn.Module]:
        """The term, and its own weights."""
        term = self.term(**others)
        torch.manual_seed(0)
        return term, term.fit(student, teacher) or nn.Module()


def cases() -> list[Case]:
    """Every registered loss: for each problem, and with each choice of each option."""
    found = []
    for method in LOSSES:
        found += [Case(method.key, (), problem) for problem in method.problems]
        for one in options.describe(method.Options):
            if one["type"] == "choice":
                found += [
                    Case(method.key, ((one["name"], choice),), method.problems[0])
                    for choice in one["choices"]
                    if choice != one["default"]
                ]
    return found
