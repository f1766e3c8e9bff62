"""Checkpoints in storage, from which another machine goes on when this one is gone.

    Keeper.saw(events)      a checkpoint was saved here, and all that was measured up to it recorded
    Keeper (a thread)       its files are linked, stored and compared; then its row is written
    fetch(held, folder)     another machine: the newest one whose every byte is as written
    free(run)               the run is over

Training never waits for any of it: with storage or database away the newest checkpoint is stored
when they are back. A row is written under the attempt's fence, and every attempt has a room of its
own, so that a worker which was thawed too late spoils nothing.
"""

import contextlib
import logging
import os
import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from distillhub.lib import storage
from training.models import Checkpoint, Run, Worker
from training.models.checkpoint import room_of
from training.worker import folders, logs
from training.worker.claims import Fenced, Held

log = logging.getLogger(__name__)

KEPT = 3  # of a run, as the engine keeps; each holds the best weights so far, too
SEEN = timedelta(days=1)  # homes of workers seen since count
LONGEST_PAUSE = 60.0  # seconds between two tries when storage is away
LINKS = "sharing"  # the folder of hard links: the engine removes its older checkpoints meanwhile


def shares() -> bool:
    """Whether runs of this installation keep checkpoints in storage (docs/settings.md)."""
    asked = settings.DISTILLHUB_SHARE_CHECKPOINTS
    if asked != "auto":
        return bool(asked == "always")
    if settings.S3_BUCKET or settings.DISTILLHUB_FILES:
        return True
    seen = Worker.objects.filter(seen_at__gt=timezone.now() - SEEN)
    return len({machine.get("home") for machine in seen.values_list("machine", flat=True)}) > 1


class Keeper(threading.Thread):
    """Stores the checkpoints of one attempt: always the newest, and none that it overtook."""

    def __init__(self, held: Held, folder: Path) -> None:
        super().__init__(name=f"checkpoints-{held.run.pk}", daemon=True)
        self.held, self.folder = held, folder
        self.every = settings.DISTILLHUB_SHARE_CHECKPOINTS_SECONDS
        self._newest = self._stored = -1
        self._news, self._idle = threading.Event(), threading.Event()
        self._hurry = self._over = self._away = False
        try:
            self._wanted = shares()
        except DatabaseError:
            self._wanted = False

    def saw(self, events: Iterable[dict[str, Any]]) -> None:
        """Events that are recorded: the checkpoints among them may be kept."""
        steps = [
            int(event["step"])
            for event in events
            if event["type"] == "saved"
            and event.get("kind") == "checkpoint"
            and isinstance(event.get("step"), int)
        ]
        if not steps or not self._wanted:
            return
        self._newest = max(steps)
        self._idle.clear()
        self._news.set()
        if self.ident is None:
            self.start()

    def store_last(self, seconds: float) -> bool:
        """Before the run is given back: wait until the newest one is stored, so long at most."""
        if self.ident is None:
            return True
        self._hurry = True
        self._news.set()
        return self._idle.wait(seconds)

    def end(self) -> None:
        """Store no more. What is on its way is given a moment."""
        self._over = True
        self._news.set()
        if self.ident is not None:
            self.join(timeout=2.0)

    def run(self) -> None:
        try:
            self._run()
        except Fenced:
            log.info("Run %s goes on elsewhere, or is over.", self.held.run.pk)
            self._tidy()
        except Exception:
            log.exception("Checkpoints of run %s are not stored any more.", self.held.run.pk)
        finally:
            self._idle.set()
            shutil.rmtree(self.folder / LINKS, ignore_errors=True)
            connection.close()

    def _run(self) -> None:
        pause = rested = 0.0  # seconds after a failure; when the next may be stored
        while not self._over:
            late = max(0.0, rested - time.monotonic()) if self._stored < self._newest else None
            if late is None or (late and not self._hurry):
                self._news.wait(late)
                self._news.clear()
                continue
            step = self._newest
            try:
                self._keep(step)
                self._stored, pause = step, 0.0
                rested = time.monotonic() + self.every
                self._say_away("")
            except FileNotFoundError:  # the engine has removed it; a newer one comes
                self._stored = step
            except (storage.Away, DatabaseError) as error:
                log.warning("Run %s: its checkpoint is stored later. %s", self.held.run.pk, error)
                self._say_away(error.detail if isinstance(error, storage.Away) else "")
                pause = min(LONGEST_PAUSE, 2 * pause or 1.0)
                rested = time.monotonic() + pause
                if self._hurry:
                    self._over = self._hurry = False
                    self._idle.set()
            finally:
                connection.close()
            if self._stored >= self._newest:
                self._idle.set()

    def _keep(self, step: int) -> None:
        """Raises Away, Fenced, DatabaseError, and FileNotFoundError when it is no longer there."""
        run, links = self.held.run, self.folder / LINKS
        room = f"{room_of(run.pk)}/{self.held.attempt}"
        shutil.rmtree(links, ignore_errors=True)
        files = []
        for name, sha256 in _files(self.folder, step):
            link = links / name
            link.parent.mkdir(parents=True, exist_ok=True)
            os.link(self.folder / name, link)
            files.append((name, link, sha256))
        stored: list[dict[str, Any]] = []
        for name, link, sha256 in files:
            blob = storage.put(link, room)
            if sha256 and blob.sha256 != sha256:
                log.error("Run %s: %s is not what was written; it is not kept.", run.pk, name)
                return
            stored.append({"name": name, "sha256": blob.sha256, "bytes": blob.bytes})
        shutil.rmtree(links, ignore_errors=True)
        with transaction.atomic():
            self.held.write()
            Checkpoint.objects.update_or_create(
                run=run,
                attempt=self.held.attempt,
                step=step,
                defaults={
                    "files": stored,
                    "bytes": sum(file["bytes"] for file in stored),
                    "made_by": run.worker.name if run.worker is not None else "",
                },
            )
            gone = list(run.checkpoints.all()[KEPT:])
            run.checkpoints.filter(pk__in=[one.pk for one in gone]).delete()
        _forget(run, gone)

    def _tidy(self) -> None:
        """What was on its way when the run finished is of no use to anybody."""
        done = Run.objects.filter(pk=self.held.run.pk, status=Run.Status.FINISHED)
        with contextlib.suppress(DatabaseError, storage.Away):
            if done.exists():
                storage.empty(room_of(self.held.run.pk))

    def _say_away(self, detail: str) -> None:
        """Once when storage goes away, and once when it is back, in the run's console."""
        if bool(detail) == self._away:
            return
        text = "Checkpoints are kept in storage again."
        if detail:
            text = f"{detail} Training goes on; its checkpoints are stored later."
        try:
            with transaction.atomic():
                self.held.write()
                line = logs.Line(time.time(), "warning" if detail else "info", text)
                logs.append(self.held.run, [line])
        except DatabaseError:
            return
        self._away = bool(detail)


