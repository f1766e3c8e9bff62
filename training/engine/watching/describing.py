"""Inputs as numbers and words that are watched: descriptors, or the columns themselves.

    describe("text", texts, tokenizer)      {"described.length": float64 [rows], ...,
                                             "described.language": list of words}
    describe("image" | "audio", contents)   the same of encoded pictures and sounds, in bytes
    describe("columns", rows, columns=kinds(...))      {"input.age": float64 [rows],
                                             "input.place": list of words}, of objects

Signals of numbers are float64 with NaN, those of categories lists of str with None, where a row has
no value: it is None itself, broken, or empty. Nothing here raises for what a row holds. What kind
a signal is, `signals` says. No torch is imported; the tokenizer is read by `tokenizer`.
"""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from training.engine import cells
from training.engine.descriptors import DESCRIPTORS, READS, Descriptor, reading

NUMERIC, CATEGORICAL = "numeric", "categorical"
KINDS: Mapping[str, str] = {NUMERIC: "numbers", CATEGORICAL: "categories"}
DESCRIBED, INPUT = "described.", "input."
MOST_COLUMNS = 500  # of a table that are watched
MOST_WORD = 200  # characters of a cell that stand for it
NUMBERS = 0.95  # of a column's values are numbers: it is one of numbers
FEW = 10  # different numbers or fewer are names of something
MOST_TEXT = 20_000  # characters of a text that are looked at, beyond its length
AT_ONCE = 256  # pictures or sounds held at once

Column = Any  # float64 [rows], or a list of words and None


def signals(
    reads: str, columns: Mapping[str, str] | None = None, *, tokenizer: bool = False
) -> dict[str, str]:
    """What kind of bins each signal of such inputs has: "numbers" or "categories". `columns` are
    those of a table, as `kinds` says them; without a tokenizer nothing is out of its vocabulary."""
    if reads == "columns":
        chosen = list((columns or {}).items())[:MOST_COLUMNS]
        return {f"{INPUT}{name}": KINDS[kind] for name, kind in chosen}
    return {f"{DESCRIBED}{one.key}": one.kind for one in _of(reads, tokenizer)}


def describe(
    reads: str,
    rows: Sequence[Any],
    tokenizer: Any = None,
    columns: Mapping[str, str] | None = None,
) -> dict[str, Column]:
    """Every signal of these rows, in their order; nothing of inputs that are vectors alone."""
    if reads == "columns":
        return _columns(rows, columns or {})
    if reads not in READS:
        return {}
    wanted = _of(reads, tokenizer is not None)
    found: dict[str, list[Any]] = {one.key: [] for one in wanted}
    size = len(rows) if reads == "text" else AT_ONCE
    for start in range(0, len(rows), max(1, size)):
        read = [_read(reads, one) for one in rows[start : start + size]]
        there = [one for one in read if one is not None]
        for one in wanted:
            told = iter(_told(one, there, tokenizer))
            found[one.key] += [None if row is None else next(told) for row in read]
    return {f"{DESCRIBED}{one.key}": _column(found[one.key], one.kind) for one in wanted}


def kinds(rows: Sequence[Any]) -> dict[str, str]:
    """Of each column of objects whether it is numeric or categorical, in the order of first sight.
    Numbers of few kinds are categories, as codes are."""
    values: dict[str, list[Any]] = {}
    for row in rows:
        if isinstance(row, Mapping):
            for name, value in row.items():
                if value is not None and value != "":
                    values.setdefault(str(name), []).append(value)
    found = {}
    for name, some in values.items():
        numbers = np.array([cells.number(one) for one in some])
        known = numbers[np.isfinite(numbers)]
        many = len(known) >= NUMBERS * len(some) and len(np.unique(known)) > FEW
        found[name] = NUMERIC if many else CATEGORICAL
    return found


def tokenizer(folder: Path) -> Any:
    """The tokenizer of a model's folder; None where it has none. Truncated as the student cuts."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        return None
    tokenizers = importlib.import_module("tokenizers")  # not where a web process counts rows
    try:
        return tokenizers.Tokenizer.from_file(str(path))
    except Exception:  # whatever it is, texts are described without it
        return None


# -- inside ---------------------------------------------------------------------------------------


def _of(reads: str, tokenizer: bool) -> list[type[Descriptor]]:
    return [
        one for one in DESCRIPTORS if one.reads == reads and (tokenizer or not one.needs_tokenizer)
    ]


def _read(reads: str, row: Any) -> Any:
    if reads == "text":
        return _written(row)
    return reading.picture(row) if reads == "image" else reading.wave(row)


def _written(row: Any) -> str | None:
    if not isinstance(row, str):
        return None
    try:
        row.encode("utf-8")
    except UnicodeEncodeError:  # half a pair of surrogates, which no tokenizer takes
        return row.encode("utf-8", "replace").decode()
    return row


def _told(one: type[Descriptor], rows: Sequence[Any], tokenizer: Any) -> Sequence[Any]:
    if not rows:
        return []
    if one.reads == "text" and one.key != "length":
        rows = [text if len(text) <= MOST_TEXT else text[:MOST_TEXT] for text in rows]
    return one().of(rows, tokenizer)


def _columns(rows: Sequence[Any], columns: Mapping[str, str]) -> dict[str, Column]:
    found: dict[str, Column] = {}
    for name, kind in list(columns.items())[:MOST_COLUMNS]:
        values = [row.get(name) if isinstance(row, Mapping) else None for row in rows]
        if kind == NUMERIC:
            found[f"{INPUT}{name}"] = np.array([cells.number(one) for one in values], dtype=float)
        else:
            found[f"{INPUT}{name}"] = [_word(one) for one in values]
    return found


def _word(value: Any) -> str | None:
    word = cells.category(value)
    return word[:MOST_WORD] if word else None


def _column(values: Sequence[Any], kind: str) -> Column:
    if kind == "categories":
        return list(values)
    numbers = np.array([np.nan if one is None else one for one in values], dtype=np.float64)
    numbers[~np.isfinite(numbers)] = np.nan
    return numbers
