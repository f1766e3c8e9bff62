"""What the kinds of studies are made of: each is a module that says its question, what may be asked
of it, what it calls its ways of training, and which runs it launches (study_kinds.py lists them).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from distillhub.lib.errors import Invalid
from projects.models import Project, User
from training import catalog
from training.models import Study

MOST_SEEDS = 10
SEEDS = 3
GREATEST = 2**31 - 1
LONGEST_NAME = 200

#: Launches a study's first runs. It may complete `study.asked`, which is saved afterwards. Raises
#: Invalid, with fields of the base configuration as they are called there.
Plan = Callable[[Project, Mapping[str, Any], Study, User], None]


def _nothing(asked: Mapping[str, Any]) -> dict[str, Any]:
    return {}


@dataclass(frozen=True, slots=True)
class Kind:
    """One sort of study. `worker/studies.py` tells, by the same key, what came of it."""

    key: str
    question: str  # as its page asks it
    plan: Plan
    arms: Mapping[str, str]  # what each way of training is called in tables, in their order
    knows: frozenset[str] = frozenset()  # what may be asked beside base, seeds, name and notes
    #: Those of its own, checked and complete, for `study.asked`. Raises Invalid.
    understand: Callable[[Mapping[str, Any]], dict[str, Any]] = field(default=_nothing)


def wrong(field: str, sentence: str) -> Invalid:
    return Invalid(f"{field}: {sentence}", fields={field: [sentence]})


def seeds_of(asked: Any) -> list[int]:
    """How many, or which. Raises Invalid."""
    if type(asked) is int:
        asked = list(range(asked)) if 1 <= asked <= MOST_SEEDS else []
    if (
        not isinstance(asked, list)
        or not 1 <= len(asked) <= MOST_SEEDS
        or any(type(one) is not int or not 0 <= one <= GREATEST for one in asked)
        or len(set(asked)) < len(asked)
    ):
        sentence = f"How many, 1 to {MOST_SEEDS}, or a list of as many different whole numbers."
        raise wrong("seeds", sentence)
    return list(asked)


def seeded(base: Mapping[str, Any], seed: int, name: str) -> dict[str, Any]:
    """The configuration with another seed, named after its study."""
    return {
        **base,
        "name": f"{name}, seed {seed}"[:LONGEST_NAME],
        "training": {**mapping(base.get("training")), "seed": seed},
    }


def mapping(value: Any) -> Mapping[str, Any]:
    """What is none is refused where the configuration is read."""
    return value if isinstance(value, Mapping) else {}


def is_taught(base: Mapping[str, Any]) -> bool:
    """Whether there is anything that a control would be without."""
    scheme = base.get("scheme", "offline")
    kind = scheme.get("kind") if isinstance(scheme, Mapping) else scheme
    reasons = [one for one in _losses(base) if catalog.needs_column(one) == "rationale"]
    return bool(base.get("teachers") or reasons or kind not in ("offline", "staged"))


def _losses(base: Mapping[str, Any]) -> list[str]:
    losses = base.get("losses", [])
    if not isinstance(losses, list):
        return []
    return [str(one.get("kind", "")) for one in losses if isinstance(one, Mapping)]