def fetch(held: Held, folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """Place the newest checkpoint whose every byte is as written in the job folder; and a sentence
    for each newer one that could not be used. Raises Away, and OSError when the disk is full."""
    passed: list[str] = []
    for kept in held.run.checkpoints.all():
        try:
            for file in kept.files:
                target = (folder / file["name"]).resolve()
                if target.is_relative_to(folder.resolve()):
                    storage.local_copy(file["sha256"], target, kept.room)
        except storage.Damaged as fault:
            passed.append(f"The stored checkpoint of step {kept.step} is not used. {fault}")
            for name in ("checkpoints", "stages", "prepared"):
                shutil.rmtree(folder / name, ignore_errors=True)
            continue
        return kept, passed
    return None, passed


def is_sound(folder: Path) -> bool:
    """Whether a job folder has a checkpoint whose every byte is as its manifest says."""
    home = folder / "checkpoints"
    there = sorted(home.iterdir(), reverse=True) if home.is_dir() else []
    return any(_fits(one) for one in there if one.name.isdigit())


def free(run: Run) -> None:
    """Nobody goes on with this run. What cannot be freed now is swept later."""
    if not run.checkpoints.exists():
        return
    run.checkpoints.all().delete()
    try:
        storage.empty(room_of(run.pk))
    except storage.Away as error:
        log.warning("The checkpoints of run %s are freed later. %s", run.pk, error)


def forget(run: Run) -> None:
    """The run is to begin again: rows go with the caller's transaction, and their files after it;
    the next attempt has a room of its own."""
    rooms = {kept.room for kept in run.checkpoints.all()}
    run.checkpoints.all().delete()
    for room in rooms:
        transaction.on_commit(partial(_empty, room), robust=True)


def _empty(room: str) -> None:
    try:
        storage.empty(room)
    except storage.Away as error:
        log.warning("%s is freed later. %s", room, error)


def forget_newer(run: Run, step: int) -> None:
    """Of those that could not be used: the run goes on from an earlier step."""
    gone = list(run.checkpoints.filter(step__gt=step))
    run.checkpoints.filter(pk__in=[one.pk for one in gone]).delete()
    _forget(run, gone)


def _forget(run: Run, gone: Iterable[Checkpoint]) -> None:
    """Free the files of rows that are no more, but for those that other rows name."""
    left: dict[str, set[str]] = {}
    for kept in run.checkpoints.all():
        left.setdefault(kept.room, set()).update(file["sha256"] for file in kept.files)
    for one in gone:
        files = {file["sha256"] for file in one.files}
        try:
            storage.delete(files - left.get(one.room, set()), one.room)
        except storage.Away as error:
            log.warning("A checkpoint of run %s is freed later. %s", run.pk, error)


def _files(folder: Path, step: int) -> Iterator[tuple[str, str]]:
    """What another machine needs to go on: the checkpoint, the students that earlier stages left,
    and what was decided about asking the teacher. Names in the job folder, with the sha256 where
    the manifest has it. Raises FileNotFoundError."""
    home = Path("checkpoints") / f"{step:09d}"
    manifest = folders.read_json(folder / home / "manifest.json")
    if not isinstance(manifest, dict):
        raise FileNotFoundError(str(home))
    for name, said in manifest["files"].items():
        yield str(home / name), said["sha256"]
    yield str(home / "manifest.json"), ""
    for beside in ("stages/**/*", "prepared/asking-*.json"):
        for path in sorted(folder.glob(beside)):
            name = path.relative_to(folder)
            if path.is_file() and not any(part.startswith(".") for part in name.parts):
                yield name.as_posix(), ""


def _fits(checkpoint: Path) -> bool:
    manifest = folders.read_json(checkpoint / "manifest.json")
    try:
        return all(
            storage.digest(checkpoint / name) == said["sha256"]
            for name, said in manifest["files"].items()
        )
    except (OSError, KeyError, TypeError, AttributeError):
        return False
