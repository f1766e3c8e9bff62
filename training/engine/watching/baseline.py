"""What windows are compared with: bins that a reference set, and its own sums in them.

    baseline = Baseline.fit(table, task=..., labels=..., reads="text", slices=[...])
    baseline.save(path); Baseline.load(path)

The table has the columns of parts (id, text or cells, prediction, probabilities, vector,
described.*, label, teacher_prediction ...), as live rows have: a reference is counted by the same
code as a window.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from training.engine import sketches
from training.engine.detectors.estimated_accuracy import Confidences
from training.engine.watching.windows import Sums

if TYPE_CHECKING:
    from training.engine.watching.nearness import Nearness

JSON = dict[str, Any]
NAME = "baseline.json"  # the file of a reference's files that holds it
SHOWN = "reference_rows.parquet"  # the file with rows of it that are shown
BY_WORD = "token-classification"


@dataclass(frozen=True)
class Baseline:
    """`reads` is what inputs are: "text", "columns", "image", "audio", "vector" or "". `columns`
    are those of a table, {name: "numeric" or "categorical"}; `bins` are by signal; `sums` of the
    reference's rows; `curve` tells how likely an answer is right, None without labels there."""

    task: str
    labels: tuple[str, ...]
    reads: str
    columns: Mapping[str, str]
    bins: Mapping[str, Any]
    curve: Confidences | None = None
    slices: tuple[JSON, ...] = ()
    several: bool = False  # any number of labels are a row's answer
    sums: Sums = field(default_factory=Sums)
    near: "Nearness | None" = field(default=None, compare=False, repr=False)  # kept beside it

    @property
    def says_numbers(self) -> bool:
        """Whether the model answers a number: one that classifies without classes does."""
        return not self.labels and self.task.endswith("-classification")

    @property
    def by_word(self) -> bool:
        """Whether each word of a text has an answer."""
        return self.task == BY_WORD

    @property
    def says_anything(self) -> bool:
        """Whether answers were known when it was fitted."""
        return any(one.partition(".")[0] in ("prediction", "answered") for one in self.bins)

    @property
    def key(self) -> str:
        """Names the bins: sketches of two keys are not compared."""
        said = [[name, one.key] for name, one in sorted(self.bins.items())]
        text = json.dumps([said, self.curve is not None and self.curve.as_dict()])
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @classmethod
    def fit(
        cls,
        rows: pa.Table,
        *,
        task: str,
        labels: Sequence[str],
        reads: str,
        slices: Sequence[Mapping[str, Any]] = (),
        columns: Mapping[str, str] | None = None,
        several: bool = False,
    ) -> "Baseline":
        """Of a reference's rows. Signals without a value in it are not watched. `columns` of a
        table are told by its values where they are not given."""
        from training.engine.watching import counting, describing  # noqa: PLC0415 - they need us

        if columns is None and reads == "columns":
            columns = describing.kinds(counting.cells_of(rows))
        bare = cls(
            task, tuple(labels), reads, dict(columns or {}), {},
            slices=_kept(slices), several=several,
        )  # fmt: skip
        view = counting.View.of(rows, bare)
        bins: JSON = {}
        for name, (kind, values) in view.signals().items():
            if counting.is_known(values):
                bins[name] = sketches.fit(kind, values)
        if view.is_sure:
            for name, values in view.sureness()._asdict().items():
                bins[f"confidence.{name}"] = sketches.fit("numbers", values)
        curve = None
        if view.words is not None:
            if view.words.chances is not None and (view.words.truth >= 0).any():
                curve = Confidences.fit(view.words.chances, view.words.known_truth)
        elif view.probabilities is not None and (view.truth >= 0).any() and not several:
            curve = Confidences.fit(view.probabilities, view.truth)
        made = replace(bare, bins=bins, curve=curve)
        if view.error is not None and counting.is_known(view.error):
            bins["error"] = sketches.fit("numbers", view.error)
        if view.difference is not None and counting.is_known(view.difference):
            bins["difference"] = sketches.fit("numbers", view.difference)
        return replace(made, sums=counting.count(counting.View.of(rows, made), made))

    def as_dict(self) -> JSON:
        return {
            "task": self.task,
            "labels": list(self.labels),
            "reads": self.reads,
            "columns": dict(self.columns),
            "bins": {name: one.as_dict() for name, one in self.bins.items()},
            "curve": self.curve.as_dict() if self.curve is not None else None,
            "slices": list(self.slices),
            "several": self.several,
            "sums": self.sums.as_dict(),
        }

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> "Baseline":
        return cls(
            task=said["task"],
            labels=tuple(said["labels"]),
            reads=said["reads"],
            columns=dict(said["columns"]),
            bins={name: sketches.read_bins(one) for name, one in said["bins"].items()},
            curve=Confidences.from_dict(said["curve"]) if said["curve"] else None,
            slices=tuple(said["slices"]),
            several=bool(said.get("several")),
            sums=Sums.from_dict(said["sums"]),
        )

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(self.as_dict(), ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Baseline":
        return cls.from_dict(json.loads(path.read_text(encoding="utf-8")))

    @classmethod
    def none(
        cls,
        *,
        task: str,
        labels: Sequence[str],
        reads: str,
        slices: Sequence[Mapping[str, Any]],
        several: bool = False,
    ) -> "Baseline":
        """Before there is a reference: rows, labels and latencies are counted, nothing else."""
        return cls(task, tuple(labels), reads, {}, {}, slices=_kept(slices), several=several)


def _kept(slices: Sequence[Mapping[str, Any]]) -> tuple[JSON, ...]:
    return tuple({"name": str(one["name"]), "query": one["query"]} for one in slices)
