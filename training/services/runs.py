"""What people can do with runs that are there: pause, resume, cancel, retry, edit, archive
(launching.py makes them).

Each change of status is one conditional update (docs/runs.md has the table), so that of several
people and a worker at the same moment exactly one wins.
"""

from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from distillhub.lib.errors import Conflict, Invalid, Missing
from projects.models import Project, User
from projects.services import subjects
from training.charts import run_colours
from training.models import Run, run_announcements
from training.services import references
from training.worker import checkpoints, dispatch, waiting

MOST_TAGS = 20
LONGEST_TAG = 50
LONGEST_NAME = 200
LONGEST_NOTES = 20_000
TRIES = 10  # a run may move between two looks, such as from queued to starting

#: What a run that goes on leaves behind it.
AFRESH: dict[str, Any] = {
    "cancel_requested_at": None,
    "pause_requested_at": None,
    "error": None,
    "finished_at": None,
    "retry_at": None,
    "place": None,
    "times_lost": 0,
    "archived_at": None,
    "death_step": None,
    "deaths_there": 0,
}
#: And one that begins again. A job folder that is nowhere is made anew by the next worker, which
#: removes what was measured.
FORGOTTEN: dict[str, Any] = {
    "job_home": "",
    "journal_offset": 0,
    "stage": "",
    "step": 0,
    "steps": None,
    "fraction": 0.0,
    "metrics": {},
    "summary": {},
    "started_at": None,
}

#: Faults that would come again, and what to do about each instead.
INCURABLE = {
    "bad_configuration": "clone it and change what the fault names",
    "bad_data": "clone it with a dataset version that can be used",
    "bad_model": "clone it with another model version",
    "diverged": "clone it with a lower learning rate",
}

#: From which statuses a person may ask for what; resuming also withdraws a pause that was asked for
#: and has not come yet.
ACTIONS: dict[str, list[Run.Status]] = {
    "pause": [Run.Status.WAITING, Run.Status.QUEUED, *Run.WORKING],
    "resume": [Run.Status.PAUSED, Run.Status.FAILED, Run.Status.CANCELLED],
    "retry": [Run.Status.FAILED],
    "cancel": [*Run.RESTING, *Run.WORKING],
    "move": [Run.Status.QUEUED],
}


def find(*, project: Project, number: int) -> Run:
    """Raises Missing."""
    run = (
        Run.objects.select_related(
            "project",
            "dataset_version__dataset",
            "student__model",
            "output__model",
            "control_of",
            "created_by",
            "study",
            "worker",
        )
        .filter(project=project, number=number)
        .first()
    )
    if run is None:
        raise Missing(f"There is no run {number} in this project.")
    return run


def actions(run: Run) -> list[str]:
    """What may be asked of it now."""
    if run.is_tracked:  # of what is trained elsewhere only the record ends, and opens again
        if run.status == Run.Status.CANCELLED:
            return ["resume"]
        return [] if run.is_final else ["cancel"]
    if run.is_pausing:
        return ["resume", "cancel"]
    found = [name for name, statuses in ACTIONS.items() if run.status in statuses]
    if run.status == Run.Status.FAILED and (run.error or {}).get("code") in INCURABLE:
        return []
    return found


def cancel(*, run: Run, by: User) -> Run:
    """A run that waits is cancelled at once; one that trains is asked to leave, within seconds; of
    a tracked one the record ends, and what trains it is refused when it next sends anything.

    Of a cancellation and a completion at the same moment exactly one wins. Raises Conflict when the
    run is over; cancelling twice is no fault.
    """
    for _ in range(TRIES):
        before = run.status
        with transaction.atomic():
            if run.move_to(
                Run.Status.CANCELLED,
                among=Run.RESTING,
                cancel_requested_at=Now(),
                finished_at=Now(),
            ):
                was = "paused" if before == Run.Status.PAUSED else "waiting"
                at = f" at step {run.step}" if run.step else ""
                run.tell("cancelled", f"Cancelled by {by.display_name} while {was}{at}.", by=by)
                waiting.settle(run)
                return run
            if run.is_tracked and run.move_to(
                Run.Status.CANCELLED,
                among=Run.WORKING,
                cancel_requested_at=Now(),
                finished_at=Now(),
            ):
                run.tell("cancelled", f"Cancelled by {by.display_name} at step {run.step}.", by=by)
                return run
            if run.move_to(Run.Status.CANCELLING, among=Run.WORKING, cancel_requested_at=Now()):
                run.tell("cancelling", f"{by.display_name} asked it to stop.", by=by)
                return run
        run.refresh_from_db()
        if run.status in (Run.Status.CANCELLING, Run.Status.CANCELLED):
            return run
        if run.is_final:
            break
    raise Conflict(f"Run {run.number} is already {run.status}.", code="already_over")


