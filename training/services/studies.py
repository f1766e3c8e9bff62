"""Studies: several runs launched together to answer one question, and what they answered.

What kinds there are, which runs each launches and what it calls them: study_kinds.py.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Max

from distillhub.lib.errors import Conflict, Invalid, Missing
from projects.models import Project, User
from projects.services import subjects
from training.models import Run, Study
from training.services import launching, runs, scores, sweeps
from training.services.study_kinds import KINDS, label_of
from training.services.study_parts import LONGEST_NAME, SEEDS, mapping, seeds_of, wrong
from training.worker import study_costs

LONGEST_NOTES = 20_000


@dataclass(frozen=True, slots=True)
class Arm:
    """One way of training, over its seeds. Scores are None before there are any."""

    key: str
    label: str
    runs: list[Run]
    metric: str
    score: float | None  # mean of its seeds, on the split that was told at the end
    deviation: float | None  # of its seeds; None of one
    validation: float | None
    agreement: float | None
    seconds: float | None  # of training and evaluating, all its seeds
    cost: dict[str, Any] | None  # as worker/study_costs.py tells it
    parameters: int | None

    @property
    def finished(self) -> int:
        return sum(run.status == Run.Status.FINISHED for run in self.runs)

    def as_dict(self) -> dict[str, Any]:
        return {
            "arm": self.key,
            "label": self.label,
            "runs": [run.number for run in self.runs],
            "finished": self.finished,
            "metric": self.metric,
            "score": self.score,
            "deviation": self.deviation,
            "validation": self.validation,
            "agreement": self.agreement,
            "seconds": self.seconds,
            "cost": self.cost,
            "parameters": self.parameters,
        }


@transaction.atomic
def launch(*, project: Project, asked: Any, by: User) -> Study:
    """`{"kind", "base": a run configuration, "seeds"?: 3 or [0, 1, 2], "name"?, "notes"?}`, and
    what the kind itself `knows`.

    Raises Invalid, with `base.losses.0`, … in its fields, and Conflict in an archived project.
    """
    if project.archived_at is not None:
        raise Conflict("This project is archived; nothing new can be trained in it.")
    complete = _understood(asked)
    Project.objects.select_for_update().get(pk=project.pk)  # two studies get two numbers
    newest = Study.objects.filter(project=project).aggregate(newest=Max("number"))["newest"] or 0
    study = Study.objects.create(
        project=project,
        number=newest + 1,
        kind=complete["kind"],
        name=complete.pop("name") or f"{complete['kind'].capitalize()} {newest + 1}",
        notes=complete.pop("notes"),
        asked=complete,
        created_by=by,
    )
    try:
        KINDS[study.kind].plan(project, complete, study, by)
    except Invalid as fault:
        fields = {_within(study.kind, at): told for at, told in fault.fields.items()}
        raise Invalid(fault.detail, code=fault.code, fields=fields) from None
    study.save(update_fields=["asked"])
    study.announce("study.launched", f"Launched by {by.display_name}.", by=by)
    return study


def _within(kind: str, at: str) -> str:
    """Where a fault of the base was typed; what only its kind knows says so by itself."""
    own = at.split(".")[0] in {*KINDS[kind].knows, "base"}
    return at if own else f"base.{at}"


def more_seeds(*, run: Run, seeds: int = SEEDS, by: User) -> Study:
    """The study that a finished run asks for: its configuration, with several seeds. Raises like
    `launch`, and Conflict of a tracked run."""
    if run.is_tracked:
        raise Conflict(f"Run {run.number} is trained elsewhere; it is not launched here.")
    of = run.control_of or run
    base = launching.configuration_of(run=of)
    asked = {"kind": "seeds", "name": f"{of.name}, {seeds} seeds"[:LONGEST_NAME], "base": base}
    return launch(project=run.project, asked={**asked, "seeds": seeds}, by=by)


def find(*, project: Project, number: int) -> Study:
    """Raises Missing."""
    study = project.studies.select_related("created_by").filter(number=number).first()
    if study is None:
        raise Missing(f"There is no study {number} in this project.")
    return study


def edit(*, study: Study, name: str | None = None, notes: str | None = None) -> Study:
    """Raises Invalid."""
    if name is not None:
        study.name = name.strip()
    if notes is not None:
        study.notes = notes
    faults = _too_long(study.name, study.notes)
    if faults:
        raise Invalid(next(iter(faults.values()))[0], fields=faults)
    study.save(update_fields=["name", "notes"])
    number = str(study.number)
    subjects.renamed(project=study.project, kind="study", reference=number, title=study.name)
    return study


def cancel(*, study: Study, by: User) -> int:
    """Cancel what is not over; how many that were. What finished stays, and is told of."""
    count = 0
    if study.kind == sweeps.KEY and not study.is_over:
        sweeps.stop(study=study, by=by)
    for run in study.runs.unfinished().order_by("-number"):  # those that wait for another first
        try:
            runs.cancel(run=run, by=by)
        except Conflict:  # it ended meanwhile
            continue
        count += 1
    return count


def arms(study: Study) -> list[Arm]:
    """Its table, live. One query."""
    by_arm: dict[str, list[Run]] = {}
    members = study.runs.select_related("output", "student", "dataset_version").order_by("number")
    for run in members:
        by_arm.setdefault(run.arm, []).append(run)
    order = list(KINDS[study.kind].arms) if study.kind in KINDS else []
    keys = sorted(by_arm, key=lambda key: order.index(key) if key in order else len(order))
    costs = study_costs.by_arm(by_arm)
    return [_arm(key, label_of(study.kind, key), by_arm[key], costs.get(key)) for key in keys]


def progress(found: Sequence[Arm]) -> float:
    """0 to 1, of all its runs."""
    every = [1.0 if run.is_final else run.fraction for arm in found for run in arm.runs]
    return sum(every) / len(every) if every else 0.0


def made_teacher(study: Study) -> Run | None:
    """The run that made the teacher as it is: what that took, the study does not count."""
    teachers = study.asked.get("base", {}).get("teachers") or []
    if not isinstance(teachers, list) or len(teachers) != 1:
        return None
    first = study.runs.filter(control_of=None, teachers__isnull=False).order_by("number").first()
    taught = first and first.teachers.first()
    if not taught:
        return None
    return Run.objects.filter(output=taught, project=study.project_id).first()


def _arm(key: str, label: str, members: list[Run], cost: dict[str, Any] | None) -> Arm:
    over = [run for run in members if run.status == Run.Status.FINISHED]
    name = scores.headline(members[0])
    told = [value for run in over if (value := _score(run, name)) is not None]
    chosen = [value for run in over if (value := scores.of_validation(run, name)) is not None]
    agreed = [
        value for run in over if (value := scores.number(run.summary.get("agreement"))) is not None
    ]
    spent = [
        value for run in over if (value := scores.number(run.summary.get("seconds"))) is not None
    ]
    return Arm(
        key=key,
        label=label,
        runs=members,
        metric=name,
        score=_mean(told),
        deviation=statistics.stdev(told) if len(told) > 1 else None,
        validation=_mean(chosen),
        agreement=_mean(agreed),
        seconds=sum(spent) if spent else None,
        cost=cost,
        parameters=_parameters(members, over),
    )


def _parameters(members: list[Run], over: list[Run]) -> int | None:
    """As counted in what was trained: a control leaves no version, and a student whose tokenizer
    is still to be trained only says how many it has at most."""
    for run in over:
        counted = scores.number(mapping(run.summary.get("student")).get("parameters"))
        if counted is not None:
            return int(counted)
    made = next((run.output or run.student for run in over), None) or members[0].student
    return made.parameters if made is not None else None


def _score(run: Run, name: str) -> float | None:
    measured = run.summary.get("student") or {}
    return scores.number(measured.get(name, run.metrics.get(f"test/{name}")))


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


# -- what is asked --------------------------------------------------------------------------------

KNOWN = {"kind", "base", "seeds", "name", "notes"}


def _understood(asked: Any) -> dict[str, Any]:
    """Checked but for the base, which is checked as it is launched."""
    if not isinstance(asked, Mapping):
        raise Invalid("A study is a JSON object.")
    kind = KINDS.get(str(asked.get("kind")))
    if kind is None:
        raise wrong("kind", f"It must be one of {', '.join(KINDS)}.")
    if unknown := sorted(set(map(str, asked)) - KNOWN - kind.knows):
        raise wrong(unknown[0], f"There is no such key in a study of the kind {kind.key}.")
    base = asked.get("base")
    if not isinstance(base, Mapping):
        raise wrong("base", "It must be a run configuration.")
    name, notes = asked.get("name", ""), asked.get("notes", "")
    if faults := _too_long(name, notes, may_be_empty=True):
        raise Invalid(next(iter(faults.values()))[0], fields=faults)
    return {
        "kind": kind.key,
        "base": dict(base),
        "seeds": seeds_of(asked.get("seeds", SEEDS)),
        **kind.understand(asked),
        "name": name.strip(),
        "notes": notes,
    }


def _too_long(name: Any, notes: Any, *, may_be_empty: bool = False) -> dict[str, list[str]]:
    faults: dict[str, list[str]] = {}
    least = 0 if may_be_empty else 1
    if not isinstance(name, str) or not least <= len(name.strip()) <= LONGEST_NAME:
        faults["name"] = [f"A name has 1 to {LONGEST_NAME} characters."]
    if not isinstance(notes, str) or len(notes) > LONGEST_NOTES:
        faults["notes"] = [f"Notes have at most {LONGEST_NOTES} characters."]
    return faults
