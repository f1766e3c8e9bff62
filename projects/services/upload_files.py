"""Uploaded files on their way into storage: named safely, bounded, recognised."""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from django.conf import settings

from distillhub.lib import storage
from distillhub.lib.errors import TooLarge
from distillhub.lib.places import taken_by_disk
from projects.ingest import packed

UNPACKED = 4  # times what may be uploaded, of an archive of files with rows


class Upload(Protocol):
    """What Django calls an uploaded file."""

    name: str | None

    def chunks(self) -> Iterable[bytes]: ...


def keep(file: Upload, name: str, task: str = "") -> list[dict[str, Any]]:
    """Store an upload as a blob if its format is known: [{"name", "sha256", "bytes", "format"}]; of
    an archive of uploads, each of them. `task` is what it is for, where that is known.

    Raises BadFile for what no format reads, TooLarge, and Away when the disk is full.
    """
    name = safe_name(name)
    most = settings.DISTILLHUB_MAX_UPLOAD_MIB << 20
    with on_disk(file, name, most) as path:
        return list(packed.stored(path, name, UNPACKED * most, task))


def safe_name(name: str) -> str:
    """A file's name to show and to keep: no folders, nothing that does not print."""
    name = PurePosixPath(name.replace("\\", "/")).name[:255] or "upload"
    return "".join(one if one.isprintable() else "_" for one in name)


@contextmanager
def on_disk(file: Upload, name: str, most: int) -> Iterator[Path]:
    """A path with the upload's bytes: Django's own temporary file where there is one."""
    size = getattr(file, "size", None)
    if size is not None and size > most:
        raise _too_large(name, most)
    temporary = getattr(file, "temporary_file_path", None)
    if temporary is not None:
        yield Path(temporary())
        return
    with tempfile.NamedTemporaryFile(dir=storage.working_folder("uploading")) as out:
        written = 0
        for piece in file.chunks():
            written += len(piece)
            if written > most:
                raise _too_large(name, most)
            with taken_by_disk():
                out.write(piece)
        with taken_by_disk():
            out.flush()
        yield Path(out.name)


def _too_large(name: str, most: int) -> TooLarge:
    sentence = f"{name} is larger than {most >> 20} MiB, the most that may be uploaded."
    return TooLarge(sentence, fields={"file": [sentence]})
