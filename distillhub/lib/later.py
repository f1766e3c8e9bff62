"""Modules that most processes never touch.

An idle web or worker process would hold 36 MB of pyarrow for nothing:

    pa = Later("pyarrow")
    table = pa.table(columns)  # imported here
"""

import importlib
from typing import Any


class Later:
    """Stands for a module, and imports it when something of it is first asked for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(importlib.import_module(self._name), attribute)
