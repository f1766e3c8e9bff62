"""MLflow's protocol as we speak it, beside `mlflow server`, in one run.

    python -m tests.bench.mlflow_server --mlflow /tmp/mlflow/bin/mlflow
    python -m tests.bench.mlflow_server --database postgres --mlflow …

MLflow in an environment of its own: `pip install mlflow psycopg2-binary`. The same requests, word
for word, to two servers that hold the same (trackers.py): 10 000 runs with ten parameters and eight
metrics of five points, and one run with 100 000 points of a metric. One server process each;
requests take turns. Wall clock on a kept connection, and CPU time of the server's processes, those
of PostgreSQL included. Ours asks for a token with every request, MLflow for nothing. Medians; of
the CPU, whose clock ticks coarsely, means.
"""

import argparse
import os
import tempfile
import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.bench import tracking
from tests.bench.trackers import (
    BATCH,
    LONG,
    LONG_ID,
    NOW,
    RUNS,
    SETTINGS,
    STEPS,
    Asked,
    MLflow,
    Peer,
    Server,
    runs,
    value_at,
)


class Spoken(tracking.Ours, Peer):
    """DistillHub, asked in MLflow's words."""

    api = "/mlflow/bench/api/2.0/mlflow"

    def fill(self) -> None:
        self.cli("distillhub.cli", "migrate")
        token = self.cli("tests.bench.mlflow_server", "fill-ours").splitlines()[-1]
        self.headers = {"Authorization": f"Bearer {token}"}

    def requests(self) -> Sequence[Asked]:
        # What MLflow's own page asks, and no client does, is not spoken here.
        found = Peer.requests(self)
        return [asked for asked in found if asked.what != "history, thinned"]

    def log(self, count: int, what: str) -> Asked:
        return Peer.log(self, count, what)


def fill_ours() -> None:
    """Prints a token on its last line."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "distillhub.settings"
    import django

    django.setup()
    from django.db import connection, transaction

    with transaction.atomic():
        project = tracking._project()
        _write_runs(project)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    print(tracking._token(project))


def _write_runs(project: Any) -> None:
    from datetime import UTC, datetime, timedelta

    import numpy as np

    from tests import make
    from training.models import ExperimentRun, MetricChunk, MetricSeries, Run
    from training.models.metric import Points
    from training.worker import metrics

    experiment = make.experiment(project)
    begun = datetime.fromtimestamp(NOW, UTC)
    rows = []
    for made in runs():
        params: dict[str, Any] = {"learning_rate": made.learning_rate}
        params |= {"optimizer": made.optimizer, **dict.fromkeys(SETTINGS[1:], 1)}
        rows.append(
            Run(
                project=project,
                number=made.number,
                name=f"run {made.number}",
                status="finished",
                origin="tracked",
                config={"params": params},
                metrics=dict(made.latest),
                step=STEPS[-1],
                created_by=project.created_by,
                started_at=begun + timedelta(milliseconds=made.number),
                finished_at=begun + timedelta(milliseconds=made.number),
            )
        )
    long = make.tracked(project, number=RUNS + 1, name="long", started_at=begun)
    Run.objects.bulk_create(rows, batch_size=200)
    sides = [
        ExperimentRun(run=run, experiment=experiment, key=uuid.UUID(int=run.number).hex, user="me")
        for run in rows
    ]
    sides.append(ExperimentRun(run=long, experiment=experiment, key=LONG_ID, user="me"))
    ExperimentRun.objects.bulk_create(sides, batch_size=500)
    series = [
        MetricSeries(
            run=run, project=project, name=name, count=len(STEPS), last_step=STEPS[-1],
            last_value=value, last_time=NOW,
        )
        for run in rows
        for name, value in run.metrics.items()
    ]  # fmt: skip
    MetricSeries.objects.bulk_create(series, batch_size=500)
    chunks = []
    for row in series:
        chunk = MetricChunk(series=row, index=0)
        values = np.full(len(STEPS), row.last_value)
        chunk.points = Points(np.array(STEPS), values, np.full(len(STEPS), NOW))
        chunks.append(chunk)
    MetricChunk.objects.bulk_create(chunks, batch_size=500)
    for begin in range(0, LONG, 20_000):
        measured = [
            metrics.Measured("train/loss", step, value_at(step), NOW + step / 1000)
            for step in range(begin, begin + 20_000)
        ]
        long.metrics |= metrics.append(long, measured)
    long.save(update_fields=["metrics"])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", nargs="?", default="measure")
    parser.add_argument("--mlflow", default="")
    parser.add_argument("--database", choices=["sqlite", "postgres"], default="sqlite")
    options = parser.parse_args()
    if options.what == "fill-ours":
        fill_ours()
        return
    kind = options.database if options.database == "postgres" else ""
    with (
        tempfile.TemporaryDirectory() as folder,
        tracking.databases(kind, 2) as addresses,
        ExitStack() as running,
    ):
        stack: list[Server] = [Spoken(Path(folder) / "ours", addresses[0])]
        if options.mlflow:
            stack.append(MLflow(Path(folder) / "mlflow", addresses[1], options.mlflow))
        for one in stack:
            began = time.perf_counter()
            one.fill()
            one.begin()
            running.callback(one.end)
            print(f"{one.name} filled in {time.perf_counter() - began:.0f} s", flush=True)
        load = os.getloadavg()[0]
        print(f"\n{RUNS:,} runs, batches of {BATCH:,}, {options.database}, load {load:.1f}")
        for what, each in tracking.measure(stack):
            figures = "".join(
                f"   {name} {took:7.1f} ms {used:7.1f} CPU" for name, (took, used) in each.items()
            )
            ours = each[stack[0].name]
            ratios = "".join(
                f"   {took / ours[0]:5.1f} x  {used / max(ours[1], 0.1):5.1f} x"
                for name, (took, used) in each.items()
                if name != stack[0].name
            )
            print(f"  {what:20}{figures}{ratios}", flush=True)
        print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
