"""Runs carried out by the worker's own code, but for the child: the engine trains in this process,
which saves what starting one takes. The worker then finds a finished journal, as of an attempt
whose worker died before it could say so."""

import json

from projects.models import Project
from training.engine import job_config, loop, methods
from training.engine.journal import Journal
from training.models import Run, Worker
from training.worker import claims, folders, takeover
from training.worker import runs as executing


def carry_out(project: Project, worker: Worker) -> None:
    """Every queued run of a project, and those that wait for them, the first one first."""
    while run := project.runs.filter(status=Run.Status.QUEUED).order_by("number").first():
        train(run, worker)


def train(run: Run, worker: Worker) -> None:
    held = claims.claim(run.pk, worker)
    assert held is not None
    folder = takeover.own_folder(held)
    folders.prepare(held.run)
    asked = json.loads((folder / "config.json").read_text())
    with Journal(folder / "journal.jsonl") as journal:
        for event in loop.distill(job_config.parse_job(asked, methods.describe()), folder):
            journal.write(event)
    executing.carry_out(held)
    run.refresh_from_db()
    assert run.status == Run.Status.FINISHED, run.error
