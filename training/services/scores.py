"""Which of several results is best. It is chosen on validation rows: test rows are for telling how
good the chosen one is, and the best of many test scores would flatter it."""

from collections.abc import Iterable
from typing import Any

from projects.models import ModelVersion
from training import catalog
from training.engine.export_config import FALLING
from training.models import Run


def headline(run: Run) -> str:
    """The metric that a run is judged by first: `accuracy`, `rmse`, `perplexity`, …"""
    if run.is_tracked:
        return tracked_headline(run.metrics)
    return str(run.summary.get("headline") or catalog.metrics_of(run.task, run.problem)[0])


def tracked_headline(metrics: Iterable[str]) -> str:
    """Of a run whose task nobody may have told: accuracy where that is measured, else the loss."""
    names = {name.rsplit("/", 1)[-1] for name in metrics}
    return "accuracy" if "accuracy" in names else "loss"


def of_validation(run: Run, name: str) -> float | None:
    """The best on validation where that is what was selected by, else the latest."""
    if run.summary.get("selection_metric") == f"val/{name}":
        return number(run.summary.get("best_value"))
    return number(run.metrics.get(f"val/{name}"))


def best(runs: Iterable[Run]) -> Run | None:
    """Of runs of one dataset, the newest first, the one that scored best on validation rows; those
    without a score come last."""

    def rank(run: Run) -> tuple[bool, float]:
        name = headline(run)
        value = of_validation(run, name)
        if value is None:
            return False, 0.0
        return True, -value if name in FALLING else value

    return max(runs, key=rank, default=None)


def best_version(versions: Iterable[ModelVersion], name: str) -> ModelVersion | None:
    """The same of a model's versions; of those whose validation score nobody knows, the newest that
    has any."""
    known = [(value, one) for one in versions if (value := _of_version(one, name)) is not None]
    if known:
        wanted = (min if name in FALLING else max)(value for value, _ in known)
        return next(one for value, one in known if value == wanted)
    return next((one for one in versions if one.metrics), None)


def _of_version(version: ModelVersion, name: str) -> float | None:
    run: Run | None = getattr(version, "produced_by", None)
    found = of_validation(run, name) if run is not None else None
    return number(version.metrics.get(f"val/{name}")) if found is None else found


def number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and value == value else None
