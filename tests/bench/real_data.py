"""The shared public datasets as the Parquet files that a job trains on.

Each dataset is read into `Rows`; `cut` says which rows are the teacher's, the student's and
validation's, by a fixed seed; `write` makes the file, with labels hidden where a setting asks for
that. Test rows are the ones that the dataset itself calls so.
"""

import csv
import gzip
import hashlib
import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

JSON = dict[str, Any]
Places = NDArray[np.int64]

PIECE = 1000  # characters
CLOTHES = ["top", "trouser", "pullover", "dress", "coat"]
CLOTHES += ["sandal", "shirt", "sneaker", "bag", "ankle boot"]


@dataclass(frozen=True, slots=True)
class Rows:
    """A dataset: `[rows]` each."""

    column: str  # text, image or audio
    inputs: list[Any]
    labels: NDArray[np.str_]
    is_test: NDArray[np.bool_]
    groups: NDArray[np.str_]  # who speaks, in recordings; empty elsewhere
    running: bool = False  # pieces of one text, in their order, without labels

    @property
    def names(self) -> list[str]:
        return [] if self.running else sorted(set(self.labels.tolist()))


@dataclass(frozen=True, slots=True)
class Cut:
    """Places of rows, without any overlap but `teacher` and `student`."""

    teacher: Places
    student: Places
    validation: Places
    test: Places


def banking77(data: Path) -> Rows:
    """10 003 customers' questions in 77 intents. The 6 training rows whose text is a test row's,
    too, are left out."""
    texts, labels, tests = [], [], []
    for part in ("train", "test"):
        with (data / "banking77" / f"{part}.csv").open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                texts.append(row["text"])
                labels.append(row["category"])
                tests.append(part == "test")
    known = {text.strip() for text, test in zip(texts, tests, strict=True) if test}
    kept = [at for at, text in enumerate(texts) if tests[at] or text.strip() not in known]
    return _rows("text", texts, labels, tests, [""] * len(texts), kept)


