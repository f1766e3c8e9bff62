"""The chunked loss of a language model's last layer says what the plain way says."""

from typing import Any

import pytest
import torch
from torch import Tensor

from training.engine import head_loss, options
from training.engine.head_loss import Term
from training.engine.heads import Head, TopK
from training.engine.losses import LOSSES, Loss

UNITS, VOCABULARY, OURS, THEIRS = 150, 61, 8, 12


def loss(key: str, **values: Any) -> Loss:
    method = LOSSES[key]
    return method(options.build(method.Options, values))


def term(key: str, weight: float, **values: Any) -> Term:
    return key, weight, loss(key, **values)


MIXES: dict[str, list[Term]] = {
    "hard labels": [term("hard_labels", 1.0)],
    "smoothed labels": [term("hard_labels", 0.7, label_smoothing=0.1)],
    "soft targets": [term("soft_targets", 1.0, temperature=1.0)],
    "softer targets": [term("soft_targets", 1.0, temperature=3.0)],
    "both": [term("soft_targets", 0.9, temperature=1.0), term("hard_labels", 0.1)],
    "both, softer": [
        term("soft_targets", 0.9, temperature=2.0),
        term("hard_labels", 0.1, label_smoothing=0.2),
    ],
    "another term": [term("logit_mse", 0.5), term("hard_labels", 0.1)],
}


def heads(bias: bool = True) -> tuple[Head, Head, Tensor]:
    chance = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=chance)

    student = Head(
        drawn(UNITS, OURS).requires_grad_(),
        drawn(VOCABULARY, OURS).requires_grad_(),
        drawn(VOCABULARY).requires_grad_() if bias else None,
    )
    teacher = Head(drawn(UNITS, THEIRS), drawn(VOCABULARY, THEIRS), drawn(VOCABULARY))
    return student, teacher, torch.randint(-1, VOCABULARY, (UNITS,), generator=chance)


def counted(terms: list[Term], labels: Tensor) -> dict[str, int]:
    return {kind: int(one.speaks(labels).sum()) for kind, _, one in terms}


def weights(head: Head) -> list[Tensor]:
    return [one for one in (head.hidden, head.weight, head.bias) if one is not None]


