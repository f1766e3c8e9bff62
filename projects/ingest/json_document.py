"""A JSON document: a list of objects, objects one behind the other, or one object that holds a list
of them, has them by their names, or has a list for each column.

Read a value at a time, so that a large file takes little memory; only lists for each column must be
held whole.
"""

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, ClassVar

from distillhub.lib.errors import Invalid
from projects.ingest import compressed, encodings, json_lines, records, registry
from projects.ingest.formats import BadFile, BadRow, LeftOut
from projects.ingest.record_format import Placed, RecordFormat

READ = 1 << 16  # characters
WHOLE = 64 << 20  # bytes of a document with a list for each column
MOST_KEYS = 1000  # of objects within the document's, that are looked at
FIRST = 20  # keys of a sentence

#: What the document is.
LIST, SEQUENCE, WITHIN, BY_NAME, BY_COLUMN = "list", "sequence", "within", "by_name", "by_column"
FORMS = {
    LIST: "a list of objects",
    SEQUENCE: "objects one behind the other",
    WITHIN: "an object with a list of objects",
    BY_NAME: "an object with objects by their names",
    BY_COLUMN: "an object with a list for each column",
}
_decode = json.JSONDecoder().raw_decode


@registry.register
class JsonDocument(RecordFormat):
    key = "json"
    label = "JSON"
    suffixes: ClassVar[tuple[str, ...]] = (".json",)
    noun: ClassVar[str] = "item"

    def recognises(self, head: bytes, name: str) -> bool:
        first = json_lines.starts(head)
        if not first or json_lines.by_line(head, name):
            return False
        listed = head.lstrip(b"\xef\xbb\xbf \r\n\t")[1:].lstrip()[:1] in (b"{", b"]", b"")
        return first == b"{" or listed or name.lower().endswith(self.suffixes)

    def fits(self, file: IO[bytes]) -> int:
        return 3  # what words with tags have within a list is read here, too

    def sniff(self, file: IO[bytes], name: str) -> dict[str, Any]:
        dialect: dict[str, Any] = {"encoding": encodings.detect(file)}
        dialect |= _form(file, dialect)
        return dialect | {"layout": self.guess_layout(file, dialect)}

    def check_dialect(self, dialect: dict[str, Any]) -> dict[str, Any]:
        form, at = dialect.get("form"), dialect.get("at")
        if form not in FORMS:
            detail = f"A JSON document is one of these: {', '.join(FORMS)}."
            raise Invalid(detail, fields={"form": [detail]})
        if form == WITHIN and not isinstance(at, str):
            detail = "Name the key whose list holds the rows."
            raise Invalid(detail, fields={"at": [detail]})
        found = {"encoding": json_lines.check_encoding(dialect), "form": form}
        found |= {"at": at, "lists": dialect.get("lists", [])} if form == WITHIN else {}
        return found | {"layout": self.check_layout(dialect)}

    def objects(
        self,
        file: IO[bytes],
        dialect: dict[str, Any],
        *,
        skips: bool,
        names: Sequence[str] | None = None,
    ) -> Iterator[Placed | LeftOut]:
        if dialect["form"] == BY_COLUMN and compressed.size(file, WHOLE + 1) > WHOLE:
            raise BadFile(
                f"A document with a list for each column is read up to {WHOLE >> 20} MiB. Save "
                "its rows as JSON Lines."
            )
        file.seek(0)
        text = io.TextIOWrapper(file, encoding=records.codec(dialect), errors="strict")
        try:
            for place, value in enumerate(_values(Scanner(text), dialect), 1):
                if wrong := _wrong(value):
                    detail = f"Item {place} {wrong}."
                    if not skips:
                        raise BadFile(detail, line=place)
                    yield LeftOut(str(place), BadRow.code, detail)
                    continue
                yield place, value
        except UnicodeError:
            raise json_lines.undecodable(file, dialect) from None
        finally:
            if not file.closed:
                text.detach()

    def estimated(self, file: IO[bytes], dialect: dict[str, Any], seen: int) -> int:
        read = file.tell()
        return int(seen * compressed.size(file, read) / max(1, read))


