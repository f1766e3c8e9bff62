"""JSON Lines: an object in every line."""

import io
import json
from collections.abc import Iterator, Sequence
from typing import IO, Any, ClassVar

from distillhub.lib.errors import Invalid
from projects.ingest import compressed, encodings, records, registry
from projects.ingest.formats import BadFile, BadRow, LeftOut
from projects.ingest.layouts import PLAIN
from projects.ingest.record_format import Placed, RecordFormat

ENDINGS = (".jsonl", ".ndjson", ".jsonlines")
MOST_REASON = 100  # characters of what a parser says
_decode = json.JSONDecoder().decode


@registry.register
class JsonLines(RecordFormat):
    key = "json_lines"
    label = "JSON Lines"
    suffixes: ClassVar[tuple[str, ...]] = (*ENDINGS, ".json")

    def recognises(self, head: bytes, name: str) -> bool:
        return bool(starts(head)) and by_line(head, name)

    def fits(self, file: IO[bytes]) -> int:
        """More than words with tags do, where the objects are chats or the like."""
        return 1 if self.guess_layout(file, {"encoding": "utf-8"}) == PLAIN else 3

    def sniff(self, file: IO[bytes], name: str) -> dict[str, Any]:
        dialect = {"encoding": encodings.detect(file)}
        return dialect | {"layout": self.guess_layout(file, dialect)}

    def check_dialect(self, dialect: dict[str, Any]) -> dict[str, Any]:
        return {"encoding": check_encoding(dialect), "layout": self.check_layout(dialect)}

    def objects(
        self,
        file: IO[bytes],
        dialect: dict[str, Any],
        *,
        skips: bool,
        names: Sequence[str] | None = None,
    ) -> Iterator[Placed | LeftOut]:
        file.seek(0)
        text = io.TextIOWrapper(file, encoding=records.codec(dialect), errors="strict", newline="")
        lines = records.Lines(text)
        try:
            for line in lines:
                if line.isspace():
                    yield LeftOut(str(lines.number), "blank_line")
                    continue
                try:
                    yield lines.number, parsed(line)
                except BadRow as error:
                    detail = f"Line {lines.number} {error.detail}."
                    if not skips:
                        raise BadFile(detail, line=lines.number) from None
                    yield LeftOut(str(lines.number), error.code, detail)
        except UnicodeError:
            raise undecodable(file, dialect) from None
        finally:
            if not file.closed:
                text.detach()

    def estimated(self, file: IO[bytes], dialect: dict[str, Any], seen: int) -> int:
        read = file.tell()
        return int(seen * compressed.size(file, read) / max(1, read))

    def notes(self, file: IO[bytes], dialect: dict[str, Any]) -> list[dict[str, Any]]:
        """A key that stands twice in an object: the last one counts, and nothing else says so."""
        file.seek(0)
        head = file.read(1 << 18).decode(records.codec(dialect), "replace")
        for place, line in enumerate(head.splitlines()[:-1], 1):
            if twice := doubled(line):
                detail = f"Line {place} has the key {twice[:50]!r} twice; the last one counts."
                return [{"severity": "warning", "detail": detail, "line": place}]
        return []


def starts(head: bytes) -> bytes:
    """The first character, where it is one that JSON's objects and lists begin with."""
    text = head
    for mark, encoding in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if head.startswith(mark):
            text = head[2:].decode(encoding, "replace").encode()
    first = text.lstrip(b"\xef\xbb\xbf \r\n\t")
    follows = first[1:].lstrip()[:1]
    if first[:1] == b"{" and follows in (b'"', b"}", b""):
        return b"{"
    if first[:1] == b"[" and follows in (b"{", b"[", b"]", b'"', b""):
        return b"["
    return b""


def by_line(head: bytes, name: str) -> bool:
    """Whether every line is a value of its own."""
    if starts(head) == b"[":
        return name.lower().endswith(ENDINGS)
    text = head.replace(b"\0", b"") if head[:2] in (b"\xff\xfe", b"\xfe\xff") else head
    lines = [one for one in text.splitlines() if one.strip()]
    if name.lower().endswith(ENDINGS):
        return True
    return len(lines) > 1 and lines[1].lstrip()[:1] == b"{" and lines[0].rstrip()[-1:] == b"}"


def parsed(line: str) -> dict[str, Any]:
    """Raises BadRow."""
    try:
        found = _decode(line)
    except RecursionError:
        raise BadRow("has lists or objects too deep within one another") from None
    except ValueError as error:
        raise BadRow(f"is not JSON ({str(error)[:MOST_REASON]})") from None
    if type(found) is not dict:
        raise BadRow('is no JSON object; each line must be one, such as {"text": "..."}')
    if len(found) > records.MOST_COLUMNS:
        raise BadRow(
            f"has an object with {len(found):,} keys; at most {records.MOST_COLUMNS} columns are "
            "read"
        )
    if "\\ud" in line or "\\uD" in line:
        check_characters(found)
    return found


def check_characters(found: Any) -> None:
    """Raises BadRow for half of a character, which JSON can write: `\\ud83d`."""
    try:
        json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise BadRow("holds half of a character (a lone surrogate)") from None


def doubled(text: str) -> str:
    """A key that stands twice in an object of it; empty where none does, or it is no JSON."""
    twice: list[str] = []

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in found]
        if len(set(keys)) < len(keys):
            twice.extend(key for key in keys if keys.count(key) > 1)
        return dict(found)

    if len(text) > 1 << 16:
        return ""
    try:
        json.loads(text, object_pairs_hook=pairs)
    except (ValueError, RecursionError):
        return ""
    return twice[0] if twice else ""


def check_encoding(dialect: dict[str, Any]) -> str:
    """Raises Invalid."""
    encoding = dialect.get("encoding")
    if encoding not in encodings.ENCODINGS:
        detail = f"Choose one of these encodings: {', '.join(encodings.ENCODINGS)}."
        raise Invalid(detail, fields={"encoding": [detail]})
    return str(encoding)


def undecodable(file: IO[bytes], dialect: dict[str, Any]) -> BadFile:
    line = encodings.undecodable_line(file, records.codec(dialect))
    name = encodings.ENCODINGS.get(dialect["encoding"], dialect["encoding"])
    return BadFile(
        f"Line {line} is not valid {name}. Choose the encoding the file is really in.", line=line
    )
