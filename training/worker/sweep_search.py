"""Which trial comes next, and which is not worth its machine any more: Optuna, asked each time with
a study in memory that is built anew of the rows. There is no second database, and what comes next
follows from the seed and from what is known."""

import hashlib
import itertools
import random
from collections.abc import Mapping, Sequence
from typing import Any

from distillhub.lib.later import Later
from training.models import Trial

optuna = Later("optuna")  # 20 MB, and a tenth of a second

JSON = dict[str, Any]
#: What is as good to vary when students learn from labels alone.
SHARED = ("training.", "student")
TRIES = 20  # to find a configuration that was not tried
STARTUP = (4, 10)  # trials drawn at random before the sampler learns from them
BEFORE_PRUNING = 4  # complete trials
FIRST_EPOCHS = 1  # in which nobody is pruned


def space_of(asked: JSON, arm: str) -> JSON:
    """What is varied in this way of training."""
    space: JSON = asked["space"]
    if arm != "control":
        return space
    return {path: one for path, one in space.items() if path.startswith(SHARED)}


def suggest(asked: JSON, arm: str, tried: Sequence[Trial]) -> JSON | None:
    """The next parameters, by path, unlike any that were tried; None where all were. `tried` are
    those of this way of training, in order. The first is the configuration as it was given, where
    it lies within the space."""
    space = space_of(asked, arm)
    if not space:
        return None if tried else {}
    known = [one.parameters for one in tried]
    if asked["sampler"] == "grid":
        return next((point for point in _grid(asked, space) if point not in known), None)
    if not tried and asked["first"] is not None:
        return {path: asked["first"][path] for path in space}
    for attempt in range(TRIES):
        point = _sampled(asked, arm, space, tried, attempt)
        if point not in known:
            return point
    return _untried(asked, space, known)


def falls_behind(asked: JSON, curve: Sequence[float], others: Sequence[Trial]) -> bool:
    """Whether its best value so far is worse than the median of the others after as many epochs."""
    study = _study(asked, optuna.samplers.RandomSampler(seed=0))
    study.add_trials(
        [
            optuna.trial.create_trial(value=one.value, intermediate_values=_reports(one.curve))
            for one in others
            if one.state == Trial.State.COMPLETE and one.curve
        ]
    )
    pruner = optuna.pruners.MedianPruner(
        n_startup_trials=BEFORE_PRUNING, n_warmup_steps=FIRST_EPOCHS
    )
    running = optuna.trial.create_trial(
        state=optuna.trial.TrialState.RUNNING, intermediate_values=_reports(curve)
    )
    return bool(pruner.prune(study, running))


def _sampled(asked: JSON, arm: str, space: JSON, tried: Sequence[Trial], attempt: int) -> JSON:
    distributions = {path: _distribution(one) for path, one in space.items()}
    seed = _seed(asked["seed"], arm, len(tried), attempt)
    if asked["sampler"] == "random":
        study = _study(asked, optuna.samplers.RandomSampler(seed=seed))
    else:
        least, most = STARTUP
        startup = min(most, max(least, int(asked["trials"]) // 3))
        sampler = optuna.samplers.TPESampler(n_startup_trials=startup, seed=seed)
        study = _study(asked, sampler)
        study.add_trials([_told(one, space, distributions) for one in tried])
    drawn = study.ask(distributions).params
    return {path: _read(one, drawn[path]) for path, one in space.items()}


def _study(asked: JSON, sampler: Any) -> Any:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    direction = "minimize" if asked["falls"] else "maximize"
    return optuna.create_study(sampler=sampler, direction=direction, study_name="sweep")


def _told(trial: Trial, space: JSON, distributions: JSON) -> Any:
    """A row as Optuna knows it. One that failed or was cancelled says nothing of its place."""
    states, reports = optuna.trial.TrialState, _reports(trial.curve)
    known = {
        Trial.State.RUNNING: states.RUNNING,
        Trial.State.COMPLETE: states.COMPLETE,
        Trial.State.PRUNED: states.PRUNED if reports else states.FAIL,
    }
    state = known.get(Trial.State(trial.state), states.FAIL)
    return optuna.trial.create_trial(
        state=state,
        value=trial.value if state == states.COMPLETE else None,
        params={path: _written(space[path], trial.parameters[path]) for path in space},
        distributions=distributions,
        intermediate_values=reports,
    )


def _reports(curve: Sequence[float | None]) -> dict[int, float]:
    return {epoch: value for epoch, value in enumerate(curve) if value is not None}


def _distribution(one: JSON) -> Any:
    """Of listed values their places: they may be anything."""
    if "values" in one:
        return optuna.distributions.CategoricalDistribution(tuple(range(len(one["values"]))))
    if one["type"] == "int":
        step = 1 if one["log"] else one["step"] or 1
        return optuna.distributions.IntDistribution(
            one["low"], _top(one, step), log=one["log"], step=step
        )
    step = one["step"]
    return optuna.distributions.FloatDistribution(
        one["low"], _top(one, step) if step else one["high"], log=one["log"], step=step
    )


def _top(one: JSON, step: float) -> Any:
    """The highest that whole steps reach."""
    return one["low"] + int((one["high"] - one["low"]) / step + 1e-9) * step


def _read(one: JSON, drawn: Any) -> Any:
    return one["values"][drawn] if "values" in one else drawn


def _written(one: JSON, value: Any) -> Any:
    return one["values"].index(value) if "values" in one else value


def _grid(asked: JSON, space: JSON) -> list[JSON]:
    """Every point, in an order that a part of it is spread over the whole in."""
    points = [
        dict(zip(space, point, strict=True))
        for point in itertools.product(*(_points(one) for one in space.values()))
    ]
    random.Random(asked["seed"]).shuffle(points)  # noqa: S311 - no secret
    return points


def _points(one: JSON) -> list[Any]:
    if "values" in one:
        return list(one["values"])
    step = one["step"] or 1
    count = int((one["high"] - one["low"]) / step + 1e-9) + 1
    return [one["low"] + at * step for at in range(count)]


def _untried(asked: JSON, space: JSON, known: Sequence[JSON]) -> JSON | None:
    """Of a small space, whatever is left; None where nothing is, and of a space without an end,
    whose sampler has settled."""
    if any(
        "values" not in one and one["type"] == "float" and not one["step"] for one in space.values()
    ):
        return None
    sizes = 1
    for one in space.values():
        sizes *= len(_points(one))
    if sizes > 100_000:
        return None
    return next((point for point in _grid(asked, space) if point not in known), None)


def _seed(*parts: Any) -> int:
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:4], "big")


def best_of(asked: Mapping[str, Any], trials: Sequence[Trial]) -> Trial | None:
    """The complete one with the best value; of equal ones the first."""
    sign = -1 if asked["falls"] else 1
    known = [one for one in trials if one.state == Trial.State.COMPLETE and one.value is not None]
    return max(known, key=lambda one: sign * (one.value or 0.0), default=None)
