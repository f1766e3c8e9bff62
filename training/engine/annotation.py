"""A teacher labels rows: `python -m training.engine annotate JOB_DIR`.

`config.json` is as of a gate (gate.py), whose dataset's `labels` are those that may be answered,
and may name `row_ids`, a file of int64 in the folder: the rows that are wanted. `answers.parquet`
has of each of them, in the order of their ids, `row_id`, `label` (several joined by the dataset's
separator, tags by blanks, a number as text; null where no class is likelier than not), `confidence`
(null of numbers) and `probabilities` (in the order of the labels; null of numbers and tags).

`result.json` is {"rows", "asked", "found"}, or {"failed": {"code", "sentence"}} with exit status 1.
What it says is stored as what a gate asks is; of some rows of a split under an address of their
own, unless the store has the whole split.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from training.engine import data, gate, inspection, job, networks, terms
from training.engine.data import Dataset, Indices
from training.engine.errors import ModelError
from training.engine.events import Logged, Stage
from training.engine.journal import Journal
from training.engine.networks import Place
from training.engine.tasks import TASKS
from training.engine.teacher_outputs import Teacher, undamaged

JSON = dict[str, Any]
ANSWERS = "answers.parquet"
AT_ONCE = 2000  # rows written together
UNKNOWN = "?"  # the tag of a word that nobody answered for

SCHEMA = pa.schema(
    [
        pa.field("row_id", pa.int64(), nullable=False),
        pa.field("label", pa.string()),
        pa.field("confidence", pa.float64()),
        pa.field("probabilities", pa.list_(pa.float32())),
    ]
)


def run(folder: Path) -> NoReturn:
    """Label as the folder says, write `result.json`, and end the process."""

    def work(folder: Path) -> JSON:
        with Journal(folder / "journal.jsonl") as journal:
            return annotate(
                folder,
                stage=lambda name: journal.write(Stage(name)),
                say=lambda text: journal.write(Logged(text)),
            )

    inspection.answer(folder, work)


def annotate(
    folder: Path,
    *,
    stage: Callable[[str], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
) -> JSON:
    """Label the rows that a job folder names. Raises the errors of errors.py."""
    raw = job.read_config(folder)
    task, model, described = gate.read(raw)
    torch.set_num_threads(max(1, int(raw.get("threads") or 1)))
    if TASKS[task].unit == "token":
        raise ModelError("A model that writes gives no labels; have it write answers instead.")

    stage("reading the model")
    home = folder / str(model["path"])
    network = networks.load(str(model["name"]), home, task)
    dataset = data.open_dataset(folder, described, TASKS[task].unit, needs=())
    if network.problem != dataset.problem:
        raise ModelError(
            f"{network.name} answers {terms.PROBLEMS[network.problem]}, and this dataset has "
            f"{terms.PROBLEMS[dataset.problem]}."
        )
    if dataset.problem == "embedding":
        raise ModelError("Vectors are no labels.")
    wanted = np.ones(len(dataset), dtype=bool)
    if name := raw.get("row_ids"):
        wanted = np.isin(dataset.row_ids, np.load(folder / str(name), allow_pickle=False))

    stage("asking the teacher")
    store = Path(raw["teacher_outputs"]["store"])
    asking = _Asking(folder, home, store, Place.choose("auto"), say, int(wanted.sum()))
    teachers = {
        split: asking.of(network, dataset, split, rows[wanted[rows]])
        for split, rows in dataset.splits.items()
        if wanted[rows].any()
    }

    stage("writing what it said")
    with pq.ParquetWriter(folder / ANSWERS, SCHEMA) as writer:
        for table in _tables(dataset, teachers, np.flatnonzero(wanted), described.separator):
            writer.write_table(table)
    return {"rows": int(wanted.sum()), "asked": asking.asked, "found": asking.found}


class _Asking:
    """Has a teacher's answers stored, split by split, and says how far it is."""

    def __init__(
        self,
        folder: Path,
        home: Path,
        store: Path,
        place: Place,
        say: Callable[[str], None],
        rows: int,
    ) -> None:
        self.folder, self.home, self.store, self.place = folder, home, store, place
        self.say, self.rows = say, rows
        self.asked = self.found = 0
        self._told = 0.0

    def of(self, network: networks.Network, dataset: Dataset, split: str, some: Indices) -> Teacher:
        """One that can be asked about these rows of a split, from the store."""
        teacher = Teacher(network, self.home, 1.0, dataset, self.place)
        every = dataset.splits[split]
        whole = teacher.place_of(self.store, split)
        if len(some) < len(every) and undamaged(whole, dataset.row_ids[every]) is None:
            teacher = Teacher(network, self.home, 1.0, part(dataset, split, some), self.place)
        prepared = self.folder / "prepared"
        if TASKS[network.task].unit != "row":
            teacher.prepare(prepared)
        answering = teacher.ask(split, self.store, prepared, lambda: False)
        done = self.asked + self.found
        while True:
            try:
                done += next(answering)
            except StopIteration as end:
                if end.value:
                    self.asked += len(some)
                else:
                    self.found += len(some)
                return teacher
            if time.perf_counter() - self._told > 1.0:
                self._told = time.perf_counter()
                self.say(f"{min(done, self.rows):,} of {self.rows:,} rows")


