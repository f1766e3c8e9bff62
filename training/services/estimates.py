"""What a run will take: memory, disk, steps and time. No network is built here; what is known of
models, machines and earlier runs is enough."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from projects.models import DatasetVersion
from training import catalog
from training.engine.config import RunConfig
from training.models import TeacherOutputs
from training.services import counted_terms, durations, schedule, sizes, teacher_outputs
from training.services.readings import Network

FLOAT = 4  # bytes
PROCESS = 400 << 20  # a process that holds torch, and the rows it works on
CHECKPOINTS = 3  # kept at a time
CHARACTERS = 3.5  # of a token, where only a text's length is known
A_ROW = 200_000  # bytes of activations of a small network, roughly


@dataclass(slots=True)
class Estimate:
    """Roughly what a run takes; None where nobody can know yet. Of its control, which comes after
    it, the time alone is counted."""

    memory_bytes: int | None = None
    disk_bytes: int | None = None
    steps: int | None = None
    windows: int | None = None  # of an epoch, about, where texts are cut; then steps are a guess
    seconds: float | None = None  # with the control's
    seconds_range: tuple[float, float] | None = None  # that it will most likely be in
    based_on: dict[str, str] = field(default_factory=dict)  # in words, by memory, disk, steps, time

    def as_dict(self) -> dict[str, Any]:
        return {
            "memory_bytes": self.memory_bytes,
            "disk_bytes": self.disk_bytes,
            "steps": self.steps,
            "windows": self.windows,
            "seconds": self.seconds,
            "seconds_range": self.seconds_range,
            "based_on": self.based_on,
        }


def estimate(
    *, config: RunConfig, dataset: DatasetVersion, student: Network, teachers: Sequence[Network]
) -> Estimate:
    found = Estimate()
    _memory(found, config, dataset, student, teachers)
    _disk(found, config, dataset, student, teachers)
    _steps(found, config, dataset, student, teachers)
    return found


def _steps(
    found: Estimate,
    config: RunConfig,
    dataset: DatasetVersion,
    student: Network,
    teachers: Sequence[Network],
) -> None:
    """Steps of the optimizer, and the seconds of run and control."""
    asked = config.as_dict()
    epoch = schedule.epoch(config=asked, dataset=dataset, student=student, teachers=teachers)
    epochs = schedule.passes(asked)
    found.steps, found.windows = epoch.steps * epochs, epoch.windows
    what = f"{epoch.windows:,} windows" if epoch.windows else f"{epoch.rows:,} rows"
    many = "epoch" if epochs == 1 else "epochs"
    found.based_on["steps"] = f"{epochs} {many} of {'about ' * bool(epoch.windows)}{what}"
    stored = [
        one
        for one in teachers
        if one.is_recorded or (_is_stored(one, dataset) and _views(config) is None)
    ]
    took = durations.estimate(
        config=asked, dataset=dataset, student=student, teachers=teachers, epoch=epoch,
        listens=counted_terms.listen(config), stored=stored,
    )  # fmt: skip
    found.seconds, found.seconds_range = took.seconds, (took.low, took.high)
    found.based_on["time"] = took.said


def _memory(
    found: Estimate,
    config: RunConfig,
    dataset: DatasetVersion,
    student: Network,
    teachers: Sequence[Network],
) -> None:
    """Weights, gradients, moments and the best weights so far of every student; what a batch leaves
    for the way back; and the teachers' weights."""
    size = sizes.of(student.version, labels=dataset.labels)
    weights = size.parameters
    if weights is None:
        found.based_on["memory"] = "not known before the student is there"
        return
    moments = 2 if config.training.optimizer == "adamw" else 1
    students = schedule.students(config.as_dict())
    batch, guessed = _activations(config, student)
    scheme = catalog.find("schemes", config.scheme) or {}
    copies, answers = scheme.get("copies", 0), scheme.get("answers", 1)
    total = PROCESS + students * (weights * FLOAT * (3 + moments + copies) + batch * answers)
    counted = f"{size.word} {weights:,} weights with gradients and moments".strip()
    if students > 1:
        counted = f"{students} students of {counted}"
    if copies:
        counted += " and a copy"
    for teacher in teachers:
        of_teacher = _parameters(teacher)
        if of_teacher is not None:
            total += of_teacher * FLOAT
            counted += f", {of_teacher:,} of {teacher.reference}"
    found.memory_bytes = total
    found.based_on["memory"] = f"{counted}, and a batch of {config.training.batch_size} {guessed}"


