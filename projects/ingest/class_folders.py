"""What archives (zip, tar, tar.gz) of files in class folders share, whatever the files are:
`cat/1.png`, `train/cat/1.png`, or either inside a folder that wraps them all. A file outside of
every class folder has no label.

Instead of folders a table may say what the files are (`metadata.csv`, `.tsv` or `.jsonl`, as the
Hugging Face Hub has them): its column `file_name` names a file beside it, `label` its class.
"""

import zipfile
from collections import Counter
from dataclasses import dataclass
from typing import IO, Any, ClassVar, Protocol, Self

from distillhub.lib import archives, tars
from projects.ingest import central_directory, file_tables
from projects.ingest.formats import MOST_LABEL, SPLIT_WORDS, BadFile, Format, LeftOut, Look

MOST_FILES = 200_000
MOST_UNPACKED = 20 << 30  # bytes, of all files together
SHOWN = 12  # files of a preview

ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".bz2", ".xz")


class File(Protocol):
    """A file of an archive."""

    @property
    def filename(self) -> str: ...

    @property
    def file_size(self) -> int: ...


class Archive(Protocol):
    def namelist(self) -> list[str]: ...

    def open(self, file: Any, /) -> IO[bytes]: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: Any) -> None: ...


@dataclass(frozen=True, slots=True)
class Placed:
    """A file of the archive and what its folders, or its table, say."""

    info: File
    label: str | None
    split: str | None


class ClassFolders(Format):
    suffixes: ClassVar[tuple[str, ...]] = (".zip", ".tar", ".tar.gz", ".tgz")
    has_columns: ClassVar[bool] = False
    endings: ClassVar[tuple[str, ...]]  # of the files inside
    noun: ClassVar[str]  # what one of them is; its plural has an s
    stranger: ClassVar[str]  # the issue that lists files of other kinds

    def recognises(self, head: bytes, name: str) -> bool:
        return is_archive(head)

    def fits(self, file: IO[bytes]) -> int:
        """How many files of its kind the archive holds."""
        try:
            with opened(file, "") as archive:
                return sum(one.lower().endswith(self.endings) for one in archive.namelist())
        except BadFile:
            return 0

    def sniff(self, file: IO[bytes], name: str) -> dict[str, Any]:
        with opened(file, name) as archive:
            self.placed(archive, name)
        return {}

    def check_dialect(self, dialect: dict[str, Any]) -> dict[str, Any]:
        return {}

    def guess_columns(self, look: Look, task: str) -> dict[str, Any]:
        return {}

    def label_counts(self, reading: dict[str, Any], look: Look) -> dict[str, int]:
        return look.labels

    def placed(self, archive: Archive, name: str) -> tuple[list[Placed], list[LeftOut]]:
        """The files of this kind with what their folders or tables say, and those of other kinds.

        Raises BadFile for unsafe archives, and for those without a file of this kind.
        """
        infos = files_of(archive)
        if office := _office(name, {info.filename for info in infos}):
            raise BadFile(office)
        visible = [info for info in infos if not _hidden(info.filename)]
        fitting = [info for info in visible if info.filename.lower().endswith(self.endings)]
        chosen = set(map(id, fitting))
        others = [info for info in visible if id(info) not in chosen]
        if not fitting:
            raise BadFile(self.without(name, [info.filename for info in others]))
        tables = [info for info in others if file_tables.is_table(info.filename)]
        if tables:
            return self._listed(archive, fitting, others, tables)
        folders = [tuple(filter(None, info.filename.split("/")[:-1])) for info in fitting]
        folders = _unwrapped(folders)
        inside = any(len(folder) >= 2 for folder in folders)
        has_splits = inside and all(f and f[0].lower() in SPLIT_WORDS for f in folders)
        found: list[Placed] = []
        for info, parts in zip(fitting, folders, strict=True):
            split = SPLIT_WORDS[parts[0].lower()] if has_splits else None
            classes = parts[1:] if has_splits else parts
            label = classes[0].strip() if classes else None
            if label is not None and len(label) > MOST_LABEL:
                raise BadFile(f"The class folder {label[:60]!r}... has too long a name.")
            found.append(Placed(info, label or None, split))
        return found, [LeftOut(info.filename, self.stranger) for info in others]

    def _listed(
        self, archive: Archive, fitting: list[File], others: list[File], tables: list[File]
    ) -> tuple[list[Placed], list[LeftOut]]:
        """As tables say it. A file that no table names has no label, and the split that its
        folder is called after."""
        told: dict[str, file_tables.Told] = {}
        for table in tables:
            if table.file_size > file_tables.MOST_BYTES:
                raise BadFile(f"{table.filename} is too large for a table of files.")
            with archive.open(table) as file:
                told |= file_tables.read(file.read(), table.filename)
        names = {info.filename for info in fitting}
        missing = next((one for one in told if one not in names), None)
        if missing is not None:
            place = told[missing].place
            raise BadFile(f"{place} names {missing[:100]!r}, which is no {self.noun} here.")
        found = []
        for info in fitting:
            said = told.get(info.filename)
            parts = [part.lower() for part in info.filename.split("/")[:-1]]
            folder = next((SPLIT_WORDS[part] for part in parts if part in SPLIT_WORDS), None)
            label = said.label if said else None
            found.append(Placed(info, label, (said.split if said else None) or folder))
        strangers = [info for info in others if info not in tables]
        return found, [LeftOut(info.filename, self.stranger) for info in strangers]

    def look_of(self, placed: list[Placed], left_out: list[LeftOut]) -> Look:
        """What the folders show, and what is odd about them."""
        look = Look(seen=len(placed), estimated=len(placed))
        look.labels = dict(Counter(one.label for one in placed if one.label is not None))
        look.splits = dict(Counter(one.split or "" for one in placed))
        unlabelled = sum(one.label is None for one in placed)
        if unlabelled == len(placed):
            detail = (
                f"No {self.noun} lies in a class folder, or has a label in a table: a teacher "
                "labels them later, and then they can be learned from."
            )
            look.problems.append({"severity": "warning", "detail": detail})
        elif unlabelled:
            detail = f"{unlabelled} {self.noun}s lie in no class folder."
            look.problems.append({"severity": "warning", "detail": detail})
        if left_out:
            names = ", ".join(one.source for one in left_out[:3])
            more = f" and {len(left_out) - 3} more" if len(left_out) > 3 else ""
            detail = f"Left out, being no {self.noun}s: {names}{more}."
            look.problems.append({"severity": "info", "detail": detail})
        return look

    def without(self, name: str, names: list[str]) -> str:
        """What to do with an archive that holds nothing of this kind."""
        for one in names:
            if one.lower().endswith(ARCHIVES):
                return f"{name} holds another archive, {one}. Unpack it and zip the class folders."
        for one in names:
            if one.lower().endswith((".csv", ".tsv", ".txt")):
                return f"{name} is a zip archive that holds {one}. Unpack it and upload that file."
        if not names:
            return f"{name} is an empty zip archive."
        return (
            f"{name} is a zip archive without a single picture or sound that can be read (it "
            f"holds {names[0]})."
        )


