"""Job folders of tiny data, as a worker would write them."""

import hashlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
import torch
from PIL import Image

from training.engine import data, job_config, journal, loop, methods, networks, options
from training.engine.events import Event
from training.engine.students import ARCHITECTURES

JSON = dict[str, Any]
ROOT = Path(__file__).resolve().parent.parent.parent
LABELS = ["cancel", "pay", "refund"]
HARD: list[JSON] = [{"kind": "hard_labels", "weight": 1.0}]
SOFT: list[JSON] = [
    {"kind": "soft_targets", "weight": 0.9, "temperature": 2.0},
    {"kind": "hard_labels", "weight": 0.1},
]
SMALL_BAG: JSON = {"dim": 8, "vocabulary": 60, "dropout": 0.1}
SMALL_CONVNET: JSON = {"channels": [4], "hidden": 0}
TRAINING: JSON = {"epochs": 2, "batch_size": 16, "learning_rate": 0.05, "schedule": "constant"}


def texts(path: Path, rows: int = 120, unlabelled: float = 0.0) -> JSON:
    """Sentences whose label is one of their words; the dataset's part of a job's configuration."""
    chance = np.random.default_rng(0)
    filler = ["please", "my", "the", "order", "now", "card", "help", "with", "a", "soon"]
    written, labels = [], []
    for row in range(rows):
        label = LABELS[row % 3]
        words = [*chance.choice(filler, size=int(chance.integers(2, 9))), label]
        written.append(" ".join(chance.permutation(words)))
        hide = row % 10 < 8 and chance.random() < unlabelled
        labels.append(None if hide else label)
    return _write(path, {"text": pa.array(written, pa.string())}, labels)


def of_texts(path: Path, written: list[str]) -> JSON:
    """These texts, labelled by turns."""
    return _write(path, {"text": pa.array(written, pa.string())}, of_rows(len(written)))


def images(path: Path, rows: int = 60, side: int = 8) -> JSON:
    """Small grey pictures with a bright third."""
    chance = np.random.default_rng(0)
    pictures = []
    for row in range(rows):
        pixels = chance.integers(0, 90, size=(side, side), dtype=np.uint8)
        third = -(-side // 3)
        pixels[:, (row % 3) * third : (row % 3) * third + third - 1] = 220
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        pictures.append(file.getvalue())
    return _write(path, {"image": pa.array(pictures, pa.binary())}, of_rows(rows))


def sounds(path: Path, rows: int = 60, rate: int = 4000) -> JSON:
    """A tenth of a second of noise, with a tone whose pitch is the label."""
    chance = np.random.default_rng(0)
    heard = []
    for row in range(rows):
        time = np.arange(int(rate * chance.uniform(0.08, 0.12))) / rate
        tone = np.sin(2 * np.pi * (300 + 400 * (row % 3)) * time + chance.uniform(0, 6))
        file = io.BytesIO()
        soundfile.write(file, 0.3 * tone + chance.normal(0, 0.05, len(time)), rate, format="WAV")
        heard.append(file.getvalue())
    return _write(path, {"audio": pa.array(heard, pa.binary())}, of_rows(rows))


def tables(path: Path, rows: int = 120, problem: str = "single_label") -> JSON:
    """Two columns of numbers and one of words that know the label, and one that does not."""
    chance = np.random.default_rng(0)
    kinds = np.arange(rows) % 3
    numbers = kinds + chance.normal(0, 0.4, rows)
    columns = {
        "size": pa.array([None if row % 7 == 0 else numbers[row] for row in range(rows)]),
        "age": pa.array(chance.normal(40, 9, rows)),
        "place": pa.array(["north", "south", None, "east"][one] for one in kinds),
        "note": pa.array(chance.choice(["x", "y"], rows)),
    }
    kind_of = {"size": "numeric", "age": "numeric", "place": "categorical", "note": "categorical"}
    labels = of_rows(rows)
    if problem == "regression":
        labels = [f"{100 + 20 * one:.1f}" for one in kinds + chance.normal(0, 0.1, rows)]
    said = _write(path, columns, labels) | {"columns": kind_of, "problem": problem}
    return said | {"labels": []} if problem == "regression" else said


def of_rows(rows: int) -> list[str | None]:
    return [LABELS[row % 3] for row in range(rows)]


def _write(path: Path, columns: dict[str, pa.Array], labels: list[str | None]) -> JSON:
    splits = [
        "test" if i % 10 == 9 else "validation" if i % 10 == 8 else "train"
        for i in range(len(labels))
    ]
    table = pa.table(
        {
            "row_id": pa.array(range(len(labels)), pa.int64()),
            "split": splits,
            "label": pa.array(labels, pa.string()),
            **columns,
            "source": [str(i) for i in range(len(labels))],
        }
    )
    pq.write_table(table, path, compression="zstd")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"path": str(path), "sha256": sha256, "fingerprint": sha256, "labels": LABELS}


