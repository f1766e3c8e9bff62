"""Teachers that are nothing but what they said, in columns of a dataset version: a source of kind
`column`. They teach on that version, and on versions that were made of it and kept the columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from distillhub.lib import storage
from distillhub.lib.errors import DomainError, Invalid
from distillhub.lib.later import Later, np
from projects.models import DatasetVersion, ModelVersion, Project
from projects.services import datasets
from training import catalog

if TYPE_CHECKING:
    from numpy.typing import NDArray

pa, pq = Later("pyarrow"), Later("pyarrow.parquet")

FIELDS = frozenset({"dataset", "column", "columns"})
AT_ONCE = 2000  # rows read together
PROBLEMS = ("single_label", "multi_label")
NAMED = 3  # of what is lacking


def begun(*, project: Project, task: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What a version from `{dataset, column? | columns?}` begins with: `column` holds the label it
    said, `columns` is {label: the column of its probability}; without either, the version's columns
    of probabilities. Raises Invalid with `source.…` in its fields."""
    found = _task(task)
    dataset = _dataset(project, task, asked.get("dataset"))
    if dataset.problem not in PROBLEMS:
        raise _wrong("dataset", f"{dataset.reference} has numbers to learn, and no labels.")
    if asked.get("column") and asked.get("columns"):
        raise _wrong("column", "Name a column of labels, or columns of probabilities; not both.")
    if asked.get("column"):
        recorded: dict[str, Any] = {"label": _label_column(dataset, asked["column"])}
    else:
        recorded = {"probabilities": _probabilities(dataset, asked.get("columns"))}
    answered = counted(dataset, recorded)
    if not sum(said for said, _ in answered.values()):
        raise _wrong("dataset", f"No row of {dataset.reference} has an answer in these columns.")
    return {
        "source": {
            "kind": "column",
            "dataset": dataset.reference,
            "fingerprint": dataset.fingerprint,
            **recorded,
            "answered": {split: said for split, (said, _) in answered.items()},
            "rows": {split: rows for split, (_, rows) in answered.items()},
        },
        "labels": list(dataset.labels),
        "problem": catalog.problem_of(found["key"], dataset.problem),
        "status": ModelVersion.Status.READY,
    }


def origin(version: ModelVersion) -> DatasetVersion | None:
    """The version that it was recorded in; None where that is gone."""
    name, _, number = str(version.source["dataset"]).partition("@")
    return (
        DatasetVersion.objects.select_related("dataset")
        .filter(
            dataset__project=version.model.project_id,
            dataset__name=name,
            number=int(number),
            fingerprint=version.source["fingerprint"],
        )
        .first()
    )


def columns(version: ModelVersion) -> list[str]:
    """In which its answers stand."""
    return _names(version.source)


def _names(said: Mapping[str, Any]) -> list[str]:
    return [said["label"]] if "label" in said else list(said["probabilities"].values())


def likely(version: ModelVersion, candidates: Sequence[DatasetVersion]) -> list[DatasetVersion]:
    """Those that it may teach on, as far as is known without reading them. One query."""
    family = _made_of(version.model.project_id, version.source)
    wanted = set(columns(version))
    return [
        one
        for one in candidates
        if one.pk in family and wanted <= {column["name"] for column in one.columns}
    ]


def misfit(version: ModelVersion, dataset: DatasetVersion) -> str:
    """Why it cannot teach on a dataset version; empty when it can."""
    first = version.source["dataset"]
    if not _descends(dataset, version.source):
        return (
            f"{version.reference} is what was recorded in {first}, and {dataset.reference} is not "
            f"made of it. Take {first}, or a version that was made of it."
        )
    there = {one["name"] for one in dataset.columns}
    lacking = [one for one in columns(version) if one not in there]
    if lacking:
        more = f" and {len(lacking) - NAMED} more" if len(lacking) > NAMED else ""
        return (
            f"{dataset.reference} no longer has {', '.join(lacking[:NAMED])}{more}, where "
            f"{version.reference} was recorded. Take a version that kept them."
        )
    try:
        found = _read(dataset.file_sha256, tuple(columns(version)), version.problem)
        if dataset.fingerprint != version.source["fingerprint"]:
            foreign = _foreign(version, found)
            if foreign:
                return (
                    f"{foreign:,} rows of {dataset.reference} hold other answers than were "
                    f"recorded in {first}: something wrote into the columns since. Register a "
                    f"teacher of {dataset.reference}."
                )
    except storage.Damaged as error:
        return f"{dataset.reference}: {error}"
    said, rows = found.answered.get("train", (0, 0))
    if not said:
        return (
            f"{version.reference} said nothing of any of the {rows:,} training rows of "
            f"{dataset.reference}. Take a version in which training rows have its answers."
        )
    return ""


