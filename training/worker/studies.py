"""What came of a study, once all its runs are over: each kind has a way to say it, or its ways of
training are compared with each other.

A study stays open until that was said: a database or a storage which is away just then costs a
minute and never the verdict.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from django.db import DatabaseError, connection, transaction
from django.db.models import Exists, Max, OuterRef, Q
from django.utils import timezone

from distillhub.lib import storage
from training.models import Run, Study
from training.worker import study_strategies, sweeps
from training.worker.study_pairs import Pairs, verdict_of

log = logging.getLogger(__name__)

JSON = dict[str, Any]
KEPT_TRYING = timedelta(days=7)  # while storage is away; then it is damaged


def look_again() -> None:
    """Tell of studies whose runs are over and of which nobody told."""
    unfinished = Run.objects.unfinished().filter(study=OuterRef("pk"))
    over = ~Exists(unfinished) | Q(kind__in=GOES_ON)
    forgotten = Study.objects.filter(over, status=Study.Status.RUNNING)
    for study_id in forgotten.values_list("pk", flat=True):
        tell(study_id)


def tell(study_id: int) -> None:
    """Harmless to repeat, and in two processes at once. Never raises: what cannot be told now is
    told later, and one study keeps nobody from the others."""
    try:
        _tell(study_id)
    except (storage.Away, OSError) as error:
        log.warning("Study %s is told of later. %s", study_id, error)
    except DatabaseError as error:
        log.warning("Study %s is told of later: the database is away. %s", study_id, error)
        connection.close()
    except Exception:  # what a study holds was chosen by people
        log.exception("Study %s could not be told of.", study_id)


def _tell(study_id: int) -> None:
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
    except (storage.Damaged, FileNotFoundError) as error:
        report = _untold(study, error)
    except DatabaseError:
        raise
    except Exception as error:
        if not _is_given_up(study):
            raise
        report = _untold(study, error)
    with transaction.atomic():
        now = Study.objects.select_for_update(of=("self",)).filter(pk=study_id).first()
        if now is None:  # deleted meanwhile
            return
        if (now.asked, now.stopped_at) == (study.asked, study.stopped_at):  # else it goes on
            study.settle(report, is_told=bool(finished))


def _untold(study: Study, error: Exception) -> JSON:
    log.warning("Study %s could not be told: %s", study.pk, error)
    known = isinstance(error, storage.Damaged | storage.Away)  # others may name paths
    sentence = str(error) if known else "What its runs have left could not be read."
    return {"comparisons": [], "verdict": None, "error": sentence}


def _is_given_up(study: Study) -> bool:
    last = study.runs.aggregate(last=Max("finished_at"))["last"]
    return last is not None and last < timezone.now() - KEPT_TRYING


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
