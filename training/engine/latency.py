"""How fast a network answers on this machine: real rows, one after the other, nothing else warm."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from training.engine.data import Indices, Inputs
from training.engine.errors import Stopped
from training.engine.networks import Network, Place

SECONDS = 0.5  # spent on each batch size
MOST = 60  # repetitions
BATCHES = (1, 32)


def measure(
    network: Network,
    inputs: Inputs,
    rows: Indices,
    place: Place,
    asked_to_stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """`latency_ms` by batch size, median and 95th percentile in milliseconds, and
    `samples_per_second` at batch 32. Making the batch counts as the network's work; tokenising and
    decoding do not."""
    network.module.eval()
    timed: dict[str, dict[str, float]] = {}
    for size in BATCHES:
        times: list[float] = []
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
                if turn >= 3:  # the first answers warm caches up
                    times.append((time.perf_counter() - began) * 1000.0)
                if times and time.perf_counter() > until:
                    break
        timed[str(size)] = {
            "median": round(float(np.median(times)), 4),
            "p95": round(float(np.percentile(times, 95)), 4),
        }
    widest = BATCHES[-1]
    return {
        "latency_ms": timed,
        "samples_per_second": round(widest / (timed[str(widest)]["median"] / 1000.0), 1),
    }
