"""Numbers of the terms that compare logits, by hand and in limits."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.engine.spoken import Case
from training.engine import divergences
from training.engine.errors import ConfigError
from training.engine.losses import LOSSES, Loss
from training.engine.losses.hard_labels import Options as HardOptions

SOFTENED = [
    method.key
    for method in LOSSES
    if method.needs_teacher and not method.is_joint and hasattr(method.Options, "temperature")
]
MANY = torch.nan  # a label that nobody knows


def term(key: str, problem: str = "single_label", **values: Any) -> Loss:
    return Case(key, problem=problem).term(**values)


def said(rows: int = 7, classes: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    """A student's and a teacher's logits, and labels; float64."""
    chance = torch.Generator().manual_seed(5)
    student = torch.randn(rows, classes, generator=chance, dtype=torch.float64)
    teacher = 2.0 * torch.randn(rows, classes, generator=chance, dtype=torch.float64)
    return student, teacher, torch.arange(rows) % classes


def by_hand(p: Tensor, q: Tensor) -> Tensor:
    return (p * (p / q).log()).sum(-1)


def test_kl_and_its_skewed_and_balanced_kin_are_the_textbooks() -> None:
    student, teacher, _ = said()
    q, p = student.softmax(-1), teacher.softmax(-1)
    log_q, log_p = student.log_softmax(-1), teacher.log_softmax(-1)
    assert torch.allclose(divergences.kl(log_p, log_q), by_hand(p, q))
    for share in (0.05, 0.3, 0.5, 0.7, 0.95):
        m = share * p + (1 - share) * q
        assert torch.allclose(divergences.skewed_kl(log_p, log_q, share), by_hand(p, m))
        js = share * by_hand(p, m) + (1 - share) * by_hand(q, m)
        balanced = divergences.balanced_js(log_p, log_q, share)
        assert torch.allclose(balanced * share * (1 - share), js)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8])
def test_gradients_of_both_sides_are_those_of_small_steps(share: float) -> None:
    student, teacher, _ = said(rows=3, classes=4)
    teacher[0] = student[0] + 0.01 * teacher[0]  # where the series is used
    student.requires_grad_(True)
    teacher.requires_grad_(True)
    for divergence in (divergences.skewed_kl, divergences.balanced_js):
        assert torch.autograd.gradcheck(
            lambda s, t, over=divergence: over(t.log_softmax(-1), s.log_softmax(-1), share),
            (student, teacher),
        )


def test_a_divergence_keeps_its_digits_where_both_nearly_agree_and_never_falls_below_0() -> None:
    """The usual sum of p log(p / q) answers −1e-7 to 1e-7 here, whatever the truth is; a high
    temperature, which makes all answers nearly alike, would multiply that by its square."""
    student, _, _ = said(rows=200, classes=77)
    teacher = student + 1e-4 * torch.randn(
        student.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    log_p, log_q = teacher.log_softmax(-1), student.log_softmax(-1)
    exact = divergences.kl(log_p, log_q, 10.0)
    single = divergences.kl(log_p.float(), log_q.float(), 10.0)
    assert exact.max() < 1e-6
    assert single.min() >= 0.0
    assert ((single - exact).abs() / exact).median() < 0.01


@pytest.mark.parametrize("key", SOFTENED)
def test_float32_is_as_good_as_float64_at_the_highest_temperature(key: str) -> None:
    student, teacher, labels = said(rows=32, classes=10)
    ours = term(key, temperature=1000.0)
    exact = ours.per_row(student, teacher, labels)
    single = ours.per_row(student.float(), teacher.float(), labels)
    assert torch.allclose(single.double(), exact, rtol=5e-3)


def test_both_ends_of_jsd_are_soft_targets_and_reverse_kl() -> None:
    student, teacher, labels = said()
    for end, key in ((0.0, "soft_targets"), (1.0, "reverse_kl")):
        other = term(key, temperature=2.0).per_row(student, teacher, labels)
        for beta in (end, abs(end - 1e-9)):
            values = term("jsd", beta=beta, temperature=2.0).per_row(student, teacher, labels)
            assert torch.allclose(values, other, rtol=1e-5)


def test_raw_jsd_is_nearly_nothing_beside_an_end_and_a_whole_kl_on_it() -> None:
    student, teacher, labels = said()
    beside = term("jsd", form="raw", beta=1e-6).per_row(student, teacher, labels)
    at = term("jsd", form="raw", beta=0.0).per_row(student, teacher, labels)
    assert beside.max() < 1e-4
    assert torch.equal(at, term("jsd", beta=0.0).per_row(student, teacher, labels))


def test_skewed_kl_measures_the_teacher_forward_and_the_student_in_reverse() -> None:
    student, teacher, labels = said()
    s, t = student.softmax(-1), teacher.softmax(-1)
    forward = term("skewed_kl").per_row(student, teacher, labels)
    reverse = term("skewed_kl", direction="reverse").per_row(student, teacher, labels)
    assert torch.allclose(forward, by_hand(t, 0.1 * t + 0.9 * s))
    assert torch.allclose(reverse, by_hand(s, 0.1 * s + 0.9 * t))


def test_total_variation_is_half_the_distance_of_probabilities() -> None:
    student, teacher, labels = said()
    values = term("tvd").per_row(student, teacher, labels)
    assert torch.allclose(values, (student.softmax(-1) - teacher.softmax(-1)).abs().sum(-1) / 2)
    sure = torch.tensor([[50.0, 0.0]]), torch.tensor([[0.0, 50.0]])
    assert float(term("tvd").per_row(*sure, labels[:1])) == pytest.approx(1.0)


def test_decoupled_distillation_with_its_own_weight_is_soft_targets() -> None:
    """Equation 6: KD = TCKD + (1 − p) NCKD, p the teacher's probability of the target."""
    student, teacher, labels = said()
    whole = term("soft_targets").per_row(student, teacher, labels)
    sure = (teacher / 4.0).softmax(-1).gather(1, labels.unsqueeze(1)).squeeze(1)
    for row in range(len(labels)):
        ours = term("dkd", other_weight=float(1.0 - sure[row]))
        assert torch.allclose(ours.per_row(student, teacher, labels)[row], whole[row])