def write(
    folder: Path,
    dataset: JSON,
    *,
    task: str = "text-classification",
    architecture: str = "bag_of_embeddings",
    options: JSON | None = None,
    path: str | None = None,
    teachers: list[str] | None = None,
    losses: list[JSON] | None = None,
    training: JSON | None = None,
    **others: Any,
) -> Path:
    """A job folder with its config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    if options is None:
        options = SMALL_BAG if architecture == "bag_of_embeddings" else {}
    student = {"name": "tiny@1", "architecture": architecture, "config": options, "path": path}
    taught = [
        {"name": f"big@{place}", "architecture": "", "config": {}, "path": one, "weight": 1.0}
        for place, one in enumerate(teachers or [], 1)
    ]
    raw = {
        "format": 1,
        "run": "intents/1",
        "task": task,
        "dataset": dataset,
        "student": student,
        "teachers": taught,
        "scheme": "offline",
        "losses": losses or (SOFT if teachers else HARD),
        "training": {**TRAINING, **(training or {})},
        "teacher_outputs": {"mode": "auto", "store": str(folder / "store")},
        "threads": 1,
        "evaluate": True,
        **others,
    }
    (folder / "config.json").write_text(json.dumps(raw))
    return folder


def vectors(folder: Path, texts: JSON, asked: JSON) -> Path:
    """The model folder of an encoder that makes vectors, as it was drawn."""
    task, architecture = "feature-extraction", "bert-embedding"
    described = {**texts, "problem": "embedding", "labels": ()}
    dataset = data.open_dataset(folder, job_config.DatasetInput(**described))
    whole, _ = options.check(options.describe(ARCHITECTURES[architecture].Options), asked)
    wanted = job_config.NetworkInput(name="v", architecture=architecture, config=whole)
    torch.manual_seed(1)
    network = networks.student(wanted, folder, dataset, task, lambda said: None)
    networks.save(network, folder / "model")
    return folder / "model"


def run(folder: Path, **how: Any) -> list[Event]:
    """Train in this process; every event."""
    raw = json.loads((folder / "config.json").read_text())
    return list(loop.distill(job_config.parse_job(raw, methods.describe()), folder, **how))


def spawn(folder: Path, verb: str = "train") -> "subprocess.Popen[bytes]":
    """Train as a worker does, in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "training.engine", verb, str(folder)]
    return subprocess.Popen(command, cwd=ROOT, env=environment)


def lines(folder: Path, kind: str | None = None) -> list[JSON]:
    told = list(journal.read(folder / "journal.jsonl"))
    return [line for line in told if kind is None or line["type"] == kind]


def of(told: list[Event], kind: type) -> list[Any]:
    return [event for event in told if isinstance(event, kind)]


def weights(folder: Path) -> bytes:
    return (folder / "output" / "model" / "model.safetensors").read_bytes()