def is_archive(head: bytes) -> bool:
    return head.startswith((b"PK\x03\x04", b"PK\x05\x06")) or tars.is_tar(head)


def opened(file: IO[bytes], name: str) -> Archive:
    """The archive, once its table of contents is known to be of bearable size. Raises BadFile."""
    file.seek(0)
    if tars.is_tar(file.read(512)):
        try:
            return tars.Tar(file, most_files=MOST_FILES, most_bytes=MOST_UNPACKED)
        except archives.UnsafeArchive as error:
            raise BadFile(str(error)) from None
    try:
        central_directory.refuse_more_than(MOST_FILES * 2, file)
        file.seek(0)
        return zipfile.ZipFile(file)
    except (central_directory.Unreadable, zipfile.BadZipFile, ValueError, OSError) as error:
        reason = str(error) if isinstance(error, central_directory.Unreadable) else "it is damaged"
        raise BadFile(f"{name} cannot be opened as a zip archive: {reason}.") from None


def files_of(archive: Archive) -> list[File]:
    """The regular files, in the order of the archive. Raises BadFile for unsafe ones."""
    if isinstance(archive, tars.Tar):
        return list(archive.entries)
    assert isinstance(archive, zipfile.ZipFile)
    try:
        return list(archives.entries(archive, most_files=MOST_FILES, most_bytes=MOST_UNPACKED))
    except archives.UnsafeArchive as error:
        raise BadFile(str(error)) from None


def one_of_each(placed: list[Placed]) -> list[Placed]:
    """A few files to show, of as many labels as possible."""
    first: dict[str | None, Placed] = {}
    for one in placed:
        first.setdefault(one.label, one)
    shown = list(first.values())[:SHOWN]
    taken = set(map(id, shown))
    rest = (one for one in placed if id(one) not in taken)
    while len(shown) < SHOWN and (more := next(rest, None)) is not None:
        shown.append(more)
    return shown


def reason(error: Exception) -> str:
    """Why a file cannot be decoded, as the end of a sentence."""
    text = str(error)
    return (text[:1].lower() + text[1:]).rstrip(".")[:200] or type(error).__name__


def _unwrapped(folders: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Without the folders that wrap everything; a folder of files itself is a class."""
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