def fashion_mnist(data: Path) -> Rows:
    """15 000 training and 10 000 test pictures, 28x28, of ten kinds of clothes."""
    pictures: list[bytes] = []
    labels, tests = [], []
    for part, test in (("train15k", False), ("t10k", True)):
        home = data / "fashion_mnist"
        pixels = _idx(home / f"{part}-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)
        kinds = _idx(home / f"{part}-labels-idx1-ubyte.gz", 8)
        for one, kind in zip(pixels, kinds.tolist(), strict=True):
            file = io.BytesIO()
            Image.fromarray(one).save(file, "PNG", compress_level=1)
            pictures.append(file.getvalue())
            labels.append(CLOTHES[kind])
            tests.append(test)
    return _rows("image", pictures, labels, tests, [""] * len(labels))


def fsdd(data: Path) -> Rows:
    """900 training and 300 test recordings of spoken digits, by six speakers."""
    sounds, labels, tests, speakers = [], [], [], []
    with zipfile.ZipFile(data / "fsdd" / "fsdd_small.zip") as archive:
        for name in sorted(archive.namelist()):
            if name.endswith(".wav"):
                _, part, digit, file = name.split("/")
                sounds.append(archive.read(name))
                labels.append(digit)
                tests.append(part == "test")
                speakers.append(file.split("_")[1])
    return _rows("audio", sounds, labels, tests, speakers)


def tinyshakespeare(data: Path) -> Rows:
    """1.1 million characters in pieces of 1 000; the last tenth is the test."""
    text = (data / "tinyshakespeare" / "input.txt").read_text(encoding="utf-8")
    pieces = [text[at : at + PIECE] for at in range(0, len(text) - PIECE + 1, PIECE)]
    none = np.array([""] * len(pieces))
    is_test = np.arange(len(pieces)) >= round(0.9 * len(pieces))
    return Rows("text", pieces, none, is_test, none, running=True)


DATA: dict[str, Callable[[Path], Rows]] = {
    "banking77": banking77,
    "fashion_mnist": fashion_mnist,
    "fsdd": fsdd,
    "tinyshakespeare": tinyshakespeare,
}


def _idx(path: Path, header: int) -> NDArray[np.uint8]:
    return np.frombuffer(gzip.decompress(path.read_bytes()), dtype=np.uint8, offset=header)


def _rows(
    column: str,
    inputs: list[Any],
    labels: list[str],
    tests: list[bool],
    groups: list[str],
    kept: list[int] | None = None,
) -> Rows:
    some = list(range(len(inputs))) if kept is None else kept
    return Rows(
        column,
        [inputs[at] for at in some],
        np.array([labels[at] for at in some]),
        np.array([tests[at] for at in some]),
        np.array([groups[at] for at in some]),
    )


def cut(rows: Rows, validation: float, *, apart: bool) -> Cut:
    """A share of the training rows for validation; of the others either all are both the teacher's
    and the student's, or, `apart`, each has a half. Stratified by label and group; always the same.
    Running text is not shuffled: validation is its end.
    """
    chance = np.random.default_rng(77)
    train = np.flatnonzero(~rows.is_test)
    if rows.running:
        rest, held = np.split(train, [round((1 - validation) * len(train))])
        return Cut(rest, rest, held, np.flatnonzero(rows.is_test))
    held, rest = _share(rows, train, validation, chance)
    if not apart:
        return Cut(rest, rest, held, np.flatnonzero(rows.is_test))
    one, other = _share(rows, rest, 0.5, chance)
    return Cut(one, other, held, np.flatnonzero(rows.is_test))


def _share(
    rows: Rows, places: Places, share: float, chance: np.random.Generator
) -> tuple[Places, Places]:
    taken = []
    kinds = np.char.add(np.char.add(rows.labels, "|"), rows.groups)
    for kind in np.unique(kinds[places]):
        mine = chance.permutation(places[kinds[places] == kind])
        taken.append(mine[: round(share * len(mine))])
    first = np.sort(np.concatenate(taken))
    return first, np.setdiff1d(places, first)


def few(rows: Rows, places: Places, seed: int, each: int) -> Places:
    """`each` rows of every label, drawn by `seed`."""
    chance = np.random.default_rng([177, seed])
    drawn = [chance.permutation(places[rows.labels[places] == name])[:each] for name in rows.names]
    return np.sort(np.concatenate(drawn))


def of_group(rows: Rows, places: Places, group: str) -> Places:
    found: Places = places[rows.groups[places] == group]
    assert len(found), f"there is no {group}; there are {sorted(set(rows.groups.tolist()))}"
    return found


AGAIN = 1_000_000  # added to the id of a row that stands in a file once more


def write(
    path: Path, rows: Rows, splits: dict[str, Places], hidden: Places, said: dict[int, str]
) -> JSON:
    """The Parquet file of these rows, without the labels of `hidden`, where a label in `said`
    stands for the true one; the dataset's part of a job's configuration. A row may be there more
    than once, one after the other."""
    places = np.concatenate(list(splits.values()))
    split = np.concatenate([[name] * len(one) for name, one in splits.items()])
    unknown = set(hidden.tolist())
    labels: list[str | None] = [
        said.get(at, None if at in unknown else str(rows.labels[at])) for at in places.tolist()
    ]
    if rows.running:
        labels = [None] * len(places)
    inputs: Sequence[Any] = [rows.inputs[at] for at in places.tolist()]
    kind = pa.string() if rows.column == "text" else pa.binary()
    table = pa.table(
        {
            "row_id": pa.array(places + AGAIN * _times(places), pa.int64()),
            "split": pa.array(split.tolist(), pa.string()),
            "label": pa.array(labels, pa.string()),
            rows.column: pa.array(inputs, kind),
            "source": pa.array([str(at) for at in places.tolist()], pa.string()),
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression="zstd")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"path": str(path), "sha256": sha256, "fingerprint": sha256, "labels": rows.names}


def _times(places: Places) -> Places:
    """How often each place was there before."""
    order = np.argsort(places, kind="stable")
    ordered = places[order]
    first = np.searchsorted(ordered, ordered)
    times = np.empty_like(places)
    times[order] = np.arange(len(places)) - first
    return times
