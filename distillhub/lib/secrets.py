"""What must not be read from a copy of the database: keys of APIs, sealed (Fernet: AES-128-CBC with
HMAC-SHA256) with keys that lie elsewhere.

The sealing keys come from DISTILLHUB_SECRET_KEYS, or from a file in the home folder that only its
owner reads, made when it is first needed. The first one seals, every one opens: rotation puts a new
one in front, seals everything again, and then forgets the old ones (docs/operations.md).
"""

import base64
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.conf import settings

from distillhub.lib.env import BadSetting
from distillhub.lib.errors import DomainError
from distillhub.lib.later import Later

fernet = Later("cryptography.fernet")

FILE = "secret_keys"  # in the home folder; one key a line


class Unreadable(DomainError):
    """What was sealed cannot be opened here."""

    status, code = 503, "sealed_elsewhere"


class BadKeys(BadSetting):
    """The sealing keys cannot be used."""


def file() -> Path:
    return Path(settings.DISTILLHUB_HOME) / FILE


def keys() -> list[str]:
    """The sealing keys, newest first. Read again at every use, so that those who run meanwhile
    learn of a rotation. Raises BadKeys."""
    given: list[str] = settings.DISTILLHUB_SECRET_KEYS
    found = given or _kept()
    for key in found:
        if not _is_key(key):
            where = "DISTILLHUB_SECRET_KEYS" if given else str(file())
            raise BadKeys(f"{where} holds something that is no key: 32 random bytes in base64.")
    return found


def seal(text: str) -> str:
    sealed: bytes = _box(keys()).encrypt(text.encode())
    return sealed.decode()


def unseal(sealed: str) -> str:
    """Raises Unreadable."""
    try:
        opened: bytes = _box(keys()).decrypt(sealed.encode())
    except fernet.InvalidToken:
        raise Unreadable(
            "A stored key was sealed with a secret that this machine does not have. Give every "
            "machine the same DISTILLHUB_SECRET_KEYS, or enter the key again."
        ) from None
    return opened.decode()


def seal_again(sealed: str) -> str:
    """The same text, sealed with the newest key. Raises Unreadable."""
    return seal(unseal(sealed))


def make_key() -> str:
    return base64.urlsafe_b64encode(os.urandom(32)).decode()


def write(found: Sequence[str]) -> None:
    """Keep these in the file of the home folder, at once and whole."""
    handle, name = tempfile.mkstemp(dir=file().parent, prefix=f".{FILE}-")  # of mode 600
    with os.fdopen(handle, "w") as out:
        out.write("".join(f"{key}\n" for key in found))
        out.flush()
        os.fsync(out.fileno())
    Path(name).replace(file())


def ending(text: str) -> str:
    """What may be shown of a key: its last four characters, and none of a short one."""
    return text[-4:] if len(text) >= 12 else ""


def without(secret: str, text: str) -> str:
    """The text with every mention of the secret taken out."""
    for part in {secret, *secret.split(":")}:
        if len(part) >= 8:
            text = text.replace(part, "…")
    return text


def _kept() -> list[str]:
    try:
        return file().read_text().split()
    except FileNotFoundError:
        pass
    handle, name = tempfile.mkstemp(dir=file().parent, prefix=f".{FILE}-")  # of mode 600
    with os.fdopen(handle, "w") as out:
        out.write(f"{make_key()}\n")
    try:
        os.link(name, file())  # and not a rename: of two processes that begin, one makes it
    except FileExistsError:
        pass
    finally:
        Path(name).unlink()
    return file().read_text().split()


def _is_key(key: str) -> bool:
    try:
        return len(base64.urlsafe_b64decode(key)) == 32
    except ValueError:
        return False


def _box(found: Sequence[str]) -> Any:
    return fernet.MultiFernet([fernet.Fernet(key) for key in found])
