"""The terms of a run: its scheme, its losses with their weights, and its stages. No torch here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from training.engine import options
from training.engine.errors import Fault
from training.engine.options import JSON, option

Methods = Mapping[str, Any]
MOST_STAGES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How a term's weight changes while a run trains."""

    weight_schedule: str = option(
        "constant",
        choices=("constant", "linear", "warmup"),
        help="constant; linear, from the weight to the final weight; or warmup, from 0 to the "
        "weight in the first tenth of the steps.",
    )
    final_weight: float | None = option(
        None, minimum=0.0, maximum=1e6, help="Where a linear schedule ends; empty for 0."
    )


SCHEDULE = options.describe(Schedule)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """One term of the total: `weight * term`."""

    kind: str
    weight: float
    options: JSON = field(default_factory=dict)
    weight_schedule: str = "constant"
    final_weight: float | None = None

    def weight_at(self, done: float) -> float:
        """Its weight when this share of the steps is done, from 0 to 1."""
        if self.weight_schedule == "linear":
            return self.weight + ((self.final_weight or 0.0) - self.weight) * done
        if self.weight_schedule == "warmup":
            return self.weight * min(1.0, done / 0.1)
        return self.weight

    def as_dict(self) -> JSON:
        said: JSON = {"kind": self.kind, "weight": self.weight, **self.options}
        if self.weight_schedule != "constant":
            said["weight_schedule"] = self.weight_schedule
        if self.final_weight is not None:
            said["final_weight"] = self.final_weight
        return said


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A part of a staged run: its own terms, for its own epochs, at its own rate."""

    name: str
    losses: tuple[Loss, ...]
    epochs: int | None = None  # None: the run's
    learning_rate: float | None = None

    def as_dict(self) -> JSON:
        said: JSON = {"name": self.name, "losses": [loss.as_dict() for loss in self.losses]}
        if self.epochs is not None:
            said["epochs"] = self.epochs
        if self.learning_rate is not None:
            said["learning_rate"] = self.learning_rate
        return said


SCHEDULED = tuple(one["name"] for one in SCHEDULE)
PROBLEMS = {
    "single_label": "one label a row",
    "multi_label": "several labels a row",
    "regression": "numbers as labels",
    "embedding": "vectors instead of labels",
}


def unusual(described: Sequence[JSON], values: JSON) -> JSON:
    """The options, or none where all are at their defaults."""
    usual = all(values.get(one["name"]) == one["default"] for one in described)
    return {} if usual else values


def scheme_as_dict(kind: str, values: JSON) -> str | JSON:
    """`offline`, or `{"kind": "mutual", "students": 3}` where options are not the usual ones."""
    return {"kind": kind, **values} if values else kind


def find(methods: Methods, kind: str, key: Any) -> JSON | None:
    """The catalog's entry of a method, or None."""
    return next((method for method in methods[kind] if method["key"] == key), None)


def keys(methods: Methods, kind: str, task: str | None = None) -> str:
    """The keys on offer, as a sentence lists them."""
    return ", ".join(
        method["key"] for method in methods[kind] if task is None or task in method["tasks"]
    )


def read_text(
    raw: Mapping[str, Any], name: str, faults: list[Fault], *, optional: bool = False
) -> str:
    value = raw.get(name, "" if optional else None)
    if not isinstance(value, str) or (not value.strip() and not optional):
        faults.append(Fault(name, "It must be given." if value is None else "It must be a text."))
        return ""
    if len(value) > 200:
        faults.append(Fault(name, "It must have at most 200 characters."))
    return value.strip()


def read_weight(value: Any, name: str, faults: list[Fault], *, zero: bool = False) -> float:
    described = {"type": "float", "nullable": False, "minimum": 0.0, "maximum": 1e6, "name": name}
    resolved, found = options.check([{**described, "default": 1.0}], {name: value})
    faults += found
    number = float(resolved.get(name, 1.0))
    if number == 0.0 and not zero:
        faults.append(Fault(name, "It must be more than 0."))
    return number


DISTIL = [
    {"kind": "soft_targets", "weight": 0.9, "temperature": 4.0},
    {"kind": "hard_labels", "weight": 0.1},
]
EMBED = [{"kind": "embeddings", "weight": 1.0, "of": "rows"}]
FINE_TUNE = [{"kind": "hard_labels", "weight": 1.0}]


def read_scheme(raw: Any, methods: Methods, task: str, faults: list[Fault]) -> tuple[str, JSON]:
    """A scheme's key and options: `offline`, or `{"kind": "mutual", "students": 2}`."""
    given = {"kind": raw} if isinstance(raw, str) else raw
    kind = given.get("kind") if isinstance(given, Mapping) else None
    found = find(methods, "schemes", kind)
    if found is None or (find(methods, "tasks", task) and task not in found["tasks"]):
        faults.append(Fault("scheme", f"It must be one of {keys(methods, 'schemes', task)}."))
        return "offline", {}
    values = {name: value for name, value in given.items() if name != "kind"}
    resolved, inner = options.check(found["options"], values, "scheme")
    faults += inner
    return str(kind), resolved


def needs_column(methods: Methods, kind: str) -> str:
    """The role of the dataset's column that a term learns from; empty for labels and teachers."""
    return str((find(methods, "losses", kind) or {}).get("needs_column", ""))


