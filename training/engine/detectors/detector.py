"""What every detector of drift says and does: one that looks at a window, or one that follows a
stream. No torch here: a worker asks them without it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from training.engine.registry import Method, Registry

JSON = dict[str, Any]

WATCHED: Mapping[str, str] = {
    "numbers": "a column of numbers, or a descriptor of texts, pictures or sounds",
    "categories": "a column of names, or the classes that were predicted",
    "embeddings": "vectors of rows",
    "confidence": "how sure the student is: entropy, or its highest probability",
    "errors": "right or wrong, of rows whose label is known",
    "agreement": "whether the student says what its teacher says",
    "accuracy": "the share that is right, measured or estimated",
    "quality": "what is missing, unseen, out of range or repeated",
    "traffic": "how many rows came, and how long their answers took",
}


@dataclass(frozen=True, slots=True)
class Score:
    """How far a window lies from its reference.

    `value` is the statistic in the detector's unit, and `limit` what it reaches by chance alone
    about as rarely as the option `level` says, at these sizes. `p` is how likely a value as large
    is without drift. `effect` is how large the difference is, whatever the sizes: what chance adds
    to it is taken off, so that it is near 0 without drift. Each is None where it is unknown;
    without data all are, and `said` is a sentence that tells why.
    """

    value: float | None
    p: float | None
    effect: float | None
    limit: float | None
    facts: Mapping[str, Any] = field(default_factory=dict)  # plain JSON: what else is worth a look
    said: str = ""

    @classmethod
    def no_data(cls, said: str) -> "Score":
        return cls(None, None, None, None, said=said)

    @property
    def known(self) -> bool:
        return self.value is not None

    def as_dict(self) -> JSON:
        return asdict(self) | {"facts": dict(self.facts)}


class Detector(Method):
    """`options` is an instance of the class's own Options."""

    watches: ClassVar[tuple[str, ...]]  # of WATCHED
    # "sketches", "rows", "stream", or a sum of its own that adds up, such as "tallies"
    takes: ClassVar[tuple[str, ...]] = ("sketches",)
    unit: ClassVar[str] = ""  # of `value`
    effect_unit: ClassVar[str] = ""  # what `effect` is, in a few words

    def __init__(self, options: Any = None) -> None:
        self.options = self.Options() if options is None else options

    @classmethod
    def described(cls) -> JSON:
        return {
            **super().described(),
            "watches": list(cls.watches),
            "takes": list(cls.takes),
            "unit": cls.unit,
            "effect_unit": cls.effect_unit,
        }


class WindowDetector(Detector, ABC):
    """Compares a window with its reference: two sketches, two arrays of rows, or, where its own
    words say so, two summaries of another kind."""

    @abstractmethod
    def score(self, reference: Any, live: Any) -> Score:
        """Never raises for what data are like: empty, constant or missing ones are `no_data` or a
        score. Raises ValueError for two that cannot be compared, such as sketches in other bins."""


class StreamDetector(Detector, ABC):
    """Follows one value after another. What it knows is plain JSON, so that a row of the database
    keeps it between windows: restored, it goes on as if it had never stopped."""

    takes = ("stream",)

    @abstractmethod
    def update(self, value: float) -> bool:
        """Take in a value; whether the stream has changed, as seen at this value. Having found a
        change, the detector begins anew. What is not finite is passed over."""

    @property
    @abstractmethod
    def state(self) -> JSON:
        """All it knows, as plain JSON."""

    @abstractmethod
    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`."""


DETECTORS: Registry[type[Detector]] = Registry("detector", "training.engine.detectors")
