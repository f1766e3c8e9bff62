"""Which rows of the traffic the teacher is asked about, and what each of them stands for.

A row is chosen by a hash of its id, so that the choice needs no memory, is the same on every
machine and after every restart, and cannot follow what the student answered. A share that grows
keeps the rows it had. Rows that were asked at different shares (a slice more often than the rest)
stand for 1 / share rows each (Horvitz, Thompson 1952): `detectors/tallies.py` weighs them.
"""

import hashlib


def place(identity: str, salt: str = "") -> float:
    """Where an id falls, from 0 to below 1, as if by chance. Another salt chooses other rows."""
    # The length parts salt from id: "a" + "bc" is not "ab" + "c".
    text = f"{len(salt)}:{salt}{identity}".encode("utf-8", "surrogatepass")
    drawn = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")
    return (drawn >> 11) / 2**53


def is_asked(identity: str, share: float, salt: str = "") -> bool:
    """Whether the teacher is asked about the row of this id, where a `share` of rows is."""
    return place(identity, salt) < share


def weight(share: float) -> float:
    """How many rows of the traffic an asked one stands for. Raises ValueError for a share of which
    no row is asked."""
    if not 0 < share <= 1:
        raise ValueError(f"A share of rows is above 0 and at most 1, not {share}.")
    return 1 / share
