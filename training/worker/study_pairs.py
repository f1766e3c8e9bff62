"""Ways of training compared over the seeds that finished in both, on the rows that all of them
answered."""

from collections.abc import Mapping, Sequence
from typing import Any

from distillhub.lib.later import Later, np
from training.models import Run
from training.worker import comparison
from training.worker.comparison import Worth

paired = Later("training.engine.paired")  # brings numpy
paired_seeds = Later("training.engine.paired_seeds")

JSON = dict[str, Any]

#: Ways of training, as a sentence names them.
NAMES = {
    "control": "training on labels alone",
    "frozen": "training a head on a frozen backbone",
    "pseudo_labels": "learning the labels that the teacher names",
    "distilled": "distilling",
    "trained": "training",
    "teacher": "the teacher's own training",
    "taught_by_tuned": "distilling from the trained teacher",
}


def seed_of(run: Run) -> int:
    return int(run.config.get("training", {}).get("seed", 0))


class Pairs:
    """The finished runs of a study, by arm and seed. What a run's rows are worth is read once."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.by_arm: dict[str, dict[int, Run]] = {}
        for run in runs:
            self.by_arm.setdefault(run.arm, {})[seed_of(run)] = run
        self._worth: dict[int, Worth | None] = {}

    def compare(self, arm: str, against: str) -> JSON | None:
        """`{"arm", "against", "seeds", "rows", "difference", …, "sentence"}`; None where no seed
        was finished in both. Raises storage.Damaged."""
        ours, theirs = self.by_arm.get(arm, {}), self.by_arm.get(against, {})
        found = self._compared(ours, theirs)
        return None if found is None else {"arm": arm, "against": against, **found}

    def _compared(self, ours: Mapping[int, Run], theirs: Mapping[int, Run]) -> JSON | None:
        pairs: list[tuple[int, Worth, Worth]] = []
        for seed in sorted(ours.keys() & theirs.keys()):
            mine, other = self._of(ours[seed]), self._of(theirs[seed])
            if mine is not None and other is not None:
                pairs.append((seed, mine, other))
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
        names = [NAMES.get(one.arm, one.arm) for one in (first, theirs[pairs[0][0]])]
        return {
            "metric": measure.metric,
            "unit": measure.unit,
            "split": pairs[0][1].split,
            "of_seeds": [seed for seed, *_ in pairs],
            **told,
            "sentence": comparison.over_seeds(told, measure, ours=names[0], theirs=names[1]),
        }

    def _of(self, run: Run) -> Worth | None:
        if run.pk not in self._worth:
            self._worth[run.pk] = comparison.worth_of(run)
        return self._worth[run.pk]


def verdict_of(found: JSON) -> JSON:
    """Of a comparison what a study is judged by."""
    kept = ("answer", "difference", "interval", "level", "sentence", "metric", "unit")
    return {name: found[name] for name in kept}
