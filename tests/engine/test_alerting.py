"""An alarm that rings when there is cause, once, and stays silent through a month without."""

import json

import numpy as np
import pytest
from scipy import stats

from training.engine import options
from training.engine.alerting import (
    SHARES,
    STREAMS,
    Alert,
    Digest,
    Reading,
    Rules,
    advance,
    mute,
    step,
)
from training.engine.corrections import holm

CLEAN, BAD = Reading(0.4, 0.001), Reading(1e-6, 0.05)
WORSE, WORST = Reading(1e-9, 0.12), Reading(1e-12, 0.4)
RULES = Rules()

COLUMNS, WINDOWS = 20, 24 * 30
REFERENCE, ROWS, BINS = 10_000, 1_000, 10


def states(readings: list[Reading | None], alert: Alert | None = None, start: int = 0) -> list[str]:
    alert, said = alert or Alert(), []
    for at, reading in enumerate(readings, start):
        alert = step(alert, reading, float(at), RULES)
        said.append(alert.state)
    return said


def test_one_window_beyond_is_pending_two_of_three_ring_and_three_clean_ones_end_it() -> None:
    assert states([CLEAN, BAD, CLEAN, BAD, BAD, CLEAN, BAD, CLEAN, CLEAN, CLEAN, CLEAN]) == [
        *("ok", "pending", "pending", "firing", "firing", "recovering", "firing"),
        *("recovering", "recovering", "ok", "ok"),
    ]
    assert states([BAD, CLEAN, CLEAN, BAD]) == ["pending", "pending", "pending", "pending"]
    assert states([BAD, CLEAN, CLEAN, CLEAN]) == ["pending", "pending", "pending", "ok"]


@pytest.mark.parametrize("reading", [Reading(1e-9, 0.01), Reading(0.01, 9.0)])
def test_neither_a_p_nor_an_effect_alone_is_cause(reading: Reading) -> None:
    assert states([reading] * 3) == ["ok"] * 3


@pytest.mark.parametrize(
    "nothing", [None, Reading(None, None), Reading(0.0, None), Reading(float("nan"), 1.0)]
)
def test_windows_that_say_nothing_neither_open_nor_close(nothing: Reading | None) -> None:
    assert states([nothing, BAD, nothing, BAD]) == ["no_data", "pending", "no_data", "firing"]
    said = states([BAD, BAD, CLEAN, CLEAN, nothing, nothing, CLEAN])
    assert said == [
        *("pending", "firing", "recovering", "recovering", "no_data", "no_data", "ok"),
    ]


def test_an_alert_tells_since_when_and_keeps_its_worst_severity() -> None:
    alert = Alert()
    for at, reading in enumerate([BAD, CLEAN, WORSE, BAD, CLEAN]):
        alert = step(alert, reading, float(at), RULES)
    assert (alert.since, alert.opened, alert.severity) == (0.0, 2.0, "serious")
    alert = step(alert, WORST, 5.0, RULES)
    assert alert.severity == "critical"


def test_a_muted_alert_counts_on_and_rings_after_only_if_there_is_still_cause() -> None:
    muted = mute(Alert(), 2.0)
    assert states([BAD, BAD, BAD, BAD], muted) == ["muted", "muted", "muted", "firing"]
    assert states([BAD, BAD, BAD, CLEAN], muted) == ["muted", "muted", "muted", "pending"]
    firing = step(step(Alert(), BAD, 0.0, RULES), BAD, 1.0, RULES)
    assert states([CLEAN, CLEAN, CLEAN, CLEAN], mute(firing, 4.0), 2) == [*["muted"] * 3, "ok"]


def test_windows_come_in_their_order() -> None:
    with pytest.raises(ValueError, match="comes after"):
        step(step(Alert(), BAD, 5.0, RULES), BAD, 5.0, RULES)


def test_a_state_kept_as_dict_goes_on_as_if_it_had_never_stopped() -> None:
    chance = np.random.default_rng(0)
    readings = [[CLEAN, BAD, WORSE, None][kind] for kind in chance.integers(0, 4, 300)]
    whole = kept = Alert()
    for at, reading in enumerate(readings):
        whole = step(whole, reading, float(at), RULES)
        kept = Alert.from_dict(json.loads(json.dumps(kept.as_dict(), allow_nan=False)))
        kept = step(kept, reading, float(at), RULES)
        assert kept == whole


