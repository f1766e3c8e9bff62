"""Uploads that go on where they were cut off: begun, added to, used once they are whole.

What arrived is stored at once, in pieces as they came, so a lost connection costs nothing that the
server has heard, and neither does a web process that dies.
"""

import base64
import binascii
import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Sum
from django.db.models.functions import Now
from django.utils import timezone

from distillhub.lib import storage
from distillhub.lib.errors import Conflict, DomainError, Invalid, Missing, TooLarge
from distillhub.lib.places import taken_by_disk
from projects.models import ResumableUpload, UploadedPiece, User
from projects.services import upload_files

KEPT = timedelta(days=1)  # after the last piece
MOST_OPEN = 100  # uploads of one person
MOST_PIECES = 10_000  # of one upload
READ = 1 << 20  # bytes held at a time
DIGESTS = ("sha256", "sha1")  # of pieces


class OutOfStep(Conflict):
    """A piece begins elsewhere than where the upload has come to."""

    code = "wrong_offset"


class Mismatch(DomainError):
    """What arrived is not what was sent (460 in the protocol's checksum extension)."""

    status, code = 460, "checksum_mismatch"


class Incomplete(Conflict):
    """The upload is asked for before it is whole."""

    code = "upload_incomplete"


@dataclass(slots=True)
class WholeFile:
    """A finished upload as services take files."""

    name: str | None
    size: int
    path: Path

    def temporary_file_path(self) -> str:
        return str(self.path)

    def chunks(self) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            while piece := file.read(READ):
                yield piece


def most_bytes() -> int:
    """Of one file."""
    return int(settings.DISTILLHUB_MAX_UPLOAD_MIB) << 20


def quota_bytes() -> int:
    """Of all that one person has under way."""
    return int(settings.DISTILLHUB_UPLOAD_QUOTA_MIB) << 20


def begin(*, name: str, size: int, sha256: str = "", by: User) -> ResumableUpload:
    """Raises Invalid, TooLarge, and Conflict when too much of this person is under way."""
    sha256 = sha256.strip().lower()
    if sha256 and (len(sha256) != 64 or set(sha256) - set("0123456789abcdef")):
        raise Invalid("sha256 is 64 hexadecimal digits.", fields={"sha256": ["Not a sha256."]})
    if size <= 0:
        raise Invalid("The file is empty.", fields={"file": ["The file is empty."]})
    if size > most_bytes():
        raise TooLarge(
            f"{name} is larger than {most_bytes() >> 20} MiB, the most that may be uploaded."
        )
    with transaction.atomic():
        User.objects.select_for_update().get(pk=by.pk)
        under_way = ResumableUpload.objects.filter(created_by=by)
        whole = under_way.aggregate(bytes=Sum("bytes"))["bytes"] or 0
        if under_way.count() >= MOST_OPEN or whole + size > quota_bytes():
            raise Conflict(
                f"You have {whole >> 20} MiB of uploads under way, and {quota_bytes() >> 20} MiB "
                "may be. Use or discard some of them; they are forgotten after a day.",
                code="upload_quota",
            )
        return ResumableUpload.objects.create(
            name=upload_files.safe_name(name),
            bytes=size,
            sha256=sha256,
            created_by=by,
            expires_at=timezone.now() + KEPT,
        )


def find(*, upload_id: UUID, by: User) -> ResumableUpload:
    """One's own upload. Raises Missing."""
    found = ResumableUpload.objects.filter(pk=upload_id, created_by=by).first()
    if found is None:
        raise Missing("There is no such upload: it was used, discarded, or waited too long.")
    return found


