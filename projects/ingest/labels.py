"""The labels of all rows, which must be known at once: what their classes are, which rows have the
same, and by what rows are divided into splits.

Stored is always a text: a class; several, joined by their separator; or a number.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from distillhub.lib.later import np
from projects.ingest import statistics, words
from projects.ingest.formats import (
    MOST_LABEL,
    MOST_LABELS,
    MULTI,
    REGRESSION,
    TOKENS_TASK,
    BadFile,
    Plan,
)

Rows: TypeAlias = "np.ndarray[Any, Any]"
STRATA = 10  # ranges of numbers that every split gets its share of


class Labels(ABC):
    """`add` meets every row once, in order; the rest is asked afterwards."""

    @abstractmethod
    def add(self, label: str | None) -> None:
        """Raises BadFile when these cannot be labels."""

    @abstractmethod
    def __len__(self) -> int:
        """Rows met."""

    @property
    def names(self) -> list[str]:
        """The classes, sorted; none of numbers."""
        return []

    @property
    @abstractmethod
    def same(self) -> Rows:
        """`[rows]`: equal numbers for equal labels, -1 without one."""

    @property
    def strata(self) -> Rows:
        """`[rows]`: rows that every split gets its share of have equal numbers."""
        return self.same

    @property
    def classes(self) -> tuple[Rows, Rows]:
        """(rows, classes): a pair for each class of each row."""
        nothing = np.empty(0, dtype=np.int64)
        return nothing, nothing

    def summary(self) -> dict[str, Any]:
        """What statistics say of them beside their counts."""
        return {}


def of(plan: Plan) -> Labels:
    if plan.task == TOKENS_TASK:
        return Tags()
    told = (*plan.labels, *plan.soft_labels)
    if plan.problem == MULTI:
        return Several(plan.separator, told)
    return Numbers() if plan.problem == REGRESSION else Classes(told)


class Classes(Labels):
    """One class of several: four bytes a row. `told` are classes that need no row."""

    def __init__(self, told: Iterable[str] = ()) -> None:
        self.codes = {name: code for code, name in enumerate(dict.fromkeys(told))}
        self.given = array("i")

    def add(self, label: str | None) -> None:
        if label is None:
            self.given.append(-1)
            return
        code = self.codes.setdefault(label, len(self.codes))
        _refuse_many(code)
        self.given.append(code)

    def __len__(self) -> int:
        return len(self.given)

    @property
    def names(self) -> list[str]:
        return sorted(self.codes)

    @property
    def same(self) -> Rows:
        place = {label: index for index, label in enumerate(self.names)}
        renumber = np.array([place[label] for label in self.codes] + [-1], dtype=np.int64)
        found: Rows = renumber[np.frombuffer(self.given, dtype=np.int32)]
        return found

    @property
    def classes(self) -> tuple[Rows, Rows]:
        same = self.same
        rows = np.flatnonzero(same >= 0)
        return rows, same[rows]


class Several(Labels):
    """Any number of classes of each row, told apart by a separator; of an empty text none, which
    is known. `told` need no row."""

    def __init__(self, separator: str, told: Iterable[str] = ()) -> None:
        self.separator = separator
        self.whole = Classes()  # all labels of a row as one text
        self.codes = {name: code for code, name in enumerate(dict.fromkeys(told))}

    def add(self, label: str | None) -> None:
        self.whole.add(label)
        for part in label.split(self.separator) if label else ():
            _refuse_many(self.codes.setdefault(part, len(self.codes)))

    def __len__(self) -> int:
        return len(self.whole)

    @property
    def names(self) -> list[str]:
        return sorted(self.codes)

    @property
    def same(self) -> Rows:
        return self.whole.same

    @property
    def classes(self) -> tuple[Rows, Rows]:
        place = {name: index for index, name in enumerate(self.names)}
        parts = [
            [place[one] for one in text.split(self.separator) if one] for text in self.whole.names
        ]
        same = self.same
        rows = np.flatnonzero(same >= 0)
        many = np.array([len(one) for one in parts], dtype=np.int64)
        if not len(rows):
            return rows, rows
        classes = np.concatenate([np.array(parts[text], dtype=np.int64) for text in same[rows]])
        return np.repeat(rows, many[same[rows]]), classes

    @property
    def strata(self) -> Rows:
        return _by_rarest(len(self), len(self.codes), *self.classes)

    def summary(self) -> dict[str, Any]:
        rows, _ = self.classes
        each = Counter(np.unique(rows, return_counts=True)[1].tolist())
        return {"labels_per_row": {str(many): each[many] for many in sorted(each)}}


class Tags(Labels):
    """A tag for each word: eight bytes a row, and eight for each tag that a row has."""

    def __init__(self) -> None:
        self.codes: dict[str, int] = {}
        self.whole = array("q")  # of each row's tags in order; 0 where none is known
        self.rows, self.tags = array("i"), array("i")
        self.words = Counter[str]()

    def add(self, label: str | None) -> None:
        known = words.known(label)
        row = len(self.whole)
        digest = hashlib.blake2b((label or "").encode(), digest_size=8).digest()
        same = int.from_bytes(digest, "little", signed=True) or 1
        self.whole.append(same if known else 0)
        self.words.update(known)
        for tag in dict.fromkeys(known):
            code = self.codes.setdefault(tag, len(self.codes))
            _refuse_many(code)
            self.rows.append(row)
            self.tags.append(code)

    def __len__(self) -> int:
        return len(self.whole)

    @property
    def names(self) -> list[str]:
        return sorted(self.codes)

    @property
    def same(self) -> Rows:
        whole = np.frombuffer(self.whole, dtype=np.int64)
        found: Rows = np.unique(whole, return_inverse=True)[1]
        return np.where(whole == 0, -1, found)

    @property
    def classes(self) -> tuple[Rows, Rows]:
        place = {tag: index for index, tag in enumerate(self.names)}
        renumber = np.array([place[tag] for tag in self.codes], dtype=np.int64)
        if not len(self.rows):
            return renumber, renumber
        rows = np.frombuffer(self.rows, dtype=np.int32).astype(np.int64)
        return rows, renumber[np.frombuffer(self.tags, dtype=np.int32)]

    @property
    def strata(self) -> Rows:
        return _by_rarest(len(self), len(self.codes), *self.classes)

    def summary(self) -> dict[str, Any]:
        """Words of each tag."""
        return {"words_per_label": dict(self.words.most_common())}


class Numbers(Labels):
    """A number for each row: eight bytes."""

    def __init__(self) -> None:
        self.given = array("d")

    def add(self, label: str | None) -> None:
        self.given.append(float("nan") if label is None else float(label))

    def __len__(self) -> int:
        return len(self.given)

    @property
    def values(self) -> Rows:
        return np.frombuffer(self.given, dtype=np.float64)

    @property
    def same(self) -> Rows:
        values = self.values
        known = np.isfinite(values)
        found = np.full(len(values), -1, dtype=np.int64)
        found[known] = np.unique(values[known], return_inverse=True)[1]
        return found

    @property
    def strata(self) -> Rows:
        """By tenths of the numbers' order."""
        values = self.values
        known = np.isfinite(values)
        found = np.full(len(values), -1, dtype=np.int64)
        if not known.any():
            return found
        edges = np.quantile(values[known], np.linspace(0, 1, STRATA + 1)[1:-1])
        found[known] = np.searchsorted(edges, values[known], side="right")
        return found

    def summary(self) -> dict[str, Any]:
        known = self.values[np.isfinite(self.values)]
        return {"label": statistics.describe_numbers(known)} if len(known) else {}


