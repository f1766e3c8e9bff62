"""Where a run can begin: the catalog's presets as cards. A preset fills scheme, terms, stages and a
few training values; everything stays editable."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training import catalog
from training.services import preflight

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


def unfit(preset: Preset, architectures: Sequence[str]) -> str:
    """Why its terms cannot look at models of these architectures; empty where they can."""
    losses = [*preset["losses"], *(one for stage in preset["stages"] for one in stage["losses"])]
    wanted = [one for loss in losses for one in catalog.wanted(loss)]
    for key in architectures:
        known = catalog.find("architectures", key)
        lacks = [one for one in wanted if known is not None and one not in known["shows"]]
        if known is not None and lacks:
            return f"Compares {preflight.SHOWN[lacks[0]]}; {known['label']} shows none."
    return ""


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
