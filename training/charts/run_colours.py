"""A colour for each run, the same wherever runs are drawn together.

Twenty colours that stay apart for normal sight, protanopia, deuteranopia and tritanopia, on white
and on black (the law is in tests/training/test_compare_charts.py; static/compare.css holds those of
the dark theme). Beyond twenty the dashes change, so that a hundred runs have looks of their own.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import count

LIGHT = (
    "#4f449d", "#919713", "#5a200e", "#825c20", "#2a8c9b", "#231b71", "#6e7a68", "#3d303e",
    "#6f9e6b", "#937b39", "#3f719e", "#534758", "#7e402e", "#460c94", "#6f4c7f", "#3fa1a0",
    "#516a6a", "#663701", "#324074", "#4c0255",
)  # fmt: skip
TONES = {f"run-{place + 1}": colour for place, colour in enumerate(LIGHT)}
PLACES = {colour: place for place, colour in enumerate(LIGHT)}
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")


@dataclass(frozen=True, slots=True)
class Look:
    tone: str  # of TONES
    dash: str  # of DASHES

    @property
    def colour(self) -> str:
        return TONES[self.tone]


def looks(numbers: Iterable[int], chosen: Mapping[int, str] | None = None) -> dict[int, Look]:
    """By its number a run has its own colour, unless people chose one of LIGHT for it; of two that
    would share one, the later run takes the next that is free. When all twenty are taken the next
    dash begins; of two for which the same was chosen the later one takes the next dash."""
    many = len(LIGHT)
    taken: set[int] = set()  # a dash and a place in it
    found: dict[int, Look] = {}

    def take(number: int, at: int) -> None:
        taken.add(at)
        found[number] = Look(f"run-{at % many + 1}", DASHES[at // many % len(DASHES)])

    wanted = sorted(set(numbers))
    for number in wanted:
        place = PLACES.get((chosen or {}).get(number, ""))
        if place is not None:
            take(number, next(at for at in count(place, many) if at not in taken))
    begun = 0
    for number in wanted:
        if number in found:
            continue
        while all(begun * many + place in taken for place in range(many)):
            begun += 1  # this dash is used up
        first = begun * many
        ring = (first + (number - 1 + offset) % many for offset in range(many))
        take(number, next(at for at in ring if at not in taken))
    return found


def of(numbers: Mapping[int, str]) -> dict[int, Look]:
    """`looks` of runs by number, each with what was chosen for it or an empty text."""
    return looks(numbers, numbers)
