"""Rows that a monitor was sent as further rows of a dataset, beside those that it had."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from django.utils.dateparse import parse_datetime
from rest_framework import serializers

from distillhub.lib import storage
from projects.ingest import audio_folder, image_folder, making, restored
from projects.ingest.formats import (
    GENERATION_TASK,
    MULTI,
    REGRESSION,
    TOKENS_TASK,
    TRAIN,
    UNLABELLED,
    BadFile,
)
from projects.models import DatasetVersion
from projects.operations import label_values, operation, registry
from projects.operations.operation import Parent, StoredRow, Work
from training.engine import conversations
from training.models import Monitor
from training.operations import live_rows
from training.operations.live_rows import Live

KEY = "live"
MOST_ROWS = 10_000
SEVERAL = "|"  # between the labels of one live row
#: Columns that say of a row where it came from; of rows that were there before they are empty.
FROM, WINDOW, ID, AT = "live_monitor", "live_window", "live_id", "live_time"
ANSWER, LABEL, FOR = "live_answer", "live_label", "live_retraining"
BESIDE = {
    FROM: "string", WINDOW: "number", ID: "string", AT: "string", ANSWER: "string",
    LABEL: "string", FOR: "string",
}  # fmt: skip


PLAIN = (
    "This dataset's rows are plain texts, beside which a prompt with its answer cannot stand. Add "
    "live rows to a dataset of prompts and completions, or of chats."
)


@registry.register
class AddLive(operation.Operation):
    key = KEY
    label = "Add live rows"
    summary = "Add rows that a monitor was sent, with what labels and the teacher said of them."

    class Options(operation.Options):
        monitor = serializers.CharField(max_length=100, help_text="Its name, in this project.")
        retraining = serializers.IntegerField(
            min_value=1, required=False, help_text="The number of that for which they are."
        )
        since = serializers.DateTimeField(
            required=False, allow_null=True, help_text="Rows from then on; all, if left out."
        )
        until = serializers.DateTimeField(help_text="Rows before then.")
        rows = serializers.IntegerField(min_value=1, max_value=MOST_ROWS, default=1000)
        least = serializers.IntegerField(
            min_value=1, max_value=MOST_ROWS, default=1, help_text="Fewer are not worth it."
        )
        test = serializers.FloatField(min_value=0.0, max_value=0.9, default=0.3)
        validation = serializers.FloatField(min_value=0.0, max_value=0.5, default=0.1)
        chance = serializers.FloatField(
            min_value=0.0,
            max_value=1.0,
            default=0.5,
            help_text="The share of rows to learn from that chance draws; the others come first "
            "where somebody contradicts the model, where it is unsure, or they are foreign.",
        )
        keep = serializers.FloatField(
            min_value=0.0,
            max_value=1.0,
            default=1.0,
            help_text="The share of earlier rows to learn from that is kept.",
        )
        slices = serializers.ListField(
            child=serializers.CharField(max_length=200),
            required=False,
            max_length=20,
            help_text="Of the monitor: rows of these come first.",
        )
        unlabelled = serializers.BooleanField(
            default=True, help_text="Rows come without a label, too: somebody is asked afterwards."
        )
        teacher = serializers.BooleanField(
            default=True, help_text="What the teacher said of a row is its label, unless one came."
        )
        seed = serializers.IntegerField(min_value=0, max_value=2**31, default=0)

    has_form: ClassVar[bool] = False

    def pinned(self, version: DatasetVersion, options: Mapping[str, Any]) -> dict[str, Any]:
        told = {name: options.get(name) for name in ("since", "until")}
        return dict(options) | {name: at.isoformat() if at else None for name, at in told.items()}

    def check(self, version: DatasetVersion, options: Mapping[str, Any]) -> None:
        monitor = _monitor(version, options)
        if monitor is None:
            raise operation.refuse("monitor", f"There is no monitor {options['monitor']!r}.")
        if monitor.task != version.dataset.task:
            sentence = f"{monitor} watches {monitor.task}; {version.reference} is for"
            raise operation.refuse("monitor", f"{sentence} {version.dataset.task}.")
        kinds = {one["name"]: one for one in version.columns}
        for name, kind in BESIDE.items():
            there = kinds.get(name)
            if there and (there["type"] != kind or there["role"] not in restored.KEPT):
                sentence = f"{version.reference} has a column {name} of its own."
                raise operation.refuse("monitor", sentence)

    def told(self, options: Mapping[str, Any]) -> str:
        whose = f" for retraining {options['retraining']}" if options.get("retraining") else ""
        kept = "" if options["keep"] == 1 else f", beside {options['keep']:.0%} of what was learnt"
        return f"Added live rows of {options['monitor']}{whose}{kept}"

    def columns(self, parents: list[Parent], options: Mapping[str, Any]) -> list[dict[str, str]]:
        found = list(parents[0].version.columns)
        names = {one["name"] for one in found}
        for name, kind in BESIDE.items():
            if name not in names:
                found.append({"name": name, "type": kind, "role": "extra"})
        return found

    def count(self, parents: Sequence[Parent], options: Mapping[str, Any]) -> int | None:
        return None

    def rows(self, parents: list[Parent], options: Mapping[str, Any]) -> Iterator[StoredRow]:
        yield from _Adding(parents[0], options, {}).rows()

    def carried_out(
        self, parents: list[Parent], options: Mapping[str, Any], work: Work
    ) -> Iterator[StoredRow]:
        yield from _Adding(parents[0], options, work.report).rows()


def _monitor(version: DatasetVersion, options: Mapping[str, Any]) -> Monitor | None:
    project = version.dataset.project_id
    return Monitor.objects.filter(project=project, name=options["monitor"]).first()


class _Adding:
    """The rows that were there, then the new ones; and counts."""

    def __init__(self, parent: Parent, options: Mapping[str, Any], report: dict[str, Any]) -> None:
        self.version, self.parent = parent.version, parent
        self.options, self.report = options, report
        self.kept = self.dropped = 0
        self.writes = self.version.dataset.task == GENERATION_TASK
        self.has_prompts = any(one["role"] == "prompt" for one in self.version.columns)
        self.left: Counter[str] = Counter()

    def rows(self) -> Iterator[StoredRow]:
        """Raises BadFile where too few new rows can be used."""
        monitor = _monitor(self.version, self.options)
        if monitor is None:
            raise BadFile(f"The monitor {self.options['monitor']} is gone.")
        known: dict[bytes, set[str | None]] = {}
        rows = 0
        for row in self.parent.rows():
            rows += 1
            if self.writes and not self.has_prompts and not _is_chat(row["text"]):
                raise BadFile(PLAIN)
            known.setdefault(self._key(row), set()).add(row["label"])
            if row["split"] == TRAIN and not self._stays(row["row_id"]):
                self.dropped += 1
                continue
            self.kept += 1
            yield dict.fromkeys(BESIDE) | row
        is_table = not self.version.input_column
        repeats = is_table and len(known) < making.UNLIKE * rows
        yield from self._new(monitor, None if repeats else known)

    def _new(
        self, monitor: Monitor, known: dict[bytes, set[str | None]] | None
    ) -> Iterator[StoredRow]:
        options = self.options
        try:
            found = live_rows.read(
                monitor,
                since=parse_datetime(options["since"]) if options.get("since") else None,
                until=_until(options),
                seed=options["seed"],
                labels=options["teacher"],
                slices=options.get("slices") or (),
            )
        except storage.Damaged:
            raise BadFile("A file of live rows is missing from storage.") from None
        usable = [one for one in found.rows if self._fits(one)]
        picked, left = live_rows.chosen(
            usable,
            many=options["rows"],
            test=options["test"],
            validation=options["validation"],
            chance=options["chance"],
            known=known,
        )
        self.left += left
        self.left["empty"] += found.empty
        if len(picked) < options["least"]:
            raise BadFile(self._too_few(found.seen, len(picked)))
        yield from self._written(picked)
        self._report(found.seen, picked)

    def _written(self, picked: list[tuple[str, Live]]) -> Iterator[StoredRow]:
        blank: StoredRow = {
            one["name"]: None for one in self.version.columns if one["role"] != "id"
        }
        for split, one in picked:
            yield dict.fromkeys(BESIDE) | blank | self._row(split, one)

    def _row(self, split: str, one: Live) -> StoredRow:
        row: StoredRow = {
            "split": split,
            "label": one.label,
            "source": f"{one.id} of {self.options['monitor']}"[:500],
            FROM: self.options["monitor"],
            WINDOW: float(one.window),
            ID: one.id,
            AT: one.time,
            ANSWER: one.answer or None,
            LABEL: one.label_from or None,
            FOR: str(self.options["retraining"]) if self.options.get("retraining") else None,
        }
        if one.cells is not None:
            return row | self._cells(one.cells)
        if one.sha256:
            return row | self._media(one.sha256)
        if self.writes:
            return row | {"label": None} | self._answered(one)
        return row | {"text": one.text}

    def _answered(self, one: Live) -> StoredRow:
        """A prompt and its right answer; in a dataset of chats, what the assistant says to it."""
        if self.has_prompts:
            return {"prompt": one.text, "text": one.label}
        said = conversations.messages(one.text or "") or [{"role": "user", "content": one.text}]
        whole = [*said, {"role": "assistant", "content": one.label}]
        return {"text": json.dumps(whole, ensure_ascii=False)}

    def _media(self, sha256: str) -> StoredRow:
        with storage.open_blob(sha256) as stream:
            content = stream.read()
        column = self.version.input_column
        found: StoredRow = {column: content}
        if column == "audio":
            found["seconds"] = audio_folder.decoded(content, sha256[:12]).seconds
        else:
            image_folder.decoded(content, sha256[:12])
        return found

    def _cells(self, cells: Mapping[str, Any]) -> StoredRow:
        found: StoredRow = {}
        for name, kind in self.version.features.items():
            value = cells.get(name)
            if value in (None, ""):
                found[name] = None
            elif kind == "categorical":
                found[name] = str(value)
            else:
                found[name] = float(value)
        return found

    # -- what can be used --------------------------------------------------------------------------

    def _fits(self, one: Live) -> bool:
        """Whether it can stand among the rows of the dataset; a label that the dataset does not
        know is no reason to learn another class."""
        if not self._is_alike(one):
            self.left["unlike"] += 1
            return False
        if one.cells is not None:
            one.cells = self._cells(one.cells)
        if self.writes:
            if not one.label:
                self.left["unlabelled"] += 1
            return bool(one.label)
        if self._misfits(one):
            self.left["misfit"] += 1
            return False
        if one.label is not None:
            try:
                stored = self._label(one.label)
            except label_values.NoLabel:
                stored = None
            if stored is None or not self._knows(stored):
                self.left["unknown_label"] += 1
                return False
            one.label = stored
        elif not self.options["unlabelled"] and self.version.dataset.task not in UNLABELLED:
            self.left["unlabelled"] += 1
            return False
        return True

    def _misfits(self, one: Live) -> bool:
        """Whether there are not as many tags as words."""
        if self.version.dataset.task != TOKENS_TASK or one.label is None:
            return False
        return len((one.text or "").split()) != len(one.label.split())

    def _is_alike(self, one: Live) -> bool:
        version = self.version
        if one.cells is not None:
            kinds = version.features
            return bool(kinds) and all(
                kinds[name] == "categorical" or _is_number(one.cells.get(name)) for name in kinds
            )
        if one.sha256:
            return version.input_column in ("image", "audio")
        return bool(version.input_column == "text")

    def _label(self, text: str) -> str | None:
        """As it is stored; of any number of labels none is an empty text. Raises
        label_values.NoLabel."""
        if self.version.problem == MULTI:
            if not text.strip():
                return ""
            text = text.replace(SEVERAL, self.version.separator)
        return label_values.stored(self.version, text)

    def _knows(self, label: str) -> bool:
        version = self.version
        if version.problem == REGRESSION or not version.labels:
            return True
        if version.problem == MULTI and not label:
            return True
        if version.dataset.task == TOKENS_TASK:
            single = label.split()
        else:
            single = label.split(version.separator) if version.separator else [label]
        return set(single) <= set(version.labels)

    def _key(self, row: Mapping[str, Any]) -> bytes:
        """As `Live.key` of what the dataset already has."""
        one = Live("", 0, "", "", 0.0)
        version = self.version
        if version.input_column in ("image", "audio"):
            one.sha256 = hashlib.sha256(row[version.input_column]).hexdigest()
        elif self.writes:
            one.text = row["prompt"] if self.has_prompts else _asked(row["text"])
        elif version.input_column == "text":
            one.text = row["text"]
        else:
            one.cells = {name: row[name] for name in version.features}
        return one.key

    def _stays(self, row_id: int) -> bool:
        if self.options["keep"] >= 1:
            return True
        digest = hashlib.blake2b(f"{self.options['seed']} {row_id}".encode(), digest_size=8)
        return bool(int.from_bytes(digest.digest(), "big") / 2**64 < self.options["keep"])

    # -- what is told ------------------------------------------------------------------------------

    def _report(self, seen: int, picked: list[tuple[str, Live]]) -> None:
        by = Counter(one.label_from or "nobody" for _, one in picked)
        self.report |= {
            "seen": seen,
            "rows": len(picked),
            "splits": dict(Counter(split for split, _ in picked)),
            "windows": len({one.window for _, one in picked}),
            "labels": {name: by[name] for name in (live_rows.TRUE, live_rows.TEACHER)},
            "without_label": by["nobody"],
            "kept": self.kept,
            "dropped": self.dropped,
            "left_out": {name: many for name, many in self.left.items() if many},
        }

    def _too_few(self, seen: int, usable: int) -> str:
        reasons = {
            "known": "are in the dataset already, or came twice",
            "empty": "hold no input",
            "unlabelled": "have neither a label nor an answer of the teacher"
            if self.writes
            else "have no label, and there is no teacher to ask",
            "unknown_label": "have a label that the dataset does not know",
            "unlike": "do not look like its rows",
            "misfit": "have more or fewer tags than words",
        }
        why = [f"{self.left[name]} {words}" for name, words in reasons.items() if self.left[name]]
        told = f" ({'; '.join(why)})" if why else ""
        return (
            f"Only {usable} of {seen} live rows can be used{told}; at least "
            f"{self.options['least']} are wanted. Wait until more came."
        )


def _is_chat(text: str | None) -> bool:
    return not text or conversations.messages(text) is not None


def _asked(text: str | None) -> str:
    """What a chat says before its last answer, as a monitor is sent it."""
    said = conversations.messages(text or "") or []
    if said and said[-1]["role"] == "assistant":
        said = said[:-1]
    return json.dumps(said, ensure_ascii=False)


def _until(options: Mapping[str, Any]) -> Any:
    found = parse_datetime(options["until"])
    if found is None:
        raise BadFile("It is not known until when rows count.")
    return found


def _is_number(value: Any) -> bool:
    if value in (None, ""):
        return True
    try:
        float(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return True
