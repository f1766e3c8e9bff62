"""One thing that is amiss with a training, in words."""

from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """`said` is what the numbers show, `do` what to try; since `step`, where there is one."""

    code: str
    severity: Literal["problem", "hint"]
    title: str
    said: str
    do: str
    step: int | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def written(value: float) -> str:
    return f"{value:.3g}"


def name_of(term: str) -> str:
    return term.replace("_", " ").capitalize()