def plain(
    student: Head, teacher_logits: Tensor, labels: Tensor, terms: list[Term]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The total and its gradients from whole logits."""
    counts, logits = counted(terms, labels), student.logits()
    total = sum(
        by * one.per_row(logits, teacher_logits, labels).sum() / counts[kind]
        for kind, by, one in terms
    )
    assert isinstance(total, Tensor)
    return total.detach(), torch.autograd.grad(total, weights(student))


@pytest.mark.parametrize("name", MIXES)
@pytest.mark.parametrize("at_once", [None, 64, 7])
def test_it_is_the_plain_loss_and_its_gradients(name: str, at_once: int | None) -> None:
    student, teacher, labels = heads()
    terms = MIXES[name]
    expected, slopes = plain(student, teacher.logits(), labels, terms)
    total, parts = head_loss.total(
        student, teacher, labels, terms, counted(terms, labels), at_once=at_once
    )
    assert torch.allclose(total.detach(), expected, rtol=1e-6, atol=0)
    assert set(parts) == {kind for kind, _, _ in terms}
    found = torch.autograd.grad(total * 2.0, weights(student))
    for one, slope in zip(found, slopes, strict=True):
        assert (one / 2.0 - slope).abs().max() <= 1e-6 * slope.abs().max()


def test_a_divergence_is_0_where_both_heads_are_the_same() -> None:
    student, _, labels = heads(bias=False)
    terms = MIXES["softer targets"]
    same = Head(student.hidden.detach(), student.weight.detach())
    total, _ = head_loss.total(student, same, labels, terms, counted(terms, labels))
    slopes = torch.autograd.grad(total, weights(student))
    assert float(total.detach()) == 0.0
    assert all(float(slope.abs().max()) == 0.0 for slope in slopes)


def test_micro_batches_add_up_to_one_batch() -> None:
    student, teacher, labels = heads()
    terms = MIXES["both, softer"]
    counts = counted(terms, labels)
    _, slopes = plain(student, teacher.logits(), labels, terms)
    for start, stop in ((0, 40), (40, UNITS)):
        part = Head(student.hidden[start:stop], student.weight, student.bias)
        taught = Head(teacher.hidden[start:stop], teacher.weight, teacher.bias)
        total, _ = head_loss.total(part, taught, labels[start:stop], terms, counts)
        total.backward()  # type: ignore[no-untyped-call]
    for one, slope in zip(weights(student), slopes, strict=True):
        assert one.grad is not None
        assert (one.grad - slope).abs().max() <= 2e-6 * slope.abs().max()


def top_k(logits: Tensor, k: int, temperatures: list[float]) -> TopK:
    values, indices = logits.topk(k, dim=1)
    others = logits.scatter(1, indices, -torch.inf)
    return TopK(values, indices, {T: (others / T).logsumexp(dim=1) for T in temperatures})


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_the_largest_logits_with_the_rest_in_one_bucket_bound_the_divergence(
    temperature: float,
) -> None:
    """Merging words can only lower a divergence; with all but one word kept nothing is merged."""
    student, teacher, labels = heads()
    terms = [term("soft_targets", 1.0, temperature=temperature)]
    whole, slopes = plain(student, teacher.logits(), labels, terms)
    found = []
    for k in (4, 20, VOCABULARY - 1):
        taught = top_k(teacher.logits(), k, [temperature])
        total, _ = head_loss.total(student, taught, labels, terms, counted(terms, labels))
        found.append(float(total.detach()))
        ours = torch.autograd.grad(total, weights(student))
    assert found[0] < found[1] < found[2]
    assert found[2] == pytest.approx(float(whole), rel=1e-6)
    for ours_, slope in zip(ours, slopes, strict=True):
        assert (ours_ - slope).abs().max() <= 1e-5 * slope.abs().max()


@pytest.mark.parametrize("name", ["soft targets", "softer targets", "both, softer"])
def test_the_gradient_of_the_bucketed_divergence_is_autograds(name: str) -> None:
    student, teacher, labels = heads()
    terms = MIXES[name]
    counts = counted(terms, labels)
    temperature = float(terms[0][2].options.temperature)
    taught = top_k(teacher.logits(), 5, [temperature])
    logits = student.logits()
    total = torch.zeros(())
    for kind, by, one in terms:
        theirs, ours = None, logits
        if one.needs_teacher:
            theirs = taught.bucketed(temperature, 0, UNITS)
            ours = taught.bucket(logits, temperature, 0, UNITS)
        total = total + by * one.per_row(ours, theirs, labels).sum() / counts[kind]
    slopes = torch.autograd.grad(total, weights(student))
    chunked, _ = head_loss.total(student, taught, labels, terms, counts, at_once=32)
    assert torch.allclose(chunked.detach(), total.detach(), rtol=1e-6)
    for found, slope in zip(torch.autograd.grad(chunked, weights(student)), slopes, strict=True):
        assert (found - slope).abs().max() <= 2e-6 * slope.abs().max()


def test_products_in_bfloat16_stay_close() -> None:
    student, teacher, labels = heads()
    terms = MIXES["both"]
    expected, slopes = plain(student, teacher.logits(), labels, terms)
    total, _ = head_loss.total(
        student, teacher, labels, terms, counted(terms, labels), bfloat16=True
    )
    found = torch.autograd.grad(total, weights(student))
    assert float(total.detach()) == pytest.approx(float(expected), rel=1e-2)
    for one, slope in zip(found, slopes, strict=True):
        assert one.dtype is torch.float32
        assert (one - slope).norm() <= 2e-2 * slope.norm()


def test_answers_are_judged_without_whole_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_loss, "AT_ONCE", VOCABULARY * head_loss.FEWEST)
    student, teacher, labels = heads()
    ours, theirs = student.logits().log_softmax(1), teacher.logits().log_softmax(1)
    judged = head_loss.judge(student, teacher, labels)
    known = labels >= 0
    assert torch.allclose(
        judged.nll[known], -ours[known, labels[known]].detach(), rtol=1e-5, atol=1e-5
    )
    assert bool(judged.nll[~known].isnan().all())
    assert torch.equal(judged.right, ours.argmax(1) == labels)
    assert torch.equal(judged.agrees, ours.argmax(1) == theirs.argmax(1))
    assert torch.allclose(judged.kl, (theirs.exp() * (theirs - ours)).sum(1), atol=1e-5)
    kept = top_k(teacher.logits(), VOCABULARY - 1, [1.0])
    assert torch.allclose(head_loss.judge(student, kept, labels).kl, judged.kl, atol=1e-5)


def test_terms_apart_carry_their_own_gradients_as_often_as_wanted() -> None:
    student, teacher, labels = heads()
    terms = MIXES["both, softer"]
    counts = counted(terms, labels)
    whole, _ = head_loss.total(student, teacher, labels, terms, counts)
    expected = torch.autograd.grad(whole, weights(student))
    total, parts = head_loss.total(student, teacher, labels, terms, counts, apart=True)
    assert torch.allclose(total, whole)
    each = [
        torch.autograd.grad(parts[kind], weights(student), retain_graph=True) for kind, *_ in terms
    ]
    found = torch.autograd.grad(total, weights(student))
    for place, slope in enumerate(expected):
        summed = sum(by * each[i][place] for i, (_, by, _) in enumerate(terms))
        assert isinstance(summed, Tensor)
        assert torch.allclose(summed, slope, atol=1e-7)
        assert torch.allclose(found[place], slope, atol=1e-7)


def test_a_teachers_logits_teach_as_its_head_does() -> None:
    student, teacher, labels = heads()
    terms = MIXES["both, softer"]
    counts = counted(terms, labels)
    one, _ = head_loss.total(student, teacher, labels, terms, counts)
    other, _ = head_loss.total(student, teacher.logits(), labels, terms, counts, at_once=40)
    assert torch.allclose(one, other, rtol=1e-6)
