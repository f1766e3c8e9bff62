"""The engine beside other libraries, on equal work and as each is used.

    python -m tests.bench.peers --python /tmp/peers/bin/python steps
    python -m tests.bench.peers --python /tmp/peers/bin/python epochs
    python -m tests.bench.peers --python /tmp/peers/bin/python writing

`peers.txt` says how their environment is made. Text: BERT of 4 layers of 256 teaches BERT of 2
layers of 128, on 640 questions of banking77, batch 32, T = 4. One thread; CPU time of each
process.

steps   equal work: the very same batches, a live teacher in every step, no length buckets; pieces
        of each library's run take turns. A bare loop stands beside them.
epochs  ten epochs as each is used, from texts to a trained student: peers shuffle, and pad to the
        longest of a batch; the engine has its defaults (teacher outputs stored, length buckets,
        freed memory kept) and its extra work (a tokenizer learned, tracking, validation,
        checkpoints). Loading libraries, a model's own code among them, is not counted. Whole runs
        take turns. A bare loop over the engine's batches, the answers given, shows what no loop
        can do without.
writing the work of `steps` for text generation, beside TRL's GKDTrainer on given texts: Llama of 4
        layers of 256 teaches one of 2 layers of 128, 4 000 words, 16 windows of 128 tokens, KL at
        T = 1.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from tests.bench import real_data
from tests.bench.test_engine_speed import bare as bare_stored
from tests.bench.test_engine_speed import of_the_engine, prepared, usual_optimizer
from tests.engine import jobs
from training.engine import data, networks
from training.engine.journal import Journal
from training.engine.trainer import Trainer

JSON = dict[str, Any]
ROOT = Path(__file__).resolve().parent.parent.parent
WORKER = Path(__file__).with_name("peer_worker.py")
DATA = ROOT.parent / "shared" / "data"

TEACHER = {
    "hidden_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 1024,
    "vocab_size": 4000,
}
STUDENT = {
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 512,
    "vocab_size": 4000,
}
PLAIN: JSON = {
    "batch_size": 32,
    "learning_rate": 5e-4,
    "schedule": "constant",
    "warmup_ratio": 0.0,
    "checkpoint_every_steps": 100_000,
}
ROWS, EPOCHS, ALPHA, TEMPERATURE = 640, 10, 0.1, 4.0
SOFT: list[JSON] = [
    {"kind": "soft_targets", "weight": 1 - ALPHA, "temperature": TEMPERATURE},
    {"kind": "hard_labels", "weight": ALPHA},
]
KEPT = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
    "MALLOC_TOP_PAD_": str(64 << 20),
}
LIBRARIES = ("trainer", "torchdistill", "textbrewer")


def dataset(folder: Path) -> tuple[JSON, list[str], list[str]]:
    """The Parquet file of some questions, and the texts and labels of its training rows."""
    rows = real_data.banking77(DATA)
    train = np.random.default_rng(0).permutation(np.flatnonzero(~rows.is_test))
    splits = {"train": np.sort(train[:ROWS]), "validation": train[ROWS : ROWS + 64]}
    said = real_data.write(folder / "rows.parquet", rows, splits, train[:0], {})
    some = splits["train"].tolist()
    return said, [rows.inputs[at] for at in some], rows.labels[splits["train"]].tolist()


def job(folder: Path, said: JSON, teacher: str | None, *, live: bool = False, epochs: int) -> Path:
    mode = "live" if live else "auto"
    return jobs.write(
        folder, said, architecture="bert", options=STUDENT if teacher else TEACHER,
        teachers=[teacher] if teacher else None, losses=SOFT if teacher else jobs.HARD,
        training={**PLAIN, "epochs": epochs}, evaluate=False,
        teacher_outputs={"mode": mode, "store": str(folder / "store")},
    )  # fmt: skip


def made(folder: Path) -> tuple[JSON, JSON, str]:
    """The dataset, a teacher, and the other libraries' job."""
    said, texts, labels = dataset(folder)
    jobs.run(job(folder / "teacher", said, None, epochs=1))
    teacher = str(folder / "teacher" / "output" / "model")
    one = prepared(job(folder / "first", said, teacher, live=True, epochs=1))
    networks.save(one.student, folder / "student")
    theirs = {
        "teacher": teacher,
        "student": str(folder / "student"),
        "texts": texts,
        "labels": [said["labels"].index(label) for label in labels],
        "epochs": EPOCHS,
        "batch_size": PLAIN["batch_size"],
        "rate": PLAIN["learning_rate"],
        "alpha": ALPHA,
        "temperature": TEMPERATURE,
    }
    return said, theirs, teacher


