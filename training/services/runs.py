"""What people can do with runs: launch, cancel, resume, edit, launch again."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction
from django.db.models import Max
from django.db.models.functions import Now

from distillhub.lib.errors import Conflict, Invalid, Missing
from projects.models import Project, User
from training import catalog
from training.engine.config import OF_A_TEACHER
from training.engine.terms import SCHEDULED
from training.models import Run
from training.services import preflight, references
from training.services.references import Asked
from training.worker import dispatch, waiting

MOST_TAGS = 20
LONGEST_TAG = 50
LONGEST_NAME = 200
LONGEST_NOTES = 20_000
MOST_EPOCHS = 10_000

WORKING = [Run.Status.STARTING, Run.Status.TRAINING, Run.Status.EVALUATING]
RESTING = [Run.Status.WAITING, Run.Status.QUEUED, Run.Status.PAUSED]


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
    return references.understand(project=project, asked=configuration).config


def foresee(*, project: Project, configuration: Any) -> dict[str, Any]:
    """What a run would be and take, without queueing it: `{"config", "estimates", "warnings"}`, the
    estimates as `preflight.Estimate` says. Raises Invalid like `preview`."""
    asked = references.understand(project=project, asked=configuration)
    parts: dict[str, Any] = {
        "config": asked.parsed,
        "dataset": asked.dataset,
        "student": asked.student,
        "teachers": asked.teachers,
    }
    found = preflight.estimate(**parts)
    return {
        "config": asked.config,
        "estimates": found.as_dict(),
        "warnings": preflight.warnings(found=found, **parts),
    }


@transaction.atomic
def launch(*, project: Project, configuration: Any, by: User) -> Run:
    """Freeze the configuration and queue the run, and its control where one is asked for.

    Raises Invalid like `preview`, and Conflict in an archived project.
    """
    if project.archived_at is not None:
        raise Conflict("This project is archived; nothing new can be trained in it.")
    asked = references.understand(project=project, asked=configuration)
    # Two launches at the same moment get two numbers: the project's row is locked for the choice.
    Project.objects.select_for_update().get(pk=project.pk)
    newest = Run.objects.filter(project=project).aggregate(newest=Max("number"))["newest"] or 0
    run = _create(project, newest + 1, asked, asked.config, by=by)
    if asked.config["control"]:
        _create(project, newest + 2, asked, _control(asked.config), by=by, control_of=run)
    return run


def configuration_of(*, run: Run) -> dict[str, Any]:
    """What to launch to have this run again, with its references as they were pinned."""
    return {**run.config, "name": run.name}


def clone(*, run: Run, changes: Mapping[str, Any] | None = None, by: User) -> Run:
    """Launch it again, with `changes` laid over its configuration (those under `training` and
    `resources` key by key; another scheme drops the stages). Raises like `launch`."""
    config = configuration_of(run=run)
    if "scheme" in (changes or {}):
        config.pop("stages", None)
    for name, value in (changes or {}).items():
        merge = name in ("training", "resources") and isinstance(value, Mapping)
        config[name] = {**config.get(name, {}), **value} if merge else value
    return launch(project=run.project, configuration=config, by=by)


def cancel(*, run: Run, by: User) -> Run:
    """A run that waits is cancelled at once; one that trains is asked to leave, within seconds.

    Of a cancellation and a completion at the same moment exactly one wins. Raises Conflict when the
    run is over; cancelling twice is no fault.
    """
    for _ in range(10):  # it may move between the two looks, such as from queued to starting
        with transaction.atomic():
            if run.move_to(
                Run.Status.CANCELLED,
                among=RESTING,
                cancel_requested_at=Now(),
                finished_at=Now(),
            ):
                run.tell("cancelled", f"Cancelled by {by.display_name} before it began.", by=by)
                waiting.settle(run)
                return run
            if run.move_to(Run.Status.CANCELLING, among=WORKING, cancel_requested_at=Now()):
                run.tell("cancelling", f"{by.display_name} asked it to stop.", by=by)
                return run
        run.refresh_from_db()
        if run.status in (Run.Status.CANCELLING, Run.Status.CANCELLED):
            return run
        if run.is_final:
            break
    raise Conflict(f"Run {run.number} is already {run.status}.", code="already_over")


@transaction.atomic
def resume(*, run: Run, by: User) -> Run:
    """Let a failed or cancelled run go on from its last checkpoint, as the same run.

    Raises Conflict when it is in another state, or what it waits for has failed.
    """
    changes: dict[str, Any] = {
        "cancel_requested_at": None,
        "error": None,
        "finished_at": None,
        "retry_at": None,
        "times_lost": 0,
        "death_step": None,
        "deaths_there": 0,
    }
    over = [Run.Status.FAILED, Run.Status.CANCELLED]
    if _has_open_references(run):
        for upstream in run.waits_for.all():
            if upstream.status in over:
                raise Conflict(
                    f"It needs the model of run {upstream.number}, which is {upstream.status}. "
                    f"Resume run {upstream.number} first."
                )
        moved = run.move_to(Run.Status.WAITING, among=over, **changes)
        if moved:
            run.tell("waiting", f"Resumed by {by.display_name}.", by=by)
            waiting.release(run)
    else:
        moved = run.move_to(Run.Status.QUEUED, among=over, queued_at=Now(), **changes)
        if moved:
            run.tell("queued", f"Resumed by {by.display_name}.", by=by)
            dispatch.wake(run)
    if not moved:
        run.refresh_from_db()
        raise Conflict(
            f"Only a failed or cancelled run can be resumed; run {run.number} is {run.status}.",
            code="not_resumable",
        )
    return run


def edit(
    *,
    run: Run,
    name: str | None = None,
    notes: str | None = None,
    tags: Sequence[str] | None = None,
    by: User,
) -> Run:
    """Change what people say about a run; what it trains stays frozen. Raises Invalid."""
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
    if faults:
        run.refresh_from_db(fields=changed)
        raise Invalid(next(iter(faults.values()))[0], fields=faults)
    if changed:
        run.save(update_fields=changed)
    return run


def _create(
    project: Project,
    number: int,
    asked: Asked,
    config: dict[str, Any],
    *,
    by: User,
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
        created_by=by,
        queue=config["resources"]["queue"],
        queued_at=None if awaited else Now(),
    )
    run.refresh_from_db(fields=["queued_at"])
    run.teachers.set([one.version for one in teachers if one.version is not None])
    run.waits_for.set(awaited.values())
    if awaited:
        numbers = ", ".join(str(one.number) for one in awaited.values())
        run.tell("waiting", f"Launched by {by.display_name}; waits for run {numbers}.", by=by)
        # The awaited run may have ended between our look at it and this transaction's writes.
        waiting.look_again(run)
    else:
        run.tell("queued", f"Launched by {by.display_name}.", by=by)
        dispatch.wake(run)
    return run


def _control(config: dict[str, Any]) -> dict[str, Any]:
    """The same student, data, seed and number of epochs, on hard labels alone.

    Of stages and of generations the epochs add up: the control may spend what the run spends. The
    rate is the last stage's: in it the student learns to answer.
    """
    training, stages = config["training"], config.get("stages", [])
    if again := catalog.generations(config["scheme"]):
        training = {**training, "epochs": min(MOST_EPOCHS, training["epochs"] * (1 + again))}
    if stages:
        epochs = [stage.get("epochs") or training["epochs"] for stage in stages]
        rate = stages[-1].get("learning_rate") or training["learning_rate"]
        training = {**training, "epochs": sum(epochs), "learning_rate": rate}
    every = [*config["losses"], *(loss for stage in stages for loss in stage["losses"])]
    hard = next((loss for loss in every if loss["kind"] == "hard_labels"), {"kind": "hard_labels"})
    alone = {name: value for name, value in hard.items() if name not in SCHEDULED}
    needs_teacher = training["selection_metric"].removeprefix("val/") in OF_A_TEACHER
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
