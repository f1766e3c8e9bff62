from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.engine import layer_pairs
from training.engine.activations import pooled_alike, precise, real_places
from training.engine.answers import Answer, Wanted
from training.engine.errors import ConfigError, Fault
from training.engine.job_config import Problem
from training.engine.losses import LOSSES, Loss
from training.engine.options import option
from training.engine.projections import Projections
from training.engine.registry import EVERY_TASK

RARE = 1e-9  # the least probability whose logarithm is compared
NEVER = -1e30  # the score of a place that holds no token: its probability is exactly 0

#: What stands beside what: queries with keys (attention itself), values with values, ...
RELATIONS = {"minilm": ((0, 1), (2, 2)), "minilm_v2": ((0, 0), (1, 1), (2, 2))}
NAMES = ("queries", "keys", "values")


@dataclass(frozen=True, slots=True)
class Options:
    form: str = option(
        "tinybert",
        choices=("tinybert", "minilm", "minilm_v2", "attention_transfer"),
        help="tinybert: attention of pairs of layers, squared difference. minilm: the last layer's "
        "attention and how its values relate, KL. minilm_v2: how queries, keys and values of the "
        "last layer relate, each among themselves. attention_transfer: where the maps of a "
        "convnet are active; its usual weight is 1000, and only it is for convnets.",
    )
    layers: str = option("uniform", help=f"Of tinybert and attention_transfer. {layer_pairs.HELP}")
    compare: str = option(
        "probabilities",
        choices=("probabilities", "scores"),
        help="Of tinybert. scores: what stands before the softmax, as in the paper, without the "
        "constant that it ignores; wants a student without dropout of its attention.",
    )
    relation_heads: int | None = option(
        None,
        minimum=1,
        maximum=256,
        help="Of minilm and minilm_v2: queries, keys and values of all heads are put together and "
        "cut into this many, so that student and teacher need not have as many heads (the paper "
        "takes 48 for a width of 768). Empty: the heads they have.",
    )


