"""Rows as vectors, and where they stand on a map: `python -m training.engine embed JOB_DIR`.

`config.json`: {"format": 1, "model": {"name", "path", "task"} or null, "input": "text", "image",
"audio" or "", "dataset" (as in a training job), "plane": "principal" or "neighbours", "seed",
"threads"}; paths relative to the folder. With a model, a row's vector is what stands before its
last layer, or its answer where that is a vector; without one, a built-in way of each kind of input:
hashed words (text_vectors.py), small pictures, spectrograms, columns, all brought to their
principal directions.

`output/vectors.npy` is float16 `[rows, width]`, of length 1, in the order of the file;
`output/points.npy` float32 `[rows, 2]`; `output/words.npy`, of texts without a model, float16
`[features, width]`. `result.json` is {"files", "report"}, or {"failed": {"code", "sentence"}} with
exit status 1.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from training.engine import (
    components,
    data,
    evaluate,
    inspection,
    job,
    networks,
    pixels,
    plane,
    sounds,
    tables,
    text_vectors,
)
from training.engine.answers import Wanted
from training.engine.data import Indices, Inputs
from training.engine.errors import ConfigError, DataError, Fault, ModelError
from training.engine.events import Logged, Stage
from training.engine.journal import Journal
from training.engine.networks import Network, Place
from training.engine.tasks import TASKS

JSON = dict[str, Any]
Stream = Iterator[tuple[Indices, NDArray[Any]]]  # rows, and their vectors `[rows, width]`

WIDTH = 128  # of vectors that no model made
FITTED = 20_000  # rows, evenly spread over the file, of which directions are found
AT_ONCE = 2000
SIDE = 24  # pixels of a small picture
MELS, SPANS = 32, 16  # bands of a spectrogram, and parts of its time
SAYS = 1.0  # seconds between two words about how far it is


def run(folder: Path) -> NoReturn:
    """Embed as the folder says, write `result.json`, and end the process."""

    def work(folder: Path) -> JSON:
        with Journal(folder / "journal.jsonl") as journal:
            return embed(
                folder,
                stage=lambda name: journal.write(Stage(name)),
                say=lambda text: journal.write(Logged(text)),
            )

    inspection.answer(folder, work)


def embed(
    folder: Path,
    *,
    stage: Callable[[str], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
) -> JSON:
    """`{"files", "report"}` of a job folder. Raises the errors of errors.py."""
    raw = job.read_config(folder)
    way = str(raw.get("plane") or "principal")
    if way not in plane.WAYS:
        raise ConfigError([Fault("plane", f"It must be one of {', '.join(plane.WAYS)}.")])
    torch.set_num_threads(max(1, int(raw.get("threads") or 1)))
    path = folder / str(raw["dataset"]["path"])
    if not path.is_file():
        raise DataError("The dataset's file is missing from the job's folder.")
    output = folder / "output"
    output.mkdir(exist_ok=True)
    rows = pq.ParquetFile(path).metadata.num_rows
    if not rows:
        raise DataError("The dataset has no rows to place.")

    stage("making vectors")
    began = time.perf_counter()
    source = _Source(path, rows, folder / "prepared", raw)
    width, stream = source.by_model(folder, raw["model"]) if raw.get("model") else source.built_in()
    vectors = np.lib.format.open_memmap(
        output / "vectors.npy", mode="w+", dtype=np.float16, shape=(rows, width)
    )
    done, told = 0, began
    for which, found in stream:
        if not np.isfinite(found).all():
            raise ModelError("The model answers some rows with what is no number.")
        vectors[which] = text_vectors.unit(found.astype(np.float32))
        done += len(which)
        if time.perf_counter() - told > SAYS:
            told = time.perf_counter()
            say(f"{done:,} of {rows:,} rows")
    vectors.flush()
    seconds = time.perf_counter() - began

    stage("drawing the map")
    points, shares = plane.principal(vectors)
    if way == "neighbours":
        points = plane.neighbours(vectors, seed=int(raw.get("seed") or 0), say=say)
    np.save(output / "points.npy", points)
    if source.directions is not None:
        source.directions.save(output / "words.npy")
    files = sorted(one for one in output.iterdir() if one.suffix == ".npy")
    return {
        "files": [{"name": one.name, "bytes": one.stat().st_size} for one in files],
        "report": {
            "rows": rows,
            "width": width,
            "made_by": source.made_by,
            "plane": way,
            "shares": shares,
            "seconds": round(seconds, 3),
        },
    }


class _Source:
    """The rows of a file, and how vectors are made of them."""

    def __init__(self, path: Path, rows: int, home: Path, raw: JSON) -> None:
        self.path, self.rows, self.home = path, rows, home
        self.input, self.columns = str(raw.get("input") or ""), dict(raw["dataset"]["columns"])
        self.every = np.arange(rows, dtype=np.int64)
        self.some = np.unique(np.linspace(0, rows - 1, min(rows, FITTED)).astype(np.int64))
        self.directions: text_vectors.Directions | None = None
        self.made_by = ""

    # -- by a model ------------------------------------------------------------------------------

    def by_model(self, folder: Path, model: JSON) -> tuple[int, Stream]:
        """(width, vectors). Raises ModelError and DataError."""
        task = str(model["task"])
        network = networks.load(str(model["name"]), folder / str(model["path"]), task)
        if TASKS[task].unit != "row":
            raise ModelError(
                f"{network.name} answers token by token and has no vector of a row. Take a model "
                "that classifies or embeds, or none."
            )
        if TASKS[task].column != self.input:
            raise ModelError(f"{network.name} reads {TASKS[task].column or 'tables'}, not these.")
        inputs = network.preprocessing.prepare(self.path, self.home)
        place = Place.choose("auto")
        place.settle(network)
        self.made_by = network.name
        first = _seen(network, inputs, self.every[:1], place)
        return first.shape[1], self._answers(network, inputs, place)

    def _answers(self, network: Network, inputs: Inputs, place: Place) -> Stream:
        network.module.requires_grad_(False).eval()
        size = evaluate.fitting(inputs, self.every)
        for which in data.steady_order(self.every, inputs.lengths, size):
            yield which, _seen(network, inputs, which, place)

    # -- without one -----------------------------------------------------------------------------

    def built_in(self) -> tuple[int, Stream]:
        """(width, vectors). Raises DataError."""
        if self.input == "text":
            return self._texts()
        if self.input == "image":
            small = pixels.measure(self.path, self.some, pixels.Wish(size=SIDE))
            pictures = small.prepare(self.path, self.home)
            self.made_by = f"pixels of {SIDE} by {SIDE}"
            return self._directions_of(lambda rows: _flat(pictures.batch(rows)["pixel_values"]))
        if self.input == "audio":
            wish = sounds.Wish(features="log_mel", mels=MELS, frames=SPANS)
            heard = sounds.measure(self.path, self.some, wish).prepare(self.path, self.home)
            self.made_by = f"spectrograms of {MELS} bands in {SPANS} parts"
            return self._directions_of(lambda rows: _spans(heard.batch(rows)["input_features"]))
        wished = tables.Wish(most=50)
        table = tables.measure(self.path, self.some, self.columns, wished)
        read = table.prepare(self.path, self.home)
        self.made_by = "columns, each with the same spread"
        return self._directions_of(lambda rows: _cells(read.batch(rows), table.categories))

    def _texts(self) -> tuple[int, Stream]:
        cutter = text_vectors.Cutter()
        wanted = set(self.some.tolist())
        sample: list[str] = []
        start = 0
        for piece in self._written():
            sample += [text for at, text in enumerate(piece, start) if at in wanted]
            start += len(piece)
        features = cutter.features(sample)
        rarities = text_vectors.rarity(features)
        into = components.largest(text_vectors.weighed(features, rarities), WIDTH)
        # How much a feature says is put into the directions: lengths are made 1 in the end.
        directions = text_vectors.Directions((into * rarities[:, None]).astype(np.float16))
        self.directions = directions
        self.made_by = "words and parts of words"

        def stream() -> Stream:
            start = 0
            for piece in self._written():
                rows = np.arange(start, start + len(piece), dtype=np.int64)
                yield rows, directions.vectors(piece, cutter)
                start += len(piece)

        return into.shape[1], stream()

    def _written(self) -> Iterator[list[str]]:
        """The texts, in pieces; the prompt before what follows it."""
        names = pq.ParquetFile(self.path).schema_arrow.names
        columns = ["prompt", "text"] if "prompt" in names else ["text"]
        for piece in data.columns(self.path, *columns):
            yield ["\n".join(one or "" for one in row) for row in zip(*piece, strict=True)]

    def _directions_of(
        self, features: Callable[[Indices], NDArray[np.float32]]
    ) -> tuple[int, Stream]:
        """Principal directions of what some rows are, and all rows brought to them."""

        def pieces() -> Iterator[NDArray[np.float32]]:
            for start in range(0, len(self.some), AT_ONCE):
                yield features(self.some[start : start + AT_ONCE])

        mean, into, _ = components.principal(pieces, WIDTH)

        def stream() -> Stream:
            for start in range(0, self.rows, AT_ONCE):
                rows = self.every[start : start + AT_ONCE]
                yield rows, (features(rows) - mean) @ into

        return into.shape[1], stream()


def _seen(network: Network, inputs: Inputs, rows: Indices, place: Place) -> NDArray[Any]:
    """`[rows, width]`: what stands before the last layer. Raises ConfigError where it has none."""
    with torch.no_grad():
        said = place.answer(network, inputs.batch(rows), Wanted(embedding=True))
    assert said.embedding is not None
    found: NDArray[Any] = said.embedding.flatten(1).float().cpu().numpy()
    return found


def _flat(values: torch.Tensor) -> NDArray[np.float32]:
    found: NDArray[np.float32] = values.flatten(1).numpy()
    return found


def _spans(spectrograms: torch.Tensor) -> NDArray[np.float32]:
    """`[rows, MELS * SPANS]`: the mean of each band in each part of the time."""
    pooled = torch.nn.functional.adaptive_avg_pool2d(spectrograms, (MELS, SPANS))
    return _flat(pooled)


def _cells(batch: data.Batch, categories: tuple[int, ...]) -> NDArray[np.float32]:
    """`[rows, numbers and words]`: words one by one, two that differ being as far apart as numbers
    that differ by their deviation."""
    parts = [batch["numbers"]] if "numbers" in batch else []
    for at, many in enumerate(categories):
        one_hot = torch.nn.functional.one_hot(batch["categories"][:, at], many)
        parts.append(one_hot.float() / 2**0.5)
    found: NDArray[np.float32] = torch.cat(parts, dim=1).numpy()
    return found
