"""A few rows of a dataset as batches for a teacher, by which a derivation chooses what to keep."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from training.engine import data, networks
from training.engine.data import Dataset, Indices
from training.engine.derivations import Example
from training.engine.errors import DataError, ModelError
from training.engine.job_config import DatasetInput
from training.engine.networks import Network
from training.engine.tasks import TASKS

ROWS = 512  # of the training split; Michel et al. found so few enough
BESIDE = 8  # of the validation split, without which a file is no dataset
AT_ONCE = 32


def of(
    teacher: Network, described: DatasetInput, folder: Path, *, home: Path, rows: int = ROWS
) -> list[Example]:
    """Batches of training rows drawn by a fixed seed; only they are read and prepared, in `home`.
    Raises DataError."""
    few = home / "few.parquet"
    _take(folder / described.path, few, rows)
    said = {name: getattr(described, name) for name in DatasetInput.__dataclass_fields__}
    small = DatasetInput(**{**said, "path": few.name, "sha256": ""})
    dataset = data.open_dataset(home, small, TASKS[teacher.task].unit)
    inputs: Any = teacher.preprocessing.prepare(few, home / "prepared")
    if hasattr(inputs, "divided"):  # texts in windows
        dataset = inputs.divided(dataset)
    chosen = dataset.splits["train"][:rows]
    labels = _labels(teacher, dataset)
    found = []
    for start in range(0, len(chosen), AT_ONCE):
        batch = chosen[start : start + AT_ONCE]
        seen = inputs.batch(batch)
        if "targets" in seen and dataset.names != teacher.labels:
            seen["targets"] = seen["targets"].clamp(max=-1)  # other labels than the teacher's
        found.append(Example(seen, None if labels is None else labels[torch.from_numpy(batch)]))
    return found


def _labels(teacher: Network, dataset: Dataset) -> Tensor | None:
    """Of all rows, by the teacher's columns; None where it answers something else, or where labels
    are of tokens."""
    if TASKS[teacher.task].unit != "row" or not teacher.labels:
        return None
    if dataset.problem != teacher.problem:
        return None
    try:
        columns = networks.columns(teacher, dataset.names)
    except ModelError:
        return None
    given = torch.from_numpy(dataset.labels)
    if teacher.problem == "multi_label":
        ordered = torch.full((len(given), teacher.outputs), torch.nan)
        ordered[:, columns] = given
        return ordered
    known = torch.tensor([*columns, -1])  # an unknown label, -1, stays one
    return known[given]


def _take(path: Path, few: Path, rows: int) -> None:
    """Write some rows of a dataset's file, all columns of them, in their order."""
    try:
        file = pq.ParquetFile(path)
        split = np.array(file.read(columns=["split"])["split"].to_pylist())
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"The dataset's file cannot be read as Parquet: {error}") from error
    wanted = np.zeros(len(split), dtype=bool)
    for name, most in (("train", rows), ("validation", BESIDE)):
        members: Indices = np.flatnonzero(split == name).astype(np.int64)
        if not len(members):
            raise DataError(f"The dataset has no {name} rows.")
        wanted[np.random.default_rng(0).permutation(members)[:most]] = True
    few.parent.mkdir(parents=True, exist_ok=True)
    start = 0
    with pq.ParquetWriter(few, file.schema_arrow) as writer:
        for piece in file.iter_batches(batch_size=500):
            mask = wanted[start : start + len(piece)]
            start += len(piece)
            if mask.any():
                writer.write_batch(piece.filter(pa.array(mask)))