def part(dataset: Dataset, split: str, some: Indices) -> Dataset:
    """The dataset with some rows of a split alone, under a fingerprint of its own."""
    place = dataset.place.copy()
    place[some] = np.arange(len(some))
    said = hashlib.sha256(f"{dataset.fingerprint} {split} ".encode())
    said.update(dataset.row_ids[some].astype("<i8").tobytes())
    return replace(
        dataset,
        fingerprint=said.hexdigest(),
        splits=dataset.splits | {split: some},
        place=place,
    )


def _tables(
    dataset: Dataset, teachers: dict[str, Teacher], rows: Indices, separator: str
) -> Iterator[pa.Table]:
    split_of = np.empty(len(dataset), dtype=object)
    for split, members in dataset.splits.items():
        split_of[members] = split
    words = TASKS[next(iter(teachers.values())).network.task].unit == "word" if teachers else False
    for start in range(0, len(rows), AT_ONCE):
        some = rows[start : start + AT_ONCE]
        said: dict[int, tuple[str | None, float | None, list[float] | None]] = {}
        texts = data.values(dataset.path, "text", some) if words else []
        lengths = dict(
            zip(some.tolist(), (len((one or "").split()) for one in texts), strict=False)
        )
        for split, teacher in teachers.items():
            here = some[split_of[some] == split]
            if not len(here):
                continue
            logits = teacher.logits(here, split).double()
            if words:
                assert teacher.inputs is not None
                starts = data.offsets(teacher.inputs, here)
                for at, row in enumerate(here.tolist()):
                    own = logits[starts[at] : starts[at + 1]]
                    said[row] = (*_tags(own, dataset.names, lengths[row]), None)
                continue
            told = _labels(logits, dataset, separator)
            said |= dict(zip(here.tolist(), told, strict=True))
        columns = list(zip(*(said[row] for row in some.tolist()), strict=True))
        yield pa.table([dataset.row_ids[some], *columns], schema=SCHEMA)


def _labels(
    logits: torch.Tensor, dataset: Dataset, separator: str
) -> Iterator[tuple[str | None, float | None, list[float] | None]]:
    """(label, confidence, probabilities) of each row of logits."""
    if dataset.problem == "regression":
        for value in logits[:, 0].tolist():
            yield f"{value:.6g}", None, None
        return
    if dataset.problem == "multi_label":
        chances = torch.sigmoid(logits)
        for row in chances.numpy():
            chosen = [name for name, one in zip(dataset.names, row, strict=True) if one > 0.5]
            sure = float(np.maximum(row, 1.0 - row).min())
            yield separator.join(sorted(chosen)) or None, sure, _listed(row)
        return
    for row in torch.softmax(logits, dim=1).numpy():
        best = int(row.argmax())
        yield dataset.names[best], float(row[best]), _listed(row)


def _listed(row: NDArray[np.float64]) -> list[float]:
    return [float(one) for one in row]


def _tags(
    logits: torch.Tensor, names: tuple[str, ...], words: int
) -> tuple[str | None, float | None]:
    """A tag for each word, and how sure the least sure one is."""
    if not words or not len(logits):
        return None, None
    sure, best = torch.softmax(logits, dim=1).max(dim=1)
    tags = [names[one] for one in best.tolist()]
    return " ".join([*tags, *[UNKNOWN] * (words - len(tags))][:words]), float(sure.min())
