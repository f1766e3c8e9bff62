"""The demo's student in use: images come, then darker and shifted ones, until the alarm has led to
the next student.

A replay of real images: nobody photographs digits here, but each is answered by the shipped student
when it is sent, its teacher is asked about a sample, and some labels come a little later. What goes
wrong, and what is done about it, the product finds out by itself. People may do each step first:
the demo begins a retraining, or decides about it, where nobody has within a while.
"""

import time
from base64 import b64encode
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import chain, islice
from typing import Any
from zlib import crc32

from django.db import transaction
from django.utils import timezone

from distillhub.lib.errors import Conflict, Missing
from projects.models import ModelVersion, Project, User
from projects.services import registry
from training.demo import images
from training.demo.images import Shot
from training.models import Monitor, Retraining, Run
from training.retraining import beginning, deciding
from training.services import inferences, monitors, serving

JSON = dict[str, Any]
Status = Retraining.Status

MONITOR, STUDENT, ALIAS, DATASET = "digits-in-use", "pocket-convnet", "production", "digits"
WINDOW = 100  # rows
ASKED = 0.6  # of the rows, the teacher
PORTION, PAUSE = 30, 4.0  # rows, and seconds between them
MOST_ROWS = 2000  # that come before the next student, at most
RECOVERED = 3  # windows that the next student answers
COURTESY = 20.0  # seconds for which people may do a step themselves
PATIENCE = 1800.0  # seconds of one process; the next start goes on
GLANCE = 1.0  # seconds

NOTES = (
    "A replay of real images that no run has seen: handwritten digits first as they are, then as a "
    "badly lit camera that slipped by a pixel would show them. The student answers each as it "
    "comes, the teacher is asked about some of them, and labels of half come a little later. The "
    "demo begins a retraining and decides about it itself, unless you do so within seconds."
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
    return newest.status != Status.PROMOTED or _answered_since(newest) >= RECOVERED


def replay(*, project: Project, by: User) -> None:
    """Send what is left to be sent, as long as this takes; PATIENCE at most."""
    until = time.monotonic() + PATIENCE
    while not is_over(project) and time.monotonic() < until:
        run = _student_run(project)
        if run is None or not run.is_final:
            time.sleep(GLANCE)
            continue
        try:
            monitor = _monitor(project, run, by)
            if monitor.is_fitted:
                _send(monitor, by)
                _next_step(monitor, by)
                time.sleep(PAUSE)
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
        return monitors.create(
            project=project,
            asked={
                "name": MONITOR,
                "model": f"{STUDENT}@{ALIAS}",
                "reference": f"{DATASET}@1:test",
                "window": {"rows": WINDOW},
                "teacher_sample_rate": ASKED,
                "teacher_daily": 2000,
                "notes": NOTES,
                "retraining": {"rows": 400, "least_rows": 100, "max_old_loss": 0.04},
            },
            by=by,
        )


# -- traffic --------------------------------------------------------------------------------------


def _send(monitor: Monitor, by: User) -> None:
    """The next images, answered by the student that is shipped now; and labels of those before."""
    before, shots = _next_shots(monitor)
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


def _next_shots(monitor: Monitor) -> tuple[list[Shot], list[Shot]]:
    """The portion before the next one, and the next one. Ids that came before are passed over by
    who takes them in, so that an interruption costs nothing."""
    promoted = monitor.retrainings.filter(status=Status.PROMOTED).first()
    if promoted is None:
        sent = monitor.rows + inferences.count_waiting(monitor)
        stream: Iterator[Shot] = chain(images.clear(), images.dark(1))
    else:
        sent = _rows_since(promoted)
        stream = images.dark(0)
    sent -= sent % PORTION
    return _portion(stream, max(0, sent - PORTION), sent)


def _portion(stream: Iterator[Shot], start: int, sent: int) -> tuple[list[Shot], list[Shot]]:
    found = list(islice(stream, start, sent + PORTION))
    return found[: sent - start], found[sent - start :]


def _rows_since(promoted: Retraining) -> int:
    """Rows that came after the next student was shipped, as far as they were looked at."""
    windows = promoted.monitor.windows.filter(starts_at__gt=promoted.finished_at)
    return sum(windows.values_list("rows", flat=True)) + inferences.count_waiting(promoted.monitor)


def _answered_since(promoted: Retraining) -> int:
    """Whole windows of the next student."""
    windows = promoted.monitor.windows.filter(starts_at__gt=promoted.finished_at)
    return windows.filter(rows__gte=WINDOW).count()


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
    if newest.status == Status.PROPOSED:
        beginning.start(retraining=newest, by=by)
    elif newest.status == Status.DECIDING:
        passed = bool((newest.judgement or {}).get("passed"))
        deciding.decide(retraining=newest, promote=passed, by=by)
