"""What a run's processes took of the machine, for charts against the time of day."""

from typing import Any

from training.charts import machines
from training.models import MetricSeries, Run
from training.services import metrics
from training.worker.metrics import MACHINE

__all__ = ["MACHINE", "energy", "read"]


def read(*, run: Run, after: int | None = None, max_points: int = 1000) -> dict[str, Any]:
    """`{"series": {name: {"steps", "values"}}, "after"}`, the steps in milliseconds since the
    epoch. With `after`, the cursor of the last answer, only what came since. Four queries."""
    rows = MetricSeries.objects.filter(run=run, name__startswith=MACHINE)
    names = list(rows.values_list("name", flat=True))
    found = metrics.read(run=run, names=names, since_step=after, max_points=max_points)["series"]
    last = max((one["steps"][-1] for one in found.values() if one["steps"]), default=after)
    return {
        "series": {
            name: machines.broken(
                [round(at * 1000) for at in one["times"]], one["values"], _longest(one["times"])
            )
            for name, one in found.items()
        },
        "after": last,
    }


def _longest(times: list[float]) -> int:
    """Milliseconds between two samples of one attempt, at most: of thinned points more."""
    seconds = (times[-1] - times[0]) / len(times) if times else 0.0
    return round(1000 * max(45.0, 4 * seconds))


def energy(run: Run) -> dict[str, Any] | None:
    """What it has used: `{"wh", "training_wh", "source"}`; `training_wh` is what the engine counted
    of its steps alone. None while nothing is known."""
    used = run.metrics.get("system/energy_wh")
    if not isinstance(used, int | float):
        return None
    return {
        "wh": used,
        "training_wh": run.summary.get("training_energy_wh"),
        "source": run.summary.get("energy_source"),
    }
