"""The configuration of a run: typed, and every fault named at once.

`parse(raw, methods)` reads what a person or a program asks for (docs/api.md, "A run
configuration"); job_config.py reads the `config.json` of a job folder, in which every reference is
already a file. `methods` is the catalog (`methods.describe()`, or its JSON file), so
that this module needs no torch.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training.engine import options, transfer
from training.engine.errors import ConfigError, Fault
from training.engine.options import JSON, option
from training.engine.terms import (
    Loss,
    Methods,
    Stage,
    find,
    is_taught,
    keys,
    needs_column,
    read_scheme,
    read_terms,
    read_text,
    read_weight,
    scheme_as_dict,
    unusual,
)

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
        choices=("auto", "float32", "bfloat16", "float16"),
        help="auto: bfloat16 on a GPU that has it, float32 elsewhere; float16 on a GPU only. "
        "Divergences: always float32. Large teachers answer in bfloat16 where that is faster and "
        "moves their targets by less than 0.001 nats, unless float32 is asked for.",
    )
    seed: int = option(0, minimum=0, maximum=2**31 - 1, help="Of weights, order and dropout.")
    early_stopping: int | None = option(
        None, minimum=1, maximum=10_000, help="Epochs without a better value; empty for never."
    )
    selection_metric: str = option(
        "auto",
        help="Names the best checkpoint, on validation rows: test rows are scored once. auto: what "
        "the task is judged by, such as val/accuracy.",
    )
    checkpoint_every_steps: int = option(
        200, minimum=1, maximum=10_000_000, help="Steps lost at most when a machine dies."
    )
    augmentation: str = option(
        "none",
        choices=("none", "light", "strong"),
        help="Pictures moved and mirrored, sounds shifted, anew in every epoch. The teacher then "
        "sees what the student sees, and is asked live, unless there are frozen views.",
    )
    augmentation_views: int | None = option(
        None,
        minimum=1,
        maximum=64,
        help="Frozen views: so many changed copies of each row, drawn once from seed and row; "
        "epoch e trains on view e mod this number. The teacher is asked about each view once, and "
        "its answers stored. Empty: anew in every epoch.",
    )
    gradient_checkpointing: bool = option(
        False,
        help="Compute activations twice instead of keeping them: a third slower, a fraction of the "
        "memory. Transformers only.",
    )
    lora_rank: int | None = option(
        None,
        minimum=1,
        maximum=1024,
        label="LoRA rank",
        help="Train thin corrections of a pretrained transformer's layers instead of all its "
        "weights; they are added to it at the end. Empty for all weights; 8 is usual. Needs the "
        "extra `lora`.",
    )
    freeze: str = option(
        "none",
        choices=("none", "backbone"),
        help="backbone: only the student's last layers learn, from what its trained ones see; the "
        "rest keeps its weights, needs no gradient and drops nothing out. Of a student without "
        "weights that would be a random network.",
    )
    compile: bool = option(
        False,
        help="torch.compile the student: pays on a GPU after a minute, seldom on a CPU.",
    )
    sharding: str = option(
        "none",
        choices=("none", "fsdp"),
        help="fsdp: weights, gradients and moments lie in parts on all GPUs of the run, for a "
        "student that does not fit one; slower where it fits.",
    )


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
    scheme_options: JSON
    losses: tuple[Loss, ...]
    stages: tuple[Stage, ...]
    training: Training
    teacher_outputs: str
    top_k: int
    control: bool
    exports: tuple[str, ...]
    queue: str
    gpus: int
    memory_mib: int | None = None  # that a worker keeps for it; None: as much as is estimated
    slices: tuple[str, ...] = ()
    tests: bool = True  # whether test rows are scored at the end

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
            "scheme": scheme_as_dict(self.scheme, self.scheme_options),
            "losses": [loss.as_dict() for loss in self.losses],
            **({"stages": [one.as_dict() for one in self.stages]} if self.stages else {}),
            "training": dataclasses.asdict(self.training),
            "teacher_outputs": self.teacher_outputs,
            **({"top_k": self.top_k} if self.teacher_outputs == "top_k" else {}),
            "control": self.control,
            "exports": list(self.exports),
            "resources": {
                "queue": self.queue,
                "gpus": self.gpus,
                **({"memory_mib": self.memory_mib} if self.memory_mib is not None else {}),
            },
            **({"evaluation": self.evaluation} if self.evaluation else {}),
        }

    @property
    def evaluation(self) -> JSON:
        """What of it is not as usual."""
        sliced: JSON = {"slices": list(self.slices)} if self.slices else {}
        return sliced if self.tests else {**sliced, "test": False}


KNOWN = (
    *("name", "task", "dataset", "student", "teachers", "scheme", "losses", "training"),
    *("stages", "teacher_outputs", "top_k", "control", "exports", "resources", "evaluation"),
)


def parse(
    raw: Any,
    methods: Methods,
    *,
    architecture: str | None = None,
    trained: bool = False,
    problem: str = "single_label",
) -> RunConfig:
    """What is asked, with every default filled in. Raises ConfigError naming every fault.

    `architecture` is the student's, `trained` whether it already has weights: what its architecture
    recommends (its learning rate above all) is then the default. `problem` is the dataset's.
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
    judged = (find(methods, "tasks", task) or {}).get("metrics", {})
    if judged and problem not in judged:  # vectors, whose task has no other problem
        problem = next(iter(judged))
    scheme, scheme_options = read_scheme(raw.get("scheme", "offline"), methods, task, faults)
    spoken = is_taught(methods, scheme, len(teachers), faults)
    losses, stages = read_terms(raw, methods, task, scheme, spoken, problem, faults)
    training = read_training(
        raw.get("training", {}), methods, recommended(methods, architecture, trained), faults
    )
    training = select(training, methods, task, problem, spoken, faults, scheme)
    exports = raw.get("exports", [])
    if not isinstance(exports, list):
        exports = []
        faults.append(Fault("exports", "It must be a list of formats."))
    for place, key in enumerate(exports):
        exporter = find(methods, "exporters", key)
        if exporter is None or task not in exporter["tasks"]:
            offered = keys(methods, "exporters", task)
            faults.append(
                Fault(f"exports.{place}", f"There is no such export; on offer: {offered}.")
            )
    outputs, top_k = read_outputs(
        raw.get("teacher_outputs", "auto"), raw.get("top_k", TOP_K), task, faults
    )
    check_views(outputs, training, faults)
    faults += transfer.check(training, task, losses, stages, methods)
    every = [*losses, *(loss for stage in stages for loss in stage.losses)]
    # Reasons that a teacher wrote teach, too, though nobody answers while the student learns.
    comparable = spoken or any(needs_column(methods, loss.kind) for loss in every)
    control = raw.get("control", comparable)
    if not isinstance(control, bool):
        control = False
        faults.append(Fault("control", "It must be true or false."))
    resources = _resources(raw.get("resources", {}), faults)
    slices, tests = read_evaluation(raw.get("evaluation", {}), faults)
    name = read_text(raw, "name", faults, optional=True)
    dataset, student = read_text(raw, "dataset", faults), read_text(raw, "student", faults)
    if faults:
        raise ConfigError(faults)
    return RunConfig(
        name=name,
        task=task,
        dataset=dataset,
        student=student,
        teachers=tuple(teachers),
        scheme=scheme,
        scheme_options=unusual((find(methods, "schemes", scheme) or {})["options"], scheme_options),
        losses=tuple(losses),
        stages=tuple(stages),
        training=training,
        teacher_outputs=outputs,
        top_k=top_k,
        control=control and comparable,
        exports=tuple(exports),
        queue=resources.get("queue", "default"),
        gpus=resources.get("gpus", 0),
        memory_mib=resources.get("memory_mib"),
        slices=slices,
        tests=tests,
    )


