"""Options of a method: one declaration from which form, REST validation and docs come.

A method declares a frozen dataclass whose fields are made with `option(...)`. `describe` turns it
into plain JSON (the catalog), and `check` holds values against that JSON: the web process does so
with the catalog's file, the engine with its own classes, and both get the same faults.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from training.engine.errors import ConfigError, Fault

JSON = dict[str, Any]
Number = TypeVar("Number", int, float)


def option(
    default: Any,
    *,
    help: str,
    label: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    choices: Sequence[str] = (),
) -> Any:
    """A field of an Options dataclass, with its limits (both inclusive) and its help."""
    said = {
        "help": help,
        "label": label,
        "minimum": minimum,
        "maximum": maximum,
        "choices": list(choices),
    }
    return dataclasses.field(default=default, metadata=said)


def describe(options: type) -> list[JSON]:
    """The catalog's form of an Options dataclass, one object per field, in order."""
    hints = typing.get_type_hints(options)
    described = []
    for field in dataclasses.fields(options):
        said = dict(field.metadata)
        kind, nullable = _kind(hints[field.name])
        default = list(field.default) if isinstance(field.default, tuple) else field.default
        described.append(
            {
                "name": field.name,
                "type": "choice" if said["choices"] else kind,
                "default": default,
                "nullable": nullable,
                "minimum": said["minimum"],
                "maximum": said["maximum"],
                "choices": said["choices"],
                "help": said["help"],
                "label": said["label"] or field.name.replace("_", " ").capitalize(),
            }
        )
    return described


def _kind(hint: Any) -> tuple[str, bool]:
    """`int | None` is a nullable int; `tuple[int, ...]` is ints."""
    nullable = False
    if isinstance(hint, types.UnionType):
        parts = [part for part in typing.get_args(hint) if part is not type(None)]
        nullable, hint = True, parts[0]
    if typing.get_origin(hint) is tuple:
        return "ints", nullable
    return {float: "float", int: "int", bool: "bool", str: "str"}[hint], nullable


def check(
    described: Sequence[JSON], values: Mapping[str, Any], at: str = ""
) -> tuple[JSON, list[Fault]]:
    """The values with every default filled in, and every fault, unknown names included.

    `at` is where the values stand in the whole configuration, such as `losses.0`.
    """
    prefix = f"{at}." if at else ""
    resolved: JSON = {}
    faults: list[Fault] = []
    known = {one["name"] for one in described}
    for name in values:
        if name not in known:
            offered = ", ".join(sorted(known)) or "none"
            faults.append(Fault(f"{prefix}{name}", f"There is no such option; it knows {offered}."))
    for one in described:
        name = one["name"]
        if name not in values:
            resolved[name] = one["default"]
            continue
        try:
            resolved[name] = _value(one, values[name])
        except ValueError as fault:
            faults.append(Fault(f"{prefix}{name}", str(fault)))
    return resolved, faults


def build(options: type, values: Mapping[str, Any], at: str = "") -> Any:
    """An instance of an Options dataclass; raises ConfigError with every fault."""
    resolved, faults = check(describe(options), values, at)
    if faults:
        raise ConfigError(faults)
    return options(
        **{
            name: tuple(value) if isinstance(value, list) else value
            for name, value in resolved.items()
        }
    )


def _value(one: JSON, value: Any) -> Any:
    """The value in its own type; raises ValueError with a sentence."""
    if value is None:
        if one["nullable"]:
            return None
        raise ValueError("It must not be empty.")
    match one["type"]:
        case "bool":
            if not isinstance(value, bool):
                raise ValueError("It must be true or false.")
            return value
        case "int":
            return _within(one, _whole(value))
        case "float":
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError("It must be a number.")
            if not math.isfinite(value):
                raise ValueError("It must be a finite number.")
            return _within(one, float(value))
        case "choice":
            if value not in one["choices"]:
                raise ValueError(f"It must be one of {', '.join(one['choices'])}.")
            return value
        case "ints":
            if not isinstance(value, list | tuple) or not 1 <= len(value) <= 16:
                raise ValueError("It must be a list of one to sixteen whole numbers.")
            return [_within(one, _whole(part)) for part in value]
    if not isinstance(value, str) or len(value) > 200:
        raise ValueError("It must be a text of at most 200 characters.")
    return value


def _whole(value: Any) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("It must be a whole number.")
    return value


def _within(one: JSON, value: Number) -> Number:
    lowest, highest = one["minimum"], one["maximum"]
    if lowest is not None and highest is not None and not lowest <= value <= highest:
        raise ValueError(f"It must be between {_spelt(lowest)} and {_spelt(highest)}.")
    if lowest is not None and value < lowest:
        raise ValueError(f"It must be at least {_spelt(lowest)}.")
    if highest is not None and value > highest:
        raise ValueError(f"It must be at most {_spelt(highest)}.")
    return value


def _spelt(limit: Number) -> str:
    """`1000.0` as `1000`."""
    return str(int(limit)) if limit == int(limit) else str(limit)
