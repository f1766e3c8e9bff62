"""The `config.json` of a job folder: a run's configuration in which every reference is a file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from training.engine import config, terms, transfer
from training.engine.errors import ConfigError, Fault
from training.engine.options import JSON
from training.engine.terms import Loss, Methods, Stage

#: What a label is, in the words of transformers' `problem_type`: one class of several; any number
#: of them; a number. And one more: the answer is a vector, for which there is no label.
Problem = Literal["single_label", "multi_label", "regression", "embedding"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetInput:
    path: str
    sha256: str
    fingerprint: str
    labels: tuple[str, ...]  # none for regression, generation and embeddings
    problem: Problem = "single_label"
    separator: str = "|"  # between the labels of one row, where there may be several
    columns: JSON = field(default_factory=dict)  # of tables: {name: numeric|categorical}
    weight: str = ""  # the column that says how much a row counts in training; empty: all the same


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkInput:
    """A student or teacher of a job: an architecture's options, or a folder with weights."""

    name: str
    architecture: str
    config: JSON
    path: str | None = None
    weight: float = 1.0
    inputs_of: str | None = None  # a model's folder whose way of reading it takes over
    recorded: JSON | None = None  # of a teacher: the columns that hold its answers (recorded.py)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What the machine's owner says of it, for estimates."""

    watts_per_core: float = 15.0
    price_per_hour: float | None = None  # in the owner's currency; None: no cost is told


@dataclass(frozen=True, slots=True, kw_only=True)
class JobConfig:
    """One job folder's `config.json`: everything resolved, files relative to the folder."""

    run: str
    task: str
    dataset: DatasetInput
    student: NetworkInput
    teachers: tuple[NetworkInput, ...]
    scheme: str
    scheme_options: JSON
    losses: tuple[Loss, ...]
    stages: tuple[Stage, ...]
    training: config.Training
    teacher_outputs: str
    top_k: int
    store: str | None
    threads: int
    evaluate: bool
    runs_sharing: int = 1  # this run, and those of its sweep that want the same answers
    slices: tuple[str, ...] = ()  # columns by which the evaluation is told in parts
    machine: Machine = field(default_factory=Machine)


def parse_job(raw: Any, methods: Methods) -> JobConfig:
    """The `config.json` of a job folder. Raises ConfigError naming every fault."""
    if not isinstance(raw, Mapping) or raw.get("format") != 1:
        raise ConfigError([Fault("format", "This engine reads job folders of format 1.")])
    faults: list[Fault] = []
    task = config.read_task(raw, methods, faults)
    student = _network(raw.get("student"), "student", task, methods, faults)
    teachers = [
        _network(one, f"teachers.{place}", task, methods, faults)
        for place, one in enumerate(raw.get("teachers", []))
    ]
    dataset = read_dataset(raw.get("dataset") or {}, terms.find(methods, "tasks", task), faults)
    scheme, scheme_options = terms.read_scheme(raw.get("scheme", "offline"), methods, task, faults)
    taught = terms.is_taught(methods, scheme, len(teachers), faults)
    losses, stages = terms.read_terms(raw, methods, task, scheme, taught, dataset.problem, faults)
    training = config.read_training(raw.get("training", {}), methods, {}, faults)
    training = config.select(training, methods, task, dataset.problem, taught, faults, scheme)
    outputs = raw.get("teacher_outputs") or {}
    kept, top_k = config.read_outputs(
        outputs.get("mode", "auto"), outputs.get("k", config.TOP_K), task, faults
    )
    config.check_views(kept, training, faults)
    faults += transfer.check(training, task, losses, stages, methods)
    slices, tests = config.read_evaluation(raw.get("evaluation", {}), faults)
    if faults:
        raise ConfigError(faults)
    return JobConfig(
        run=str(raw.get("run", "")),
        task=task,
        dataset=dataset,
        student=student,
        teachers=tuple(teachers),
        scheme=scheme,
        scheme_options=scheme_options,
        losses=tuple(losses),
        stages=tuple(stages),
        training=training,
        teacher_outputs=kept,
        top_k=top_k,
        store=outputs.get("store"),
        runs_sharing=max(1, int(outputs.get("runs") or 1)),
        threads=int(raw.get("threads") or 1),
        evaluate=bool(raw.get("evaluate", True)) and tests,
        slices=slices,
        machine=Machine(**(raw.get("machine") or {})),
    )


def read_dataset(said: Mapping[str, Any], task: JSON | None, faults: list[Fault]) -> DatasetInput:
    """A job's dataset as its file describes it; `task` is its catalog's entry."""
    labels = tuple(said.get("labels") or ())
    problem: Problem = said.get("problem") or "single_label"
    if problem not in terms.PROBLEMS:
        offered = ", ".join(terms.PROBLEMS)
        faults.append(Fault("dataset.problem", f"It must be one of {offered}."))
        problem = "single_label"
    if task is not None and "embedding" in task["metrics"]:
        labels, problem = (), "embedding"
    named = task is not None and task["needs_labels"] and problem != "regression"
    if named and len(labels) < (1 if problem == "multi_label" else 2):
        faults.append(Fault("dataset.labels", "Classification needs at least two labels."))
    return DatasetInput(
        path=str(said.get("path") or ""),
        sha256=said.get("sha256") or "",
        fingerprint=said.get("fingerprint") or said.get("sha256") or "",
        labels=labels,
        problem=problem,
        separator=str(said.get("separator") or "|"),
        columns=dict(said.get("columns") or {}),
        weight=str(said.get("weight") or ""),
    )


def _network(raw: Any, at: str, task: str, methods: Methods, faults: list[Fault]) -> NetworkInput:
    if not isinstance(raw, Mapping):
        faults.append(Fault(at, "It must be an object."))
        raw = {}
    options, architecture = dict(raw.get("config") or {}), str(raw.get("architecture") or "")
    recorded = raw.get("recorded") if at != "student" else None
    if not raw.get("path") and not recorded:
        options, found = config.check_architecture(task, architecture, options, methods)
        faults += [Fault(f"{at}.{fault.field}", fault.sentence) for fault in found]
    return NetworkInput(
        name=str(raw.get("name", at)),
        architecture=architecture,
        config=options,
        path=raw.get("path"),
        weight=float(raw.get("weight", 1.0)),
        inputs_of=raw.get("inputs_of"),
        recorded=dict(recorded) if recorded else None,
    )
