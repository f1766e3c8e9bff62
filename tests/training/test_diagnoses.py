"""What curves say in words: each fault planted in series of its own, and none in healthy ones."""

import math
import random
from typing import Any

import pytest

from training.services import diagnoses
from training.services.diagnosis import Diagnosis
from training.services.trends import Seen

STEPS = 600


def noisy(values: list[float], share: float = 0.05, seed: int = 1) -> list[float]:
    chance = random.Random(seed)
    return [one * (1 + chance.gauss(0, share)) for one in values]


def series(values: list[float], every: int = 1) -> dict[str, list[Any]]:
    return {"steps": [every * (place + 1) for place in range(len(values))], "values": values}


def falling(
    to: float = 0.4, *, first: float = 2.0, pace: float = 60, many: int = STEPS
) -> list[float]:
    return [to + (first - to) * math.exp(-step / pace) for step in range(many)]


def held_out(train: list[float], above: float = 1.05) -> list[float]:
    return [one * above for one in train[STEPS // 30 - 1 :: STEPS // 30]]


def cosine(peak: float = 0.005) -> list[float]:
    return [peak * (1 + math.cos(math.pi * step / STEPS)) / 2 for step in range(STEPS)]


def seen(train: list[float] | None = None, val: list[float] | None = None, **more: Any) -> Seen:
    train = noisy(falling()) if train is None else train
    val = held_out(falling()) if val is None else val
    found = {
        "train/loss": series(train),
        "train/learning_rate": series(cosine()),
        "val/loss": series(val, STEPS // 30),
        **more.pop("series", {}),
    }
    fields: dict[str, Any] = {"weights": {}, "ends": {}, "learning_rate": 0.005, **more}
    return Seen(series=found, **fields)


def codes(what: Seen) -> list[str]:
    return [one.code for one in diagnoses.of(what)]


def only(what: Seen) -> Diagnosis:
    [found] = diagnoses.of(what)
    assert found.title
    assert found.said.endswith(".")
    assert found.do.endswith(".")
    return found


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.15])
@pytest.mark.parametrize("pace", [60, 120])
def test_nothing_stands_out_in_a_run_that_learns_and_settles(noise: float, pace: int) -> None:
    for seed in range(4):
        curve = falling(pace=pace)
        val = noisy(held_out(curve), noise / 5, seed)
        found = diagnoses.of(seen(noisy(curve, noise, seed), val))
        assert [one.code for one in found if one.severity == "problem"] == []


def test_a_run_that_settles_late_has_no_diagnosis_at_all() -> None:
    curve = [0.4 + 1.6 * (1 - step / STEPS) ** 2.5 for step in range(STEPS)]
    assert codes(seen(noisy(curve), held_out(curve))) == []


def test_held_out_loss_that_rises_while_training_loss_falls_is_overfitting() -> None:
    train = falling(0.02, pace=120)
    val = [one + (0.9 * max(0, place - 9) / 20) for place, one in enumerate(held_out(falling()))]
    found = only(seen(noisy(train), noisy(val, 0.01)))
    assert found.code == "overfitting"
    assert 120 <= (found.step or 0) <= 280
    assert "held-out rows has risen" in found.said


def test_a_rise_of_both_is_not_overfitting() -> None:
    train = [0.5 + 0.0005 * step for step in range(STEPS)]
    assert "overfitting" not in codes(seen(train, held_out(train)))


def test_a_loss_that_still_falls_at_the_end_wants_more_steps() -> None:
    curve = [2.0 - 1.5 * step / STEPS for step in range(STEPS)]
    found = only(seen(noisy(curve), noisy(held_out(curve), 0.005)))
    assert found.code == "underfitting"
    assert "Train two to three times as many epochs" in found.do


def test_a_second_half_without_progress_is_told_as_a_hint() -> None:
    curve = falling(pace=25)
    found = only(seen(noisy(curve), held_out(curve)))
    assert (found.code, found.severity) == ("plateau", "hint")


def test_a_loss_that_never_moves_has_learned_nothing() -> None:
    curve = [2.3] * STEPS
    assert codes(seen(noisy(curve, 0.01), held_out(curve, 1.0))) == ["not_learning"]


def test_a_loss_that_is_no_number_has_diverged_at_that_step() -> None:
    curve: list[Any] = [*falling()[:300], "NaN"]
    found = next(one for one in diagnoses.of(seen(curve)) if one.code == "diverged")
    assert found.step == 301
    assert "0.002 instead of 0.005" in found.do


def test_a_loss_that_leaves_its_best_for_good_has_diverged() -> None:
    curve = falling()[:300] + [0.4 + 0.02 * step for step in range(300)]
    assert "diverged" in codes(seen(noisy(curve), held_out(curve)))


def test_jumps_are_counted_and_the_largest_is_told() -> None:
    curve = noisy(falling())
    for step in (200, 300, 400, 500):
        curve[step] *= 6
    curve[450] = 5.0
    found = next(one for one in diagnoses.of(seen(curve)) if one.code == "spikes")
    assert found.step == 451
    assert found.said.startswith("In 5 steps")
    assert found.severity == "problem"


def test_jumps_of_a_loss_that_is_next_to_nothing_are_none() -> None:
    curve = falling(0.0, pace=60)
    for step in (300, 350, 400):
        curve[step] *= 8
    assert "spikes" not in codes(seen(curve))


def test_a_loss_that_climbs_at_first_had_too_high_a_rate() -> None:
    climb = [2.0 + 3.0 * math.sin(math.pi * step / 200) for step in range(200)]
    curve = climb + falling()[: STEPS - 200]
    found = only(seen(curve, held_out(curve[100:] + curve[-100:])))
    assert found.code == "rate_too_high"
    assert "0.002 instead of 0.005" in found.do


def test_held_out_loss_that_swings_while_the_rate_is_high_tells_the_rate() -> None:
    val = [
        one * (1.6 if place % 2 and place < 20 else 1.0)
        for place, one in enumerate(held_out(falling(pace=200)))
    ]
    assert "rate_too_high" in codes(seen(noisy(falling(pace=200)), val))


def terms(late: float, **more: Any) -> Seen:
    shares = {
        "train/hard_labels_share": series([late] * 8, 60),
        "train/soft_targets_share": series([1 - late] * 8, 60),
    }
    weights = {"soft_targets": 0.9, "hard_labels": 0.1}
    curve = [0.4 + 1.6 * (1 - step / STEPS) ** 2.5 for step in range(STEPS)]
    return seen(curve, held_out(curve), series=shares, weights=weights, ends=weights, **more)


def test_a_term_without_a_share_of_the_gradient_is_dead_and_its_weight_is_proposed() -> None:
    found = only(terms(0.004))
    assert found.code == "dead_term"
    assert found.title == "Hard labels hardly counts"
    assert "0.4 % of the gradient, with a weight of 0.1" in found.said
    assert "its weight would be about 2.5" in found.do


def test_a_term_beside_which_others_count_for_little_drowns_them() -> None:
    assert only(terms(0.015)).code == "drowning"
    assert codes(terms(0.1)) == []


def test_a_term_that_never_changes_is_told() -> None:
    constant = {"train/attention_maps": series([0.0] * STEPS)}
    weights = {"soft_targets": 0.9, "attention_maps": 1.0}
    curve = [0.4 + 1.6 * (1 - step / STEPS) ** 2.5 for step in range(STEPS)]
    found = only(seen(curve, held_out(curve), series=constant, weights=weights, ends=weights))
    assert "Its value was 0 at every step" in found.said


def test_a_term_whose_weight_fades_away_is_not_dead() -> None:
    what = terms(0.004)
    gone = {"soft_targets": 0.9, "hard_labels": 0.0}
    faded = Seen(series=what.series, weights=what.weights, ends=gone)
    assert "dead_term" not in codes(faded)


def at(temperature: float, entropy: float, other_mass: float) -> dict[str, float]:
    most = math.log(77)
    return {
        "temperature": temperature, "entropy": entropy, "other_mass": other_mass, "most": most,
    }  # fmt: skip


def test_a_temperature_at_which_all_labels_are_alike_is_too_high() -> None:
    found = only(terms(0.2, softened=[at(20, 4.3, 0.98)], proposed=4.0))
    assert found.code == "temperature_too_high"
    assert "At T = 20 the teacher's answers have 4.30 nats of entropy, of 4.34" in found.said
    assert found.do.startswith("T = 4 ")


def test_answers_that_are_nearly_one_hot_want_a_higher_temperature() -> None:
    found = only(terms(0.2, softened=[at(1, 0.01, 0.002)], proposed=4.0))
    assert found.code == "temperature_too_low"
    assert "0.20 % to all labels" in found.said
    assert codes(terms(0.2, softened=[at(4, 2.0, 0.4)])) == []


def test_a_student_far_better_than_its_teacher_is_told() -> None:
    measured = {
        "val/accuracy": series([0.5, 0.7, 0.8]), "teacher/val/accuracy": series([0.7]),
    }  # fmt: skip
    curve = [0.4 + 1.6 * (1 - step / STEPS) ** 2.5 for step in range(STEPS)]
    found = only(seen(curve, held_out(curve), series=measured, metric="accuracy"))
    assert found.code == "weak_teacher"
    assert "reached 80.0 %, the teacher's is 70.0 %" in found.said


@pytest.mark.parametrize(("teacher", "codes"), [(0.84, []), (0.93, ["behind_teacher"])])
def test_a_student_that_stays_far_behind_its_teacher_is_told_of(
    teacher: float, codes: list[str]
) -> None:
    measured = {
        "val/accuracy": series([0.5, 0.7, 0.8]), "teacher/val/accuracy": series([teacher]),
    }  # fmt: skip
    curve = [0.4 + 1.6 * (1 - step / STEPS) ** 2.5 for step in range(STEPS)]
    found = diagnoses.of(seen(curve, held_out(curve), series=measured, metric="accuracy"))
    assert [one.code for one in found] == codes


def test_of_nothing_measured_nothing_is_said() -> None:
    assert diagnoses.of(Seen(series={}, weights={}, ends={})) == []
    few = {"train/loss": series([1.0, 0.9]), "val/loss": series([1.0])}
    assert diagnoses.of(Seen(series=few, weights={"a": 1.0, "b": 1.0}, ends={"a": 1.0})) == []