def is_taught(methods: Methods, scheme: str, teachers: int, faults: list[Fault]) -> bool:
    """Whether somebody teaches: given teachers, or the scheme's own."""
    found = find(methods, "schemes", scheme) or {}
    if found.get("needs_teacher") and not teachers:
        faults.append(Fault("teachers", f"{found['label']} needs a teacher: choose one."))
    if found.get("brings_teacher"):
        if teachers and not found.get("takes_teachers"):
            faults.append(Fault("teachers", f"In {found['label']} students teach themselves."))
        return True
    return teachers > 0


def read_terms(
    raw: Mapping[str, Any],
    methods: Methods,
    task: str,
    scheme: str,
    taught: bool,
    problem: str,
    faults: list[Fault],
) -> tuple[list[Loss], list[Stage]]:
    """The losses of a run, and of each of its stages where it has some."""
    asked = raw.get("stages")
    if scheme != "staged":
        if asked:
            faults.append(Fault("stages", 'Stages are for the scheme "staged".'))
        losses = read_losses(raw.get("losses"), methods, task, taught, faults, problem=problem)
        faults += _unfitting(methods, scheme, losses, "losses")
        return losses, []
    if not isinstance(asked, list) or not 1 <= len(asked) <= MOST_STAGES:
        faults.append(Fault("stages", f"It must be a list of 1 to {MOST_STAGES} stages."))
        return [], []
    stages = []
    for place, one in enumerate(asked):
        at = f"stages.{place}"
        if not isinstance(one, Mapping):
            faults.append(Fault(at, "It must be an object."))
            continue
        faults += [
            Fault(f"{at}.{name}", "A stage has name, losses, epochs and learning_rate.")
            for name in sorted(set(map(str, one)) - {"name", "losses", "epochs", "learning_rate"})
        ]
        inner: list[Fault] = []
        losses = read_losses(one.get("losses"), methods, task, taught, inner, problem=problem)
        described = [
            {**find_option(methods["training"], name), "nullable": True, "default": None}
            for name in ("epochs", "learning_rate")
        ]
        values, found = options.check(
            described, {k: one[k] for k in ("epochs", "learning_rate") if k in one}
        )
        name = read_text(one, "name", inner, optional=True) or f"stage {place + 1}"
        inner += _unfitting(methods, scheme, losses, "losses")
        faults += [Fault(f"{at}.{fault.field}", fault.sentence) for fault in [*inner, *found]]
        stages.append(Stage(name=name, losses=tuple(losses), **values))
    return list(stages[-1].losses) if stages else [], stages


def _unfitting(methods: Methods, scheme: str, losses: Sequence[Loss], field: str) -> list[Fault]:
    """Terms that look at what only another scheme shows, and a scheme without its own."""
    own = {one["key"] for one in methods["losses"] if one.get("scheme") == scheme}
    faults = []
    for place, loss in enumerate(losses):
        method = find(methods, "losses", loss.kind) or {}
        wanted = method.get("scheme")
        if wanted and wanted != scheme:
            sentence = f'It is for the scheme "{wanted}" alone.'
            faults.append(Fault(f"{field}.{place}.kind", sentence))
        elif own and method.get("needs_column") and loss.kind not in own:
            sentence = f'It has nothing to read in the scheme "{scheme}".'
            faults.append(Fault(f"{field}.{place}.kind", sentence))
    if own and losses and not own & {loss.kind for loss in losses}:
        faults.append(
            Fault(field, f"The scheme wants a term of its own: {', '.join(sorted(own))}.")
        )
    return faults


def find_option(described: Sequence[JSON], name: str) -> JSON:
    """The description of one option. Raises StopIteration when there is none."""
    return next(one for one in described if one["name"] == name)


def read_losses(
    raw: Any,
    methods: Methods,
    task: str,
    taught: bool,
    faults: list[Fault],
    *,
    problem: str = "single_label",
) -> list[Loss]:
    if raw is None:
        raw = EMBED if problem == "embedding" else DISTIL if taught else FINE_TUNE
    if not isinstance(raw, list) or not raw:
        faults.append(Fault("losses", "It must be a list of at least one loss."))
        return []
    chosen: list[Loss] = []
    for place, one in enumerate(raw):
        at = f"losses.{place}"
        kind = one.get("kind") if isinstance(one, Mapping) else None
        found = find(methods, "losses", kind)
        if found is None or task not in found["tasks"]:
            faults.append(
                Fault(f"{at}.kind", f"It must be one of {keys(methods, 'losses', task)}.")
            )
            continue
        if found["needs_teacher"] and not taught:
            faults.append(
                Fault(f"{at}.kind", "It needs a teacher: choose one, or train on hard labels only.")
            )
        if problem not in found["problems"]:
            faults.append(Fault(f"{at}.kind", f"It is not defined for {PROBLEMS[problem]}."))
        if any(loss.kind == kind for loss in chosen):
            faults.append(Fault(f"{at}.kind", "It is there twice; give it one weight."))
        inner: list[Fault] = []
        weight = read_weight(one.get("weight", 1.0), "weight", inner, zero=True)
        faults += [Fault(f"{at}.{fault.field}", fault.sentence) for fault in inner]
        values = {name: value for name, value in one.items() if name not in ("kind", "weight")}
        timed = {name: values.pop(name) for name in SCHEDULED if name in values}
        resolved, inner = options.check(found["options"], values, at)
        over_time, late = options.check(SCHEDULE, timed, at)
        faults += [*inner, *late]
        chosen.append(Loss(kind=str(kind), weight=weight, options=resolved, **over_time))
    if chosen and all(loss.weight == 0.0 for loss in chosen):
        faults.append(Fault("losses", "At least one weight must be more than 0."))
    return chosen