# -- equal work ------------------------------------------------------------------------------------


def bare(one: Trainer) -> Callable[[Any], None]:
    """A loop by hand around the same modules, its teacher live."""
    student, inputs = one.module, one.inputs
    taught = one.lesson.live[0].network.module
    labels = torch.from_numpy(one.dataset.labels)
    optimizer = usual_optimizer(one)

    def step(rows: Any) -> None:
        batch = inputs.batch(rows)
        with torch.no_grad():
            target = taught(**batch)
        said = student(**batch)
        soft = F.kl_div(
            F.log_softmax(said / TEMPERATURE, -1), F.log_softmax(target / TEMPERATURE, -1),
            reduction="batchmean", log_target=True,
        )  # fmt: skip
        hard = F.cross_entropy(said, labels[torch.from_numpy(rows)])
        loss = ALPHA * hard + (1 - ALPHA) * TEMPERATURE**2 * soft
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()

    return step


class Peer:
    """Another library in a process of its own, which steps when told to."""

    def __init__(self, python: str, name: str, path: Path, mode: str) -> None:
        self.name = name
        self.process = subprocess.Popen(
            [python, str(WORKER), name, str(path), mode],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def answer(self) -> float:
        """Seconds; lines that a library prints itself are passed over. Raises EOFError."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith('{"seconds"'):
                return float(json.loads(line)["seconds"])
        raise EOFError(f"{self.name} ended; run peer_worker.py by hand to see why")

    def steps(self, number: int) -> float:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{number}\n")
        self.process.stdin.flush()
        return self.answer()

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(60)


def steps(python: str, folder: Path, pieces: int = 9, number: int = 8) -> None:
    said, theirs, teacher = made(folder)
    one, other = (
        prepared(job(folder / name, said, teacher, live=True, epochs=100)) for name in ("a", "b")
    )
    order = data.epoch_order(one.rows, None, one.size, 0, 0)
    tokens = [one.inputs.batch(np.array([row]))["input_ids"][0].tolist() for row in one.rows]
    place = {row: at for at, row in enumerate(one.rows.tolist())}
    theirs |= {"tokens": tokens, "order": [[place[row] for row in some.tolist()] for some in order]}
    path = folder / "peers.json"
    path.write_text(json.dumps(theirs))
    peers = {name: Peer(python, name, path, "steps") for name in LIBRARIES}
    try:
        for peer in peers.values():
            peer.answer()  # ready
        one.module.train()
        other.module.train()
        with Journal(folder / "bench.jsonl") as journal:
            loops = {"engine": of_the_engine(one, journal), "bare loop": bare(other)}
            batches = {name: cycle(order) for name in loops}
            found: dict[str, list[float]] = {name: [] for name in (*loops, *peers)}
            for _ in range(pieces):
                for name, step in loops.items():
                    some = [next(batches[name]) for _ in range(number)]
                    began = time.process_time()
                    for rows in some:
                        step(rows)
                    found[name].append((time.process_time() - began) / number)
                for name, peer in peers.items():
                    found[name].append(peer.steps(number) / number)
    finally:
        for peer in peers.values():
            peer.close()
    ours = median(found["engine"][1:])
    print("\nequal work, live teacher, the same batches (CPU time of one thread):")
    for name, times in found.items():
        print(
            f"  {name:14s} {median(times[1:]) * 1000:7.1f} ms a step; "
            f"{median(times[1:]) / ours:.3f} times the engine's"
        )


# -- text generation -------------------------------------------------------------------------------


def writing(python: str, folder: Path, pieces: int = 7, number: int = 3) -> None:
    rows = real_data.tinyshakespeare(DATA)
    train = np.flatnonzero(~rows.is_test)
    splits = {"train": train[:300], "validation": train[300:310]}
    said = real_data.write(folder / "rows.parquet", rows, splits, train[:0], {})
    words = {"vocabulary": 4000, "max_length": 128, "tie_word_embeddings": False}
    common: JSON = {
        "task": "text-generation",
        "architecture": "llama-lm",
        "training": {**PLAIN, "batch_size": 16, "epochs": 1},
        "evaluate": False,
    }
    wide = {"hidden_size": 256, "num_hidden_layers": 4, "intermediate_size": 688}
    first = jobs.write(folder / "teacher", said, options={**words, **wide}, **common)
    jobs.run(first)
    teacher = str(folder / "teacher" / "output" / "model")
    home = jobs.write(
        folder / "student", said, options=words, teachers=[teacher],
        losses=[{"kind": "soft_targets", "weight": 1.0, "temperature": 1.0}],
        teacher_outputs={"mode": "live", "store": str(folder / "store")}, **common,
    )  # fmt: skip
    one = prepared(home)
    networks.save(one.student, folder / "drawn")
    assert one.inputs.lengths is not None
    whole = [row for row in one.rows.tolist() if one.inputs.lengths[row] == 128]
    order = [np.array(whole[at : at + 16]) for at in range(0, len(whole) - 15, 16)]
    windows = [one.inputs.batch(np.array([row]))["input_ids"][0].tolist() for row in whole]
    place = {row: at for at, row in enumerate(whole)}
    path = folder / "peers.json"
    path.write_text(
        json.dumps(
            {
                "teacher": teacher,
                "student": str(folder / "drawn"),
                "tokens": windows,
                "order": [[place[row] for row in some.tolist()] for some in order],
                "rate": PLAIN["learning_rate"],
                "batch_size": 16,
            }
        )
    )
    peer = Peer(python, "trl", path, "steps")
    found: dict[str, list[float]] = {"engine": [], "trl": []}
    try:
        peer.answer()
        one.module.train()
        batches = cycle(order)
        with Journal(folder / "bench.jsonl") as journal:
            step = of_the_engine(one, journal)
            for _ in range(pieces):
                some = [next(batches) for _ in range(number)]
                began = time.process_time()
                for rows_ in some:
                    step(rows_)
                found["engine"].append((time.process_time() - began) / number)
                found["trl"].append(peer.steps(number) / number)
    finally:
        peer.close()
    ours, theirs = (median(times[1:]) * 1000 for times in found.values())
    print(
        f"\ntext generation, live teacher, the same windows: engine {ours:.0f} ms a step, TRL "
        f"{theirs:.0f} ms; {theirs / ours:.2f} times the engine's"
    )


# -- ten epochs ------------------------------------------------------------------------------------


def engine_epochs(folder: Path) -> None:
    """In a process of its own: the job of a folder, and the seconds it took; and those of a bare
    loop over the same batches, the teacher's answers given: what no loop can do without."""
    importlib.import_module("transformers.models.bert.modeling_bert")
    began = time.process_time()
    with Journal(folder / "journal.jsonl") as journal:
        for event in jobs.run(folder):
            journal.write(event)
    seconds = time.process_time() - began
    one = prepared(folder)
    train = one.dataset.splits["train"]
    truth = torch.from_numpy(one.dataset.labels[train])
    step = bare_stored(one, one.lesson.target(train, "train", truth).logits)
    one.module.train()
    began = time.process_time()
    for epoch in range(EPOCHS):
        for rows in data.epoch_order(one.rows, one.inputs.lengths, one.size, 0, epoch):
            step(rows)
    least = time.process_time() - began
    print(json.dumps({"seconds": seconds, "least": least}), flush=True)


def epochs(python: str, folder: Path, rounds: int = 1) -> None:
    said, theirs, teacher = made(folder)
    path = folder / "peers.json"
    path.write_text(json.dumps(theirs))
    names = ("engine", *LIBRARIES, "textbrewer_caching")
    found: dict[str, list[float]] = {name: [] for name in (*names, "bare loop")}
    for turn in range(rounds):
        for name in names:
            if name == "engine":
                home = job(folder / f"ours-{turn}", said, teacher, epochs=EPOCHS)
                done = subprocess.run(
                    [sys.executable, "-m", "tests.bench.peers", "engine", str(home)],
                    cwd=ROOT, check=True, capture_output=True, text=True,
                    env={**os.environ, **KEPT, "OMP_NUM_THREADS": "1"},
                )  # fmt: skip
                answer = json.loads(done.stdout.strip().splitlines()[-1])
                seconds = answer["seconds"]
                found["bare loop"].append(answer["least"])
            else:
                peer = Peer(python, name, path, "epochs")
                seconds = peer.answer()
                peer.close()
            found[name].append(seconds)
    ours = min(found["engine"])
    print(f"\n{EPOCHS} epochs of {ROWS} rows, each as it is used (CPU time of one thread):")
    for name, times in found.items():
        print(f"  {name:18s} {min(times):7.1f} s; {min(times) / ours:.2f} times the engine's")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["steps", "epochs", "writing", "engine"])
    parser.add_argument("folder", nargs="?", type=Path, help="of the engine's own process")
    parser.add_argument("--python", default="/tmp/peers/bin/python", help="of the peers")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.what == "engine":
        engine_epochs(asked.folder)
        return
    with tempfile.TemporaryDirectory() as folder:
        benches: dict[str, Callable[[str, Path], None]] = {
            "steps": steps,
            "epochs": epochs,
            "writing": writing,
        }
        benches[asked.what](asked.python, Path(folder))


if __name__ == "__main__":
    main()
