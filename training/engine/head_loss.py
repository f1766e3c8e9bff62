"""The loss of a language model's last layer, a few tokens at a time.

The plain way holds `[tokens, vocabulary]` several times over: logits of student and teacher, their
logarithms, their gradients; at 2 048 tokens and 32 000 words that is 2 GB. Here the last layer and
the loss are one function: it makes the logits of some 128 tokens in buffers that are used again,
and adds what they say to the gradients of hidden states and last layer at once, so that nothing of
them is kept for the backward pass. Same numbers to 1e-6, in a fraction of the memory and half the
time. (The idea of Liger's fused linear loss, 2410.10989, with the teacher's last layer inside.)

Hard labels and soft targets have formulas of their own here; any other term that looks at the
logits of one token at a time is asked chunk by chunk.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from training.engine.answers import Answer
from training.engine.heads import Head, Taught, TopK
from training.engine.losses import Loss

AT_ONCE = 4_194_304  # numbers in a buffer of logits: 131 tokens by 32 000 words
AT_ONCE_ON_GPU = 33_554_432  # a GPU idles over thin products
PIECES_ON_GPU = 16  # at least, so that buffers stay a small part of what they replace
FEWEST = 64  # tokens in a chunk; fewer leave the products of matrices too thin
TINY = 1e-37

Term = tuple[str, float, Loss]  # its kind, its weight now, and the loss


def fits(terms: Sequence[Term], teacher_is_top_k: bool = False) -> str:
    """Why these terms cannot be had chunk by chunk, or nothing when they can."""
    for kind, _, loss in terms:
        if loss.is_joint:
            return f"{kind} compares tokens with each other"
        if loss.of_sequences:
            return f"{kind} adds up what whole answers say"
        if loss.wants:
            return f"{kind} looks at more than logits"
        if teacher_is_top_k and loss.needs_teacher and not loss.of_probabilities:
            return f"{kind} needs the teacher's logit of every word"
    return ""


def total(
    student: Head,
    teacher: Taught,
    labels: Tensor,
    terms: Sequence[Term],
    counts: Mapping[str, int],
    *,
    bfloat16: bool = False,
    at_once: int | None = None,
    apart: bool = False,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted total, and each term's mean over its `counts` units.

    The total carries the gradients of the student's hidden states and last layer, once; the terms
    carry none, unless they are wanted `apart`, each with its own, which costs a pass for each.
    labels: `[units]`, int64, -1 where unknown. `bfloat16` multiplies in that type and keeps every
    divergence in float32. `at_once` is the number of tokens in a chunk.
    """
    wanted = [term for term in terms if counts[term[0]]]
    given = (student.hidden, student.weight, student.bias)
    if not apart:
        work = _Work(student, teacher, labels, wanted, counts, bfloat16, at_once)
        value: Tensor = _Total.apply(*given, work)  # type: ignore[no-untyped-call]
        return value, work.parts
    parts = {}
    for kind, _, loss in wanted:
        work = _Work(student, teacher, labels, [(kind, 1.0, loss)], counts, bfloat16, at_once)
        work.again = True
        parts[kind] = _Total.apply(*given, work)  # type: ignore[no-untyped-call]
    summed = torch.stack([parts[kind] * by for kind, by, _ in wanted]).sum()
    return summed, parts