def append(
    *, upload: ResumableUpload, offset: int, stream: IO[bytes], checksum: str = ""
) -> ResumableUpload:
    """Store what a stream holds, which begins at `offset`. `checksum` is the protocol's header:
    `sha256 ` and the digest in base64.

    Raises OutOfStep, Mismatch, Invalid for more than was announced, and Away.
    """
    wanted = _digest_of(checksum)
    if offset != upload.received:
        raise OutOfStep(f"The upload has come to byte {upload.received}, not to {offset}.")
    if upload.pieces.count() >= MOST_PIECES:
        raise Invalid(f"An upload has at most {MOST_PIECES:,} pieces; send larger ones.")
    with (
        taken_by_disk(),
        tempfile.NamedTemporaryFile(dir=storage.working_folder("uploading")) as out,
    ):
        size = _copied(stream, out, upload.bytes - offset, wanted)
        out.flush()
        if size:
            blob = storage.put(Path(out.name), upload.room)
    if not size:
        return upload
    with transaction.atomic():
        fitting = ResumableUpload.objects.filter(pk=upload.pk, received=offset)
        if not fitting.update(received=offset + size, expires_at=Now() + KEPT):
            raise OutOfStep("Another request has added to this upload at the same moment.")
        UploadedPiece.objects.create(upload=upload, offset=offset, bytes=size, sha256=blob.sha256)
    upload.refresh_from_db()
    return upload


def discard(*, upload: ResumableUpload, by: User) -> None:
    """Forget an upload and its pieces. Raises Away."""
    del by
    upload.discard()


@contextmanager
def files(*, upload_ids: Sequence[UUID], by: User) -> Iterator[list[WholeFile]]:
    """The files of one's finished uploads, verified, for as long as the block runs; when it ends
    well they are forgotten.

    Raises Missing, Incomplete, Mismatch for a file that is not the one announced, and Away.
    """
    uploads = [find(upload_id=one, by=by) for one in dict.fromkeys(upload_ids)]
    with ExitStack() as stack:
        yield [stack.enter_context(_put_together(upload)) for upload in uploads]
    for upload in uploads:
        upload.discard()


@contextmanager
def _put_together(upload: ResumableUpload) -> Iterator[WholeFile]:
    if not upload.is_complete:
        raise Incomplete(f"{upload.name} has {upload.received} of {upload.bytes} bytes so far.")
    with tempfile.TemporaryDirectory(dir=storage.working_folder("uploading")) as folder:
        path, digest = Path(folder) / "whole", hashlib.sha256()
        with taken_by_disk(), path.open("wb") as out:
            for piece in upload.pieces.all():
                part = storage.local_copy(piece.sha256, Path(folder) / "piece", upload.room)
                with part.open("rb") as file:
                    shutil.copyfileobj(file, out, READ)
                part.unlink()
        with path.open("rb") as file:
            while read := file.read(READ):
                digest.update(read)
        if upload.sha256 and digest.hexdigest() != upload.sha256:
            raise Mismatch(
                f"{upload.name} arrived with sha256 {digest.hexdigest()}, and {upload.sha256} was "
                "announced. Upload it again."
            )
        yield WholeFile(upload.name, upload.bytes, path)


def _copied(stream: IO[bytes], out: IO[bytes], most: int, wanted: tuple[str, bytes] | None) -> int:
    """How many bytes were copied. Raises Invalid and Mismatch."""
    digest = hashlib.new(wanted[0]) if wanted else None
    size = 0
    while piece := stream.read(READ):
        size += len(piece)
        if size > most:
            raise Invalid("This is more than the upload was announced to have.")
        if digest is not None:
            digest.update(piece)
        out.write(piece)
    if digest is not None and wanted is not None and digest.digest() != wanted[1]:
        raise Mismatch("This piece arrived differently from how it was sent. Send it again.")
    return size


def _digest_of(checksum: str) -> tuple[str, bytes] | None:
    """Raises Invalid."""
    if not checksum:
        return None
    name, _, encoded = checksum.strip().partition(" ")
    try:
        digest = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if name not in DIGESTS or len(digest) != hashlib.new(name).digest_size:
        raise Invalid(f"Upload-Checksum is one of {', '.join(DIGESTS)} and a digest in base64.")
    return name, digest
