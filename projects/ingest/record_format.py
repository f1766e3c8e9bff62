"""Tables whose rows are objects with named values of any type: JSON, Parquet, Arrow.

Objects within objects become columns with dotted names (`question.stem`), lists are kept as JSON,
and objects that are chats or calls of a model are read as such (layouts.py). A key that an object
lacks is a missing value.
"""

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import IO, Any

from distillhub.lib.errors import Invalid
from projects.ingest import cells, layouts, table_format
from projects.ingest.chat_messages import NotText
from projects.ingest.formats import BadFile, BadRow, LeftOut, Plan
from projects.ingest.layouts import LAYOUTS, PLAIN, Layout
from projects.ingest.records import MOST_COLUMNS
from projects.ingest.table_format import HEAD, Cells, Head, TableFormat

JSON = dict[str, Any]
Placed = tuple[int, JSON]  # the line or row where an object stands
Read = tuple[int, JSON, dict[str, str]]  # with its cells by column

GUESSED_BY = 50  # objects that a layout is guessed by
MOST_SEEN = 5000  # rows of the beginning
DEEPEST = 8  # objects within one another that become columns
LEAVES = 50  # names within one object: with more of them it is a mapping, and no record
MOST_NAME = 100  # characters
MOST_SHAPES = 1000  # sets of keys that are remembered
ROLES = ("text", "prompt", "rationale", "label", "split")


class RecordFormat(TableFormat):
    @abstractmethod
    def objects(
        self,
        file: IO[bytes],
        dialect: dict[str, Any],
        *,
        skips: bool,
        names: Sequence[str] | None = None,
    ) -> Iterator[Placed | LeftOut]:
        """Every object, in the file's order; of `names` alone, where only these are needed. What is
        none is refused with its place, or left out if it `skips`. Raises BadFile."""

    @abstractmethod
    def estimated(self, file: IO[bytes], dialect: dict[str, Any], seen: int) -> int:
        """Objects of the whole file, after `seen` of it were read."""

    def notes(self, file: IO[bytes], dialect: dict[str, Any]) -> list[dict[str, Any]]:
        """What else is to be said of the file, as problems of a Look."""
        return []

    def guess_layout(self, file: IO[bytes], dialect: dict[str, Any]) -> str:
        found = self.objects(file, dialect, skips=True)
        try:
            first = [one[1] for one in islice(found, GUESSED_BY) if not isinstance(one, LeftOut)]
        except BadFile:
            return PLAIN
        return layouts.guess(first)

    def check_layout(self, dialect: dict[str, Any]) -> str:
        """Raises Invalid."""
        layout = dialect.get("layout", PLAIN)
        if not isinstance(layout, str) or layout not in LAYOUTS:
            detail = f"Choose one of these layouts: {', '.join(LAYOUTS)}."
            raise Invalid(detail, fields={"layout": [detail]})
        return layout

    def head(self, file: IO[bytes], name: str, dialect: dict[str, Any]) -> Head:
        seen = Head(complete=True)
        found: list[Read] = []
        size = 0
        try:
            objects = self.objects(file, dialect, skips=True)
            for one in _laid_out(objects, LAYOUTS[dialect["layout"]], self.noun, skips=True):
                if isinstance(one, LeftOut):
                    _note(seen, one)
                    continue
                if size > HEAD or len(found) >= MOST_SEEN:
                    seen.complete = False
                    seen.estimated = self.estimated(file, dialect, len(found))
                    break
                try:
                    columns = _written(flat(one[1]))
                except BadRow as error:
                    _note(seen, _left_out(one[0], error, self.noun, skips=True))
                    continue
                found.append((*one, columns))
                size += sum(map(len, columns.values()))
        except BadFile as error:
            seen.problems.append(table_format.refused(error))
        _fill(seen, found, self.noun)
        if not found and not any(one["severity"] == "error" for one in seen.problems):
            why = next((one["detail"] for one in seen.problems if "code" in one), "")
            seen.problems.append(table_format.no_rows(f"There is no row in it. {why}".strip()))
        seen.problems += self.notes(file, dialect)
        return seen

    def cells(
        self, file: IO[bytes], name: str, dialect: dict[str, Any], plan: Plan
    ) -> tuple[list[str], Iterator[Cells | LeftOut]]:
        needed = [plan.columns[role] for role in ROLES if plan.columns.get(role)]
        needed += plan.features
        names = list(dict.fromkeys([*needed, *plan.others]))
        return names, self._cells(file, name, dialect, plan, names, set(needed))

    def _cells(
        self,
        file: IO[bytes],
        name: str,
        dialect: dict[str, Any],
        plan: Plan,
        names: list[str],
        needed: set[str],
    ) -> Iterator[Cells | LeftOut]:
        layout = LAYOUTS[dialect["layout"]]
        plain = layout.key == PLAIN
        skips = plan.ragged == "skip"
        find = Finder(names)
        cell, any_row = cells.cell, False
        found = self.objects(file, dialect, skips=skips, names=names if plain else None)
        laid_out = found if plain else _laid_out(found, layout, self.noun, skips=skips)
        for one in laid_out:
            if isinstance(one, LeftOut):
                yield one
                continue
            try:
                row = [cell(value) for value in find(one[1])]
            except BadRow as error:
                yield _left_out(one[0], error, self.noun, skips=skips)
                continue
            any_row = True
            yield one[0], row
        absent = [one for one in names if one in needed and one not in find.met]
        if absent and any_row:
            has = ", ".join(repr(one) for one in find.known[:20])
            raise BadFile(f"{name} has no column {absent[0]!r}; it has {has}.")


