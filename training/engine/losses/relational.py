from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from training.engine.activations import precise
from training.engine.answers import Answer, Wanted
from training.engine.errors import ConfigError, Fault
from training.engine.losses import LOSSES, Loss
from training.engine.options import option
from training.engine.registry import EVERY_TASK

AT_ONCE = 4_194_304  # numbers held for the angles of some rows, before they are made in parts
RARE = 1e-7  # beside a probability, as in PKT's code


@dataclass(frozen=True, slots=True)
class Options:
    form: str = option(
        "rkd",
        choices=("rkd", "similarity_preserving", "pkt"),
        help="rkd: distances between rows, and angles between any three; usual weight 1. "
        "similarity_preserving: which rows are alike, by their products; usual weight 3000. pkt: "
        "the same as probabilities, by their cosines; usual weight 30000.",
    )
    distance_weight: float = option(
        1.0, minimum=0.0, maximum=1000.0, help="Of rkd: of the distances between two rows."
    )
    angle_weight: float = option(
        2.0,
        minimum=0.0,
        maximum=1000.0,
        help="Of rkd: of the angles between three rows. Their cost grows with the cube of the rows "
        "in a step; 0 leaves them out.",
    )
    row_norm: str = option(
        "euclidean",
        choices=("euclidean", "absolute"),
        help="Of similarity_preserving: what a row's products are divided by. euclidean: their "
        "length, as in the paper. absolute: the sum of their absolute values, as in torchdistill.",
    )


@LOSSES.register
class Relational(Loss):
    """Compares the vectors before the last layer, whatever their widths: no projection is needed.

    Each row's value is the mean over its partners, so that the mean over rows is the papers'
    number: over all pairs (or triples) of the rows of one step, each with itself included.
    """

    key = "relational"
    label = "Relations between rows"
    summary = (
        "How the rows of a step stand to each other in the student's last vectors becomes what it "
        "is in the teacher's. Works between any two architectures; wants large steps."
    )
    formula = (
        "rkd: huber(d(s) − d(t)) + 2 huber(∠(s) − ∠(t)). similarity_preserving: "
        "‖G(s) − G(t)‖² / rows², G = e eᵀ with rows of length 1. pkt: mean of p(t) log(p(t) / p(s))"
    )
    paper = (
        "Park et al.: Relational Knowledge Distillation, 1904.05068, section 3.2; Tung, Mori: "
        "Similarity-Preserving Knowledge Distillation, 1907.09682, section 3; Passalis, Tefas: "
        "Probabilistic Knowledge Transfer, 1803.10837, section 3"
    )
    needs_teacher = True
    tasks = tuple(task for task in EVERY_TASK if task != "text-generation")
    is_divergence = True
    is_joint = True
    problems = ("single_label", "multi_label", "regression", "embedding")
    unit = "difference"
    Options: ClassVar[type] = Options
    wants = Wanted(embedding=True)

    def fit(self, student: Answer, teacher: Answer | None) -> nn.Module | None:
        if student.embedding is None or teacher is None or teacher.embedding is None:
            sentence = "A network shows no vector before its last layer; take another term."
            raise ConfigError([Fault(self.key, sentence)])
        return None

    def values(self, student: Answer, teacher: Answer | None, labels: Tensor) -> Tensor:
        assert teacher is not None
        assert student.embedding is not None
        assert teacher.embedding is not None
        mine = precise(student.embedding).flatten(1)
        theirs = precise(teacher.embedding).flatten(1)
        match self.options.form:
            case "similarity_preserving":
                p = 2.0 if self.options.row_norm == "euclidean" else 1.0
                return (_alike(mine, p) - _alike(theirs, p)).square().sum(dim=1) / len(mine)
            case "pkt":
                one, two = _neighbours(mine), _neighbours(theirs)
                return (two * ((two + RARE).log() - (one + RARE).log())).mean(dim=1)
        total = mine.sum(dim=1) * 0.0
        if self.options.distance_weight:
            one, two = _distances(mine), _distances(theirs)
            apart = F.smooth_l1_loss(one, two, reduction="none").mean(dim=1)
            total = total + self.options.distance_weight * apart
        if self.options.angle_weight:
            total = total + self.options.angle_weight * _angles_apart(mine, theirs)
        return total


def _alike(vectors: Tensor, p: float) -> Tensor:
    """Products of all pairs, each row with a p-norm of 1: `[rows, rows]`."""
    return F.normalize(vectors @ vectors.T, p=p, dim=1)


def _neighbours(vectors: Tensor) -> Tensor:
    """Cosines as probabilities of being neighbours, each row's sum 1: `[rows, rows]`."""
    vectors = F.normalize(vectors, dim=1, eps=RARE)
    near = (vectors @ vectors.T + 1.0) * 0.5
    return near / near.sum(dim=1, keepdim=True)


def _distances(vectors: Tensor) -> Tensor:
    """Distances of all pairs, divided by the mean of those that are not 0: `[rows, rows]`."""
    found = torch.cdist(vectors, vectors, compute_mode="donot_use_mm_for_euclid_dist")
    apart = (found > 0).sum().clamp(min=1)
    return found / (found.sum() / apart).clamp(min=torch.finfo(found.dtype).tiny)


def _angles_apart(student: Tensor, teacher: Tensor) -> Tensor:
    """Huber's difference of the cosines at each row between any two others, `[rows]`.

    Three rows make `rows³` angles. Where they are many, some rows' angles are made at a time, and
    once more in the backward pass.
    """
    rows, widest = len(student), max(len(student), student.shape[1], teacher.shape[1])
    part = max(1, AT_ONCE // (rows * widest))
    if part >= rows:
        return _angles_at(student, student, teacher, teacher)
    return torch.cat(
        [
            checkpoint(
                _angles_at,
                student[start : start + part],
                student,
                teacher[start : start + part],
                teacher,
                use_reentrant=False,
            )
            for start in range(0, rows, part)
        ]
    )


def _angles_at(some: Tensor, student: Tensor, others: Tensor, teacher: Tensor) -> Tensor:
    """Of the angles at some rows of the student, and the same rows of the teacher."""
    with torch.no_grad():
        wanted = _angles(others, teacher)
    apart = F.smooth_l1_loss(_angles(some, student), wanted, reduction="none")
    return apart.mean(dim=(1, 2))


def _angles(at: Tensor, vectors: Tensor) -> Tensor:
    """Cosines `[len(at), rows, rows]` of the directions from each of some rows to any two."""
    towards = F.normalize(vectors.unsqueeze(0) - at.unsqueeze(1), dim=2)
    return towards @ towards.transpose(1, 2)