#: How a teacher's answers are kept. `auto` stores them, unless they are too large or asking live is
#: clearly faster. The last three are for vocabularies: `auto` and `stored` take the smallest that
#: loses nothing, and a top k where that is too large.
OUTPUTS = ("auto", "stored", "live", "logits", "hidden_states", "top_k")
TOP_K = 64


def outputs_of(task: str) -> tuple[str, ...]:
    """How teacher outputs of a task may be kept."""
    return OUTPUTS if task == "text-generation" else OUTPUTS[:3]


def read_outputs(kind: Any, k: Any, task: str, faults: list[Fault]) -> tuple[str, int]:
    """How teacher outputs are kept, and the k of a top k."""
    offered = outputs_of(task)
    if kind not in offered:
        faults.append(
            Fault(
                "teacher_outputs",
                f"It must be one of {', '.join(offered)}: auto is asked once and stored, or live "
                "where that is faster; live is asked at every step.",
            )
        )
    described = [
        {"name": "top_k", "type": "int", "nullable": False, "minimum": 1, "maximum": 4096}
        | {"default": TOP_K}
    ]
    resolved, found = options.check(described, {"top_k": k})
    faults += found
    return str(kind), int(resolved.get("top_k", TOP_K))


def check_views(outputs: str, training: Training, faults: list[Fault]) -> None:
    """Answers to rows that change in every epoch cannot be stored."""
    changes = training.augmentation != "none" and training.augmentation_views is None
    if changes and outputs not in ("auto", "live"):
        sentence = (
            "Rows change in every epoch, and the teacher's answers are to be stored: give a number "
            "of frozen views, or take auto or live for its answers."
        )
        faults.append(Fault("training.augmentation_views", sentence))


