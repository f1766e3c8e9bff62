"""What people can do with runs: launch, pause, resume, cancel, retry, edit, launch again.

Each change of status is one conditional update (docs/runs.md has the table), so that of several
people and a worker at the same moment exactly one wins.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from distillhub.lib.errors import Conflict, Invalid, Missing
from projects.models import Project, User
from projects.services import subjects
from training import catalog
from training.charts import run_colours
from training.engine.config import OF_A_TEACHER
from training.engine.terms import SCHEDULED
from training.models import Run, Study, run_announcements
from training.services import estimates, preflight, references, run_slices
from training.services.references import Asked
from training.worker import checkpoints, dispatch, waiting

MOST_TAGS = 20
LONGEST_TAG = 50
LONGEST_NAME = 200
LONGEST_NOTES = 20_000
MOST_EPOCHS = 10_000
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


def preview(*, project: Project, configuration: Any) -> dict[str, Any]:
    """The configuration as it would be frozen: complete, every reference pinned.

    Raises Invalid with `losses.0.temperature`, `teachers.1`, … in its fields.
    """
    configuration, _ = _priority(configuration)
    return references.understand(project=project, asked=configuration).config


def foresee(*, project: Project, configuration: Any) -> dict[str, Any]:
    """What a run would be and take, without queueing it: `{"config", "estimates", "warnings"}`, the
    estimates as `estimates.Estimate` says. Raises Invalid like `preview`."""
    configuration, _ = _priority(configuration)
    asked = references.understand(project=project, asked=configuration)
    parts: dict[str, Any] = {
        "config": asked.parsed,
        "dataset": asked.dataset,
        "student": asked.student,
        "teachers": asked.teachers,
    }
    found = estimates.estimate(**parts)
    return {
        "config": asked.config,
        "estimates": found.as_dict(),
        "warnings": preflight.warnings(found=found, **parts),
    }


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """Of a study: which way of training a run stands for, and which its control."""

    study: Study
    arm: str
    control: str = "control"


@transaction.atomic
def launch(
    *,
    project: Project,
    configuration: Any,
    by: User,
    clone_of: Run | None = None,
    member: Member | None = None,
) -> Run:
    """Freeze the configuration and queue the run, and its control where one is asked for. Beside
    the configuration's own keys there may be `priority`, which people change later.

    Raises Invalid like `preview`, and Conflict in an archived project.
    """
    if project.archived_at is not None:
        raise Conflict("This project is archived; nothing new can be trained in it.")
    configuration, priority = _priority(configuration)
    asked = references.understand(project=project, asked=configuration)
    needs, of_control = _needs(asked)
    number = next_number(project)
    told = f"Launched by {by.display_name}"
    if clone_of is not None:
        told += f" as a clone of run {clone_of.number}"
    if member is not None:
        told += f" for study {member.study.number}"
    shared: dict[str, Any] = {"by": by, "told": told, "priority": priority, "member": member}
    run = _create(project, number, asked, asked.config, needs=needs, **shared)
    if asked.config["control"]:
        alone = on_labels_alone(asked.config)
        _create(project, number + 1, asked, alone, needs=of_control, control_of=run, **shared)
    return run


def next_number(project: Project) -> int:
    """Of the project's next run; call it inside a transaction."""
    return Run.objects.next_number(project)


def configuration_of(*, run: Run) -> dict[str, Any]:
    """What to launch to have this run again, with its references as they were pinned."""
    return {**run.config, "name": run.name}


def clone(*, run: Run, changes: Mapping[str, Any] | None = None, by: User) -> Run:
    """Launch it again, with `changes` laid over its configuration (those under `training` and
    `resources` key by key; another scheme drops the stages). Raises like `launch`, and Conflict of
    a tracked run."""
    _refuse_tracked(run, "cloned")
    config = configuration_of(run=run)
    if "scheme" in (changes or {}):
        config.pop("stages", None)
    for name, value in (changes or {}).items():
        merge = name in ("training", "resources") and isinstance(value, Mapping)
        config[name] = {**config.get(name, {}), **value} if merge else value
    return launch(project=run.project, configuration=config, by=by, clone_of=run)


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
    _refuse_tracked(run, "paused")
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
    _refuse_tracked(run, "tried again")
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


def _refuse_tracked(run: Run, done: str) -> None:
    if run.is_tracked:
        sentence = f"Run {run.number} is trained elsewhere; it cannot be {done} here."
        raise Conflict(sentence, code="trained_elsewhere")


