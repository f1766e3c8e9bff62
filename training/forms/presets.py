"""Where a run can begin: the catalog's presets as cards. A preset fills scheme, terms, stages and a
few training values; everything stays editable."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training.engine import terms as engine_terms
from training.engine.errors import Fault

CUSTOM: dict[str, Any] = {
    "key": "custom",
    "label": "Custom",
    "summary": "Any mix of terms, with weights of your own.",
    "when": "Begins with what is chosen below.",
    "warning": "",
    "paper": "",
    "family": "",
    "needs_teacher": False,
    "teachers": 0,
    "scheme": "offline",
    "losses": [],
    "stages": [],
    "training": {},
    "exports": [],
}
MOST_SHOWN = 6  # cards before "more"
#: A preset without an icon of its own here gets its family's.
ICONS = {
    "fine_tune": "adjustments",
    "soft_targets_only": "wand",
    "balanced": "scale",
    "logit_regression": "math-function",
    "multi_teacher": "users",
    "custom": "puzzle",
}
FAMILY_ICONS = {
    "Writing": "pencil",
    "Answers": "temperature",
    "Layers": "stack-2",
    "Rows together": "grid-dots",
    "Without a teacher": "repeat",
    "Whole recipes": "rocket",
}

Preset = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Cards:
    """The presets on offer: those seen at once, and the others by family."""

    first: list[Preset]
    more: list[tuple[str, list[Preset]]]

    @property
    def count(self) -> int:
        return sum(len(presets) for _, presets in self.more)


def offered(methods: Mapping[str, Any], task: str, problem: str) -> list[Preset]:
    """The presets that this task and problem know, and `custom`, each with an icon."""
    fitting = [
        preset
        for preset in methods["presets"]
        if task in preset["tasks"] and problem in preset["problems"]
    ]
    return [
        {
            **preset,
            "icon": ICONS.get(preset["key"]) or FAMILY_ICONS.get(preset["family"], "droplet"),
        }
        for preset in [*fitting, CUSTOM]
    ]


def cards(presets: Sequence[Preset], chosen: str) -> Cards:
    """The first few and `custom` at once; the chosen one is always among them."""
    *listed, custom = presets
    first = listed[: MOST_SHOWN - 1]
    keys = [preset["key"] for preset in first]
    if chosen not in keys:
        first[-1:] = [preset for preset in listed if preset["key"] == chosen] or first[-1:]
    keys = [preset["key"] for preset in first]
    families: dict[str, list[Preset]] = {}
    for preset in listed:
        if preset["key"] not in keys:
            families.setdefault(preset["family"], []).append(preset)
    return Cards([*first, custom], list(families.items()))


def matching(
    methods: Mapping[str, Any],
    presets: Sequence[Preset],
    configuration: Mapping[str, Any],
    task: str,
    problem: str,
) -> str:
    """The key of the preset that says the same of scheme, losses and stages, else `custom`."""
    wanted = _said(methods, configuration, task, problem)
    for preset in presets:
        if preset["key"] != CUSTOM["key"] and _said(methods, preset, task, problem) == wanted:
            return str(preset["key"])
    return str(CUSTOM["key"])


def _said(
    methods: Mapping[str, Any], configuration: Mapping[str, Any], task: str, problem: str
) -> Any:
    """Scheme, losses and stages with every default filled in."""
    faults: list[Fault] = []
    scheme = engine_terms.read_scheme(configuration.get("scheme", "offline"), methods, task, faults)
    losses, stages = engine_terms.read_terms(
        {"losses": configuration.get("losses"), "stages": configuration.get("stages")},
        methods, task, scheme[0], True, problem, faults,
    )  # fmt: skip
    return scheme, stages or losses, faults
