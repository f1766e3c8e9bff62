"""A zip of images in class folders: `cat/1.png`, `train/cat/1.png`, or either inside a folder that
wraps them all. A picture outside of every class folder has no label.

PNG and JPEG files are kept as they are; other kinds, turned photographs (EXIF), sixteen-bit and
CMYK pictures are stored as PNG (reported). Pictures that do not decode and files that are no
pictures are left out and listed; hidden files and `__MACOSX` are not even that.
"""

import base64
import hashlib
import io
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, ClassVar

from PIL import Image, ImageOps

from distillhub.lib import archives
from projects.ingest import central_directory, registry
from projects.ingest.formats import (
    MOST_LABEL,
    SPLIT_WORDS,
    BadFile,
    Format,
    LeftOut,
    Look,
    Plan,
    Row,
)

MOST_FILES = 200_000
MOST_UNPACKED = 20 << 30  # bytes, of all files together
MOST_IMAGE_BYTES = 64 << 20  # of one file
MOST_PIXELS = 25_000_000  # of one picture: 75 MB in memory
SHOWN_PICTURES = 12
THUMBNAIL = 96  # pixels

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
KINDS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")
KEPT_MODES = {"1", "L", "LA", "P", "RGB", "RGBA"}
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".bz2", ".xz")


class TooLarge(BadFile):
    """A picture is larger than any honest one: the whole upload is refused."""

    code = "image_too_large"


@dataclass(frozen=True, slots=True)
class Placed:
    """A picture of the archive and what its folders say."""

    info: zipfile.ZipInfo
    label: str | None
    split: str | None


@dataclass(frozen=True, slots=True)
class Picture:
    encoded: bytes
    key: bytes
    width: int
    height: int
    mode: str
    reencoded: bool


@registry.register
class ImageFolder(Format):
    key = "image_folder"
    label = "Images in class folders (zip)"
    input = "image"
    tasks: ClassVar[tuple[str, ...]] = ("image-classification",)
    suffixes: ClassVar[tuple[str, ...]] = (".zip",)
    measures: ClassVar[tuple[str, ...]] = ("width", "height")
    has_columns: ClassVar[bool] = False

    def recognises(self, head: bytes, name: str) -> bool:
        return head.startswith((b"PK\x03\x04", b"PK\x05\x06"))

    def sniff(self, file: IO[bytes], name: str) -> dict[str, Any]:
        with _opened(file, name) as archive:
            _placed(archive, name)
        return {}

    def check_dialect(self, dialect: dict[str, Any]) -> dict[str, Any]:
        return {}

    def look(self, file: IO[bytes], name: str, dialect: dict[str, Any]) -> Look:
        with _opened(file, name) as archive:
            placed, left_out = _placed(archive, name)
            look = Look(seen=len(placed), estimated=len(placed))
            look.labels = dict(Counter(one.label for one in placed if one.label is not None))
            look.splits = dict(Counter(one.split or "" for one in placed))
            for one in _one_of_each(placed):
                try:
                    picture = read_picture(archive, one.info)
                except BadFile as error:
                    severity = "error" if isinstance(error, TooLarge) else "warning"
                    look.problems.append({"severity": severity, "detail": error.detail})
                    continue
                look.pictures.append(
                    {
                        "address": "data:image/png;base64,"
                        + base64.b64encode(thumbnail(picture.encoded, THUMBNAIL)).decode(),
                        "label": one.label or "",
                        "name": one.info.filename,
                    }
                )
        unlabelled = sum(one.label is None for one in placed)
        if unlabelled:
            look.problems.append(
                {"severity": "warning", "detail": f"{unlabelled} pictures lie in no class folder."}
            )
        if left_out:
            names = ", ".join(one.source for one in left_out[:3])
            more = f" and {len(left_out) - 3} more" if len(left_out) > 3 else ""
            look.problems.append(
                {"severity": "info", "detail": f"Left out, being no pictures: {names}{more}."}
            )
        return look

    def guess_columns(self, look: Look) -> dict[str, Any]:
        return {}

    def label_counts(self, columns: dict[str, Any], look: Look) -> dict[str, int]:
        return look.labels

    def rows(
        self, file: IO[bytes], name: str, dialect: dict[str, Any], plan: Plan
    ) -> Iterator[Row | LeftOut]:
        with _opened(file, name) as archive:
            placed, left_out = _placed(archive, name)
            yield from left_out
            for one in placed:
                source = one.info.filename
                try:
                    picture = read_picture(archive, one.info)
                except TooLarge:
                    raise
                except BadFile as error:
                    yield LeftOut(source, "unreadable_image", error.detail)
                    continue
                yield Row(
                    source=source,
                    input=picture.encoded,
                    key=picture.key,
                    label=one.label,
                    split=one.split,
                    others=(),
                    measures=(picture.width, picture.height),
                    kind=picture.mode,
                    remarks=("image_reencoded",) if picture.reencoded else (),
                )

    def row_size(self, row: Row) -> int:
        return len(row.input) + 300


