"""Rows on which two students of a comparison disagree."""

from collections.abc import Sequence
from typing import Any

from django.core.paginator import Paginator
from django.http import QueryDict

from distillhub.lib.errors import DomainError, Invalid
from training.models import Run
from training.services import disagreement

PAGE = 50
KINDS = {
    "both_right": "Both right",
    "only_a": "Only A right",
    "only_b": "Only B right",
    "both_wrong": "Both wrong",
    "a_better": "A nearer",
    "b_better": "B nearer",
    "alike": "Alike",
    "differ": "Answered otherwise",
}


def pair(runs: Sequence[Run]) -> tuple[Run, Run]:
    """Raises Invalid where these are not two."""
    if len(runs) != 2:
        raise Invalid("Choose two different runs.", fields={"b": ["Choose two different runs."]})
    return runs[0], runs[1]


def context(runs: Sequence[Any], asked: QueryDict) -> dict[str, Any]:
    able = [run for run in runs if not run.is_tracked and run.summary.get("student")]
    by_number = {str(run.number): run for run in able}
    a = by_number.get(asked.get("a", "")) or next(iter(able), None)
    others = [run for run in able if a is not None and run.pk != a.pk]
    alike = [run for run in others if a and run.dataset_version_id == a.dataset_version_id]
    b = by_number.get(asked.get("b", "")) or next(iter(alike or others), None)
    context: dict[str, Any] = {
        "able": able, "a": a, "b": b, "refused": "", "found": None,
    }  # fmt: skip
    if a is None or b is None:
        return context
    kind, label = asked.get("kind", "differ"), asked.get("label", "")[:500]
    number = asked.get("page", "1")
    offset = (
        (int(number) - 1) * PAGE if number.isascii() and number.isdigit() and len(number) < 8 else 0
    )
    try:
        found = disagreement.of(
            a=a,
            b=b,
            kind="" if kind == "all" else kind,
            label=label,
            offset=min(max(0, offset), 10**7),
            limit=PAGE,
        )
    except DomainError as error:
        return context | {"refused": error.detail}
    shown = [("all", "All", sum(found.counts.values())), ("differ", KINDS["differ"], found.differ)]
    shown += [(name, KINDS[name], count) for name, count in found.counts.items()]
    return context | {
        "found": found,
        "kind": kind,
        "label": label,
        "kinds": shown,
        "labels": found.version.labels,
        "page": Paginator(range(found.found), PAGE).get_page(number),
    }
