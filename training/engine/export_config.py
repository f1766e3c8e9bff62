"""What an export is asked to be: its form, a compressor before it, and the options of both.

No torch here: a web process checks with the catalog's file what the engine checks with its classes,
and both tell the same faults.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from training.engine import options
from training.engine.errors import ConfigError, Fault
from training.engine.options import JSON
from training.engine.terms import Methods, find, keys

#: Metrics of which less is better.
FALLING = ("log_loss", "ece", "rmse", "mae", "loss", "perplexity", "bits_per_character")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Complete: every default is filled in."""

    format: str
    options: JSON
    compress: JSON | None  # {"kind", "options"}

    @property
    def kind(self) -> str | None:
        """The compressor's key."""
        return None if self.compress is None else str(self.compress["kind"])

    def as_dict(self) -> JSON:
        """As it would be asked; reading it again gives the same."""
        return {"format": self.format, "options": self.options, "compress": self.compress}


KNOWN = ("format", "options", "compress")


def read(raw: Any, methods: Methods, task: str) -> Wish:
    """The wish, with every default filled in. Raises ConfigError naming every fault."""
    if not isinstance(raw, Mapping):
        raise ConfigError([Fault("", "An export is an object with a format.")])
    faults = [
        Fault(str(name), f"There is no such key; an export knows {', '.join(KNOWN)}.")
        for name in raw
        if name not in KNOWN
    ]
    exporter = find(methods, "exporters", raw.get("format"))
    if exporter is None or task not in exporter["tasks"]:
        offered = keys(methods, "exporters", task)
        why = f"{exporter['label']} is not made of {task}. " if exporter is not None else ""
        raise ConfigError([*faults, Fault("format", f"{why}It must be one of {offered}.")])
    values = _options(exporter, raw.get("options"), "options", faults)
    compress = _compress(raw.get("compress"), exporter, methods, task, faults)
    if faults:
        raise ConfigError(faults)
    return Wish(format=exporter["key"], options=values, compress=compress)


def _compress(
    raw: Any, exporter: JSON, methods: Methods, task: str, faults: list[Fault]
) -> JSON | None:
    if raw is None:
        return None
    if not isinstance(raw, Mapping) or set(raw) - {"kind", "options"}:
        faults.append(Fault("compress", 'It must be {"kind": ..., "options": {...}}.'))
        return None
    found = find(methods, "compressors", raw.get("kind"))
    if found is None or task not in found["tasks"]:
        offered = keys(methods, "compressors", task)
        faults.append(Fault("compress.kind", f"It must be one of {offered}."))
        return None
    if exporter["key"] not in found["formats"]:
        suits = " or ".join(found["formats"])
        faults.append(Fault("compress.kind", f"{found['label']} ships as {suits}."))
    values = _options(found, raw.get("options"), "compress.options", faults)
    return {"kind": found["key"], "options": values}


def _options(method: JSON, raw: Any, at: str, faults: list[Fault]) -> JSON:
    if raw is None:
        raw = {}
    if not isinstance(raw, Mapping):
        faults.append(Fault(at, "It must be an object of options."))
        return {}
    resolved, found = options.check(method["options"], raw, at)
    faults += found
    return resolved
