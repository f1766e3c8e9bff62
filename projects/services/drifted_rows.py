"""Which rows look least like those that a model knows: the ones that drifted furthest.

A quick model learns to tell the rows from those of a reference, and says of each row, from a fold
that it did not learn from, how probably it is none of the reference (the classifier two-sample
test: Lopez-Paz, Oquab: Revisiting Classifier Two-Sample Tests, ICLR 2017). Where it tells them
apart no better than chance does, nothing drifted, and nobody need look.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from distillhub.lib.later import Later, np
from projects.ingest import confident, page, stored, thumbnails
from projects.ingest.checks import check, label_errors
from projects.ingest.formats import SPLITS, TRAIN
from projects.models import DatasetVersion
from projects.operations import conditions
from projects.operations.operation import refuse
from projects.services import datasets

pa, pq = Later("pyarrow"), Later("pyarrow.parquet")

Rows: TypeAlias = "np.ndarray[Any, Any]"

MOST = {"text": 5000, "image": 5000, "audio": 500, "": 5000}  # rows that are read of each side
FEWEST = 20  # rows of each side
READ = 2000  # characters of a text
MOST_WORDS = 20  # different ones of a table's column, beside numbers
SURE = 1.645  # deviations: by chance alone the two are told apart so well once in twenty times


@dataclass(frozen=True, slots=True)
class Reference:
    version: DatasetVersion
    split: str = ""  # all of it

    def __str__(self) -> str:
        return f"{self.version.reference}:{self.split}" if self.split else self.version.reference


@dataclass(frozen=True, slots=True)
class Drifted:
    rows: Rows  # [rows] that were read
    probabilities: Rows  # [rows]: how probably each is none of the reference
    separation: float  # area under the ROC curve: 0.5 is chance, 1 tells every row from every other


def reference_of(version: DatasetVersion, named: str) -> Reference:
    """What `name@3`, `name@3:train`, or a split of this version (`train`, when nothing is said)
    means. Raises Invalid and Missing."""
    name, _, split = named.strip().partition(":")
    if name in (*SPLITS, "") and not split:
        name, split = "", name or TRAIN
    if split and split not in SPLITS:
        raise refuse("reference", f"A split is one of {', '.join(SPLITS)}.")
    if not name:
        return Reference(version, split)
    found = datasets.resolve(project=version.dataset.project, reference=name)
    if not split and found == version:
        raise refuse("reference", "These rows are a part of it: name a split, or another version.")
    if _inputs(found) != _inputs(version):
        sentence = f"Rows of {found.reference} are of another shape than those of "
        raise refuse("reference", f"{sentence}{version.reference}.")
    return Reference(found, split)


def look(version: DatasetVersion, ids: Rows, reference: Reference) -> Drifted:
    """The rows `ids` (increasing) against the reference; of more than are read a sample drawn by
    chance, always the same. Raises Invalid where there are too few, or nothing to find."""
    known = _ids(reference)
    if reference.version == version:
        ids = np.setdiff1d(ids, known, assume_unique=True)
    which = check.input_of(version.columns)
    ids, known = _sample(ids, MOST[which]), _sample(known, MOST[which])
    if min(len(ids), len(known)) < FEWEST:
        raise refuse(
            "reference", f"It takes {FEWEST} rows that are no part of it, and as many of it."
        )
    values = _values(version, ids) + _values(reference.version, known)
    features = _features(values, which)
    is_new = np.repeat([1, 0], [len(ids), len(known)])
    # Equal rows are in one fold: else each would be learned from the other side's.
    numbers: dict[tuple[Any, ...], int] = {}
    together = np.array([numbers.setdefault(one, len(numbers)) for one in values])
    told = confident.out_of_fold(features, is_new, together, lambda: None)[:, 1]
    separation, deviations = _separation(told, is_new)
    if deviations < SURE:
        sentence = f"These rows look like those of {reference}: a model that tries to tell them "
        raise refuse("reference", f"{sentence}apart is as good as chance ({separation:.2f} of 1).")
    return Drifted(ids, told[: len(ids)], separation)


def _inputs(version: DatasetVersion) -> list[tuple[str, str]]:
    roles = {"input", "feature"}
    return [(one["name"], one["type"]) for one in version.columns if one["role"] in roles]


def _ids(reference: Reference) -> Rows:
    wanted = {"split": reference.split} if reference.split else {}
    found_by = conditions.filter_of(reference.version, wanted)
    with datasets.open_file(version=reference.version) as stream:
        found: Rows = page.matching(stream, found_by, key=reference.version.file_sha256)
    return found


def _sample(rows: Rows, most: int) -> Rows:
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, most, replace=False))


def _values(version: DatasetVersion, rows: Rows) -> list[tuple[Any, ...]]:
    """What these rows, which are increasing, have for inputs."""
    names = [name for name, _ in _inputs(version)]
    found: list[tuple[Any, ...]] = []
    done = 0
    with datasets.open_file(version=version) as stream:
        for batch in stored.batches(pq.ParquetFile(stream), names, 500):
            here = rows[np.searchsorted(rows, done) : np.searchsorted(rows, done + batch.num_rows)]
            if len(here):
                taken = batch.take(pa.array(here - done))
                columns = [taken.column(name).to_pylist() for name in names]
                found.extend(zip(*columns, strict=True))
            done += batch.num_rows
    return found


def _features(rows: list[tuple[Any, ...]], which: str) -> Any:
    """`[rows, features]`, as confident.py takes them."""
    if which == "text":
        return confident.of_texts([str(row[0] or "")[:READ] for row in rows])
    if which in ("image", "audio"):
        seen = thumbnails.small if which == "image" else label_errors.spectrogram
        return confident.of_numbers(np.array([seen(row[0]).ravel() for row in rows]))
    columns = [part for column in zip(*rows, strict=True) for part in _parts(column)]
    return confident.of_numbers(np.stack(columns, axis=1))


def _parts(column: tuple[Any, ...]) -> list[Rows]:
    """A table's column as numbers: itself, and where it is missing; or each of its words."""
    if all(one is None or isinstance(one, int | float) for one in column):
        numbers = np.array([np.nan if one is None else one for one in column], dtype=np.float64)
        known = np.isfinite(numbers)
        middle = numbers[known].mean() if known.any() else 0.0
        return [np.where(known, numbers, middle), (~known).astype(np.float64)]
    words = np.array(["" if one is None else str(one) for one in column])
    unlike, many = np.unique(words, return_counts=True)
    commonest = unlike[np.argsort(-many, kind="stable")[:MOST_WORDS]]
    return [(words == one).astype(np.float64) for one in commonest]


def _separation(told: Rows, is_new: Rows) -> tuple[float, float]:
    """(area under the ROC curve, in how many deviations it is above 0.5): Mann, Whitney 1947."""
    order = np.argsort(told, kind="stable")
    ranks = np.empty(len(told))
    ranks[order] = np.arange(1, len(told) + 1)
    begins = np.unique(told, return_inverse=True)[1]
    ranks = (np.bincount(begins, weights=ranks) / np.bincount(begins))[begins]  # ties share theirs
    new, known = int(is_new.sum()), int((1 - is_new).sum())
    area = (ranks[is_new == 1].sum() - new * (new + 1) / 2) / (new * known)
    deviation = np.sqrt((new + known + 1) / (12 * new * known))
    return float(area), float((area - 0.5) / deviation)
