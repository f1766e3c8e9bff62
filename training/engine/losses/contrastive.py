from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.engine.activations import direction, precise
from training.engine.answers import Answer, Wanted
from training.engine.errors import ConfigError, Fault
from training.engine.losses import LOSSES, Loss
from training.engine.options import option
from training.engine.registry import EVERY_TASK

SAME = 1e-6  # squared distance, over squared length, below which two vectors are of one row


@dataclass(frozen=True, slots=True)
class Options:
    temperature: float = option(
        0.07,
        minimum=0.01,
        maximum=10.0,
        label="τ",
        help="Of the cosines: lower looks at the hardest of the other rows only.",
    )
    width: int = option(
        128, minimum=2, maximum=4096, help="Of the space both are projected to; the paper's is 128."
    )
    negatives: str = option(
        "other_classes",
        choices=("other_classes", "all"),
        help="Which rows a row must be told from. other_classes: not those of its own label; rows "
        "without one are told from all. all: every other row.",
    )
    bank: int = option(
        0,
        minimum=0,
        maximum=65_536,
        help="Rows of past steps whose teacher's vectors are told from, too. 0: only those of the "
        "same step. The paper takes 16384; each costs a projection a step.",
    )


class Heads(nn.Module):
    """Linear maps of both sides to one space, and the teacher's last vectors with their labels.

    The bank holds the teacher's vectors as they were before its map: a frozen teacher's never age,
    so the bank needs no momentum.
    """

    bank: Tensor
    labels: Tensor
    seen: Tensor

    def __init__(self, student: int, teacher: int, width: int, bank: int) -> None:
        super().__init__()
        self.student = nn.Linear(student, width)
        self.teacher = nn.Linear(teacher, width)
        self.register_buffer("bank", torch.zeros(bank, teacher))
        self.register_buffer("labels", torch.full((bank,), -1, dtype=torch.int64))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def filled(self) -> int:
        """Rows in the bank that hold something."""
        return min(int(self.seen), len(self.bank)) if len(self.bank) else 0

    @torch.no_grad()
    def remember(self, vectors: Tensor, labels: Tensor) -> None:
        """Put these rows in the places of the oldest."""
        size = len(self.bank)
        vectors, labels = vectors[-size:], labels[-size:]
        places = (int(self.seen) + torch.arange(len(vectors), device=vectors.device)) % size
        self.bank[places] = vectors.to(self.bank.dtype)
        self.labels[places] = labels
        self.seen += len(vectors)


@LOSSES.register
class Contrastive(Loss):
    """InfoNCE with the student as anchor: −log of the share that the teacher's vector of the same
    row has among those of all rows told from. In-batch, or with a bank of past steps.

    The paper's own estimate adds up a yes or no for each negative, drawn from a bank of the whole
    data set; both bound the same mutual information. A row met twice is never told from itself.
    """

    key = "contrastive"
    label = "Contrastive (CRD)"
    summary = (
        "From the student's last vector one can tell which row the teacher saw, among all rows of "
        "the step. Works between any two architectures; wants large steps, or a bank. Usual "
        "weight: 0.8."
    )
    formula = "−log (exp(a·b/τ) / Σ exp(a·c/τ)), a = P e(s)/‖P e(s)‖, b, c = Q e(t)/‖Q e(t)‖"
    paper = "Tian et al.: Contrastive Representation Distillation, 1910.10699, section 3"
    needs_teacher = True
    tasks = tuple(task for task in EVERY_TASK if task != "text-generation")
    is_joint = True
    problems = ("single_label", "multi_label", "regression", "embedding")
    Options: ClassVar[type] = Options
    wants = Wanted(embedding=True)
    _heads: Heads | None = None

    def fit(self, student: Answer, teacher: Answer | None) -> nn.Module | None:
        if student.embedding is None or teacher is None or teacher.embedding is None:
            sentence = "A network shows no vector before its last layer; take another term."
            raise ConfigError([Fault(self.key, sentence)])
        mine, theirs = student.embedding.flatten(1), teacher.embedding.flatten(1)
        heads = Heads(mine.shape[1], theirs.shape[1], self.options.width, self.options.bank)
        self._heads = heads.to(student.logits.device)
        return self._heads

    def values(self, student: Answer, teacher: Answer | None, labels: Tensor) -> Tensor:
        """Each call that carries a gradient is a step: its rows go into the bank."""
        assert teacher is not None
        assert student.embedding is not None
        assert teacher.embedding is not None
        assert self._heads is not None
        heads = self._heads
        seen = precise(teacher.embedding).flatten(1)
        rows = len(seen)
        known = labels if labels.shape == (rows,) else labels.new_full((rows,), -1).long()
        told, classes = seen, known
        if filled := heads.filled():
            told = torch.cat([seen, heads.bank[:filled].to(seen.dtype)])
            classes = torch.cat([known, heads.labels[:filled]])
        anchors = direction(heads.student(precise(student.embedding).flatten(1)))
        near = anchors @ direction(heads.teacher(told)).T / self.options.temperature
        near = near.masked_fill(self._left_out(seen, told, known, classes), -torch.inf)
        if len(heads.bank) and torch.is_grad_enabled():
            heads.remember(seen, known)
        return F.cross_entropy(near, torch.arange(rows, device=near.device), reduction="none")

    def _left_out(self, seen: Tensor, told: Tensor, known: Tensor, classes: Tensor) -> Tensor:
        """`[rows, rows told from]`: those that are the row itself, or of its class; never the
        pair of a row with itself, which is what must be found."""
        lengths = seen.square().sum(dim=1, keepdim=True)
        apart = lengths + told.square().sum(dim=1) - 2.0 * (seen @ told.T)
        out = apart <= SAME * lengths
        if self.options.negatives == "other_classes":
            out |= (known.unsqueeze(1) == classes) & (known >= 0).unsqueeze(1)
        out[:, : len(seen)].fill_diagonal_(False)
        return out
