"""Looking into what people send of other trackers, and taking runs from it.

    look    a child reads the file (training/trackers), or a server is asked: what is there?
    take    the same once more, and every chosen run becomes a tracked run (imported.py)

Both read anew: between them lie hours, and a server has gone on.
"""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from django.db import transaction

from distillhub.lib import leases, secrets, storage
from distillhub.lib.leases import GivenBack, Held
from projects.models import Event
from training.models import RunImport
from training.trackers import found as form
from training.trackers import reading
from training.trackers.found import Unreadable
from training.worker import child as children
from training.worker import folders, import_server, imported
from training.worker.work import MOST_LOSSES, NO_RESULT, Columns, Failed, Work

MODULE = "training.trackers"
MEMORY_MIB = 4096  # of addresses, for the child that reads
SHOWN = 500  # runs of which a report tells
TOLD = 20  # sentences about what is left out, of a run that it tells of


class Importing(Work[RunImport]):
    model = RunImport
    job, names, verb = "training.import_runs", "import_id", "read"
    related = ("project", "created_by")
    hours, seats = 2, 2

    def prepare(self, row: RunImport, folder: Path) -> Columns:
        """Raises storage.Damaged."""
        file = row.files[0]
        storage.local_copy(file["sha256"], folder / "source")
        takes = row.step == RunImport.Step.TAKE
        return {"file": file["name"], "name": row.name, "takes": takes, "chosen": row.chosen}

    def found(self, row: RunImport, result: Mapping[str, Any], folder: Path) -> Columns:
        return {"report": _report(row, result, folder / "found")}

    def announce(self, row: RunImport) -> None:
        if row.status == RunImport.Status.READY and row.outcome is None:
            if row.straight_on:  # what was found is taken at once
                self.rows.filter(pk=row.pk).update(
                    status=self.model.CLAIMABLE, step=RunImport.Step.TAKE, finished_at=None
                )
                self.wake(row)
            return
        _tell(row)

    def _done(self, held: Held[RunImport], folder: Path) -> Columns:
        row = held.row
        if row.times_lost >= MOST_LOSSES:
            raise Failed("lost", f"{row.times_lost} workers died with it.")
        try:
            if row.kind == RunImport.Kind.SERVER:
                result = self._asked(held, folder)
            else:
                result = self._read(held, folder)
        except Unreadable as fault:
            raise Failed(fault.code, fault.sentence) from None
        columns = self.found(row, result, folder)
        if row.step == RunImport.Step.LOOK:
            return columns
        return columns | {"outcome": self._taken(held, folder / "found"), "sealed": ""}

    def _read(self, held: Held[RunImport], folder: Path) -> Mapping[str, Any]:
        """A child reads: the file is a stranger's."""
        folders.write_json(folder / "config.json", self.prepare(held.row, folder))
        child = children.spawn(
            folder, verb=self.verb, name=self.verb, module=MODULE, memory_mib=MEMORY_MIB
        )
        try:
            self._watch(held, folder, child)
        finally:
            if child.poll() is None:
                child.kill()
        result = folders.read_json(folder / "result.json")
        if not isinstance(result, dict):
            raise Failed("crashed", NO_RESULT)
        if failed := result.get("failed"):
            raise Failed(str(failed["code"]), str(failed["sentence"])[:2000])
        return result

    def _asked(self, held: Held[RunImport], folder: Path) -> Mapping[str, Any]:
        row = held.row
        client = import_server.Client(_server(row))
        try:
            takes = row.step == RunImport.Step.TAKE
            with form.Writer(folder / "found", keeps=lambda run: takes) as out:
                import_server.read(
                    client,
                    out,
                    experiments=row.experiments,
                    chosen=row.chosen if takes else None,
                    takes=takes,
                    say=partial(self._say, held),
                )
                points = out.points if takes else None
                return {"runs": out.runs, "points": points, "left_out": out.left_out}
        finally:
            client.close()

    def _say(self, held: Held[RunImport], words: str) -> None:
        held.write(**self._stage(f"asking the server: {words}"[:100]))

    def _taken(self, held: Held[RunImport], home: Path) -> dict[str, Any]:
        """Every chosen run; begun again it goes on where it was, as each is taken once."""
        row = held.row
        outcome = {"new": 0, "grown": 0, "same": 0, "points": 0, "files": 0}
        numbers: list[int] = []
        chosen = None if row.chosen is None else set(row.chosen)
        for found in form.lines(home):
            if chosen is not None and found["key"] not in chosen:
                continue
            if leases.stopping.is_set():
                raise GivenBack
            done = sum(outcome[name] for name in ("new", "grown", "same"))
            with transaction.atomic():
                held.write(**self._stage(f"taking runs: {done + 1:,}, {found['name']}"[:100]))
                taken = imported.begin(row, found)
            if taken is None:  # logged here by its own program, which tells more
                outcome["same"] += 1
                continue
            for batch in imported.batches(taken.run, found, home / "points.bin"):
                if leases.stopping.is_set():
                    raise GivenBack
                with transaction.atomic():
                    held.write()
                    imported.measure(taken.run, batch)
                taken.points += len(batch)
            for file in found["files"]:
                if leases.stopping.is_set():
                    raise GivenBack
                blob = storage.put(home / form.FILES / file["at"])
                with transaction.atomic():
                    held.write()
                    taken.files += imported.keep(taken.run, file["path"], blob)
            has_grown = taken.has_changed or taken.points > 0 or taken.files > 0
            outcome["new" if taken.is_new else "grown" if has_grown else "same"] += 1
            outcome["points"] += taken.points
            outcome["files"] += taken.files
            if taken.is_new or has_grown:
                numbers.append(taken.run.number)
        return outcome | {"runs": numbers}