@LOSSES.register
class AttentionMaps(Loss):
    """One value a row; of texts only places that hold a token count, as query and as key.

    tinybert adds up over pairs of layers; where the numbers of heads differ, the mean over heads
    is compared. minilm and minilm_v2 are means over heads and queries, added up over relations.
    attention_transfer adds up over pairs the mean over places, and pools the larger map.
    """

    key = "attention_maps"
    label = "Attention"
    summary = (
        "The student looks where its teacher looks: attention of transformers (TinyBERT, MiniLM), "
        "or the active places of a convnet's maps."
    )
    formula = (
        "tinybert: Σ over pairs of mean (A(s) − A(t))². minilm: KL(A(t) ‖ A(s)) + KL(V(t) ‖ V(s)), "
        "V = softmax(v vᵀ/√d). attention_transfer: Σ over pairs of mean (q(s)/‖q(s)‖ − "
        "q(t)/‖q(t)‖)², q = mean over channels of h²"
    )
    paper = (
        "Jiao et al.: TinyBERT, 1909.10351, equation 7; Wang et al.: MiniLM, 2002.10957, sections "
        "3.1 and 3.2, and MiniLMv2, 2012.15828, section 3.1; Zagoruyko, Komodakis: Attention "
        "Transfer, 1612.03928, equation 2 as in their code"
    )
    needs_teacher = True
    is_divergence = True
    tasks = tuple(task for task in EVERY_TASK if task != "tabular-classification")
    problems = ("single_label", "multi_label", "regression", "embedding")
    unit = "difference"
    Options: ClassVar[type] = Options

    def __init__(self, options: Any, problem: Problem = "single_label") -> None:
        super().__init__(options, problem)
        self._pairs: Projections | None = None
        try:
            self._choice = layer_pairs.read(options.layers)
        except ValueError as fault:
            raise self._fault("layers", fault) from None

    @property
    def wants(self) -> Wanted:
        match self.options.form:
            case "tinybert":
                return Wanted(attention=True)
            case "attention_transfer":
                return Wanted(hidden=True)
        return Wanted(relations=True)

    def fit(self, student: Answer, teacher: Answer | None) -> nn.Module | None:
        """The pairs of layers, which a checkpoint keeps."""
        assert teacher is not None
        match self.options.form:
            case "tinybert":
                mine, theirs, first = student.attention, teacher.attention, 1
                if self._choice.rule == "similarity":  # a query's mean attention, by place
                    mine = tuple(one.mean(dim=1) for one in mine)
                    theirs = tuple(one.mean(dim=1) for one in theirs)
            case "attention_transfer":
                mine, theirs, first = student.hidden, teacher.hidden, 0
            case _:
                self._check_relations(student.relations, teacher.relations)
                return None
        try:
            pairs = layer_pairs.choose(self._choice, mine, theirs, student.mask, first)
        except ValueError as fault:
            raise self._fault("layers", fault) from None
        self._pairs = Projections(pairs, ()).to(student.logits.device)
        if self.options.form == "attention_transfer":
            self._check_maps(student, teacher)
        else:
            self._check_time(student.attention[0], teacher.attention[0])
        return self._pairs

    def reads(self) -> frozenset[str]:
        if self._pairs is None:
            return super().reads()
        if self.options.form == "tinybert":
            return frozenset(f"attention.{theirs - 1}" for _, theirs in self._pairs.pairs)
        return frozenset(f"hidden.{theirs}" for _, theirs in self._pairs.pairs)

    def values(self, student: Answer, teacher: Answer | None, labels: Tensor) -> Tensor:
        assert teacher is not None
        if self.options.form in RELATIONS:
            return self._relations(student.relations, teacher.relations, student.mask)
        assert self._pairs is not None
        total: Tensor | None = None
        for mine, theirs in self._pairs.pairs:
            if self.options.form == "tinybert":
                one, two = student.attention[mine - 1], teacher.attention[theirs - 1]
                apart = self._attention(precise(one), precise(two), student.mask)
            else:
                apart = _transferred(student.hidden[mine], teacher.hidden[theirs])
            total = apart if total is None else total + apart
        assert total is not None
        return total

    def _attention(self, student: Tensor, teacher: Tensor, mask: Tensor | None) -> Tensor:
        """Mean squared difference of `[batch, heads, time, time]`, `[batch]`."""
        if student.shape[1] != teacher.shape[1]:
            student = student.mean(dim=1, keepdim=True)
            teacher = teacher.mean(dim=1, keepdim=True)
        if mask is None:
            mask = torch.ones(
                student.shape[0], student.shape[2], dtype=torch.bool, device=student.device
            )
        pairs = (mask.unsqueeze(1) & mask.unsqueeze(2)).unsqueeze(1)
        if self.options.compare == "scores":
            student, teacher = _scores(student, mask), _scores(teacher, mask)
        apart = (student - teacher).masked_fill(~pairs, 0.0).square().sum(dim=(1, 2, 3))
        return apart / (student.shape[1] * pairs.sum(dim=(1, 2, 3)).clamp(min=1))

    def _relations(
        self, student: Sequence[Tensor], teacher: Sequence[Tensor], mask: Tensor | None
    ) -> Tensor:
        """KL of relations, the mean over heads and real queries, `[batch]`."""
        heads = self.options.relation_heads
        mine = [_cut(precise(one), heads) for one in student]
        theirs = [_cut(precise(one), heads) for one in teacher]
        real = None if mask is None else real_places(mine[0][:, 0], mask)
        total: Tensor | None = None
        for left, right in RELATIONS[self.options.form]:
            one = _relation(mine[left], mine[right], real)
            two = _relation(theirs[left], theirs[right], real)
            apart = F.kl_div(one, two, reduction="none", log_target=True).sum(dim=3).mean(dim=1)
            if real is None:
                apart = apart.mean(dim=1)
            else:
                apart = apart.masked_fill(~real, 0.0).sum(dim=1) / real.sum(dim=1).clamp(min=1)
            total = apart if total is None else total + apart
        assert total is not None
        return total

    def _check_relations(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> None:
        if len(student) != 3 or len(teacher) != 3:
            raise self._fault("form", "It needs queries, keys and values; one model shows none.")
        self._check_time(student[0], teacher[0])
        heads = self.options.relation_heads
        for who, shown in (("student", student), ("teacher", teacher)):
            totals = [one.shape[1] * one.shape[3] for one in shown]
            for name, total in zip(NAMES, totals, strict=True):
                if heads is not None and total % heads:
                    sentence = f"The {who}'s {name} are {total} wide, no multiple of {heads}."
                    raise self._fault("relation_heads", sentence)
            if self.options.form == "minilm" and totals[0] != totals[1]:
                sentence = f"Several queries of the {who} share a key; take minilm_v2."
                raise self._fault("form", sentence)
        if heads is None and any(
            one.shape[1] != two.shape[1] for one, two in zip(student, teacher, strict=True)
        ):
            sentence = (
                f"The student has {student[0].shape[1]} heads and the teacher "
                f"{teacher[0].shape[1]}: choose how many both are cut into, such as "
                f"{student[0].shape[1]}."
            )
            raise self._fault("relation_heads", sentence)

    def _check_time(self, student: Tensor, teacher: Tensor) -> None:
        if student.shape[2] != teacher.shape[2]:
            sentence = (
                f"The student reads {student.shape[2]} places and the teacher {teacher.shape[2]}; "
                "attention can be compared only where both read the same tokens."
            )
            raise self._fault("form", sentence)

    def _check_maps(self, student: Answer, teacher: Answer) -> None:
        assert self._pairs is not None
        for mine, theirs in self._pairs.pairs:
            if student.hidden[mine].ndim != 4 or teacher.hidden[theirs].ndim != 4:
                sentence = (
                    f"The pair {mine}:{theirs} is not one of maps. attention_transfer is for "
                    "convnets; take tinybert or minilm for transformers."
                )
                raise self._fault("form", sentence)

    def _fault(self, option: str, sentence: object) -> ConfigError:
        return ConfigError([Fault(f"{self.key}.{option}", str(sentence))])


def _scores(attention: Tensor, mask: Tensor) -> Tensor:
    """What stood before the softmax, with mean 0 over the real keys of each query.

    Scores are logarithms of probabilities but for a constant in each query, which the mean takes
    away.
    """
    keys = mask[:, None, None, :]
    scores = attention.clamp(min=RARE).log().masked_fill(~keys, 0.0)
    return scores - scores.sum(dim=3, keepdim=True) / keys.sum(dim=3, keepdim=True).clamp(min=1)


def _cut(said: Tensor, heads: int | None) -> Tensor:
    """`[batch, heads, time, width]` of all heads together, cut into another number of them."""
    if heads is None or said.shape[1] == heads:
        return said
    together = said.transpose(1, 2)  # [batch, time, heads, width]
    return together.reshape(*together.shape[:2], heads, -1).transpose(1, 2)


def _relation(left: Tensor, right: Tensor, real: Tensor | None) -> Tensor:
    """log softmax(left rightᵀ / √width) over keys, `[batch, heads, time, time]`."""
    scores = left @ right.transpose(2, 3) * left.shape[3] ** -0.5
    if real is not None:
        scores = scores.masked_fill(~real[:, None, None, :], NEVER)
    relation: Tensor = F.log_softmax(scores, dim=3)
    return relation


def _transferred(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of where two maps are active, `[batch]`."""
    student, teacher = pooled_alike(precise(student), precise(teacher))
    one = F.normalize(student.square().mean(dim=1).flatten(1), dim=1)
    two = F.normalize(teacher.square().mean(dim=1).flatten(1), dim=1)
    apart: Tensor = (one - two).square().mean(dim=1)
    return apart
