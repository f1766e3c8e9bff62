"""Tiny datasets for networks that write, and jobs over them."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.engine import jobs
from training.engine import data
from training.engine.data import Dataset
from training.engine.job_config import DatasetInput

JSON = dict[str, Any]
SMALL: JSON = {
    "tokenizer": "character", "vocabulary": 64, "max_length": 16, "dim": 8, "hidden": 12
}  # fmt: skip
LARGER: JSON = {**SMALL, "dim": 16, "hidden": 24}
TRAINING: JSON = {"epochs": 2, "batch_size": 8, "learning_rate": 0.02}
SOFT: list[JSON] = [{"kind": "soft_targets", "weight": 1.0, "temperature": 1.0}]


def rows(path: Path, texts: Sequence[str], **others: Sequence[str]) -> JSON:
    """A dataset file of these texts, every fifth for validation and every fifth for the test."""
    splits = [{3: "validation", 4: "test"}.get(row % 5, "train") for row in range(len(texts))]
    table = {
        "row_id": pa.array(range(len(texts)), pa.int64()),
        "split": splits,
        "label": pa.array([None] * len(texts), pa.string()),
        "text": list(texts),
        "source": [str(row) for row in range(len(texts))],
        **{name: list(values) for name, values in others.items()},
    }
    pq.write_table(pa.table(table), path, compression="zstd")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"path": str(path), "sha256": sha256, "fingerprint": sha256, "labels": []}


def texts(path: Path, count: int = 30) -> JSON:
    """Pieces of nonsense with a rhythm that can be learned."""
    chance = np.random.default_rng(0)
    words = ["the cat", "a dog", "sat on", "ran off", "the mat", "and then"]
    return rows(path, [" ".join(chance.choice(words, size=6)) + "." for _ in range(count)])


def questions(path: Path, count: int = 30) -> JSON:
    """Prompts whose completion is their last word, twice."""
    chance = np.random.default_rng(0)
    words = ["red", "blue", "green", "pink"]
    asked = [" ".join(chance.choice(words, size=3)) for _ in range(count)]
    return rows(path, [f"{one.split()[-1]} {one.split()[-1]}" for one in asked], prompt=asked)


def reasoned(path: Path, count: int = 30) -> JSON:
    """The same, with a reason for each completion; the last two rows have none."""
    chance = np.random.default_rng(0)
    words = ["red", "blue", "green", "pink"]
    asked = [" ".join(chance.choice(words, size=3)) for _ in range(count)]
    why = [f"it ends with {one.split()[-1]}" for one in asked[:-2]]
    answers = [one.split()[-1] for one in asked]
    return rows(path, answers, prompt=asked, rationale=[*why, "", " "])


def preferred(path: Path, count: int = 30) -> JSON:
    """Prompts whose last word people want said twice, and not their first; two rows of train, and
    none of the others, have no worse answer."""
    chance = np.random.default_rng(0)
    words = ["red", "blue", "green", "pink"]
    asked = [" ".join(chance.choice(words, size=3, replace=False)) for _ in range(count)]
    better = [f"{one.split()[-1]} {one.split()[-1]}" for one in asked]
    worse = [f"{one.split()[0]} {one.split()[0]}" for one in asked]
    worse[0] = worse[1] = ""
    return rows(path, better, prompt=asked, rejected=worse)


def chats(path: Path, count: int = 20) -> JSON:
    said = [
        [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": f"say {word}"},
            {"role": "assistant", "content": word},
            {"role": "user", "content": "again"},
            {"role": "assistant", "content": f"{word} {word}"},
        ]
        for word in ["yes", "no", "maybe", "so"] * (count // 4)
    ]
    return rows(path, [json.dumps(one) for one in said])


def opened(said: JSON) -> Dataset:
    described = DatasetInput(path=said["path"], sha256="", fingerprint="f", labels=())
    return data.open_dataset(Path("/"), described, "token")


def write(folder: Path, dataset: JSON, **how: Any) -> Path:
    """A job folder of a small GRU."""
    options = {"architecture": "gru_language_model", "options": SMALL, **how}
    training = {**TRAINING, **options.pop("training", {})}
    return jobs.write(folder, dataset, task="text-generation", training=training, **options)
