"""The terms of a run while its form is open: one list of losses, or one a stage; and the scheme.

Texts are kept as they were typed. Here they become fields, formulas and shares for a page, and the
values of a configuration.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from training.engine import terms as engine_terms
from training.forms import fields

Texts = dict[str, str]
MOST_TERMS = 20
UNFOLDED = 2  # options of a term that are seen at once, beside its weight
GROUPS = {"answers": "Answers", "layers": "Layers", "rows": "Rows together"}
WEIGHT: dict[str, Any] = {
    "name": "weight", "type": "float", "default": 1.0, "nullable": False, "minimum": 0.0,
    "maximum": None, "choices": [], "label": "Weight",
    "help": "How much of the total this term makes.",
}  # fmt: skip
#: A formula's part for one form of the term: `rkd: huber(…). pkt: …`.
FORMS = re.compile(r"(?:^|\. )(\w+): ")


@dataclass(slots=True)
class Part:
    """Losses as they were typed; of a stage also its name, epochs and learning rate."""

    losses: list[Texts] = field(default_factory=list)
    name: str = ""
    epochs: str = ""
    learning_rate: str = ""

    @property
    def typed(self) -> Texts:
        return {"epochs": self.epochs, "learning_rate": self.learning_rate}


@dataclass(slots=True)
class Term:
    """One loss as the page shows it."""

    place: int
    kind: str
    at: str  # its path in the configuration
    method: Mapping[str, Any]
    main: list[fields.OptionField]
    folded: list[fields.OptionField]
    weight: str
    share: float  # of the weights, in per cent
    formula: str

    @property
    def kind_at(self) -> str:
        return f"{self.at}.kind"

    @property
    def has_folded_news(self) -> bool:
        return any(one.is_changed or one.errors for one in self.folded)


@dataclass(slots=True)
class StageView:
    """One stage as the page shows it."""

    place: int
    part: Part
    terms: list[Term]
    addable: list[tuple[str, list[Mapping[str, Any]]]]
    options: list[fields.OptionField]  # epochs and learning rate
    is_last: bool

    @property
    def at(self) -> str:
        return f"stages.{self.place}"

    @property
    def losses_at(self) -> str:
        return f"{self.at}.losses"

    @property
    def name(self) -> str:
        return self.part.name or f"stage {self.place + 1}"

    @property
    def name_at(self) -> str:
        return f"{self.at}.name"

    @property
    def uses_teachers(self) -> bool:
        return any(term.method.get("needs_teacher") for term in self.terms)


def described(methods: engine_terms.Methods, kind: str) -> list[dict[str, Any]]:
    """The options of a term: its weight, its own, and how the weight changes."""
    method = engine_terms.find(methods, "losses", kind) or {}
    return [WEIGHT, *method.get("options", []), *engine_terms.SCHEDULE]


def values(methods: engine_terms.Methods, term: Texts) -> dict[str, Any]:
    """A term as the configuration has it."""
    return {"kind": term["kind"], **fields.read(described(methods, term["kind"]), term)}


def shown(
    methods: engine_terms.Methods,
    losses: Sequence[Texts],
    *,
    at: str,
    problem: str,
    faults: fields.Faults,
) -> list[Term]:
    """The terms of one sum; `at` is the path of their list."""
    sizes = [_size(term) for term in losses]
    total = sum(sizes) or 1.0
    made = []
    for place, (term, size) in enumerate(zip(losses, sizes, strict=True)):
        method = engine_terms.find(methods, "losses", term["kind"]) or {}
        options = fields.shown(
            described(methods, term["kind"]), term, at=f"{at}.{place}", faults=faults
        )
        seen = 1 + min(UNFOLDED, len(method.get("options", [])))
        made.append(
            Term(
                place=place,
                kind=term["kind"],
                at=f"{at}.{place}",
                method=method,
                main=options[:seen],
                folded=options[seen:],
                weight=_weight(term),
                share=round(100 * size / total, 1),
                formula=formula(method, term, problem),
            )
        )
    return made


def addable(
    methods: engine_terms.Methods, losses: Sequence[Texts], *, task: str, problem: str
) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """The losses that fit and are not there yet, by what they compare."""
    present = {term["kind"] for term in losses}
    groups: list[tuple[str, list[Mapping[str, Any]]]] = []
    for key, label in GROUPS.items():
        fitting = [
            loss
            for loss in methods["losses"]
            if loss["compares"] == key and loss["key"] not in present and fits(loss, task, problem)
        ]
        if fitting:
            groups.append((label, fitting))
    return groups


def fits(method: Mapping[str, Any], task: str, problem: str) -> bool:
    return task in method["tasks"] and problem in method.get("problems", [problem])


def formula(method: Mapping[str, Any], term: Mapping[str, str], problem: str) -> str:
    """The formula of this problem and form, with options that have a symbol as numbers."""
    said = str(method.get("formula") or term["kind"])
    problems = list(method.get("problems", []))
    by_problem = said.split("; ")
    if len(by_problem) > 1 and problem in problems:
        said = by_problem[min(problems.index(problem), len(by_problem) - 1)]
    forms = FORMS.split(said)
    if len(forms) > 2:
        by_form = dict(zip(forms[1::2], forms[2::2], strict=True))
        default = next(
            (one["default"] for one in method["options"] if one["name"] == "form"), forms[1]
        )
        said = by_form.get(term.get("form", default), f"{method['label']}, {term.get('form')}")
    for option in method.get("options", []):
        symbol = "T" if option["name"] == "temperature" else option["label"]
        value = term.get(option["name"], "").strip()
        if len(symbol) == 1 and value:
            said = re.sub(rf"(?<![A-Za-z]){symbol}(?![A-Za-z])", value, said)
    return said


def listed(texts: Texts) -> list[Texts]:
    """`{"0.kind": ..., "0.weight": ..., "2.kind": ...}` as a list in the order of its numbers."""
    grouped = by_number(texts)
    return [grouped[place] for place in sorted(grouped) if grouped[place].get("kind")][:MOST_TERMS]


def by_number(texts: Texts) -> dict[int, Texts]:
    grouped: dict[int, Texts] = {}
    for name, value in texts.items():
        place, _, rest = name.partition(".")
        if place.isascii() and place.isdigit() and len(place) < 4 and rest:
            grouped.setdefault(int(place), {})[rest] = value
    return grouped


def parts(texts: Texts) -> list[Part]:
    """The posted stages: `{"0.name": ..., "0.losses.1.kind": ...}`."""
    grouped = by_number(texts)
    return [
        Part(
            losses=listed(fields.under("losses", stage)),
            name=stage.get("name", "")[:200],
            epochs=stage.get("epochs", ""),
            learning_rate=stage.get("learning_rate", ""),
        )
        for _, stage in sorted(grouped.items())
    ][: engine_terms.MOST_STAGES]


def written(loss: Mapping[str, Any]) -> Texts:
    """A term of a configuration as texts; parts of it that are no option's value are left out."""
    return {str(name): fields.written(value) for name, value in loss.items() if simple(value)}


def simple(value: Any) -> bool:
    """Whether an option could have this value: one word or number, or a list of them."""
    several = value if isinstance(value, list) else [value]
    return all(isinstance(one, str | int | float | bool | None) for one in several)


def _weight(term: Texts) -> str:
    """`0.9`, or `0.9 → 0.1` where it changes while the run trains."""
    now = f"{number(term.get('weight', '1')):g}"
    match term.get("weight_schedule"):
        case "linear":
            return f"{now} → {number(term.get('final_weight', '0')):g}"
        case "warmup":
            return f"0 → {now}"
    return now


def _size(term: Texts) -> float:
    """The weight at its largest."""
    final = term.get("final_weight", "") if term.get("weight_schedule") == "linear" else ""
    return max(number(term.get("weight", "1")), number(final))


def number(text: str) -> float:
    try:
        read = float(text)
    except ValueError:
        return 0.0
    return read if 0 <= read < 1e9 else 0.0