class Scanner:
    """The values of a JSON text, one at a time. Raises BadFile with the line."""

    def __init__(self, text: io.TextIOBase) -> None:
        self.text = text
        self.buffer, self.at, self.ended = "", 0, False
        self._line = 1  # of the buffer's beginning

    @property
    def line(self) -> int:
        return self._line + self.buffer.count("\n", 0, self.at)

    def _more(self, size: int = READ) -> bool:
        piece = self.text.read(size)
        if not piece:
            self.ended = True
            return False
        self._line = self.line
        self.buffer, self.at = self.buffer[self.at :] + piece, 0
        return True

    def peek(self) -> str:
        """The next character that is no blank; empty at the end."""
        while True:
            while self.at < len(self.buffer):
                if (character := self.buffer[self.at]) not in " \t\r\n":
                    return character
                self.at += 1
            if not self._more():
                return ""

    def take(self, expected: str, what: str) -> None:
        found = self.peek()
        if found != expected:
            raise self.wrong(f"{expected!r} is missing {what}")
        self.at += 1

    def wrong(self, reason: str) -> BadFile:
        where = "at its end" if not self.peek() else f"in line {self.line}"
        return BadFile(f"This is not JSON {where}: {reason}.", line=self.line)

    def value(self) -> Any:
        """The next value, whole."""
        if not self.peek():
            raise self.wrong("a value is missing")
        while True:
            left = len(self.buffer) - self.at
            try:
                found, end = _decode(self.buffer, self.at)
            except RecursionError:
                raise BadFile(
                    f"Lists or objects in line {self.line} are too deep within one another.",
                    line=self.line,
                ) from None
            except ValueError as error:
                if left > records.MOST_LINE:
                    raise BadFile(
                        f"A value that begins in line {self.line} is longer than "
                        f"{records.MOST_LINE:,} characters, or does not end.",
                        line=self.line,
                    ) from None
                if self._more(max(READ, left)):
                    continue
                place = getattr(error, "pos", self.at)
                line = self._line + self.buffer.count("\n", 0, place)
                reason = str(getattr(error, "msg", error))[: json_lines.MOST_REASON]
                raise BadFile(f"This is not JSON in line {line}: {reason}.", line=line) from None
            if end == len(self.buffer) and not self.ended and self._more():
                continue  # a number may go on
            self.at = end
            return found

    def items(self) -> Iterator[Any]:
        """The values of the list that comes next."""
        self.take("[", "before the list")
        if self.peek() == "]":
            self.at += 1
            return
        while True:
            yield self.value()
            if self.peek() == "]":
                self.at += 1
                return
            self.take(",", "between the items of a list")

    def members(self) -> Iterator[str]:
        """The keys of the object that comes next; after each its value has to be read."""
        self.take("{", "before the object")
        if self.peek() == "}":
            self.at += 1
            return
        while True:
            key = self.value()
            if not isinstance(key, str):
                raise self.wrong("a key is no text")
            self.take(":", "behind a key")
            yield key
            if self.peek() == "}":
                self.at += 1
                return
            self.take(",", "between the keys of an object")

    def passed(self) -> "Passed":
        """The next value, read and forgotten but for what it is."""
        found = Passed(self.peek())
        if found.first == "[":
            for one in self.items():
                found.objects += isinstance(one, dict)
                found.size += 1
        elif found.first == "{":
            for key in self.members():
                if len(found.keys) < MOST_KEYS:
                    found.keys.append(key)
                self.value()
                found.size += 1
        else:
            self.value()
        return found


@dataclass(slots=True)
class Passed:
    """What a value of the document's object is."""

    first: str
    size: int = 0
    objects: int = 0  # among a list's
    keys: list[str] = field(default_factory=list)


def _form(file: IO[bytes], dialect: dict[str, Any]) -> dict[str, Any]:
    """{"form"} and, of a list within an object, {"at", "lists"}. Reads the file. Raises BadFile."""
    file.seek(0)
    text = io.TextIOWrapper(file, encoding=records.codec(dialect), errors="replace")
    scanner = Scanner(text)
    try:
        if scanner.peek() == "[":
            return {"form": LIST}
        lists: list[str] = []
        sizes: set[int] = set()
        kinds: set[str] = set()
        numbered, many = True, 0
        for key in scanner.members():
            found = scanner.passed()
            many += 1
            kinds.add(found.first if found.first in "[{" else "")
            sizes = sizes if len(sizes) > 1 else sizes | {found.size}
            numbered = numbered and all(one.isdigit() for one in found.keys)
            if found.objects and len(lists) < FIRST:
                lists.append(key)
        if scanner.peek():
            return {"form": SEQUENCE}
        if lists:
            return {"form": WITHIN, "at": lists[0], "lists": lists}
        if kinds == {"["} or (kinds == {"{"} and numbered and len(sizes) == 1):
            return {"form": BY_COLUMN}
        return {"form": BY_NAME if kinds == {"{"} and many > 1 else SEQUENCE}
    finally:
        text.detach()


def _values(scanner: Scanner, dialect: dict[str, Any]) -> Iterator[Any]:
    form = dialect["form"]
    if form == LIST:
        yield from scanner.items()
    elif form == SEQUENCE:
        while scanner.peek():
            yield scanner.value()
        return
    elif form == WITHIN:
        yield from _within(scanner, dialect["at"])
    elif form == BY_NAME:
        for key in scanner.members():
            value = scanner.value()
            yield {"key": key} | value if isinstance(value, dict) else value
    else:
        yield from _by_column(scanner)
        return
    if scanner.peek():
        raise scanner.wrong("something follows the end of the document")


def _within(scanner: Scanner, at: str) -> Iterator[Any]:
    met = []
    for key in scanner.members():
        met.append(key)
        if key == at and scanner.peek() == "[":
            yield from scanner.items()
        else:
            scanner.passed()
    if at not in met:
        has = ", ".join(repr(one) for one in met[:FIRST])
        raise BadFile(f"The document has no list under {at!r}; it has {has}.")


def _by_column(scanner: Scanner) -> Iterator[Any]:
    """Of {"text": [...], "label": [...]}, or of pandas' {"text": {"0": ...}}."""
    columns: dict[str, list[Any]] = {}
    for key in scanner.members():
        if scanner.peek() == "[":
            columns[key] = list(scanner.items())
        elif scanner.peek() == "{":
            columns[key] = [scanner.value() for _ in scanner.members()]
        else:
            raise scanner.wrong(f"the value of {key[:50]!r} is neither a list nor an object")
        if len(columns) > records.MOST_COLUMNS:
            raise BadFile(f"There are more than {records.MOST_COLUMNS} columns.")
    sizes = {key: len(values) for key, values in columns.items()}
    if len(set(sizes.values())) > 1:
        one, few = next(iter(sizes.items()))
        two, many = next(each for each in sizes.items() if each[1] != few)
        raise BadFile(f"The column {one!r} has {few:,} values, and {two!r} has {many:,}.")
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(columns, values, strict=True))


def _wrong(value: Any) -> str:
    """What is wrong with an item, as the end of a sentence."""
    if not isinstance(value, dict):
        return "is no object with named values"
    if len(value) > records.MOST_COLUMNS:
        return f"has {len(value):,} keys; at most {records.MOST_COLUMNS} columns are read"
    try:
        json_lines.check_characters(value)
    except BadRow as error:
        return error.detail
    return ""