def test_decoupled_distillation_keeps_its_digits_where_the_target_is_nearly_certain() -> None:
    """1 − p is 0 in float32 here, and the authors' code, which takes log(1 − p), is infinite."""
    student = torch.tensor([[40.0, 1.0, 0.0], [-40.0, 1.0, 0.0]], requires_grad=True)
    teacher = torch.tensor([[30.0, 0.0, 1.0], [-30.0, 0.0, 1.0]])
    ours = term("dkd", temperature=1.0)
    values = ours.per_row(student, teacher, torch.tensor([0, 0]))
    values.sum().backward()  # type: ignore[no-untyped-call]
    exact = ours.per_row(student.detach().double(), teacher.double(), torch.tensor([0, 0]))
    assert torch.allclose(values.double(), exact, rtol=1e-5)
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()


def test_a_row_without_a_label_is_split_at_its_teachers_favourite_class() -> None:
    student, teacher, labels = said()
    unknown = term("dkd").per_row(student, teacher, torch.full_like(labels, -1))
    favourite = term("dkd").per_row(student, teacher, teacher.argmax(-1))
    assert torch.equal(unknown, favourite)


def test_dist_does_not_mind_the_size_of_differences_between_probabilities() -> None:
    """Pearson's r of rows is 1 where the student's probabilities are the teacher's, flattened."""
    _, teacher, labels = said()
    flat = (0.25 * teacher.softmax(-1) + 0.75 / 6).log()
    between = term("dist", within_weight=0.0).per_row(flat, teacher, labels)
    within = term("dist", between_weight=0.0).per_row(flat, teacher, labels)
    assert between.max() < 1e-9
    assert within.max() < 1e-9
    assert term("soft_targets").per_row(flat, teacher, labels).min() > 0.01


def test_standardised_logits_do_not_mind_size_and_offset() -> None:
    _, teacher, labels = said()
    values = term("standardised_logits").per_row(0.1 * teacher + 3.0, teacher, labels)
    assert values.max() < 1e-9


def test_several_labels_are_a_yes_or_no_each() -> None:
    student, teacher = torch.tensor([[0.5, -1.0]]), torch.tensor([[2.0, 1.0]])
    labels = torch.tensor([[1.0, 0.0]])

    def binary(p: float, q: float) -> float:
        return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))

    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    soft = term("soft_targets", "multi_label", temperature=2.0).per_row(student, teacher, labels)
    expected = 4 * (binary(sigmoid(1.0), sigmoid(0.25)) + binary(sigmoid(0.5), sigmoid(-0.5))) / 2
    assert float(soft) == pytest.approx(expected, rel=1e-6)
    hard = term("hard_labels", "multi_label").per_row(student, None, labels)
    expected = -(math.log(sigmoid(0.5)) + math.log(1 - sigmoid(-1.0))) / 2
    assert float(hard) == pytest.approx(expected, rel=1e-6)
    apart = term("tvd", "multi_label").per_row(student, teacher, labels)
    expected = (sigmoid(2.0) - sigmoid(0.5) + sigmoid(1.0) - sigmoid(-1.0)) / 2
    assert float(apart) == pytest.approx(expected, rel=1e-6)


def test_numbers_are_compared_by_their_squared_difference() -> None:
    student, teacher = torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0], [2.5]])
    labels = torch.tensor([[0.0], [MANY]])
    assert term("hard_labels", "regression").per_row(student, None, labels).tolist() == [1.0, 0.0]
    mse = term("logit_mse", "regression").per_row(student, teacher, labels)
    assert mse.tolist() == [4.0, 0.25]


def test_a_row_that_lacks_one_of_its_labels_is_left_out() -> None:
    hard = term("hard_labels", "multi_label")
    labels = torch.tensor([[1.0, MANY], [1.0, 0.0]])
    values = hard.per_row(torch.zeros(2, 2), None, labels)
    assert hard.speaks(labels).tolist() == [False, True]
    assert values[0] == 0.0
    assert values[1] > 0.0


@pytest.mark.parametrize("problem", ["multi_label", "regression"])
def test_smoothing_is_refused_where_there_is_no_single_label(problem: str) -> None:
    with pytest.raises(ConfigError) as raised:
        LOSSES["hard_labels"](HardOptions(label_smoothing=0.1), problem)  # type: ignore[arg-type]
    [fault] = raised.value.faults
    assert fault.field == "hard_labels.label_smoothing"
