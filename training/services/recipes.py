"""Other libraries' settings as the losses of a run, and back; for pages and REST alike."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from distillhub.lib.errors import Invalid
from training import catalog
from training.engine import options as engine_options
from training.engine import terms
from training.engine.errors import ConfigError, Fault
from training.engine.recipes import RECIPES, Recipe

JSON = dict[str, Any]
SYMBOL_T = re.compile(r"(?<![A-Za-z])T(?![A-Za-z])")
#: A formula's part for one form of the term: `rkd: huber(…). pkt: …`.
FORMS = re.compile(r"(?:^|\. )(\w+): ")
#: Terms are read as those of the task that knows most of them.
TASK = "text-classification"


def listed() -> list[JSON]:
    """Every recipe by name, with its options, formulas, and what its users trip over."""
    described = [recipe.described() for recipe in RECIPES]
    return sorted(described, key=lambda one: str(one["label"]).lower())


def find(key: Any) -> type[Recipe]:
    """Raises Invalid."""
    if not isinstance(key, str) or key not in RECIPES:
        offered = ", ".join(recipe.key for recipe in RECIPES)
        raise _invalid([Fault("recipe", f"It must be one of {offered}.")])
    return RECIPES[key]


def translate(*, recipe: str, options: Any = None, classes: int | None = None) -> JSON:
    """What the settings of a library are here: `{"recipe", "options", "losses", "scheme",
    "formula", "notes"}`.

    Raises Invalid with `options.alpha`, … in its fields.
    """
    found = find(recipe)
    if not isinstance(options, Mapping | None):
        raise _invalid([Fault("options", "It must be an object of the library's own options.")])
    described = engine_options.describe(found.Options)
    values, faults = engine_options.check(described, options or {}, "options")
    if faults:
        raise _invalid(faults)
    settings = found.Options(**values)
    try:
        losses = found.to_terms(settings, classes=classes)
    except ConfigError as error:
        names = {one["name"] for one in described}
        raise _invalid(
            Fault(f"options.{at}" if at in names else at, said) for at, said in error.faults
        ) from None
    return _answer(found, settings, losses)


def translate_back(
    *, recipe: str, losses: Any, scheme: Any = "offline", classes: int | None = None
) -> JSON:
    """The settings of a library that say what these losses say; the answer as of `translate`.

    Raises Invalid with `losses.0.weight`, … in its fields.
    """
    found = find(recipe)
    complete, asked = _complete(losses), _scheme(scheme)
    try:
        settings = found.with_scheme(found.from_terms(complete, classes=classes), asked)
    except ConfigError as error:
        raise _invalid(error.faults) from None
    return _answer(found, settings, complete)


def elsewhere(
    *, losses: list[JSON], scheme: Any, beside: str, classes: int | None = None
) -> list[JSON]:
    """How the other libraries say the same: `{"recipe", "label", "options", "refusal"}` each, with
    the options that are not their defaults, or the sentence why not. Those that can come first."""
    complete, asked, told = _complete(losses), _scheme(scheme), []
    for recipe in sorted(RECIPES, key=lambda one: one.label.lower()):
        if recipe.key == beside:
            continue
        said: JSON = {"recipe": recipe.key, "label": recipe.label, "options": {}, "refusal": ""}
        try:
            settings = recipe.from_terms(complete, classes=classes)
            said["options"] = _unusual(recipe, recipe.with_scheme(settings, asked))
        except ConfigError as error:
            said["refusal"] = " ".join(fault.sentence for fault in error.faults)
        told.append(said)
    return sorted(told, key=lambda one: bool(one["refusal"]))


def written(losses: list[JSON]) -> str:
    """`total = 0.9 · 2² · KL(softmax(t/2) ‖ softmax(s/2)) + 0.1 · −log softmax(s)[label]`."""
    return "total = " + " + ".join(f"{weight(loss)} · {formula(loss)}" for loss in losses)


def formula(loss: Mapping[str, Any]) -> str:
    """Of one term, with its temperature as a number. Of several problems, that of one label."""
    if loss["kind"] == "jsd" and loss.get("form") == "raw":
        return _raw_jsd(loss["beta"], loss["temperature"])
    said = str((catalog.find("losses", loss["kind"]) or {}).get("formula", loss["kind"]))
    said = said.partition("; ")[0]
    forms = FORMS.split(said)
    if len(forms) > 1 and loss.get("form") in forms:
        said = forms[forms.index(loss["form"]) + 1]
    temperature = loss.get("temperature")
    return said if temperature is None else SYMBOL_T.sub(f"{temperature:g}", said)


def _raw_jsd(beta: float, temperature: float) -> str:
    """The catalog writes its normalised form, which this is not."""
    at = "" if temperature == 1 else f", softened by {temperature:g}"
    if beta in (0, 1):
        return ("KL(s ‖ t)" if beta else "KL(t ‖ s)") + at
    rest = f"{1 - beta:.6g}"
    return f"({beta:g} KL(t ‖ m) + {rest} KL(s ‖ m)), m = {beta:g} t + {rest} s{at}"


def weight(loss: Mapping[str, Any]) -> str:
    """`0.05`, or `1 → 0` where it changes while a run trains."""
    now = f"{loss['weight']:.5g}"
    if loss.get("weight_schedule", "constant") == "constant":
        return now
    return f"({now} → {loss.get('final_weight') or 0.0:.5g})"


def _answer(recipe: type[Recipe], settings: Any, losses: list[JSON]) -> JSON:
    scheme = recipe.scheme(settings)
    kind = scheme.pop("kind")
    return {
        "recipe": recipe.key,
        "options": dataclasses.asdict(settings),
        "losses": losses,
        "scheme": terms.scheme_as_dict(kind, scheme),
        "formula": written(losses),
        "notes": recipe.notes(settings),
    }


def _unusual(recipe: type[Recipe], settings: Any) -> JSON:
    """The options that somebody has to set there."""
    return {
        field.name: getattr(settings, field.name)
        for field in dataclasses.fields(recipe.Options)
        if getattr(settings, field.name) != field.default
    }


def _complete(losses: Any) -> list[JSON]:
    """With every option written out. Raises Invalid."""
    faults: list[Fault] = []
    read = terms.read_losses(losses, catalog.methods(), TASK, True, faults)
    if losses is None:
        faults.append(Fault("losses", "It must be a list of at least one loss."))
    if faults:
        raise _invalid(faults)
    return [loss.as_dict() for loss in read]


def _scheme(scheme: Any) -> JSON:
    """With every option written out. Raises Invalid."""
    faults: list[Fault] = []
    kind, values = terms.read_scheme(scheme, catalog.methods(), "", faults)
    if faults:
        raise _invalid(faults)
    return {"kind": kind, **values}


def _invalid(faults: Any) -> Invalid:
    fields: dict[str, list[str]] = {}
    for fault in faults:
        fields.setdefault(fault.field, []).append(fault.sentence)
    return Invalid(
        " ".join(sentence for told in fields.values() for sentence in told), fields=fields
    )
