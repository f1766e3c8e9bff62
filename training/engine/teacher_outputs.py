"""What a teacher said about a dataset's rows: asked once, stored, shared by every run.

The store's address is sha256 of (dataset's fingerprint, split, the teacher folder's content, kind,
type, what it was computed in, if not float32, which layers, and the view of augmented rows):
the teacher's folder holds its preprocessing too. An entry is a folder, made whole beside its place
and renamed, with `logits.npy` float16 `[rows, classes]` in the order of the split's row ids,
`row_ids.npy` and a manifest with their sha256; what one of layers holds says stored_layers.py. Two
runs that want one entry at the same moment ask once: the second waits for the first. float16 holds
logits to about 0.05 %, at 1/2 of the size.
"""

import fcntl
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from training.engine import data, evaluate, networks, stored, stored_layers
from training.engine.answers import Answer, Wanted
from training.engine.augmentation import View, Viewed
from training.engine.data import Dataset, Inputs
from training.engine.errors import Stopped
from training.engine.networks import Network, Place
from training.engine.stored_layers import Shape, StoredLayers, Writer

Logits = NDArray[np.float16]
Told = tuple[str, View | None]  # a split, as it is or as a view has it
HIGHEST = 65_504.0  # of float16
KEPT_EVERY = 20  # batches of layers, after which an interrupted job need not ask again
STILL_HERE = 10.0  # seconds between two signs of life of a job that waits for another
HELD = 64_000_000  # numbers of layers that are asked for at once, at most


