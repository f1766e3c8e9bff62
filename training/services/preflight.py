"""Before a run is queued: what cannot go together, and what it will take. No network is built here;
what is known of models, machines and earlier runs is enough."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Protocol

from projects.models import DatasetVersion, ModelVersion
from projects.services import preferences
from training import catalog
from training.engine.config import RunConfig
from training.engine.terms import Loss
from training.models import TeacherOutputs, Worker
from training.services import (
    durations,
    gates,
    readings,
    recorded_teachers,
    schedule,
    sizes,
    workers,
)

Faults = dict[str, list[str]]

FLOAT = 4  # bytes
PROCESS = 400 << 20  # a process that holds torch, and the rows it works on
CHECKPOINTS = 3  # kept at a time
CHARACTERS = 3.5  # of a token, where only a text's length is known
A_ROW = 200_000  # bytes of activations of a small network, roughly
TELLING = {".json", ".safetensors", ".txt", ".model"}  # files that can change an answer

SHOWN = {
    "hidden": "layers",
    "attention": "attention maps",
    "relations": "separate queries, keys and values",
    "embedding": "vector before the last layer",
}


class Network(Protocol):
    """What is known of a model that is there, or will be (references.Network)."""

    @property
    def version(self) -> ModelVersion | None: ...
    @property
    def reference(self) -> str: ...
    @property
    def architecture(self) -> str: ...
    @property
    def has_weights(self) -> bool: ...
    @property
    def is_recorded(self) -> bool: ...


# -- what cannot go together ----------------------------------------------------------------------


def faults(
    *, config: RunConfig, dataset: DatasetVersion, student: Network, teachers: Sequence[Network]
) -> Faults:
    """Every fault at its field, each with what to do about it."""
    found: Faults = {}
    _layers(config, student, teachers, found)
    _tokens(config, student, teachers, found)
    _chats(config, dataset, student, teachers, found)
    _inputs(config, student, teachers, found)
    _places(config, student, teachers, found)
    _exports(config, student, found)
    _route(config, dataset, found)
    _columns(config, dataset, found)
    _depth(config, student, found)
    _lengths(config, dataset, student, teachers, found)
    return found


def _layers(
    config: RunConfig, student: Network, teachers: Sequence[Network], found: Faults
) -> None:
    for at, term in _terms(config):
        wants = wanted(term)
        if not wants:
            continue
        label = (catalog.find("losses", term.kind) or {"label": term.kind})["label"]
        if len(teachers) > 1:
            found.setdefault("teachers", []).append(
                f"{label} compares layers, and layers are compared with one teacher's. Choose one "
                "teacher, or take a term that compares answers."
            )
        for teacher in teachers:
            if teacher.is_recorded:
                found.setdefault(at, []).append(
                    f"{label} compares layers, and {teacher.reference} is recorded answers, "
                    "without any. Take a term that compares answers."
                )
        for network in (student, *teachers[:1]):
            known = catalog.find("architectures", network.architecture)
            lacks = [one for one in wants if known is not None and one not in known["shows"]]
            if known is not None and lacks:
                found.setdefault(at, []).append(
                    f"{label} compares {SHOWN[lacks[0]]}, and {known['label']} "
                    f"({network.reference}) shows none. Take another term, or a model that has "
                    "them."
                )


def wanted(term: Loss) -> list[str]:
    """What a term looks at beside the logits: hidden, attention, relations, embedding."""
    return catalog.wanted({"kind": term.kind, **term.options})


def _tokens(
    config: RunConfig, student: Network, teachers: Sequence[Network], found: Faults
) -> None:
    """Student and teacher read the same tokens, where they are compared place by place."""
    if not teachers or not _listens(config) or not _shares_inputs(config):
        return
    why = _why(config)
    first = teachers[0]
    for place, teacher in enumerate(teachers[1:], 1):
        if _reads_otherwise(first, teacher):
            found.setdefault(f"teachers.{place}", []).append(
                f"{teacher.reference} cuts texts into other tokens than {first.reference}; {why}. "
                "Choose teachers with one tokenizer."
            )
    if student.has_weights and _reads_otherwise(first, student):
        found.setdefault("student", []).append(
            f"{student.reference} cuts texts into other tokens than {first.reference}; {why}. "
            "Begin with a student without weights, which takes over its teacher's tokenizer, or "
            "with one made from this teacher."
        )


def _chats(
    config: RunConfig,
    dataset: DatasetVersion,
    student: Network,
    teachers: Sequence[Network],
    found: Faults,
) -> None:
    """No chat template refuses the dataset's chats."""
    if config.task == "text-generation":
        for at, sentence in readings.refused_chats(dataset, student, teachers):
            found.setdefault(at, []).append(sentence)