def test_a_window_is_one_message_however_many_signals_it_moves() -> None:
    alerts: dict[str, Alert] = {}
    told: list[Digest] = []
    for at in range(8):
        column = BAD if at < 3 else CLEAN
        other = CLEAN if at < 1 else WORSE if at == 3 else BAD if at < 5 else CLEAN
        readings = {"length": column, "words": other, "silent": BAD}
        if at == 0:
            alerts["silent"] = mute(Alert(), 100.0)
        alerts, digest = advance(alerts, readings, float(at), {})
        told.append(digest)
    assert [at for at, one in enumerate(told) if one.worth_saying] == [1, 2, 3, 5, 7]
    assert (told[1].opened, told[1].began) == (("length",), True)
    assert (told[2].opened, told[2].began) == (("words",), False)
    assert (told[3].worsened, told[3].severity) == (("words",), "serious")
    assert (told[5].closed, told[5].over) == (("length",), False)
    assert (told[7].closed, told[7].over, told[7].severity) == (("words",), True, None)


def month(seed: int, shifted_from: int | None = None) -> list[tuple[int, str]]:
    """(window, column) of every alert that opens in a month of hourly windows of twenty columns
    of normal numbers, by PSI in tenths of the reference. The first column moves by a quarter of a
    standard deviation where it is told from when."""
    chance = np.random.default_rng(seed)
    reference = chance.multinomial(REFERENCE, np.full(BINS, 1 / BINS), size=COLUMNS)
    live = chance.multinomial(ROWS, np.full(BINS, 1 / BINS), size=(WINDOWS, COLUMNS))
    if shifted_from is not None:
        edges = stats.norm.ppf(np.linspace(0, 1, BINS + 1))
        moved = np.diff(stats.norm.cdf(edges - 0.25))
        live[shifted_from:, 0] = chance.multinomial(ROWS, moved, size=WINDOWS - shifted_from)
    there, here = reference / REFERENCE, np.maximum(live, 0.5) / ROWS
    psi = ((here - there) * np.log(here / there)).sum(-1)
    by_chance = 1 / REFERENCE + 1 / ROWS
    p = stats.chi2.sf(psi / by_chance, BINS - 1)
    effect = np.maximum(0.0, psi - (BINS - 1) * by_chance)
    names = [f"column {place}" for place in range(COLUMNS)]
    alerts: dict[str, Alert] = {}
    opened = []
    for window in range(WINDOWS):
        sizes = zip(names, holm(p[window].tolist()), effect[window].tolist(), strict=True)
        readings = {name: Reading(one, size) for name, one, size in sizes}
        alerts, digest = advance(alerts, readings, float(window), {})
        opened += [(window, name) for name in digest.opened]
    return opened


def test_a_month_without_drift_rings_less_than_once_on_average() -> None:
    found = [len(month(seed)) for seed in range(5)]
    assert np.mean(found) < 1, found


def test_a_shift_of_a_quarter_of_a_deviation_rings_within_two_windows_and_once() -> None:
    for seed in range(5):
        opened = month(seed, shifted_from=500)
        assert [name for _, name in opened] == ["column 0"], opened
        assert opened[0][0] in (500, 501)


def test_a_stream_rings_with_the_window_of_its_change_and_shares_have_their_effects() -> None:
    alert, said = Alert(), []
    for at, rang in enumerate([0, 0, 1, 0, 0, 0]):
        alert = step(alert, Reading(0.0 if rang else 1.0, 0.06), float(at), STREAMS)
        said.append((alert.state, alert.severity))
    assert said == [
        *[("ok", None)] * 2,
        *(("firing", "serious"), ("recovering", "serious"), ("recovering", "serious")),
        ("ok", None),
    ]
    fallen = step(step(Alert(), BAD, 0.0, SHARES), BAD, 1.0, SHARES)
    assert fallen.severity == "serious"


def test_rules_are_options_like_any_other() -> None:
    assert options.build(Rules, {"opens": 1}) == Rules(opens=1)
