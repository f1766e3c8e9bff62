"""How evenly labels are spread over the rows of train."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from distillhub.lib.later import np
from projects.ingest.checks import registry
from projects.ingest.checks.check import Check, Found
from projects.ingest.formats import REGRESSION, SPLITS, TOKENS_TASK, TRAIN, UNLABELLED, Plan
from projects.ingest.issues import WARNING

RATIO = 10  # of the rows of the commonest label to those of the rarest
EVEN = 0.75  # of the labels: with fewer effective ones, a few labels have most rows


@registry.register
class Balance(Check):
    key = "balance"
    kinds: ClassVar[Mapping[str, tuple[str, str]]] = {
        "unbalanced_labels": (
            WARNING,
            "Some labels have many times the rows of others. Judge by macro F1 or by each label, "
            "not by accuracy; add rows of the rare labels, or thin the common ones.",
        )
    }

    @classmethod
    def suits(cls, plan: Plan, columns: list[dict[str, str]]) -> bool:
        # Most words of a text are outside of every span: that is natural.
        return plan.problem != REGRESSION and plan.task not in UNLABELLED | {TOKENS_TASK}

    def finish(self, found: Found) -> None:
        rows, classes = found.labels.classes
        names = found.labels.names
        trained = classes[found.splits[rows] == SPLITS.index(TRAIN)]
        counts = np.bincount(trained, minlength=len(names))
        some = counts[counts > 0]
        if len(some) < 2:
            return
        shares = some / some.sum()
        effective = float(np.exp(-(shares * np.log(shares)).sum()))
        ratio = float(some.max() / some.min())
        found.told[self.key] = {
            "ratio": round(ratio, 2),
            "effective": round(effective, 2),
            "labels": len(some),
            "commonest": [names[int(counts.argmax())], int(counts.max())],
            "rarest": [
                names[int(np.where(counts > 0, counts, counts.max() + 1).argmin())],
                int(some.min()),
            ],
        }
        if ratio >= RATIO or effective < EVEN * len(some):
            (most, many), (least, few) = (
                found.told[self.key][one] for one in ("commonest", "rarest")
            )
            found.tally.place("unbalanced_labels", f"{most}: {many} rows of train")
            found.tally.place("unbalanced_labels", f"{least}: {few} rows of train")
            found.tally.counts["unbalanced_labels"] = 1
