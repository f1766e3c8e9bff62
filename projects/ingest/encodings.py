"""Which encoding a text file is in.

In this order: a byte order mark; the NUL pattern of UTF-16 without one; UTF-8, which is hardly
ever valid by chance, checked over the whole file; then, for files whose other lines are mostly
beyond ASCII (Cyrillic, Chinese, ...), what charset-normalizer recognises; else Windows-1252, or
latin-1 where it uses bytes that Windows-1252 leaves undefined.
"""

import codecs
import re
from typing import IO

import charset_normalizer

PIECE = 1 << 20  # bytes
SAMPLE = 16 << 10  # bytes that charset-normalizer sees; it is slow

#: What a person may choose, with the words for it. Only real text encodings: Python also calls
#: zip and rot13 codecs.
ENCODINGS = {
    "utf-8": "UTF-8",
    "utf-16": "UTF-16",
    "utf-16-le": "UTF-16, little endian",
    "utf-16-be": "UTF-16, big endian",
    "cp1252": "Windows-1252 (Western Europe)",
    "latin-1": "Latin-1 (ISO 8859-1)",
    "iso8859-15": "Latin-9 (ISO 8859-15)",
    "cp1250": "Windows-1250 (Central Europe)",
    "iso8859-2": "Latin-2 (ISO 8859-2)",
    "cp1251": "Windows-1251 (Cyrillic)",
    "koi8-r": "KOI8-R (Cyrillic)",
    "cp1253": "Windows-1253 (Greek)",
    "cp1254": "Windows-1254 (Turkish)",
    "cp1255": "Windows-1255 (Hebrew)",
    "cp1256": "Windows-1256 (Arabic)",
    "cp1258": "Windows-1258 (Vietnamese)",
    "cp874": "Windows-874 (Thai)",
    "mac-roman": "Mac Roman",
    "cp437": "DOS (CP437)",
    "cp850": "DOS (CP850)",
    "cp932": "Shift JIS (Japanese)",
    "euc-jp": "EUC-JP (Japanese)",
    "gb18030": "GB 18030 (Chinese, simplified)",
    "big5": "Big5 (Chinese, traditional)",
    "cp949": "CP949 (Korean)",
}

_BY_CODEC = {codecs.lookup(name).name: name for name in ENCODINGS}
_SAME_FAMILY = {
    "shift_jis": "cp932",
    "shift_jis_2004": "cp932",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "hz": "gb18030",
    "euc_kr": "cp949",
    "johab": "cp949",
    "big5hkscs": "big5",
    "euc_jis_2004": "euc-jp",
    "iso8859-5": "cp1251",
    "mac-cyrillic": "cp1251",
    "iso8859-7": "cp1253",
    "iso8859-8": "cp1255",
    "iso8859-6": "cp1256",
    "tis-620": "cp874",
}
_BEYOND_ASCII = re.compile(rb"[^\r\n]{0,400}[\x80-\xff]+[^\r\n]{0,400}")
_UNDEFINED_IN_1252 = bytes([0x81, 0x8D, 0x8F, 0x90, 0x9D])
_ALL_BUT_UNDEFINED = bytes(sorted(set(range(256)) - set(_UNDEFINED_IN_1252)))


def detect(file: IO[bytes]) -> str:
    """A key of ENCODINGS. Reads the whole file, a piece at a time."""
    file.seek(0)
    head = file.read(SAMPLE)
    if head.startswith(codecs.BOM_UTF8):
        return "utf-8"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if wide := _wide(head):
        return wide
    if decodes(file, "utf-8"):
        return "utf-8"
    sample = _sample(file)
    beyond = sum(byte >= 0x80 for byte in sample)
    if beyond > 0.25 * len(sample) and (named := _recognised(sample)) and decodes(file, named):
        return named
    return "latin-1" if _uses_undefined(file) else "cp1252"


def decodes(file: IO[bytes], encoding: str) -> bool:
    """Whether the whole file is valid in an encoding."""
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    file.seek(0)
    try:
        while piece := file.read(PIECE):
            decoder.decode(piece)
        decoder.decode(b"", final=True)
    except UnicodeError:
        return False
    return True


def undecodable_line(file: IO[bytes], encoding: str) -> int:
    """The number of the first line that is not valid in an encoding."""
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    file.seek(0)
    line, ends_with_return = 1, False
    while piece := file.read(64 << 10):
        good, failed = piece, False
        state = decoder.getstate()
        try:
            text = decoder.decode(piece)
        except UnicodeDecodeError as error:
            decoder.setstate(state)
            good, failed = piece[: max(0, error.start - len(state[0]))], True
            text = decoder.decode(good) if good else ""
        if ends_with_return and text.startswith("\n"):
            text = text[1:]
        ends_with_return = text.endswith("\r")
        line += text.count("\n") + text.count("\r") - text.count("\r\n")
        if failed:
            break
    return line


def _wide(head: bytes) -> str:
    """UTF-16 without a mark: every second byte of mostly Western text is NUL."""
    even, odd = head[0::2], head[1::2]
    if len(odd) >= 4 and odd.count(0) > 0.3 * len(odd) and even.count(0) < 0.05 * len(even):
        return "utf-16-le"
    if len(odd) >= 4 and even.count(0) > 0.3 * len(even) and odd.count(0) < 0.05 * len(odd):
        return "utf-16-be"
    return ""


def _sample(file: IO[bytes]) -> bytes:
    """Pieces of lines that go beyond ASCII, from wherever the file has them."""
    file.seek(0)
    found: list[bytes] = []
    size = 0
    while size < SAMPLE and (piece := file.read(PIECE)):
        for match in _BEYOND_ASCII.finditer(piece):
            found.append(match.group())
            size += len(found[-1])
            if size >= SAMPLE:
                break
    return b"\n".join(found)[:SAMPLE]


def _recognised(sample: bytes) -> str:
    best = charset_normalizer.from_bytes(sample).best()
    if best is None:
        return ""
    codec = codecs.lookup(best.encoding).name
    return _BY_CODEC.get(codec) or _SAME_FAMILY.get(codec, "")


def _uses_undefined(file: IO[bytes]) -> bool:
    file.seek(0)
    while piece := file.read(PIECE):
        if piece.translate(None, _ALL_BUT_UNDEFINED):
            return True
    return False
