"""Zip archives from strangers: looked through before a single byte is unpacked.

Python's zipfile accepts entries that overlap (7 kB become 250 MB), names that climb out of the
folder, links, and sizes that lie. Everything here fails with UnsafeArchive and a sentence naming
the entry.
"""

import stat
import zipfile
from pathlib import Path, PurePosixPath

PIECE = 1 << 20  # bytes
LOCAL_HEADER = 30  # bytes before an entry's name, by the zip specification, section 4.3.7
HIGHEST_RATIO = 1100  # deflate cannot exceed 1032:1, so more is a lie about the size
METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}


class UnsafeArchive(Exception):
    """The archive is not a zip, or holds something that must not be unpacked."""


def entries(archive: zipfile.ZipFile, *, most_files: int, most_bytes: int) -> list[zipfile.ZipInfo]:
    """The regular files of an archive, in its own order, folders left out.

    Raises UnsafeArchive for more than `most_files` files or `most_bytes` bytes unpacked, names that
    are absolute, climb, or repeat, links and devices, encrypted and overlapping entries.
    """
    infos = archive.infolist()
    if len(infos) > most_files * 2:  # folders may be listed too
        raise UnsafeArchive(f"The archive lists {len(infos)} entries; at most {most_files} may be.")
    files = [info for info in infos if not info.is_dir()]
    if len(files) > most_files:
        raise UnsafeArchive(f"The archive holds {len(files)} files; at most {most_files} may be.")
    seen: set[str] = set()
    for info in files:
        refuse_name(info.filename, info.orig_filename)
        if info.filename.casefold() in seen:
            raise UnsafeArchive(f"{info.filename} is in the archive twice.")
        seen.add(info.filename.casefold())
        _refuse_kind(info)
    total = sum(info.file_size for info in files)
    if total > most_bytes:
        raise UnsafeArchive(
            f"The archive would unpack to {total >> 20} MiB; at most {most_bytes >> 20} MiB may be."
        )
    _refuse_overlap(infos)
    return files


def unpack(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path) -> None:
    """Write one entry to `target`, never more bytes than the archive declared for it.

    Raises UnsafeArchive when the entry is damaged or longer than declared.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    left = info.file_size
    try:
        with archive.open(info) as source, target.open("xb") as out:
            while piece := source.read(PIECE):
                left -= len(piece)
                if left < 0:
                    raise UnsafeArchive(f"{info.filename} is longer than the archive says.")
                out.write(piece)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, ValueError) as error:
        raise UnsafeArchive(f"{info.filename} cannot be unpacked: {error}") from error
    if left:
        raise UnsafeArchive(f"{info.filename} is shorter than the archive says.")


def refuse_name(name: str, original: str = "") -> None:
    """`original`, where it differs: zipfile cuts names off at a NUL. Raises UnsafeArchive."""
    path = PurePosixPath(name)
    if (
        not name
        or len(name) > 500
        or "\\" in name
        or "\x00" in name + original
        or ":" in name.split("/")[0]
        or path.is_absolute()
        or any(part in {"..", "."} for part in name.split("/"))
        or not name.isprintable()
    ):
        raise UnsafeArchive(f"The archive holds a file with an unsafe name: {name[:100]!r}.")


def _refuse_kind(info: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in {0, stat.S_IFREG}:
        raise UnsafeArchive(f"{info.filename} is a link or device, not a file.")
    if info.flag_bits & 0x1:
        raise UnsafeArchive(f"{info.filename} is encrypted.")
    if info.compress_type not in METHODS:
        raise UnsafeArchive(f"{info.filename} is compressed in a way that is not supported.")
    if info.file_size > info.compress_size * HIGHEST_RATIO:
        raise UnsafeArchive(f"{info.filename} claims to unpack to more than is possible.")


def _refuse_overlap(infos: list[zipfile.ZipInfo]) -> None:
    end = 0
    for info in sorted(infos, key=lambda one: one.header_offset):
        if info.header_offset < end:
            raise UnsafeArchive(f"{info.filename} overlaps another entry of the archive.")
        name = info.orig_filename.encode("utf-8" if info.flag_bits & 0x800 else "cp437", "replace")
        end = info.header_offset + LOCAL_HEADER + len(name) + info.compress_size
