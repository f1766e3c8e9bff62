"""How long the metric store takes. Printed, never asserted: `pytest -m bench tests/bench -s`."""

import time
from collections.abc import Callable

import pytest

from projects.models import Project
from tests import make
from training.models import Run
from training.services import metrics
from training.services.metrics import Measured

pytestmark = [pytest.mark.bench, pytest.mark.django_db]


def best(work: Callable[[], object], times: int = 7) -> float:
    """Milliseconds of the fastest of several goes."""
    spent = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        spent.append(time.perf_counter() - began)
    return min(spent) * 1000


def filled(project: Project, points: int) -> Run:
    run = make.run(project)
    for begin in range(0, points, 50_000):
        steps = range(begin, min(begin + 50_000, points))
        metrics.append(run, [Measured("train/loss", step, 1 / (step + 1), step) for step in steps])
    return run


@pytest.mark.parametrize("points", [100_000, 1_000_000])
def test_one_series_read_and_thinned(project: Project, points: int) -> None:
    run = filled(project, points)
    whole = best(lambda: metrics.read(run=run))
    new = best(lambda: metrics.read(run=run, since_step=points - 10))
    print(f"\n{points:>9,} points: read and thinned {whole:.1f} ms, the newest ten {new:.1f} ms")


def test_points_written_in_batches_of_a_second(project: Project) -> None:
    run, step = make.run(project), 0

    def second() -> None:
        nonlocal step
        names = [f"train/{name}" for name in range(8)]
        metrics.append(
            run,
            [Measured(name, step + offset, 0.5, 0.0) for name in names for offset in range(250)],
        )
        step += 250

    spent = best(second, times=20)
    print(f"\n2 000 points of 8 series in {spent:.1f} ms: {2000 / spent * 1000:,.0f} points/s")
