"""Before a run is queued: what cannot go together, and what can and is probably not meant. No
network is built here; what is known of models, machines and earlier runs is enough."""

from collections.abc import Sequence
from typing import Any

from projects.models import DatasetVersion
from projects.services import preferences
from training import catalog
from training.engine.config import RunConfig
from training.models import Worker
from training.services import (
    counted_terms,
    estimates,
    gates,
    readings,
    recorded_teachers,
    schedule,
    workers,
)
from training.services.readings import Network

Faults = dict[str, list[str]]

SHOWN = {
    "hidden": "layers",
    "attention": "attention maps",
    "relations": "separate queries, keys and values",
    "embedding": "vector before the last layer",
}


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
    for at, term in counted_terms.of(config):
        wants = counted_terms.wanted(term)
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


def _tokens(
    config: RunConfig, student: Network, teachers: Sequence[Network], found: Faults
) -> None:
    """Student and teacher read the same tokens, where they are compared place by place."""
    if not teachers or not counted_terms.listen(config) or not _shares_inputs(config):
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
    moved = config.training.augmentation != "none" and counted_terms.listen(config)
    if task is None or task["column"] not in ("image", "audio"):
        return
    if not teachers or not (
        moved or any(counted_terms.placed(term) for _, term in counted_terms.of(config))
    ):
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
    for at, term in counted_terms.of(config):
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
    by_place = any(counted_terms.placed(term) for _, term in counted_terms.of(config))
    return by_place and task is not None and task["column"] == "text"


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
    for at, term in counted_terms.of(config):
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


def warnings(
    *,
    config: RunConfig,
    found: estimates.Estimate,
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


def _machines(config: RunConfig, found: estimates.Estimate) -> list[str]:
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
