"""How long the metric store takes. Printed, never asserted: `pytest -m bench tests/bench -s`."""

import time
from collections.abc import Callable

import pytest
from django.db import transaction
from django.test import Client

from projects.models import Project, User
from tests import make
from training.models import Run
from training.services import metrics
from training.services.metrics import Measured

pytestmark = [pytest.mark.bench, pytest.mark.django_db]


def best(work: Callable[[], object], times: int = 7) -> float:
    """Milliseconds of CPU of the cheapest of several goes: what other work beside it disturbs
    least."""
    spent = []
    for _ in range(times):
        began = time.process_time()
        work()
        spent.append(time.process_time() - began)
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


@pytest.mark.parametrize("points", [100_000, 1_000_000])
def test_a_chart_as_a_page_asks_for_it(alice: User, project: Project, points: int) -> None:
    run, client = filled(project, points), Client()
    client.force_login(alice)
    address = f"/p/{project.slug}/runs/{run.number}/live/"
    whole = best(lambda: client.get(address))
    began = time.perf_counter()
    assert client.get(address).status_code == 200
    wall = (time.perf_counter() - began) * 1000
    print(
        f"\n{points:>9,} points: the page's answer {whole:.1f} ms of CPU, {wall:.0f} ms by the wall"
    )


def test_five_thousand_series_of_a_run(project: Project) -> None:
    run = make.run(project)
    names = [f"layer {place}/norm" for place in range(5000)]
    for step in range(0, 100, 20):
        steps = range(step, step + 20)
        metrics.append(run, [Measured(name, at, 0.5, 0.0) for name in names for at in steps])
    whole = best(lambda: metrics.read(run=run), times=3)
    few = best(lambda: metrics.read(run=run, names=names[:10]), times=3)
    step = 100

    def write() -> None:
        nonlocal step
        metrics.append(run, [Measured(name, step, 0.5, 0.0) for name in names])
        step += 1

    one_each = best(write, times=3)
    cut = best(lambda: metrics.truncate(run, after=step - 2), times=1)
    print(
        f"\n5 000 series of 100 points: all read {whole:.0f} ms, ten of them {few:.1f} ms, a point "
        f"more of each written {one_each:.0f} ms, and cut off again {cut:.0f} ms"
    )


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


def test_one_point_and_a_thousand(project: Project) -> None:
    run, step = filled(project, 100_500), 100_500

    def write(count: int) -> None:
        nonlocal step
        measured = [Measured("train/loss", step + place, 0.5, 0.0) for place in range(count)]
        metrics.append(run, measured)
        step += count

    one, thousand = best(lambda: write(1), times=20), best(lambda: write(1000), times=20)
    print(f"\nwritten into a long series: one point {one:.1f} ms, a thousand {thousand:.1f} ms")


def test_a_run_of_a_million_points_is_deleted(project: Project) -> None:
    run = filled(project, 1_000_000)
    longest = 0.0
    began = time.perf_counter()
    with transaction.atomic():
        metrics.detach(Run.objects.filter(pk=run.pk))
        run.delete()
    at_once = time.perf_counter() - began
    while True:
        began = time.perf_counter()
        is_done = metrics.sweep()
        longest = max(longest, time.perf_counter() - began)
        if is_done:
            break
    print(f"\ndeleted: {at_once * 1000:.0f} ms, then {longest:.1f} s in pieces of 200 rows")
