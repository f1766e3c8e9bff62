"""How fast a network answers on this machine: real rows, one after the other, nothing else warm."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from training.engine.data import Indices, Inputs
from training.engine.energy import WATT_HOUR, Meter
from training.engine.errors import Stopped
from training.engine.job_config import Machine
from training.engine.networks import Network, Place

SECONDS = 0.5  # spent on each batch size
MOST = 60  # repetitions
BATCHES = (1, 32)
BUSY = 0.25  # seconds in which energy is counted: RAPL's counter moves every millisecond


def measure(
    network: Network,
    inputs: Inputs,
    rows: Indices,
    place: Place,
    asked_to_stop: Callable[[], bool] = lambda: False,
    machine: Machine | None = None,
) -> dict[str, Any]:
    """`latency_ms` by batch size, median and 95th percentile in milliseconds, and
    `samples_per_second` at batch 32. Making the batch counts as the network's work; tokenising and
    decoding do not. At the same batch size: `energy_per_million_wh`, watt hours of a million rows,
    with `energy_source`; and `cost_per_million`, where an hour of this machine has a price."""
    machine = machine or Machine()
    network.module.eval()
    timed: dict[str, dict[str, float]] = {}
    for size in BATCHES:
        times: list[float] = []
        meter = Meter(place.device, machine.watts_per_core)
        until = time.perf_counter() + SECONDS
        with torch.inference_mode():
            for turn in range(MOST + 3):
                if asked_to_stop():
                    raise Stopped
                some = rows[(np.arange(size) + turn * size) % len(rows)]
                began = time.perf_counter()
                place.logits(network, inputs.batch(some))
                if place.device.type == "cuda":
                    torch.cuda.synchronize()
                if turn == 2:
                    meter = Meter(place.device, machine.watts_per_core)
                if turn >= 3:  # the first answers warm caches up
                    times.append((time.perf_counter() - began) * 1000.0)
                if times and time.perf_counter() > until:
                    break
        timed[str(size)] = {
            "median": round(float(np.median(times)), 4),
            "p95": round(float(np.percentile(times, 95)), 4),
        }
        joules = meter.joules() / (len(times) * size)  # of a row, at the last batch size
    widest = BATCHES[-1]
    speed = round(widest / (timed[str(widest)]["median"] / 1000.0), 1)
    price = machine.price_per_hour
    return {
        "latency_ms": timed,
        "samples_per_second": speed,
        "energy_per_million_wh": _brief(joules * 1e6 / WATT_HOUR),
        "energy_source": meter.source,
        "cost_per_million": None if price is None else _brief(price / 3600.0 / speed * 1e6),
    }


def energy_of(answer: Callable[[], None], rows: int, machine: Machine) -> tuple[float, str]:
    """(watt hours of a million rows, how they are known) of an answer to `rows` rows, given again
    and again on the CPU while nothing else is measured."""
    answer()
    meter, many = Meter(torch.device("cpu"), machine.watts_per_core), 0
    until = time.perf_counter() + BUSY
    while not many or time.perf_counter() < until:
        answer()
        many += 1
    return _brief(meter.joules() / (many * rows) * 1e6 / WATT_HOUR), meter.source


def _brief(value: float) -> float:
    """Four digits: more would claim too much."""
    return float(f"{value:.4g}")
