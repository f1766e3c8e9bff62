"""Form fields made from the catalog: one for each option of a method, with its label, limits and
help, so that a new option of the engine appears in every form by itself."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Faults = Mapping[str, Sequence[str]]

UNWRITTEN = object()
MOST_TOLD = 20_000


@dataclass(slots=True)
class OptionField:
    """One control of a form; `name` is the option's path in the configuration."""

    name: str
    label: str
    help: str
    kind: str  # float, int, bool, choice, str, ints
    value: str
    default: str
    choices: list[str] = field(default_factory=list)
    minimum: float | None = None
    maximum: float | None = None
    nullable: bool = False
    errors: list[str] = field(default_factory=list)

    @property
    def id(self) -> str:
        return "id_" + self.name.replace(".", "_")

    @property
    def is_checked(self) -> bool:
        return self.value == "true"

    @property
    def is_changed(self) -> bool:
        return self.value != self.default

    @property
    def limits(self) -> str:
        """`0 to 0.95`, `at least 1`, or nothing. A maximum that only guards memory is not told."""
        told = self.maximum is not None and self.maximum <= MOST_TOLD
        if self.minimum is not None and told:
            return f"{written(self.minimum)} to {written(self.maximum)}"
        if self.minimum is not None:
            return f"at least {written(self.minimum)}"
        return f"at most {written(self.maximum)}" if told else ""


def written(value: Any) -> str:
    """A JSON value as a person would type it into its field."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, list | tuple):
        return ", ".join(written(part) for part in value)
    return str(value)


def typed(described: Mapping[str, Any], text: str) -> Any:
    """What was typed, in the option's own type; left as text where that fails, so that the check
    names the fault. UNWRITTEN for an empty field that may not be empty: its default holds."""
    text = text.strip()
    if not text:
        return None if described.get("nullable") else UNWRITTEN
    kind = described["type"]
    if kind == "bool":
        return {"true": True, "on": True, "false": False}.get(text, text)
    try:
        if kind == "int":
            return _whole(text)
        if kind == "float":
            return float(text)
        if kind == "ints":
            return [_whole(part) for part in text.replace(",", " ").split()]
    except ValueError:
        return text
    return text


def read(described: Iterable[Mapping[str, Any]], texts: Mapping[str, str]) -> dict[str, Any]:
    """The options that were typed, by name; `texts` holds a form's values by option name."""
    values = {
        one["name"]: typed(one, texts[one["name"]]) for one in described if one["name"] in texts
    }
    return {name: value for name, value in values.items() if value is not UNWRITTEN}


def shown(
    described: Iterable[Mapping[str, Any]],
    texts: Mapping[str, str],
    *,
    at: str,
    faults: Faults,
    defaults: Mapping[str, Any] | None = None,
) -> list[OptionField]:
    """The fields of options standing at the path `at`; `defaults` overrule the catalog's."""
    made = []
    for one in described:
        name = one["name"]
        default = written((defaults or {}).get(name, one["default"]))
        made.append(
            OptionField(
                name=f"{at}.{name}",
                label=one["label"],
                help=one["help"],
                kind=one["type"],
                value=texts.get(name, default),
                default=default,
                choices=list(one["choices"]),
                minimum=one["minimum"],
                maximum=one["maximum"],
                nullable=one["nullable"],
                errors=list(faults.get(f"{at}.{name}", [])),
            )
        )
    return made


def under(prefix: str, posted: Mapping[str, str]) -> dict[str, str]:
    """The posted values whose names begin with `prefix.`, without it."""
    start = f"{prefix}."
    return {name[len(start) :]: value for name, value in posted.items() if name.startswith(start)}


def _whole(text: str) -> int | float:
    number = float(text) if any(sign in text for sign in ".eE") else int(text)
    return int(number) if float(number).is_integer() else number