def _by_rarest(many: int, names: int, rows: Rows, classes: Rows) -> Rows:
    """`[many]`: the rarest class of each row, whose rows are the hardest to share out (Sechidis et
    al.: On the Stratification of Multi-Label Data, 2011)."""
    often = np.bincount(classes, minlength=names)
    rarest_first = np.argsort(often[classes], kind="stable")
    strata = np.full(many, -1, dtype=np.int64)
    # Of each row the last assignment holds, so the rarest comes last.
    back = rarest_first[::-1]
    strata[rows[back]] = classes[back]
    return strata


def _refuse_many(code: int) -> None:
    if code >= MOST_LABELS:
        raise BadFile(
            f"There are more than {MOST_LABELS:,} different labels. Is this the column of the "
            "labels, and not an id, a text or a number?"
        )


def parts(text: str, separator: str) -> list[str]:
    """What stands between the separators of a cell, or in the list of words that it is, as JSON."""
    if text.startswith("[") and text.endswith("]"):
        try:
            listed = json.loads(text)
        except (ValueError, RecursionError):
            return text.split(separator)
        if all(isinstance(one, str | int | float) for one in listed):
            return [one if isinstance(one, str) else json.dumps(one) for one in listed]
    return text.split(separator)


def named(text: str, names: Sequence[str]) -> str:
    """A cell that holds the number of a class, or a list of them, with their names; -1 is none."""
    number = text.strip()
    if number == "-1":
        return ""
    if number.isascii() and number.isdigit():
        return names[int(number)] if int(number) < len(names) else text
    if not (number.startswith("[") and number.endswith("]")):
        return text
    try:
        listed = json.loads(number)
    except (ValueError, RecursionError):
        return text
    return json.dumps(
        [names[one] if type(one) is int and 0 <= one < len(names) else one for one in listed],
        ensure_ascii=False,
    )


def several(text: str, separator: str) -> list[str]:
    """The classes that a cell names, each once, sorted. Raises BadFile for one that is too long,
    and for one of a list that holds what stands between classes."""
    found = sorted({part for one in parts(text, separator) if (part := one.strip())})
    for part in found:
        if len(part) > MOST_LABEL:
            raise BadFile(f"{part[:60]!r}... is too long for a label; is {separator!r} right?")
        if separator in part:
            raise BadFile(
                f"The label {part[:60]!r} holds {separator!r}, which stands between labels. Choose "
                "another separator."
            )
    return found