class Teacher:
    """A frozen network and its answers, in the dataset's order of labels."""

    tells_logits_beside: ClassVar[bool] = True  # they are few beside its layers

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
        self._stored: dict[Told, Logits] = {}
        self._layers: dict[Told, StoredLayers] = {}
        self._beside: set[Told] = set()  # logits kept while its layers were asked for
        self._starts: dict[str, data.Indices] = {}
        network.module.requires_grad_(False).eval()
        place.settle(network)

    @property
    def name(self) -> str:
        return self.network.name

    def answer(
        self,
        rows: data.Indices,
        split: str,
        wanted: Wanted,
        batch: data.Batch | None = None,
        *,
        view: View | None = None,
        reads: Iterable[str] = (),
    ) -> Answer:
        """Its logits in the dataset's order of labels, and what else is wanted: stored where it was
        asked ahead, live otherwise. `batch` holds inputs that are no longer the stored rows', but
        those of a `view` of them, where that is given. `reads` are the layers that are looked at,
        by name or by kind; others may be missing."""
        own = batch is None or view is not None
        is_stored = own and (split, view) in self._stored
        if (is_stored or batch is None) and (not wanted or self._is_told_by(wanted)):
            logits = self.logits(rows, split, view)
            return Answer(logits, embedding=logits if wanted else None)
        layers = self._layers.get((split, view)) if is_stored else None
        if layers is not None and layers.hold(reads):
            said = layers.answer(self.dataset.place[rows])
        else:
            seen = self.seen(view).batch(rows) if batch is None else batch
            with torch.no_grad():
                said = self.place.answer(self.network, seen, wanted).detached()
        said.logits = (
            self.logits(rows, split, view)
            if is_stored
            else rounded(said.logits)[:, self.columns].float().cpu()
        )
        return said

    def seen(self, view: View | None = None) -> Inputs:
        """What it reads, as it is or as a view has it; it must be prepared."""
        assert self.inputs is not None
        return self.inputs if view is None else Viewed(self.inputs, view, self.dataset.row_ids)

    def _is_told_by(self, wanted: Wanted) -> bool:
        """Whether what it answers is all that is wanted: its answer is a vector."""
        return self.network.problem == "embedding" and wanted == Wanted(embedding=True)

    def proven(self, split: str, home: Path, rows: int = 32, view: View | None = None) -> float:
        """The largest difference between the stored answers to some rows, spread over the split,
        and live ones, as a share of the logits' range."""
        some = self.spread(split, rows)
        self.prepare(home)
        with torch.inference_mode():
            live = self.place.logits(self.network, self.seen(view).batch(some)).cpu()
        now = rounded(live)[:, self.columns].float()
        then = self.logits(some, split, view)
        spread = float((now.max() - now.min()).clamp_min(1e-6))
        return float((now - then).abs().max()) / spread

    def proven_layers(
        self, split: str, wanted: Wanted, home: Path, rows: int = 32, view: View | None = None
    ) -> float:
        """The same of stored layers, each as a share of its largest number."""
        some = self.spread(split, rows)
        self.prepare(home)
        with torch.no_grad():
            live = self.place.answer(self.network, self.seen(view).batch(some), wanted).detached()
        return stored_layers.apart(self._layers[split, view].answer(self.dataset.place[some]), live)

    def spread(self, split: str, rows: int) -> data.Indices:
        """Some rows of a split, evenly spread over it."""
        every = self.dataset.splits[split]
        return every[np.linspace(0, len(every) - 1, min(rows, len(every))).astype(np.int64)]

    def _said(self, split: str, view: View | None, *kind: Any) -> str:
        """The address of what it says of a split."""
        said = [self.dataset.fingerprint, split, self.digest, *kind]
        if self.place.half is not None:
            said.append(f"computed in {self.place.half}")
        if view is not None:
            said.append(view.name)
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()

    def key(self, split: str, view: View | None = None) -> str:
        return self._said(split, view, "logits", "float16")

    def place_of(self, store: Path, split: str, view: View | None = None) -> Path:
        """The folder of its answers to a split."""
        key = self.key(split, view)
        return store / key[:2] / key

    def layers_of(
        self, store: Path, split: str, reads: Iterable[str], view: View | None = None
    ) -> dict[str, Path]:
        """The folders of its layers about a split, by kind."""
        found = {}
        for kind in sorted({stored_layers.kind_of(one) for one in reads}):
            names = sorted(one for one in reads if stored_layers.kind_of(one) == kind)
            digest = self.network.preprocessing.digest
            key = self._said(split, view, kind, names, digest, "float16")
            found[kind] = store / key[:2] / key
        return found

    def logits(self, rows: data.Indices, split: str, view: View | None = None) -> torch.Tensor:
        """`[len(rows), classes]`, float32: stored where the split was asked, live otherwise, and
        rounded to float16 either way, so that both are the same numbers."""
        if (split, view) in self._stored:
            answers = self._stored[split, view][self._places(split, rows)]
            if not self.in_order:
                answers = answers[:, self.columns]
            return torch.from_numpy(answers).float()
        with torch.inference_mode():
            live = self.place.logits(self.network, self.seen(view).batch(rows)).cpu()
        return rounded(live)[:, self.columns].float().clone()

    def units(self, split: str) -> int:
        """Of a split's rows; it must be prepared where a row has several."""
        rows = self.dataset.splits[split]
        return len(rows) if self.inputs is None else int(data.offsets(self.inputs, rows)[-1])

    def bytes_of(self, split: str) -> int:
        """Of its stored answers to a split, layers aside."""
        return 2 * self.network.outputs * self.units(split)

    def ask(
        self,
        split: str,
        store: Path,
        home: Path,
        asked_to_stop: Callable[[], bool],
        view: View | None = None,
    ) -> Generator[int, None, bool]:
        """Store what it says about a split, unless the store has it: yields the number of rows
        after each batch of answers, and returns whether it had to be asked."""
        folder = self.place_of(store, split, view)
        folder.parent.mkdir(parents=True, exist_ok=True)
        rows = self.dataset.splits[split]
        with alone(folder.with_suffix(stored.LOCK), asked_to_stop):
            self._held.append(stored.Hold(folder))
            found = _read(folder, self.dataset.row_ids[rows])
            asked = found is None or (split, view) in self._beside
            if found is None:
                self.prepare(home)
                inputs = self.seen(view)
                starts = data.offsets(inputs, rows)
                said = np.empty((int(starts[-1]), self.network.outputs), dtype=np.float16)
                for which, logits in evaluate.in_batches(self.network, inputs, rows, self.place):
                    said[data.places(starts, which)] = rounded(torch.from_numpy(logits)).numpy()
                    yield len(which)
                    if asked_to_stop():
                        raise Stopped
                found = self._keep(folder, split, said, view)
            stored.note(folder, reused=not asked)
        self._stored[split, view] = found
        return asked

    def ask_layers(
        self,
        split: str,
        wanted: Wanted,
        reads: Iterable[str],
        store: Path,
        home: Path,
        asked_to_stop: Callable[[], bool],
        view: View | None = None,
    ) -> Generator[int, None, bool]:
        """The same of the layers that are looked at: all kinds in one pass, each an entry of its
        own; goes on where an interrupted job was. Raises UnstorableError."""
        folders = self.layers_of(store, split, reads, view)
        row_ids = self.dataset.row_ids[self.dataset.splits[split]]
        with ExitStack() as locks:
            for folder in sorted(folders.values()):
                folder.parent.mkdir(parents=True, exist_ok=True)
                locks.enter_context(alone(folder.with_suffix(stored.LOCK), asked_to_stop))
                self._held.append(stored.Hold(folder))
            whole = {
                kind: shape for kind, one in folders.items() if (shape := _whole(one, row_ids))
            }
            lacking = {kind: one for kind, one in folders.items() if kind not in whole}
            if lacking:
                self.prepare(home)
                shape = self.shape(split, wanted, reads, view)
                logits = yield from self._write_layers(
                    split, wanted, {kind: (one, shape.of(kind)) for kind, one in lacking.items()},
                    asked_to_stop, view,
                )  # fmt: skip
                if logits is not None:
                    self._keep_beside(store, split, view, logits, asked_to_stop)
                whole |= {kind: shape.of(kind) for kind in lacking}
            for kind, folder in folders.items():
                stored.note(folder, reused=kind not in lacking)
            kept = StoredLayers((folder, whole[kind]) for kind, folder in folders.items())
        self._layers[split, view] = kept
        return bool(lacking)

    def forget(self, split: str, view: View | None = None) -> None:
        """Ask about its layers live from now on."""
        self._layers.pop((split, view), None)

    def shape(
        self, split: str, wanted: Wanted, reads: Iterable[str], view: View | None = None
    ) -> Shape:
        """Of the layers that are looked at, found out from some short rows and some long ones.
        Raises UnstorableError."""
        inputs, rows = self.seen(view), self.dataset.splits[split]
        read: tuple[int, int] | None = None
        if inputs.lengths is not None:
            rows = rows[np.argsort(inputs.lengths[rows], kind="stable")]
            read = int(inputs.lengths[rows[:2]].max()), int(inputs.lengths[rows[-2:]].max())
        self.network.module.eval()
        with torch.no_grad():
            short, long = (
                self.place.answer(self.network, inputs.batch(some), wanted)
                for some in (rows[:2], rows[-2:])
            )
        return stored_layers.shape_of(short, long, read, reads)

    def _write_layers(
        self,
        split: str,
        wanted: Wanted,
        lacking: dict[str, tuple[Path, Shape]],
        asked_to_stop: Callable[[], bool],
        view: View | None,
    ) -> Generator[int, None, Logits | None]:
        """The logits of all rows, too, where they are few and all were asked now."""
        inputs, rows = self.seen(view), self.dataset.splits[split]
        writers = [
            Writer(folder.with_name(f".{folder.name}.part"), shape, len(rows))
            for folder, shape in lacking.values()
        ]
        least = min(writers, key=lambda one: one.batches)
        for one in writers:
            one.back_to(least.rows, least.batches)
        before = least.batches
        number = 0
        starts = data.offsets(inputs, rows)
        logits: Logits | None = None
        if not before and self.tells_logits_beside:
            logits = np.empty((int(starts[-1]), self.network.outputs), dtype=np.float16)
        try:
            batches = self._batches_of_layers(inputs, rows, [one.shape for one in writers])
            for number, which in enumerate(batches, 1):
                if number > before:
                    with torch.no_grad():
                        batch = inputs.batch(rows[which])
                        said = self.place.answer(self.network, batch, wanted)
                    for one in writers:
                        one.add(which, said)
                    if logits is not None:
                        logits[data.places(starts, which)] = rounded(said.logits).cpu().numpy()
                yield len(which)
                leaves = asked_to_stop()
                if number > before and (leaves or number % KEPT_EVERY == 0):
                    for one in writers:
                        one.flush()
                if leaves:
                    raise Stopped
            for one, (kind, (folder, shape)) in zip(writers, lacking.items(), strict=True):
                files = one.finish(self.dataset.row_ids[rows])
                manifest = self._manifest(stored_layers.KINDS[kind], split, view)
                manifest["layers"] = list(shape.layouts)
                manifest["files"] = {path.name: sha256_of(path) for path in files}
                manifest["shape"] = shape.as_dict()
                (one.part / "manifest.json").write_text(json.dumps(manifest))
                shutil.rmtree(folder, ignore_errors=True)  # a damaged entry
                one.part.rename(folder)
        finally:
            for one in writers:
                one.close()
        return logits

    def _keep_beside(
        self,
        store: Path,
        split: str,
        view: View | None,
        logits: Logits,
        asked_to_stop: Callable[[], bool],
    ) -> None:
        """Keep what the pass over its layers said beside them, so that nobody asks again."""
        folder = self.place_of(store, split, view)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with alone(folder.with_suffix(stored.LOCK), asked_to_stop):
            if _read(folder, self.dataset.row_ids[self.dataset.splits[split]]) is None:
                self._keep(folder, split, logits, view)
                self._beside.add((split, view))

    def _batches_of_layers(
        self, inputs: Inputs, rows: data.Indices, shapes: Sequence[Shape]
    ) -> list[data.Indices]:
        """Places of rows asked together: as many as the layers leave memory for."""
        lengths = None if inputs.lengths is None else inputs.lengths[rows]
        longest = np.array([1 if lengths is None else int(lengths.max())])
        once = max(1, sum(one.bytes_of(longest) for one in shapes) // 2)
        size = int(min(evaluate.AT_ONCE, max(1, HELD // once)))
        return data.steady_order(np.arange(len(rows)), lengths, size)

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

    def _manifest(self, kind: str, split: str, view: View | None) -> dict[str, Any]:
        """What is said of any entry but its files."""
        return {
            "format": 1,
            "kind": kind,
            "fingerprint": self.dataset.fingerprint,
            "split": split if view is None else f"{split}, view {view.number}",
            "view": None if view is None else view.name,
            "teacher": self.digest,
            "teacher_name": self.network.name,
            "rows": len(self.dataset.splits[split]),
            "made_at": time.time(),
        }

    def _keep(self, folder: Path, split: str, logits: Logits, view: View | None = None) -> Logits:
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
        manifest = self._manifest("logits", split, view)
        manifest |= {"labels": list(self.network.labels), "rows": len(logits), "files": files}
        (part / "manifest.json").write_text(json.dumps(manifest))
        shutil.rmtree(folder, ignore_errors=True)  # a damaged entry
        part.rename(folder)
        kept = _read(folder, row_ids)
        assert kept is not None
        return kept


def rounded(logits: torch.Tensor) -> torch.Tensor:
    """float16, with what is beyond its range at its ends."""
    return logits.float().clamp(-HIGHEST, HIGHEST).half()


def undamaged(folder: Path, row_ids: data.Indices) -> dict[str, Any] | None:
    """The manifest of an entry whose files are what they were, and whose rows are these."""
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        return None
    try:
        said: dict[str, Any] = json.loads(manifest.read_text())
        if any(sha256_of(folder / name) != sha256 for name, sha256 in said["files"].items()):
            return None
        if not np.array_equal(np.load(folder / "row_ids.npy"), row_ids):
            return None
    except (OSError, ValueError, KeyError):
        return None
    return said


def _read(folder: Path, row_ids: data.Indices) -> Logits | None:
    """A whole and undamaged entry, memory-mapped, or None."""
    if undamaged(folder, row_ids) is None:
        return None
    try:
        logits: Logits = np.load(folder / "logits.npy", mmap_mode="r").view(np.ndarray)
    except (OSError, ValueError):
        return None
    return logits


def _whole(folder: Path, row_ids: data.Indices) -> Shape | None:
    """The shape of a whole and undamaged entry of layers, or None."""
    said = undamaged(folder, row_ids)
    try:
        return None if said is None else Shape.read(said["shape"])
    except (KeyError, TypeError):
        return None


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def alone(path: Path, asked_to_stop: Callable[[], bool]) -> Iterator[None]:
    """Hold a lock that ends with its process, however that dies. Raises Stopped when asked to
    leave while waiting. Who waits prints: its parent would take it for hanging."""
    with path.open("a") as file:
        said_at: float | None = None
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if asked_to_stop():
                    raise Stopped from None
                if said_at is None:
                    _print("Another run asks the teacher the same; this one waits for it:\n")
                if said_at is None or time.monotonic() - said_at > STILL_HERE:
                    _print(".")
                    said_at = time.monotonic()
                time.sleep(0.2)
        if said_at is not None:
            _print(" done\n")
        yield


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
