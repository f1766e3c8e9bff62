"""Laws that every loss keeps because it is registered, and the numbers of the ones we have."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.engine import spoken
from tests.engine.spoken import Case
from training.engine import methods, options, terms
from training.engine.answers import Answer
from training.engine.errors import ConfigError
from training.engine.losses import LOSSES, Loss

CASES = spoken.cases()
# Of whole answers, whose tokens follow each other: test_preferences.py has these laws for pairs.
BY_UNIT = [case for case in CASES if not LOSSES[case.key].of_sequences]
TAUGHT = [case for case in BY_UNIT if LOSSES[case.key].needs_teacher]
# Weights drawn at random, such as projections, move the lowest value away from equality.
# A label that the teacher names is best learned by being surer of it than the teacher is.
CHOICES = [case for case in TAUGHT if LOSSES[case.key].of_choice]
COMPARED = [case for case in TAUGHT if not case.learns() and case not in CHOICES]
DIVERGENCES = [case for case in COMPARED if LOSSES[case.key].is_divergence]
APART = [case for case in BY_UNIT if not LOSSES[case.key].is_joint]
# TRL's own form jumps at both ends; it is there for those who compare (losses/jsd.py).
STEADY = [case for case in CASES if dict(case.options).get("form") != "raw"]
every = pytest.mark.parametrize("case", CASES, ids=str)
by_unit = pytest.mark.parametrize("case", BY_UNIT, ids=str)


def loss(key: str, **values: Any) -> Loss:
    return Case(key).term(**values)


def batch(rows: int = 6, classes: int = 5, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    chance = torch.Generator().manual_seed(seed)
    student = torch.randn(rows, classes, generator=chance, requires_grad=True)
    teacher = 3 * torch.randn(rows, classes, generator=chance)
    return student, teacher, torch.arange(rows) % classes


def gradients(term: Loss, student: Answer, teacher: Answer, labels: Tensor) -> list[Tensor]:
    """Of the sum of values, by every tensor of the student's answer."""
    wants = spoken.learning(student)
    total = term.values(wants, teacher, labels).sum()
    found: Any = torch.autograd.grad(total, spoken.tensors(wants), allow_unused=True)
    return [
        torch.zeros_like(one) if got is None else got
        for got, one in zip(found, spoken.tensors(wants), strict=True)
    ]


@every
def test_it_answers_one_finite_number_for_each_row(case: Case) -> None:
    student, teacher = case.answer(0), case.answer(1)
    term, _ = case.fitted(student, teacher)
    values = term.values(student, teacher, case.labels)
    assert values.shape == (6,)
    assert torch.isfinite(values).all()


@every
def test_its_gradient_reaches_the_student_and_its_own_weights_only(case: Case) -> None:
    student, teacher = spoken.learning(case.answer(0)), spoken.learning(case.answer(1))
    term, own = case.fitted(student, teacher)
    term.values(student, teacher.detached(), case.labels).sum().backward()  # type: ignore[no-untyped-call]
    reached = [one.grad for one in spoken.tensors(student) if one.grad is not None]
    assert sum(float(one.abs().sum()) for one in reached) > 0
    assert all(one.grad is None for one in spoken.tensors(teacher))
    for name, weight in own.named_parameters():
        assert weight.grad is not None, name


@pytest.mark.parametrize("case", COMPARED, ids=str)
def test_it_is_least_where_the_student_says_what_the_teacher_says(case: Case) -> None:
    teacher = case.answer(1)
    term, _ = case.fitted(teacher, teacher)
    same = term.values(teacher, teacher, case.labels)
    for seed in range(5):
        other = spoken.near(teacher, 0.3, 100 + seed)
        assert (term.values(other, teacher, case.labels) >= same).all()


@pytest.mark.parametrize("case", CHOICES, ids=str)
def test_it_does_not_depend_on_how_sure_a_teacher_is_of_what_it_names(case: Case) -> None:
    student, teacher = case.answer(0), case.answer(1)
    term, _ = case.fitted(student, teacher)
    surer = spoken.each(teacher, lambda one: one * 3.0)
    said = term.values(student, teacher, case.labels)
    assert torch.equal(said, term.values(student, surer, case.labels))


@pytest.mark.parametrize("case", DIVERGENCES, ids=str)
def test_a_divergence_is_exactly_0_where_both_agree(case: Case) -> None:
    teacher = case.answer(1)
    same = spoken.each(teacher, torch.clone)
    term, _ = case.fitted(same, teacher)
    assert term.values(same, teacher, case.labels).abs().max() == 0.0


@pytest.mark.parametrize("case", STEADY, ids=str)
def test_it_does_not_jump_at_the_ends_of_an_options_range(case: Case) -> None:
    student, teacher = case.answer(0), case.answer(1)

    def at(**values: Any) -> Tensor:
        term, _ = case.fitted(student, teacher, **values)
        return term.values(student, teacher, case.labels)

    for one in options.describe(LOSSES[case.key].Options):
        name = one["name"]
        if one["type"] != "float" or (case.problem != "single_label" and name == "label_smoothing"):
            continue
        for end, inwards in ((one["minimum"], 1.0), (one["maximum"], -1.0)):
            near = end + inwards * 1e-6 * max(1.0, abs(end))
            assert torch.isfinite(at(**{name: end})).all()
            assert torch.allclose(at(**{name: end}), at(**{name: near}), rtol=1e-2, atol=1e-4)


