"""What a run configuration means in a project: its defaults filled in, its references pinned, its
parts checked against each other. Every fault is found in one pass, each at its field."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from distillhub.lib.errors import DomainError, Invalid
from projects.models import DatasetVersion, ModelVersion, Project
from projects.services import datasets, registry
from training import catalog
from training.engine.config import MOST_TEACHERS, RunConfig
from training.engine.errors import ConfigError
from training.models import Run
from training.services import ensembles, preflight, recorded_teachers

#: What a version without a network does, by the kind of its source.
TEACHES = {
    "api": "answers through an API",
    "column": "was recorded in a dataset",
    "ensemble": "stands for several models",
}
RUN = re.compile(r"run/([1-9][0-9]{0,8})", re.ASCII)

Faults = dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class Network:
    """A model that is there (`version`), or will be when `awaited` is finished."""

    version: ModelVersion | None
    awaited: Run | None = None

    @property
    def reference(self) -> str:
        """As it is frozen into the configuration."""
        if self.version is not None:
            return self.version.reference
        assert self.awaited is not None
        return f"run/{self.awaited.number}"

    @property
    def name(self) -> str:
        if self.version is not None:
            return self.version.model.name
        assert self.awaited is not None
        return self.awaited.name

    @property
    def task(self) -> str:
        if self.version is not None:
            return self.version.model.task
        assert self.awaited is not None
        return self.awaited.task

    @property
    def labels(self) -> list[str]:
        if self.version is not None:
            return list(self.version.labels)
        assert self.awaited is not None
        return list(self.awaited.data.labels)

    @property
    def problem(self) -> str:
        """What it answers: one label, several, or a number."""
        if self.version is not None:
            return self.version.problem
        assert self.awaited is not None
        return _problem(self.awaited.data)

    @property
    def can_teach(self) -> bool:
        return self.version is None or self.version.can_teach

    @property
    def is_recorded(self) -> bool:
        return self.version is not None and self.version.is_recorded

    @property
    def has_weights(self) -> bool:
        return self.version is None or bool(self.version.files)

    @property
    def architecture(self) -> str:
        run = self.awaited
        if self.version is not None:
            return self.version.architecture
        while run is not None:
            if run.student is not None:
                return run.student.architecture
            run = run.waits_for.select_related("student").first()
        return ""


@dataclass(frozen=True, slots=True)
class Asked:
    """A configuration that can be launched."""

    config: dict[str, Any]  # complete and pinned, as `Run.config` keeps it
    parsed: RunConfig
    dataset: DatasetVersion
    student: Network
    teachers: list[Network]
    awaited: list[Run] = field(default_factory=list)


def understand(*, project: Project, asked: Any) -> Asked:
    """Resolve a run configuration as it was typed or posted; the members of an ensemble take its
    place. Raises Invalid with every fault."""
    if not isinstance(asked, Mapping):
        raise Invalid("A run configuration is a JSON object.")
    teachers, origins = _expanded(project, _listed(asked.get("teachers")))
    if not origins:
        return _understood(project, asked)
    try:
        return _understood(project, {**asked, "teachers": teachers})
    except Invalid as error:
        fields = {_at(origins, name): said for name, said in error.fields.items()}
        raise Invalid(error.detail, fields=fields) from None


def _expanded(project: Project, asked: list[Any]) -> tuple[list[Any], list[int]]:
    """Teachers with the members of ensembles in their place, and where each was named; nothing
    where there is no ensemble. Who is named more than once counts with the sum of its weights."""
    found: list[Any] = []
    origins: list[int] = []
    shares: dict[str, int] = {}
    several = False
    for place, one in enumerate(asked):
        network = _network(project, _reference(one), "", {})
        weight = one.get("weight", 1.0) if isinstance(one, Mapping) else 1.0
        known = network is not None and network.version is not None
        counts = isinstance(weight, int | float) and not isinstance(weight, bool) and weight > 0
        if not known or not counts:  # the parser says so
            found.append(one)
            origins.append(place)
            continue
        assert network is not None
        assert network.version is not None
        members = [(network.reference, float(weight))]
        if network.version.is_ensemble:
            members, several = ensembles.expanded(network.version, float(weight)), True
        for reference, share in members:
            if reference in shares:
                found[shares[reference]]["weight"] += share
                continue
            shares[reference] = len(found)
            found.append({"model": reference, "weight": share})
            origins.append(place)
    return (found, origins) if several else ([], [])


def _at(origins: list[int], name: str) -> str:
    """Where a fault of an expanded teacher was typed: `teachers.2.weight`."""
    parts = name.split(".")
    if parts[0] == "teachers" and len(parts) > 1 and parts[1].isdecimal():
        parts[1] = str(origins[int(parts[1])])
    return ".".join(parts)


def _understood(project: Project, asked: Mapping[str, Any]) -> Asked:
    faults: Faults = {}
    dataset = _dataset(project, asked.get("dataset"), faults)
    student = _network(project, asked.get("student"), "student", faults)
    teachers = [
        _network(project, _reference(one), f"teachers.{place}", faults)
        for place, one in enumerate(_listed(asked.get("teachers")))
    ]
    try:
        parsed = catalog.resolve(
            asked,
            architecture=student.architecture if student is not None else None,
            trained=student is not None and student.has_weights,
            problem="single_label" if dataset is None else _problem(dataset),
        )
    except ConfigError as error:
        for fault in error.faults:
            faults.setdefault(fault.field or "configuration", []).append(fault.sentence)
        raise _invalid(faults) from None
    if not faults:
        assert dataset is not None
        assert student is not None
        _check_together(parsed.task, dataset, student, teachers, faults)
    if not faults:
        assert dataset is not None
        assert student is not None
        known = [teacher for teacher in teachers if teacher is not None]
        faults |= preflight.faults(config=parsed, dataset=dataset, student=student, teachers=known)
    if faults or dataset is None or student is None:
        raise _invalid(faults)
    found = [teacher for teacher in teachers if teacher is not None]
    config = parsed.as_dict()
    config["dataset"] = dataset.reference
    config["student"] = student.reference
    config["teachers"] = [
        network.reference
        if choice.weight == 1.0
        else {"model": network.reference, "weight": choice.weight}
        for network, choice in zip(found, parsed.teachers, strict=True)
    ]
    config["name"] = config["name"] or _name(config, dataset, student, found)
    config["control"] = config["control"] and _labels_teach(parsed.task)
    awaited = {one.awaited.pk: one.awaited for one in (student, *found) if one.awaited is not None}
    return Asked(config, parsed, dataset, student, found, list(awaited.values()))


def model(*, project: Project, reference: str) -> Network:
    """The model that `name@3`, `name@alias`, `name` or `run/12` means. Raises Missing, Invalid."""
    match = RUN.fullmatch(reference)
    if match is None:
        return Network(registry.resolve(project=project, reference=reference))
    run = (
        Run.objects.select_related("output__model", "student", "dataset_version")
        .filter(project=project, number=int(match[1]))
        .first()
    )
    if run is None:
        raise Invalid(f"There is no run {match[1]} in this project.")
    if run.is_tracked:
        raise Invalid(f"Run {run.number} is trained elsewhere: its model is not here.")
    if run.control_of_id is not None:
        raise Invalid(f"Run {run.number} is a control: its model is not kept as a version.")
    if run.output is not None:
        return Network(run.output)
    if run.is_final:
        raise Invalid(f"Run {run.number} is {run.status} and left no model.")
    return Network(None, awaited=run)


def _problem(dataset: DatasetVersion) -> str:
    return catalog.problem_of(dataset.dataset.task, dataset.problem)


def _dataset(project: Project, reference: Any, faults: Faults) -> DatasetVersion | None:
    if not isinstance(reference, str) or not reference.strip():
        return None  # the parser says so
    try:
        version = datasets.resolve(project=project, reference=reference.strip())
    except DomainError as error:
        faults["dataset"] = [error.detail]
        return None
    if not version.is_ready:
        state = "still being read" if version.status == "ingesting" else "not usable"
        faults["dataset"] = [f"{version.reference} is {state}."]
    return version


def _network(project: Project, reference: Any, at: str, faults: Faults) -> Network | None:
    if not isinstance(reference, str) or not reference.strip():
        return None
    try:
        return model(project=project, reference=reference.strip())
    except DomainError as error:
        faults[at] = [error.detail]
        return None


def _listed(value: Any) -> list[Any]:
    return value[:MOST_TEACHERS] if isinstance(value, list) else []


def _reference(teacher: Any) -> Any:
    return teacher.get("model") if isinstance(teacher, Mapping) else teacher


def _check_together(
    task: str,
    dataset: DatasetVersion,
    student: Network,
    teachers: list[Network | None],
    faults: Faults,
) -> None:
    """Faults of parts that are each right, and do not fit each other."""
    if dataset.dataset.task != task:
        faults["dataset"] = [f"{dataset.reference} is for {dataset.dataset.task}, not {task}."]
    elif _wants_labels(task) and not dataset.labelled:
        faults["dataset"] = [
            f"No row of {dataset.reference} has a label. Have a teacher label them first (the "
            "change annotate), and train on the version that comes of it."
        ]
    elif len(dataset.labels) < _fewest_labels(task, dataset.problem):
        faults["dataset"] = [
            f"{dataset.reference} has {len(dataset.labels)} labels; classification needs two."
        ]
    for split in ("train", "validation"):
        if "dataset" not in faults and not dataset.splits.get(split, {}).get("rows"):
            faults["dataset"] = [f"{dataset.reference} has no rows in its {split} split."]
    if student.task != task:
        faults["student"] = [f"{student.reference} is for {student.task}, not {task}."]
    elif student.version is not None and not student.version.has_network:
        kind = TEACHES.get(student.version.source["kind"], "is kept as MLflow's client sent it")
        faults["student"] = [f"{student.reference} {kind}: it cannot be trained."]
    elif student.version is not None and student.version.is_rounded:
        faults["student"] = [
            f"{student.reference} has weights of few bits, which cannot be trained. Take the "
            "version it was made from."
        ]
    for place, teacher in enumerate(teachers):
        if teacher is None:
            continue
        if teacher.task != task:
            fault = f"{teacher.reference} is for {teacher.task}, not {task}."
        elif teacher.version is not None and teacher.version.is_asked:
            fault = (
                f"{teacher.reference} answers through an API. Have it annotate the dataset first: "
                "students then learn from what it wrote, from its probabilities where they are "
                "registered as a teacher of recorded answers."
            )
        elif not teacher.can_teach:
            fault = (
                f"{teacher.reference} has not been trained, so it knows nothing to teach. "
                "Fine-tune it first (a run with it as the student), or take a trained version."
            )
        elif teacher.problem != _problem(dataset):
            fault = (
                f"{teacher.reference} answers {ANSWERS[teacher.problem]}, and a row of "
                f"{dataset.reference} has {ANSWERS[_problem(dataset)]}."
            )
        else:
            fault = _labels_differ(teacher.reference, teacher.labels, dataset)
            if not fault and teacher.is_recorded:
                assert teacher.version is not None
                fault = recorded_teachers.misfit(teacher.version, dataset)
        if fault:
            faults[f"teachers.{place}"] = [fault]


ANSWERS = {
    "single_label": "one label of several",
    "multi_label": "any number of labels",
    "regression": "a number",
    "embedding": "a vector",
}


def _labels_differ(reference: str, labels: list[str], dataset: DatasetVersion) -> str:
    """A sentence when a teacher answers with other labels than the dataset's, else nothing."""
    theirs, ours = set(labels), set(dataset.labels)
    if theirs == ours:
        return ""
    missing, extra = sorted(ours - theirs), sorted(theirs - ours)
    told = []
    if missing:
        told.append(f"it does not know {_some(missing)}")
    if extra:
        told.append(f"it knows {_some(extra)}, which the dataset does not have")
    return f"{reference} was trained for other labels than {dataset.reference}: {'; '.join(told)}."


