"""What a sweep varies: paths into a run configuration, each with a range or a list of values.

    {"losses.0.temperature": {"low": 1, "high": 10}, "training.learning_rate": {"low": 1e-4,
     "high": 0.1, "log": true}, "student": {"values": ["tiny@1", "small@1"]}}

A range is of an option that is a number, within the limits that it declares; a list may be of
anything that the configuration takes at that place. Every value at an edge, and every listed one,
is held against the whole configuration before anything is launched.
"""

import math
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from distillhub.lib.errors import Invalid
from projects.models import Project
from training import catalog
from training.engine import terms
from training.services import references
from training.services.study_parts import mapping

MOST_DIMENSIONS = 12
MOST_VALUES = 30
MOST_STEPS = 1_000_000
PATH = re.compile(r"[a-z_]+(\.[a-z0-9_]+){0,4}", re.ASCII)
REFERENCE = re.compile(r"student|teachers\.\d{1,2}", re.ASCII)

#: What may not be varied, and why.
REFUSED = {
    "name": "Trials are named by the sweep.",
    "task": "Every trial is of one task: scores of others cannot be compared.",
    "dataset": "Every trial is judged on the same rows. Sweep each dataset by itself.",
    "control": 'Ask the sweep itself for it: "control": true searches for both as long.',
    "exports": "Trials are not shipped: the best one becomes a run, which is.",
    "resources": "It does not change what a trial is worth.",
    "evaluation": "Trials are judged on validation rows alone.",
    "teacher_outputs": "It does not change what a trial is worth.",
    "top_k": "It changes what the teacher is taken to say. Sweep each by itself.",
    "training.seed": "The best of several seeds is luck. The best trial is trained with several.",
    "training.selection_metric": "Every trial is judged by one metric: say which as `metric`.",
    "training.checkpoint_every_steps": "It does not change what a trial is worth.",
}
Space = dict[str, dict[str, Any]]
Faults = dict[str, list[str]]