@by_unit
def test_it_does_not_depend_on_the_order_of_rows(case: Case) -> None:
    student, teacher, labels = case.answer(0), case.answer(1), case.labels
    term, _ = case.fitted(student, teacher)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    straight = term.values(student, teacher, labels)[order]
    turned = term.values(
        spoken.rows_of(student, order), spoken.rows_of(teacher, order), labels[order]
    )
    assert torch.allclose(straight, turned, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("case", APART, ids=str)
def test_micro_batches_add_up_to_the_whole_batch_gradients_included(case: Case) -> None:
    student, teacher, labels = case.answer(0), case.answer(1), case.labels
    term, _ = case.fitted(student, teacher)
    whole = term.values(student, teacher, labels)
    pulled = gradients(term, student, teacher, labels)
    parts = [slice(0, 3), slice(3, 4), slice(4, 6)]
    values = [
        term.values(spoken.rows_of(student, part), spoken.rows_of(teacher, part), labels[part])
        for part in parts
    ]
    assert torch.allclose(torch.cat(values), whole, rtol=1e-6, atol=1e-7)
    by_part = [
        gradients(term, spoken.rows_of(student, part), spoken.rows_of(teacher, part), labels[part])
        for part in parts
    ]
    for place, one in enumerate(pulled):
        together = torch.cat([part[place] for part in by_part])
        assert torch.allclose(together, one, rtol=1e-5, atol=1e-7)


@every
def test_places_without_a_token_change_nothing(case: Case) -> None:
    student, teacher, labels = case.answer(0), case.answer(1), case.labels
    if student.mask is None:
        return  # maps have no padding
    term, _ = case.fitted(student, teacher)
    longer, theirs = spoken.padded(student, 3, seed=7), spoken.padded(teacher, 3, seed=8)
    assert torch.allclose(
        term.values(longer, theirs, labels),
        term.values(student, teacher, labels),
        rtol=1e-5,
        atol=1e-6,
    )
    assert longer.mask is not None
    for one in gradients(term, longer, theirs, labels):
        if one.ndim == 3:
            assert one[~longer.mask].abs().max() == 0.0


@every
def test_float32_is_as_good_as_float64(case: Case) -> None:
    student, teacher, labels = case.answer(0), case.answer(1), case.labels
    term, own = case.fitted(student, teacher)
    single = term.values(student, teacher, labels)
    own.double()
    wide, theirs = spoken.each(student, Tensor.double), spoken.each(teacher, Tensor.double)
    double = term.values(wide, theirs, labels.double() if labels.is_floating_point() else labels)
    assert double.dtype == torch.float64
    assert torch.allclose(single.double(), double, rtol=1e-5, atol=1e-5)


@every
def test_layers_in_half_precision_are_compared_in_float32(case: Case) -> None:
    student, teacher = (
        spoken.each(case.answer(seed), lambda one: one.bfloat16().float()) for seed in (0, 1)
    )
    term, _ = case.fitted(student, teacher)
    full = term.values(student, teacher, case.labels)
    halves = []
    for said in (student, teacher):
        half = spoken.each(said, Tensor.bfloat16)
        half.logits = said.logits  # these arrive in float32 already
        halves.append(half)
    values = term.values(halves[0], halves[1], case.labels)
    assert values.dtype == torch.float32
    assert torch.equal(values, full)


@every
def test_answers_of_any_size_leave_value_and_gradient_finite(case: Case) -> None:
    student = spoken.each(case.answer(0), lambda one: one * 1e4)
    teacher = spoken.each(case.answer(1), lambda one: one * -1e4)
    for said, drawn in ((student, case.answer(0)), (teacher, case.answer(1))):
        said.attention = drawn.attention
    for one, two in ((student, teacher), (teacher, student), (student, student)):
        term, _ = case.fitted(one, two)
        assert torch.isfinite(term.values(one, two, case.labels)).all()
        assert all(torch.isfinite(got).all() for got in gradients(term, one, two, case.labels))


@by_unit
def test_rows_without_a_label_add_nothing_to_terms_that_need_one(case: Case) -> None:
    student, teacher = case.answer(0), case.answer(1)
    labels = spoken.without_label(case.labels, 2)
    term, _ = case.fitted(student, teacher)
    values = term.values(student, teacher, labels)
    assert torch.isfinite(values).all()
    assert term.speaks(labels).tolist() == [
        not (term.needs_labels and row == 2) for row in range(6)
    ]
    pulled = gradients(term, student, teacher, labels)
    assert all(torch.isfinite(one).all() for one in pulled)
    if term.needs_labels:
        assert values[2] == 0.0
        assert all(one[2].abs().sum() == 0.0 for one in pulled)


@every
def test_the_only_row_of_a_step_is_no_special_case(case: Case) -> None:
    student, teacher = (spoken.rows_of(case.answer(seed), slice(0, 1)) for seed in (0, 1))
    term, _ = case.fitted(student, teacher)
    assert torch.isfinite(term.values(student, teacher, case.labels[:1])).all()
    assert all(
        torch.isfinite(one).all() for one in gradients(term, student, teacher, case.labels[:1])
    )


@pytest.mark.parametrize("case", CASES, ids=str)
def test_one_seed_gives_one_set_of_own_weights(case: Case) -> None:
    student, teacher = case.answer(0, width=4), case.answer(1, width=8)
    drawn: list[nn.Module] = []
    for _ in range(2):
        torch.manual_seed(3)
        try:
            drawn.append(case.term().fit(student, teacher) or nn.Module())
        except ConfigError:
            return  # relations of other widths need a number of heads
    first, second = (one.state_dict() for one in drawn)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_no_option_has_a_name_that_a_configuration_uses_itself() -> None:
    taken = {"kind", "weight", *terms.SCHEDULED}
    for method in LOSSES:
        assert not taken & {one["name"] for one in options.describe(method.Options)}, method.key


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