def _create(
    project: Project,
    number: int,
    asked: Asked,
    config: dict[str, Any],
    *,
    needs: Mapping[str, Any],
    priority: int,
    by: User,
    told: str,
    member: Member | None,
    control_of: Run | None = None,
) -> Run:
    teachers = asked.teachers if control_of is None else []
    # A control reads as its run's student does, which may be its teacher's way: it waits, too.
    needed = asked.teachers if catalog.takes_inputs(asked.config) else teachers
    awaited = {
        one.awaited.pk: one.awaited for one in (asked.student, *needed) if one.awaited is not None
    }
    run = Run.objects.create(
        project=project,
        number=number,
        name=config["name"],
        status=Run.Status.WAITING if awaited else Run.Status.QUEUED,
        config=config,
        task=config["task"],
        dataset_version=asked.dataset,
        student=asked.student.version,
        control_of=control_of,
        study=member.study if member else None,
        arm=(member.control if control_of else member.arm) if member else "",
        created_by=by,
        queue=config["resources"]["queue"],
        priority=priority,
        **needs,
        queued_at=None if awaited else Now(),
    )
    run.refresh_from_db(fields=["queued_at"])
    run.teachers.set([one.version for one in teachers if one.version is not None])
    run.waits_for.set(awaited.values())
    if control_of is None:  # a control is told beside its run
        run_slices.keep(run)
    if awaited:
        numbers = ", ".join(str(one.number) for one in awaited.values())
        run.tell("waiting", f"{told}; waits for run {numbers}.", by=by)
        # The awaited run may have ended between our look at it and this transaction's writes.
        waiting.look_again(run)
    else:
        run.tell("queued", f"{told}.", by=by)
        dispatch.wake(run)
    run_announcements.announce(run, "run.queued", f"{told}.", by=by)
    return run


def _priority(configuration: Any) -> tuple[Any, int]:
    """A configuration without the priority that was sent with it. Raises Invalid."""
    if not isinstance(configuration, Mapping) or "priority" not in configuration:
        return configuration, Run.Priority.NORMAL
    rest = {name: value for name, value in configuration.items() if name != "priority"}
    return rest, priority_of(configuration["priority"])


def priority_of(word: Any) -> int:
    """Of `low`, `normal` or `high`. Raises Invalid."""
    for priority in Run.Priority:
        if word == priority.label:
            return priority
    sentence = f"It must be one of {', '.join(one.label for one in Run.Priority)}."
    raise Invalid(f"priority: {sentence}", fields={"priority": [sentence]})


def _needs(asked: Asked) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the run, and its control, will need of a worker, and for how long."""
    parts: dict[str, Any] = {
        "dataset": asked.dataset,
        "student": asked.student,
        "teachers": asked.teachers,
    }
    alone = estimates.estimate(config=dataclasses.replace(asked.parsed, control=False), **parts)
    memory = asked.parsed.memory_mib
    needs = {
        "gpus": asked.parsed.gpus,
        "memory_bytes": alone.memory_bytes if memory is None else memory << 20,
        "expected_seconds": alone.seconds,
    }
    if not asked.config["control"] or alone.seconds is None:
        return needs, needs
    both = estimates.estimate(config=asked.parsed, **parts).seconds or 2 * alone.seconds
    return needs, needs | {"expected_seconds": max(0.0, both - alone.seconds)}


def on_labels_alone(config: dict[str, Any]) -> dict[str, Any]:
    """The same student, data, seed and number of epochs, on hard labels alone.

    Of stages and of generations the epochs add up, and where each row is read for its answer and
    for the reasons they count twice: the control may spend what the run spends. The rate is the
    last stage's: in it the student learns to answer.
    """
    training, stages = config["training"], config.get("stages", [])
    reasons = [one for one in config["losses"] if catalog.needs_column(one["kind"]) == "rationale"]
    if again := catalog.generations(config["scheme"]) + bool(reasons):  # each row is read twice
        training = {**training, "epochs": min(MOST_EPOCHS, training["epochs"] * (1 + again))}
    if stages:
        epochs = [stage.get("epochs") or training["epochs"] for stage in stages]
        rate = stages[-1].get("learning_rate") or training["learning_rate"]
        training = {**training, "epochs": sum(epochs), "learning_rate": rate}
    every = [*config["losses"], *(loss for stage in stages for loss in stage["losses"])]
    hard = next((loss for loss in every if loss["kind"] == "hard_labels"), {"kind": "hard_labels"})
    alone = {name: value for name, value in hard.items() if name not in SCHEDULED}
    selected_by = training["selection_metric"].removeprefix("val/")
    needs_teacher = selected_by in {*OF_A_TEACHER, *catalog.scheme_metrics(config["scheme"])}
    return {
        **{name: value for name, value in config.items() if name != "stages"},
        "name": f"{config['name'][: LONGEST_NAME - 10]} · control",
        "teachers": [],
        "scheme": "offline",
        "losses": [{**alone, "weight": 1.0}],
        "training": {**training, **({"selection_metric": "auto"} if needs_teacher else {})},
        "control": False,
        "exports": [],
    }


def _has_open_references(run: Run) -> bool:
    asked = [run.config["student"], *run.config["teachers"]]
    names = [one if isinstance(one, str) else one["model"] for one in asked]
    return any(references.RUN.fullmatch(name) for name in names)