class Finder:
    """The values of an object under the names of columns, in their order. Objects with the same
    keys are looked through once."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.met: set[str] = set()  # columns that an object had
        self.known: list[str] = []  # keys of the first object
        self._shapes: dict[tuple[str, ...], list[str | tuple[str, ...] | None]] = {}

    def __call__(self, found: JSON) -> list[Any]:
        shape = tuple(found)
        how = self._shapes.get(shape)
        if how is None:
            how = self._shapes[shape] = self._learnt(found)
            if len(self._shapes) > MOST_SHAPES:
                self._shapes.clear()
        return [
            None if key is None else found[key] if isinstance(key, str) else _deeper(found, key)
            for key in how
        ]

    def _learnt(self, found: JSON) -> list[str | tuple[str, ...] | None]:
        """For each column its key, or the keys of what stands deeper, with its name at the end."""
        by_name = {named(key): key for key in reversed(list(found))}
        self.known = self.known or [one for one in by_name if one][::-1]
        how: list[str | tuple[str, ...] | None] = []
        for name in self.names:
            if name in by_name:
                how.append(by_name[name])
            elif any(name.startswith(f"{key}.") for key in by_name):
                how.append(_way(found, name))
            else:
                how.append(None)
                continue
            self.met.add(name)
        return how


def _way(found: Any, name: str) -> tuple[str, ...]:
    """The keys to a dotted name in an object, as far as it has them, with the name at the end."""
    if isinstance(found, dict):
        for key, value in found.items():
            if named(key) == name:
                return (key, name)
            if name.startswith(f"{named(key)}."):
                deeper = _way(value, name[len(named(key)) + 1 :])
                if len(deeper) > 1:
                    return (key, *deeper[:-1], name)
    return (name,)


def _deeper(found: JSON, way: tuple[str, ...]) -> Any:
    """What most objects have at the end of the same way; else it is looked for."""
    value: Any = found
    for key in way[:-1]:
        if type(value) is not dict or key not in value:
            return within(found, way[-1])
        value = value[key]
    return within(found, way[-1]) if len(way) == 1 else value


def within(found: JSON, name: str) -> Any:
    """The value of a dotted name, whose parts may have dots, too; None where it is not there."""
    for key, value in found.items():
        own = named(key)
        if own == name:
            return value
        if isinstance(value, dict) and name.startswith(f"{own}."):
            deeper = within(value, name[len(own) + 1 :])
            if deeper is not None:
                return deeper
    return None


def named(key: Any) -> str:
    """A key as the name of a column: one line, of bearable length."""
    if type(key) is str and key.isprintable() and len(key) <= MOST_NAME and key.strip() == key:
        return key or "_"
    return " ".join(str(key).replace("\0", "").split())[:MOST_NAME] or "_"


def flat(found: JSON, *, before: str = "", depth: int = 1) -> dict[str, Any]:
    """An object as columns: of objects within it, one for each of their keys."""
    columns: dict[str, Any] = {}
    for key, value in found.items():
        name = f"{before}{named(key)}"
        if isinstance(value, dict) and value and depth < DEEPEST:
            columns |= flat(value, before=f"{name}.", depth=depth + 1)
        else:
            columns[name] = value
        if len(columns) > MOST_COLUMNS * LEAVES:
            break  # it is refused by their number
    return columns


def _written(columns: dict[str, Any]) -> dict[str, str]:
    return {name: cells.cell(value) for name, value in columns.items()}


def _fill(seen: Head, rows: list[Read], noun: str) -> None:
    """The columns of objects, and their cells."""
    whole = _mappings(rows)
    if whole:
        rows = [(place, one, _with_whole(one, columns, whole)) for place, one, columns in rows]
    names: dict[str, None] = {}
    for place, _, columns in rows:
        names |= dict.fromkeys(columns)
        if len(names) > MOST_COLUMNS:
            detail = f"{noun.capitalize()} {place} brings the columns to more than {MOST_COLUMNS}"
            seen.problems.append(
                {"severity": "error", "detail": f"{detail}, the most that are read.", "line": place}
            )
            return
    seen.names = list(names)
    seen.rows = [
        (place, [columns.get(name, "") for name in seen.names]) for place, _, columns in rows
    ]


def _mappings(rows: list[Read]) -> set[str]:
    """The keys of objects whose own keys are values, and not names of columns."""
    names = {name for _, _, columns in rows for name in columns}
    nested = {key for _, one, _ in rows for key, value in one.items() if isinstance(value, dict)}
    if len(names) <= LEAVES or not nested:
        return set()
    leaves = Counter(key for key in nested for name in names if name.startswith(f"{named(key)}."))
    return {key for key, many in leaves.items() if many > LEAVES}


def _with_whole(one: JSON, columns: dict[str, str], whole: set[str]) -> dict[str, str]:
    """The columns, with some objects kept as they are."""
    before = tuple(f"{named(key)}." for key in whole)
    kept = {name: cell for name, cell in columns.items() if not name.startswith(before)}
    return kept | {named(key): cells.cell(one[key]) for key in whole if key in one}


def _laid_out(
    found: Iterator[Placed | LeftOut], layout: Layout, noun: str, *, skips: bool
) -> Iterator[Placed | LeftOut]:
    """The rows that objects are. Raises BadFile with the place of one that is not laid out so."""
    for one in found:
        if isinstance(one, LeftOut):
            yield one
            continue
        place, told = one
        try:
            rows = list(layout.rows(told))
        except NotText as error:
            yield LeftOut(str(place), error.code, f"{noun.capitalize()} {place} {error.detail}.")
            continue
        except BadRow as error:
            yield _left_out(place, error, noun, skips=skips)
            continue
        for row in rows:
            yield place, row


def _left_out(place: int, error: BadRow, noun: str, *, skips: bool) -> LeftOut:
    """Raises BadFile unless it `skips`."""
    detail = f"{noun.capitalize()} {place} {error.detail}."
    if not skips:
        raise BadFile(detail, line=place) from None
    return LeftOut(str(place), error.code, detail)


def _note(seen: Head, one: LeftOut) -> None:
    """The first that is left out of each kind stands among the problems."""
    if one.code == "blank_line" or any(each.get("code") == one.code for each in seen.problems):
        return
    severity = "warning" if one.code == "not_text" else "error"
    seen.problems.append({"severity": severity, "code": one.code, "detail": one.detail})
    if one.source.isdigit():
        seen.problems[-1]["line"] = int(one.source)
