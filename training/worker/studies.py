"""What came of a study, once all its runs are over: its ways of training compared over the seeds
that finished in both, on the rows that all of them answered."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.db.models import Exists, OuterRef

from distillhub.lib import storage
from distillhub.lib.later import Later, np
from training.models import Run, Study
from training.worker import comparison
from training.worker.comparison import Worth

log = logging.getLogger(__name__)

paired = Later("training.engine.paired")  # brings numpy
paired_seeds = Later("training.engine.paired_seeds")

JSON = dict[str, Any]

#: Ways of training, as a sentence names them.
ARMS = {
    "control": "training on labels alone",
    "distilled": "distilling",
    "trained": "training",
    "teacher": "the teacher's own training",
    "taught_by_tuned": "distilling from the tuned teacher",
}


def look_again() -> None:
    """Tell of studies whose runs are over and of which nobody told."""
    unfinished = Run.objects.unfinished().filter(study=OuterRef("pk"))
    forgotten = Study.objects.filter(~Exists(unfinished), status=Study.Status.RUNNING)
    for study_id in forgotten.values_list("pk", flat=True):
        tell(study_id)


def tell(study_id: int) -> None:
    """Harmless to repeat, and in two processes at once."""
    study = Study.objects.filter(pk=study_id, status=Study.Status.RUNNING).first()
    if study is None:
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
    study.settle(report, is_told=bool(finished))


def compared(study: Study, runs: Sequence[Run]) -> JSON:
    """`{"comparisons": [{"arm", "against", "seeds", "rows", "difference", ..., "sentence"}],
    "verdict"}`: the verdict is the first comparison that the study is about."""
    by_arm: dict[str, dict[int, Run]] = {}
    for run in runs:
        by_arm.setdefault(run.arm, {})[seed_of(run)] = run
    worth: dict[int, Worth | None] = {}
    found = []
    for arm, against in study.asked.get("comparisons", []):
        one = _compared(by_arm.get(arm, {}), by_arm.get(against, {}), worth)
        if one is not None:
            found.append({"arm": arm, "against": against, **one})
    return {"comparisons": found, "verdict": _verdict(found[0]) if found else None}


#: What comes of the finished runs of a kind, `{"comparisons", "verdict", ...}`; of all others, what
#: `compared` says.
TELLERS: dict[str, Callable[[Study, Sequence[Run]], JSON]] = {}


def seed_of(run: Run) -> int:
    return int(run.config.get("training", {}).get("seed", 0))


def _compared(
    ours: Mapping[int, Run], theirs: Mapping[int, Run], worth: dict[int, Worth | None]
) -> JSON | None:
    seeds = sorted(ours.keys() & theirs.keys())
    pairs: list[tuple[int, Worth, Worth]] = []
    for seed in seeds:
        pair = [_of(run, worth) for run in (ours[seed], theirs[seed])]
        if pair[0] is not None and pair[1] is not None:
            pairs.append((seed, pair[0], pair[1]))
    if not pairs:
        return None
    rows = set.intersection(*(one.rows.keys() & other.rows.keys() for _, one, other in pairs))
    if not rows:
        return None
    order = sorted(rows)
    tables = [
        np.array([[one.rows[row] for row in order] for one in side])
        for side in zip(*((mine, other) for _, mine, other in pairs), strict=True)
    ]
    first = ours[pairs[0][0]]
    measure = comparison.measure_of(first)
    if len(pairs) == 1:
        told: JSON = paired.differences(tables[0][0], tables[1][0], falls=measure.falls)
    else:
        told = paired_seeds.across(*tables, falls=measure.falls)
    names = [ARMS.get(one.arm, one.arm) for one in (first, theirs[pairs[0][0]])]
    return {
        "metric": measure.metric,
        "unit": measure.unit,
        "split": pairs[0][1].split,
        "of_seeds": [seed for seed, *_ in pairs],
        **told,
        "sentence": comparison.over_seeds(told, measure, ours=names[0], theirs=names[1]),
    }


def _of(run: Run, worth: dict[int, Worth | None]) -> Worth | None:
    if run.pk not in worth:
        worth[run.pk] = comparison.worth_of(run)
    return worth[run.pk]


def _verdict(found: JSON) -> JSON:
    kept = ("answer", "difference", "interval", "level", "sentence", "metric", "unit")
    return {name: found[name] for name in kept}
