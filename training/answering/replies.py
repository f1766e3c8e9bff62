"""What a service sent back, whichever it is."""

from dataclasses import asdict, dataclass, field
from typing import Any, Self


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
