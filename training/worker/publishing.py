"""Sending a version to a hub: one commit with its files, its exports and its card.

README.md                the card, as it was when it was asked for
model.safetensors, ...   the model's own files
onnx/model.onnx, ...     each export in a folder of its form's name
"""

import io
import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from distillhub.lib import leases, outgoing, secrets, storage
from distillhub.lib.later import Later
from distillhub.lib.leases import GivenBack, Held
from projects.models import ApiKey
from training.models import Publication
from training.worker import work_announcements
from training.worker.work import MOST_LOSSES, Columns, Failed, Work

httpx2 = Later("httpx2")
huggingface_hub = Later("huggingface_hub")
errors = Later("huggingface_hub.errors")

log = logging.getLogger(__name__)

THREADS = 2  # files sent at once


class Publishing(Work[Publication]):
    model = Publication
    job, names, verb = "training.publish", "publication_id", "publish"
    related = ("version__model__project", "created_by")
    alone = False

    def prepare(self, row: Publication, folder: Path) -> Columns:
        """Its files, verified, as they will lie in the repository. Raises storage.Damaged."""
        files = {one["name"]: one["sha256"] for one in row.version.files} if row.weights else {}
        for export in row.exports.all():
            files |= {f"{export.format}/{one['name']}": one["sha256"] for one in export.files}
        for name, sha256 in files.items():
            if name != "README.md":
                storage.local_copy(sha256, folder / "files" / name)
        card = folder / "files/README.md"
        card.parent.mkdir(parents=True, exist_ok=True)
        card.write_text(row.card, encoding="utf-8")
        return {}

    def found(self, row: Publication, result: Mapping[str, Any], folder: Path) -> Columns:
        return {"report": dict(result)}

    def _done(self, held: Held[Publication], folder: Path) -> Columns:
        """No child: nothing of it needs the engine."""
        row = held.row
        if row.times_lost >= MOST_LOSSES:
            raise Failed("lost", f"{row.times_lost} workers died with it.")
        held.write(**self._stage("gathering files"))
        self.prepare(row, folder)
        if leases.stopping.is_set():
            raise GivenBack
        token = _token(row)
        try:
            outgoing.check(row.endpoint)
        except outgoing.Refused as refused:
            raise Failed(refused.code, refused.detail) from None
        with _told(row, token):
            return self.found(row, self._sent(held, folder / "files", token), folder)

    def _sent(self, held: Held[Publication], home: Path, token: str) -> dict[str, Any]:
        row = held.row
        api = huggingface_hub.HfApi(endpoint=row.endpoint, token=token)
        held.write(**self._stage("finding the repository"))
        api.create_repo(row.repository, private=row.private, exist_ok=True)
        if row.revision != "main":
            api.create_branch(row.repository, branch=row.revision, exist_ok=True)
        paths = sorted(path for path in home.rglob("*") if path.is_file())
        size = sum(path.stat().st_size for path in paths)
        held.write(**self._stage(f"sending {len(paths)} files, {size / 1e6:.1f} MB"))
        with ExitStack() as opened:
            # Open files go by plain HTTP (Git LFS), as mirrors speak it; paths would go by Xet.
            files = [(path, opened.enter_context(_Sent(io.FileIO(path)))) for path in paths]
            commit = api.create_commit(
                row.repository,
                [
                    huggingface_hub.CommitOperationAdd(path.relative_to(home).as_posix(), file)
                    for path, file in files
                ],
                commit_message=row.message,
                revision=row.revision,
                num_threads=THREADS,
            )
        return {
            "commit": str(commit.oid),
            "url": f"{row.endpoint}/{row.repository}",
            "files": [path.relative_to(home).as_posix() for path in paths],
            "bytes": size,
        }

    def announce(self, row: Publication) -> None:
        url = (row.report or {}).get("url")
        work_announcements.announce(
            "publication",
            row,
            f"{row.version.reference} to {row.repository}",
            repository=row.repository,
            url=str(url) if url else None,
        )


class _Sent(io.BufferedReader):
    """A file that is read no further once the worker leaves: what was not sent is given back."""

    def read(self, size: int | None = -1, /) -> bytes:
        if leases.stopping.is_set():
            raise GivenBack
        return super().read(size)


WORK = Publishing()


def _token(row: Publication) -> str:
    """Of the model, for this address. Raises Failed."""
    origin = outgoing.origin(row.endpoint)
    kept = ApiKey.objects.filter(model=row.version.model, origin=origin).first()
    if kept is None:
        raise Failed("no_token", f"The token for {origin} was removed. Give one, and try again.")
    try:
        return secrets.unseal(kept.sealed)
    except secrets.Unreadable as sealed:
        raise Failed(sealed.code, sealed.detail) from None


@contextmanager
def _told(row: Publication, token: str) -> Iterator[None]:
    """Says in a sentence what the hub's client raises; a token is in none."""
    try:
        yield
    except Exception as error:
        # What goes wrong with one file comes wrapped, with the file's name.
        cause = error.__cause__ if isinstance(error, RuntimeError) else error
        if isinstance(cause, GivenBack):
            raise cause from None
        failed = _failed(row, token, cause or error)
        if failed is None:
            raise
        log.warning("Publication %s: %s", row.pk, type(cause).__name__)
        raise failed from None


def _failed(row: Publication, token: str, error: BaseException) -> Failed | None:
    """None for what is not about the hub."""
    where = f"{row.repository} at {row.endpoint}"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return Failed("offline", "This machine may not ask the hub: HF_HUB_OFFLINE is set.")
    if isinstance(error, errors.HfHubHTTPError):
        status = getattr(error.response, "status_code", 0)
        said = secrets.without(token, str(getattr(error, "server_message", "") or ""))[:300]
        if status in (401, 403):
            return Failed("refused", f"The token may not write to {where}. {said}".strip())
        if status == 404:
            return Failed("missing", f"The hub has no place for {where}. {said}".strip())
        return Failed("hub", f"The hub refused {where} ({status}). {said}".strip())
    away = (httpx2.HTTPError, httpx2.StreamError, ConnectionError, ValueError)
    if isinstance(error, away):
        told = f"The hub did not answer for {where} ({type(error).__name__}). Try again."
        return Failed("hub_away", told)
    return None
