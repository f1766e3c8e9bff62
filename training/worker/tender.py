"""A thread of a worker that looks after something every so often: a slow disk must not cost a
heartbeat."""

import logging
import threading
from collections.abc import Callable

from django.db import DatabaseError, connection

from distillhub.lib import storage

log = logging.getLogger(__name__)


class Tender(threading.Thread):
    def __init__(self, name: str, tend: Callable[[], object], every: float) -> None:
        super().__init__(name=name, daemon=True)
        self.tend, self.every = tend, every
        self._end = threading.Event()

    def run(self) -> None:
        while True:
            try:
                self.tend()
            except (DatabaseError, OSError, storage.Away) as error:
                log.warning("The %s were not looked after: %s", self.name, error)
            finally:
                connection.close()
            if self._end.wait(self.every):
                return

    def end(self) -> None:
        self._end.set()
        self.join(timeout=10.0)
