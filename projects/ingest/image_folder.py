"""An archive of images in class folders, as class_folders.py says.

PNG and JPEG files are kept as they are; other kinds, turned photographs (EXIF), sixteen-bit and
CMYK pictures are stored as PNG (reported). Pictures that do not decode and files that are no
pictures are left out and listed; hidden files and `__MACOSX` are not even that.
"""

import base64
import hashlib
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, ClassVar

from PIL import Image, ImageOps

from projects.ingest import class_folders, registry
from projects.ingest.class_folders import Archive, ClassFolders, File
from projects.ingest.formats import BadFile, LeftOut, Look, Plan, Row

MOST_IMAGE_BYTES = 64 << 20  # of one file
MOST_PIXELS = 25_000_000  # of one picture: 75 MB in memory
THUMBNAIL = 96  # pixels

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
KINDS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")
KEPT_MODES = {"1", "L", "LA", "P", "RGB", "RGBA"}


class TooLarge(BadFile):
    """A picture is larger than any honest one: the whole upload is refused."""

    code = "image_too_large"


@dataclass(frozen=True, slots=True)
class Picture:
    encoded: bytes
    key: bytes
    width: int
    height: int
    mode: str
    reencoded: bool


@registry.register
class ImageFolder(ClassFolders):
    key = "image_folder"
    label = "Images in class folders (zip, tar)"
    tasks: ClassVar[tuple[str, ...]] = ("image-classification",)
    endings: ClassVar[tuple[str, ...]] = SUFFIXES
    noun = "picture"
    stranger = "not_an_image"

    def inputs(self, plan: Plan) -> list[dict[str, str]]:
        return [{"name": "image", "type": "image", "role": "input"}]

    def measures(self, plan: Plan) -> tuple[str, ...]:
        return ("width", "height")

    def look(self, file: IO[bytes], name: str, dialect: dict[str, Any]) -> Look:
        with class_folders.opened(file, name) as archive:
            placed, left_out = self.placed(archive, name)
            look = self.look_of(placed, left_out)
            for one in class_folders.one_of_each(placed):
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
        return look

    def rows(
        self, file: IO[bytes], name: str, dialect: dict[str, Any], plan: Plan
    ) -> Iterator[Row | LeftOut]:
        with class_folders.opened(file, name) as archive:
            placed, left_out = self.placed(archive, name)
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


def read_picture(archive: Archive, info: File) -> Picture:
    """One picture, fully decoded and so known to be whole.

    Raises TooLarge for a picture that would take too much memory, BadFile for a broken one.
    """
    if info.file_size > MOST_IMAGE_BYTES:
        raise TooLarge(f"{info.filename} has more than {MOST_IMAGE_BYTES >> 20} MiB.")
    try:
        with archive.open(info) as member:
            encoded = member.read(MOST_IMAGE_BYTES + 1)
        return decoded(encoded, info.filename)
    except BadFile:
        raise
    # Pillow's readers and zlib fail on broken files in more ways than can be listed.
    except Exception as error:
        raise BadFile(f"{info.filename} cannot be decoded: {_reason(error)}.") from None


def thumbnail(encoded: bytes, size: int) -> bytes:
    """A stored picture as a PNG of at most `size` pixels, made anew from its pixels alone. Raises
    TooLarge, and whatever Pillow raises for what is none."""
    with Image.open(io.BytesIO(encoded), formats=KINDS) as opened:
        if opened.width * opened.height > MOST_PIXELS:
            raise TooLarge(_too_large("The picture"))
        opened.load()
        image: Image.Image = opened
        if image.mode not in {"L", "RGB", "RGBA"}:
            image = image.convert("RGBA" if "A" in image.mode or image.mode == "P" else "RGB")
        image.thumbnail((size, size))
        clean = Image.frombytes(image.mode, image.size, image.tobytes())
    out = io.BytesIO()
    clean.save(out, "PNG")
    return out.getvalue()


def decoded(encoded: bytes, name: str) -> Picture:
    """A picture of one file's bytes, `name` for what is said of it. Raises BadFile, and whatever
    Pillow raises for what is none."""
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
        return known(plain, encoded, reencoded=not kept)


def known(image: Image.Image, encoded: bytes, *, reencoded: bool) -> Picture:
    """A picture with the key of what it shows, however it is encoded."""
    header = f"{image.mode} {image.size}".encode()
    pixels = image.convert("RGBA") if image.mode == "P" else image
    key = hashlib.blake2b(header + pixels.tobytes(), digest_size=8).digest()
    return Picture(encoded, key, image.width, image.height, image.mode, reencoded)


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
    if "cannot identify" in str(error):
        return "it is no picture of a known kind"
    return class_folders.reason(error)