def read_picture(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Picture:
    """One picture, fully decoded and so known to be whole.

    Raises TooLarge for a picture that would take too much memory, BadFile for a broken one.
    """
    if info.file_size > MOST_IMAGE_BYTES:
        raise TooLarge(f"{info.filename} has more than {MOST_IMAGE_BYTES >> 20} MiB.")
    try:
        with archive.open(info) as member:
            encoded = member.read(MOST_IMAGE_BYTES + 1)
        return _decoded(encoded, info.filename)
    except BadFile:
        raise
    # Pillow's readers and zlib fail on broken files in more ways than can be listed.
    except Exception as error:
        raise BadFile(f"{info.filename} cannot be decoded: {_reason(error)}.") from None


def thumbnail(encoded: bytes, size: int) -> bytes:
    """A stored picture as a PNG of at most `size` pixels, made anew from its pixels alone."""
    with Image.open(io.BytesIO(encoded), formats=KINDS) as opened:
        opened.load()
        image: Image.Image = opened
        if image.mode not in {"L", "RGB", "RGBA"}:
            image = image.convert("RGBA" if "A" in image.mode or image.mode == "P" else "RGB")
        image.thumbnail((size, size))
        clean = Image.frombytes(image.mode, image.size, image.tobytes())
    out = io.BytesIO()
    clean.save(out, "PNG")
    return out.getvalue()


def _decoded(encoded: bytes, name: str) -> Picture:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = Image.open(io.BytesIO(encoded), formats=KINDS)
        except Image.DecompressionBombError:
            raise TooLarge(_too_large(name)) from None
    with image:
        width, height = image.size
        if width * height > MOST_PIXELS:
            raise TooLarge(_too_large(name))
        image.load()
        turned = image.getexif().get(0x0112, 1) not in {0, 1}  # the EXIF orientation
        plain = ImageOps.exif_transpose(image) if turned else image
        mode = plain.mode
        kept = image.format in {"PNG", "JPEG"} and mode in KEPT_MODES and not turned
        if not kept:
            plain = _plain(plain)
            out = io.BytesIO()
            plain.save(out, "PNG")
            encoded = out.getvalue()
        header = f"{plain.mode} {plain.size}".encode()
        pixels = plain.convert("RGBA") if plain.mode == "P" else plain
        key = hashlib.blake2b(header + pixels.tobytes(), digest_size=8).digest()
        return Picture(encoded, key, plain.width, plain.height, plain.mode, not kept)


def _plain(image: Image.Image) -> Image.Image:
    """In eight bits a channel, in a mode that every reader knows."""
    if image.mode.startswith("I;16") or image.mode == "I":
        return image.convert("I").point(lambda value: value / 256).convert("L")
    if image.mode in KEPT_MODES:
        return image
    return image.convert("L" if image.mode == "F" else "RGB")


def _too_large(name: str) -> str:
    return f"{name} has more than {MOST_PIXELS // 1_000_000} million pixels."


def _reason(error: Exception) -> str:
    text = str(error)
    if "cannot identify" in text:
        return "it is no picture of a known kind"
    return (text[:1].lower() + text[1:]).rstrip(".")[:200] or type(error).__name__


def _opened(file: IO[bytes], name: str) -> zipfile.ZipFile:
    """The archive, once its table of contents is known to be of bearable size."""
    try:
        central_directory.refuse_more_than(MOST_FILES * 2, file)
        file.seek(0)
        return zipfile.ZipFile(file)
    except (central_directory.Unreadable, zipfile.BadZipFile, ValueError, OSError) as error:
        reason = str(error) if isinstance(error, central_directory.Unreadable) else "it is damaged"
        raise BadFile(f"{name} cannot be opened as a zip archive: {reason}.") from None


def _placed(archive: zipfile.ZipFile, name: str) -> tuple[list[Placed], list[LeftOut]]:
    """The pictures with what their folders say, and the files that are no pictures.

    Raises BadFile for unsafe archives, and for those without pictures in class folders.
    """
    try:
        infos = archives.entries(archive, most_files=MOST_FILES, most_bytes=MOST_UNPACKED)
    except archives.UnsafeArchive as error:
        raise BadFile(str(error)) from None
    if office := _office(name, {info.filename for info in infos}):
        raise BadFile(office)
    visible = [info for info in infos if not _hidden(info.filename)]
    pictures = [info for info in visible if info.filename.lower().endswith(SUFFIXES)]
    chosen = set(map(id, pictures))
    others = [info for info in visible if id(info) not in chosen]
    if not pictures:
        raise BadFile(_without_pictures(name, others))
    folders = [tuple(filter(None, info.filename.split("/")[:-1])) for info in pictures]
    folders = _unwrapped(folders)
    inside = any(len(folder) >= 2 for folder in folders)
    has_splits = inside and all(f and f[0].lower() in SPLIT_WORDS for f in folders)
    if not any(folders):
        raise BadFile(
            f"The pictures of {name} lie in no class folders. Put the pictures of each class into "
            "a folder named after it, and zip the folders."
        )
    placed: list[Placed] = []
    for info, parts in zip(pictures, folders, strict=True):
        split = SPLIT_WORDS[parts[0].lower()] if has_splits else None
        classes = parts[1:] if has_splits else parts
        label = classes[0].strip() if classes else None
        if label is not None and len(label) > MOST_LABEL:
            raise BadFile(f"The class folder {label[:60]!r}... has too long a name.")
        placed.append(Placed(info, label or None, split))
    return placed, [LeftOut(info.filename, "not_an_image") for info in others]


def _unwrapped(folders: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Without the folders that wrap everything; a folder of pictures itself is a class."""
    while (
        all(len(folder) >= 2 for folder in folders)
        and len({folder[0] for folder in folders}) == 1
        and folders[0][0].lower() not in SPLIT_WORDS
    ):
        folders = [folder[1:] for folder in folders]
    return folders


def _hidden(name: str) -> bool:
    return name.startswith((".", "__MACOSX/")) or "/." in name or "/__MACOSX/" in name


def _office(name: str, names: set[str]) -> str:
    """What to do with an Office document, which is a zip archive, too; empty for others."""
    if "[Content_Types].xml" not in names:
        return ""
    if any(one.startswith("xl/") for one in names):
        return (
            f"{name} is an Excel workbook. In Excel, choose File, Save as, CSV UTF-8, and upload "
            "that."
        )
    return f"{name} is an Office document. Save its table as CSV and upload that."


def _without_pictures(name: str, others: list[zipfile.ZipInfo]) -> str:
    names = [info.filename for info in others]
    for one in names:
        if one.lower().endswith(ARCHIVES):
            return f"{name} holds another archive, {one}. Unpack it and zip the class folders."
    for one in names:
        if one.lower().endswith((".csv", ".tsv", ".txt")):
            return f"{name} is a zip archive that holds {one}. Unpack it and upload that file."
    if not names:
        return f"{name} is an empty zip archive."
    return f"{name} is a zip archive without a single picture (it holds {names[0]})."


def _one_of_each(placed: list[Placed]) -> list[Placed]:
    """A few pictures to show, of as many labels as possible."""
    first: dict[str | None, Placed] = {}
    for one in placed:
        first.setdefault(one.label, one)
    shown = list(first.values())[:SHOWN_PICTURES]
    taken = set(map(id, shown))
    rest = (one for one in placed if id(one) not in taken)
    while len(shown) < SHOWN_PICTURES and (more := next(rest, None)) is not None:
        shown.append(more)
    return shown
