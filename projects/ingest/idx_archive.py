"""An archive of idx files, as MNIST and its relatives are given: `train-images-idx3-ubyte` with
`train-labels-idx1-ubyte`, and `t10k-…` likewise, each maybe compressed with gzip.

The layout is that of http://yann.lecun.com/exdb/mnist: two zeros, the type of a value (8: a byte),
the number of sizes, the sizes as 32-bit big-endian numbers, the values. Pictures are stored as PNG.
"""

import base64
import gzip
import io
import re
import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Any, ClassVar

from PIL import Image

from projects.ingest import class_folders, image_folder, registry
from projects.ingest.class_folders import Archive, File
from projects.ingest.formats import SPLIT_WORDS, TEST, BadFile, Format, LeftOut, Look, Plan, Row

NAME = re.compile(r"(?P<stem>.*?)[-_.]?(?P<what>images|labels)[-_.]idx(?P<sizes>[1-4])[-_.]ubyte"
                  r"(\.gz)?\Z", re.IGNORECASE)  # fmt: skip
BYTE = 8  # the type of values that pictures and classes have
MOST_SIDE = 4096  # pixels
MOST_PICTURES = 5_000_000
SHOWN = 12


@dataclass(frozen=True, slots=True)
class Pair:
    """The pictures of one split, and the classes of all of them, if they are there."""

    images: File
    labels: File | None
    split: str | None


@registry.register
class IdxArchive(Format):
    key = "idx_archive"
    label = "Pictures as idx files, like MNIST (zip, tar)"
    tasks: ClassVar[tuple[str, ...]] = ("image-classification",)
    suffixes: ClassVar[tuple[str, ...]] = (".zip", ".tar", ".tar.gz", ".tgz")

    def recognises(self, head: bytes, name: str) -> bool:
        return class_folders.is_archive(head)

    def fits(self, file: IO[bytes]) -> int:
        """How many idx files the archive holds: more than other formats find of theirs."""
        try:
            with class_folders.opened(file, "") as archive:
                return sum(bool(NAME.match(_base(one))) for one in archive.namelist())
        except BadFile:
            return 0

    def inputs(self, plan: Plan) -> list[dict[str, str]]:
        return [{"name": "image", "type": "image", "role": "input"}]

    def measures(self, plan: Plan) -> tuple[str, ...]:
        return ("width", "height")

    def sniff(self, file: IO[bytes], name: str) -> dict[str, Any]:
        with class_folders.opened(file, name) as archive:
            _pairs(archive, name)
        return {}

    def check_dialect(self, dialect: dict[str, Any]) -> dict[str, Any]:
        return {}

    def guess_columns(self, look: Look, task: str) -> dict[str, Any]:
        return {}

    def label_counts(self, reading: dict[str, Any], look: Look) -> dict[str, int]:
        return look.labels

    def look(self, file: IO[bytes], name: str, dialect: dict[str, Any]) -> Look:
        look = Look()
        with class_folders.opened(file, name) as archive:
            for pair in _pairs(archive, name):
                with _open(archive, pair.images) as images:
                    many, height, width = _sizes(images, pair.images, 3)
                    first = range(min(many, SHOWN))
                    shown = [_read(images, height * width, pair.images) for _ in first]
                labels = _labels(archive, pair, many)
                look.labels = dict(Counter(look.labels) + Counter(labels))
                look.splits[pair.split or ""] = look.splits.get(pair.split or "", 0) + many
                look.seen += many
                for place, pixels in enumerate(shown[: SHOWN - len(look.pictures)]):
                    encoded = _png(pixels, width, height).encoded
                    look.pictures.append(
                        {
                            "address": "data:image/png;base64,"
                            + base64.b64encode(encoded).decode(),
                            "label": labels[place] if labels else "",
                            "name": f"{pair.images.filename}, picture {place}",
                        }
                    )
        look.estimated = look.seen
        return look

    def rows(
        self, file: IO[bytes], name: str, dialect: dict[str, Any], plan: Plan
    ) -> Iterator[Row | LeftOut]:
        with class_folders.opened(file, name) as archive:
            for pair in _pairs(archive, name):
                with _open(archive, pair.images) as images:
                    many = _sizes(images, pair.images, 3)[0]
                labels = _labels(archive, pair, many)
                with _open(archive, pair.images) as images:
                    many, height, width = _sizes(images, pair.images, 3)
                    for place in range(many):
                        pixels = _read(images, height * width, pair.images)
                        picture = _png(pixels, width, height)
                        yield Row(
                            source=f"{pair.images.filename}:{place}",
                            input=picture.encoded,
                            key=picture.key,
                            label=labels[place] if labels else None,
                            split=pair.split,
                            others=(),
                            measures=(width, height),
                            kind=picture.mode,
                        )

    def row_size(self, row: Row) -> int:
        return len(row.input) + 300


