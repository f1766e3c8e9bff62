"""The configuration of a run: typed, and every fault named at once.

`parse(raw, methods)` reads what a person or a program asks for (docs/api.md, "A run
configuration"); job_config.py reads the `config.json` of a job folder, in which every reference is
already a file. `methods` is the catalog (`methods.describe()`, or its JSON file), so
that this module needs no torch.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from training.engine import options
from training.engine.errors import ConfigError, Fault
from training.engine.options import JSON, option

Methods = Mapping[str, Any]
MOST_TEACHERS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How a student is trained, whatever its losses."""

    epochs: int = option(5, minimum=1, maximum=10_000, help="Passes over the training rows.")
    batch_size: int = option(64, minimum=1, maximum=65_536, help="Rows in one micro-batch.")
    learning_rate: float = option(
        0.0005, minimum=0.0, maximum=100.0, help="The schedule's highest learning rate."
    )
    optimizer: str = option("adamw", help="What turns gradients into steps.")
    weight_decay: float = option(
        0.01, minimum=0.0, maximum=10.0, help="Pulls weights to zero; biases and norms are spared."
    )
    momentum: float = option(0.9, minimum=0.0, maximum=0.9999, help="Of SGD; AdamW has its own.")
    schedule: str = option("cosine", help="How the learning rate changes after the warm-up.")
    warmup_ratio: float = option(
        0.1, minimum=0.0, maximum=1.0, help="Share of the steps in which the rate rises from 0."
    )
    max_grad_norm: float | None = option(
        1.0, minimum=1e-6, help="Longer gradients are shortened to this; empty for never."
    )
    gradient_accumulation: int = option(
        1, minimum=1, maximum=4096, help="Micro-batches in one step, exact to the last row."
    )
    precision: str = option(
        "auto",
        choices=("auto", "float32", "bfloat16"),
        help="auto: bfloat16 on a GPU that has it, float32 elsewhere. Divergences: always float32.",
    )
    seed: int = option(0, minimum=0, maximum=2**31 - 1, help="Of weights, order and dropout.")
    early_stopping: int | None = option(
        None, minimum=1, maximum=10_000, help="Epochs without a better value; empty for never."
    )
    selection_metric: str = option(
        "val/accuracy",
        choices=("val/accuracy", "val/macro_f1", "val/loss", "val/agreement", "val/kl"),
        help="Names the best checkpoint. Always on validation rows: test rows are scored once.",
    )
    checkpoint_every_steps: int = option(
        200, minimum=1, maximum=10_000_000, help="Steps lost at most when a machine dies."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """One term of the total: `weight * term`."""

    kind: str
    weight: float
    options: JSON = field(default_factory=dict)

    def as_dict(self) -> JSON:
        return {"kind": self.kind, "weight": self.weight, **self.options}


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherChoice:
    """A reference to a model, and its share when several teachers are averaged."""

    model: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """What a run is asked to do, with every default filled in."""

    name: str
    task: str
    dataset: str
    student: str
    teachers: tuple[TeacherChoice, ...]
    scheme: str
    losses: tuple[Loss, ...]
    training: Training
    teacher_outputs: str
    control: bool
    exports: tuple[str, ...]
    queue: str
    gpus: int

    def as_dict(self) -> JSON:
        """As it would be posted; parsing it again gives the same configuration."""
        return {
            "name": self.name,
            "task": self.task,
            "dataset": self.dataset,
            "student": self.student,
            "teachers": [
                one.model if one.weight == 1.0 else dataclasses.asdict(one) for one in self.teachers
            ],
            "scheme": self.scheme,
            "losses": [loss.as_dict() for loss in self.losses],
            "training": dataclasses.asdict(self.training),
            "teacher_outputs": self.teacher_outputs,
            "control": self.control,
            "exports": list(self.exports),
            "resources": {"queue": self.queue, "gpus": self.gpus},
        }


def find(methods: Methods, kind: str, key: Any) -> JSON | None:
    """The catalog's entry of a method, or None."""
    return next((method for method in methods[kind] if method["key"] == key), None)


def keys(methods: Methods, kind: str, task: str | None = None) -> str:
    """The keys on offer, as a sentence lists them."""
    return ", ".join(
        method["key"] for method in methods[kind] if task is None or task in method["tasks"]
    )


KNOWN = (
    *("name", "task", "dataset", "student", "teachers", "scheme", "losses", "training"),
    *("teacher_outputs", "control", "exports", "resources"),
)


def parse(
    raw: Any,
    methods: Methods,
    *,
    architecture: str | None = None,
    trained: bool = False,
) -> RunConfig:
    """What is asked, with every default filled in. Raises ConfigError naming every fault.

    `architecture` is the student's, `trained` whether it already has weights: what its architecture
    recommends (its learning rate above all) is then the default.
    """
    if not isinstance(raw, Mapping):
        raise ConfigError([Fault("", "A run configuration is a JSON object.")])
    faults = [
        Fault(str(name), f"There is no such key; a run configuration knows {', '.join(KNOWN)}.")
        for name in raw
        if name not in KNOWN
    ]
    task = read_task(raw, methods, faults)
    teachers = _teachers(raw.get("teachers", []), faults)
    losses = read_losses(raw.get("losses"), methods, task, len(teachers), faults)
    training = read_training(
        raw.get("training", {}), methods, recommended(methods, architecture, trained), faults
    )
    _selection(training, bool(teachers), faults)
    exports = raw.get("exports", [])
    if not isinstance(exports, list):
        exports = []
        faults.append(Fault("exports", "It must be a list of formats."))
    for place, key in enumerate(exports):
        if find(methods, "exporters", key) is None:
            offered = keys(methods, "exporters")
            faults.append(
                Fault(f"exports.{place}", f"There is no such export; on offer: {offered}.")
            )
    scheme = raw.get("scheme", "offline")
    if find(methods, "schemes", scheme) is None:
        faults.append(Fault("scheme", f"It must be one of {keys(methods, 'schemes')}."))
    outputs = raw.get("teacher_outputs", "auto")
    if outputs not in ("auto", "live"):
        faults.append(Fault("teacher_outputs", "It must be auto (asked once, stored) or live."))
    control = raw.get("control", bool(teachers))
    if not isinstance(control, bool):
        control = False
        faults.append(Fault("control", "It must be true or false."))
    queue, gpus = _resources(raw.get("resources", {}), faults)
    name = _text(raw, "name", faults, optional=True)
    dataset, student = _text(raw, "dataset", faults), _text(raw, "student", faults)
    if faults:
        raise ConfigError(faults)
    return RunConfig(
        name=name,
        task=task,
        dataset=dataset,
        student=student,
        teachers=tuple(teachers),
        scheme=scheme,
        losses=tuple(losses),
        training=training,
        teacher_outputs=outputs,
        control=control and bool(teachers),
        exports=tuple(exports),
        queue=queue,
        gpus=gpus,
    )


def recommended(methods: Methods, architecture: str | None, trained: bool) -> JSON:
    """Training options that suit an architecture, where it says so."""
    found = find(methods, "architectures", architecture)
    if found is None:
        return {}
    return dict(found["recommended_trained" if trained else "recommended"])


def check_architecture(
    task: Any, key: Any, values: Any, methods: Methods
) -> tuple[JSON, list[Fault]]:
    """An architecture's options with defaults filled in, and every fault.

    A transformers architecture is `open`: keys beyond the described options go to its own
    configuration class, which `inspect` tries.
    """
    found = find(methods, "architectures", key)
    if found is None or task not in found["tasks"]:
        offered = keys(methods, "architectures", task)
        return {}, [Fault("architecture", f"It must be one of {offered}.")]
    if not isinstance(values, Mapping):
        return {}, [Fault("config", "It must be an object of options.")]
    known = {one["name"] for one in found["options"]}
    extra = {name: value for name, value in values.items() if name not in known}
    if not found["open"]:
        return options.check(found["options"], values, "config")
    inner = {name: value for name, value in values.items() if name in known}
    resolved, faults = options.check(found["options"], inner, "config")
    for name in sorted(str(name) for name in extra):
        if name in FORBIDDEN or not name.isidentifier():
            faults.append(Fault(f"config.{name}", "This key is refused: it could load code."))
    return {**resolved, **extra}, faults


# Keys of a transformers configuration that name code, files or other models to load.
FORBIDDEN = frozenset(
    {
        *("auto_map", "custom_pipelines", "trust_remote_code", "code_revision", "_commit_hash"),
        *("name_or_path", "_name_or_path", "model_type", "architectures", "transformers_version"),
        *("attn_implementation", "_attn_implementation", "kernel_config", "quantization_config"),
        *("backbone", "backbone_kwargs", "use_timm_backbone", "use_pretrained_backbone"),
    }
)


def read_task(raw: Mapping[str, Any], methods: Methods, faults: list[Fault]) -> str:
    task = raw.get("task")
    if find(methods, "tasks", task) is None:
        faults.append(Fault("task", f"It must be one of {keys(methods, 'tasks')}."))
    return str(task)


def _text(raw: Mapping[str, Any], name: str, faults: list[Fault], *, optional: bool = False) -> str:
    value = raw.get(name, "" if optional else None)
    if not isinstance(value, str) or (not value.strip() and not optional):
        faults.append(Fault(name, "It must be given." if value is None else "It must be a text."))
        return ""
    if len(value) > 200:
        faults.append(Fault(name, "It must have at most 200 characters."))
    return value.strip()


def _teachers(raw: Any, faults: list[Fault]) -> list[TeacherChoice]:
    if not isinstance(raw, list):
        faults.append(Fault("teachers", "It must be a list of models."))
        return []
    if len(raw) > MOST_TEACHERS:
        faults.append(Fault("teachers", f"It may hold at most {MOST_TEACHERS} models."))
    chosen = []
    for place, one in enumerate(raw):
        given = {"model": one} if isinstance(one, str) else one
        if not isinstance(given, Mapping) or set(given) - {"model", "weight"}:
            faults.append(
                Fault(f"teachers.{place}", 'It must be a model, or {"model": ..., "weight": ...}.')
            )
            continue
        inner: list[Fault] = []
        model = _text(given, "model", inner)
        weight = _positive(given.get("weight", 1.0), "weight", inner)
        faults += [Fault(f"teachers.{place}.{fault.field}", fault.sentence) for fault in inner]
        chosen.append(TeacherChoice(model=model, weight=weight))
    return chosen


def _positive(value: Any, name: str, faults: list[Fault], *, zero: bool = False) -> float:
    described = {"type": "float", "nullable": False, "minimum": 0.0, "maximum": 1e6, "name": name}
    resolved, found = options.check([{**described, "default": 1.0}], {name: value})
    faults += found
    number = float(resolved.get(name, 1.0))
    if number == 0.0 and not zero:
        faults.append(Fault(name, "It must be more than 0."))
    return number


DISTIL = [
    {"kind": "soft_targets", "weight": 0.9, "temperature": 4.0},
    {"kind": "hard_labels", "weight": 0.1},
]
FINE_TUNE = [{"kind": "hard_labels", "weight": 1.0}]


def read_losses(
    raw: Any, methods: Methods, task: str, teachers: int, faults: list[Fault]
) -> list[Loss]:
    if raw is None:
        raw = DISTIL if teachers else FINE_TUNE
    if not isinstance(raw, list) or not raw:
        faults.append(Fault("losses", "It must be a list of at least one loss."))
        return []
    chosen: list[Loss] = []
    for place, one in enumerate(raw):
        at = f"losses.{place}"
        kind = one.get("kind") if isinstance(one, Mapping) else None
        found = find(methods, "losses", kind)
        if found is None or task not in found["tasks"]:
            faults.append(
                Fault(f"{at}.kind", f"It must be one of {keys(methods, 'losses', task)}.")
            )
            continue
        if found["needs_teacher"] and not teachers:
            faults.append(
                Fault(f"{at}.kind", "It needs a teacher: choose one, or train on hard labels only.")
            )
        if any(loss.kind == kind for loss in chosen):
            faults.append(Fault(f"{at}.kind", "It is there twice; give it one weight."))
        inner: list[Fault] = []
        weight = _positive(one.get("weight", 1.0), "weight", inner, zero=True)
        faults += [Fault(f"{at}.{fault.field}", fault.sentence) for fault in inner]
        values = {name: value for name, value in one.items() if name not in ("kind", "weight")}
        resolved, inner = options.check(found["options"], values, at)
        faults += inner
        chosen.append(Loss(kind=str(kind), weight=weight, options=resolved))
    if chosen and all(loss.weight == 0.0 for loss in chosen):
        faults.append(Fault("losses", "At least one weight must be more than 0."))
    return chosen


def read_training(raw: Any, methods: Methods, suited: JSON, faults: list[Fault]) -> Training:
    if not isinstance(raw, Mapping):
        faults.append(Fault("training", "It must be an object of options."))
        raw = {}
    resolved, found = options.check(methods["training"], {**suited, **raw}, "training")
    faults += found
    return Training(**resolved)


def _selection(training: Training, teachers: bool, faults: list[Fault]) -> None:
    metric = training.selection_metric
    if metric in ("val/agreement", "val/kl") and not teachers:
        faults.append(Fault("training.selection_metric", f"{metric} needs a teacher."))


def _resources(raw: Any, faults: list[Fault]) -> tuple[str, int]:
    described: Sequence[JSON] = [
        {"name": "queue", "type": "str", "nullable": False, "default": "default"},
        {
            "name": "gpus",
            "type": "int",
            "nullable": False,
            "default": 0,
            "minimum": 0,
            "maximum": 1,
        },
    ]
    if not isinstance(raw, Mapping):
        faults.append(Fault("resources", "It must be an object."))
        raw = {}
    resolved, found = options.check(described, raw, "resources")
    faults += found
    return resolved.get("queue", "default"), resolved.get("gpus", 0)
