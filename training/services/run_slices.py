"""Slices of a dataset in the evaluation of a run: kept at launch, scored when it has ended, and
those that are saved later on demand.

A run keeps names and conditions as they were. A slice that is deleted, or saved anew with other
conditions, changes nothing of what a run has.
"""

from typing import Any

from django.db import transaction

from distillhub.lib import storage
from distillhub.lib.errors import Conflict, Invalid, Unavailable
from projects.models import Slice
from projects.operations import conditions as row_conditions
from projects.services import slices
from training.models import Run, RunSlice
from training.worker import predictions, run_slices

MOST_KEPT = 300  # of a run


def keep(run: Run) -> None:
    """Those that the run's dataset has now, at launch."""
    RunSlice.objects.bulk_create([_kept(run, one) for one in _saved(run)])


def of(run: Run) -> list[dict[str, Any]]:
    """`[{"name", "conditions", "told", "scores"}]` as docs/api.md says; scores are null before the
    run has been evaluated."""
    return [dict(one) for one in run.slices.values("name", "conditions", "told", "scores")]


def further(run: Run, kept: list[dict[str, Any]]) -> list[str]:
    """Names of what `evaluate` would score, `kept` being what `of` tells: slices that were saved
    since, and those of the run that could not be scored when it ended. None of a run that has left
    no predictions."""
    if not run.is_final or not _is_judged(run):
        return []
    waiting = [one["name"] for one in kept if one["scores"] is None]
    return [*waiting, *(one.name for one in _since(run, kept))]


def known(run: Run) -> list[tuple[str, Any]]:
    """(name, conditions) of those that the run keeps, and of those saved since."""
    kept = of(run)
    since = [(one.name, one.conditions) for one in _since(run, kept)]
    return [(one["name"], one["conditions"]) for one in kept] + since


def evaluate(*, run: Run) -> list[dict[str, Any]]:
    """Score what `further` names from the stored predictions; nothing is trained or asked again.

    Raises Conflict before the run has been evaluated and where there are too many, and Unavailable
    when storage has lost a file.
    """
    if not _is_judged(run):
        sentence = f"Run {run.number} has left no predictions to tell slices by ({run.status})."
        raise Conflict(sentence, code="not_evaluated")
    with transaction.atomic():
        Run.objects.select_for_update().get(pk=run.pk)
        since = _since(run, of(run))
        if run.slices.count() + len(since) > MOST_KEPT:
            raise Conflict(f"A run keeps at most {MOST_KEPT} slices.")
        RunSlice.objects.bulk_create([_kept(run, one) for one in since])
    try:
        run_slices.score(run, run.slices.filter(scores__isnull=True))
    except storage.Damaged:
        raise Unavailable("A file that they are told by is missing from storage.") from None
    return of(run)


def _is_judged(run: Run) -> bool:
    return predictions.file_of(run) is not None


def _since(run: Run, kept: list[dict[str, Any]]) -> list[Slice]:
    there = [(one["name"], one["conditions"]) for one in kept]
    return [one for one in _saved(run) if (one.name, one.conditions) not in there]


def _saved(run: Run) -> list[Slice]:
    """The dataset's slices whose conditions the run's version knows."""
    version = run.dataset_version
    if version is None:
        return []
    found = []
    for one in slices.of_dataset(version.dataset):
        try:
            row_conditions.filter_of(version, one.conditions)
        except Invalid:
            continue
        found.append(one)
    return found


def _kept(run: Run, one: Slice) -> RunSlice:
    told = row_conditions.told(one.conditions)
    return RunSlice(run=run, name=one.name, conditions=one.conditions, told=told)
