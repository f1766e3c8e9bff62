"""Archives of files that could be uploaded themselves: tables in a zip, archives in an archive.

They become the files of one upload. Archives of pictures, sounds and idx files stay what they are,
and so do Office's own.
"""

import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from distillhub.lib import archives, storage
from distillhub.lib.places import taken_by_disk
from projects.ingest import class_folders, compressed, hub_files, registry
from projects.ingest.formats import BadFile

MOST_FILES = 50  # of one archive
DEEPEST = 2  # archives within one another
PIECE = 1 << 20  # bytes
OFFICE = "[Content_Types].xml"


def stored(
    path: Path, name: str, most: int, task: str = "", depth: int = 0
) -> Iterator[dict[str, Any]]:
    """{"name", "sha256", "bytes", "format"} of a file that is put into storage, or of those that it
    holds, of at most `most` bytes together. Raises BadFile for what no format reads, and Away."""
    with path.open("rb") as handle:
        names = inside(handle, name) if depth < DEEPEST else []
        if not names:
            form = registry.recognise(handle, name, task)
            blob = storage.put(path)
            yield {"name": name, "sha256": blob.sha256, "bytes": blob.bytes, "format": form.key}
            return
        with tempfile.TemporaryDirectory(dir=storage.working_folder("unpacking")) as folder:
            for inner, there in unpacked(handle, name, names, Path(folder), most):
                printed = "".join(one if one.isprintable() else "_" for one in inner)[-255:]
                try:
                    yield from stored(there, printed, most, task, depth + 1)
                except BadFile as error:
                    raise BadFile(f"{printed} in {name}: {error.detail}") from None


def inside(file: IO[bytes], name: str) -> list[str]:
    """The files of an archive that hold rows, in its order; none of any other file. Raises BadFile
    for an unsafe archive."""
    file = compressed.opened(file)
    head = file.read(registry.HEAD)
    if not class_folders.is_archive(head):
        return []
    forms = [one for one in registry.formats().values() if one.recognises(head, name)]
    if any(one.fits(file) > 0 for one in forms):
        return []
    with class_folders.opened(file, name) as archive:
        names = [info.filename for info in class_folders.files_of(archive)]
    found = [] if OFFICE in names else hub_files.of_one_kind(names)
    if len(found) > MOST_FILES:
        raise BadFile(f"{name} holds {len(found)} files with rows; at most {MOST_FILES} may be.")
    return found


def unpacked(
    file: IO[bytes], name: str, names: list[str], folder: Path, most: int
) -> Iterator[tuple[str, Path]]:
    """(name, path) of these files of an archive, one by one; each path is gone with the next.
    Raises BadFile, also for more than `most` bytes together, and Away when the disk is full."""
    target, left = folder / "inner", most
    with class_folders.opened(compressed.opened(file), name) as archive:
        for info in class_folders.files_of(archive):
            if info.filename not in names:
                continue
            left -= info.file_size
            if left < 0:
                raise BadFile(f"{name} unpacks to more than {most >> 20} MiB.")
            try:
                with taken_by_disk(), target.open("wb") as out:
                    written = 0
                    with archive.open(info) as member:
                        while piece := member.read(PIECE):
                            written += len(piece)
                            if written > info.file_size:
                                raise archives.UnsafeArchive("it is longer than the archive says")
                            out.write(piece)
            except (
                *(archives.UnsafeArchive, zipfile.BadZipFile, EOFError, ValueError),
                *(NotImplementedError, zlib.error),
            ) as error:
                raise BadFile(
                    f"{info.filename} in {name} cannot be unpacked: {class_folders.reason(error)}."
                ) from None
            yield info.filename, target
    target.unlink(missing_ok=True)
