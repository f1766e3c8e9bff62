"""The checks: every module of this folder that registers one, found by itself."""

import importlib
import pkgutil
from functools import cache

import projects.ingest.checks
from projects.ingest import issues
from projects.ingest.checks.check import Check
from projects.ingest.formats import Plan

_checks: dict[str, type[Check]] = {}


class DuplicateKey(TypeError):
    """Two checks claim one key, or one code of an issue."""


def register(cls: type[Check]) -> type[Check]:
    """Class decorator: adds the check under its key, and its kinds of issues."""
    if cls.key in _checks or cls.kinds.keys() & issues.KINDS.keys():
        raise DuplicateKey(f"{cls.key} or one of its issues is registered twice.")
    _checks[cls.key] = cls
    for code, (severity, sentence) in cls.kinds.items():
        issues.know(code, severity, sentence)
    return cls


@cache
def _load() -> None:
    for module in pkgutil.iter_modules(projects.ingest.checks.__path__):
        importlib.import_module(f"{projects.ingest.checks.__name__}.{module.name}")


def checks() -> dict[str, type[Check]]:
    """All checks by key, in the order of their keys."""
    _load()
    return dict(sorted(_checks.items()))


def suiting(plan: Plan, columns: list[dict[str, str]], measures: tuple[str, ...]) -> list[Check]:
    """Those that are of use for such rows."""
    return [one(plan, columns, measures) for one in checks().values() if one.suits(plan, columns)]
