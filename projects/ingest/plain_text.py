"""A file of running text, for networks that learn to write.

It becomes pieces of about PIECE characters, cut behind a paragraph where there is one, else behind
a line or a word: put together again they are the text to the letter. The pieces of a split stand
together, train first, so that no split has read what another goes on with.
"""

import hashlib
import io
from collections.abc import Iterator
from typing import IO, Any, ClassVar

from distillhub.lib.errors import Invalid
from projects.ingest import compressed, disguises, encodings, records, registry, table_guesses
from projects.ingest.formats import (
    GENERATION_TASK,
    SPLITS,
    TEST,
    TRAIN,
    BadFile,
    Format,
    LeftOut,
    Look,
    Plan,
    Row,
)

PIECE = 2000  # characters of a row
READ = 1 << 16  # characters
HEAD = 1 << 18  # bytes that are looked at before a person confirms
SHOWN = 5  # pieces
SHOWN_CHARACTERS = 300
TABLE = 0.9  # of the records have as many values as most have: a table
FEWEST = 3  # records of a table


@registry.register
class PlainText(Format):
    key = "plain_text"
    label = "Running text"
    tasks: ClassVar[tuple[str, ...]] = (GENERATION_TASK,)
    suffixes: ClassVar[tuple[str, ...]] = (".txt", ".text", ".md")
    is_one_text = True

    def inputs(self, plan: Plan) -> list[dict[str, str]]:
        return [{"name": "text", "type": "string", "role": "input"}]

    def measures(self, plan: Plan) -> tuple[str, ...]:
        return ("characters", "words")

    def recognises(self, head: bytes, name: str) -> bool:
        if head.startswith(b"PK") or disguises.what(head, name):
            return False
        wide = head.startswith((b"\xff\xfe", b"\xfe\xff"))
        return name.lower().endswith(self.suffixes) and (wide or b"\0" not in head)

    def fits(self, file: IO[bytes]) -> int:
        """Whether it is a text and no table that was called .txt: whose lines have the same number
        of values, more than one."""
        encoding = encodings.detect(file)
        file.seek(0)
        head = file.read(HEAD + 1)
        whole = len(head) <= HEAD
        delimiter, quoting = table_guesses.delimiter_and_quoting(head[:HEAD], whole, encoding)
        dialect = {"encoding": encoding, "delimiter": delimiter, "quoting": quoting}
        found, _ = records.of_head(head[:HEAD], whole, dialect)
        widths = [len(values) for _, values in found if any(map(str.strip, values))]
        if len(widths) < FEWEST:
            return 1
        usual = max(set(widths), key=widths.count)
        return -1 if usual > 1 and widths.count(usual) >= TABLE * len(widths) else 1

    def sniff(self, file: IO[bytes], name: str) -> dict[str, Any]:
        return {"encoding": encodings.detect(file)}

    def check_dialect(self, dialect: dict[str, Any]) -> dict[str, Any]:
        if dialect.get("encoding") not in encodings.ENCODINGS:
            detail = f"Choose one of these encodings: {', '.join(encodings.ENCODINGS)}."
            raise Invalid(detail, fields={"encoding": [detail]})
        return {"encoding": dialect["encoding"]}

    def look(self, file: IO[bytes], name: str, dialect: dict[str, Any]) -> Look:
        file.seek(0)
        head = file.read(HEAD)
        size = compressed.size(file, len(head))
        text = head.decode(records.codec(dialect), errors="replace")
        pieces = list(cut(iter([text])))
        look = Look(complete=size <= HEAD, seen=len(pieces))
        look.estimated = max(1, round(len(pieces) * size / max(1, len(head))))
        look.columns = [{"name": "text", "numeric": False}]
        look.rows = [[piece[:SHOWN_CHARACTERS]] for piece in pieces[:SHOWN]]
        look.lines = list(range(1, len(look.rows) + 1))
        if "\ufffd" in text[: len(text) - 4]:
            detail = "Some characters do not fit this encoding; they show as \ufffd."
            look.problems.append({"severity": "warning", "detail": detail})
        if not text.strip():
            look.problems.append({"severity": "error", "detail": "There is no text in it."})
        return look

    def guess_columns(self, look: Look, task: str) -> dict[str, Any]:
        return {}

    def label_counts(self, reading: dict[str, Any], look: Look) -> dict[str, int]:
        return {}

    def rows(
        self, file: IO[bytes], name: str, dialect: dict[str, Any], plan: Plan
    ) -> Iterator[Row | LeftOut]:
        size = max(1, file.seek(0, 2))
        file.seek(0)
        codec = records.codec(dialect)
        wide = dialect["encoding"]
        read = seen = 0  # characters, and bytes
        for piece in cut(_texts(file, codec, wide)):
            begin, read = read, read + len(piece)
            middle = seen + len(piece.encode(wide, "replace")) / 2
            seen = round(2 * middle - seen)
            source = f"{begin}-{read}"
            if not piece.strip():
                yield LeftOut(source, "empty_input")
                continue
            yield Row(
                source=source,
                input=piece,
                key=hashlib.blake2b(piece.strip().encode(), digest_size=8).digest(),
                label=None,
                split=split_at(middle / size, plan),
                others=(),
                measures=(len(piece), len(piece.split())),
            )

    def row_size(self, row: Row) -> int:
        return 4 * len(row.input) + 300


def split_at(share: float, plan: Plan) -> str | None:
    """The split of what stands at this share of the text; None where its file is given whole."""
    if plan.file_split not in (None, TRAIN):
        return None
    parts = {name: plan.shares.get(name, 0.0) for name in SPLITS}
    if plan.file_split == TRAIN and plan.has_test:
        parts[TEST] = 0.0
    whole, reached = sum(parts.values()), 0.0
    for name, part in parts.items():
        reached += part / whole
        if part and share < reached:
            return name
    return next(name for name in reversed(SPLITS) if parts[name])


def cut(texts: Iterator[str]) -> Iterator[str]:
    """Pieces of a text, which comes in parts of any length."""
    left = ""
    for text in texts:
        left += text
        begin = 0
        while len(left) - begin > 2 * PIECE:
            end = _border(left, begin)
            yield left[begin:end]
            begin = end
        left = left[begin:]
    while len(left) > 1.5 * PIECE:
        end = _border(left, 0)
        yield left[:end]
        left = left[end:]
    if left:
        yield left


def _border(text: str, begin: int) -> int:
    """Where a piece that begins here ends: behind the last paragraph, line or word that lets it
    have between a half and the whole of its length."""
    least, most = begin + PIECE // 2, begin + PIECE
    for border in ("\n\n", "\n", " "):
        found = text.rfind(border, least, most)
        if found >= 0:
            return found + len(border)
    return most


def _texts(file: IO[bytes], codec: str, encoding: str) -> Iterator[str]:
    """Parts of the file's text, as it stands. Raises BadFile with the line."""
    text = io.TextIOWrapper(file, encoding=codec, errors="strict", newline="")
    try:
        while part := text.read(READ):
            if "\0" in part:
                raise BadFile("The text holds a NUL character, which text does not.")
            yield part
    except UnicodeError:
        line = encodings.undecodable_line(file, codec)
        name = encodings.ENCODINGS.get(encoding, encoding)
        raise BadFile(
            f"Line {line} is not valid {name}. Choose the encoding the file is really in.",
            line=line,
        ) from None
    finally:
        if not file.closed:
            text.detach()
