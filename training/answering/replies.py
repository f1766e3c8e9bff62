"""What a service sent back, whichever it is."""

import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from training.answering.faults import Fault

MOST_TEXT = 1 << 20  # characters of an answer that are kept
MOST_TOKENS = 10**9  # that a service may say it has read or written
NEVER = -9999.0  # what services write for the logarithm of nothing


@dataclass(frozen=True, slots=True)
class Step:
    """One token of an answer: what was chosen, and what else was likely there (natural logarithms
    of probabilities). `offset` is its first character in the text, where a service tells."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    text: str
    finish: str = "stop"  # stop, length, filtered or refused
    steps: tuple[Step, ...] = ()
    input_tokens: int = 0
    output_tokens: int = 0
    counted: bool = True  # whether the service told the tokens
    model: str = ""  # that answered, as the service names it
    more: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.text) > MOST_TEXT:
            raise Fault("too_long", f"The answer has more than {MOST_TEXT} characters.", paid=True)

    def stored(self) -> dict[str, Any]:
        """As JSON for the cache."""
        return asdict(self)

    @classmethod
    def restored(cls, stored: dict[str, Any]) -> Self:
        steps = tuple(
            Step(
                one["token"],
                one["logprob"],
                tuple((token, logprob) for token, logprob in one["top"]),
                one["offset"],
            )
            for one in stored["steps"]
        )
        return cls(**stored | {"steps": steps})


def parsed(content: bytes) -> Any:
    """The JSON of a service, without what no database keeps: NUL, halves of characters, numbers
    that are none. Raises ValueError, RecursionError."""
    return _kept(json.loads(content, parse_constant=lambda name: NEVER))


def _kept(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_kept(name): _kept(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_kept(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return NEVER
    return value


def tokens(said: Any) -> int:
    """A count of tokens, whatever a service says it is."""
    return min(max(int(said or 0), 0), MOST_TOKENS)
