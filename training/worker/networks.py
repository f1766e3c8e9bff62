"""Inspecting a model version: the network is fetched or built once, in a child process, and the
version's row says what it is. The row owns the inspection; a message is only a wake-up call."""

import contextlib
import fcntl
import logging
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings

from distillhub.lib import storage
from projects.models import ModelVersion
from training.worker import child as children
from training.worker import derivations, dispatch, folders, machine, registration

log = logging.getLogger(__name__)

INSPECT = "training.inspect_model_version"
PATIENCE = 3600.0  # seconds; a large checkpoint has to come over the network

#: What a child that fetches from the hub is told of the network, besides the ordinary environment.
NETWORK = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
FAILED: dict[str, str] = {
    "code": "crashed",
    "detail": "The inspection ended without a result: probably this machine's memory is too small.",
}


def ask(version_id: int) -> bool:
    """Have a worker inspect it. With the broker away it waits, and the reaper asks again."""
    return dispatch.call(INSPECT, version_id=version_id)


def inspect(version_id: int) -> None:
    """Inspect a version that waits for it; ends quietly when it does not, or another process of
    this machine is at it."""
    version = (
        ModelVersion.objects.select_related("model")
        .filter(pk=version_id, status=ModelVersion.Status.INSPECTING)
        .first()
    )
    if version is None:
        return
    folder = machine.home() / f"inspect-{version.pk}"
    with _alone(folder) as alone:
        if not alone:
            return
        try:
            result = _result(version, folder)
            if result is not None:
                _write(version, result, folder)
        except storage.Damaged as error:
            _fail(version, {"code": "damaged", "detail": str(error)})
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _result(version: ModelVersion, folder: Path) -> dict[str, Any] | None:
    """What the child found; None when this process has to leave before it is done."""
    folders.place_files(version, folder / "model")
    folders.write_json(
        folder / "config.json",
        {
            "task": version.model.task,
            "source": version.source,
            "architecture": version.architecture,
            "config": version.config,
            "path": "model" if version.files else None,
            **derivations.place(version, folder),
        },
    )
    extra = {}
    if version.source.get("kind") == "hub":
        extra = {name: os.environ[name] for name in NETWORK if name in os.environ}
        extra |= {name.lower(): value for name, value in extra.items()}
        extra |= {"HF_ENDPOINT": settings.HF_ENDPOINT, "HF_HUB_OFFLINE": "0"}
    child = children.spawn(folder, verb="inspect", name="inspect", extra=extra)
    until = time.monotonic() + PATIENCE
    try:
        while child.poll() is None and time.monotonic() < until:
            if registration.stopping.is_set():
                return None
            time.sleep(0.1)
        if child.poll() is None:
            return {"failed": {"code": "timeout", "sentence": "It took longer than an hour."}}
    finally:
        if child.poll() is None:
            child.kill()
    result = folders.read_json(folder / "result.json")
    if isinstance(result, dict):
        return result
    log.error("Inspection of %s left no result: %s", version, child.said_last(20))
    return {"failed": {"code": FAILED["code"], "sentence": FAILED["detail"]}}


def _write(version: ModelVersion, result: dict[str, Any], folder: Path) -> None:
    failed = result.get("failed")
    if failed:
        _fail(version, {"code": str(failed["code"]), "detail": str(failed["sentence"])[:2000]})
        return
    files = version.files or _stored(result, folder)
    source = version.source
    if result.get("revision"):
        source = {**source, "revision": result["revision"]}
    if result.get("made"):
        source = {**source, "made": result["made"]}
    if result.get("assumes"):
        source = {**source, "assumes": result["assumes"]}
    _waiting(version).update(
        status=ModelVersion.Status.READY,
        error=None,
        source=source,
        architecture=result["architecture"],
        config=result["config"],
        parameters=result["parameters"],
        size_bytes=result["size_bytes"],
        labels=result["labels"] or version.labels,
        problem=result.get("problem") or version.problem,
        tokenizer=result["tokenizer"],
        files=files,
    )


def _stored(result: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    """Keep what was fetched."""
    kept = []
    for file in result["files"]:
        blob = storage.put(folder / result["folder"] / file["name"])
        kept.append({"name": file["name"], "sha256": blob.sha256, "bytes": blob.bytes})
    return kept


def _fail(version: ModelVersion, error: dict[str, str]) -> None:
    _waiting(version).update(status=ModelVersion.Status.FAILED, error=error)


def _waiting(version: ModelVersion) -> Any:
    """The row, as long as nobody else has settled it."""
    return ModelVersion.objects.filter(pk=version.pk, status=ModelVersion.Status.INSPECTING)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Whether no other process of this machine inspects in this folder; the kernel frees the lock
    of one that died."""
    lock = folder.with_name(f"{folder.name}.lock")
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        yield True