def _pairs(archive: Archive, name: str) -> list[Pair]:
    """Pictures and their classes, by what their names begin with. Raises BadFile."""
    found: dict[str, dict[str, File]] = {}
    for info in class_folders.files_of(archive):
        if match := NAME.match(_base(info.filename)):
            found.setdefault(match["stem"].lower(), {})[match["what"].lower()] = info
    pairs = [
        Pair(one["images"], one.get("labels"), _split(stem))
        for stem, one in sorted(found.items())
        if "images" in one
    ]
    if not pairs:
        raise BadFile(f"{name} holds no idx file of pictures, such as train-images-idx3-ubyte.")
    if not any(pair.labels for pair in pairs):
        raise BadFile(f"{name} holds no idx file of labels, such as train-labels-idx1-ubyte.")
    return pairs


def _base(name: str) -> str:
    return PurePosixPath(name).name


def _split(stem: str) -> str | None:
    if stem.startswith("t10k"):
        return TEST
    words = re.split(r"[^a-z]+", stem)
    return next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), None)


def _open(archive: Archive, info: File) -> IO[bytes]:
    file = archive.open(info)
    return gzip.open(file) if info.filename.lower().endswith(".gz") else file  # type: ignore[return-value]


def _sizes(file: IO[bytes], info: File, wanted: int) -> tuple[int, ...]:
    """The sizes that the head of an idx file tells. Raises BadFile."""
    head = _read(file, 4, info)
    if head[:2] != b"\0\0" or head[2] != BYTE or head[3] != wanted:
        raise BadFile(
            f"{info.filename} is no idx file of {'pictures' if wanted == 3 else 'labels'} as bytes."
        )
    sizes = struct.unpack(f">{wanted}I", _read(file, 4 * wanted, info))
    if sizes[0] > MOST_PICTURES:
        raise BadFile(f"{info.filename} tells of {sizes[0]:,} rows; {MOST_PICTURES:,} may be.")
    if wanted == 3 and not all(0 < side <= MOST_SIDE for side in sizes[1:]):
        raise BadFile(f"{info.filename} has pictures of {sizes[2]} x {sizes[1]} pixels.")
    return sizes


def _labels(archive: Archive, pair: Pair, wanted: int) -> list[str]:
    """The class of every picture; none at all where there is no such file. Raises BadFile."""
    if pair.labels is None:
        return []
    with _open(archive, pair.labels) as file:
        (many,) = _sizes(file, pair.labels, 1)
        if many != wanted:
            raise BadFile(
                f"{pair.labels.filename} has {many:,} labels, and {pair.images.filename} has "
                f"{wanted:,} pictures."
            )
        return [str(value) for value in _read(file, many, pair.labels)]


def _read(file: IO[bytes], size: int, info: File) -> bytes:
    try:
        found = file.read(size)
    except (OSError, EOFError, zlib.error) as error:
        raise BadFile(f"{info.filename} is damaged: {error}.") from None
    if len(found) < size:
        raise BadFile(f"{info.filename} ends earlier than it says itself; was it copied whole?")
    return found


def _png(pixels: bytes, width: int, height: int) -> image_folder.Picture:
    image = Image.frombytes("L", (width, height), pixels)
    out = io.BytesIO()
    image.save(out, "PNG")
    return image_folder.known(image, out.getvalue(), reencoded=False)
