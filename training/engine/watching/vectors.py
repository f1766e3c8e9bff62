"""What a model of the project says of rows that stand in no dataset: its answers, how likely each
label is, and its vector of each row (what stands before its last layer), which needs no second
model.

    student = Model.open({"name", "path", "task"}, folder, labels)
    said = student.answer(inputs(table, student.reads))

Rows that it cannot read have None, NaN and no vector; everything else is one pass of the network.
torch is imported with this module, so that it is imported where a model has to answer, and only
then.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from scipy import special

from training.engine import data, evaluate, fresh_inputs, networks
from training.engine.answers import NOTHING, Wanted
from training.engine.errors import ConfigError, ModelError
from training.engine.fresh_inputs import Unreadable
from training.engine.networks import Network, Place
from training.engine.tables import TablePreprocessing
from training.engine.tasks import TASKS
from training.engine.text_vectors import unit
from training.engine.watching.label_sets import SEPARATOR

JSON = dict[str, Any]
Halves = NDArray[np.float16]
Singles = NDArray[np.float32]

READS: Mapping[str, str] = {"text": "text", "image": "image", "audio": "audio", "": "columns"}
TEXTS, OTHERS = 2048, 256  # rows that are read together


@dataclass(frozen=True, slots=True)
class Said:
    """Of rows in their order. `predictions` are labels (several joined, tags of words too, numbers
    as text); `numbers` `[rows]`, of regression alone; `probabilities` `[rows, labels]`, which add
    up to one where a row has one label, or of words a column of lists, one word's after the
    other's; `vectors` `[rows, width]` of length 1. NaN and None of a row that was not read."""

    predictions: list[str | None]
    numbers: NDArray[np.float64] | None
    probabilities: Any  # an array; a column of lists where words have them
    vectors: Halves | None

    def columns(self) -> JSON:
        """As columns of a part (parts.TYPES); of a row that was not read they are null."""
        found: JSON = {"prediction": pa.array(self.predictions, pa.string())}
        if self.numbers is not None:
            found["number"] = pa.array(self.numbers, pa.float64(), from_pandas=True)
        if (chances := self.chances()) is not None:
            found["probabilities"] = chances
        if self.vectors is not None:
            found["vector"] = lists(self.vectors, pa.float16())
        return found

    def chances(self) -> pa.Array | None:
        """Probabilities as a column."""
        if self.probabilities is None or isinstance(self.probabilities, pa.Array):
            return self.probabilities
        return lists(self.probabilities, pa.float32())


