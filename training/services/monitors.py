"""Monitors: made, changed, paused, let go, and how they are.

    create(project=..., asked={"name", "model", "reference", "window", ...}, by=...)

How it is, monitor_health.py tells.

A monitor is fitted to its reference by a worker (a MonitorLook that `fits`). One that follows an
alias is fitted again when the alias moves (worker/following.py).
"""

import secrets
from collections.abc import Mapping
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from distillhub.lib.errors import Conflict, Missing
from projects.models import ModelVersion, Project, User
from projects.services import subjects
from training.models import Monitor
from training.services import monitor_health, monitor_settings
from training.worker import following

JSON = dict[str, Any]
health = monitor_health.health

#: A change of these is a change of what is usual.
REFITS = frozenset({
    "model", "alias", "version", "external", "dataset_version", "split", "traffic_from",
    "traffic_until", "window_rows", "window_hours", "detectors", "slices", "correction",
})  # fmt: skip


def listed(*, project: Project) -> QuerySet[Monitor]:
    """By name, with what their rows show."""
    return Monitor.objects.filter(project=project).select_related(
        "project", "model", "version__model", "dataset_version__dataset", "teacher__model",
        "created_by",
    )  # fmt: skip


def find(*, project: Project, name: str) -> Monitor:
    """Raises Missing."""
    found = listed(project=project).filter(name__iexact=name).first()
    if found is None:
        raise Missing(f"There is no monitor {name[:100]} in this project.")
    return found


def for_model(*, version: ModelVersion) -> QuerySet[Monitor]:
    """Those that watch this version now."""
    return listed(project=version.model.project).filter(version=version)


def create(*, project: Project, asked: Any, by: User) -> Monitor:
    """Raises Invalid with every fault at its field, Conflict for a name that is taken."""
    if project.archived_at is not None:
        raise Conflict("This project is archived; nothing new can be watched in it.")
    columns = monitor_settings.read(project, asked)
    with transaction.atomic():
        try:
            with transaction.atomic():
                monitor = Monitor.objects.create(
                    project=project,
                    created_by=by,
                    salt=secrets.token_hex(16),
                    marks=[following.mark("made", f"{by.username} made it.", columns["version"])],
                    **columns,
                )
        except IntegrityError:
            raise _taken(columns["name"]) from None
        following.ask(monitor, by)
    return find(project=project, name=monitor.name)


def edit(*, monitor: Monitor, asked: Any, by: User) -> Monitor:
    """Change what is named; where that changes what is usual, it is fitted again. Raises like
    `create`."""
    with transaction.atomic():
        monitor = _locked(monitor)
        columns = monitor_settings.read(monitor.project, asked, monitor=monitor)
        changed = {key: new for key, new in columns.items() if getattr(monitor, key) != new}
        if not changed:
            return monitor
        before = monitor.name
        for key, value in changed.items():
            setattr(monitor, key, value)
        try:
            with transaction.atomic():
                monitor.save(update_fields=list(changed))
        except IntegrityError:
            raise _taken(monitor.name) from None
        if monitor.name != before:
            subjects.renamed(
                project=monitor.project,
                kind="monitor",
                reference=before,
                title=monitor.name,
                now=monitor.name,
            )
        if REFITS & set(changed):
            following.ask_anew(monitor, by, "edited", f"{by.username} changed {_named(changed)}.")
        else:
            following.note(monitor, "edited", f"{by.username} changed {_named(changed)}.")
    return find(project=monitor.project, name=monitor.name)


def pause(*, monitor: Monitor, by: User) -> Monitor:
    """No window is judged; what is sent is still kept. Harmless twice."""
    return _switch(monitor, True, "paused", f"{by.username} paused it.")


def resume(*, monitor: Monitor, by: User) -> Monitor:
    return _switch(monitor, False, "resumed", f"{by.username} resumed it.")


def refit(*, monitor: Monitor, by: User) -> Monitor:
    """Take its reference anew, of the version that its alias means now."""
    with transaction.atomic():
        monitor = _locked(monitor)
        following.point(monitor)
        following.ask_anew(monitor, by, "refit", f"{by.username} had the reference taken anew.")
    return monitor


def remove(*, monitor: Monitor) -> None:
    """With its windows, incidents and rows; files in storage go within a day."""
    with transaction.atomic():
        # What a worker writes down of it is waited for; after that, nobody writes of it.
        list(monitor.looks.select_for_update().order_by("pk").values_list("pk"))
        list(Monitor.objects.select_for_update().filter(pk=monitor.pk).values_list("pk"))
        monitor.delete()
        subjects.forget(project=monitor.project, kind="monitor", reference=monitor.name)


def _switch(monitor: Monitor, paused: bool, what: str, sentence: str) -> Monitor:
    with transaction.atomic():
        monitor = _locked(monitor)
        if monitor.is_paused != paused:
            monitor.is_paused = paused
            monitor.save(update_fields=["is_paused"])
            following.note(monitor, what, sentence)
    return monitor


def _locked(monitor: Monitor) -> Monitor:
    """Raises Missing for one that was let go meanwhile."""
    try:
        return listed(project=monitor.project).select_for_update(of=("self",)).get(pk=monitor.pk)
    except Monitor.DoesNotExist:
        raise Missing(f"There is no monitor {monitor.name} in this project.") from None


def _taken(name: str) -> Conflict:
    sentence = f"There is already a monitor called {name} in this project."
    return Conflict(sentence, code="name_taken", fields={"name": [sentence]})


def _named(changed: Mapping[str, Any]) -> str:
    """Columns, as people say them."""
    words = list(dict.fromkeys(WORDS.get(key, key.replace("_", " ")) for key in changed))
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else words[0]


WORDS = {
    "version": "the model", "model": "the model", "alias": "the model", "external": "the model",
    "labels": "the model", "task": "the model", "dataset_version": "the reference",
    "split": "the reference", "traffic_from": "the reference", "traffic_until": "the reference",
    "window_rows": "the window", "window_hours": "the window", "minimum_rows": "the least rows",
    "grace_minutes": "the wait for late rows", "rules": "rules of alerts",
    "alerting": "who is told", "teacher_share": "how often the teacher is asked",
    "teacher_daily": "the most questions a day", "teacher": "the teacher",
    "retention_days": "how long rows are kept", "kept_share": "how many rows are kept",
    "privacy": "what is kept of rows", "retraining": "the policy of retraining",
    "name": "the name", "notes": "notes",
}  # fmt: skip
