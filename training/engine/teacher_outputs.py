"""What a teacher said about a dataset's rows: asked once, stored, shared by every run.

The store's address is sha256 of (dataset's fingerprint, split, the teacher folder's content, kind,
type, and what it was computed in, if not float32): the teacher's folder holds its preprocessing
too. An entry is a folder, made whole beside its place and renamed, with `logits.npy` float16
`[rows, classes]` in the order of the split's row ids, `row_ids.npy` and a manifest with their
sha256. Two runs that want one entry at the same moment ask once: the second waits for the first.
float16 holds logits to about 0.05 %, at 1/2 of the size.
"""

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training.engine import data, evaluate, networks, stored
from training.engine.answers import Answer, Wanted
from training.engine.data import Dataset, Inputs
from training.engine.errors import Stopped
from training.engine.networks import Network, Place

Logits = NDArray[np.float16]
HIGHEST = 65_504.0  # of float16


class Teacher:
    """A frozen network and its answers, in the dataset's order of labels."""

    def __init__(
        self, network: Network, folder: Path, weight: float, dataset: Dataset, place: Place
    ) -> None:
        self.network, self.weight, self.place = network, weight, place
        self.dataset = dataset
        self.digest = networks.digest(folder)
        self.columns = networks.columns(network, dataset.names)
        self.in_order = self.columns == list(range(network.outputs))
        self.inputs: Inputs | None = None
        self._held: list[stored.Hold] = []  # not to be freed while it speaks
        self._stored: dict[str, Logits] = {}
        self._starts: dict[str, data.Indices] = {}
        network.module.requires_grad_(False).eval()
        place.settle(network)

    def answer(
        self, rows: data.Indices, split: str, wanted: Wanted, batch: data.Batch | None = None
    ) -> Answer:
        """Its logits in the dataset's order of labels, and what else is wanted; live where layers
        are wanted, or where `batch` holds inputs that are no longer the stored rows'."""
        if batch is None and (not wanted or self._is_told_by(wanted)):
            logits = self.logits(rows, split)
            return Answer(logits, embedding=logits if wanted else None)
        assert self.inputs is not None
        seen = self.inputs.batch(rows) if batch is None else batch
        with torch.no_grad():
            said = self.place.answer(self.network, seen, wanted).detached()
        is_stored = batch is None and split in self._stored
        said.logits = (
            self.logits(rows, split)
            if is_stored
            else rounded(said.logits)[:, self.columns].float().cpu()
        )
        return said

    def _is_told_by(self, wanted: Wanted) -> bool:
        """Whether what it answers is all that is wanted: its answer is a vector."""
        return self.network.problem == "embedding" and wanted == Wanted(embedding=True)

    def proven(self, split: str, home: Path, rows: int = 32) -> float:
        """The largest difference between the stored answers to some rows, spread over the split,
        and live ones, as a share of the logits' range."""
        every = self.dataset.splits[split]
        some = every[np.linspace(0, len(every) - 1, min(rows, len(every))).astype(np.int64)]
        self.prepare(home)
        assert self.inputs is not None
        with torch.inference_mode():
            live = self.place.logits(self.network, self.inputs.batch(some)).cpu()
        now = rounded(live)[:, self.columns].float()
        then = self.logits(some, split)
        spread = float((now.max() - now.min()).clamp_min(1e-6))
        return float((now - then).abs().max()) / spread

    def key(self, split: str) -> str:
        said = [self.dataset.fingerprint, split, self.digest, "logits", "float16"]
        if self.place.half is not None:
            said.append(f"computed in {self.place.half}")
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()

    def place_of(self, store: Path, split: str) -> Path:
        """The folder of its answers to a split."""
        return store / self.key(split)[:2] / self.key(split)

    def logits(self, rows: data.Indices, split: str) -> torch.Tensor:
        """`[len(rows), classes]`, float32: stored where the split was asked, live otherwise, and
        rounded to float16 either way, so that both are the same numbers."""
        if split in self._stored:
            answers = self._stored[split][self._places(split, rows)]
            if not self.in_order:
                answers = answers[:, self.columns]
            return torch.from_numpy(answers.astype(np.float32))
        assert self.inputs is not None
        with torch.inference_mode():
            live = self.place.logits(self.network, self.inputs.batch(rows)).cpu()
        return rounded(live)[:, self.columns].float().clone()

    def ask(
        self, split: str, store: Path, home: Path, asked_to_stop: Callable[[], bool]
    ) -> Generator[int, None, bool]:
        """Store what it says about a split, unless the store has it: yields the number of rows
        after each batch of answers, and returns whether it had to be asked."""
        folder = self.place_of(store, split)
        folder.parent.mkdir(parents=True, exist_ok=True)
        rows = self.dataset.splits[split]
        with alone(folder.with_suffix(stored.LOCK), asked_to_stop):
            self._held.append(stored.Hold(folder))
            found = _read(folder, self.dataset.row_ids[rows])
            asked = found is None
            if found is None:
                self.prepare(home)
                assert self.inputs is not None
                starts = data.offsets(self.inputs, rows)
                said = np.empty((int(starts[-1]), self.network.outputs), dtype=np.float16)
                for which, logits in evaluate.in_batches(
                    self.network, self.inputs, rows, self.place
                ):
                    said[data.places(starts, which)] = rounded(torch.from_numpy(logits)).numpy()
                    yield len(which)
                    if asked_to_stop():
                        raise Stopped
                found = self._keep(folder, split, said)
            stored.note(folder, reused=not asked)
        self._stored[split] = found
        return asked

    def remark(self, split: str) -> str:
        """What is worth saying of its stored answers, behind the number of rows."""
        return ""

    def _places(self, split: str, rows: data.Indices) -> data.Indices:
        """Where the stored answers to these rows' units are."""
        which = self.dataset.place[rows]
        if self.inputs is None or getattr(self.inputs, "units", None) is None:
            return which
        if split not in self._starts:
            self._starts[split] = data.offsets(self.inputs, self.dataset.splits[split])
        return data.places(self._starts[split], which)

    def prepare(self, home: Path) -> None:
        """Tokens or pixels as this teacher wants them; not needed when all is in the store."""
        if self.inputs is None:
            self.inputs = self.network.preprocessing.prepare(self.dataset.path, home)

    def _keep(self, folder: Path, split: str, logits: Logits) -> Logits:
        part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        row_ids = self.dataset.row_ids[self.dataset.splits[split]]
        files = {}
        for name, array in (("logits.npy", logits), ("row_ids.npy", row_ids)):
            with (part / name).open("wb") as file:
                np.save(file, array)
                file.flush()
                os.fsync(file.fileno())
            files[name] = sha256_of(part / name)
        manifest: dict[str, Any] = {
            "format": 1,
            "kind": "logits",
            "fingerprint": self.dataset.fingerprint,
            "split": split,
            "teacher": self.digest,
            "teacher_name": self.network.name,
            "labels": list(self.network.labels),
            "rows": len(logits),
            "files": files,
            "made_at": time.time(),
        }
        (part / "manifest.json").write_text(json.dumps(manifest))
        shutil.rmtree(folder, ignore_errors=True)  # a damaged entry
        part.rename(folder)
        kept = _read(folder, row_ids)
        assert kept is not None
        return kept


def rounded(logits: torch.Tensor) -> torch.Tensor:
    """float16, with what is beyond its range at its ends."""
    return logits.float().clamp(-HIGHEST, HIGHEST).half()


def _read(folder: Path, row_ids: data.Indices) -> Logits | None:
    """A whole and undamaged entry, memory-mapped, or None."""
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        return None
    try:
        said = json.loads(manifest.read_text())
        if any(sha256_of(folder / name) != sha256 for name, sha256 in said["files"].items()):
            return None
        if not np.array_equal(np.load(folder / "row_ids.npy"), row_ids):
            return None
        logits: Logits = np.load(folder / "logits.npy", mmap_mode="r").view(np.ndarray)
    except (OSError, ValueError, KeyError):
        return None
    return logits


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def alone(path: Path, asked_to_stop: Callable[[], bool]) -> Iterator[None]:
    """Hold a lock that ends with its process, however that dies. Raises Stopped when asked to
    leave while waiting."""
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if asked_to_stop():
                    raise Stopped from None
                time.sleep(0.2)
        yield
