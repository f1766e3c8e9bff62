"""How the columns of a table become rows, whatever the file they stand in.

An input text is kept as it stands. A label loses white space around it (reported). Of a table's
columns, numbers are read as numbers (numbers.py) and words lose white space around them. An empty
value of another column becomes missing. Rows without input are left out.
"""

import hashlib
from collections.abc import Sequence

from projects.ingest import labels, numbers, words
from projects.ingest.formats import (
    MOST_LABEL,
    MULTI,
    NUMERIC,
    REGRESSION,
    SPLIT_WORDS,
    TABLE_TASK,
    TOKENS_TASK,
    BadFile,
    LeftOut,
    Plan,
    Row,
)

NEARLY = 0.01  # how far the probabilities of a row may be from 1 together
LARGEST = 1e6  # of weights


class Reader:
    """Makes rows of a file's lines, once its columns are known.

    `comma`: it may be the decimal sign; `noun`: what a place is the number of.
    """

    def __init__(
        self, names: Sequence[str], plan: Plan, file: str, *, comma: bool, noun: str = "line"
    ) -> None:
        self.plan, self.comma, self.noun = plan, comma, noun
        self.text, self.prompt, self.rationale, self.label, self.split = (
            _place(names, plan.columns.get(role), file, f"columns.{role}")
            for role in ("text", "prompt", "rationale", "label", "split")
        )
        self.features = [
            (_place(names, name, file, "columns.features"), kind == NUMERIC)
            for name, kind in plan.features.items()
        ]
        self.others = [names.index(one) if one in names else None for one in plan.others]
        weight = plan.columns.get("weight")
        self.weight = plan.others.index(weight) if weight in plan.others else None
        self.soft = [(plan.others.index(one), one) for one in plan.soft_labels.values()]

    def __call__(self, line: int, values: Sequence[str]) -> Row | LeftOut:
        if self.plan.task == TOKENS_TASK:
            return self._words(line, values)
        if self.plan.task == TABLE_TASK:
            read = self._features(values)
            if not any(one is not None for one in read[0]):
                return LeftOut(str(line), "empty_input")
            features, given, remarks = read
            key = "\x1f".join("" if one is None else str(one) for one in features)
            measures: tuple[int, ...] = ()
        else:
            assert self.text is not None
            given, features, remarks = values[self.text], (), ()
            key = given.strip()
            if not key:
                return LeftOut(str(line), "empty_input")
            if self.prompt is not None:  # the same question in two splits leaks, whatever follows
                features = (values[self.prompt], given)
                if self.rationale is not None:
                    features = (*features, values[self.rationale])
                key = values[self.prompt].strip() or key
                given = f"{values[self.prompt]}\x1f{given}"
            measures = (len(given), len(given.split()))
        label, trimmed = self._label(line, values)
        return Row(
            source=str(line),
            input=given,
            key=hashlib.blake2b(key.encode(), digest_size=8).digest(),
            label=label,
            split=self._split(line, values),
            others=self._beside(line, values, label),
            measures=measures,
            values=features,
            remarks=remarks + (("label_trimmed",) if trimmed else ()),
        )

    def _words(self, line: int, values: Sequence[str]) -> Row | LeftOut:
        """A row whose label is a tag for each word."""
        assert self.text is not None
        said = words.listed(values[self.text])
        tags = None if self.label is None else words.listed(values[self.label])
        return words.row(
            line,
            said,
            tags,
            self.plan,
            split=self._split(line, values),
            others=self._beside(line, values, None),
        )

    def _beside(
        self, line: int, values: Sequence[str], label: str | None
    ) -> tuple[str | float | None, ...]:
        """The cells of the kept columns; weights and probabilities as numbers. Raises BadFile."""
        kept = tuple((values[at] or None) if at is not None else None for at in self.others)
        if self.weight is None and not self.soft:
            return kept
        found: list[str | float | None] = list(kept)
        if self.weight is not None:
            found[self.weight] = self._told(
                line, kept[self.weight], LARGEST, f"no weight from 0 to {LARGEST:.0f}"
            )
        shares = [self._told(line, kept[at], 1.0, "no probability") for at, _ in self.soft]
        for (at, _), share in zip(self.soft, shares, strict=True):
            found[at] = share
        known = [share for share in shares if share is not None]
        if known and len(known) < len(shares):
            lacking = self.soft[shares.index(None)][1]
            raise self._wrong(line, f"has no probability in {lacking!r}, and some in others")
        if known and abs(sum(known) - 1) > NEARLY:
            raise self._wrong(line, f"has probabilities that make {sum(known):.3f}, not 1")
        if label is not None and self.soft and label not in self.plan.soft_labels:
            raise self._wrong(line, f"has the label {label[:50]!r}, which has no probabilities")
        return tuple(found)

    def _told(self, line: int, cell: str | None, most: float, what: str) -> float | None:
        if cell is None:
            return None
        try:
            value = numbers.number(cell, comma=self.comma)
        except numbers.NotANumber:
            raise self._wrong(line, f"says {cell[:50]!r}, {what}") from None
        if value is not None and not 0 <= value <= most:
            raise self._wrong(line, f"says {cell[:50]!r}, {what}")
        return value

    def _wrong(self, line: int, what: str) -> BadFile:
        return BadFile(f"{self.noun.capitalize()} {line} {what}.", line=line)

    def _features(
        self, values: Sequence[str]
    ) -> tuple[tuple[float | str | None, ...], str, tuple[str, ...]]:
        """The numbers and words of a line, its cells as they stand, and what to remark."""
        found: list[float | str | None] = []
        remarks: tuple[str, ...] = ()
        cells: list[str] = []
        for place, is_number in self.features:
            assert place is not None
            cells.append(values[place])
            if not is_number:
                found.append(numbers.word(cells[-1]))
                continue
            try:
                found.append(numbers.number(cells[-1], comma=self.comma))
            except numbers.NotANumber:
                found.append(None)
                remarks = ("not_a_number",)
        return tuple(found), "\x1f".join(cells), remarks

    def _label(self, line: int, values: Sequence[str]) -> tuple[str | None, bool]:
        """As it is stored, and whether white space was taken away. Raises BadFile."""
        if self.label is None:
            return None, False
        given = values[self.label]
        label = given.strip()
        if self.plan.problem == REGRESSION:
            return self._number(line, label), False
        if self.plan.problem == MULTI:
            try:
                parts = labels.several(label, self.plan.separator)
            except BadFile as error:
                raise BadFile(
                    f"{self.noun.capitalize()} {line}: {error.detail}", line=line
                ) from None
            return self.plan.separator.join(parts) or None, False
        if len(label) > MOST_LABEL:
            raise BadFile(
                f"The label in {self.noun} {line} has {len(label)} characters; at most "
                f"{MOST_LABEL} may be. Is this the column of the labels?",
                line=line,
            )
        return label or None, bool(label) and label != given

    def _number(self, line: int, label: str) -> str | None:
        try:
            value = numbers.number(label, comma=self.comma)
        except numbers.NotANumber:
            raise BadFile(
                f"The label in {self.noun} {line} is no number: {label[:50]!r}. Choose another "
                "column, or have its values as classes.",
                line=line,
            ) from None
        return None if value is None else numbers.written(value)

    def _split(self, line: int, values: Sequence[str]) -> str | None:
        if self.split is None:
            return None
        word = values[self.split].strip().lower()
        split = SPLIT_WORDS.get(word)
        if split is None:
            raise BadFile(
                f"{self.noun.capitalize()} {line} says split {word[:50]!r}; use train, "
                "validation or test.",
                line=line,
            )
        return split


def _place(names: Sequence[str], column: str | None, file: str, field: str) -> int | None:
    """Where a column stands. Raises BadFile naming one that is not there."""
    if column is None:
        return None
    if column not in names:
        has = ", ".join(repr(one) for one in names[:20])
        raise BadFile(f"{file} has no column {column!r}; it has {has}.", field=field)
    return names.index(column)