class Model:
    """A network that answers rows. `labels` are the order in which probabilities are told."""

    def __init__(
        self, network: Network, place: Place, labels: Sequence[str], *, embeds: bool = True
    ) -> None:
        self.network, self.place = network, place
        self.labels = tuple(labels) or network.labels
        self.reads = READS[TASKS[network.task].column]
        network.module.requires_grad_(False).eval()
        place.settle(network)
        self.shows_vectors = embeds

    @classmethod
    def open(
        cls,
        said: Mapping[str, Any],
        folder: Path,
        labels: Sequence[str] = (),
        *,
        embeds: bool = True,
    ) -> "Model":
        """Of a job's folder, `said` as its configuration names it; without vectors unless it
        `embeds`. Raises ModelError where it cannot be read, or writes."""
        task = str(said["task"])
        network = networks.load(str(said["name"]), folder / str(said["path"]), task)
        if TASKS[task].unit == "token":
            raise ModelError(f"{network.name} writes: it has no answer of a row to be counted.")
        unknown = sorted(set(network.labels) - set(labels)) if labels else []
        if unknown:
            raise ModelError(
                f"{network.name} answers {unknown[0]!r}, which is no label of this monitor."
            )
        if TASKS[task].unit == "word":
            from training.engine.watching import taggers  # noqa: PLC0415 - it is a Model, too

            return taggers.Tagger(network, Place.choose("auto"), labels, embeds=embeds)
        return cls(network, Place.choose("auto"), labels, embeds=embeds)

    def answer(self, rows: Sequence[Mapping[str, Any] | None]) -> Said:
        """Of inputs as `fresh_inputs.read` takes them; None is a row that nothing is known of."""
        known: list[int] = []
        parts: list[tuple[Singles, Singles | None]] = []
        for places, read in self._read(rows):
            known += places
            parts.append(self._asked(read))
        logits = np.concatenate([one for one, _ in parts]) if parts else None
        seen = [one for _, one in parts]
        vectors: Halves | None = None
        if seen and all(one is not None for one in seen):
            whole = unit(np.concatenate(seen))  # type: ignore[arg-type]
            vectors = spread(whole.astype(np.float16), known, len(rows))
        return self._said(logits, known, len(rows), vectors)

    # -- inside -----------------------------------------------------------------------------------

    def _read(
        self, rows: Sequence[Mapping[str, Any] | None]
    ) -> Iterator[tuple[list[int], list[Any]]]:
        """Places of rows, and what they have become, some at a time."""
        preprocessing = self.network.preprocessing
        columns = None
        if isinstance(preprocessing, TablePreprocessing):
            columns = {*preprocessing.numeric, *preprocessing.categorical}
        size = TEXTS if self.reads in ("text", "columns") else OTHERS
        for start in range(0, len(rows), size):
            places, read = [], []
            for place, said in enumerate(rows[start : start + size], start):
                if said is None:
                    continue
                if columns is not None and isinstance(said.get("columns"), Mapping):
                    cells = said["columns"]
                    said = {"columns": {name: cells.get(name) for name in columns}}
                try:
                    read.append(fresh_inputs.read(preprocessing, said))
                except Unreadable:
                    continue
                places.append(place)
            if places:
                yield places, read

    def _asked(self, read: list[Any]) -> tuple[Singles, Singles | None]:
        """(logits, vectors) of these inputs, in their order."""
        inputs = fresh_inputs.joined(self.network.preprocessing, read)
        every = np.arange(len(read), dtype=np.int64)
        logits = np.zeros((len(read), self.network.outputs), dtype=np.float32)
        vectors: Singles | None = None
        for which in data.steady_order(every, inputs.lengths, evaluate.fitting(inputs, every)):
            said = self._batch(inputs.batch(which))
            logits[which] = said.logits.float().cpu().numpy()
            if said.embedding is not None:
                found = said.embedding.flatten(1).float().cpu().numpy()
                if vectors is None:
                    vectors = np.zeros((len(read), found.shape[1]), dtype=np.float32)
                vectors[which] = found
        return logits, vectors

    def _batch(self, batch: data.Batch) -> Any:
        with torch.no_grad():
            if self.shows_vectors:
                try:
                    return self.place.answer(self.network, batch, Wanted(embedding=True))
                except ConfigError:  # it has no last layer to look before
                    self.shows_vectors = False
            return self.place.answer(self.network, batch, NOTHING)

    def _said(
        self, logits: Singles | None, known: list[int], rows: int, vectors: Halves | None
    ) -> Said:
        predictions: list[str | None] = [None] * rows
        problem = self.network.problem
        if logits is None or problem == "embedding":
            return Said(predictions, None, None, vectors)
        finite = np.asarray(np.isfinite(logits).all(axis=1))
        if problem == "regression":
            numbers = np.full(rows, np.nan)
            numbers[known] = np.where(finite, logits[:, 0], np.nan)
            for place in np.flatnonzero(np.isfinite(numbers)).tolist():
                predictions[place] = f"{numbers[place]:.6g}"
            return Said(predictions, numbers, None, vectors)
        names = self.network.labels
        order = [self.labels.index(name) for name in names]
        told = np.zeros((len(known), len(self.labels)), dtype=np.float32)
        if problem == "multi_label":
            told[:, order] = special.expit(np.where(finite[:, None], logits, 0.0))
            told[~finite] = np.nan
            for place, row, fine in zip(known, logits > 0, finite, strict=True):
                if fine:
                    chosen = sorted(names[one] for one in np.flatnonzero(row))
                    predictions[place] = SEPARATOR.join(chosen)
            return Said(predictions, None, spread(told, known, rows), vectors)
        sure = np.exp(evaluate.log_probabilities(np.where(finite[:, None], logits, 0.0)))
        told[:, order] = sure
        told[~finite] = np.nan
        for place, row, fine in zip(known, told, finite, strict=True):
            if fine:
                predictions[place] = self.labels[int(row.argmax())]
        return Said(predictions, None, spread(told, known, rows), vectors)


def inputs(table: pa.Table, reads: str) -> list[JSON | None]:
    """Rows of a table of parts as a model takes them: from `text`, `cells` (JSON), or `content`
    (bytes of a picture or a sound), whichever it reads."""
    name, key = {"text": ("text", "text"), "columns": ("cells", "columns")}.get(
        reads, ("content", "bytes")
    )
    if name not in table.column_names:
        return [None] * table.num_rows
    found: list[JSON | None] = []
    for value in table[name].to_pylist():
        if value is not None and reads == "columns":
            try:
                value = json.loads(value)
            except ValueError:
                value = None
        found.append(None if value is None else {key: value})
    return found


def lists(rows: NDArray[Any], kind: pa.DataType) -> pa.Array:
    """`[rows, width]` as a column of lists; null where a row is NaN. Lists of float16 are made of
    their bytes, since Arrow makes none of numbers."""
    there = ~np.isnan(rows).any(axis=1)
    flat = pa.array(np.ascontiguousarray(rows[there]).ravel(), kind)
    ends = np.concatenate([[0], np.cumsum(there)]) * rows.shape[1]
    starts = pa.array(ends, pa.int32(), mask=np.concatenate([~there, [False]]))
    return pa.ListArray.from_arrays(starts, flat)


def spread(some: Any, places: Sequence[int], rows: int) -> Any:
    """`[rows, width]` with `some` at their places, NaN elsewhere."""
    found = np.full((rows, some.shape[1]), np.nan, dtype=some.dtype)
    found[list(places)] = some
    return found
