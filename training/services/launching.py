"""How runs begin: what a configuration would be and take, launching it, and launching it again.

A configuration is frozen with every reference pinned to a version (references.py).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from distillhub.lib.errors import Conflict, Invalid
from projects.models import Project, User
from training import catalog
from training.engine.config import OF_A_TEACHER
from training.engine.terms import SCHEDULED
from training.models import Run, Study, run_announcements
from training.services import estimates, preflight, references, run_slices, runs
from training.services.references import Asked
from training.worker import dispatch, waiting

MOST_EPOCHS = 10_000


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
    runs.refuse_tracked(run, "cloned")
    config = configuration_of(run=run)
    if "scheme" in (changes or {}):
        config.pop("stages", None)
    for name, value in (changes or {}).items():
        merge = name in ("training", "resources") and isinstance(value, Mapping)
        config[name] = {**config.get(name, {}), **value} if merge else value
    return launch(project=run.project, configuration=config, by=by, clone_of=run)


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
        "name": f"{config['name'][: runs.LONGEST_NAME - 10]} · control",
        "teachers": [],
        "scheme": "offline",
        "losses": [{**alone, "weight": 1.0}],
        "training": {**training, **({"selection_metric": "auto"} if needs_teacher else {})},
        "control": False,
        "exports": [],
    }


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
