"""Carrying on sweeps: a run of one is over, so its trial is settled and the next are asked for.

Any worker may do so, at any time and any number of times: the study's row is locked meanwhile, what
is settled is settled by a conditional update, and the reaper looks again at what a machine that
died left undone. The next trial is launched through the same door as any run; imports point down,
so the door is named in apps.py.
"""

import importlib
import logging
from collections.abc import Callable, Sequence
from typing import Any, cast

from django.apps import apps
from django.db import DatabaseError, transaction
from django.db.models import Max
from django.db.models.functions import Now

from distillhub.lib.errors import Conflict, DomainError
from distillhub.templatetags import ui
from training.models import MetricChunk, MetricSeries, Run, Study, Trial
from training.worker import child, importance, sweep_search

log = logging.getLogger(__name__)

JSON = dict[str, Any]
PRUNED = "pruned"
LONGEST_CURVE = 1000
MAIN = ("distilled", "trained")


def goes_on(study: Study) -> bool:
    """Settle what is over and ask for what is next; whether anything is still to come."""
    with transaction.atomic():
        # Of several workers one at a time: the next trial follows from all that are known.
        study = Study.objects.select_for_update(of=("self",)).get(pk=study.pk)
        if study.is_over or "arms" not in study.asked:
            return True
        trials = list(study.trials.select_related("run"))
        for trial in trials:
            _settle(trial, study.asked["metric"])
        waits = study.project.archived_at is not None and study.stopped_at is None
        if study.stopped_at is None and not waits:
            _ask(study, trials)
        return waits or any(not one.is_over for one in trials)


def report(study: Study, runs: Sequence[Run]) -> JSON:
    """What came of it: `{"comparisons", "verdict", "sweep": {"best", "importance", "counts"}}`. The
    verdict is that of its finals, which is another study."""
    trials = list(study.trials.all())
    asked = study.asked
    best = {}
    for arm in asked["arms"]:
        found = sweep_search.best_of(asked, [one for one in trials if one.arm == arm])
        if found is not None:
            best[arm] = {"trial": found.number, "value": found.value}
    mine = [one for one in trials if one.arm == asked["arms"][0]]
    told = {"best": best, "importance": _importance(asked, mine)}
    return {"comparisons": [], "verdict": None, "sweep": told}


class Watch:
    """Of a run that is a trial, while it trains: whether it has fallen behind."""

    def __init__(self, trial: Trial, asked: JSON) -> None:
        self.trial, self.asked, self.seen = trial, asked, 0

    def look(self, run: Run) -> bool:
        """After each epoch; True when it was told to end. What cannot be judged trains on."""
        try:
            return self._look(run)
        except DatabaseError:
            raise
        except Exception:  # of the sampler, or of what other trials left
            log.exception("Trial %s of run %s could not be judged.", self.trial.number, run.pk)
            return False

    def _look(self, run: Run) -> bool:
        if run.status not in Run.WORKING:
            return False
        metric = self.asked["metric"]
        series = MetricSeries.objects.filter(run=run, name=metric)
        count = series.values_list("count", flat=True).first() or 0
        if count == self.seen:
            return False
        self.seen = count
        curve = [one for one in _curve(run, metric) if one is not None]
        others = Trial.objects.filter(study=self.trial.study_id, arm=self.trial.arm)
        known = list(others.exclude(pk=self.trial.pk))
        if not curve or not sweep_search.falls_behind(self.asked, curve, known):
            return False
        best = (min if self.asked["falls"] else max)(curve)
        return prune(run, self.asked, best, epochs=len(curve))


def watch(run: Run) -> Watch | None:
    """Of a run that is no trial, and of a sweep that prunes nothing, nothing is watched."""
    if run.study is None or not run.study.asked.get("pruning"):
        return None
    trial = Trial.objects.filter(run=run).first()
    return None if trial is None else Watch(trial, run.study.asked)


def prune(run: Run, asked: JSON, best: float, *, epochs: int) -> bool:
    """Have a trial leave: it is cancelled, and its error says why. Of a prune, a cancellation and a
    completion at the same moment exactly one wins."""
    name = asked["metric"].removeprefix("val/")
    detail = (
        f"Pruned after {epochs} epoch{'s' * (epochs != 1)}: its best {ui.measure(name)} of "
        f"{ui.metric(best, name)} is worse than the median of the trials before it."
    )
    with transaction.atomic():
        moved = run.move_to(
            Run.Status.CANCELLING,
            among=Run.WORKING,
            cancel_requested_at=Now(),
            error={"code": PRUNED, "detail": detail},
        )
        if moved:
            run.tell(PRUNED, detail)
    return moved


