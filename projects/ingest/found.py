"""What was found a moment ago: the rows of a filter, so that the next page needs no second look.

A version's file never changes, so what was found in it stays true; only its room is bounded.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

from distillhub.lib.later import np

MOST_BYTES = 64 << 20  # of this process
MOST_FINDS = 64


class Recent:
    """The last finds, the oldest forgotten first. Safe for threads."""

    def __init__(self, most_bytes: int = MOST_BYTES, most_finds: int = MOST_FINDS) -> None:
        self.most_bytes, self.most_finds = most_bytes, most_finds
        self._lock = threading.Lock()
        self._finds: OrderedDict[Hashable, np.ndarray[Any, Any]] = OrderedDict()

    def find(self, key: Hashable, look: Callable[[], np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
        """The row ids under `key`, looked for if they are not known. They are not to be changed."""
        with self._lock:
            known = self._finds.get(key)
            if known is not None:
                self._finds.move_to_end(key)
                return known
        found = look()
        found.flags.writeable = False
        with self._lock:
            self._finds[key] = found
            while len(self._finds) > self.most_finds or (
                sum(one.nbytes for one in self._finds.values()) > self.most_bytes
            ):
                self._finds.popitem(last=False)
        return found

    def forget(self) -> None:
        with self._lock:
            self._finds.clear()


recent = Recent()