def pause(*, run: Run, by: User) -> Run:
    """A run that waits rests at once; one that trains writes a checkpoint first, within seconds.

    Of a pause and a completion at the same moment exactly one wins. Raises Conflict when the run is
    over or being cancelled; pausing twice is no fault.
    """
    refuse_tracked(run, "paused")
    for _ in range(TRIES):
        before = run.status
        with transaction.atomic():
            if run.move_to(
                Run.Status.PAUSED, among=[Run.Status.WAITING, Run.Status.QUEUED], retry_at=None
            ):
                was = "while it waited" if before == Run.Status.WAITING else "in the queue"
                run.tell("paused", f"Paused by {by.display_name} {was}.", by=by)
                _tell_waiting(run, "was paused; it waits until that is resumed and finished")
                return run
            working = Run.objects.filter(
                pk=run.pk, status__in=Run.WORKING, pause_requested_at__isnull=True
            )
            if working.update(pause_requested_at=Now()):
                run.refresh_from_db()
                told = f"{by.display_name} asked it to pause; it writes a checkpoint first."
                run.tell("pausing", told, by=by)
                _tell_waiting(run, "is being paused; it waits until that is resumed and finished")
                return run
        run.refresh_from_db()
        if run.status == Run.Status.PAUSED or run.is_pausing:
            return run
        if run.is_final or run.status == Run.Status.CANCELLING:
            break
    was = "being cancelled" if run.status == Run.Status.CANCELLING else f"already {run.status}"
    raise Conflict(f"Run {run.number} is {was}; it cannot be paused.", code="not_pausable")


def resume(*, run: Run, by: User) -> Run:
    """Let a paused, failed or cancelled run go on from its last checkpoint, as the same run; of one
    that is to pause and has not yet, the wish is withdrawn.

    A tracked run that is over takes again what it is sent.

    Raises Conflict when it is in another state, would fail again, or what it waits for has failed.
    """
    if run.is_tracked:
        return _reopen(run, by=by)
    kept_on = Run.objects.filter(
        pk=run.pk, status__in=Run.WORKING, pause_requested_at__isnull=False
    )
    with transaction.atomic():
        if kept_on.update(pause_requested_at=None):
            run.refresh_from_db()
            run.tell("training", f"{by.display_name} wished it to go on after all.", by=by)
            return run
    among = ACTIONS["resume"]
    if not _again(run, among=among, told=f"Resumed by {by.display_name}", by=by):
        raise Conflict(
            "Only a paused, failed or cancelled run can be resumed; "
            f"run {run.number} is {run.status}.",
            code="not_resumable",
        )
    return run


@transaction.atomic
def retry(*, run: Run, beginning: bool = False, by: User) -> Run:
    """Try a failed run once more, as the same run: from its newest verified checkpoint, or from the
    `beginning`, which forgets what was measured.

    Raises Conflict when it has not failed, would fail again, or what it waits for has failed.
    """
    refuse_tracked(run, "tried again")
    start = "the beginning" if beginning else "its newest checkpoint"
    told = f"Tried again by {by.display_name} from {start}"
    changes: dict[str, Any] = {}
    if beginning:
        changes = FORGOTTEN
        checkpoints.forget(run)
    if not _again(run, among=ACTIONS["retry"], told=told, by=by, **changes):
        raise Conflict(
            f"Only a failed run can be tried again; run {run.number} is {run.status}.",
            code="not_retryable",
        )
    return run


@transaction.atomic
def _again(run: Run, *, among: Sequence[str], told: str, by: User, **changes: Any) -> bool:
    """Back to the queue, or to wait for what it needs."""
    run.refresh_from_db()
    fault = (run.error or {}).get("code", "")
    if run.status == Run.Status.FAILED and fault in INCURABLE:
        raise Conflict(
            f"It would fail in the same way again ({fault.replace('_', ' ')}): {INCURABLE[fault]}.",
            code="would_fail_again",
        )
    changes = AFRESH | changes
    if _has_open_references(run):
        for upstream in run.waits_for.all():
            if upstream.status in (Run.Status.FAILED, Run.Status.CANCELLED):
                again = "Retry" if upstream.status == Run.Status.FAILED else "Resume"
                raise Conflict(
                    f"It needs the model of run {upstream.number}, which is {upstream.status}. "
                    f"{again} run {upstream.number} first."
                )
        moved = run.move_to(Run.Status.WAITING, among=among, **changes)
        if moved:
            run.tell("waiting", f"{told}.", by=by)
            waiting.release(run)
    else:
        moved = run.move_to(Run.Status.QUEUED, among=among, queued_at=Now(), **changes)
        if moved:
            run.tell("queued", f"{told}.", by=by)
            dispatch.wake(run)
    if moved:
        run_announcements.announce(run, "run.resumed", f"{told}.", by=by)
        if run.study is not None:
            run.study.reopen()
        if "job_home" in changes:
            run.checkpoints.all().delete()  # their files are swept
        _tell_waiting(run, "goes on")
    else:
        run.refresh_from_db()
    return moved


