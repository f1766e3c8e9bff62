"""Studies: several runs launched together to answer one question, and what they answered.

- `seeds`: one configuration with several seeds, each beside its control. Does distilling help,
  whichever seed one happens to take?
- `strategies`: train the student on labels, distil from the teacher as it is, or train the teacher
  first and then distil. Which is worth it?
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Max

from distillhub.lib.errors import Conflict, Invalid, Missing
from projects.models import Project, User
from training import catalog
from training.models import Run, Study
from training.services import runs, scores
from training.services.runs import Member

MOST_SEEDS = 10
SEEDS = 3
GREATEST = 2**31 - 1
LONGEST_NAME = 200
LONGEST_NOTES = 20_000

#: What an arm is called in tables, in their order.
LABELS = {
    "control": "Labels alone",
    "trained": "Trained",
    "distilled": "Distilled",
    "teacher": "Teacher, trained first",
    "taught_by_tuned": "Distilled from the trained teacher",
}

Plan = Callable[[Project, Mapping[str, Any], Study, User], None]


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
            "parameters": self.parameters,
        }


@transaction.atomic
def launch(*, project: Project, asked: Any, by: User) -> Study:
    """`{"kind", "base": a run configuration, "seeds"?: 3 or [0, 1, 2], "name"?, "notes"?}`, and of
    strategies `"teacher_training"?`, what of `training` is other for the teacher.

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
        KINDS[study.kind](project, complete, study, by)
    except Invalid as fault:
        fields = {f"base.{name}": sentences for name, sentences in fault.fields.items()}
        raise Invalid(fault.detail, code=fault.code, fields=fields) from None
    study.save(update_fields=["asked"])
    return study


def more_seeds(*, run: Run, seeds: int = SEEDS, by: User) -> Study:
    """The study that a finished run asks for: its configuration, with several seeds. Raises like
    `launch`, and Conflict of a tracked run."""
    if run.is_tracked:
        raise Conflict(f"Run {run.number} is trained elsewhere; it is not launched here.")
    of = run.control_of or run
    base = runs.configuration_of(run=of)
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
    return study


def cancel(*, study: Study, by: User) -> int:
    """Cancel what is not over; how many that were. What finished stays, and is told of."""
    count = 0
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
    order = {key: place for place, key in enumerate(LABELS)}
    keys = sorted(by_arm, key=lambda key: order.get(key, len(order)))
    return [_arm(key, by_arm[key]) for key in keys]


def progress(found: Sequence[Arm]) -> float:
    """0 to 1, of all its runs."""
    every = [1.0 if run.is_final else run.fraction for arm in found for run in arm.runs]
    return sum(every) / len(every) if every else 0.0


def _arm(key: str, members: list[Run]) -> Arm:
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
    made = next((run.output or run.student for run in over), None) or members[0].student
    return Arm(
        key=key,
        label=LABELS.get(key, key.replace("_", " ").capitalize()),
        runs=members,
        metric=name,
        score=_mean(told),
        deviation=statistics.stdev(told) if len(told) > 1 else None,
        validation=_mean(chosen),
        agreement=_mean(agreed),
        seconds=sum(spent) if spent else None,
        parameters=made.parameters if made is not None else None,
    )


def _score(run: Run, name: str) -> float | None:
    measured = run.summary.get("student") or {}
    return scores.number(measured.get(name, run.metrics.get(f"test/{name}")))


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


# -- what is asked --------------------------------------------------------------------------------

KNOWN = {"kind", "base", "seeds", "name", "notes"}
MORE = {"seeds": set[str](), "strategies": {"teacher_training"}}


def _understood(asked: Any) -> dict[str, Any]:
    """Checked but for the base, which is checked as it is launched."""
    if not isinstance(asked, Mapping):
        raise Invalid("A study is a JSON object.")
    kind = asked.get("kind")
    if kind not in KINDS:
        raise _wrong("kind", f"It must be one of {', '.join(KINDS)}.")
    if unknown := sorted(set(map(str, asked)) - KNOWN - MORE[kind]):
        raise _wrong(unknown[0], f"There is no such key in a study of the kind {kind}.")
    base = asked.get("base")
    if not isinstance(base, Mapping):
        raise _wrong("base", "It must be a run configuration.")
    name, notes = asked.get("name", ""), asked.get("notes", "")
    if faults := _too_long(name, notes, may_be_empty=True):
        raise Invalid(next(iter(faults.values()))[0], fields=faults)
    found = {"kind": kind, "base": dict(base), "seeds": _seeds_of(asked.get("seeds", SEEDS))}
    tuned = asked.get("teacher_training", {})
    if not isinstance(tuned, Mapping):
        raise _wrong("teacher_training", "It must be an object: keys of training.")
    if kind == "strategies":
        found["teacher_training"] = dict(tuned)
    return found | {"name": name.strip(), "notes": notes}


