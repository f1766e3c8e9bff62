"""Money that may be spent, and how it stays within."""

import threading
from decimal import Decimal


class Budget:
    """Nothing is asked whose worst case no longer fits: what is under way counts at its most, what
    is over at what it cost. So the cap is never passed, and a little below it may stay unspent.

    `spent` is what the same job has spent before. Without a cap it only counts.
    """

    def __init__(self, cap: Decimal | None, spent: Decimal = Decimal(0)) -> None:
        self.cap, self.spent = cap, spent
        self._reserved = Decimal(0)
        self._lock = threading.Lock()

    def reserve(self, most: Decimal) -> bool:
        """Set so much aside; False where it does not fit."""
        with self._lock:
            if self.cap is not None and self.spent + self._reserved + most > self.cap:
                return False
            self._reserved += most
            return True

    def settle(self, reserved: Decimal, cost: Decimal) -> None:
        """What was set aside has become a cost."""
        with self._lock:
            self._reserved -= reserved
            self.spent += cost
