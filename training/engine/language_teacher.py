"""A teacher that writes, and what of its answers to a whole vocabulary is kept.

Kinds of an entry, bytes a token of a vocabulary of V words and a network of width d:

logits          2 V   float16; for small vocabularies
hidden_states   2 d   float16 before the last layer: logits are one product of matrices away, and
                      0.01 % off
top_k     6 k + 4 n   the k largest logits, and of all other words together log Σ exp(t / T) for n
                      temperatures T

`auto` takes the smaller of the first two, which lose nothing, unless the split would take more than
MOST_BYTES or a tenth of the free disk: then a top k. An entry is written through memory maps, so
that a job that stops goes on where it was.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch import Tensor

from training.engine import data, generation, head_loss, sampling, stored
from training.engine.answers import Answer, Wanted
from training.engine.augmentation import View
from training.engine.data import NO_UNIT, Batch, Dataset, Indices
from training.engine.errors import Stopped
from training.engine.heads import Head, TopK, Unmultiplied
from training.engine.language import LanguagePreprocessing
from training.engine.networks import Network, Place
from training.engine.schemes import Texts
from training.engine.teacher_outputs import Teacher, alone, rounded, sha256_of
from training.engine.windows import LanguageInputs

JSON = dict[str, Any]
Arrays = dict[str, NDArray[Any]]
MOST_BYTES = 8 << 30  # of one split, kept without loss
#: At which the others' weight is kept; a run that softens otherwise has an entry of its own.
TEMPERATURES = (1.0, 2.0, 4.0)
# Units whose logits are looked at whole, for how soft they are, and numbers of theirs at most.
SHOWN, SHOWN_NUMBERS = 1024, 8_000_000
KEPT_EVERY = 20  # batches, after which an interrupted job need not ask again


@dataclass(frozen=True, slots=True)
class Kept:
    """How answers are stored."""

    kind: str  # logits, hidden_states or top_k
    k: int = 0
    temperatures: tuple[float, ...] = ()

    def bytes_of(self, network: Network) -> int:
        """Of one token."""
        weight, _ = cast(Any, network.module).last()
        if self.kind == "logits":
            return 2 * len(weight)
        if self.kind == "hidden_states":
            return 2 * int(weight.shape[1])
        return 6 * self.k + 4 * len(self.temperatures)


def choose(
    asked: str, k: int, temperatures: Iterable[float], network: Network, units: int, store: Path
) -> Kept:
    """How the answers to `units` tokens are stored, of what was asked for."""
    weight, _ = cast(Any, network.module).last()
    vocabulary, width = weight.shape
    every = tuple(sorted({*TEMPERATURES, *temperatures}))
    few = Kept("top_k", min(k, vocabulary - 1), every)
    if asked == "top_k":
        return few
    if asked in ("logits", "hidden_states"):
        return Kept(asked)
    whole = Kept("logits" if vocabulary <= width else "hidden_states")
    store.mkdir(parents=True, exist_ok=True)
    room = min(MOST_BYTES, shutil.disk_usage(store).free // 10)
    fits = asked == "live" or whole.bytes_of(network) * units <= room
    return whole if fits or few.bytes_of(network) >= whole.bytes_of(network) else few


class LanguageTeacher(Teacher):
    """A frozen network that writes. Its rows are windows, as its own tokenizer cuts them."""

    tells_logits_beside = False  # `kept` says how they are
    inputs: LanguageInputs | None

    def __init__(
        self, network: Network, folder: Path, weight: float, dataset: Dataset, place: Place
    ) -> None:
        super().__init__(network, folder, weight, dataset, place)
        self.kept = Kept("logits")
        self._arrays: dict[str, Arrays] = {}
        self._texts: list[list[tuple[str, bool]]] = []  # by sample, in the order of rows
        self._asked = dataset

    def seat(self, dataset: Dataset) -> None:
        """Take the windows of this dataset's texts as rows; they must have been prepared."""
        assert self.inputs is not None
        self.dataset = self.inputs.divided(dataset)

    def choose(self, asked: str, k: int, temperatures: Iterable[float], store: Path) -> None:
        """How its answers are kept, of what was asked for."""
        assert self.inputs is not None
        units = int(self.inputs.units.sum())
        self.kept = choose(asked, k, temperatures, self.network, units, store)

    def remark(self, split: str) -> str:
        if self.kept.kind != "top_k":
            return ""
        sums = self._arrays[split]["judged"]
        assert self.inputs is not None
        share = sums[:, 2].sum() / self.inputs.units[self.dataset.splits[split]].sum()
        return f", {share:.1%} of its probability word by word ({self.kept.k} words a token)"

    # -- answers ----------------------------------------------------------------------------------

    def answer(
        self,
        rows: Indices,
        split: str,
        wanted: Wanted,
        batch: Batch | None = None,
        *,
        view: View | None = None,
        reads: Iterable[str] = (),
    ) -> Answer:
        """Stored where the split was asked, live otherwise, the same numbers either way. Of a
        `batch` that is no longer the rows' own, everything it says. Texts have no views."""
        is_stored = batch is None and split in self._arrays
        if is_stored and not wanted:
            return self._read_out(split, rows)
        layers = self._layers.get((split, view)) if is_stored else None
        if layers is not None and layers.hold(reads):
            return self._beside_layers(split, rows, layers.answer(self.dataset.place[rows]))
        assert self.inputs is not None
        seen = self.inputs.batch(rows) if batch is None else batch
        with torch.no_grad():
            said = self.place.answer(self.network, seen, wanted).detached()
        assert isinstance(said, Unmultiplied)
        assert said.head is not None
        if is_stored:
            kept = self._read_out(split, rows)
        elif batch is None:
            kept = self._unpacked(self._packed(said.head))
        else:
            return said
        if isinstance(kept, Unmultiplied):
            said.head, said.top = kept.head, kept.top
            return said
        beside = (said.hidden, said.attention, said.relations, said.embedding, said.mask)
        return Answer(kept.logits, *beside)

    def _beside_layers(self, split: str, rows: Indices, layers: Answer) -> Answer:
        """What it says of a vocabulary, beside stored layers."""
        kept = self._read_out(split, rows)
        if isinstance(kept, Unmultiplied):
            return Unmultiplied(kept.head, kept.top, like=layers, mask=layers.mask)
        layers.logits = kept.logits
        return layers

    def _packed(self, head: Head) -> Arrays:
        """What is stored of some units."""
        if self.kept.kind == "hidden_states":
            return {"hidden": rounded(head.hidden).cpu().numpy()}
        if self.kept.kind == "logits":
            return {"logits": rounded(head.logits()).cpu().numpy()}
        return _top_k(head, self.kept)

    def _unpacked(self, arrays: Arrays) -> Answer:
        def tensor(name: str, kind: Any) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(arrays[name]).astype(kind))

        if self.kept.kind == "logits":
            return Answer(tensor("logits", np.float32))
        if self.kept.kind == "hidden_states":
            weight, bias = cast(Any, self.network.module).last()
            return Unmultiplied(Head(tensor("hidden", np.float32), weight, bias))
        rest = tensor("rest", np.float32)
        return Unmultiplied(
            None,
            TopK(
                tensor("values", np.float32),
                tensor("indices", np.int64),
                {one: rest[:, place] for place, one in enumerate(self.kept.temperatures)},
            ),
        )

    def _read_out(self, split: str, rows: Indices) -> Answer:
        places = self._places(split, rows)
        arrays = self._arrays[split]
        return self._unpacked({name: arrays[name][places] for name in _names(self.kept)})

    def proven(self, split: str, home: Path, rows: int = 8, view: View | None = None) -> float:
        """As of any teacher; of a top k, the largest logits."""
        some = self.spread(split, rows)
        self.prepare(home)
        assert self.inputs is not None
        with torch.no_grad():
            live = self._packed(self.place.head(self.network, self.inputs.batch(some)))
        name = _names(self.kept)[0]
        then = self._arrays[split][name][self._places(split, some)].astype(np.float64)
        now = live[name].astype(np.float64)
        return float(np.abs(now - then).max() / max(now.max() - now.min(), 1e-6))

    # -- the store --------------------------------------------------------------------------------

    def bytes_of(self, split: str) -> int:
        return self.kept.bytes_of(self.network) * self.units(split)

    def key(self, split: str, view: View | None = None) -> str:
        kept = self.kept
        said = [self.dataset.fingerprint, split, self.digest, kept.kind, kept.k]
        said += [list(kept.temperatures), self.network.preprocessing.digest]
        if self.place.half is not None:
            said.append(f"computed in {self.place.half}")
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()

    def ask(
        self,
        split: str,
        store: Path,
        home: Path,
        asked_to_stop: Callable[[], bool],
        view: View | None = None,
    ) -> Generator[int, None, bool]:
        folder = self.place_of(store, split, view)
        folder.parent.mkdir(parents=True, exist_ok=True)
        row_ids = self.dataset.row_ids[self.dataset.splits[split]]
        with alone(folder.with_suffix(stored.LOCK), asked_to_stop):
            self._held.append(stored.Hold(folder))
            found = _read(folder, row_ids, self.kept)
            asked = found is None
            if found is None:
                self.prepare(home)
                yield from self._write(folder, split, asked_to_stop)
                found = _read(folder, row_ids, self.kept)
                assert found is not None
            stored.note(folder, reused=not asked)
        self._arrays[split] = found
        return asked

    def _write(
        self, folder: Path, split: str, asked_to_stop: Callable[[], bool]
    ) -> Generator[int, None, None]:
        """Make the entry beside its place and rename it; goes on where an interrupted job was."""
        assert self.inputs is not None
        rows = self.dataset.splits[split]
        starts = data.offsets(self.inputs, rows)
        part = folder.with_name(f".{folder.name}.part")
        part.mkdir(exist_ok=True)
        done = part / "done.json"
        before = json.loads(done.read_text())["batches"] if done.is_file() else 0
        arrays = self._arrays_in(part, len(rows), int(starts[-1]), fresh=not before)
        number = 0
        for number, which in enumerate(generation.batches(self.inputs, rows), 1):
            if number > before:
                self._ask_some(arrays, starts, rows, which)
            yield len(which)
            leaves = asked_to_stop()
            if number > before and (leaves or number % KEPT_EVERY == 0):
                _flush(arrays, done, number)
            if leaves:
                raise Stopped
        _flush(arrays, done, number)
        self._finish(folder, part, split, rows)

    def _arrays_in(self, part: Path, rows: int, units: int, *, fresh: bool) -> Arrays:
        weight, _ = cast(Any, self.network.module).last()
        vocabulary, width = (int(one) for one in weight.shape)
        kept = self.kept
        shapes: dict[str, tuple[tuple[int, ...], Any]] = {
            "logits": ((units, vocabulary), np.float16),
            "hidden": ((units, width), np.float16),
            "values": ((units, kept.k), np.float16),
            "indices": ((units, kept.k), np.int32),
            "rest": ((units, len(kept.temperatures)), np.float32),
            "judged": ((rows, len(JUDGED)), np.float64),
        }
        return {
            name: open_memmap(
                part / f"{name}.npy", "w+" if fresh else "r+", shapes[name][1], shapes[name][0]
            )
            for name in (*_names(kept), "judged")
        }

    def _ask_some(self, arrays: Arrays, starts: Indices, rows: Indices, which: Indices) -> None:
        assert self.inputs is not None
        batch = self.inputs.batch(rows[which])
        chosen = batch["targets"] != NO_UNIT
        with torch.no_grad():
            head = self.place.head(self.network, batch)
            labels = batch["targets"][chosen].to(self.place.device)
            said = head_loss.judge(head, None, labels)
        for name, values in self._packed(head).items():
            arrays[name][data.places(starts, which)] = values
        window = chosen.nonzero()[:, 0].numpy()
        covered = _covered(arrays, self.kept, data.places(starts, which))
        for column, one in enumerate((said.nll, said.right)):
            found = one.double().cpu().numpy()
            arrays["judged"][which, column] = np.bincount(window, found, minlength=len(which))
        arrays["judged"][which, 2] = np.bincount(window, covered, minlength=len(which))

    def _finish(self, folder: Path, part: Path, split: str, rows: Indices) -> None:
        with (part / "row_ids.npy").open("wb") as file:
            np.save(file, self.dataset.row_ids[rows])
            file.flush()
            os.fsync(file.fileno())
        judged = np.load(part / "judged.npy")
        assert self.inputs is not None
        units = int(self.inputs.units[rows].sum())
        files = {path.name: sha256_of(path) for path in sorted(part.glob("*.npy"))}
        manifest = {
            "format": 1,
            "kind": self.kept.kind,
            "k": self.kept.k,
            "temperatures": list(self.kept.temperatures),
            "covered_mass": float(judged[:, 2].sum() / units),
            "fingerprint": self.dataset.fingerprint,
            "split": split,
            "teacher": self.digest,
            "teacher_name": self.network.name,
            "rows": len(rows),
            "units": units,
            "bytes": sum(path.stat().st_size for path in part.glob("*.npy")),
            "files": files,
            "made_at": time.time(),
        }
        (part / "manifest.json").write_text(json.dumps(manifest))
        (part / "done.json").unlink()
        shutil.rmtree(folder, ignore_errors=True)  # a damaged entry
        part.rename(folder)

    # -- words ------------------------------------------------------------------------------------

    def text(self, row: int, sample: int) -> tuple[str, bool]:
        """What it has written after the prompt of a training row, and whether it came to an end."""
        return self._texts[sample][int(self._asked.place[row])]

    def write(
        self,
        inputs: LanguageInputs,
        dataset: Dataset,
        wanted: Texts,
        store: Path,
        asked_to_stop: Callable[[], bool],
    ) -> Generator[int, None, bool]:
        """Write after the prompts of the student's training rows, unless the store has that: yields
        the number of texts after some, and returns whether it had to write. `inputs` and `dataset`
        are the student's; its prompts are read as this teacher reads text."""
        rows = dataset.splits["train"]
        said = [self.dataset.fingerprint, self.digest, "text", asdict(wanted), inputs.digest]
        key = hashlib.sha256(json.dumps(said).encode()).hexdigest()
        folder = store / key[:2] / key
        folder.parent.mkdir(parents=True, exist_ok=True)
        with alone(folder.with_suffix(stored.LOCK), asked_to_stop):
            self._held.append(stored.Hold(folder))
            found = _read_texts(folder, len(rows) * wanted.samples)
            asked = found is None
            if found is None:
                yield from self._write_texts(folder, inputs, rows, wanted, asked_to_stop)
                found = _read_texts(folder, len(rows) * wanted.samples)
                assert found is not None
            stored.note(folder, reused=not asked)
        size = len(rows)
        self._asked = dataset
        self._texts = [found[one * size : (one + 1) * size] for one in range(wanted.samples)]
        return asked

    def _write_texts(
        self,
        folder: Path,
        inputs: LanguageInputs,
        rows: Indices,
        wanted: Texts,
        asked_to_stop: Callable[[], bool],
    ) -> Generator[int, None, None]:
        """One line a text, so that an interrupted job goes on behind the last whole one."""
        part = folder.with_name(f".{folder.name}.part")
        part.mkdir(exist_ok=True)
        path = part / "texts.jsonl"
        before = path.read_bytes().count(b"\n") if path.is_file() else 0
        own = cast(LanguagePreprocessing, self.network.preprocessing)
        with path.open("ab") as file:
            file.truncate(_whole_lines(path))
            for sample in range(wanted.samples):
                for start in range(0, len(rows), sampling.AT_ONCE):
                    some = rows[start : start + sampling.AT_ONCE]
                    if before >= len(some):
                        before -= len(some)
                        yield len(some)
                        continue
                    lines = self._some_texts(own, inputs, some, wanted, (sample, start))
                    file.write("".join(lines[before:]).encode())
                    file.flush()
                    before = 0
                    yield len(some)
                    if asked_to_stop():
                        raise Stopped
            os.fsync(file.fileno())
        files = {path.name: sha256_of(path)}
        manifest = {
            "format": 1,
            "kind": "text",
            **asdict(wanted),
            "fingerprint": self.dataset.fingerprint,
            "split": "train",
            "teacher": self.digest,
            "teacher_name": self.network.name,
            "rows": len(rows) * wanted.samples,
            "bytes": path.stat().st_size,
            "files": files,
            "made_at": time.time(),
        }
        (part / "manifest.json").write_text(json.dumps(manifest))
        shutil.rmtree(folder, ignore_errors=True)  # a damaged entry
        part.rename(folder)

    def _some_texts(
        self,
        own: LanguagePreprocessing,
        inputs: LanguageInputs,
        rows: Indices,
        wanted: Texts,
        turn: tuple[int, int],
    ) -> list[str]:
        prompts = [prompt for prompt, _ in inputs.prompts(rows, wanted.prompt_tokens)]
        if inputs.digest != own.digest:
            prompts = [own.prompt(inputs.decode(prompt)) for prompt in prompts]
        written = sampling.write(
            self.network.module,
            self.place,
            prompts,
            most=wanted.most,
            window=own.max_length + 1,
            temperature=wanted.temperature,
            end=own.end,
            chance=sampling.chance_of(*turn),
        )
        lines = []
        for ids in written:
            ended = bool(ids) and ids[-1] == own.end
            said = {"text": own.decode(ids[:-1] if ended else ids), "ended": ended}
            lines.append(json.dumps(said, ensure_ascii=False) + "\n")
        return lines

    def some_logits(self, split: str, home: Path, windows: int = 8) -> NDArray[np.float32]:
        """What it says now of some windows, spread over a split: `[units, vocabulary]`, of at most
        SHOWN units and SHOWN_NUMBERS numbers."""
        some = self.spread(split, windows)
        self.prepare(home)
        assert self.inputs is not None
        with torch.no_grad():
            head = self.place.head(self.network, self.inputs.batch(some))
            most = max(1, min(SHOWN, SHOWN_NUMBERS // len(head.weight)))
            places = np.linspace(0, len(head.hidden) - 1, min(most, len(head.hidden)))
            seen = head.hidden[torch.from_numpy(places.astype(np.int64)).to(head.hidden.device)]
            logits = Head(seen, head.weight, head.bias).logits()
            said: NDArray[np.float32] = logits.cpu().numpy()
        return said

    def judged(self, split: str) -> generation.Judged:
        """How good it is on a split that was asked, by rows of the file."""
        assert self.inputs is not None
        rows = self.dataset.splits[split]
        sums = self._arrays[split]["judged"]
        nothing = np.full(len(rows), np.nan)
        return generation.Judged.joined(
            self.inputs, self.dataset, rows,
            {"nll": sums[:, 0], "right": sums[:, 1], "agrees": nothing, "kl": nothing},
        )  # fmt: skip


JUDGED = ("nll", "right", "covered")  # sums over each window's units


def _names(kept: Kept) -> tuple[str, ...]:
    """Of the arrays that answers are stored in."""
    one = {"logits": ("logits",), "hidden_states": ("hidden",)}
    return one.get(kept.kind, ("values", "indices", "rest"))


def _top_k(head: Head, kept: Kept) -> Arrays:
    """The largest logits of some units, a few units at a time."""
    units, vocabulary = len(head.hidden), len(head.weight)
    size = max(1, head_loss.AT_ONCE // vocabulary)
    values, indices, rest = [], [], []
    for start in range(0, units, size):
        logits = head.logits(start, min(units, start + size))
        best = logits.topk(kept.k, dim=1)
        logits.scatter_(1, best.indices, -torch.inf)
        values.append(rounded(best.values))
        indices.append(best.indices.int())
        weighed = [(logits / one).logsumexp(dim=1) for one in kept.temperatures]
        rest.append(torch.stack(weighed, dim=1))
    return {
        "values": torch.cat(values).cpu().numpy(),
        "indices": torch.cat(indices).cpu().numpy(),
        "rest": torch.cat(rest).cpu().numpy(),
    }


def _covered(arrays: Arrays, kept: Kept, places: Indices) -> NDArray[np.float64]:
    """The probability of what is stored word by word, `[units]`."""
    if kept.kind != "top_k":
        return np.ones(len(places))
    values = arrays["values"][places].astype(np.float64)
    highest = values.max(axis=1)
    inside = highest + np.log(np.exp(values - highest[:, None]).sum(axis=1))
    others = arrays["rest"][places, kept.temperatures.index(1.0)].astype(np.float64)
    covered: NDArray[np.float64] = 1.0 / (1.0 + np.exp(others - inside))
    return covered


def _read_texts(folder: Path, wanted: int) -> list[tuple[str, bool]] | None:
    """A whole and undamaged entry of texts, or None."""
    try:
        said = json.loads((folder / "manifest.json").read_text())
        path = folder / "texts.jsonl"
        if sha256_of(path) != said["files"][path.name]:
            return None
        with path.open(encoding="utf-8") as file:
            texts = [json.loads(line) for line in file]
    except (OSError, ValueError, KeyError):
        return None
    if len(texts) != wanted:
        return None
    return [(one["text"], one["ended"]) for one in texts]


def _whole_lines(path: Path) -> int:
    """Bytes of a file up to its last newline."""
    return path.read_bytes().rfind(b"\n") + 1


def _flush(arrays: Arrays, done: Path, batches: int) -> None:
    """Have what was asked so far on the disk, and remember how far that is."""
    for array in arrays.values():
        cast(np.memmap[Any, Any], array).flush()
    part = done.with_suffix(".part")
    part.write_text(json.dumps({"batches": batches}))
    part.replace(done)


def _read(folder: Path, row_ids: Indices, kept: Kept) -> Arrays | None:
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
        return {
            name: np.load(folder / f"{name}.npy", mmap_mode="r").view(np.ndarray)
            for name in (*_names(kept), "judged")
        }
    except (OSError, ValueError, KeyError):
        return None
