"""The `config.json` of a job folder: a run's configuration in which every reference is a file."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from training.engine import config
from training.engine.errors import ConfigError, Fault
from training.engine.options import JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetInput:
    path: str
    sha256: str
    fingerprint: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkInput:
    """A student or teacher of a job: an architecture's options, or a folder with weights."""

    name: str
    architecture: str
    config: JSON
    path: str | None = None
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobConfig:
    """One job folder's `config.json`: everything resolved, files relative to the folder."""

    run: str
    task: str
    dataset: DatasetInput
    student: NetworkInput
    teachers: tuple[NetworkInput, ...]
    scheme: str
    losses: tuple[config.Loss, ...]
    training: config.Training
    teacher_outputs: str
    store: str | None
    threads: int
    evaluate: bool


def parse_job(raw: Any, methods: config.Methods) -> JobConfig:
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
    losses = config.read_losses(raw.get("losses"), methods, task, len(teachers), faults)
    training = config.read_training(raw.get("training", {}), methods, {}, faults)
    outputs = raw.get("teacher_outputs") or {}
    dataset = raw.get("dataset") or {}
    labels = dataset.get("labels") or []
    if len(labels) < 2:
        faults.append(Fault("dataset.labels", "Classification needs at least two labels."))
    if config.find(methods, "schemes", raw.get("scheme", "offline")) is None:
        faults.append(Fault("scheme", f"It must be one of {config.keys(methods, 'schemes')}."))
    if faults:
        raise ConfigError(faults)
    return JobConfig(
        run=str(raw.get("run", "")),
        task=task,
        dataset=DatasetInput(
            path=dataset["path"],
            sha256=dataset.get("sha256") or "",
            fingerprint=dataset.get("fingerprint") or dataset.get("sha256") or "",
            labels=tuple(labels),
        ),
        student=student,
        teachers=tuple(teachers),
        scheme=raw.get("scheme", "offline"),
        losses=tuple(losses),
        training=training,
        teacher_outputs=outputs.get("mode", "auto"),
        store=outputs.get("store"),
        threads=int(raw.get("threads") or 1),
        evaluate=bool(raw.get("evaluate", True)),
    )


def _network(
    raw: Any, at: str, task: str, methods: config.Methods, faults: list[Fault]
) -> NetworkInput:
    if not isinstance(raw, Mapping):
        faults.append(Fault(at, "It must be an object."))
        raw = {}
    options, architecture = dict(raw.get("config") or {}), str(raw.get("architecture") or "")
    if not raw.get("path"):
        options, found = config.check_architecture(task, architecture, options, methods)
        faults += [Fault(f"{at}.{fault.field}", fault.sentence) for fault in found]
    return NetworkInput(
        name=str(raw.get("name", at)),
        architecture=architecture,
        config=options,
        path=raw.get("path"),
        weight=float(raw.get("weight", 1.0)),
    )
