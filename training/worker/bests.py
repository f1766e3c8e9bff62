"""Whether a run that finished is better than every other of its task on its dataset version."""

from dataclasses import dataclass
from math import isfinite
from typing import Any

from distillhub.templatetags import ui
from training.models import Run, run_announcements

MOST_LOOKED_AT = 20_000  # the newest; a project has fewer


@dataclass(frozen=True, slots=True)
class Best:
    """Of two runs by one metric on validation."""

    metric: str
    value: float
    before: float
    number: int  # of the run that was best until now


def announce(run: Run) -> None:
    """Say that it beat the best, in the transaction in which it finished."""
    found = beaten(run)
    if found is None:
        return
    spelt = ui.measure(found.metric.removeprefix("val/"))
    sentence = (
        f"The best of its task on {run.data.reference}: validation {spelt} "
        f"{ui.metric(found.value, found.metric)}, before {ui.metric(found.before, found.metric)} "
        f"of run {found.number}."
    )
    more = {
        "metric": found.metric,
        "value": found.value,
        "before": found.before,
        "best": found.number,
    }
    run_announcements.announce(run, "run.beat_the_best", sentence, more=more)


def beaten(run: Run) -> Best | None:
    """What the best was until now. None where the run is not better, is the first, or is no run of
    its own: a control, a trial."""
    metric, value = _judged(run.summary)
    if run.control_of_id is not None or run.dataset_version_id is None or value is None:
        return None
    others = (
        Run.objects.launched()
        .filter(
            project_id=run.project_id,
            task=run.task,
            dataset_version=run.dataset_version_id,
            status=Run.Status.FINISHED,
        )
        .exclude(pk=run.pk)
        .order_by("-number")
        .values_list("number", "summary__selection_metric", "summary__best_value")
    )
    falls = ui.less_is_better(metric)
    best: tuple[float, int] | None = None
    for number, judged_by, reached in others[:MOST_LOOKED_AT].iterator():
        other = _judged({"selection_metric": judged_by, "best_value": reached})[1]
        if judged_by != metric or other is None:
            continue
        if other <= value if falls else other >= value:
            return None
        if best is None or (other < best[0] if falls else other > best[0]):
            best = (other, number)
    return Best(metric, value, *best) if best is not None else None


def _judged(summary: dict[str, Any]) -> tuple[str, float | None]:
    value = summary.get("best_value")
    metric = str(summary.get("selection_metric") or "")
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return metric, None
    return metric, float(value)