MOST_SLICES = 16


def read_evaluation(raw: Any, faults: list[Fault]) -> tuple[tuple[str, ...], bool]:
    """`{"slices": [column, ...], "test": true}`: the dataset's columns by which the evaluation
    tells parts; and whether test rows are looked at. In a search they are not: trials are judged on
    validation rows, and the one that is chosen is tested once."""
    if not isinstance(raw, Mapping) or set(raw) - {"slices", "test"}:
        sentence = 'It must be {"slices": [a column, ...], "test": true or false}.'
        faults.append(Fault("evaluation", sentence))
        return (), True
    tests = raw.get("test", True)
    if not isinstance(tests, bool):
        faults.append(Fault("evaluation.test", "It must be true or false."))
        tests = True
    return _slices(raw.get("slices", []), faults), tests


def _slices(found: Any, faults: list[Fault]) -> tuple[str, ...]:
    named = isinstance(found, list) and all(isinstance(one, str) and one for one in found)
    if not named or len(found) > MOST_SLICES:
        sentence = f"It must be a list of at most {MOST_SLICES} names of columns."
        faults.append(Fault("evaluation.slices", sentence))
        return ()
    return tuple(dict.fromkeys(found))


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
        model = read_text(given, "model", inner)
        weight = read_weight(given.get("weight", 1.0), "weight", inner)
        faults += [Fault(f"teachers.{place}.{fault.field}", fault.sentence) for fault in inner]
        chosen.append(TeacherChoice(model=model, weight=weight))
    return chosen


def read_training(raw: Any, methods: Methods, suited: JSON, faults: list[Fault]) -> Training:
    if not isinstance(raw, Mapping):
        faults.append(Fault("training", "It must be an object of options."))
        raw = {}
    resolved, found = options.check(methods["training"], {**suited, **raw}, "training")
    faults += found
    return Training(**resolved)


OF_A_TEACHER = ("agreement", "kl")


def metrics_of(methods: Methods, task: str, problem: str) -> list[str]:
    """What a task's answers are judged by, the first one first: accuracy, macro_f1, ..."""
    found = find(methods, "tasks", task) or {}
    return list(found.get("metrics", {}).get(problem, ["loss"]))


def select(
    training: Training,
    methods: Methods,
    task: str,
    problem: str,
    taught: bool,
    faults: list[Fault],
    scheme: str = "offline",
) -> Training:
    """The training with its selection metric resolved: `auto` is the scheme's own, or the task's
    first."""
    judged = metrics_of(methods, task, problem)
    method = find(methods, "schemes", scheme) or {}
    if training.selection_metric == "auto":
        first = method.get("selects") or judged[0]
        return dataclasses.replace(training, selection_metric=f"val/{first}")
    judged = [*judged, *method.get("metrics", ())]
    name = training.selection_metric.removeprefix("val/")
    if name in OF_A_TEACHER and not taught:
        faults.append(
            Fault("training.selection_metric", f"{training.selection_metric} needs a teacher.")
        )
        return training
    # Vectors have no loss on validation rows, and numbers no probabilities that a KL is of.
    others = {"embedding": (), "regression": ("loss",)}.get(problem, ("loss", *OF_A_TEACHER))
    if name not in (*judged, *others):
        offered = ", ".join(f"val/{one}" for one in (*judged, *others))
        faults.append(Fault("training.selection_metric", f"It must be one of {offered}."))
    return training


def _resources(raw: Any, faults: list[Fault]) -> JSON:
    described: Sequence[JSON] = [
        {"name": "queue", "type": "str", "nullable": False, "default": "default"},
        {
            "name": "gpus",
            "type": "int",
            "nullable": False,
            "default": 0,
            "minimum": 0,
            "maximum": 16,
        },
        {
            "name": "memory_mib",
            "type": "int",
            "nullable": True,
            "default": None,
            "minimum": 1,
            "maximum": 1 << 30,
        },
    ]
    if not isinstance(raw, Mapping):
        faults.append(Fault("resources", "It must be an object."))
        raw = {}
    resolved, found = options.check(described, raw, "resources")
    faults += found
    return resolved
