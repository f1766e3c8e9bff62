"""Where a run can begin: the catalog's presets of losses as cards. A preset only sets losses;
everything stays editable."""

from collections.abc import Mapping, Sequence
from typing import Any

CUSTOM: dict[str, Any] = {
    "key": "custom",
    "label": "Custom",
    "summary": "Any mix of losses, with weights of your own. Begins with those below.",
    "needs_teacher": False,
    "losses": [],
}
#: A preset without an icon of its own here gets a droplet.
ICONS = {
    "fine_tune": "adjustments",
    "logit_regression": "math-function",
    "soft_targets_only": "wand",
    "balanced": "scale",
    "custom": "puzzle",
}

Preset = Mapping[str, Any]


def offered(methods: Mapping[str, Any], task: str) -> list[Preset]:
    """The presets whose losses this task knows, and `custom`, each with an icon."""
    known = {loss["key"] for loss in methods["losses"] if task in loss["tasks"]}
    return [
        {**preset, "icon": ICONS.get(preset["key"], "droplet")}
        for preset in [*methods["presets"], CUSTOM]
        if known.issuperset(loss["kind"] for loss in preset["losses"])
    ]


def matching(presets: Sequence[Preset], losses: Sequence[Mapping[str, Any]]) -> str:
    """The key of the preset that sets exactly these losses, else `custom`."""
    for preset in presets:
        if preset["losses"] and list(preset["losses"]) == [dict(loss) for loss in losses]:
            return str(preset["key"])
    return str(CUSTOM["key"])