WORK = Importing()


def seal(*, token: str, user: str) -> str:
    return secrets.seal(json.dumps({"token": token, "user": user})) if token else ""


def _server(row: RunImport) -> import_server.Server:
    """Raises Failed."""
    if not row.sealed:
        return import_server.Server(row.place)
    try:
        told = json.loads(secrets.unseal(row.sealed))
    except secrets.Unreadable as sealed:
        raise Failed(sealed.code, sealed.detail) from None
    return import_server.Server(row.place, told["token"], told["user"])


def _report(row: RunImport, result: Mapping[str, Any], home: Path) -> dict[str, Any]:
    """What a page shows of what was found."""
    lines = list(form.lines(home))
    known = imported.known(row.project_id, [one["key"] for one in lines])
    shown = [
        {
            "key": one["key"],
            "name": one["name"],
            "tracker": reading.tracker_of(one["key"]),
            "status": "running" if one["is_open"] else one["status"],
            "started": one["started"],
            "series": len(one["series"]) if one["series_known"] is None else one["series_known"],
            "points": sum(series["count"] for series in one["series"])
            if one["series_known"] is None
            else None,
            "params": len(one["params"]),
            "files": None if row.kind == RunImport.Kind.SERVER else one["files_known"],
            "left_out": one["left_out"][:TOLD],
            "run": known.get(one["key"]),
        }
        for one in lines[:SHOWN]
    ]
    return {
        "runs": result["runs"],
        "points": result["points"],
        "left_out": result["left_out"],
        "known": len(known),
        "found": shown,
    }


def _tell(row: RunImport) -> None:
    outcome: dict[str, Any] = row.outcome or {}
    error: dict[str, Any] = row.error or {}
    Event.objects.tell(
        project_id=row.project_id,
        kind=f"import.{row.status}",
        subject=str(row.pk),
        title=row.place,
        sentence=str(error.get("detail", "")) or words(outcome),
        data={
            "id": row.pk,
            "place": row.place,
            "status": str(row.status),
            "new": int(outcome.get("new", 0)),
            "grown": int(outcome.get("grown", 0)),
            "error": {name: str(error.get(name, "")) for name in ("code", "detail")}
            if error
            else None,
            "by": row.created_by.username,
        },
    )


def words(outcome: Mapping[str, Any]) -> str:
    """What came of it, in a sentence."""
    new, grown, same = (int(outcome.get(name, 0)) for name in ("new", "grown", "same"))
    parts = [f"{new:,} new"] if new or not (grown or same) else []
    parts += [f"{grown:,} with something new"] if grown else []
    parts += [f"{same:,} that were here already"] if same else []
    points, files = int(outcome.get("points", 0)), int(outcome.get("files", 0))
    brought = f"{points:,} point{'s' * (points != 1)}"
    if files:
        brought += f", {files:,} file{'s' * (files != 1)}"
    return f"Runs: {', '.join(parts)}; {brought}."
