"""How many steps a run takes: the epochs of all stages and generations, and what one holds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distillhub.lib.later import np
from projects.models import DatasetVersion, ModelVersion
from training import catalog
from training.models import Run
from training.services.readings import Network

LOOKED_AT = 50  # finished runs
LONGEST = 1024  # tokens of a window, where a model does not say
#: Characters of a token by the size of the vocabulary: byte pairs learned of Shakespeare's plays,
#: and for the last what large tokenizers make of English.
CHARACTERS = {256: 1.0, 500: 1.92, 1000: 2.41, 2000: 2.85, 4000: 3.23, 8000: 3.5, 16000: 3.67}
CHARACTERS |= {50_000: 4.0}


@dataclass(frozen=True, slots=True)
class There:
    """A version as a network that is there (readings.Network)."""

    version: ModelVersion
    has_weights: bool = True

    @property
    def reference(self) -> str:
        return self.version.reference

    @property
    def architecture(self) -> str:
        return self.version.architecture

    @property
    def is_recorded(self) -> bool:
        return self.version.is_recorded


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one pass over the training split takes."""

    rows: int
    steps: int
    windows: int | None = None  # of texts that are cut; an estimate, unlike rows


def passes(config: Mapping[str, Any]) -> int:
    """Epochs of all stages and generations."""
    training = config["training"]
    if stages := config.get("stages") or []:
        return sum(int(one.get("epochs") or training["epochs"]) for one in stages)
    return int(training["epochs"]) * (1 + catalog.generations(config.get("scheme") or "offline"))


def students(config: Mapping[str, Any]) -> int:
    """Networks trained at once: of mutual learning as many as its option says."""
    scheme = config.get("scheme") or "offline"
    asked = {"kind": scheme} if isinstance(scheme, str) else scheme
    known = catalog.find("schemes", asked["kind"]) or {"options": []}
    usual = next((one["default"] for one in known["options"] if one["name"] == "students"), 1)
    return int(asked.get("students", usual))


def training_rows(dataset: DatasetVersion) -> int:
    return int(dataset.splits.get("train", {}).get("rows") or 0)


def at_once(config: Mapping[str, Any]) -> int:
    """Rows, or windows, of one step of the optimizer."""
    training = config["training"]
    return int(training["batch_size"]) * int(training.get("gradient_accumulation") or 1)


def epoch(
    *,
    config: Mapping[str, Any],
    dataset: DatasetVersion,
    student: Network,
    teachers: Sequence[Network],
) -> Epoch:
    """Of texts that are written, windows are counted, which only the run itself knows exactly."""
    rows, size = training_rows(dataset), at_once(config)
    task = catalog.find("tasks", config["task"])
    if task is None or task["unit"] != "token":
        return Epoch(rows, -(-rows // size))
    reader = teachers[0] if teachers and not student.has_weights else student
    if (known := _counted(config, dataset, reader)) is not None:
        return Epoch(rows, -(-known // size), known)
    found = windows(dataset, reader)
    return Epoch(rows, -(-(found or rows) // size), found)


def of_run(run: Run) -> int:
    """Steps that a finished run took; those it was to take where it does not say."""
    taken = run.summary.get("steps")
    if isinstance(taken, int) and taken > 0:
        return taken
    rows = training_rows(run.data)
    return passes(run.config) * -(-rows // at_once(run.config))


# -- windows --------------------------------------------------------------------------------------


def windows(dataset: DatasetVersion, reader: Network) -> int | None:
    """Windows of the training rows, by how long texts are and how a tokenizer of so many words cuts
    them; None where nobody measured the texts."""
    measured = (dataset.statistics.get("measures") or {}).get("characters") or {}
    if not measured.get("mean"):
        return None
    longest, stride, vocabulary = _cut(reader)
    a_token = _characters(vocabulary)

    def pieces(characters: float) -> int:
        tokens = characters / a_token
        return 1 + max(0, math.ceil((tokens - longest - 1) / stride))

    drawn = measured.get("histogram") or {}
    edges, counts = drawn.get("edges") or [], drawn.get("counts") or []
    if not counts:
        return training_rows(dataset) * pieces(measured["mean"])
    middles = [(edges[place] + edges[place + 1]) / 2 for place in range(len(counts))]
    there = sum(
        count * pieces(middle) for count, middle in zip(counts, middles, strict=True)
    ) / sum(counts)
    return int(training_rows(dataset) * there)


def _cut(reader: Network) -> tuple[int, int, int]:
    """The longest window, tokens from one to the next, and the size of the vocabulary."""
    config = reader.version.config if reader.version is not None else {}
    told = (reader.version.tokenizer or {}) if reader.version is not None else {}
    names = ("max_length", "n_positions", "max_position_embeddings", "n_ctx")
    longest = first(config, *names) or LONGEST
    vocabulary = first(told, "vocabulary") or first(config, "vocabulary", "vocab_size")
    return longest, first(config, "stride") or longest, vocabulary or 30_000


def first(config: Mapping[str, Any], *names: str) -> int:
    """The first of these keys that holds a number; 0 where none does."""
    for name in names:
        value = config.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return 0


def _characters(vocabulary: int) -> float:
    """Of a token of a vocabulary of this size."""
    sizes = [math.log(size) for size in CHARACTERS]
    return float(np.interp(math.log(vocabulary), sizes, list(CHARACTERS.values())))


def _counted(config: Mapping[str, Any], dataset: DatasetVersion, reader: Network) -> int | None:
    """As many windows as a finished run of the same rows, cut alike, had in an epoch: to half a
    batch, as its steps tell."""
    finished = Run.objects.filter(
        task=config["task"],
        status=Run.Status.FINISHED,
        dataset_version__fingerprint=dataset.fingerprint,
        project=dataset.dataset.project_id,
    )
    for run in finished.select_related("student__model", "output").order_by("-pk")[:LOOKED_AT]:
        steps, epochs = run.summary.get("steps"), passes(run.config)
        version = run.output or run.student
        if version is None or not isinstance(steps, int) or steps <= 0 or steps % epochs:
            continue
        if _cut(There(version)) == _cut(reader):
            size = at_once(run.config)
            held = steps // epochs * size
            return int(held if size == at_once(config) else held - size // 2)
    return None
