"""Registries of methods. A new file in losses/, schemes/, tasks/ or students/ is found by walking
the package; nobody keeps a list. Keys are permanent: runs of years ago are read back by them."""

import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from training.engine import options

M = TypeVar("M", bound="type[Method]")


CLASSIFICATION = (
    *("text-classification", "image-classification", "audio-classification"),
    *("tabular-classification", "token-classification"),
)
EVERY_TASK = (*CLASSIFICATION, "text-generation", "feature-extraction")


class Duplicate(Exception):
    """Two methods claim one key."""


@dataclass(frozen=True, slots=True)
class NoOptions:
    """A method without a knob."""


class Method:
    """What every method says about itself; the form, REST and docs/methods.md show it."""

    key: ClassVar[str]
    label: ClassVar[str]
    summary: ClassVar[str]
    formula: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    tasks: ClassVar[tuple[str, ...]] = EVERY_TASK
    needs_teacher: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = False
    Options: ClassVar[type] = NoOptions

    @classmethod
    def described(cls) -> dict[str, Any]:
        """Its entry in the catalog, plain JSON."""
        return {
            "key": cls.key,
            "label": cls.label,
            "summary": cls.summary,
            "formula": cls.formula,
            "paper": cls.paper,
            "tasks": list(cls.tasks),
            "needs_teacher": cls.needs_teacher,
            "needs_labels": cls.needs_labels,
            "options": options.describe(cls.Options),
        }


class Registry(Generic[M]):
    """Methods of one kind by key, found in the package `home` when first asked."""

    def __init__(self, kind: str, home: str) -> None:
        self.kind = kind
        self.home = home
        self._methods: dict[str, M] = {}
        self._found = False

    def register(self, method: M) -> M:
        """Decorator of a method's class. Raises Duplicate."""
        if method.key in self._methods:
            raise Duplicate(f"There are two {self.kind}s called {method.key!r}.")
        self._methods[method.key] = method
        return method

    def __getitem__(self, key: str) -> M:
        self._find()
        if key not in self._methods:
            raise KeyError(f"There is no {self.kind} called {key!r}.")
        return self._methods[key]

    def __contains__(self, key: str) -> bool:
        self._find()
        return key in self._methods

    def __iter__(self) -> Iterator[M]:
        """In the order of their keys."""
        self._find()
        return iter([self._methods[key] for key in sorted(self._methods)])

    def _find(self) -> None:
        if self._found:
            return
        self._found = True
        package = importlib.import_module(self.home)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self.home}.{module.name}")
