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
        groups, tally = found.groups, found.tally
        assert groups is not None
        of_key, first = equal_keys.grouped(found.keys)
        similar = np.sort(first[groups[first] != first])
        tally.many("similar_input", similar, beside=groups[similar])
        is_mixed = np.zeros(len(groups), dtype=bool)  # by its first row: a group of unlike inputs
        is_mixed[groups[similar]] = True
        # Only its rows are compared. Of millions of rows they are few, and each array counts.
        rows = np.flatnonzero(is_mixed[groups])
        by_key = np.unique(of_key[rows], return_inverse=True)[1]
        by_group = np.unique(groups[rows], return_inverse=True)[1]
        del of_key, first
        splits, labels = found.splits[rows], found.labels.same[rows]
        leak = issues.leaking(splits, by_group) & ~issues.leaking(splits, by_key)
        earliest = np.full(int(is_mixed.sum()), -1)
        order = np.lexsort((rows, splits))[::-1]  # of each group the last one written holds
        earliest[by_group[order]] = rows[order]
        tally.many("similar_leak", rows[leak], beside=earliest[by_group[leak]])
        conflict = issues.conflicting(labels, by_group) & ~issues.conflicting(labels, by_key)
        other = rows[_otherwise(labels, by_group)[conflict]]
        tally.many("similar_conflict", rows[conflict], beside=other)
        found.told[self.key] = {
            "groups": int(is_mixed.sum()),
            "rows": len(similar),
            "complete": getattr(self.nearness, "is_complete", True),
        }

    def close(self) -> None:
        self.nearness.close()


def _otherwise(labels: check.Rows, groups: check.Rows) -> check.Rows:
    """`[rows]`: the place of the first row of the group with another label; -1 where there is
    none. `groups` [rows] are numbered from 0."""
    known = np.flatnonzero(labels >= 0)[::-1]
    lead, other = (np.full(int(groups.max(initial=-1)) + 1, -1) for _ in range(2))
    lead[groups[known]] = known
    unlike = known[labels[known] != labels[lead[groups[known]]]]
    other[groups[unlike]] = unlike
    lead, other = lead[groups], other[groups]
    return np.where(labels == labels[lead], other, lead)


def compared(given: Any, *, has_prompt: bool) -> Any:
    """What of a row's input is compared: of a prompt with an answer, the prompt."""
    return given.split("\x1f", 1)[0] if has_prompt else given
