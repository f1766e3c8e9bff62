"""Cells of a table as words and numbers, the way a dataset's file writes them. No torch here."""

import math
from typing import Any

#: Names that say that there is none, as projects/ingest/numbers.py reads them in files.
NOTHING = {"", "?", "na", "n/a", "#n/a", "nan", "null", "<na>"}


def word(value: Any) -> str | None:
    """As a dataset's file writes it: `3` for 3.0, `true` for True."""
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def category(value: Any) -> str | None:
    """A name as a dataset's file is read, so that what is sent means what was learned: without
    blanks around it, and None of what says that there is none."""
    found = word(value)
    found = None if found is None else found.strip()
    return None if found is None or found.lower() in NOTHING else found


def number(value: Any) -> float:
    """NaN where there is none: nothing, infinity, or a word. Never raises."""
    if value is None or isinstance(value, bool):
        return math.nan if value is None else float(value)
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return found if math.isfinite(found) else math.nan