def _inputs(
    config: RunConfig, student: Network, teachers: Sequence[Network], found: Faults
) -> None:
    """Pictures and sounds are read alike, where layers are compared or pictures moved."""
    task = catalog.find("tasks", config.task)
    moved = config.training.augmentation != "none" and _listens(config)
    if task is None or task["column"] not in ("image", "audio"):
        return
    if not teachers or not (moved or any(_placed(term) for _, term in _terms(config))):
        return
    why = "both must see the same moved inputs" if moved else "the terms compare layers"
    for teacher in teachers:
        if teacher.is_recorded:
            continue  # what it said of a row is taken to hold for the row moved
        if sentence := readings.apart(student, teacher):
            found.setdefault("student", []).append(f"{sentence} ({why.capitalize()}.)")
            return


def _places(
    config: RunConfig, student: Network, teachers: Sequence[Network], found: Faults
) -> None:
    """Layers of pictures have the same places, where they are compared place by place."""
    for at, term in _terms(config):
        options = term.options
        by_place = {
            "hidden_states": options.get("places") != "mean",
            "embeddings": options.get("of") == "tokens",
            "attention_maps": options.get("form") != "attention_transfer",
        }.get(term.kind, False)
        for teacher in teachers[:1] if by_place else ():
            if sentence := readings.places_apart(student, teacher):
                instead = {
                    "hidden_states": "Take the mean of places",
                    "embeddings": "Take the embeddings of rows",
                }.get(term.kind, "Take a term that compares answers")
                found.setdefault(at, []).append(f"{sentence} {instead}, or another student.")


def _exports(config: RunConfig, student: Network, found: Faults) -> None:
    """The forms that the student is to be shipped in are ones for its architecture."""
    for key in config.exports:
        method = catalog.find("exporters", key)
        reason = (method or {}).get("refusals", {}).get(student.architecture)
        if reason:
            found.setdefault("exports", []).append(reason)


def _placed(term: Loss) -> bool:
    """Whether it looks at layers, which have places."""
    return bool({"hidden", "attention", "relations"} & set(wanted(term)))


def _reads_otherwise(one: Network, other: Network) -> bool:
    """Whether two are known to have other tokenizers; those of models from elsewhere may be the
    same in other words, which the run itself finds out."""
    if one.version is None or other.version is None:
        return False
    first, second = one.version.tokenizer or {}, other.version.tokenizer or {}
    if not (first.get("trained") and second.get("trained")):
        return False
    if first.get("sha256") and second.get("sha256"):
        return bool(first["sha256"] != second["sha256"])
    return any(first.get(name) != second.get(name) for name in ("kind", "vocabulary"))


def _why(config: RunConfig) -> str:
    if config.task == "text-generation":
        return "the terms compare what both say at every token"
    return "the terms compare layers place by place"


def _shares_inputs(config: RunConfig) -> bool:
    task = catalog.find("tasks", config.task)
    if config.task == "text-generation":
        return True
    by_place = any(_placed(term) for _, term in _terms(config))
    return by_place and task is not None and task["column"] == "text"


def _listens(config: RunConfig) -> bool:
    """Whether a term hears the teachers."""
    return any(
        (catalog.find("losses", term.kind) or {}).get("needs_teacher") for _, term in _terms(config)
    )


def _route(config: RunConfig, dataset: DatasetVersion, found: Faults) -> None:
    column = config.scheme_options.get("route_column")
    kept = [one["name"] for one in dataset.columns if one.get("role") != "ignore"]
    if not column or not dataset.columns or column in kept:
        return
    offered = ", ".join(kept[:8]) or "none"
    ignored = any(one["name"] == column for one in dataset.columns)
    why = "was left out when the dataset was read" if ignored else "is none of its columns"
    found.setdefault("scheme.route_column", []).append(
        f"{dataset.reference}: {column} {why}. It has {offered}. Choose one of these, or upload a "
        "version with that column, whose values are names of teachers."
    )


def _depth(config: RunConfig, student: Network, found: Faults) -> None:
    """The scheme's student has layers enough, as far as its configuration tells."""
    scheme = catalog.find("schemes", config.scheme) or {}
    known = catalog.find("architectures", student.architecture) or {}
    said: Any = known.get("layers")
    if isinstance(said, str):
        given = student.version.config if student.version is not None else {}
        usual: Any = next((one["default"] for one in known["options"] if one["name"] == said), ())
        said = len(given.get(said, usual))
    if isinstance(said, int) and said < scheme.get("least_layers", 0):
        found.setdefault("student", []).append(
            f"{scheme['label']} needs a student of at least {scheme['least_layers']} layers, and "
            f"{known['label']} ({student.reference}) has {said}. Take another student, or another "
            "scheme."
        )


def _columns(config: RunConfig, dataset: DatasetVersion, found: Faults) -> None:
    """A term reads what the dataset has."""
    there = {one.get(key) for one in dataset.columns for key in ("role", "name")}
    for at, term in _terms(config):
        method = catalog.find("losses", term.kind) or {}
        wanted = method.get("needs_column")
        if wanted and wanted not in there:
            what = wanted if wanted == preferences.REJECTED else f"of the role {wanted}"
            found.setdefault(at, []).append(
                f"{method['label']}: {dataset.reference} has no column {what}. "
                f"Upload a version with one, beside prompt and text, or leave the term out."
            )


