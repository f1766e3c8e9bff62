"""A colour for each run, the same wherever runs are drawn together.

Twenty colours that stay apart for normal sight, protanopia, deuteranopia and tritanopia, on white
and on black (the law is in tests/training/test_compare_charts.py; static/compare.css holds those of
the dark theme). Beyond twenty the dashes change, so that a hundred runs have looks of their own.
"""

from collections.abc import Iterable
from dataclasses import dataclass

LIGHT = (
    "#4f449d", "#919713", "#5a200e", "#825c20", "#2a8c9b", "#231b71", "#6e7a68", "#3d303e",
    "#6f9e6b", "#937b39", "#3f719e", "#534758", "#7e402e", "#460c94", "#6f4c7f", "#3fa1a0",
    "#516a6a", "#663701", "#324074", "#4c0255",
)  # fmt: skip
TONES = {f"run-{place + 1}": colour for place, colour in enumerate(LIGHT)}
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")


@dataclass(frozen=True, slots=True)
class Look:
    tone: str  # of TONES
    dash: str  # of DASHES

    @property
    def colour(self) -> str:
        return TONES[self.tone]


def looks(numbers: Iterable[int]) -> dict[int, Look]:
    """By its number a run has its own colour; of two that would share one, the later run takes the
    next that is free. When all twenty are taken the next dash begins."""
    many = len(LIGHT)
    taken: set[int] = set()
    found: dict[int, Look] = {}
    for number in sorted(set(numbers)):
        begun = len(taken) // many  # so many dashes are used up
        first = begun * many
        at = next(
            place
            for offset in range(many)
            if (place := first + (number - 1 + offset) % many) not in taken
        )
        taken.add(at)
        found[number] = Look(f"run-{at % many + 1}", DASHES[begun % len(DASHES)])
    return found
