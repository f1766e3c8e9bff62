"""What a monitor was sent before: its stored parts, asked by id.

Indexes say where an id stands (known.py); the parts of a day are read only where one of its rows is
in question. So a look costs what it touches, however many days there are.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training.engine.watching import known, parts
from training.engine.watching.known import Index, Known
from training.engine.watching.parts import INDEX, LATER, ROWS, SAID, TYPES, Part
from training.engine.watching.taken import Files

JSON = dict[str, Any]
RECENT = 7  # days of parts in which a picture that is named by its sha256 is looked for


class History:
    def __init__(self, parts_told: Sequence[Mapping[str, Any]], today: str, files: Files) -> None:
        self.today, self.files = today, files
        self.parts = [Part.of(one) for one in parts_told]
        self.known = self._known()

    def _known(self) -> Known:
        kept = [one for one in self.parts if one.kind == INDEX]
        there = self.files.files(one.sha256 for one in kept)
        read = ((there[one.sha256], one) for one in kept)
        return Known([Index.read(path, one.sha256, one.day) for path, one in read if path])

    def read(self, some: Sequence[Part]) -> list[pa.Table]:
        """Whole parts; those that are gone or damaged are left out."""
        there = self.files.files(one.sha256 for one in some)
        return [pq.read_table(path) for path in (there[one.sha256] for one in some) if path]

    # -- rows ------------------------------------------------------------------------------------

    def waiting(self, ids: Collection[str]) -> dict[str, JSON]:
        """What was said of these before their rows came."""
        return self._said([one for one in self.parts if one.waits], ids) if ids else {}

    def rows(self, later: Mapping[str, JSON]) -> tuple[pa.Table, dict[str, str]]:
        """Rows of which something is said now, as they are with it: their columns, and
        `label_is_new` and `answer_is_new`; the day of each id that is here."""
        tables: list[pa.Table] = []
        days: dict[str, str] = {}
        places = self.known.find(known.hashes(later))
        there: dict[str, list[tuple[str, int]]] = {}
        for identity in later:
            found = places.get(known.hashed(identity))
            if found is not None:
                there.setdefault(found.sha256, []).append((identity, found.place))
                days[identity] = found.day
        files = self.files.files(there)
        for sha256, some in there.items():
            path = files[sha256]
            if path is not None:
                table = parts.taken(path, [place for _, place in some])
                ids = table.column("id").to_pylist()
                same = [mine == theirs for mine, (theirs, _) in zip(ids, some, strict=True)]
                tables.append(table.filter(pa.array(same)))
        if not tables:
            return pa.table({}), {}
        table = parts.joined(tables)
        ids = table.column("id").to_pylist()
        days = {one: days[one] for one in ids}
        told = set(days.values())
        before = [one for one in self.parts if one.kind == SAID and not one.waits]
        return as_now(
            table, self._said([one for one in before if one.day in told], later), later
        ), days

    def _said(self, some: Sequence[Part], ids: Collection[str]) -> dict[str, JSON]:
        """What these parts say of some ids; the newest counts."""
        found: dict[str, JSON] = {}
        for table in self.read(some):
            for row in table.to_pylist():
                if row["id"] in ids:
                    said = {name: row[name] for name in LATER if row.get(name) is not None}
                    found.setdefault(row["id"], {}).update(said)
        return found

    def own(self, blobs: Collection[str]) -> set[str]:
        """Of these pictures those that this monitor was sent not long ago: others' do not exist
        for it."""
        found: set[str] = set()
        since = str(np.datetime64(self.today) - RECENT)
        for one in reversed([one for one in self.parts if one.kind == ROWS and one.day >= since]):
            path = self.files.files([one.sha256])[one.sha256]
            if path is None or "blob" not in pq.read_schema(path).names:
                continue
            names = pq.read_table(path, columns=["blob"]).column("blob").to_pylist()
            found |= set(blobs).intersection(names)
            if len(found) == len(blobs):
                break
        return found

    # -- parts that are written again ------------------------------------------------------------

    def without(self, ids: Collection[str]) -> Iterator[tuple[list[Part], pa.Table]]:
        """Parts that hold one of these ids, and what they are without them. All that was said of
        rows of a day becomes one part, so that its order stays."""
        if not ids:
            return
        places = self.known.find(known.hashes(ids)).values()
        there = {one.sha256 for one in places}
        days = {one.day for one in places}
        groups: dict[tuple[str, bool], list[Part]] = {}
        for one in self.parts:
            if one.sha256 in there:
                yield from self._rest([one], ids)
            elif one.kind == SAID and (one.waits or one.day in days):
                groups.setdefault((one.day, one.waits), []).append(one)
        for some in groups.values():
            yield from self._rest(some, ids)

    def _rest(
        self, some: list[Part], ids: Collection[str]
    ) -> Iterator[tuple[list[Part], pa.Table]]:
        tables = self.read(some)
        if not tables:
            return
        table = parts.joined(tables)
        rest = table.filter(pa.array([row not in ids for row in table["id"].to_pylist()]))
        if len(rest) < len(table):
            yield some, parts.newest(rest) if some[0].kind == SAID and len(rest) else rest

    def joined(self, gone: Collection[str]) -> Iterator[tuple[list[Part], pa.Table]]:
        """Small parts of a day, and the one that they become; `gone` are parts that are no more."""
        for some in parts.to_join(
            [one for one in self.parts if one.sha256 not in gone], self.today
        ):
            tables = self.read(some)
            if len(tables) == len(some):  # a damaged one stays, for people to see
                table = parts.joined(tables)
                yield some, parts.newest(table) if some[0].kind == SAID else table

    def indexes_of(self, gone: Collection[str]) -> list[str]:
        """Of parts that are no more."""
        return [one.own for one in self.known.indexes if one.sha256 in set(gone)]


def as_now(table: pa.Table, before: Mapping[str, JSON], later: Mapping[str, JSON]) -> pa.Table:
    """Rows with what was said of them `before`, and what is said of them `later`, now."""
    ids = table.column("id").to_pylist()
    fresh: dict[str, list[bool]] = {}
    flags = {"label": "label_is_new", "teacher_prediction": "answer_is_new"}
    for name in LATER:
        was = table.column(name).to_pylist() if name in table.column_names else [None] * len(ids)
        was = [before.get(one, {}).get(name, own) for one, own in zip(ids, was, strict=True)]
        if name in flags:
            fresh[flags[name]] = [
                own is None and name in later[one] for one, own in zip(ids, was, strict=True)
            ]
        now = [later[one].get(name, own) for one, own in zip(ids, was, strict=True)]
        table = _with(table, name, pa.array(now, type=TYPES[name]))
    for flag, values in fresh.items():
        table = _with(table, flag, pa.array(values, type=pa.bool_()))
    return table


def _with(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    place = table.schema.get_field_index(name)
    return table.append_column(name, values) if place < 0 else table.set_column(place, name, values)
