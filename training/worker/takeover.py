"""The job folder of a run that was taken: this machine's own, or what storage has of another's."""

import time
from pathlib import Path

from django.db import transaction

from training.worker import checkpoints, child, folders, journal, machine, metrics
from training.worker.claims import Held


def own_folder(held: Held) -> Path:
    """The job folder, at the state the row knows.

    When another machine has written rows since, what lies here is another story: it is removed, and
    the run goes on from the newest checkpoint in storage, or else begins again; what was measured
    after it is forgotten. So it does when no checkpoint here is whole. Raises Fenced and Away.
    """
    run, here = held.run, machine.home_id()
    folder = folders.of(run.pk)
    child.end_orphan(folder)
    file = folder / "journal.jsonl"
    size = file.stat().st_size if file.exists() else 0
    known = run.job_home == here and size >= run.journal_offset
    if known and (not run.checkpoints.exists() or checkpoints.is_sound(folder)):
        return folder
    if not known:
        folders.clear(folder, keep_record=False)
        folder.mkdir(parents=True, exist_ok=True)
    found, passed = checkpoints.fetch(held, folder)
    if known and found is None:
        return folder  # the engine tells what it cannot use
    at = found.step if found is not None else 0
    with transaction.atomic():
        held.write()
        for sentence in passed:
            run.tell("checkpoint", sentence)
        if not known:
            left = metrics.truncate(run, after=at if found is not None else -1)
            held.write(job_home=here, journal_offset=0, metrics=left)
            if found is None:
                held.write(step=0, fraction=0.0)
        if found is not None:
            who = f", stored by {found.made_by}," if found.made_by else ""
            run.tell("fetched", f"The checkpoint of step {at}{who} was fetched from storage.")
        elif run.job_home:
            run.tell("restarted", "Its checkpoints are not on this machine: it begins again.")
    checkpoints.forget_newer(run, at)
    if not known and found is not None:
        # The engine, which finds a journal begun, tells from which step it goes on.
        begun = {"seq": 1, "at": round(time.time(), 3), "type": "stage", "name": "preparing data"}
        journal.begin(file, begun)
    run.refresh_from_db(fields=["job_home", "journal_offset", "step", "fraction", "metrics"])
    return folder
