"""Which live rows a slice means: the conditions of saved slices of a dataset, on what is known of a
row that came.

    {"q", "match_case", "whole_word", "regex"}   words in the text (of a table: in its words)
    {"label"}, {"unlabelled"}                    the label, once it came
    {"length_from", "length_to"}                 characters of the text
    {"where": ["column:test:value", ...]}        test: is, not, contains, from, to, missing

A column is one of a table (`age`), a descriptor (`described.length`, or `length`), `prediction`,
`confidence`, `version`, or a tag (`tags.country`). All must hold. A query that is a text is a
`where` if it reads as one, and words otherwise. A row of which nothing is known that was asked
about (its text was not kept, say) is in no slice. What cannot be understood means no row.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from training.engine.watching import tagging
from training.engine.watching.label_sets import SEPARATOR

if TYPE_CHECKING:
    from training.engine.watching.counting import View

Mask = NDArray[np.bool_]
TESTS = ("is", "not", "contains", "from", "to", "missing")
WHERE = re.compile(rf"\A(.+?):({'|'.join(TESTS)})(?::(.*))?\Z", re.DOTALL)
MOST_WORDS = 20  # columns of words of a table that are searched


def chosen(view: "View", query: Mapping[str, Any] | str) -> Mask:
    """`[rows]`"""
    if isinstance(query, str):
        query = {"where": [query]} if WHERE.match(query) else {"q": query}
    found: Mask = np.ones(len(view), dtype=bool)
    if not len(view):
        return found
    if label := query.get("label"):
        found &= np.array(
            [_is_label(view, one, label) for one in _named(view, "label")], dtype=bool
        )
    if query.get("unlabelled"):
        found &= np.array([one is None for one in _named(view, "label")], dtype=bool)
    if query.get("q"):
        found &= _holding(view, query)
    for name, at_least in (("length_from", True), ("length_to", False)):
        if query.get(name) is not None:
            lengths = _lengths(view)
            edge = _float(query[name])
            found &= lengths >= edge if at_least else lengths <= edge
    where = query.get("where") or ()
    for one in where if isinstance(where, list | tuple) else (where,):
        found &= _fitting(view, str(one))
    return found


def _is_label(view: "View", said: str | None, label: str) -> bool:
    """Of several labels, or tags of words, one of them."""
    if said is not None and view.baseline.several:
        return label in said.split(SEPARATOR)
    if said is not None and view.words is not None:
        return label in tagging.tags_of(said)
    return said == label


def _holding(view: "View", query: Mapping[str, Any]) -> Mask:
    words, any_case = str(query["q"]), not query.get("match_case")
    if not query.get("regex"):
        words = r"\Q" + words.replace(r"\E", r"\E\\E\Q") + r"\E"
    if query.get("whole_word"):  # RE2's own \b knows no letters but those of ASCII
        words = rf"(?:^|[^\pL\pN_])(?:{words})(?:$|[^\pL\pN_])"
    found = np.zeros(len(view), dtype=bool)
    for values in _searched(view):
        try:
            hits = pc.match_substring_regex(
                pa.array(values, pa.string()), words, ignore_case=any_case
            )
        except pa.ArrowInvalid:  # no regular expression
            return np.zeros(len(view), dtype=bool)
        found |= np.asarray(pc.fill_null(hits, False))
    return found


def _searched(view: "View") -> list[Sequence[str | None]]:
    if (texts := _texts(view)) is not None:
        return [_clean(texts)]
    signals = view.signals()
    words = [
        values
        for name, (kind, values) in signals.items()
        if kind == "categories" and name.startswith("input.")
    ]
    return [_clean(one) for one in words[:MOST_WORDS]]


def _texts(view: "View") -> list[str | None] | None:
    """None of tables: parts of theirs have that column too, and nothing in it."""
    if view.baseline.reads == "columns" or "text" not in view.table.column_names:
        return None
    return _named(view, "text")


def _clean(values: Sequence[str | None]) -> list[str | None]:
    """Without half pairs of surrogates, which Arrow takes no text with."""
    return [None if one is None else one.encode("utf-8", "replace").decode() for one in values]


def _lengths(view: "View") -> NDArray[np.float64]:
    """NaN where it is unknown, which is neither longer nor shorter than anything."""
    if (texts := _texts(view)) is not None:
        return np.array([math.nan if one is None else len(one) for one in texts], dtype=float)
    return _as_numbers(_column(view, "described.length"), len(view))


def _fitting(view: "View", text: str) -> Mask:
    asked = WHERE.match(text)
    if asked is None:
        return np.zeros(len(view), dtype=bool)
    name, test, value = asked[1], asked[2], asked[3] or ""
    values = _column(view, name)
    if values is None:
        return np.full(len(view), test == "missing")
    numeric = not isinstance(values, list)
    if test == "missing":
        if numeric:
            return np.asarray(np.isnan(values))
        return np.array([one in (None, "") for one in values], dtype=bool)
    if test == "contains":
        low = value.lower()
        return np.array([low in _word(one).lower() for one in values], dtype=bool)
    number = _float(value)
    if numeric or (test in ("from", "to") and not math.isnan(number)):
        told = _as_numbers(values, len(view))
        with np.errstate(invalid="ignore"):
            fits: dict[str, Mask] = {
                "is": told == number,
                "not": told != number,
                "from": told >= number,
                "to": told <= number,
            }
        return fits[test]
    if test == "not":
        return np.array([one != value for one in values], dtype=bool)
    return np.array([one is not None and _compares(test, one, value) for one in values], dtype=bool)


def _compares(test: str, one: str, value: str) -> bool:
    if test == "is":
        return one == value
    return one >= value if test == "from" else one <= value


def _column(view: "View", name: str) -> Any:
    """A list of words, an array of numbers, or None where rows have no such column."""
    if name in ("prediction", "label", "version"):
        return (
            view.numbers
            if name == "prediction" and view.numbers is not None
            else _named(view, name)
        )
    if name == "confidence":
        return view.sureness().top if view.is_sure else None
    if name.startswith("tags."):
        wanted = name.removeprefix("tags.")
        return [_tag(one, wanted) for one in _named(view, "tags")]
    signals = view.signals()
    for known in (name, f"input.{name}", f"described.{name}"):
        if known in signals and known != "vector":
            return signals[known][1]
    return None


def _tag(said: str | None, name: str) -> str | None:
    if not said:
        return None
    found = json.loads(said).get(name)
    return None if found is None else str(found)


def _named(view: "View", name: str) -> list[Any]:
    if name not in view.table.column_names:
        return [None] * len(view)
    found: list[Any] = view.table[name].to_pylist()
    return found


def _as_numbers(values: Any, rows: int) -> NDArray[np.float64]:
    if values is None:
        return np.full(rows, math.nan)
    return np.array([_float(one) for one in values], dtype=np.float64)


def _float(value: Any) -> float:
    try:
        return math.nan if value is None else float(value)
    except (TypeError, ValueError):
        return math.nan


def _word(value: Any) -> str:
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else str(value)
