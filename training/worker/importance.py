"""How much each varied option matters: PED-ANOVA, in a process of its own, since it brings SciPy
and scikit-learn, 90 MB that a worker would keep.

    python -m training.worker.importance < asked.json

reads `{"direction", "space", "trials": [{"parameters", "value"}]}`, of listed values their number
and their places, and prints `{path: share}`, which add up to 1; nothing where trials are too few or
alike.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

LEAST = 4  # trials
LONGEST = 60.0  # seconds
ROOT = Path(__file__).resolve().parents[2]


def of(asked: dict[str, Any], environment: dict[str, str]) -> dict[str, float]:
    """Asked of a child; nothing where it fails, since it is only told beside the result."""
    if not _varied(asked):
        return {}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "training.worker.importance"],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=environment,
            timeout=LONGEST,
            check=True,
        )
        found: dict[str, float] = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return {}
    return found


def told(asked: dict[str, Any]) -> dict[str, float]:
    """In this process."""
    import optuna  # noqa: PLC0415 - the child alone holds it

    trials, space, varied = asked["trials"], asked["space"], _varied(asked)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction=asked["direction"])
    distributions = {path: _distribution(space[path]) for path in varied}
    study.add_trials(
        [
            optuna.trial.create_trial(
                value=one["value"],
                params={path: one["parameters"][path] for path in varied},
                distributions=distributions,
            )
            for one in trials
        ]
    )
    if len(varied) == 1:
        return {varied[0]: 1.0}
    shares = optuna.importance.get_param_importances(
        study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
    )
    return {path: float(share) for path, share in shares.items() if share == share}


def _varied(asked: dict[str, Any]) -> list[str]:
    """What of the space can have mattered: nothing where trials are too few or alike."""
    trials = asked["trials"]
    if len(trials) < LEAST or len({one["value"] for one in trials}) < 2:
        return []
    return [path for path in asked["space"] if len({one["parameters"][path] for one in trials}) > 1]


def _distribution(one: dict[str, Any]) -> Any:
    from optuna import distributions  # noqa: PLC0415

    if "values" in one:
        return distributions.CategoricalDistribution(tuple(range(one["values"])))
    if one["type"] == "int":
        return distributions.IntDistribution(one["low"], one["high"], log=one["log"])
    return distributions.FloatDistribution(one["low"], one["high"], log=one["log"])


if __name__ == "__main__":
    json.dump(told(json.load(sys.stdin)), sys.stdout)
