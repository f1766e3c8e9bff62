"""Laws that every loss keeps because it is registered, and the numbers of the ones we have."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from training.engine import methods, options
from training.engine.losses import LOSSES, Loss

EVERY = [one.key for one in LOSSES]
WITH_TEACHER = [one.key for one in LOSSES if one.needs_teacher]
DIVERGENCES = [one.key for one in LOSSES if one.is_divergence]


def loss(key: str, **values: Any) -> Loss:
    method = LOSSES[key]
    return method(options.build(method.Options, values))


def batch(rows: int = 6, classes: int = 5, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    chance = torch.Generator().manual_seed(seed)
    student = torch.randn(rows, classes, generator=chance, requires_grad=True)
    teacher = 3 * torch.randn(rows, classes, generator=chance)
    return student, teacher, torch.arange(rows) % classes


@pytest.mark.parametrize("key", EVERY)
def test_it_answers_one_finite_number_for_each_row(key: str) -> None:
    student, teacher, labels = batch()
    answer = loss(key).per_row(student, teacher, labels)
    assert answer.shape == (6,)
    assert torch.isfinite(answer).all()


@pytest.mark.parametrize("key", EVERY)
def test_its_gradient_reaches_the_student_only(key: str) -> None:
    student, teacher, labels = batch()
    teacher.requires_grad_(True)
    loss(key).per_row(student, teacher.detach(), labels).sum().backward()  # type: ignore[no-untyped-call]
    assert student.grad is not None
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None


@pytest.mark.parametrize("key", WITH_TEACHER)
def test_it_is_least_where_the_student_says_what_the_teacher_says(key: str) -> None:
    _, teacher, labels = batch()
    same = loss(key).per_row(teacher, teacher, labels)
    for seed in range(5):
        other = teacher + 0.3 * torch.randn(6, 5, generator=torch.Generator().manual_seed(seed))
        assert (loss(key).per_row(other, teacher, labels) >= same).all()


@pytest.mark.parametrize("key", DIVERGENCES)
def test_a_divergence_is_exactly_0_where_both_agree(key: str) -> None:
    _, teacher, labels = batch()
    assert loss(key).per_row(teacher, teacher.clone(), labels).abs().max() == 0.0


@pytest.mark.parametrize("key", EVERY)
def test_it_does_not_jump_at_the_ends_of_an_options_range(key: str) -> None:
    student, teacher, labels = batch()
    for one in options.describe(LOSSES[key].Options):
        if one["type"] != "float":
            continue
        for end, inwards in ((one["minimum"], 1.0), (one["maximum"], -1.0)):
            near = end + inwards * 1e-6 * max(1.0, abs(end))
            at_end = loss(key, **{one["name"]: end}).per_row(student, teacher, labels)
            beside = loss(key, **{one["name"]: near}).per_row(student, teacher, labels)
            assert torch.isfinite(at_end).all()
            assert torch.allclose(at_end, beside, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("key", EVERY)
def test_it_does_not_depend_on_the_order_of_rows(key: str) -> None:
    student, teacher, labels = batch()
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    straight = loss(key).per_row(student, teacher, labels)[order]
    turned = loss(key).per_row(student[order], teacher[order], labels[order])
    assert torch.equal(straight, turned)


@pytest.mark.parametrize("key", EVERY)
def test_float32_is_as_good_as_float64(key: str) -> None:
    student, teacher, labels = batch()
    single = loss(key).per_row(student, teacher, labels)
    double = loss(key).per_row(student.double(), teacher.double(), labels)
    assert torch.allclose(single.double(), double, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("key", EVERY)
def test_rows_without_a_label_add_nothing_to_terms_that_need_one(key: str) -> None:
    student, teacher, labels = batch()
    labels[2] = -1
    term = loss(key)
    answer = term.per_row(student, teacher, labels)
    assert torch.isfinite(answer).all()
    assert term.speaks(labels).tolist() == [
        not (term.needs_labels and label < 0) for label in labels.tolist()
    ]
    if term.needs_labels:
        assert answer[2] == 0.0


def test_soft_targets_tend_to_logit_differences_at_high_temperatures() -> None:
    """d(T² KL)/ds tends to (s − t)/N for centred logits (Hinton et al., section 2.1); the relative
    error falls as 1/T."""
    student, teacher, labels = batch(rows=64, classes=10)
    with torch.no_grad():
        student -= student.mean(dim=1, keepdim=True)
        teacher -= teacher.mean(dim=1, keepdim=True)
    limit = (student - teacher).detach() / 10
    errors = []
    for temperature in (1.0, 4.0, 20.0, 1000.0):
        wide = student.detach().double().requires_grad_(True)
        term = loss("soft_targets", temperature=temperature)
        term.per_row(wide, teacher.double(), labels).sum().backward()  # type: ignore[no-untyped-call]
        assert wide.grad is not None
        errors.append(float((wide.grad - limit).norm() / limit.norm()))
    assert errors == sorted(errors, reverse=True)
    assert errors[2] < 0.15
    assert errors[3] < 0.005


def test_soft_targets_are_the_textbooks_number() -> None:
    student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[2.0, 0.0]])
    p = 1 / (1 + math.exp(-1.0))  # at T = 2
    by_hand = 4 * (p * math.log(p / 0.5) + (1 - p) * math.log((1 - p) / 0.5))
    found = loss("soft_targets", temperature=2.0).per_row(student, teacher, torch.tensor([0]))
    assert float(found) == pytest.approx(by_hand, rel=1e-6)


def test_hard_labels_are_cross_entropy_and_smoothing_spreads_it() -> None:
    student = torch.tensor([[2.0, 0.0, -1.0]])
    label = torch.tensor([0])
    logs = student.log_softmax(-1)[0]
    plain = loss("hard_labels").per_row(student, None, label)
    smooth = loss("hard_labels", label_smoothing=0.3).per_row(student, None, label)
    assert float(plain) == pytest.approx(-float(logs[0]))
    assert float(smooth) == pytest.approx(-0.7 * float(logs[0]) - 0.3 * float(logs.mean()))


def test_every_method_says_what_it_is() -> None:
    described = methods.describe()
    for kind in ("losses", "schemes", "tasks", "architectures", "optimizers", "schedules"):
        for method in described[kind]:
            assert method["label"], method["key"]
            assert method["summary"].endswith("."), method["key"]
            for one in method["options"]:
                assert one["help"], (method["key"], one["name"])
