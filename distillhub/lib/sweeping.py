"""Stored files that nothing names any more, found and freed.

What names a file is not listed by hand: every text of at least 64 characters and every JSON column
of every model is read for sha256s, so a new table cannot lose its files by being forgotten here.
A file is freed a day after it was last stored, at the earliest, because its row may not be written
yet; and nothing is freed when most of what lies there has no row, for then the database is probably
another one than these files belong to.
"""

import re
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from django.apps import apps
from django.db import models
from django.db.models.functions import Cast

from distillhub.lib import storage
from distillhub.lib.errors import Conflict
from distillhub.lib.places import place

GRACE = 86_400.0  # seconds
SOME = 20  # orphans that may be more than half of all
BATCH = 500
HEX = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


class Doubtful(Conflict):
    """So much has no row that nothing is freed."""

    code = "doubtful_sweep"


@dataclass(slots=True)
class Count:
    files: int = 0
    bytes: int = 0

    def add(self, size: int) -> None:
        self.files += 1
        self.bytes += size


@dataclass(slots=True)
class Swept:
    """What lies in a room, and what of it nothing names."""

    named: Count = field(default_factory=Count)
    recent: Count = field(default_factory=Count)  # unnamed, and too young to be sure
    orphans: Count = field(default_factory=Count)
    names: list[str] = field(default_factory=list)  # of the orphans
    freed: Count = field(default_factory=Count)

    @property
    def is_doubtful(self) -> bool:
        everything = self.named.files + self.recent.files + self.orphans.files
        return self.orphans.files > SOME and 2 * self.orphans.files > everything


def named(*, skipping: Collection[str] = ()) -> set[bytes]:
    """The sha256s that rows name. `skipping` are models, such as `app.Model`, whose many rows name
    no file."""
    found: set[bytes] = set()
    for model in apps.get_models():
        if model._meta.label in skipping or not model._meta.managed:
            continue
        for column in _columns(model):
            texts = model._base_manager.annotate(swept=Cast(column, models.TextField()))
            for text in texts.values_list("swept", flat=True).iterator(BATCH):
                if text:
                    found.update(map(bytes.fromhex, HEX.findall(text)))
    return found


def look(room: str, names: Collection[bytes], *, grace: float = GRACE) -> Swept:
    """Count what lies in a room, and find what nothing names. Frees nothing. What was stored since
    `names` were read is younger than the grace."""
    swept, old = Swept(), time.time() - grace
    for one in storage.listing(room):
        if _sha256(one.name) in names:
            swept.named.add(one.bytes)
        elif one.changed_at >= old:
            swept.recent.add(one.bytes)
        else:
            swept.orphans.add(one.bytes)
            swept.names.append(one.name)
    return swept


def free(
    swept: Swept, names: Collection[bytes], *, grace: float = GRACE, even_so: bool = False
) -> None:
    """Remove the orphans that were found, were not stored again since, and are not among `names`,
    read a second time: a name that moved from one row to another may be missed once. Raises
    Doubtful."""
    if swept.is_doubtful and not even_so:
        raise Doubtful(
            f"{swept.orphans.files} stored files have no row, more than half of all. Probably they "
            "belong to another database; nothing was freed."
        )
    where, old = place(), time.time() - grace
    for name in swept.names:
        found = where.look(name) if _sha256(name) not in names else None
        if found is not None and found.changed_at < old:
            where.delete([name])
            swept.freed.add(found.bytes)


def _columns(model: type[models.Model]) -> Iterator[str]:
    for one in model._meta.local_concrete_fields:
        long = isinstance(one, models.CharField) and (one.max_length or 64) >= 64
        if isinstance(one, models.JSONField) or long:
            yield one.attname


def _sha256(name: str) -> bytes:
    """Nothing for a file that is none of ours: it is then an orphan, and shown as such."""
    last = name.rpartition("/")[2]
    return bytes.fromhex(last) if HEX.fullmatch(last) else b""