def _lengths(
    config: RunConfig,
    dataset: DatasetVersion,
    student: Network,
    teachers: Sequence[Network],
    found: Faults,
) -> None:
    """Each word of a row is asked for its label, so a network must see all of them."""
    task = catalog.find("tasks", config.task)
    if task is None or task["unit"] != "word":
        return
    longest = ((dataset.statistics.get("measures") or {}).get("words") or {}).get("maximum") or 0
    networks = [("student", student), *((f"teachers.{n}", one) for n, one in enumerate(teachers))]
    for at, network in networks:
        said = network.version.config if network.version is not None else {}
        most = schedule.first(said, "max_length", "max_position_embeddings")
        if most and longest > most:
            found.setdefault(at, []).append(
                f"{network.reference} sees {most} tokens, and a row of {dataset.reference} has "
                f"{longest} words, whose last ones would have no answer. Take a model with a "
                "larger max_length, or upload the data with longer rows cut."
            )


def _terms(config: RunConfig) -> Iterator[tuple[str, Loss]]:
    """Every term that ever counts, and where it stands."""
    if not config.stages:
        for place, term in enumerate(config.losses):
            if term.weight or term.final_weight:
                yield f"losses.{place}.kind", term
    for number, stage in enumerate(config.stages):
        for place, term in enumerate(stage.losses):
            if term.weight or term.final_weight:
                yield f"stages.{number}.losses.{place}.kind", term


# -- what it will take ----------------------------------------------------------------------------


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


def warnings(
    *,
    config: RunConfig,
    found: Estimate,
    dataset: DatasetVersion,
    student: Network,
    teachers: Sequence[Network],
) -> list[str]:
    """What may be queued, and is probably not meant."""
    known = [one.version for one in teachers if one.version is not None]
    said = gates.warnings(teachers=known, student=student.version, dataset=dataset)
    if config.task == "text-generation":
        said += readings.chats_without_template(dataset, student, teachers)
    said += recorded_teachers.gaps(known, dataset)
    if config.training.freeze != "none" and not student.has_weights:
        said.append(
            f"{student.reference} has no weights yet: frozen, its backbone stays as it is drawn, "
            "at random. Freeze a student that learned something before."
        )
    return said + _machines(config, found)


def _machines(config: RunConfig, found: Estimate) -> list[str]:
    """What the workers of its queue that are here now lack."""
    here = [
        one
        for one in Worker.objects.all()
        if workers.state(one) == "online" and config.queue in one.queues
    ]
    if not here:
        return [f"No worker serves the queue {config.queue} now; the run waits until one does."]
    said = []
    largest = max(_room(one, config.gpus) for one in here)
    if found.memory_bytes and largest and found.memory_bytes > largest:
        said.append(
            f"It holds about {found.memory_bytes / 1e9:.1f} GB, and the largest worker of its "
            f"queue has {largest / 1e9:.1f} GB. Take a smaller batch, a smaller student, or "
            "gradient checkpointing."
        )
    free = max(int(one.load.get("disk_free_bytes") or 0) for one in here)
    if found.disk_bytes and free and found.disk_bytes > free:
        said.append(
            f"It writes about {found.disk_bytes / 1e9:.1f} GB, and a worker of its queue has at "
            f"most {free / 1e9:.1f} GB free. Free stored teacher answers, or ask the teacher live."
        )
    cards = max(len(one.machine.get("gpus") or []) for one in here)
    if config.gpus > cards:
        said.append(
            f"It asks for {config.gpus} GPUs, and the workers of its queue have at most {cards}."
        )
    return said


def _room(worker: Worker, gpus: int) -> int:
    """Bytes that a run could have there at most: the card's where it wants one."""
    cards = [int(one.get("memory_bytes") or 0) for one in worker.machine.get("gpus") or []]
    if gpus and cards:
        return max(cards)
    return int(worker.machine.get("memory_bytes") or 0)


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
        listens=_listens(config), stored=stored,
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
    for teacher in teachers if _listens(config) else ():
        if teacher.is_recorded or (_views(config) is None and _is_stored(teacher, dataset)):
            counted += f", and nothing of {teacher.reference}, whose answers are stored"
            continue
        answers = _answers(config, dataset, teacher)
        if config.teacher_outputs != "live" and any(wanted(term) for _, term in _terms(config)):
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
        fingerprint=dataset.fingerprint, teacher=digest(teacher.version), split="train"
    )
    return stored.filter(kind__in=("logits", "hidden_states", "top_k")).exists()


def digest(version: ModelVersion) -> str:
    """Names a version's files as the store of teacher answers does (networks.digest)."""
    total = hashlib.sha256()
    for file in sorted(version.files, key=lambda one: str(one["name"])):
        if "/" not in file["name"] and PurePosixPath(file["name"]).suffix in TELLING:
            total.update(f"{file['name']} {file['sha256']}\n".encode())
    return total.hexdigest()


def _parameters(network: Network) -> int | None:
    return network.version.parameters if network.version is not None else None
