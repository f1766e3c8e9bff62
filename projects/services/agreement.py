"""How far people agree about the same rows, beyond what chance would give.

Two people: Cohen's kappa (J. Cohen, 1960, Educational and Psychological Measurement 20). Several
who all said something of every row: Fleiss' kappa (J. Fleiss, 1971, Psychological Bulletin 76). Any
number, rows missing here and there: Krippendorff's alpha (K. Krippendorff, 2011, "Computing
Krippendorff's Alpha-Reliability", sections C and D), with the distance of names, or of numbers.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from projects.models import Review, ReviewQueue
from projects.services import reviews

MOST_PEOPLE = 20  # whose pairs are compared one by one
MOST_LABELS = 50  # of a confusion that is written out

Value = str | float
Said = Mapping[int, Mapping[str, Value]]  # {row: {person: what they said}}


def cohen(first: Sequence[Value], second: Sequence[Value]) -> float | None:
    """Of two people's words on the same rows; None where chance alone would agree on all."""
    total = len(first)
    if not total:
        return None
    agreed = sum(a == b for a, b in zip(first, second, strict=True)) / total
    counts, others = Counter(first), Counter(second)
    chance = sum(counts[one] * others[one] for one in counts) / total**2
    return None if chance == 1 else (agreed - chance) / (1 - chance)


def fleiss(rows: Sequence[Sequence[Value]]) -> float | None:
    """Of the words on each row, as many on each; None of fewer than two, or of one word alone."""
    sizes = {len(row) for row in rows}
    if len(sizes) != 1 or (size := sizes.pop()) < 2:
        return None
    counts = [Counter(row) for row in rows]
    agreed = sum(
        sum(many * (many - 1) for many in one.values()) / (size * (size - 1)) for one in counts
    ) / len(rows)
    overall: Counter[Value] = Counter()
    for one in counts:
        overall.update(one)
    chance = sum((many / (size * len(rows))) ** 2 for many in overall.values())
    return None if chance == 1 else (agreed - chance) / (1 - chance)


def krippendorff(rows: Sequence[Sequence[Value]], *, numbers: bool = False) -> float | None:
    """Of the words on each row, however many; rows with one word say nothing. `numbers`: how far
    two are apart counts squared (interval), not only whether they differ (nominal)."""
    told = [row for row in rows if len(row) > 1]
    every = Counter(value for row in told for value in row)
    total = every.total()
    if len(every) < 2:
        return None

    def apart(counts: Counter[Value]) -> float:
        """Over all ordered pairs of different words."""
        if numbers:
            values = [(float(value), many) for value, many in counts.items()]
            return 2 * sum(m * n * (a - b) ** 2 for (a, m), (b, n) in combinations(values, 2))
        return float(counts.total() ** 2 - sum(many**2 for many in counts.values()))

    observed = sum(apart(Counter(row)) / (len(row) - 1) for row in told) / total
    expected = apart(every) / (total * (total - 1))
    return 1 - observed / expected


def of_queue(queue: ReviewQueue) -> dict[str, Any]:
    """Everything that pages and REST tell of one queue, as JSON.

    `rows` with at least two reviews; `exact`, the share of them on which all said the same;
    `alpha`, `fleiss`; `pairs` of people with Cohen's kappa; `labels`, of each how often a pair of
    reviews agreed where one of them said it; `confusion` between reviewers, and `teacher`, of the
    present labels against what people said.
    """
    said: dict[int, dict[str, Value]] = {}
    before: dict[int, str] = {}
    for one in reviews.given(queue):
        value = _value(queue, one)
        if value is None:
            continue
        said.setdefault(one.item.row_id, {})[one.person.username] = value
        if one.item.label is not None:
            before[one.item.row_id] = one.item.label
    shared = [list(row.values()) for row in said.values() if len(row) > 1]
    is_number = queue.kind == ReviewQueue.Kind.RATINGS
    teacher = _against(said, before) if queue.kind == ReviewQueue.Kind.LABELS else None
    return {
        "rows": len(shared),
        "exact": sum(len(set(row)) == 1 for row in shared) / len(shared) if shared else None,
        "alpha": krippendorff(shared, numbers=is_number),
        "fleiss": fleiss(shared) if shared else None,
        "pairs": _pairs(said),
        "labels": _by_label(shared),
        "confusion": _confusion(said),
        "teacher": teacher,
    }


def _value(queue: ReviewQueue, review: Review) -> Value | None:
    if review.verdict == Review.Verdict.SKIP:
        return None
    if queue.kind == ReviewQueue.Kind.RATINGS:
        return float(review.rating or 0)
    if queue.kind == ReviewQueue.Kind.COMPARE:
        return review.chosen
    return reviews.said_label(review)


def _pairs(said: Said) -> list[dict[str, Any]]:
    people = sorted({person for row in said.values() for person in row})[:MOST_PEOPLE]
    found = []
    for first, second in combinations(people, 2):
        both = [
            (row[first], row[second]) for row in said.values() if first in row and second in row
        ]
        if both:
            found.append(
                {
                    "people": [first, second],
                    "rows": len(both),
                    "agreed": sum(a == b for a, b in both) / len(both),
                    "kappa": cohen([a for a, _ in both], [b for _, b in both]),
                }
            )
    return found


def _by_label(rows: Sequence[Sequence[Value]]) -> list[dict[str, Any]]:
    """The least agreed first."""
    alike: Counter[Value] = Counter()
    either: Counter[Value] = Counter()
    for row in rows:
        for first, second in combinations(row, 2):
            for value in {first, second}:
                either[value] += 1
                alike[value] += first == second
    lines = [
        {"label": str(value), "pairs": many, "agreed": alike[value] / many}
        for value, many in either.items()
    ]
    return sorted(lines, key=lambda line: (line["agreed"], line["label"]))


def _confusion(said: Said) -> list[dict[str, Any]]:
    """Which two words are said of the same row, the commonest first."""
    counts: Counter[tuple[str, str]] = Counter()
    for row in said.values():
        for first, second in combinations(row.values(), 2):
            if first != second:
                one, other = sorted((str(first), str(second)))
                counts[one, other] += 1
    return [{"labels": list(pair), "count": many} for pair, many in counts.most_common(MOST_LABELS)]


def _against(said: Said, before: Mapping[int, str]) -> dict[str, Any]:
    """What people said against the labels that were there: of every review one pair."""
    pairs = [
        (before[row_id], str(value))
        for row_id, row in said.items()
        if row_id in before
        for value in row.values()
    ]
    changed = Counter(pair for pair in pairs if pair[0] != pair[1])
    return {
        "reviews": len(pairs),
        "agreed": sum(a == b for a, b in pairs) / len(pairs) if pairs else None,
        "kappa": cohen([a for a, _ in pairs], [b for _, b in pairs]),
        "confusion": [
            {"was": was, "now": now, "count": many}
            for (was, now), many in changed.most_common(MOST_LABELS)
        ],
    }
