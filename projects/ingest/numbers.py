"""Numbers as people write them in tables: `1.5`, `-3e-2`, `12 %`, `1,234.5`, `1.234,5`.

A comma is the decimal sign only where it cannot part values: in files delimited by something else
than a comma.
"""

import math
import re

#: Words that say that there is no value; of columns of numbers, all of them.
NOTHING = {"", "?", "na", "n/a", "#n/a", "nan", "null", "<na>"}
NO_NUMBER = NOTHING | {"none", "nil", "-", "--", ".", "missing", "unknown"}

_PLAIN = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d*)?", re.ASCII)
_COMMA = re.compile(r"[-+]?(\d+|\d{1,3}(\.\d{3})+)?,\d*([eE][-+]?\d+)?", re.ASCII)


class NotANumber(ValueError):
    """The text is neither a number nor a word for none."""


def number(text: str, *, comma: bool) -> float | None:
    """What a cell says; None where it says that there is none. `comma`: it may be the decimal sign.

    Raises NotANumber, also for numbers too large for a machine.
    """
    text = text.strip()
    if text.lower() in NO_NUMBER:
        return None
    text = text.removesuffix("%").rstrip().replace("\u2212", "-")
    if comma and _COMMA.fullmatch(text) and text.strip("+-.,"):
        text = text.replace(".", "").replace(",", ".")
    elif not comma and _THOUSANDS.fullmatch(text):
        text = text.replace(",", "")
    if not _PLAIN.fullmatch(text):
        raise NotANumber(text[:50])
    value = float(text)
    if not math.isfinite(value):
        raise NotANumber(text[:50])
    return value


def word(text: str) -> str | None:
    """A category; None where the cell says that there is none."""
    text = text.strip()
    return None if text.lower() in NOTHING else text


def written(value: float) -> str:
    """A number as it is stored where a text is: `3`, not `3.0`."""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def is_number(text: str, *, comma: bool) -> bool:
    try:
        return number(text, comma=comma) is not None
    except NotANumber:
        return False
