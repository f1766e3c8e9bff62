"""The operations: every module of this folder that registers one, and of the packages that other
apps name as their `operations` (training's ask teachers), found by itself when first asked for."""

import importlib
import pkgutil
from functools import cache

from django.apps import apps

import projects.operations
from projects.operations.operation import Operation, refuse

_operations: dict[str, Operation] = {}


class DuplicateKey(TypeError):
    """Two operations claim one permanent key."""


def register(cls: type[Operation]) -> type[Operation]:
    """Class decorator: adds the operation under its permanent key."""
    if cls.key in _operations:
        raise DuplicateKey(f"{cls.key} is registered twice.")
    _operations[cls.key] = cls()
    return cls


@cache
def _load() -> None:
    packages = [projects.operations.__name__]
    packages += [one.operations for one in apps.get_app_configs() if hasattr(one, "operations")]
    for name in packages:
        for module in pkgutil.iter_modules(importlib.import_module(name).__path__):
            importlib.import_module(f"{name}.{module.name}")


def operations() -> dict[str, Operation]:
    """All operations by key, in the order of their labels."""
    _load()
    return dict(sorted(_operations.items(), key=lambda item: item[1].label))


def get(key: str) -> Operation:
    """Raises Invalid for a key that is not (or no longer) known."""
    found = operations().get(key)
    if found is None:
        known = ", ".join(sorted(operations()))
        raise refuse("operation", f"There is no operation {key!r}; there are {known}.")
    return found
