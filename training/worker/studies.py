"""What came of a study, once all its runs are over: each kind has a way to say it, or its ways of
training are compared with each other."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from distillhub.lib import storage
from training.models import Run, Study
from training.worker import study_strategies, sweeps
from training.worker.study_pairs import Pairs, verdict_of

log = logging.getLogger(__name__)

JSON = dict[str, Any]


def look_again() -> None:
    """Tell of studies whose runs are over and of which nobody told."""
    unfinished = Run.objects.unfinished().filter(study=OuterRef("pk"))
    over = ~Exists(unfinished) | Q(kind__in=GOES_ON)
    forgotten = Study.objects.filter(over, status=Study.Status.RUNNING)
    for study_id in forgotten.values_list("pk", flat=True):
        tell(study_id)


def tell(study_id: int) -> None:
    """Harmless to repeat, and in two processes at once."""
    study = Study.objects.filter(pk=study_id, status=Study.Status.RUNNING).first()
    if study is None:
        return
    if study.kind in GOES_ON and GOES_ON[study.kind](study):
        return
    runs = list(study.runs.order_by("number"))
    if not all(run.is_final for run in runs):
        return
    finished = [run for run in runs if run.status == Run.Status.FINISHED]
    try:
        report = TELLERS.get(study.kind, compared)(study, finished)
    except (storage.Damaged, storage.Away, OSError) as error:
        log.warning("Study %s could not be told: %s", study.pk, error)
        report = {"comparisons": [], "verdict": None, "error": str(error)}
    with transaction.atomic():
        now = Study.objects.select_for_update(of=("self",)).get(pk=study_id)
        if (now.asked, now.stopped_at) == (study.asked, study.stopped_at):  # else it goes on
            study.settle(report, is_told=bool(finished))


def compared(study: Study, runs: Sequence[Run]) -> JSON:
    """`{"comparisons": [{"arm", "against", "seeds", "rows", "difference", ..., "sentence"}],
    "verdict"}`: the verdict is the first comparison that the study is about."""
    return _compared(study, Pairs(runs))


def concluded(study: Study, runs: Sequence[Run]) -> JSON:
    """The same, and which way is best."""
    pairs = Pairs(runs)
    report = _compared(study, pairs)
    return {**report, "conclusion": study_strategies.conclude(pairs, report["comparisons"])}


def _compared(study: Study, pairs: Pairs) -> JSON:
    asked = study.asked.get("comparisons", [])
    found = [one for arm, against in asked if (one := pairs.compare(arm, against)) is not None]
    return {"comparisons": found, "verdict": verdict_of(found[0]) if found else None}


#: What comes of the finished runs of a kind, `{"comparisons", "verdict", ...}`; of all others, what
#: `compared` says.
TELLERS: dict[str, Callable[[Study, Sequence[Run]], JSON]] = {
    "strategies": concluded,
    "sweep": sweeps.report,
}

#: Kinds that launch further runs when some are over, and whether anything is still to come.
GOES_ON: dict[str, Callable[[Study], bool]] = {"sweep": sweeps.goes_on}
