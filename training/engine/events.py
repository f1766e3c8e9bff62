"""What a job tells while it runs. Each event is one line of the journal: its `type` is the class's
name in lower case, its fields are the line's fields."""

import math
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, Literal

SavedKind = Literal["model", "evaluation", "predictions", "checkpoint"]


@dataclass(frozen=True, slots=True)
class Stage:
    name: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the whole job is. `steps` is 0 and `eta_seconds` null while they are not yet known;
    `fraction` never falls and is 1 only when the job is over."""

    step: int
    steps: int
    fraction: float
    eta_seconds: float | None


@dataclass(frozen=True, slots=True)
class Measured:
    step: int
    epoch: float
    values: dict[str, float]


@dataclass(frozen=True, slots=True)
class Logged:
    text: str
    level: Literal["info", "warning", "error"] = "info"


@dataclass(frozen=True, slots=True)
class Saved:
    """A file (for a checkpoint: a folder, `sha256` of its manifest) under the job's folder."""

    kind: SavedKind
    path: str
    sha256: str
    bytes: int
    step: int


@dataclass(frozen=True, slots=True)
class Resumed:
    step: int


@dataclass(frozen=True, slots=True)
class Halted:
    """The job left between two steps because it was asked to; type `stopped`."""

    step: int


@dataclass(frozen=True, slots=True)
class Failed:
    code: str
    sentence: str
    trace: str


@dataclass(frozen=True, slots=True)
class Finished:
    summary: dict[str, Any]


Event = Stage | Progress | Measured | Logged | Saved | Resumed | Halted | Failed | Finished


def as_line(event: Event) -> dict[str, Any]:
    """The event as a flat object, its type first."""
    kind: type = type(event)
    word, names = _shape(kind)
    return {"type": word, **{name: getattr(event, name) for name in names}}


@cache
def _shape(kind: type) -> tuple[str, tuple[str, ...]]:
    """An event's word in the journal and its fields; asked for in every step."""
    word = "stopped" if kind is Halted else kind.__name__.lower()
    return word, tuple(one.name for one in fields(kind))


def finite(value: Any) -> Any:
    """A copy of a JSON value in which every number that is not finite is a string."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {name: finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    return value
