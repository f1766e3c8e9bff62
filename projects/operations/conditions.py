"""Which rows are meant: the same conditions in lists of rows, in operations and in slices."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from rest_framework import serializers

from projects.ingest import page
from projects.models import DatasetVersion
from projects.operations.operation import Options, refuse

MOST_ROW_IDS = 10_000
MOST_WHERE = 10
MOST_LENGTH = 1 << 31  # characters

#: `column:test:value`, so that it stands in an address as in a body.
_WHERE = re.compile(rf"\A(.+?):({'|'.join(page.TESTS)})(?::(.*))?\Z", re.DOTALL)

#: Types of columns that conditions and orders know.
COMPARED = {"string", "category", "number", "integer"}
NUMBERS = {"number", "integer"}


MORE = {"fold": "More conditions"}


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
    match_case = serializers.BooleanField(
        default=False,
        style=MORE,
        help_text="Upper and lower case of the words count.",
    )
    whole_word = serializers.BooleanField(
        default=False,
        style=MORE,
        help_text="No letter or digit stands beside the words.",
    )
    regex = serializers.BooleanField(
        default=False,
        label="Regular expression",
        style=MORE,
        help_text="The words are a regular expression, as RE2 reads it.",
    )
    length_from = serializers.IntegerField(
        min_value=0,
        max_value=MOST_LENGTH,
        required=False,
        style=MORE,
        help_text="Characters of the text.",
    )
    length_to = serializers.IntegerField(
        min_value=0,
        max_value=MOST_LENGTH,
        required=False,
        style=MORE,
        help_text="Characters of the text.",
    )
    where = serializers.ListField(
        child=serializers.CharField(max_length=1000, trim_whitespace=False),
        required=False,
        max_length=MOST_WHERE,
        label="Columns",
        style=MORE | {"lines": True},
        help_text="`column:test:value`, the test being is, not, contains, from, to or missing.",
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
        style=MORE,
        help_text="Only these rows, by their numbers.",
    )


def filter_of(version: DatasetVersion, conditions: Mapping[str, Any]) -> page.Filter:
    """What `page` finds rows by. Raises Invalid for what this version has not, or cannot be."""
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
    words = conditions.get("q") or None
    regex = bool(words and conditions.get("regex"))
    if words and regex:
        try:
            page.check_pattern(words)
        except page.BadPattern as error:
            raise refuse("q", str(error)) from None
    for end in ("length_from", "length_to"):
        if conditions.get(end) is not None and version.input_column != "text":
            raise refuse(end, "Only rows of text have a length in characters.")
    return page.Filter(
        split=split or None,
        label=conditions.get("label") or None,
        unlabelled=bool(conditions.get("unlabelled")),
        q=words,
        match_case=bool(words and conditions.get("match_case")),
        whole_word=bool(words and conditions.get("whole_word")),
        regex=regex,
        length_from=conditions.get("length_from"),
        length_to=conditions.get("length_to"),
        where=tuple(_where(version, one) for one in conditions.get("where") or ()),
        row_ids=row_ids,
        separator=version.separator,
    )


def sort_of(version: DatasetVersion, text: str | None) -> page.Sort | None:
    """`label`, `-seconds`, `length`: the order that is asked for; None is that of the file. Raises
    Invalid."""
    name = (text or "").removeprefix("-")
    descending = bool(text) and str(text).startswith("-")
    if not name or text == "row_id":
        return None
    if name == "length" and version.input_column == "text":
        return page.Sort(name, descending)
    if name not in comparable(version):
        has = ", ".join([*comparable(version), "length"])
        raise refuse("sort", f"Rows have no column {name!r} to be sorted by; there are {has}.")
    return page.Sort(name, descending)


def comparable(version: DatasetVersion) -> dict[str, bool]:
    """The columns that conditions and orders may name: {name: whether it holds numbers}."""
    return {
        one["name"]: one["type"] in NUMBERS for one in version.columns if one["type"] in COMPARED
    }


def _where(version: DatasetVersion, text: str) -> page.Where:
    """Raises Invalid."""
    found = _WHERE.match(text)
    if found is None:
        tests = ", ".join(page.TESTS)
        raise refuse("where", f"{text[:80]!r} is not column:test:value with a test of {tests}.")
    column, test, value = found[1], found[2], found[3] or ""
    known = comparable(version)
    if column not in known:
        raise refuse("where", f"There is no column {column!r}; there are {', '.join(known)}.")
    if test != "missing" and not value:
        raise refuse("where", f"Say what {column} is compared with, or test for missing.")
    if known[column] and test not in {"missing", "contains"}:
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if math.isnan(number):
            raise refuse("where", f"{column} holds numbers, and {value[:40]!r} is none.")
    return page.Where(column, test, value)


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
        parts.append(f"whose text {_words(conditions)} “{q}”")
    parts += _length(conditions.get("length_from"), conditions.get("length_to"))
    parts += [said(one) for one in conditions.get("where") or ()]
    if issue := conditions.get("issue"):
        parts.append(f"of issue {issue}")
    if (ids := conditions.get("row_ids")) is not None:
        parts.append(f"chosen one by one ({len(ids)})")
    return ", ".join(parts) or "all rows"


def _words(conditions: Mapping[str, Any]) -> str:
    how = "fits" if conditions.get("regex") else "holds"
    how += " the word" if conditions.get("whole_word") else ""
    return how + (" in this case" if conditions.get("match_case") else "")


def _length(least: int | None, most: int | None) -> Sequence[str]:
    if least is None and most is None:
        return []
    if most is None:
        return [f"of at least {least} characters"]
    return [f"of {least or 0} to {most} characters"]


def said(text: str) -> str:
    """A condition on a column in words: `with price ≥ 3`."""
    found = _WHERE.match(text)
    if found is None:
        return text
    if found[2] == "missing":
        return f"without {found[1]}"
    between = {"is": "=", "not": "≠", "contains": "holding", "from": "≥", "to": "≤"}[found[2]]
    return f"with {found[1]} {between} {found[3]}"
