"""Rows that nearly stand elsewhere, in the same split or in another, with the same label or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from distillhub.lib.later import np
from projects.ingest import equal_keys, issues, near
from projects.ingest.checks import check, registry
from projects.ingest.checks.check import Check, Found
from projects.ingest.formats import Plan, Row
from projects.ingest.issues import INFO, WARNING


@registry.register
class NearRows(Check):
    key = "near"
    kinds: ClassVar[Mapping[str, tuple[str, str]]] = {
        "similar_leak": (
            WARNING,
            "Rows of validation or test that nearly stand in an earlier split: a text with at "
            "least 80 % of the same pairs of words, a picture that looks the same. Scores on them "
            "flatter; leave the rows of train out.",
        ),
        "similar_conflict": (
            WARNING,
            "Rows with another label than one that is nearly the same. One of the two may be "
            "wrong: read them side by side and correct it.",
        ),
        "similar_input": (
            INFO,
            "Rows that nearly stand in an earlier row: a text with at least 80 % of the same pairs "
            "of words, a picture that looks the same. They add little, and weigh double.",
        ),
    }

    def __init__(
        self, plan: Plan, columns: list[dict[str, str]], measures: tuple[str, ...]
    ) -> None:
        super().__init__(plan, columns, measures)
        made = near.of(check.input_of(columns))
        assert made is not None
        self.nearness = made
        # What text is near is exact; pictures that look the same may be of different things.
        self.keeps_together = check.input_of(columns) == "text"
        self.has_prompt = any(one["role"] == "prompt" for one in columns)

    @classmethod
    def suits(cls, plan: Plan, columns: list[dict[str, str]]) -> bool:
        return check.input_of(columns) in ("text", "image")

    def meet(self, row_id: int, row: Row) -> None:
        self.nearness.add(compared(row.input, has_prompt=self.has_prompt))

    def groups(self, keys: check.Rows) -> check.Rows:
        """`[rows]`: equal for rows that are near each other."""
        return self.nearness.groups(keys)

    def finish(self, found: Found) -> None:
        groups = found.groups
        assert groups is not None
        tally, keys, labels = found.tally, found.keys, found.labels.same
        rows = np.arange(len(keys))
        of_key, first = equal_keys.grouped(keys)
        similar = (first[of_key] == rows) & (groups != rows)
        tally.many("similar_input", np.flatnonzero(similar), beside=groups[similar])
        leak = issues.leaking(found.splits, groups) & ~issues.leaking(found.splits, of_key)
        earliest = np.full(len(keys), -1)
        order = np.lexsort((rows, found.splits))[::-1]  # of each group the last one written holds
        earliest[groups[order]] = order
        tally.many("similar_leak", np.flatnonzero(leak), beside=earliest[groups[leak]])
        conflict = issues.conflicting(labels, groups) & ~issues.conflicting(labels, of_key)
        other = _otherwise(labels, groups)
        tally.many("similar_conflict", np.flatnonzero(conflict), beside=other[conflict])
        sizes = np.bincount(groups[first])
        found.told[self.key] = {
            "groups": int((sizes > 1).sum()),
            "rows": int(similar.sum()),
            "complete": getattr(self.nearness, "is_complete", True),
        }

    def close(self) -> None:
        self.nearness.close()


def _otherwise(labels: check.Rows, groups: check.Rows) -> check.Rows:
    """`[rows]`: the first row of the group with another label; -1 where there is none."""
    known = np.flatnonzero(labels >= 0)[::-1]
    lead, other = np.full(len(groups), -1), np.full(len(groups), -1)
    lead[groups[known]] = known
    unlike = known[labels[known] != labels[lead[groups[known]]]]
    other[groups[unlike]] = unlike
    lead, other = lead[groups], other[groups]
    return np.where(labels == labels[lead], other, lead)


def compared(given: Any, *, has_prompt: bool) -> Any:
    """What of a row's input is compared: of a prompt with an answer, the prompt."""
    return given.split("\x1f", 1)[0] if has_prompt else given
