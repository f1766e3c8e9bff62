"""What a job took, by what it was for: asking teachers, training, evaluating.

In seconds, watt hours (energy.py says how they are known) and, where an hour of the machine has a
price, in money.
"""

from typing import Any

from training.engine.checkpoint import State
from training.engine.energy import WATT_HOUR, Meter
from training.engine.job_config import Machine
from training.engine.progress import Clock

JSON = dict[str, Any]


class Asking:
    """From when it was made, teachers are asked."""

    def __init__(self, clock: Clock, meter: Meter) -> None:
        self.clock, self.meter = clock, meter
        self._began, self._used = clock.seconds, meter.joules()

    def took(self) -> tuple[float, float]:
        """Seconds and joules until now."""
        return self.clock.seconds - self._began, self.meter.joules() - self._used


def told(state: State, clock: Clock, meter: Meter, machine: Machine) -> JSON:
    """`{"asking", "training", "evaluating": {"seconds", "energy_wh", "cost"}}`, of all attempts.
    The state is that of the last step: what came after it is evaluating."""
    seconds = {
        "asking": state.asked_seconds,
        "training": state.seconds - state.asked_seconds,
        "evaluating": clock.seconds - state.seconds,
    }
    joules = {
        "asking": state.asked_joules,
        "training": state.joules - state.asked_joules,
        "evaluating": meter.joules() - state.joules,
    }
    return {
        name: {
            "seconds": round(max(0.0, took), 3),
            "energy_wh": round(max(0.0, joules[name]) / WATT_HOUR, 6),
            "cost": _cost(took, machine.price_per_hour),
        }
        for name, took in seconds.items()
    }


def _cost(seconds: float, price: float | None) -> float | None:
    return None if price is None else float(f"{max(0.0, seconds) * price / 3600.0:.4g}")
