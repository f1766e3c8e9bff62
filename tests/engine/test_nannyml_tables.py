"""Distances of NannyML's car-loan example are those that NannyML published, and computes."""

import json
from typing import Any

import numpy as np
import pytest

from tests.engine.oracles import record_nannyml
from training.engine import options, sketches
from training.engine.detectors import DETECTORS

RECORDED: dict[str, Any] = json.loads(record_nannyml.FILE.read_text(encoding="utf-8"))


def build(key: str, **values: Any) -> Any:
    kind = DETECTORS[key]
    return kind(options.build(kind.Options, values))


def windows(name: str) -> list[Any]:
    """Rows of the reference and of each chunk, as many of each level as there were."""
    counts = RECORDED[name]["counts"]
    levels = RECORDED[name].get("levels") or [f"cell {one}" for one in range(len(counts[0]))]
    return [np.repeat(levels, one) for one in counts]


def sketched(kind: str, name: str) -> list[Any]:
    reference, *lives = windows(name)
    bins = sketches.fit(kind, reference)
    return [bins.sketch(one) for one in (reference, *lives)]


def test_the_distance_is_the_one_that_was_published() -> None:
    reference, *lives = sketched("categories", record_nannyml.PUBLISHED)
    detector = build("jensen_shannon", bins=100)
    found = [detector.score(reference, one).value for one in lives]
    assert found == pytest.approx(RECORDED["debt_to_income_ratio"]["jensen_shannon"], abs=5e-7)


@pytest.mark.parametrize("name", record_nannyml.NAMES)
def test_names_are_as_far_from_each_other_as_there(name: str) -> None:
    reference, *lives = sketched("categories", name)
    scores = [build("jensen_shannon").score(reference, one).value for one in lives]
    assert scores == pytest.approx(RECORDED[name]["jensen_shannon"], rel=1e-9)
    tested = [build("chi_square").score(reference, one).value for one in lives]
    assert tested == pytest.approx(RECORDED[name]["chi2"], rel=1e-9)


def test_the_largest_difference_of_two_distributions_is_the_same() -> None:
    said = RECORDED["loan_length"]["kolmogorov_smirnov"]
    for form in ("rows", "sketches"):
        reference, *lives = (
            windows("loan_length") if form == "rows" else sketched("numbers", "loan_length")
        )
        found = [build("kolmogorov_smirnov").score(reference, one).value for one in lives]
        assert found == pytest.approx(said, abs=1e-9)
