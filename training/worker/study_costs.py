"""What each way of training took: its students' training, asking the teacher, and training that
teacher where the study did so. Evaluating is left out: it is the same for all.

Teachers are asked once and their answers stored, so that of several ways the one whose run came
first asked. Each of them needs the answers; each is told the whole of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from training.models import Run

JSON = dict[str, Any]

TEACHER = "teacher"  # the arm whose model teaches
TAUGHT = "taught_by_tuned"  # … these students
MEASURES = ("seconds", "energy_wh", "cost")


def by_arm(arms: Mapping[str, Sequence[Run]]) -> dict[str, JSON]:
    """`{"seconds", "energy_wh", "cost", "runs", "source", "parts": {"training", "asking",
    "teacher": {"seconds", "energy_wh", "cost"}}}` of each arm, over its finished runs; nothing of
    an arm without one. A measure that some run does not tell is None."""
    finished = {
        arm: found
        for arm, runs in arms.items()
        if (found := [run for run in runs if run.status == Run.Status.FINISHED])
    }
    asked: dict[str, JSON] = {}
    for run in (run for runs in finished.values() for run in runs):
        part, key = _part(run, "asking"), _teachers(run)
        if key not in asked or part["seconds"] > asked[key]["seconds"]:
            asked[key] = part
    costs = {arm: _cost(runs, asked) for arm, runs in finished.items()}
    if TAUGHT in costs and TEACHER in costs:
        costs[TAUGHT]["parts"]["teacher"] = costs[TEACHER]["parts"]["training"]
    return {arm: {**_sum(cost["parts"].values()), **cost} for arm, cost in costs.items()}


def _cost(runs: Sequence[Run], asked: Mapping[str, JSON]) -> JSON:
    training = _sum(_part(run, "training") for run in runs)
    asking = _sum(_part(run, "asking") for run in runs)
    whole = asked[_teachers(runs[0])]
    return {
        "runs": len(runs),
        "source": str(runs[0].summary.get("energy_source", "")),
        "parts": {
            "training": training,
            "asking": asking if asking["seconds"] >= whole["seconds"] else whole,
        },
    }


def _part(run: Run, name: str) -> JSON:
    """Of a run that was finished before parts were told apart, all is training."""
    spent = run.summary.get("spent")
    if isinstance(spent, Mapping):
        return {one: spent[name].get(one) for one in MEASURES}
    if name != "training":
        return dict.fromkeys(MEASURES, 0.0)
    seconds, energy = run.summary.get("seconds") or 0.0, run.summary.get("training_energy_wh")
    return {"seconds": seconds, "energy_wh": energy, "cost": None}


def _teachers(run: Run) -> str:
    return repr(run.config.get("teachers") or "")


def _sum(parts: Iterable[JSON]) -> JSON:
    every = list(parts)
    return {
        one: None if any(part[one] is None for part in every) else sum(part[one] for part in every)
        for one in MEASURES
    }
