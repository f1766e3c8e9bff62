"""The engine without a product around it: rows in lists, a job folder, a result.

rows = alone.rows(folder / "rows.parquet", texts, labels)
teacher = alone.train(folder / "teacher", rows, {"architecture": "bag_of_embeddings"})
student = alone.train(folder / "student", rows, {...}, teachers=[teacher.model])
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training.engine import job_config, loop, methods
from training.engine.events import Event, Finished, as_line
from training.engine.journal import Journal

JSON = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Result:
    folder: Path
    summary: JSON  # of the last event: scores of student and teacher, agreement, retention, ...

    @property
    def model(self) -> Path:
        """The folder of the student, which `networks.load` and later jobs read."""
        return self.folder / "output" / "model"


def rows(
    path: Path,
    texts: Sequence[str],
    labels: Sequence[str | None],
    splits: Sequence[str] | None = None,
    *,
    column: str = "text",
    problem: str = "single_label",
) -> JSON:
    """Write rows as a dataset's file, and describe it for `train`.

    splits holds `train`, `validation` or `test` for each row; without it eight of ten rows train,
    one validates and one tests, drawn by a fixed seed. A label of None is unknown. `column` is the
    one that the task reads (`text`, or `image` and `audio` with encoded bytes).
    """
    if splits is None:
        kinds = np.array(["train"] * 8 + ["validation", "test"])
        splits = np.random.default_rng(0).permutation(np.resize(kinds, len(texts))).tolist()
    table = pa.table(
        {
            "row_id": pa.array(range(len(texts)), pa.int64()),
            "split": pa.array(splits, pa.string()),
            "label": pa.array(labels, pa.string()),
            column: pa.array(texts),
        }
    )
    pq.write_table(table, path, compression="zstd")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    known = sorted({label for label in labels if label is not None})
    return {
        "path": str(path.resolve()),
        "sha256": sha256,
        "fingerprint": sha256,
        "labels": known if problem == "single_label" else [],
        "problem": problem,
    }


def train(
    folder: Path,
    dataset: JSON,
    student: Mapping[str, Any],
    *,
    task: str = "text-classification",
    teachers: Sequence[Path] = (),
    told: Callable[[Event], None] = lambda event: None,
    **others: Any,
) -> Result:
    """Fine-tune, or distil where there are teachers; goes on where an earlier call was cut off.

    `student` is `{"architecture", "config"}` or `{"path"}`; `others` are keys of a job's
    configuration (job_config.py): losses, scheme, stages, training, threads. `told` hears every
    event. Raises the errors of errors.py.
    """
    folder.mkdir(parents=True, exist_ok=True)
    raw = {
        "format": 1,
        "task": task,
        "dataset": dataset,
        "student": {"name": "student", **student},
        "teachers": [
            {"name": f"teacher {number}", "path": str(path.resolve())}
            for number, path in enumerate(teachers, 1)
        ],
        **others,
    }
    (folder / "config.json").write_text(json.dumps(raw, indent=1), encoding="utf-8")
    config = job_config.parse_job(raw, methods.describe())
    resuming = (folder / "checkpoints").is_dir()
    summary: JSON = {}
    with Journal(folder / "journal.jsonl") as journal:
        for event in loop.distill(config, folder, resuming=resuming):
            journal.write(event)
            told(event)
            if isinstance(event, Finished):
                summary = as_line(event)["summary"]
    return Result(folder, summary)
