"""Students made from a teacher: one file a method, found by itself.

A derivation takes a loaded teacher and answers a smaller network of the same task, labels and
preprocessing, whose weights are the teacher's: no run is trained here. Where it must choose what to
keep, it asks a few batches of the dataset; without them, the size of the weights decides.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

from torch import Tensor

from training.engine import alterations
from training.engine import options as opt
from training.engine.data import Batch
from training.engine.errors import ConfigError, Fault, ModelError
from training.engine.networks import Network
from training.engine.registry import Method, Registry
from training.engine.students import ARCHITECTURES
from training.engine.students.transformers_models import model_type_of

JSON = dict[str, Any]


class Example(NamedTuple):
    """A batch of the dataset with its labels by the teacher's columns, or None. Labels are int64
    `[rows]`, -1 where unknown; float32 `[rows, classes]` where there may be several."""

    inputs: Batch
    labels: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Derived:
    """`said` completes the sentence '... of big@2': '3 of 6 layers'."""

    network: Network
    said: str


class Derivation(Method):
    architectures: ClassVar[tuple[str, ...]]  # keys, or model types of transformers
    measures: ClassVar[bool] = False  # keeps other weights when it may look at data
    takes_altered: ClassVar[bool] = False  # teachers with layers their configuration cannot say
    refusals: ClassVar[Mapping[str, str]] = {}  # why not, of those one might expect

    def __init__(self, options: Any) -> None:
        self.options = options

    def derive(self, teacher: Network, examples: Sequence[Example]) -> Derived:
        """A network of its own; the teacher stays as it is. Raises ConfigError for options that do
        not fit this teacher, ModelError for what cannot be done with it."""
        raise NotImplementedError

    @classmethod
    def refusal(cls, architecture: str) -> str:
        """Why this architecture cannot be made smaller so; nothing where it can."""
        kind = model_type_of(architecture)
        if kind in cls.architectures:
            return ""
        reason = cls.refusals.get(kind, "its parts are not known well enough here")
        return f"{cls.label} cannot be done with {architecture}: {reason}."

    @classmethod
    def refused(cls) -> dict[str, str]:
        """Why not, by architecture, of those one might expect."""
        return {
            one.key: cls.refusal(one.key)
            for one in ARCHITECTURES
            if model_type_of(one.key) in cls.refusals
        }

    @classmethod
    def described(cls) -> JSON:
        return {
            **super().described(),
            "architectures": [one.key for one in ARCHITECTURES if not cls.refusal(one.key)],
            "refusals": cls.refused(),
            "measures": cls.measures,
            "takes_altered": cls.takes_altered,
        }


DERIVATIONS: Registry[type[Derivation]] = Registry("derivation", "training.engine.derivations")


def derive(
    method: str,
    values: Mapping[str, Any],
    teacher: Network,
    *,
    name: str,
    examples: Sequence[Example] = (),
) -> Derived:
    """The student called `name` that a method makes of a teacher; smaller than it, and in the mode
    of asking. Raises ConfigError with every fault, ModelError for what cannot be done."""
    if method not in DERIVATIONS:
        offered = ", ".join(one.key for one in DERIVATIONS)
        raise ConfigError([Fault("method", f"It must be one of {offered}.")])
    derivation = DERIVATIONS[method]
    options = opt.build(derivation.Options, values, "options")
    if refused := derivation.refusal(teacher.architecture):
        raise ModelError(refused)
    if alterations.of(teacher.config) and not derivation.takes_altered:
        raise ModelError(
            f"{teacher.name} has factorised or pruned layers already: {derivation.label} must come "
            "first. Do it with the model that this one was made from."
        )
    derived = derivation(options).derive(teacher, examples)
    student = replace(derived.network, name=name)
    if student.parameters >= teacher.parameters:
        raise ModelError(
            f"The student would have {student.parameters:,} weights and its teacher has "
            f"{teacher.parameters:,}: keep less of it."
        )
    student.module.eval()
    return Derived(student, derived.said)
