"""Sweeps: trials of one configuration with some of its options varied, and the best of them.

The rows are the sweep: `study.asked` says what is varied, and every `Trial` what was tried. Which
trial comes next is chosen by a worker (worker/sweeps.py), which has it launched here, through the
same door as any run. A trial looks at no test row.
"""

from collections.abc import Callable, Mapping
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from distillhub.lib.errors import Conflict, Invalid
from projects.models import Project, User
from training import catalog
from training.engine.config import OF_A_TEACHER
from training.engine.export_config import FALLING
from training.models import Run, Study, Trial
from training.services import launching, references, sweep_space
from training.services.launching import Member
from training.services.study_parts import GREATEST, LONGEST_NAME, Kind, is_taught, mapping, wrong
from training.worker import dispatch, sweep_search

KEY = "sweep"
SAMPLERS = ("tpe", "random", "grid")
TRIALS = 20
MOST_TRIALS = 500
AT_ONCE = 2
MOST_AT_ONCE = 32


def _understand(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Every fault at once."""
    sampler = asked.get("sampler", "tpe")
    read: dict[str, Callable[[], Any]] = {
        "space": lambda: sweep_space.understand(asked.get("space")),
        "sampler": lambda: _sampler(sampler),
        "trials": lambda: _trials(asked.get("trials")),
        "at_once": lambda: _whole(asked.get("at_once", AT_ONCE), "at_once", 1, MOST_AT_ONCE),
        "pruning": lambda: _switch(asked.get("pruning", sampler == "tpe"), "pruning"),
        "seed": lambda: _whole(asked.get("seed", 0), "seed", 0, GREATEST),
        "metric": lambda: _metric(asked.get("metric")),
        "control": lambda: _switch(asked["control"], "control") if "control" in asked else None,
    }
    found: dict[str, Any] = {}
    faults: dict[str, list[str]] = {}
    for name, reading in read.items():
        try:
            found[name] = reading()
        except Invalid as fault:
            faults |= fault.fields
    if faults:
        field, told = next(iter(faults.items()))
        raise Invalid(f"{field}: {told[0]}", fields=faults)
    return found


def _sampler(value: Any) -> str:
    if value not in SAMPLERS:
        raise wrong("sampler", f"It must be one of {', '.join(SAMPLERS)}.")
    return str(value)


def _trials(value: Any) -> int | None:
    return None if value is None else _whole(value, "trials", 1, MOST_TRIALS)


def _switch(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise wrong(name, "It must be true or false.")
    return value


def _metric(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise wrong("metric", "It must be a metric of validation rows, such as val/accuracy.")
    return value


def _whole(value: Any, name: str, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise wrong(name, f"It must be a whole number from {least} to {most}.")
    return value


def _plan(project: Project, asked: Mapping[str, Any], study: Study, by: User) -> None:
    """Check and pin everything; a worker asks for the first trials as soon as this is committed."""
    plan = study.asked
    base = dict(asked["base"])
    if plan["metric"] is not None:
        metric = f"val/{plan['metric'].removeprefix('val/')}"
        base["training"] = {**mapping(base.get("training")), "selection_metric": metric}
    space = plan["space"]
    complete = sweep_space.settle(project, base, space)
    chosen = references.understand(project=project, asked=complete).config
    plan["metric"] = chosen["training"]["selection_metric"]
    plan["falls"] = plan["metric"].removeprefix("val/") in (*FALLING, "kl", "teacher_rmse")
    plan["arms"] = ["distilled" if is_taught(complete) else "trained"]
    if plan["control"] is None:  # nobody said: where one can be searched for, it is
        plan["control"] = _may_have_control(chosen, plan)
    if plan["control"]:
        plan["arms"].append("control")
    _refuse_unequal(chosen, plan)
    complete["training"]["selection_metric"] = plan["metric"]
    plan["base"] = complete
    plan["trials"] = plan["trials"] or _usual_trials(plan)
    plan["first"] = sweep_space.point_of(chosen, space)
    dispatch.tell_study(study.pk)


def _usual_trials(plan: Mapping[str, Any]) -> int:
    """A grid as a whole, where that can be done."""
    whole = sweep_space.size(plan["space"])
    if plan["sampler"] == "grid" and whole is not None:
        if whole > MOST_TRIALS:
            sentence = f"The grid has {whole} points; at most {MOST_TRIALS} are tried: say trials."
            raise wrong("trials", sentence)
        return whole
    return min(TRIALS, whole or TRIALS)


def _refuse_unequal(config: Mapping[str, Any], plan: Mapping[str, Any]) -> None:
    """What would make scores of two trials, or of both ways, incomparable. Raises Invalid."""
    space, metric = plan["space"], plan["metric"].removeprefix("val/")
    beyond = [path for path in space if not path.startswith(sweep_search.SHARED)]
    if plan["sampler"] == "grid":
        endless = [path for path, one in space.items() if sweep_space.count(one) is None]
        faults = {f"space.{path}": ["A grid needs values, or a step."] for path in endless}
        if faults:
            raise Invalid(f"{endless[0]}: A grid needs values, or a step.", fields=faults)
    if metric == "loss" and (beyond or plan["control"]):
        told = beyond[0] if beyond else "the control"
        sentence = f"The loss itself differs with {told}. Judge trials by a score, such as accuracy"
        raise wrong("metric", f"{sentence}.")
    if not plan["control"]:
        return
    if plan["arms"][0] != "distilled":
        raise wrong("control", "Nobody teaches: there is nothing that a control would be without.")
    if metric in {*OF_A_TEACHER, *catalog.scheme_metrics(config["scheme"])}:
        raise wrong("metric", f"A control has no {metric}: nobody teaches it.")
    if catalog.takes_inputs(config):
        sentence = (
            "Here the student takes over how its teacher reads, and a control that is searched by "
            "itself would not. Sweep without it; the best trial's own study has its control."
        )
        raise wrong("control", sentence)


def _may_have_control(config: Mapping[str, Any], plan: Mapping[str, Any]) -> bool:
    try:
        _refuse_unequal(config, {**plan, "control": True})
    except Invalid:
        return False
    return True


def launch_trial(*, study: Study, arm: str, number: int, parameters: Mapping[str, Any]) -> Run:
    """Raises what `launching.launch` does."""
    config = configuration_of(study=study, arm=arm, parameters=parameters)
    config |= {"evaluation": {**mapping(config.get("evaluation")), "test": False}, "exports": []}
    config["name"] = f"{study.name[: LONGEST_NAME - 20]}, trial {number}"
    member = Member(study, arm)
    return launching.launch(
        project=study.project, configuration=config, by=study.created_by, member=member
    )


def configuration_of(*, study: Study, arm: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What a trial trains; of the control what the same student learns from labels alone. Raises
    Invalid where the project no longer has what it refers to."""
    config = sweep_space.lay(study.asked["base"], parameters) | {"control": False}
    if arm != "control":
        return config
    asked = references.understand(project=study.project, asked=config)
    return launching.on_labels_alone({**asked.config, "name": study.name})


def trials_of(study: Study) -> QuerySet[Trial]:
    """In order, each with its run. Raises Conflict of a study that is no sweep."""
    _must_be_sweep(study)
    return study.trials.select_related("run")


def space_of(study: Study, arm: str) -> sweep_space.Space:
    """What is varied in this way of training."""
    return sweep_search.space_of(study.asked, arm)


def best_of(study: Study, arm: str, trials: list[Trial]) -> Trial | None:
    """The complete trial that scored best on validation rows; of equal ones the first."""
    return sweep_search.best_of(study.asked, [one for one in trials if one.arm == arm])


@transaction.atomic
def stop(*, study: Study, by: User) -> Study:
    """Ask for no more trials; those in training go on. Stopping twice is no fault. Raises Conflict
    when the sweep is over."""
    _must_be_sweep(study)
    going = Study.objects.filter(pk=study.pk, status=Study.Status.RUNNING)
    if not going.update(stopped_at=Now()):
        raise Conflict(f"Study {study.number} is over.", code="already_over")
    study.refresh_from_db()
    dispatch.tell_study(study.pk)
    return study


@transaction.atomic
def resume(*, study: Study, by: User) -> Study:
    """Go on asking where it was stopped. Raises Conflict where all its trials were asked for."""
    _must_be_sweep(study)
    locked = Study.objects.select_for_update().get(pk=study.pk)
    if locked.stopped_at is None:
        if not locked.is_over:
            return locked
        sentence = "All its trials were asked for. Add some, and it goes on."
        raise Conflict(sentence, code="already_over")
    _go_on(locked)
    return locked


@transaction.atomic
def add_trials(*, study: Study, trials: Any, by: User) -> Study:
    """So many more of each way of training; a sweep that is over or was stopped goes on. Raises
    Invalid, and Conflict of another study."""
    _must_be_sweep(study)
    locked = Study.objects.select_for_update().get(pk=study.pk)
    most = MOST_TRIALS - int(locked.asked["trials"])
    if most < 1:
        raise Conflict(f"It has {MOST_TRIALS} trials, and no sweep has more.")
    locked.asked["trials"] += _whole(trials, "trials", 1, most)
    locked.save(update_fields=["asked"])
    _go_on(locked)
    return locked


def _go_on(study: Study) -> None:
    if study.project.archived_at is not None:
        raise Conflict("This project is archived; nothing new can be trained in it.")
    Study.objects.filter(pk=study.pk).update(stopped_at=None)
    study.reopen()
    study.refresh_from_db()
    dispatch.tell_study(study.pk)


def _must_be_sweep(study: Study) -> None:
    if study.kind != KEY:
        raise Conflict(f"Study {study.number} is no sweep.", code="no_sweep")


KIND = Kind(
    key=KEY,
    question="Which configuration is best, on validation rows?",
    plan=_plan,
    arms={"control": "Labels alone", "trained": "Trained", "distilled": "Distilled"},
    knows=frozenset(
        {"space", "sampler", "trials", "at_once", "pruning", "seed", "metric", "control"}
    ),
    understand=_understand,
)
