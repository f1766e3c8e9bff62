"""The demo's student in use: images come, then darker and shifted ones, until the alarm has led to
the next student.

A replay of real images: nobody photographs digits here, but each is answered by the shipped student
when it is sent, its teacher is asked about a sample, and some labels come a little later. What goes
wrong, and what is done about it, the product finds out by itself. People may do each step first:
the demo begins a retraining, or decides about it, where nobody has within a while.
"""

import time
from base64 import b64encode
from datetime import datetime, timedelta
from itertools import chain, islice
from typing import Any
from zlib import crc32

from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from distillhub.lib.errors import Conflict, Missing
from projects.models import ModelVersion, Project, User
from projects.services import registry
from training.demo import images
from training.demo.images import Shot
from training.demo.noted import note
from training.models import InferenceBatch, Monitor, Retraining, Run
from training.retraining import beginning, deciding
from training.services import inferences, monitors, serving

JSON = dict[str, Any]
Status = Retraining.Status

MONITOR, STUDENT, ALIAS, DATASET = "digits-in-use", "pocket-convnet", "production", "digits"
WINDOW = 100  # rows
ASKED = 0.6  # of the rows, the teacher
PORTION, PAUSE = 30, 4.0  # rows, and seconds between them
SLOWLY = 10.0  # seconds, while the next student is trained on the same machine
MOST_ROWS = 2000  # that come before the next student, at most
USUAL = 200  # rows of the next student that then tell what is usual
RECOVERED = 3  # windows after these, until all is quiet
COURTESY = 20.0  # seconds for which people may do a step themselves
PATIENCE = 1800.0  # seconds of one process; the next start goes on
GLANCE = 1.0  # seconds

NOTES = (
    "A replay of real images that no run has seen: handwritten digits first as they are, then as a "
    "badly lit camera that slipped by a pixel would show them. The student answers each as it "
    "comes, the teacher is asked about some of them, and labels of half come a little later. The "
    "demo begins a retraining and decides about it itself, unless you do so within seconds; once "
    "the next student is there, dark images are what is usual."
)


def is_over(project: Project) -> bool:
    """Whether nothing is left to show, or people have taken it away."""
    run = _student_run(project)
    if run is None or not run.is_final:
        return False
    if run.output is None or not _has_traffic(project):
        return True
    monitor = project.monitors.filter(name=MONITOR).first()
    if monitor is None:
        return run.output.model.aliases.filter(name=ALIAS).exists()
    if monitor.is_paused:
        return True
    newest = monitor.retrainings.first()
    if newest is None or not newest.is_final:
        return monitor.rows >= MOST_ROWS
    if newest.status != Status.PROMOTED or monitor.traffic_until is None:
        return newest.status != Status.PROMOTED
    windows = monitor.windows.filter(starts_at__gt=monitor.traffic_until, rows__gte=WINDOW)
    return windows.count() >= RECOVERED


def replay(*, project: Project, by: User) -> None:
    """Send what is left to be sent, as long as this takes; PATIENCE at most."""
    until = time.monotonic() + PATIENCE
    before: list[Shot] = []
    while not is_over(project) and time.monotonic() < until:
        run = _student_run(project)
        if run is None or not run.is_final:
            time.sleep(GLANCE)
            continue
        try:
            monitor = _monitor(project, run, by)
            if monitor.is_fitted:
                before = _send(monitor, before, by)
                _next_step(monitor, by)
                busy = monitor.retrainings.unfinished().exists()
                time.sleep(SLOWLY if busy else PAUSE)
            else:
                time.sleep(GLANCE)
        except Missing:  # taken away meanwhile
            return
        except (Conflict, inferences.Busy):  # somebody else's step; or workers are behind
            time.sleep(PAUSE)


def _student_run(project: Project) -> Run | None:
    """Of the demo's runs, the one that distils."""
    found: Run | None = project.runs.filter(name="Student, distilled").order_by("number").first()
    return found


def _has_traffic(project: Project) -> bool:
    """Not in a demo of an earlier version, which has uploaded every image."""
    version = project.datasets.get(name=DATASET).versions.get(number=1)
    return bool(version.splits["test"]["rows"] == 10 * images.TEST)


