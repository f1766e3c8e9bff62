"""Which rows are meant: the same conditions in lists of rows, in operations and in slices."""

from collections.abc import Mapping
from typing import Any

from rest_framework import serializers

from projects.ingest import page
from projects.models import DatasetVersion
from projects.operations.operation import Options, refuse

MOST_ROW_IDS = 10_000


class Conditions(Options):
    """Every condition that is given must hold."""

    split = serializers.CharField(max_length=20, required=False, style={"of": "splits"})
    label = serializers.CharField(  # type: ignore[assignment]
        max_length=200, required=False, style={"of": "labels"}
    )
    unlabelled = serializers.BooleanField(
        default=False, label="Without a label", help_text="Only rows without a label."
    )
    q = serializers.CharField(
        max_length=200,
        required=False,
        label="Words",
        help_text="Stands in the text, in upper or lower case.",
    )
    issue = serializers.CharField(
        max_length=50,
        required=False,
        style={"of": "issues"},
        help_text="Only the rows of one issue, by its code: at most 10 000.",
    )
    row_ids = serializers.ListField(
        child=serializers.IntegerField(min_value=0, max_value=2**53),
        required=False,
        max_length=MOST_ROW_IDS,
        label="Rows",
        help_text="Only these rows, by their numbers.",
    )


def filter_of(version: DatasetVersion, conditions: Mapping[str, Any]) -> page.Filter:
    """What `page` finds rows by. Raises Invalid for a split or issue that there is none of."""
    split, issue = conditions.get("split"), conditions.get("issue")
    if split and split not in version.splits:
        has = ", ".join(version.splits)
        raise refuse("split", f"There is no split {split!r}; there are {has}.")
    ids = conditions.get("row_ids")
    row_ids = None if ids is None else tuple(ids)
    if issue:
        listed = version.rows_of_issue(issue)
        if listed is None:
            raise refuse("issue", "This version has no such issue.")
        row_ids = tuple(listed) if row_ids is None else tuple(set(listed) & set(row_ids))
    return page.Filter(
        split=split or None,
        label=conditions.get("label") or None,
        unlabelled=bool(conditions.get("unlabelled")),
        q=conditions.get("q") or None,
        row_ids=row_ids,
        separator=version.separator,
    )


def told(conditions: Mapping[str, Any]) -> str:
    """As the end of a sentence: `with label refund, in split train`."""
    parts = []
    if split := conditions.get("split"):
        parts.append(f"in split {split}")
    if label := conditions.get("label"):
        parts.append(f"with label {label}")
    if conditions.get("unlabelled"):
        parts.append("without a label")
    if q := conditions.get("q"):
        parts.append(f"whose text holds “{q}”")
    if issue := conditions.get("issue"):
        parts.append(f"of issue {issue}")
    if (ids := conditions.get("row_ids")) is not None:
        parts.append(f"chosen one by one ({len(ids)})")
    return ", ".join(parts) or "all rows"
