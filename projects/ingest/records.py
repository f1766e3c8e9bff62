"""Records of delimited text, read with every size bounded: a line, a cell, a number of columns."""

import codecs
import csv
import io
from collections.abc import Iterator
from typing import IO, Any

from projects.ingest import encodings
from projects.ingest.formats import BadFile

MOST_LINE = 8 << 20  # characters
MOST_CELL = 4 << 20  # characters
MOST_COLUMNS = 500

csv.field_size_limit(MOST_CELL)  # of the whole process; the module's default is 128 KiB

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}

Record = tuple[int, list[str]]  # the line where it begins, and its values


class Lines:
    """The lines of a text with their ends, counted, none longer than MOST_LINE."""

    def __init__(self, text: io.TextIOBase) -> None:
        self.text = text
        self.number = 0
        self.exhausted = False

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> str:
        line = self.text.readline(MOST_LINE + 1)
        if not line:
            self.exhausted = True
            raise StopIteration
        self.number += 1
        if len(line) > MOST_LINE:
            raise BadFile(
                f"Line {self.number} is longer than {MOST_LINE:,} characters.".replace(",", " "),
                line=self.number,
            )
        if "\0" in line:
            raise BadFile(
                f"Line {self.number} holds a NUL character, which text does not. Remove it, or "
                "choose the encoding the file is really in.",
                line=self.number,
            )
        return line


def of_text(text: io.TextIOBase, dialect: dict[str, Any]) -> Iterator[Record]:
    """The records of a text opened with `newline=""`; a blank line is a record without values.

    Raises BadFile with the line for NUL characters, lines, cells and records that are too large,
    and a quote that never closes.
    """
    lines = Lines(text)
    quoted = dialect.get("quoting", "double") == "double"
    reader = csv.reader(
        lines,
        delimiter=dialect["delimiter"],
        quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
        doublequote=True,
    )
    while True:
        begin = lines.number + 1
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise BadFile(_in_words(error, begin), line=begin) from None
        if lines.exhausted:  # the reader asked for more lines than there are
            raise BadFile(
                f"A quote that opens in line {begin} never closes. If quotes are ordinary "
                "characters in this file, choose that quotes mean nothing.",
                line=begin,
            )
        if len(values) > MOST_COLUMNS:
            raise BadFile(
                f"Line {begin} has {len(values):,} values; at most {MOST_COLUMNS:,} columns are "
                "read. Is the delimiter right?",
                line=begin,
            )
        yield begin, values


def of_file(file: IO[bytes], dialect: dict[str, Any]) -> Iterator[Record]:
    """The records of a whole file. Raises BadFile with the line; `file` stays open."""
    file.seek(0)
    text = io.TextIOWrapper(file, encoding=codec(dialect), errors="strict", newline="")
    try:
        yield from of_text(text, dialect)
    except UnicodeError:
        line = encodings.undecodable_line(file, codec(dialect))
        name = encodings.ENCODINGS.get(dialect["encoding"], dialect["encoding"])
        raise BadFile(
            f"Line {line} is not valid {name}. Choose the encoding the file is really in.",
            line=line,
        ) from None
    finally:
        if not file.closed:
            text.detach()


def of_head(head: bytes, whole: bool, dialect: dict[str, Any]) -> tuple[list[Record], str]:
    """The complete records at the beginning of a file, and the sentence that stopped them, if any.

    Unless `head` is the whole file its last record may be cut, and is left out. Bytes that do not
    decode are shown as the replacement character.
    """
    decoder = codecs.getincrementaldecoder(codec(dialect))("replace")
    text = decoder.decode(head, final=whole)
    found: list[Record] = []
    try:
        found.extend(of_text(io.StringIO(text, newline=""), dialect))
    except BadFile as error:
        stopped_by_the_cut = not whole and "never closes" in error.detail
        return found, "" if stopped_by_the_cut else error.detail
    return (found if whole else found[:-1]), ""


def codec(dialect: dict[str, Any]) -> str:
    """Python's name: UTF-8 may begin with a mark, which is not part of the text."""
    encoding: str = dialect["encoding"]
    return "utf-8-sig" if encoding == "utf-8" else encoding


def _in_words(error: csv.Error, line: int) -> str:
    if "field larger" in str(error):
        return (
            f"A cell that begins in line {line} is longer than {MOST_CELL:,} characters. Is a "
            "quote missing?"
        ).replace(",", " ", 1)
    return f"Line {line} cannot be read: {error}."
