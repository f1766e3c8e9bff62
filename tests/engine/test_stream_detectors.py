"""Detectors that follow a stream: what they see, what they keep, and that river sees the same."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.engine.oracles import record_streams
from training.engine import options
from training.engine.detectors import DETECTORS, StreamDetector

STREAMS = record_streams.streams()
RECORDED: list[dict[str, Any]] = json.loads(
    Path(record_streams.__file__).with_name("recorded_streams.json").read_text()
)
KEYS = [one.key for one in DETECTORS if issubclass(one, StreamDetector)]


def build(key: str, **values: Any) -> StreamDetector:
    kind = DETECTORS[key]
    made = kind(options.build(kind.Options, values))
    assert isinstance(made, StreamDetector)
    return made


def changes(detector: StreamDetector, values: Any) -> list[int]:
    return [at for at, value in enumerate(values) if detector.update(float(value))]


@pytest.mark.parametrize("row", RECORDED, ids=lambda row: f"{row['detector']} on {row['stream']}")
def test_it_sees_a_stream_change_where_river_does(row: dict[str, Any]) -> None:
    key, values, _, _ = record_streams.ASKED[row["detector"]]
    assert changes(build(key, **values), STREAMS[row["stream"]]) == row["changes"]


@pytest.mark.parametrize("key", KEYS)
def test_a_state_kept_as_json_goes_on_as_if_it_had_never_stopped(key: str) -> None:
    values = STREAMS["errors 1"][:4000]
    whole = changes(build(key), values)
    parted, found = build(key), []
    for start in range(0, len(values), 97):
        found += [start + at for at in changes(parted, values[start : start + 97])]
        kept = json.dumps(parted.state, allow_nan=False)
        parted = build(key)
        parted.restore(json.loads(kept))
    assert found == whole


@pytest.mark.parametrize("key", KEYS)
def test_what_is_not_finite_or_never_changes_is_let_pass(key: str) -> None:
    detector = build(key)
    before = detector.state
    assert not changes(detector, [float("nan"), float("inf"), -float("inf")])
    assert detector.state == before
    assert not changes(detector, [0.0] * 500)
    assert not changes(build(key), [1.0] * 500)
    json.dumps(detector.state, allow_nan=False)


@pytest.mark.parametrize("key", KEYS)
def test_errors_that_become_five_times_as_many_are_seen(key: str) -> None:
    chance = np.random.default_rng(3)
    values = chance.random(3000) < np.repeat([0.1, 0.5], [2000, 1000])
    assert any(2000 <= at < 2300 for at in changes(build(key), values))


@pytest.mark.parametrize("key", ["adwin", "page_hinkley", "hddm_a"])
def test_errors_that_become_fewer_are_told_only_where_that_is_asked(key: str) -> None:
    values = np.random.default_rng(3).random(4000) < np.repeat([0.5, 0.1], 2000)
    assert not changes(build(key), values)
    for direction in ("down", "both"):
        assert any(2000 <= at < 2300 for at in changes(build(key, direction=direction), values))


@pytest.mark.parametrize("key", KEYS)
def test_numbers_of_any_size_and_steps_between_constants_do_no_harm(key: str) -> None:
    for high in (0.1, 1.0, 1e8, 1e200, -1e200):
        detector = build(key)
        changes(detector, [0.0] * 333 + [high] * 333 + [high / 3] * 333 + [0.0] * 999)
        json.dumps(detector.state, allow_nan=False)
    chance = np.random.default_rng(0)
    for _ in range(30):  # rounding once left ADWIN with less than no variance
        levels = chance.random(6) * 10.0 ** chance.integers(-3, 9)
        changes(build(key), np.repeat(levels, chance.integers(20, 300)))


def test_adwin_keeps_the_mean_since_the_last_change_in_few_numbers() -> None:
    detector = build("adwin")
    assert detector.estimate is None  # type: ignore[attr-defined]
    values = np.random.default_rng(5).random(20_000) < 0.1
    assert not changes(detector, values)
    assert detector.estimate == pytest.approx(values.mean())  # type: ignore[attr-defined]
    assert sum(len(size) for size in detector.state["sizes"]) < 80