def _monitor(project: Project, run: Run, by: User) -> Monitor:
    """Of the shipped student; shipped now, if it is not yet."""
    found = project.monitors.filter(name=MONITOR).first()
    if found is not None:
        return found
    version = run.output
    assert isinstance(version, ModelVersion)  # else it is over
    with transaction.atomic():
        if not version.model.aliases.filter(name=ALIAS).exists():
            registry.set_alias(model=version.model, name=ALIAS, version=version, by=by)
            note("alias.set", project=project, subject=f"{STUDENT} / {ALIAS}")
        made = monitors.create(
            project=project,
            asked={
                "name": MONITOR,
                "model": f"{STUDENT}@{ALIAS}",
                "reference": f"{DATASET}@1:test",
                "window": {"rows": WINDOW},
                "teacher_sample_rate": ASKED,
                "teacher_daily": 10_000,
                "notes": NOTES,
                "retraining": {"rows": 400, "least_rows": 100, "max_old_loss": 0.04},
            },
            by=by,
        )
        note("monitor.create", project=project, subject=MONITOR)
        return made


# -- traffic --------------------------------------------------------------------------------------


def _send(monitor: Monitor, before: list[Shot], by: User) -> list[Shot]:
    """The next images, answered by the student that is shipped now; and labels of those before."""
    shots = _next_shots(monitor)
    version = registry.resolve(project=monitor.project, reference=f"{STUDENT}@{ALIAS}")
    said = serving.predict(version=version, inputs=[one.png for one in shots])
    now = timezone.now()
    step = timedelta(seconds=PAUSE / len(shots))
    rows = [
        {
            "id": one.name,
            "time": (now - step * (len(shots) - place)).isoformat(),
            "input": {"base64": b64encode(one.png).decode()},
            "prediction": answer["label"],
            "probabilities": answer["probabilities"],
            "latency_ms": round(said.milliseconds / len(shots), 3),
            "version": version.reference,
        }
        for place, (one, answer) in enumerate(zip(shots, said.answers, strict=True))
    ]
    inferences.receive(monitor=monitor, records_sent=rows, by=by)
    known = [{"id": one.name, "label": one.label} for one in before if _has_label(one)]
    if known:
        inferences.receive_labels(monitor=monitor, labels=known, by=by)
    return shots


def _next_shots(monitor: Monitor) -> list[Shot]:
    """What no row came of yet. Where it stands, the number of rows tells, and no image comes twice
    as it is: an interruption costs nothing."""
    waiting = monitor.inbox.filter(kind=InferenceBatch.Kind.INFERENCES)
    sent = monitor.rows + (waiting.aggregate(rows=Sum("rows"))["rows"] or 0)
    if monitor.retrainings.filter(status=Status.PROMOTED).exists():
        return list(islice(images.dark(0, sent), PORTION))
    whole = images.clear_rows()
    clear = images.clear(sent) if sent < whole else iter(())
    return list(islice(chain(clear, images.dark(1, max(0, sent - whole))), PORTION))


def _has_label(shot: Shot) -> bool:
    return crc32(shot.name.encode()) % 2 == 0


# -- people's steps -------------------------------------------------------------------------------


def _next_step(monitor: Monitor, by: User) -> None:
    """Begin what is proposed and decide what waits, where nobody has for a while."""
    newest = monitor.retrainings.first()
    if newest is None or not newest.steps:
        return
    since = datetime.fromisoformat(newest.steps[-1]["at"])
    if timezone.now() - since < timedelta(seconds=COURTESY):
        return
    subject = str(newest.number)
    if newest.status == Status.PROPOSED:
        with transaction.atomic():
            beginning.start(retraining=newest, by=by)
            note("retraining.start", project=monitor.project, subject=subject)
    elif newest.status == Status.DECIDING:
        passed = bool((newest.judgement or {}).get("passed"))
        with transaction.atomic():
            deciding.decide(retraining=newest, promote=passed, by=by)
            note("retraining.decide", project=monitor.project, subject=subject)
    elif newest.status == Status.PROMOTED and monitor.dataset_version is not None:
        _take_as_usual(monitor, newest, by)


def _take_as_usual(monitor: Monitor, promoted: Retraining, by: User) -> None:
    """Dark images are what the next student is for: held against these, all is quiet."""
    windows = monitor.windows.filter(starts_at__gt=promoted.finished_at)
    if (windows.aggregate(rows=Sum("rows"))["rows"] or 0) < USUAL:
        return
    assert promoted.finished_at is not None
    span = {"from": promoted.finished_at.isoformat(), "until": timezone.now().isoformat()}
    with transaction.atomic():
        monitors.edit(monitor=monitor, asked={"reference": {"traffic": span}}, by=by)
        note("monitor.change", project=monitor.project, subject=MONITOR)
