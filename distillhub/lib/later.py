"""Modules that most processes never touch.

An idle web or worker process would hold 36 MB of pyarrow for nothing:

    pa = Later("pyarrow")
    table = pa.table(columns)  # imported here

numpy is another 11 MB. It is here by its usual name, so that types are checked; annotations with it
need `from __future__ import annotations`, or they would import it.
"""

import importlib
from typing import TYPE_CHECKING, Any


class Later:
    """Stands for a module, and imports it when something of it is first asked for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(importlib.import_module(self._name), attribute)


if TYPE_CHECKING:
    import numpy as np
else:
    np = Later("numpy")

__all__ = ["Later", "np"]
