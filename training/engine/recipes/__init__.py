"""Other libraries' settings in our convention, and back: one file a library.

A recipe has a library's own option names and defaults, and writes what they mean as the losses of a
run, `total = sum of weight * term`. Plain arithmetic without torch, so that web processes do it
too. What cannot be said in the other language is refused with a sentence at its field. That both
say the same is tested against the numbers of the libraries' own code (tests/engine/oracles).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

from training.engine import options as engine_options
from training.engine.errors import ConfigError, Fault
from training.engine.registry import Method, Registry

JSON = dict[str, Any]
EXACT = 1e-9  # of two weights that are meant to be the same


class Recipe(Method):
    """One library. `formula` is its total in its own words, `ours` the same in our terms, `paper`
    the code that was read."""

    ours: ClassVar[str]
    traps: ClassVar[tuple[str, ...]] = ()  # what its users trip over, whatever their settings
    counts_classes: ClassVar[bool] = False  # whether the number of classes changes the weights

    @classmethod
    def to_terms(cls, options: Any, *, classes: int | None = None) -> list[JSON]:
        """The losses of a run that minimises the same, every option written out.

        Raises ConfigError at the setting that our terms cannot express.
        """
        raise NotImplementedError

    @classmethod
    def notes(cls, options: Any) -> list[str]:
        """What to know of these settings, as sentences."""
        return list(cls.traps)

    @classmethod
    def from_terms(cls, losses: Sequence[Mapping[str, Any]], *, classes: int | None = None) -> Any:
        """Options that say the same as these losses, which have every option written out.

        Where several do, the simplest: what a library can say in two ways is said in its default
        one. Raises ConfigError at the loss that the library has no word for.
        """
        raise NotImplementedError

    @classmethod
    def scheme(cls, options: Any) -> JSON:
        """Who learns from whom, as a run's configuration has it: `{"kind": "offline"}`."""
        return {"kind": "offline"}

    @classmethod
    def with_scheme(cls, options: Any, scheme: Mapping[str, Any]) -> Any:
        """The options of `from_terms` for a run of this scheme. Raises ConfigError."""
        if scheme["kind"] != "offline":
            refuse("scheme", f"{cls.label} knows the scheme offline alone.")
        return options

    @classmethod
    def described(cls) -> JSON:
        return {
            "key": cls.key,
            "label": cls.label,
            "summary": cls.summary,
            "formula": cls.formula,
            "ours": cls.ours,
            "paper": cls.paper,
            "traps": list(cls.traps),
            "counts_classes": cls.counts_classes,
            "options": engine_options.describe(cls.Options),
        }


RECIPES: Registry[type[Recipe]] = Registry("recipe", "training.engine.recipes")


@dataclass(frozen=True, slots=True)
class Term:
    """One of the losses to translate back, and its place in their list."""

    place: int
    said: Mapping[str, Any]

    @property
    def weight(self) -> float:
        return float(self.said["weight"])

    def __getitem__(self, name: str) -> Any:
        return self.said[name]

    def refuse(self, name: str, sentence: str) -> NoReturn:
        raise ConfigError([Fault(f"losses.{self.place}.{name}", sentence)])


def refuse(field: str, sentence: str) -> NoReturn:
    raise ConfigError([Fault(field, sentence)])


# Into our terms -------------------------------------------------------------------------------


def total(*terms: JSON) -> list[JSON]:
    """The terms that count, those of weight 0 would only cost time; with neat weights."""
    counting = [
        {**term, "weight": neat(term["weight"], 15)}
        for term in terms
        if term["weight"] > 0 or term.get("final_weight")
    ]
    if not counting:
        refuse("", "All weights are 0, so there is nothing to learn.")
    return counting


def hard_labels(weight: float, *, label_smoothing: float = 0.0) -> JSON:
    return {"kind": "hard_labels", "weight": weight, "label_smoothing": label_smoothing}


def soft_targets(weight: float, temperature: float) -> JSON:
    return {"kind": "soft_targets", "weight": weight, "temperature": temperature}


def counted(classes: int | None) -> int:
    """The number of classes, where it changes a weight. Raises ConfigError when it is not told."""
    if classes is None or classes < 2:
        refuse("classes", "It needs the number of classes, by which it divides.")
    return classes


# And back -------------------------------------------------------------------------------------


def hear(
    losses: Sequence[Mapping[str, Any]],
    library: str,
    kinds: Sequence[str],
    *,
    scheduled: Sequence[str] = (),
) -> dict[str, Term]:
    """The losses by kind, without those of weight 0.

    Raises ConfigError for a kind that the library does not know, and for a weight that changes
    over time unless its kind is among the `scheduled`.
    """
    heard: dict[str, Term] = {}
    faults = []
    for place, loss in enumerate(losses):
        changes = loss.get("weight_schedule", "constant") != "constant"
        if loss["weight"] == 0 and not (changes and loss.get("final_weight")):
            continue
        if loss["kind"] not in kinds:
            sentence = f"{library} has no {loss['kind']}; it knows {', '.join(kinds)}."
            faults.append(Fault(f"losses.{place}.kind", sentence))
        elif changes and loss["kind"] not in scheduled:
            sentence = f"Weights are constant in {library}."
            faults.append(Fault(f"losses.{place}.weight_schedule", sentence))
        heard[loss["kind"]] = Term(place, loss)
    if faults:
        raise ConfigError(faults)
    if not heard:
        refuse("losses", "All weights are 0, so there is nothing to translate.")
    return heard


def unsmoothed(term: Term | None, library: str) -> float:
    """The weight of the hard labels, where the library's cross-entropy takes no smoothing."""
    if term is None:
        return 0.0
    if term["label_smoothing"]:
        term.refuse("label_smoothing", f"The cross-entropy of {library} smooths no labels.")
    return term.weight


def split(
    losses: Sequence[Mapping[str, Any]], library: str, names: str, *, per: float = 1.0
) -> tuple[float, Term | None]:
    """The share of the labels and the teacher's term, where a library splits 1 between the two,
    by `names` such as "alpha and 1 − alpha".

    `per` divides the teacher's part. Raises ConfigError when the weights do not come to 1.
    """
    heard = hear(losses, library, ("soft_targets", "hard_labels"))
    hard, soft = unsmoothed(heard.get("hard_labels"), library), heard.get("soft_targets")
    found = hard + (soft.weight * per if soft else 0.0)
    if abs(found - 1) > EXACT:
        times = "" if per == 1.0 else f" (the teacher's times {per:g} classes)"
        refuse(
            "losses",
            f"{names} split 1 there, and these weights{times} come to {found:.6g}: divide them by "
            "it, and with SGD multiply the learning rate by it.",
        )
    return neat(hard), soft


def neat(number: float, digits: int = 12) -> float:
    """Without what arithmetic left in the last digits: 0.8999999999999999 is 0.9."""
    return float(f"{number:.{digits}g}")


def percent(share: float) -> str:
    return f"{100 * share:.4g} %"