# -- settling -------------------------------------------------------------------------------------


def _settle(trial: Trial, metric: str) -> None:
    """Bring a trial to what its run is now: over, or going on again."""
    run = trial.run
    if run is None:
        if trial.is_over:
            return
        changes: JSON = {"state": Trial.State.FAILED, "told": "Its run was deleted."}
    else:
        changes = _told(run, metric)
    if changes["state"] == trial.state:
        return
    if run is not None and run.is_final:  # read once: of hundreds it takes as many queries
        changes["curve"] = _curve(run, metric)
    known = Trial.objects.filter(pk=trial.pk, state=trial.state)
    if known.update(**changes):
        for name, value in changes.items():
            setattr(trial, name, value)


def _told(run: Run, metric: str) -> JSON:
    error = run.error or {}
    if not run.is_final:
        return {"state": Trial.State.RUNNING, "told": "", "value": None}
    value = run.summary.get("best_value")
    if run.status == Run.Status.FINISHED:
        if isinstance(value, int | float) and value == value:
            return {"state": Trial.State.COMPLETE, "value": float(value), "told": ""}
        return {"state": Trial.State.FAILED, "value": None, "told": f"It has no {metric}."}
    if run.status == Run.Status.FAILED:
        state = Trial.State.FAILED
    else:
        state = Trial.State.PRUNED if error.get("code") == PRUNED else Trial.State.CANCELLED
    return {"state": state, "value": None, "told": str(error.get("detail", ""))[:500]}


def _curve(run: Run, metric: str) -> list[float | None]:
    """The metric after each epoch."""
    chunks = MetricChunk.objects.filter(series__run=run, series__name=metric).order_by("index")
    values = [float(one) for chunk in chunks for one in chunk.points.values]
    return [one if one - one == 0 else None for one in values[:LONGEST_CURVE]]


# -- asking ---------------------------------------------------------------------------------------


def _ask(study: Study, trials: list[Trial]) -> None:
    """As many as may train at once, the ways of training in turn; `trials` grows."""
    asked = study.asked
    open_arms = list(asked["arms"])
    while open_arms and sum(not one.is_over for one in trials) < asked["at_once"]:
        arm = min(open_arms, key=lambda key: sum(one.arm == key for one in trials))
        mine = [one for one in trials if one.arm == arm]
        parameters = None
        if len(mine) < asked["trials"]:
            parameters = sweep_search.suggest(asked, arm, mine)
        if parameters is None:
            open_arms.remove(arm)
            continue
        made = _launch(study, arm, parameters)
        if made is None:
            return
        trials.append(made)


def _launch(study: Study, arm: str, parameters: JSON) -> Trial | None:
    """A configuration that cannot be trained is a trial that failed; None where nothing can be
    launched now, such as in an archived project."""
    newest = study.trials.aggregate(newest=Max("number"))["newest"] or 0
    row = Trial(study=study, number=newest + 1, arm=arm, parameters=parameters)
    try:
        with transaction.atomic():
            row.run = _door()(study=study, arm=arm, number=row.number, parameters=parameters)
    except Conflict as error:
        log.warning("Study %s waits: %s", study.pk, error.detail)
        return None
    except DomainError as error:
        row.state, row.told = Trial.State.FAILED, error.detail[:500]
    row.save()
    return row


def _door() -> Callable[..., Run]:
    named = apps.get_app_config("training").trials  # type: ignore[attr-defined]
    return cast("Callable[..., Run]", importlib.import_module(named).launch_trial)


def _importance(asked: JSON, trials: Sequence[Trial]) -> dict[str, float]:
    space = asked["space"]
    known = [one for one in trials if one.state == Trial.State.COMPLETE]
    wanted = {
        "direction": "minimize" if asked["falls"] else "maximize",
        "space": {
            path: {"values": len(one["values"])} if "values" in one else one
            for path, one in space.items()
        },
        "trials": [
            {
                "value": one.value,
                "parameters": {
                    path: space[path]["values"].index(value) if "values" in space[path] else value
                    for path, value in one.parameters.items()
                },
            }
            for one in known
        ],
    }
    return importance.of(wanted, child.environment(1))