def tokens_at_once(units: int, vocabulary: int, device: torch.device) -> int:
    """Tokens in a chunk of so many."""
    if device.type != "cuda":
        return max(FEWEST, AT_ONCE // vocabulary)
    return max(FEWEST, min(units // PIECES_ON_GPU, AT_ONCE_ON_GPU // vocabulary))


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, work: "_Work"
    ) -> Tensor:
        value = work.done(*ctx.needs_input_grad[:3])
        ctx.gradients, ctx.again = work.gradients, work.again
        return value

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.again:
            return (*(None if one is None else one * outer for one in ctx.gradients), None)
        # The gradients are this function's own, so scaling them in place harms nobody; a second
        # backward pass would find them scaled, and is refused.
        gradients, ctx.gradients = ctx.gradients, None
        if gradients is None:
            raise RuntimeError("The gradients of a head's loss can be had once.")
        if outer.is_cuda or float(outer) != 1.0:  # to look would wait for the GPU
            for one in gradients:
                if one is not None:
                    one.mul_(outer)
        return (*gradients, None)


class _Work:
    """One evaluation of the total, from the first chunk to the last."""

    def __init__(
        self,
        student: Head,
        teacher: Taught,
        labels: Tensor,
        terms: Sequence[Term],
        counts: Mapping[str, int],
        bfloat16: bool,
        at_once: int | None,
    ) -> None:
        self.student, self.teacher = student, teacher
        self.labels, self.terms, self.counts = labels, terms, counts
        self.wide = torch.bfloat16 if bfloat16 else torch.float32
        self.theirs = teacher.weight.to(self.wide) if isinstance(teacher, Head) else None
        units, vocabulary = len(student.hidden), len(student.weight)
        self.device = student.hidden.device
        self.on_gpu = self.device.type == "cuda"
        self.size = max(1, min(units, at_once or tokens_at_once(units, vocabulary, self.device)))
        self.sums = {kind: torch.zeros((), device=self.device) for kind, _, _ in terms}
        self.parts: dict[str, Tensor] = {}
        self.again = False  # whether its gradients may be asked for more than once
        self.gradients: tuple[Tensor | None, ...] = ()
        self._buffers: dict[str, Tensor] = {}

    @property
    def soft(self) -> tuple[float, Loss] | None:
        return next(((w, loss) for kind, w, loss in self.terms if kind == "soft_targets"), None)

    @property
    def hard(self) -> tuple[float, Loss] | None:
        return next(((w, loss) for kind, w, loss in self.terms if kind == "hard_labels"), None)

    def done(self, of_hidden: bool, of_weight: bool, of_bias: bool) -> Tensor:
        """Every chunk's share added up: the total, with `parts` and `gradients` left behind."""
        student = self.student
        hidden, weight = student.hidden, student.weight
        wide = self.wide
        weight_ = weight.detach().to(wide)
        grad_hidden = torch.empty_like(hidden, dtype=torch.float32) if of_hidden else None
        grad_weight = torch.zeros_like(weight, dtype=torch.float32) if of_weight else None
        bias = student.bias
        grad_bias = torch.zeros_like(bias, dtype=torch.float32) if of_bias else None  # type: ignore[arg-type]
        plain = all(kind in ("hard_labels", "soft_targets") for kind, _, _ in self.terms)
        for start, stop in self._chunks():
            part = hidden[start:stop].detach().to(wide)
            if plain:
                slope = self._hard_and_soft(part, weight_, start, stop)
            else:
                slope = self._any(part, weight_, start, stop)
            thin = slope.to(wide)
            if grad_hidden is not None:
                grad_hidden[start:stop] = thin @ weight_
            if grad_weight is not None:
                if wide is torch.float32:
                    grad_weight.addmm_(thin.T, part)
                else:
                    grad_weight += self._wide(thin.T, part)
            if grad_bias is not None:
                grad_bias += slope.sum(dim=0)
        self.gradients = (
            None if grad_hidden is None else grad_hidden.to(hidden.dtype),
            None if grad_weight is None else grad_weight.to(weight.dtype),
            None if grad_bias is None or bias is None else grad_bias.to(bias.dtype),
        )
        value = torch.zeros((), device=self.device)
        for kind, by, _ in self.terms:
            self.parts[kind] = self.sums[kind] / self.counts[kind]
            value = value + self.parts[kind] * by
        self._buffers.clear()
        return value

    def _chunks(self) -> Iterator[tuple[int, int]]:
        units = len(self.student.hidden)
        for start in range(0, units, self.size):
            yield start, min(units, start + self.size)

    def _buffer(self, name: str, rows: int) -> Tensor:
        """`[rows, vocabulary]`, float32, the same memory each time."""
        if name not in self._buffers:
            shape = (self.size, len(self.student.weight))
            self._buffers[name] = torch.empty(shape, device=self.device)
        return self._buffers[name][:rows]

    def _wide(self, left: Tensor, right: Tensor) -> Tensor:
        """A product of two bfloat16 matrices, in float32 where the device adds up in it."""
        if self.on_gpu:
            return torch.mm(left, right, out_dtype=torch.float32)
        return left @ right

    def _product(
        self, name: str, hidden: Tensor, weight: Tensor, bias: Tensor | None, by: float
    ) -> Tensor:
        """`by * (hidden @ weight.T + bias)` in the buffer `name`."""
        into = self._buffer(name, len(hidden))
        if hidden.dtype is torch.float32:
            torch.mm(hidden * by if by != 1.0 else hidden, weight.T, out=into)
        else:
            into.copy_(self._wide(hidden, weight.T))
            if by != 1.0:
                into.mul_(by)
        if bias is not None:
            into.add_(bias.detach().float(), alpha=by)
        return into

    def _taught(self, start: int, stop: int, by: float) -> Tensor:
        """The teacher's logits of these units, times `by`."""
        if isinstance(self.teacher, Tensor):
            part = self.teacher[start:stop]
            return torch.mul(part, by, out=self._buffer("teacher", len(part)))
        assert isinstance(self.teacher, Head)
        assert self.theirs is not None
        part = self.teacher.hidden[start:stop].to(self.wide)
        return self._product("teacher", part, self.theirs, self.teacher.bias, by)

    # -- hard labels and soft targets -------------------------------------------------------------

    def _hard_and_soft(self, hidden: Tensor, weight: Tensor, start: int, stop: int) -> Tensor:
        """Adds the two terms' sums, and answers d total / d logits, `[units, vocabulary]`."""
        soft, hard = self.soft, self.hard
        temperature = float(soft[1].options.temperature) if soft else 1.0
        # Softened logits come out of the product where nobody needs the plain ones.
        by = 1.0 / temperature if soft and not hard else 1.0
        logits = self._product("student", hidden, weight, self.student.bias, by)
        softened = logits
        if soft and hard and temperature != 1.0:
            softened = torch.mul(logits, 1.0 / temperature, out=self._buffer("soft", len(logits)))
        slope = None
        if soft:
            slope = self._soft(softened, soft, temperature, start, stop, logits if hard else None)
        if hard:
            slope = self._hard(logits, slope, hard, self.labels[start:stop])
        assert slope is not None
        return slope

    def _soft(
        self,
        student: Tensor,
        term: tuple[float, Loss],
        temperature: float,
        start: int,
        stop: int,
        plain: Tensor | None,
    ) -> Tensor:
        """T² KL of softened logits; its slope overwrites them. `plain` are the unsoftened ones,
        which hard labels look at afterwards: where they are the same tensor (T = 1), they are
        copied before."""
        by, _ = term
        by *= temperature / self.counts["soft_targets"]  # d/ds of T² KL(s / T) is T (q - p)
        if plain is student:
            student = self._buffer("soft", len(student)).copy_(student)
        if isinstance(self.teacher, TopK):
            value = self._soft_top_k(student, self.teacher, temperature, start, stop)
        else:
            teacher = self._taught(start, stop, 1.0 / temperature)
            apart = torch.sub(teacher, student, out=self._buffer("apart", len(student)))
            log_p, log_q = _settle(teacher), _settle(student)
            value = apart.mul_(teacher).sum(dim=1) + (log_q - log_p)
            student.sub_(teacher)
        self.sums["soft_targets"] += value.sum() * temperature**2
        return student.mul_(by)

    def _soft_top_k(
        self, student: Tensor, teacher: TopK, temperature: float, start: int, stop: int
    ) -> Tensor:
        """KL over k + 1 words, `[units]`; softened logits become q - p."""
        indices = teacher.indices[start:stop]
        said = (teacher.bucketed(temperature, start, stop) / temperature).log_softmax(dim=1)
        log_p, log_rest = said[:, :-1], said[:, -1:]
        ours = student.gather(1, indices)
        log_q = ours - _settle(student).unsqueeze(1)
        q = student.gather(1, indices)
        student.scatter_(1, indices, 0.0)
        rest = student.sum(dim=1, keepdim=True).clamp_(min=TINY)
        p, p_rest = log_p.exp(), log_rest.exp()
        value = (p * (log_p - log_q)).sum(dim=1)
        value += (p_rest * (log_rest - rest.log())).squeeze(1)
        student.mul_(1.0 - p_rest / rest).scatter_(1, indices, q - p)
        return value

    def _hard(
        self,
        logits: Tensor,
        slope: Tensor | None,
        term: tuple[float, Loss],
        labels: Tensor,
    ) -> Tensor:
        """Cross-entropy of plain logits, whose slope is added to `slope`."""
        by, loss = term
        smoothing = float(loss.options.label_smoothing)
        known = labels >= 0
        place = labels.clamp(min=0).unsqueeze(1)
        right = logits.gather(1, place).squeeze(1)
        even = logits.mean(dim=1) if smoothing else right
        said = _settle(logits) - (1.0 - smoothing) * right - smoothing * even
        self.sums["hard_labels"] += torch.where(known, said, 0.0).sum()
        each = (known * (by / self.counts["hard_labels"])).unsqueeze(1)  # [units, 1]
        if slope is None:
            slope = logits.mul_(each)
        elif not self.on_gpu and bool(known.all()):
            slope.add_(logits, alpha=by / self.counts["hard_labels"])
        else:
            slope.addcmul_(logits, each.expand_as(logits))
        slope.scatter_add_(1, place, -(1.0 - smoothing) * each)
        if smoothing:
            slope.sub_(smoothing / logits.shape[1] * each)
        return slope

    # -- any other term of single tokens ----------------------------------------------------------

    def _any(self, hidden: Tensor, weight: Tensor, start: int, stop: int) -> Tensor:
        """The terms' own values; d total / d logits from autograd, for this chunk alone."""
        logits = self._product("student", hidden, weight, self.student.bias, 1.0)
        labels = self.labels[start:stop]
        taught = None
        if isinstance(self.teacher, Head | Tensor):
            taught = Answer(self._taught(start, stop, 1.0))
        with torch.enable_grad():
            leaf = logits.detach().requires_grad_(True)
            value = leaf.new_zeros(())
            for kind, by, loss in self.terms:
                ours, theirs = Answer(leaf), taught
                if isinstance(self.teacher, TopK) and loss.needs_teacher:
                    at = float(getattr(loss.options, "temperature", 1.0))
                    ours = Answer(self.teacher.bucket(leaf, at, start, stop))
                    theirs = Answer(self.teacher.bucketed(at, start, stop))
                part = loss.values(ours, theirs, labels).sum()
                self.sums[kind] += part.detach()
                value = value + part * (by / self.counts[kind])
            slope: Tensor = torch.autograd.grad(value, leaf)[0]
        return slope


def _settle(logits: Tensor) -> Tensor:
    """Logits become probabilities in place; answers `log Σ exp`, `[units]`.

    From the largest one, whose probability is at least 1 / vocabulary and so never 0. Its place
    would cost ten times as much to find as its value.
    """
    highest = logits.amax(dim=1)
    torch.softmax(logits, dim=1, out=logits)
    return highest - logits.amax(dim=1).log()


@dataclass(frozen=True, slots=True)
class Judged:
    """What a student says of each unit, `[units]`; the last two are empty without a teacher."""

    nll: Tensor  # nats; NaN where the label is unknown
    right: Tensor  # whether its likeliest word is the label
    agrees: Tensor  # whether its likeliest word is the teacher's
    kl: Tensor  # KL(teacher ‖ student) at T = 1; of k + 1 words for a teacher's top k


def _logits_of(teacher: Head | Tensor, start: int, stop: int) -> Tensor:
    """A teacher's logits of some units, `[stop - start, vocabulary]`."""
    return teacher.logits(start, stop) if isinstance(teacher, Head) else teacher[start:stop]


@torch.no_grad()
def judge(student: Head, teacher: Taught, labels: Tensor) -> Judged:
    """Answers of a few units at a time, so that their logits are never all in memory."""
    device = student.hidden.device
    size = tokens_at_once(len(student.hidden), len(student.weight), device)
    nll, right, agrees, kl = [], [], [], []
    for start in range(0, len(student.hidden), size):
        stop = min(len(student.hidden), start + size)
        logs = student.logits(start, stop).log_softmax(dim=1)
        some = labels[start:stop]
        said = logs.argmax(dim=1)
        found = -logs.gather(1, some.clamp(min=0).unsqueeze(1)).squeeze(1)
        nll.append(torch.where(some >= 0, found, torch.nan))
        right.append(said == some)
        if teacher is None:
            continue
        if isinstance(teacher, TopK):
            theirs = teacher.bucketed(1.0, start, stop).log_softmax(dim=1)
            ours = teacher.bucket(logs, 1.0, start, stop).log_softmax(dim=1)
            agrees.append(teacher.first(start, stop) == said)
        else:
            ours, theirs = logs, _logits_of(teacher, start, stop).log_softmax(dim=1)
            agrees.append(theirs.argmax(dim=1) == said)
        kl.append((theirs.exp() * (theirs - ours)).sum(dim=1))
    nothing = student.hidden.new_zeros(0)
    return Judged(
        torch.cat(nll) if nll else nothing,
        torch.cat(right) if right else nothing.bool(),
        torch.cat(agrees) if agrees else nothing.bool(),
        torch.cat(kl) if kl else nothing,
    )
