"""A month of hourly windows of twenty columns through what a monitor does by default: scores, their
correction, its rules of alerts. Windows are drawn as counts in the reference's cells."""

from dataclasses import replace
from typing import Any

import numpy as np
from scipy import special

from training.engine import alerting, sketches
from training.engine.alerting import Alert
from training.engine.sketches import NumberSketch
from training.engine.watching import scoring
from training.engine.watching.baseline import Baseline
from training.engine.watching.windows import Sums
from training.models import Monitor
from training.services import monitor_defaults
from training.worker import alert_rules

COLUMNS, HOURS, REFERENCE = 20, 24 * 30, 10_000
SHIFT = 0.25  # deviations
MONITOR = Monitor(rules={}, detectors=monitor_defaults.detectors(has_labels=True))
ASKED = scoring.Asked(detectors=MONITOR.detectors)


class World:
    """Columns of one law each, of which the first may move."""

    def __init__(self, seed: int) -> None:
        self.chance = np.random.default_rng(seed)
        values = self.chance.normal(size=(COLUMNS, REFERENCE))
        bins = {f"input.c{at}": sketches.fit("numbers", one) for at, one in enumerate(values)}
        self.there: dict[str, NumberSketch] = {
            name: one.sketch(column)
            for (name, one), column in zip(bins.items(), values, strict=True)
        }
        bare = Baseline("tabular-classification", (), "columns", {}, bins)
        sums = Sums(bare.key, REFERENCE, REFERENCE, sketches=self.there)
        self.baseline = replace(bare, sums=sums)
        self.edges = {name: np.concatenate([[-np.inf], one.edges, [np.inf]])
                      for name, one in bins.items()}  # fmt: skip

    def window(self, rows: int, shift: float = 0.0) -> Sums:
        found = {}
        for at, (name, there) in enumerate(self.there.items()):
            moved = shift if at == 0 else 0.0
            shares = np.diff(special.ndtr(self.edges[name] - moved))
            counts = self.chance.multinomial(rows, shares / shares.sum())
            found[name] = replace(there, counts=counts)
        return Sums(self.baseline.key, rows, rows, sketches=found)

    def rang(self, windows: list[Sums]) -> list[tuple[int, tuple[str, ...]]]:
        """(window, signals) of every digest that opened something."""
        alerts: dict[str, Alert] = {}
        found = []
        for number, sums in enumerate(windows):
            scores = scoring.score(sums, self.baseline, ASKED)
            readings: dict[str, Any] = {}
            for name, many in scores.items():
                said = alert_rules.said_of(MONITOR, name, many)
                readings[name] = None if said is None else said.reading
            rules = {name: alert_rules.graded(MONITOR, name) for name in readings}
            alerts, digest = alerting.advance(alerts, readings, float(number), rules)
            if digest.opened:
                found.append((number, digest.opened))
        return found


def test_a_month_without_drift_raises_less_than_one_alert() -> None:
    world = World(0)
    assert len(world.rang([world.window(1000) for _ in range(HOURS)])) < 1


def test_a_shift_of_a_quarter_deviation_is_found_within_two_windows() -> None:
    """Of 1 000 rows; of 500, which is the least that a monitor should have, within three."""
    found = {
        (rows, most): sum(
            world.rang([world.window(rows, SHIFT if at > 1 else 0.0) for at in range(most + 2)])
            != []
            for world in map(World, range(10))
        )
        for rows, most in ((1000, 2), (500, 3), (500, 2))
    }
    assert found[1000, 2] == 10
    assert found[500, 3] >= 8
    assert found[500, 2] >= 5
