"""How many different inputs a window had: its smallest hashes, of which windows are joined exactly.

Up to MOST different ones it is a count; beyond, an estimate to about 3 % from how dense the
smallest hashes lie (Beyer et al., On Synopses for Distinct-Value Estimation, SIGMOD 2007, equation
2). Inputs themselves are not kept.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.engine.sketches.packing import pack, unpack

MOST = 1024
SPACE = 2.0**32
PAIRS = 3  # repetitions that chance may have kept from as many rows as a reference has
SURE = 3.0  # standard errors by which an estimate is taken for larger, before rows are called twice


def hashed(content: bytes) -> int:
    """Where a content stands among 2³² places."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=4).digest(), "big")


@dataclass(frozen=True)
class Distinct:
    """`rows` that had a content, and the smallest hashes of these, rising."""

    rows: int = 0
    hashes: tuple[int, ...] = ()

    @classmethod
    def of(cls, contents: Iterable[bytes]) -> "Distinct":
        found = [hashed(one) for one in contents]
        return cls(len(found), tuple(sorted(set(found))[:MOST]))

    def merge(self, other: "Distinct") -> "Distinct":
        hashes = tuple(sorted({*self.hashes, *other.hashes})[:MOST])
        return Distinct(self.rows + other.rows, hashes)

    @property
    def different(self) -> float:
        """About how many contents there were."""
        if len(self.hashes) < MOST:
            return float(len(self.hashes))
        return min(float(self.rows), (MOST - 1) * SPACE / (self.hashes[-1] + 1))

    @property
    def repeated(self) -> int:
        """Rows whose content had come before, as many as are sure."""
        sure = 1.0 if len(self.hashes) < MOST else 1 + SURE / (MOST - 2) ** 0.5
        return max(0, self.rows - round(self.different * sure))

    def chance(self, rows: int) -> float:
        """The share of so many rows that is expected to repeat an earlier one, where contents are
        drawn as these were: the more rows, the more. Of as many contents, all equally likely, as
        would give these repetitions and PAIRS more, since few rows had none by luck. Where some
        are likelier than others, the rare ones make it fewer: a limit is not passed by chance."""
        if rows <= self.rows or not self.rows:
            return self.repeated / self.rows if self.rows else 0.0
        different = max(1.0, self.rows - self.repeated - PAIRS)
        low, high = different, max(2.0 * different, float(self.rows) ** 2)
        for _ in range(60):
            middle = (low + high) / 2
            fewer = middle * -math.expm1(-self.rows / middle) < different
            low, high = (middle, high) if fewer else (low, middle)
        return 1 - min(1.0, high * -math.expm1(-rows / high) / rows)

    def as_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "hashes": pack(np.array(self.hashes, dtype=np.uint32))}

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> "Distinct":
        return cls(said["rows"], tuple(unpack(said["hashes"], "uint32").tolist()))