def _tell_waiting(run: Run, what: str) -> None:
    waiting.tell(run, f"Run {run.number}, whose model it needs, {what}.")


def edit(
    *,
    run: Run,
    name: str | None = None,
    notes: str | None = None,
    tags: Sequence[str] | None = None,
    colour: str | None = None,
    by: User,
) -> Run:
    """Change what people say about a run; what it trains stays frozen. `colour` is one of twenty
    (charts/run_colours.py), or empty for that of its number. Raises Invalid."""
    faults: dict[str, list[str]] = {}
    changed = []
    if name is not None:
        run.name = name.strip()
        changed.append("name")
        if not 1 <= len(run.name) <= LONGEST_NAME:
            faults["name"] = [f"A name has 1 to {LONGEST_NAME} characters."]
    if notes is not None:
        run.notes = notes
        changed.append("notes")
        if len(notes) > LONGEST_NOTES:
            faults["notes"] = [f"Notes have at most {LONGEST_NOTES} characters."]
    if tags is not None:
        run.tags = list(dict.fromkeys(tag.strip() for tag in tags if tag.strip()))
        changed.append("tags")
        if len(run.tags) > MOST_TAGS or any(len(tag) > LONGEST_TAG for tag in run.tags):
            faults["tags"] = [f"At most {MOST_TAGS} tags of at most {LONGEST_TAG} characters."]
    if colour is not None:
        run.colour = colour.lower()
        changed.append("colour")
        if run.colour and run.colour not in run_colours.PLACES:
            known = ", ".join(run_colours.LIGHT)
            faults["colour"] = [f"One of {known}, or nothing for that of its number."]
    if faults:
        run.refresh_from_db(fields=changed)
        raise Invalid(next(iter(faults.values()))[0], fields=faults)
    if changed:
        run.save(update_fields=changed)
    if name is not None:
        number = str(run.number)
        subjects.renamed(project=run.project, kind="run", reference=number, title=run.name)
    return run


def archive(*, run: Run, by: User) -> Run:
    """With its controls: in no list unless asked, and otherwise as it was. Harmless twice.
    Raises Conflict for one that is not over."""
    with transaction.atomic():
        put_away = Run.objects.filter(Q(pk=run.pk) | Q(control_of=run), status__in=Run.FINAL)
        put_away.filter(archived_at=None).update(archived_at=Now())
        run.refresh_from_db(fields=["status", "archived_at"])
        if not run.is_final:
            sentence = f"Run {run.number} is {run.status}; cancel it, or wait for its end."
            raise Conflict(sentence, code="not_over")
    return run


def restore(*, run: Run, by: User) -> Run:
    """Back into lists, with its controls. Harmless twice."""
    Run.objects.filter(Q(pk=run.pk) | Q(control_of=run)).update(archived_at=None)
    run.archived_at = None
    return run


def _reopen(run: Run, *, by: User) -> Run:
    opened: dict[str, Any] = {"archived_at": None, "cancel_requested_at": None, "error": None}
    opened |= {"finished_at": None, "fraction": 0.0}
    with transaction.atomic():
        if run.move_to(Run.Status.TRAINING, among=Run.FINAL, **opened):
            sentence = f"Resumed by {by.display_name} at step {run.step}."
            run.tell("training", sentence, by=by)
            run_announcements.announce(run, "run.resumed", sentence, by=by)
    return run


def refuse_tracked(run: Run, done: str) -> None:
    """Raises Conflict for a run that is trained elsewhere."""
    if run.is_tracked:
        sentence = f"Run {run.number} is trained elsewhere; it cannot be {done} here."
        raise Conflict(sentence, code="trained_elsewhere")


def _has_open_references(run: Run) -> bool:
    asked = [run.config["student"], *run.config["teachers"]]
    names = [one if isinstance(one, str) else one["model"] for one in asked]
    return any(references.RUN.fullmatch(name) for name in names)