def gaps(teachers: Sequence[ModelVersion], dataset: DatasetVersion) -> list[str]:
    """Sentences about recorded teachers that say nothing of some training rows."""
    found = []
    for version in teachers:
        if not version.is_recorded:
            continue
        said, rows = counted(dataset, version.source).get("train", (0, 0))
        if said < rows:
            found.append(
                f"{version.reference} has an answer to {said:,} of {rows:,} training rows. The "
                "others learn from their label, where they have one and a term learns from it."
            )
    return found


def counted(dataset: DatasetVersion, said: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """{split: (rows with an answer, rows)}."""
    return _read(dataset.file_sha256, tuple(_names(said)), dataset.problem).answered


# -- reading --------------------------------------------------------------------------------------


class Read(NamedTuple):
    answered: dict[str, tuple[int, int]]  # of each split: rows with an answer, and rows
    digests: NDArray[Any]  # uint64, increasing: of each row's answer; rows without one aside
    counts: NDArray[Any]  # rows of each digest


@lru_cache(maxsize=32)
def _read(sha256: str, names: tuple[str, ...], problem: str) -> Read:
    """What the columns of a file hold. Raises storage.Damaged."""
    answered: dict[str, tuple[int, int]] = {}
    digests = []
    with storage.open_blob(sha256) as stream:
        file = pq.ParquetFile(stream)
        for group in range(file.num_row_groups):
            wanted = list(dict.fromkeys(["split", *names]))
            for piece in file.iter_batches(AT_ONCE, row_groups=[group], columns=wanted):
                said, digest = _digested([piece.column(name) for name in names], problem)
                splits = np.array(piece.column("split").to_pylist())
                for split in np.unique(splits).tolist():
                    here = splits == split
                    had = answered.get(split, (0, 0))
                    answered[split] = had[0] + int(said[here].sum()), had[1] + int(here.sum())
                digests.append(digest[said])
    every = np.concatenate(digests) if digests else np.empty(0, dtype=np.uint64)
    return Read(answered, *np.unique(every, return_counts=True))


def _digested(held: Sequence[Any], problem: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Which rows have an answer, and 64 bits of what it is."""
    if pa.types.is_string(held[0].type) or pa.types.is_large_string(held[0].type):
        texts = [one or "" for one in held[0].to_pylist()]
        said = np.array([bool(one.strip()) for one in texts], dtype=bool)
        return said, np.array([hash(one) for one in texts], dtype=np.int64).view(np.uint64)
    values = np.column_stack(
        [one.cast(pa.float64()).to_numpy(zero_copy_only=False) for one in held]
    ).astype(np.float64)
    said = np.array((np.nan_to_num(values) != 0).any(axis=1))
    if problem == "multi_label":  # each of a row's labels must have its own
        said = np.array(~np.isnan(values).any(axis=1))
    bits = np.ascontiguousarray(np.where(np.isnan(values), -1.0, values)).view(np.uint64)
    chance = np.random.default_rng(0)
    odd = chance.integers(1, 2**63, bits.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    mixed = (bits ^ (bits >> np.uint64(29))) * odd  # wraps around
    return said, (mixed ^ (mixed >> np.uint64(32))).sum(axis=1, dtype=np.uint64)


def _foreign(version: ModelVersion, found: Read) -> int:
    """Rows whose answer stands nowhere in the version that it was recorded in."""
    first = origin(version)
    if first is None:  # gone, so that nobody can tell
        return 0
    known = _read(first.file_sha256, tuple(columns(version)), version.problem).digests
    return int(found.counts[~np.isin(found.digests, known)].sum())


def _descends(dataset: DatasetVersion, source: Mapping[str, Any]) -> bool:
    """Whether it is the version of a source, or was made of it."""
    if dataset.fingerprint == source["fingerprint"]:
        return True
    return dataset.pk in _made_of(dataset.dataset.project_id, source)


def _made_of(project_id: int, source: Mapping[str, Any]) -> set[int]:
    """The version of a source, and all that were made of it. One query."""
    found = DatasetVersion.objects.filter(dataset__project=project_id).order_by("pk")
    family: set[int] = set()
    for pk, parent, mark in found.values_list("pk", "parent_id", "fingerprint"):
        if mark == source["fingerprint"] or parent in family:  # parents are older
            family.add(pk)
    return family


# -- what is asked for ----------------------------------------------------------------------------


def _task(task: str) -> Mapping[str, Any]:
    found = catalog.find("tasks", task)
    if found is None or found["unit"] != "row" or not found["needs_labels"]:
        sentence = f"Answers are recorded of rows that have labels, which {task} has not."
        raise Invalid(sentence, fields={"task": [sentence]})
    return found


def _dataset(project: Project, task: str, reference: Any) -> DatasetVersion:
    if not isinstance(reference, str) or not reference.strip():
        raise _wrong("dataset", "Name the dataset version that holds the answers: tickets@2.")
    try:
        found = datasets.resolve(project=project, reference=reference.strip())
    except DomainError as error:
        raise _wrong("dataset", error.detail) from None
    if not found.is_ready:
        raise _wrong("dataset", f"{found.reference} is not ready.")
    if found.dataset.task != task:
        raise _wrong("dataset", f"{found.reference} is for {found.dataset.task}, not {task}.")
    return found


def _label_column(dataset: DatasetVersion, name: Any) -> str:
    offered = label_columns(dataset)
    if name not in offered:
        shown = ", ".join(offered[:8]) or "none"
        raise _wrong(
            "column", f"{dataset.reference} has no such column of words beside its label: {shown}."
        )
    return str(name)


def label_columns(dataset: DatasetVersion) -> list[str]:
    """Columns that may hold the label that a teacher said."""
    return [
        one["name"]
        for one in dataset.columns
        if one["role"] == "extra" and one["type"] not in ("number", "image", "audio", "binary")
    ]


def _probabilities(dataset: DatasetVersion, asked: Any) -> dict[str, str]:
    """{label: column} of every label."""
    if asked is not None and not isinstance(asked, Mapping):
        raise _wrong("columns", 'It must be {"label": "column", ...}.')
    chosen = dict(asked) if asked else dataset.soft_labels
    numbers = {one["name"] for one in dataset.columns if one["type"] == "number"}
    if not chosen:
        raise _wrong(
            "dataset",
            f"{dataset.reference} has no columns of probabilities. Have a teacher write them "
            "(annotate with probabilities), say which columns hold them (the change Columns), or "
            "name the column of the label that was said.",
        )
    lacking = [label for label in dataset.labels if label not in chosen]
    if lacking:
        more = f" and {len(lacking) - NAMED} more" if len(lacking) > NAMED else ""
        raise _wrong(
            "columns", f"No column holds the probability of {', '.join(lacking[:NAMED])}{more}."
        )
    for label, name in chosen.items():
        if label not in dataset.labels:
            raise _wrong("columns", f"{label!r} is no label of {dataset.reference}.")
        if name not in numbers:
            raise _wrong("columns", f"{dataset.reference} has no column of numbers {name!r}.")
    return {label: str(chosen[label]) for label in dataset.labels}


def _wrong(name: str, sentence: str) -> Invalid:
    return Invalid(sentence, fields={f"source.{name}": [sentence]})
