"""Numbers and times that are asked for in JSON, and the fault that one of them is."""

from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.dateparse import parse_datetime


class Fault(Exception):
    """At a field; caught where all are gathered."""

    def __init__(self, at: str, sentence: str) -> None:
        super().__init__(sentence)
        self.at, self.sentence = at, sentence


def whole(at: str, value: Any, least: int, most: int) -> int:
    known = isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1
    if not known or not least <= value <= most:
        raise Fault(at, f"It must be a whole number from {least} to {most}.")
    return int(value)


def number(at: str, value: Any, least: float, most: float) -> float:
    known = isinstance(value, int | float) and not isinstance(value, bool)
    if not known or not least <= value <= most:
        raise Fault(at, f"It must be a number from {least:g} to {most:g}.")
    return float(value)


def moment(at: str, value: Any) -> datetime:
    try:
        found = parse_datetime(value) if isinstance(value, str) else None
    except ValueError:
        found = None
    if found is None:
        raise Fault(at, "Write a time, as in 2026-11-27T00:00:00Z.")
    return found if timezone.is_aware(found) else timezone.make_aware(found)
