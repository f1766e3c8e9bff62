"""What a sweep has found, live and when it is over, and the study that tests the best of it."""

from collections.abc import Sequence
from typing import Any

from django.db import transaction

from distillhub.lib.errors import Conflict
from projects.models import User
from training.models import Study, Trial
from training.services import studies, sweep_space, sweeps
from training.services.study_parts import LONGEST_NAME

JSON = dict[str, Any]


def told(study: Study, trials: Sequence[Trial]) -> JSON:
    """Its settings, how far it is, and the best of each way of training so far."""
    asked = study.asked
    arms = asked.get("arms", [])
    return {
        "metric": asked.get("metric"),
        "falls": asked.get("falls", False),
        "sampler": asked["sampler"],
        "pruning": asked["pruning"],
        "control": asked["control"],
        "seed": asked["seed"],
        "at_once": asked["at_once"],
        "trials": asked["trials"],
        "stopped": study.stopped_at is not None,
        "space": asked["space"],
        "counts": counts(trials),
        "budgets": {arm: sum(one.arm == arm for one in trials) for arm in arms},
        "best": {
            arm: _shown(best)
            for arm in arms
            if (best := sweeps.best_of(study, arm, list(trials))) is not None
        },
        "importance": ((study.report or {}).get("sweep") or {}).get("importance", {}),
        "tested_by": [one.number for one in tests_of(study)],
    }


def counts(trials: Sequence[Trial]) -> dict[str, int]:
    return {state: sum(one.state == state for one in trials) for state in Trial.State.values}


def _shown(trial: Trial) -> JSON:
    return {
        "trial": trial.number,
        "run": None if trial.run is None else trial.run.number,
        "value": trial.value,
        "parameters": trial.parameters,
    }


def progress(study: Study, trials: Sequence[Trial]) -> float:
    """0 to 1, of all the trials that it is to have."""
    if study.is_over:
        return 1.0
    arms = study.asked.get("arms", [])
    shares = [
        min(int(study.asked["trials"]), sweep_space.size(sweeps.space_of(study, arm)) or 10**9)
        for arm in arms
    ]
    done = [
        1.0 if one.is_over or one.run is None or one.run.is_final else one.run.fraction
        for one in trials
    ]
    return min(1.0, sum(done) / max(1, sum(shares)))


def tests_of(study: Study) -> list[Study]:
    """The studies in which its best were tested: each is one look at the test rows."""
    found = Study.objects.filter(project=study.project_id, asked__of_sweep__study=study.number)
    return list(found.order_by("number"))


@transaction.atomic
def confirm_best(*, study: Study, by: User, seeds: Any = None) -> tuple[Study, bool]:
    """Train the configuration that was best on validation rows with several seeds, and score the
    test rows with each, once: beside its control; and where both ways were searched, beside the
    best that was found on labels alone. Returns the study, and whether it is a new one: what has
    been tested is not tested again.

    Raises Conflict while the sweep goes on, and where no trial is complete.
    """
    trials = list(sweeps.trials_of(study))
    if not study.is_over:
        sentence = f"Study {study.number} is not over: wait, or stop it and let its trials end."
        raise Conflict(sentence, code="not_over")
    Study.objects.select_for_update().get(pk=study.pk)
    arms = study.asked["arms"]
    best = {arm: sweeps.best_of(study, arm, trials) for arm in arms}
    main = best[arms[0]]
    missing = [arm for arm in arms if best[arm] is None]
    if main is None or missing:
        whose = " of the control" if missing == ["control"] else ""
        raise Conflict(f"No trial{whose} is complete, so there is no best one.", code="no_trial")
    of_sweep = {"study": study.number, "trials": [best[arm].number for arm in arms]}  # type: ignore[union-attr]
    for known in tests_of(study):
        if known.asked["of_sweep"] == of_sweep:
            return known, False
    base = sweeps.configuration_of(study=study, arm=main.arm, parameters=main.parameters)
    asked: JSON = {
        "kind": "seeds",
        "base": base,
        "seeds": study.asked["seeds"] if seeds is None else seeds,
        "name": f"{study.name[: LONGEST_NAME - 40]}: trial {main.number} tested",
    }
    control = best.get("control")
    if control is not None:
        against = sweeps.configuration_of(study=study, arm="control", parameters=control.parameters)
        asked |= {"kind": "finals", "against": against}
        asked["name"] = f"{study.name[: LONGEST_NAME - 40]}: the best of both tested"
    made = studies.launch(project=study.project, asked=asked, by=by)
    made.asked["of_sweep"] = of_sweep
    made.save(update_fields=["asked"])
    return made, True