def _activations(config: RunConfig, student: Network) -> tuple[int, str]:
    """Bytes that one batch leaves for the way back, and how sure that is."""
    asked = student.version.config if student.version is not None else {}
    batch = config.training.batch_size
    width = schedule.first(asked, "hidden_size", "n_embd", "d_model", "dim")
    layers = schedule.first(asked, "num_hidden_layers", "n_layer", "n_layers", "layers")
    known = catalog.find("architectures", student.architecture)
    if known is None or known["kind"] != "transformers" or not width or not layers:
        return batch * A_ROW, "(roughly)"
    tokens = schedule.first(asked, "max_length") or 196
    heads = schedule.first(asked, "num_attention_heads", "n_head", "n_heads") or 1
    # Korthikanti et al. 2205.05198, equation 2: 34 s b h + 5 a s² b bytes of a layer at 16 bits.
    one = 2 * (34 * tokens * width + 5 * heads * tokens * tokens)
    kept = 2 if config.training.gradient_checkpointing else layers
    return batch * one * kept, f"of {tokens} places"


def _disk(
    found: Estimate,
    config: RunConfig,
    dataset: DatasetVersion,
    student: Network,
    teachers: Sequence[Network],
) -> None:
    """Checkpoints, the model, and what the teachers say that no store of ours has yet."""
    weights = sizes.of(student.version, labels=dataset.labels).parameters
    if weights is None:
        found.based_on["disk"] = "not known before the student is there"
        return
    moments = 2 if config.training.optimizer == "adamw" else 1
    total = weights * FLOAT * (1 + CHECKPOINTS * (2 + moments))
    counted = f"{CHECKPOINTS} checkpoints and the model"
    looks = any(counted_terms.wanted(term) for _, term in counted_terms.of(config))
    for teacher in teachers if counted_terms.listen(config) else ():
        if teacher.is_recorded or (_views(config) is None and _is_stored(teacher, dataset)):
            counted += f", and nothing of {teacher.reference}, whose answers are stored"
            continue
        answers = _answers(config, dataset, teacher)
        if config.teacher_outputs != "live" and looks:
            counted += f", layers of {teacher.reference} where the run finds that storing them pays"
        if answers is None:
            counted += f", and what {teacher.reference} says, whose size is not known yet"
        else:
            total += answers
            counted += f", and what {teacher.reference} says ({answers / 1e6:,.1f} MB)"
    found.disk_bytes = total
    found.based_on["disk"] = counted


def _answers(config: RunConfig, dataset: DatasetVersion, teacher: Network) -> int | None:
    """Bytes of a teacher's stored answers: float16 of every output of every row; of a vocabulary
    what the run's way of keeping them takes a token."""
    splits = dict(dataset.splits)
    if config.teacher_outputs == "live":
        splits.pop("train", None)
    rows = sum(int(one.get("rows") or 0) for one in splits.values())
    views = _views(config)
    if views is not None and "train" in splits:
        rows += (views - 1) * int(splits["train"].get("rows") or 0)
    if config.task != "text-generation":
        return rows * 2 * max(1, len(dataset.labels))
    mean = _mean_length(dataset)
    if mean is None or teacher.version is None:
        return None
    tokens = int(rows * mean / CHARACTERS)
    width = schedule.first(teacher.version.config, "hidden_size", "n_embd", "hidden", "dim")
    vocabulary = int((teacher.version.tokenizer or {}).get("vocabulary") or 0)
    sizes = {
        "top_k": 6 * config.top_k + 12,
        "hidden_states": 2 * width if width else None,
        "logits": 2 * vocabulary if vocabulary else None,
    }
    whole = [one for one in (sizes["hidden_states"], sizes["logits"]) if one]
    a_token = sizes.get(config.teacher_outputs, min(whole, default=None))
    return None if a_token is None else tokens * a_token


def _views(config: RunConfig) -> int | None:
    """Frozen views of every training row; 0 where rows change in every epoch, and no answer to them
    is stored; None where rows are as they are."""
    training = config.training
    if training.augmentation == "none":
        return None
    return min(training.augmentation_views or 0, training.epochs)


def _mean_length(dataset: DatasetVersion) -> float | None:
    """Characters of a text."""
    for measure in (dataset.statistics.get("measures") or {}).values():
        if isinstance(measure, Mapping) and isinstance(measure.get("mean"), int | float):
            return float(measure["mean"])
    return None


def _is_stored(teacher: Network, dataset: DatasetVersion) -> bool:
    if teacher.version is None:
        return False
    if teacher.is_recorded:
        return True
    stored = TeacherOutputs.objects.filter(
        fingerprint=dataset.fingerprint,
        teacher=teacher_outputs.digest(teacher.version),
        split="train",
    )
    return stored.filter(kind__in=("logits", "hidden_states", "top_k")).exists()


def _parameters(network: Network) -> int | None:
    return network.version.parameters if network.version is not None else None
