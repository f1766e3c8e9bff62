"""Pictures of people: what is uploaded is drawn anew, so that nothing else of the file stays."""

import io
import warnings
from typing import IO, Any

from PIL import Image, ImageOps

from distillhub.lib import storage
from distillhub.lib.errors import Invalid, Missing
from projects.models import User

PIXELS = 256
MOST_BYTES = 8 << 20
MOST_PIXELS = 40_000_000
FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
NO_PICTURE = "This is no picture that can be read: give a PNG, JPEG, WebP or GIF."


def change(*, user: User, file: IO[bytes]) -> None:
    """Show the picture beside their name, cut to a square. Raises Invalid."""
    encoded = file.read(MOST_BYTES + 1)
    if len(encoded) > MOST_BYTES:
        raise _invalid(f"A picture has at most {MOST_BYTES >> 20} MiB.")
    png = _drawn(encoded)
    folder = storage.working_folder("avatars")
    path = folder / f"{user.pk}-{id(png)}.png"
    path.write_bytes(png)
    blob = storage.put(path)
    path.unlink(missing_ok=True)
    User.objects.filter(pk=user.pk).update(avatar=blob.sha256)
    user.avatar = blob.sha256


def remove(*, user: User) -> None:
    """Their initial is shown instead. The file goes when nothing names it any more."""
    User.objects.filter(pk=user.pk).update(avatar="")
    user.avatar = ""


def png(*, username: str) -> tuple[bytes, str]:
    """The picture and its sha256. Raises Missing."""
    sha256 = User.objects.filter(username=username).values_list("avatar", flat=True).first()
    if not sha256:
        raise Missing("This person has no picture.")
    with storage.open_blob(sha256) as stream:
        return stream.read(), sha256


def _drawn(encoded: bytes) -> bytes:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a picture of a great many pixels, above all
            with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise _invalid("This picture has too many pixels.")
                image.draft("RGB", (2 * PIXELS, 2 * PIXELS))  # a JPEG is decoded to no more
                turned: Any = ImageOps.exif_transpose(image).convert("RGBA")
        square = ImageOps.fit(turned, (PIXELS, PIXELS), Image.Resampling.LANCZOS)
        clean = Image.new("RGBA", square.size)
        clean.paste(square)
        out = io.BytesIO()
        clean.save(out, "PNG", optimize=True)
    except Invalid:
        raise
    except (OSError, SyntaxError, ValueError, MemoryError, Warning, Image.DecompressionBombError):
        raise _invalid(NO_PICTURE) from None
    return out.getvalue()


def _invalid(sentence: str) -> Invalid:
    return Invalid(sentence, fields={"avatar": [sentence]})