def _seeds_of(asked: Any) -> list[int]:
    if type(asked) is int:
        asked = list(range(asked)) if 1 <= asked <= MOST_SEEDS else []
    if (
        not isinstance(asked, list)
        or not 1 <= len(asked) <= MOST_SEEDS
        or any(type(one) is not int or not 0 <= one <= GREATEST for one in asked)
        or len(set(asked)) < len(asked)
    ):
        sentence = f"How many, 1 to {MOST_SEEDS}, or a list of as many different whole numbers."
        raise _wrong("seeds", sentence)
    return list(asked)


def _too_long(name: Any, notes: Any, *, may_be_empty: bool = False) -> dict[str, list[str]]:
    faults: dict[str, list[str]] = {}
    least = 0 if may_be_empty else 1
    if not isinstance(name, str) or not least <= len(name.strip()) <= LONGEST_NAME:
        faults["name"] = [f"A name has 1 to {LONGEST_NAME} characters."]
    if not isinstance(notes, str) or len(notes) > LONGEST_NOTES:
        faults["notes"] = [f"Notes have at most {LONGEST_NOTES} characters."]
    return faults


def _wrong(field: str, sentence: str) -> Invalid:
    return Invalid(f"{field}: {sentence}", fields={field: [sentence]})


# -- what is launched -----------------------------------------------------------------------------


def _seeds(project: Project, asked: Mapping[str, Any], study: Study, by: User) -> None:
    is_taught = _is_taught(asked["base"])
    member = Member(study, "distilled" if is_taught else "trained")
    for seed in asked["seeds"]:
        config = _seeded(asked["base"], seed, study.name) | {"control": is_taught}
        runs.launch(project=project, configuration=config, by=by, member=member)
    study.asked["comparisons"] = [["distilled", "control"]] if is_taught else []


#: Of a configuration, what the teacher's own training has in common with it.
SHARED = ("task", "dataset", "resources", "priority")


def _strategies(project: Project, asked: Mapping[str, Any], study: Study, by: User) -> None:
    base, tuned = asked["base"], asked["teacher_training"]
    teachers = base.get("teachers")
    if not isinstance(teachers, list) or len(teachers) != 1:
        sentence = "Strategies are compared with one teacher."
        raise Invalid(sentence, fields={"teachers": [sentence]})
    first, *_ = asked["seeds"]
    own = {
        **{name: base[name] for name in SHARED if name in base},
        "name": f"{study.name}: teacher"[:LONGEST_NAME],
        "student": teachers[0] if isinstance(teachers[0], str) else teachers[0].get("model"),
        "training": {**_mapping(base.get("training")), **tuned, "seed": first},
        "control": False,
    }
    teacher = runs.launch(
        project=project, configuration=own, by=by, member=Member(study, "teacher")
    )
    for seed in asked["seeds"]:
        config = _seeded(base, seed, study.name)
        member = Member(study, "distilled")
        runs.launch(project=project, configuration=config | {"control": True}, by=by, member=member)
        config |= {"teachers": [f"run/{teacher.number}"], "control": False}
        config["name"] = f"{study.name}: trained teacher, seed {seed}"[:LONGEST_NAME]
        member = Member(study, "taught_by_tuned")
        runs.launch(project=project, configuration=config, by=by, member=member)
    study.asked["comparisons"] = [
        ["distilled", "control"], ["taught_by_tuned", "control"], ["taught_by_tuned", "distilled"],
    ]  # fmt: skip


KINDS: dict[str, Plan] = {"seeds": _seeds, "strategies": _strategies}


def _is_taught(base: Mapping[str, Any]) -> bool:
    """Whether there is anything that a control would be without."""
    scheme = base.get("scheme", "offline")
    kind = scheme.get("kind") if isinstance(scheme, Mapping) else scheme
    reasons = [one for one in _losses(base) if catalog.needs_column(one) == "rationale"]
    return bool(base.get("teachers") or reasons or kind not in ("offline", "staged"))


def _losses(base: Mapping[str, Any]) -> list[str]:
    losses = base.get("losses", [])
    if not isinstance(losses, list):
        return []
    return [str(one.get("kind", "")) for one in losses if isinstance(one, Mapping)]


def _seeded(base: Mapping[str, Any], seed: int, name: str) -> dict[str, Any]:
    return {
        **base,
        "name": f"{name}, seed {seed}"[:LONGEST_NAME],
        "training": {**_mapping(base.get("training")), "seed": seed},
    }


def _mapping(value: Any) -> Mapping[str, Any]:
    """What is none is refused where the configuration is read."""
    return value if isinstance(value, Mapping) else {}
