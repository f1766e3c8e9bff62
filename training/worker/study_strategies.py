"""What came of a study of strategies: which way is best, whether that is more than chance, and what
it costs beside the others.

The best way is chosen on validation rows, as all is; how good it is and whether the others are
worse say the test rows, which had no part in the choice.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from training.engine.export_config import FALLING
from training.models import Run
from training.worker import study_costs
from training.worker.study_pairs import NAMES, Pairs

JSON = dict[str, Any]

TEACHER = study_costs.TEACHER
NEAR = 1.1  # costs that lie within a tenth are said to be alike


def conclude(pairs: Pairs, comparisons: Sequence[JSON]) -> JSON | None:
    """`{"best", "sentences": [...], "against": {arm: answer}}`; None where fewer than two ways have
    a score. Raises storage.Damaged."""
    students = {arm: list(runs.values()) for arm, runs in pairs.by_arm.items() if arm != TEACHER}
    scores = {arm: told for arm, runs in students.items() if (told := _validation(runs))}
    if len(scores) < 2:
        return None
    metric, _ = next(iter(scores.values()))
    best = (min if metric in FALLING else max)(scores, key=lambda arm: scores[arm][1])
    known = {(one["arm"], one["against"]): one for one in comparisons}
    answers: dict[str, str] = {}
    for arm in scores:
        if arm == best:
            continue
        found = known.get((best, arm)) or pairs.compare(best, arm)
        if found is not None:
            answers[arm] = found["answer"]
    costs = study_costs.by_arm({arm: list(runs.values()) for arm, runs in pairs.by_arm.items()})
    return {
        "best": best,
        "against": answers,
        "sentences": [
            _first(best, metric, scores[best][1]),
            *_evidence(best, answers),
            *_cost(best, answers, costs),
        ],
    }


def _first(best: str, metric: str, value: float) -> str:
    said = f"{100 * value:.1f} %" if metric in SHARES else f"{value:.4g}"
    name = metric.replace("_", " ")
    return f"On validation rows {NAMES[best]} is best: {name} {said}, the mean of its seeds."


#: Metrics that are told in percent.
SHARES = ("accuracy", "macro_f1", "micro_f1", "span_f1", "token_accuracy", "neighbours")


def _evidence(best: str, answers: Mapping[str, str]) -> list[str]:
    """On test rows."""
    beaten = [NAMES[arm] for arm, answer in answers.items() if answer == "helped"]
    alike = [NAMES[arm] for arm, answer in answers.items() if answer == "no_evidence"]
    better = [NAMES[arm] for arm, answer in answers.items() if answer == "hurt"]
    said = []
    if beaten:
        said.append(f"On test rows it is better than {_and(beaten)}, by 95 % intervals.")
    if alike:
        said.append(f"No evidence that it differs from {_or(alike)}.")
    if better:
        said.append(f"Yet on test rows {_and(better)} did better.")
    return said


def _cost(best: str, answers: Mapping[str, str], costs: Mapping[str, JSON]) -> list[str]:
    """Its price, and whether a cheaper way may be as good."""
    mine = costs.get(best)
    if mine is None or not mine["seconds"]:
        return []
    said = [f"It took {_amount(mine)}{_beside(best, mine, costs)}{_parts(mine)}."]
    cheaper = {
        arm: costs[arm]["seconds"] / mine["seconds"]
        for arm, answer in answers.items()
        if answer != "helped" and arm in costs and costs[arm]["runs"] == mine["runs"]
    }
    arm = min(cheaper, key=lambda one: cheaper[one], default=None)
    if arm is not None and cheaper[arm] * NEAR < 1.0:
        share = f"{100 * cheaper[arm]:.0f} %"
        said.append(f"The cheapest way not shown to be worse is {NAMES[arm]}, at {share} of that.")
    return said


def _amount(cost: JSON) -> str:
    said = _duration(cost["seconds"])
    if cost["energy_wh"] is not None:
        said += f" and {cost['energy_wh']:.2g} Wh"
    if cost["cost"] is not None:
        said += f", at a price of {cost['cost']:.2g}"
    return f"{said} for {_seeds(cost['runs'])}"


def _parts(cost: JSON) -> str:
    parts = cost["parts"]
    told = [
        f"{_duration(parts[name]['seconds'])} {words}"
        for name, words in (("asking", "asking the teacher"), ("teacher", "training the teacher"))
        if name in parts and parts[name]["seconds"] >= 0.01 * cost["seconds"]
    ]
    return f", of which {_and(told)}" if told else ""


def _beside(best: str, mine: JSON, costs: Mapping[str, JSON]) -> str:
    """How often what labels alone took."""
    other = costs.get("control")
    if best == "control" or other is None or not other["seconds"] or other["runs"] != mine["runs"]:
        return ""
    times = mine["seconds"] / other["seconds"]
    if 1 / NEAR < times < NEAR:
        return f", about what {NAMES['control']} took"
    return f", {times:.1f} times what {NAMES['control']} took"


def _validation(runs: Sequence[Run]) -> tuple[str, float] | None:
    """The metric and its mean over seeds, at the checkpoints that were chosen by it."""
    metric = str(runs[0].summary.get("headline", ""))
    values = []
    for run in runs:
        chosen = run.summary.get("selection_metric") == f"val/{metric}"
        value = run.summary.get("best_value") if chosen else run.metrics.get(f"val/{metric}")
        if isinstance(value, int | float) and value == value:
            values.append(float(value))
    return (metric, sum(values) / len(values)) if values else None


def _duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _seeds(count: int) -> str:
    return "one seed" if count == 1 else f"{count} seeds"


def _and(names: Sequence[str], word: str = "and") -> str:
    """`a, b and c`"""
    *first, last = names
    return f"{', '.join(first)} {word} {last}" if first else last


def _or(names: Sequence[str]) -> str:
    return _and(names, "or")