def _some(labels: list[str]) -> str:
    shown = ", ".join(labels[:3])
    return shown if len(labels) <= 3 else f"{shown} and {len(labels) - 3} more"


def _wants_labels(task: str) -> bool:
    found = catalog.find("tasks", task)
    return found is not None and bool(found["needs_labels"])


def _fewest_labels(task: str, problem: str) -> int:
    """Numbers and running text have no named labels; several labels a row begin with one."""
    found = catalog.find("tasks", task)
    if found is None or not found["needs_labels"] or problem == "regression":
        return 0
    return 1 if problem == "multi_label" else 2


def _labels_teach(task: str) -> bool:
    """Whether a control is possible: a student that learns from the labels alone."""
    hard = catalog.find("losses", "hard_labels")
    return hard is not None and task in hard["tasks"]


def _name(
    config: Mapping[str, Any], dataset: DatasetVersion, student: Network, teachers: list[Network]
) -> str:
    """What it is called where nobody named it: who learns from whom, or of what, and how."""
    whom = f"from {teachers[0].name}" if teachers else f"on {dataset.dataset.name}"
    if more := len(teachers[1:]):
        whom += f" and {more} more"
    how = _how(config, _problem(dataset))
    return f"{student.name} {whom}{', ' * bool(how)}{how}"[:200]


def _how(config: Mapping[str, Any], problem: str) -> str:
    """The label of its preset, else of its scheme; nothing of fine-tuning, and of terms of one's
    own."""
    preset = catalog.preset_of(config, task=config["task"], problem=problem)
    if preset is not None:
        return "" if preset["key"] == "fine_tune" else str(preset["label"])
    kind = config["scheme"] if isinstance(config["scheme"], str) else config["scheme"]["kind"]
    return (
        ""
        if kind == "offline"
        else str((catalog.find("schemes", kind) or {"label": kind})["label"])
    )


def _invalid(faults: Faults) -> Invalid:
    first = next(iter(faults))
    more = sum(len(sentences) for sentences in faults.values()) - 1
    rest = f" (and {more} more)" if more else ""
    return Invalid(f"{first}: {faults[first][0]}{rest}", fields=faults)
