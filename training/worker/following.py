"""References of monitors: asked for, and taken anew when an alias moves on to another version.

`look_again` runs with the reaper: what a web process that died left undone is done within seconds.
"""

from datetime import timedelta
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from projects.models import ModelAlias, ModelVersion, User
from training.models import Monitor, MonitorLook
from training.worker import dispatch

JSON = dict[str, Any]

MOST_MARKS = 500
BARE = ("feature-extraction", "text-generation")  # whose models have no labels
UNDER_WAY = (MonitorLook.Status.QUEUED, MonitorLook.Status.WORKING)
LATE = timedelta(minutes=1)  # that rows of a reference's traffic have to arrive


def mark(what: str, sentence: str, version: ModelVersion | None) -> JSON:
    """One line of `Monitor.marks`. `what`: made, moved, kept, refit, edited, paused, resumed."""
    reference = version.reference if version is not None else None
    return {
        "at": timezone.now().isoformat(), "what": what, "sentence": sentence, "version": reference,
    }  # fmt: skip


def note(monitor: Monitor, what: str, sentence: str) -> None:
    kept = [*monitor.marks, mark(what, sentence, monitor.version)]
    monitor.marks = kept[-MOST_MARKS:]
    monitor.save(update_fields=["marks"])


def ask(monitor: Monitor, by: User) -> None:
    """Have the reference taken, where it can be yet. One that is under way began with what was true
    before: it is let go."""
    monitor.looks.filter(fits=True, status__in=UNDER_WAY).delete()
    if monitor.traffic_until is not None and monitor.traffic_until + LATE > timezone.now():
        # Those of an earlier reference are over: `look_again` asks when this one's time has passed.
        monitor.looks.filter(fits=True).delete()
        return
    look = MonitorLook.objects.create(monitor=monitor, fits=True, created_by=by)
    transaction.on_commit(partial(dispatch.call, dispatch.WATCH, look_id=look.pk), robust=True)


def ask_anew(monitor: Monitor, by: User, what: str, sentence: str) -> None:
    """Forget the reference, say why, and have it taken."""
    monitor.reference, monitor.reference_files, monitor.fitted_at = None, [], None
    kept = [*monitor.marks, mark(what, sentence, monitor.version)]
    monitor.marks = kept[-MOST_MARKS:]
    monitor.save(update_fields=["reference", "reference_files", "fitted_at", "marks"])
    ask(monitor, by)


def point(monitor: Monitor) -> str:
    """Let a monitor mean what its alias means now: "moved", "kept" where that cannot be watched
    by it, or nothing where it is so already. The row is locked by who calls."""
    if not monitor.alias or monitor.model_id is None:
        return ""
    alias = ModelAlias.objects.filter(model=monitor.model_id, name=monitor.alias)
    found = alias.select_related("version__model").first()
    if found is None or found.version_id == monitor.version_id:
        return ""
    version = found.version
    usable = version.status == ModelVersion.Status.READY and version.is_trained
    same = set(version.labels) == set(monitor.labels)
    several = (version.problem == "multi_label") == monitor.several_labels
    bare = version.problem == "regression" or version.model.task in BARE
    number = bare == (not monitor.labels)
    if not (usable and same and number and several):
        return "kept"
    # Labels keep their order: callers send probabilities in it, and rows that came hold them so.
    monitor.version = version
    monitor.save(update_fields=["version"])
    return "moved"


def look_again() -> int:
    """Follow aliases that moved, and take references whose time has passed; how many. Harmless to
    repeat, and to run in two processes at once."""
    count = 0
    for pk in _moved().values_list("pk", flat=True):
        with transaction.atomic():
            locked = Monitor.objects.select_for_update().filter(pk=pk).first()
            if locked is not None:
                count += _follow(locked)
    over = Monitor.objects.filter(
        project__archived_at=None, fitted_at=None, traffic_until__lte=timezone.now() - LATE
    ).exclude(Exists(MonitorLook.objects.filter(monitor=OuterRef("pk"), fits=True)))
    for pk in over.values_list("pk", flat=True):
        with transaction.atomic():
            locked = Monitor.objects.select_for_update().filter(pk=pk).first()
            if locked is not None and not locked.looks.filter(fits=True).exists():
                ask(locked, locked.created_by)
                count += 1
    return count


def _follow(monitor: Monitor) -> int:
    what = point(monitor)
    if what == "moved":
        assert monitor.version is not None
        sentence = f"{monitor.alias} moved to {monitor.version.reference}."
        ask_anew(monitor, monitor.created_by, what, sentence)
        return 1
    if what == "kept":
        alias = ModelAlias.objects.select_related("version__model").get(
            model=monitor.model_id, name=monitor.alias
        )
        sentence = (
            f"{monitor.alias} moved to {alias.version.reference}, which answers with other labels "
            "or none: this monitor stays with what it watched. Make another one for it."
        )
        if not any(one["sentence"] == sentence for one in monitor.marks):
            note(monitor, what, sentence)
    return 0


def _moved() -> QuerySet[Monitor]:
    there = ModelAlias.objects.filter(model=OuterRef("model"), name=OuterRef("alias"))
    return Monitor.objects.filter(
        Exists(there), ~Exists(there.filter(version=OuterRef("version"))), project__archived_at=None
    ).exclude(alias="")