def lay(configuration: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with each value at its path. Raises KeyError where there is no such
    place."""
    laid: dict[str, Any] = deepcopy(dict(configuration))
    for path, value in parameters.items():
        _put(laid, path.split("."), value)
    return laid


def _put(at: Any, steps: Sequence[str], value: Any) -> None:
    first, rest = steps[0], steps[1:]
    if isinstance(at, list):
        place = int(first) if first.isdecimal() else -1
        if not 0 <= place < len(at):
            raise KeyError(first)
        if rest and rest[0] == "weight" and isinstance(at[place], str):  # a teacher by its name
            at[place] = {"model": at[place]}
        if not rest and isinstance(at[place], Mapping) and "model" in at[place]:
            value = {**at[place], "model": value}
        if rest:
            _put(at[place], rest, value)
        else:
            at[place] = value
        return
    if not isinstance(at, dict):
        raise KeyError(first)
    if not rest:
        at[first] = value
        return
    if first == "scheme" and isinstance(at.get(first), str):
        at[first] = {"kind": at[first]}
    _put(at.setdefault(first, {}), rest, value)


def size(space: Space) -> int | None:
    """How many configurations it holds; None where it has no end."""
    sizes = [count(one) for one in space.values()]
    return None if None in sizes else math.prod(one for one in sizes if one is not None)


def count(one: Mapping[str, Any]) -> int | None:
    """How many values a dimension has; None of a range without steps."""
    if "values" in one:
        return len(one["values"])
    step = one["step"] or (1 if one["type"] == "int" else None)
    return None if step is None else math.floor((one["high"] - one["low"]) / step + 1e-9) + 1


def understand(asked: Any) -> Space:
    """Its shape, checked; what the values mean is checked by `settle`. Raises Invalid."""
    if not isinstance(asked, Mapping) or not 1 <= len(asked) <= MOST_DIMENSIONS:
        sentence = f"It must name 1 to {MOST_DIMENSIONS} options, each with a range or values."
        raise Invalid(f"space: {sentence}", fields={"space": [sentence]})
    faults: Faults = {}
    space: Space = {}
    for path, said in asked.items():
        try:
            space[str(path)] = _dimension(str(path), said)
        except ValueError as fault:
            faults[f"space.{path}"] = [str(fault)]
    if faults:
        raise _invalid(faults)
    return space


def _dimension(path: str, said: Any) -> dict[str, Any]:
    for refused, why in REFUSED.items():
        if path == refused or path.startswith(f"{refused}."):
            raise ValueError(f"It cannot be varied. {why}")
    if not PATH.fullmatch(path):
        raise ValueError("It must be a path, such as training.learning_rate.")
    if isinstance(said, list):
        said = {"values": said}
    if not isinstance(said, Mapping):
        raise ValueError('It must be {"low", "high", "log"?, "step"?} or {"values": [...]}.')
    if "values" in said:
        if unknown := sorted(set(map(str, said)) - {"values"}):
            raise ValueError(f"Beside values there is no {unknown[0]}.")
        return {"values": _values(said["values"])}
    if unknown := sorted(set(map(str, said)) - {"low", "high", "log", "step"}):
        raise ValueError(f"A range has low, high, log and step, and no {unknown[0]}.")
    return _range(said)


def _values(said: Any) -> list[Any]:
    if not isinstance(said, list) or not 2 <= len(said) <= MOST_VALUES:
        raise ValueError(f"It must be a list of 2 to {MOST_VALUES} values.")
    if any(said[at] == other for at in range(len(said)) for other in said[:at]):
        raise ValueError("A value stands there twice.")
    return list(said)


def _range(said: Mapping[str, Any]) -> dict[str, Any]:
    low, high, step = said.get("low"), said.get("high"), said.get("step")
    for name, value in (("low", low), ("high", high)):
        if isinstance(value, bool) or not isinstance(value, int | float) or value - value != 0:
            raise ValueError(f"{name} must be a number.")
    assert isinstance(low, int | float)
    assert isinstance(high, int | float)
    if not low < high:
        raise ValueError("low must be less than high.")
    log = said.get("log", False)
    if not isinstance(log, bool):
        raise ValueError("log must be true or false.")
    if log and low <= 0:
        raise ValueError("On a logarithmic scale low must be more than 0.")
    if step is not None:
        if isinstance(step, bool) or not isinstance(step, int | float) or not 0 < step < math.inf:
            raise ValueError("step must be a number above 0.")
        if log:
            raise ValueError("A logarithmic range has no step.")
        if step > high - low:
            raise ValueError("step must not be more than the range.")
        if high - low > MOST_STEPS * step:
            raise ValueError(f"step makes more than {MOST_STEPS:,} values; leave it out.")
    return {"low": low, "high": high, "log": log, "step": step}


def settle(project: Project, base: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """The base with its references pinned and its terms filled in, `space` completed in place. A
    reference that is varied need not stand in the base; where it does, it stays. Raises Invalid,
    with `base....` and `space....` in its fields."""
    named = {
        path: one["values"][0]
        for path, one in space.items()
        if REFERENCE.fullmatch(path) and "values" in one and _said(base, path) not in one["values"]
    }
    try:
        asked = references.understand(project=project, asked=lay(base, named))
    except KeyError as missing:
        raise _invalid({f"space.{next(iter(named))}": [_nowhere(missing)]}) from None
    except Invalid as fault:
        raise _invalid({_placed(at, space): told for at, told in fault.fields.items()}) from None
    # What suits the student's architecture is filled in for each student by itself.
    complete = {**asked.config, "training": dict(mapping(base.get("training")))}
    complete = {name: value for name, value in complete.items() if name != "name"}
    if "priority" in base:
        complete["priority"] = base["priority"]
    faults: Faults = {}
    for path, one in space.items():
        try:
            _settle(project, complete, path, one)
        except KeyError as missing:
            faults[f"space.{path}"] = [_nowhere(missing)]
        except (IndexError, TypeError):
            faults[f"space.{path}"] = ["The configuration has no such place."]
        except ValueError as fault:
            faults[f"space.{path}"] = [str(fault)]
        except Invalid as fault:
            faults[f"space.{path}"] = [f"{fault.detail}"]
    if faults:
        raise _invalid(faults)
    return complete


def _said(base: Mapping[str, Any], path: str) -> Any:
    """The reference at a path of a base; None where there is none."""
    at: Any = base
    for step in path.split("."):
        if isinstance(at, list):
            at = at[int(step)] if int(step) < len(at) else None
        else:
            at = mapping(at).get(step)
    return at["model"] if isinstance(at, Mapping) and "model" in at else at


def _settle(project: Project, base: Mapping[str, Any], path: str, one: dict[str, Any]) -> None:
    if "values" not in one:
        described = option_of(base, path)
        if described is None or described["type"] not in ("int", "float"):
            raise ValueError("It is no number: give a list of values.")
        one["type"] = described["type"]
        if described["type"] == "int":
            for name in ("low", "high", "step"):
                if one[name] is not None and one[name] != int(one[name]):
                    raise ValueError(f"It is a whole number, and so must {name} be.")
                one[name] = None if one[name] is None else int(one[name])
    edges = one.get("values") or [one["low"], one["high"]]
    pinned = []
    for value in edges:
        try:
            asked = references.understand(project=project, asked=lay(base, {path: value}))
        except Invalid as fault:
            told = " ".join(one for told in fault.fields.values() for one in told)
            raise ValueError(f"{value}: {told or fault.detail}") from None
        pinned.append(_pinned(asked.config, path, value))
    if "values" in one:
        if any(pinned[at] == other for at in range(len(pinned)) for other in pinned[:at]):
            raise ValueError("Two of its values are the same version.")
        one["values"] = pinned


def _pinned(config: Mapping[str, Any], path: str, value: Any) -> Any:
    if path == "student":
        return config["student"]
    if REFERENCE.fullmatch(path) and isinstance(value, str):
        found = config["teachers"][int(path.split(".")[1])]
        return found if isinstance(found, str) else found["model"]
    return value


def option_of(base: Mapping[str, Any], path: str) -> dict[str, Any] | None:
    """The declared option at a path of a complete configuration; None where it is none."""
    *home, name = path.split(".")
    if home == ["training"]:
        return _named(catalog.methods()["training"], name)
    if home == ["scheme"]:
        kind = base["scheme"] if isinstance(base["scheme"], str) else base["scheme"]["kind"]
        return _named((catalog.find("schemes", kind) or {"options": []})["options"], name)
    if len(home) == 2 and home[0] == "teachers" and name == "weight":
        return WEIGHT
    if len(home) == 2 and home[0] == "stages":
        return _named(catalog.methods()["training"], name)
    if "losses" in home[:3:2] and home[-1].isdecimal():
        return WEIGHT if name == "weight" else _of_loss(base, home, name)
    return None


#: Of a term or of a teacher; the engine's own reader of it is terms.read_weight.
WEIGHT: dict[str, Any] = {"name": "weight", "type": "float", "label": "Weight"}


def _of_loss(base: Mapping[str, Any], home: Sequence[str], name: str) -> dict[str, Any] | None:
    at: Any = base
    for step in home:
        at = at[int(step)] if step.isdecimal() else at[step]
    options = (catalog.find("losses", at["kind"]) or {"options": []})["options"]
    return _named([*options, *terms.SCHEDULE], name)


def _named(described: Sequence[dict[str, Any]], name: str) -> dict[str, Any] | None:
    return next((one for one in described if one["name"] == name), None)


def point_of(config: Mapping[str, Any], space: Space) -> dict[str, Any] | None:
    """Where a complete configuration itself stands in the space; None where it is outside."""
    found: dict[str, Any] = {}
    for path, one in space.items():
        at: Any = config
        try:
            for step in path.split("."):
                at = at[int(step)] if isinstance(at, list) else at[step]
        except (KeyError, IndexError, TypeError, ValueError):
            return None
        if isinstance(at, Mapping) and REFERENCE.fullmatch(path):
            at = at.get("model")
        if not _holds(one, at):
            return None
        found[path] = at
    return found


def _holds(one: Mapping[str, Any], value: Any) -> bool:
    if "values" in one:
        return value in one["values"]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if value < one["low"] or value > one["high"]:
        return False
    steps = 0.0 if one["step"] is None else (value - one["low"]) / one["step"]
    return bool(abs(steps - round(steps)) < 1e-9)


def _placed(at: str, space: Space) -> str:
    inside = any(at == path or at.startswith(f"{path}.") for path in space)
    return f"space.{at}" if inside else f"base.{at}"


def _nowhere(missing: KeyError) -> str:
    return f"The configuration has no such place ({missing.args[0]})."


def _invalid(faults: Faults) -> Invalid:
    field, told = next(iter(faults.items()))
    return Invalid(f"{field}: {told[0]}", fields=faults)


def label_of(base: Mapping[str, Any], path: str) -> str:
    """What an option is called in a table: `Learning rate`, `Temperature`, and of which term or
    stage where there are several."""
    home, _, name = path.rpartition(".")
    if not home or REFERENCE.fullmatch(path):
        word = "teacher" if path.startswith("teachers") else path.replace("_", " ")
        return word[:1].upper() + word[1:]
    try:
        described = option_of(base, path)
    except (KeyError, IndexError, TypeError, ValueError):
        described = None
    label = str((described or {}).get("label") or name.replace("_", " ").capitalize())
    if home.startswith(("losses.", "stages.")):
        at: Any = base
        try:
            for step in home.split("."):
                at = at[int(step)] if step.isdecimal() else at[step]
            whose = str(at.get("kind") or at.get("name") or "").replace("_", " ")
        except (KeyError, IndexError, TypeError, ValueError, AttributeError):
            whose = ""
        return f"{label}, {whose}" if whose else label
    return label
