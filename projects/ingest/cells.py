"""Values of files that know types, as the text that the same table would have as CSV.

A number has no needless digits (`3`, not `3.0`), true and false are written so, what is missing
(null, not a number) is empty, dates and times are ISO 8601, a decimal keeps its digits, a duration
is seconds, and a list or an object is JSON.
"""

import json
import math
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from projects.ingest import numbers
from projects.ingest.formats import BadRow

MOST_DIGITS = 1000  # of a whole number


def cell(value: Any) -> str:
    """Raises BadRow for what is no text."""
    kind = type(value)
    if kind is str:
        return _text(value)
    if value is None:
        return ""
    if kind is bool:
        return "true" if value else "false"
    if kind is int:
        return _whole(value)
    if kind is float:
        return "" if math.isnan(value) else numbers.written(value)
    if kind is list or kind is dict or kind is tuple:
        return _text(_json(value)) if value else ""
    return _other(value)


def _other(value: Any) -> str:
    if isinstance(value, Decimal):
        return "" if value.is_nan() else format(value, "f")
    if isinstance(value, date | time):  # a datetime is a date
        return value.isoformat()
    if isinstance(value, timedelta):
        return numbers.written(value.total_seconds())
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        raise BadRow("holds bytes, which are no text")
    raise BadRow(f"holds a value of the type {type(value).__name__}, which is not read")


def _text(value: str) -> str:
    if "\0" in value:
        raise BadRow("holds a NUL character, which text does not")
    return value


def _whole(value: int) -> str:
    if -(10**18) < value < 10**18:
        return str(value)
    if value.bit_length() > 3 * MOST_DIGITS:  # Python refuses to write some, after a long while
        raise BadRow(f"holds a number of more than {MOST_DIGITS:,} digits")
    return str(value)


def _json(value: Any) -> str:
    try:
        found = json.dumps(value, ensure_ascii=False, default=_within)
    except RecursionError:
        raise BadRow("holds lists or objects too deep within one another") from None
    except (TypeError, ValueError) as error:
        raise BadRow(f"holds what JSON cannot say ({error})") from None
    return found


def _within(value: Any) -> Any:
    """A value within a list or an object that JSON has no word for."""
    return cell(value)
