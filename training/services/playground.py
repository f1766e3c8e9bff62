"""Several models asked about one input, side by side."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from distillhub.lib import storage
from distillhub.lib.errors import DomainError, Invalid, Missing
from projects.models import DatasetVersion, ModelVersion, Project
from projects.services import registry, version_rows
from training.models import Export, Run
from training.services import exports, runs, serving

JSON = dict[str, Any]
MOST_ASKED = 6  # models side by side
TIMED = 7  # warm calls, of which the median is told
EXAMPLES = 6  # rows at a time
STEP = 7  # rows from one handful to the next
MOST_OFFERED = 200  # models that may be added
TOLD = 20_000_000  # bytes of a file that says how a model reads


@dataclass(frozen=True, slots=True)
class Player:
    """One that is asked: a version, an export of it, or what a run trained that made no version;
    `role` is teacher, student or control."""

    role: str
    version: ModelVersion | None = None
    export: Export | None = None
    run: Run | None = None

    @property
    def reference(self) -> str:
        """As it is asked for: `tiny@3`, `tiny@3:12` of export 12, or `run/7`."""
        if self.version is None:
            return f"run/{self.run.number}" if self.run is not None else ""
        return self.version.reference + (f":{self.export.pk}" if self.export else "")

    @property
    def task(self) -> str:
        if self.version is not None:
            return str(self.version.model.task)
        return self.run.task if self.run is not None else ""

    @property
    def words(self) -> str:
        """As a page calls it."""
        if self.version is None:
            return f"control, run {self.run.number}" if self.run is not None else ""
        how = f" as {export_words(self.export)}" if self.export else ""
        return f"{self.version.reference}{how}"


@dataclass(slots=True)
class Said:
    """What came of asking one; `answers` is empty where there is a `fault`."""

    player: Player
    answers: list[JSON] = field(default_factory=list)
    problem: str = ""
    labels: list[str] = field(default_factory=list)
    latency: JSON | None = None
    fault: str = ""


def players(*, project: Project, asked: Sequence[str], run: Run | None = None) -> list[Player]:
    """The models of these references, or those of a run: its teachers, its student, its control.

    Raises Missing and Invalid, also where they are of several tasks.
    """
    found = _of_run(run) if run is not None else []
    found += [_player(project, one) for one in asked if one]
    found = list({one.reference: one for one in found}.values())[:MOST_ASKED]
    tasks = {one.task for one in found}
    if len(tasks) > 1:
        raise Invalid("Models of different tasks cannot be asked the same: choose those of one.")
    return found


def _of_run(run: Run) -> list[Player]:
    found = [Player("teacher", one) for one in run.teachers.select_related("model")]
    for one in (run, *run.controls.order_by("number")[:1]):
        role = "control" if one.control_of_id else "student"
        if one.output is not None:
            found.append(Player(role, one.output))
        elif serving.model_files(one):
            found.append(Player(role, run=one))
    return found


def _player(project: Project, reference: str) -> Player:
    if reference.startswith("run/"):
        return _of_number(project, reference.removeprefix("run/"))
    name, _, number = reference.partition(":")
    version = registry.resolve(project=project, reference=name)
    if not number:
        return Player(version.model.role, version)
    export = exports.find(version=version, export_id=_whole(number, reference))
    return Player(version.model.role, version, export)


def _of_number(project: Project, number: str) -> Player:
    run = runs.find(project=project, number=_whole(number, f"run/{number}"))
    role = "control" if run.control_of_id else "student"
    return Player(role, run.output) if run.output is not None else Player(role, run=run)


def _whole(text: str, reference: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Missing(f"There is no {reference} in this project.")
    return int(text)


def ask(
    *,
    players: Sequence[Player],
    inputs: Sequence[Any],
    written: JSON | None = None,
    budget: Decimal | None = None,
    labels: Sequence[str] = (),
) -> list[Said]:
    """What each says, one after the other, so that their times are their own; services within the
    budget, with one of the others' labels, or of these. Raises Invalid and TooLarge for what is no
    input of their task."""
    if not players:
        raise Invalid("Choose a model to ask.")
    serving.read(players[0].task, inputs)
    known = (one.version.labels for one in players if one.version is not None)
    paid: JSON = {"budget": budget, "labels": next(filter(None, known), labels)}
    return [_asked(one, inputs, written, paid) for one in players]


def _asked(player: Player, inputs: Sequence[Any], written: JSON | None, paid: JSON) -> Said:
    how: JSON = {"inputs": inputs, "measure": TIMED, "written": written}
    try:
        if player.version is None:
            assert player.run is not None
            said = serving.predict_run(run=player.run, **how)
        else:
            shipped = player.export.pk if player.export else None
            said = serving.predict(version=player.version, export=shipped, **how, **paid)
    except DomainError as error:
        return Said(player, fault=error.detail.removeprefix("inputs.0: "))
    latency = said.latency
    if latency is None:  # of a service, the one call
        latency = {"median_ms": said.milliseconds, "calls": 1, "of": "input"}
    return Said(player, said.answers, said.problem, said.labels, latency)


# -- what a page offers ---------------------------------------------------------------------------


def offered(*, project: Project, task: str | None) -> list[tuple[str, str]]:
    """(reference, words) of what can be asked: trained versions of a task, or of all, and their
    exports, the newest first."""
    versions = (
        ModelVersion.objects.ready()
        .filter(model__project=project)
        .exclude(source__kind__in=["column", "architecture", "derived"])
        .select_related("model")
        .order_by("-pk")
    )
    if task:
        versions = versions.filter(model__task=task)
    known = [one for one in versions[:MOST_OFFERED] if serving.may_be_asked(one)]
    shipped: dict[int, list[Export]] = {}
    if task != serving.WRITTEN:
        ready = Export.objects.filter(version__in=known, status=Export.Status.READY)
        for export in ready.exclude(format="safetensors").order_by("pk"):
            shipped.setdefault(export.version_id, []).append(export)
    found = []
    for version in known:
        words = f"{version.reference} · {version.model.role}"
        found.append((version.reference, words if task else f"{words} · {version.model.task}"))
        found += [
            (f"{version.reference}:{one.pk}", f"{version.reference} as {export_words(one)}")
            for one in shipped.get(version.pk, ())
        ]
    return found


def export_words(export: Export) -> str:
    """`onnx-int8`, and how it was made smaller before."""
    how = (export.compress or {}).get("kind")
    return f"{export.format} ({how})" if how else str(export.format)


def rows_of(players: Sequence[Player], run: Run | None) -> DatasetVersion | None:
    """The dataset whose rows are good examples: of the run, or of what made one of the models."""
    if run is not None:
        return run.dataset_version
    for one in players:
        if one.version is None:
            return one.run.dataset_version if one.run is not None else None
        suited, _ = exports.suggested(version=one.version)
        if suited is not None and suited.status == DatasetVersion.Status.READY:
            return suited
    return None


def examples(*, version: DatasetVersion, place: int) -> tuple[list[JSON], int]:
    """(some test rows without their pictures, how many there are), evenly spread over the split:
    files often hold one class after the other. Each `place` shows others."""
    split = "test" if version.splits.get("test", {}).get("rows") else None
    ids = version_rows.matching(version=version, conditions={"split": split}).tolist()
    if not ids:
        return [], 0
    apart = max(1, len(ids) // EXAMPLES)
    chosen = {ids[(at * apart + place * STEP) % len(ids)] for at in range(EXAMPLES)}
    found, _ = version_rows.rows_and_total(version=version, row_ids=sorted(chosen), limit=EXAMPLES)
    return found, len(ids)


@dataclass(frozen=True, slots=True)
class Column:
    """Of a table that a model reads; without words it holds numbers."""

    name: str
    words: tuple[str, ...] | None = None


def columns(player: Player) -> list[Column]:
    """What a table's model reads, as its own file says."""
    if player.version is None:
        files = serving.model_files(player.run) if player.run is not None else ()
    else:
        files = tuple(player.version.files)
    named = next((one for one in files if one["name"] == "distillhub.json"), None)
    if named is None or named["bytes"] > TOLD:
        return []
    try:
        with storage.open_blob(named["sha256"]) as file:
            said = json.load(file)["preprocessing"]
        numeric, categorical, words = (said[name] for name in ("numeric", "categorical", "words"))
    except (storage.Damaged, storage.Away, ValueError, KeyError):
        return []
    return [
        *(Column(name) for name in numeric),
        *(Column(name, tuple(known)) for name, known in zip(categorical, words, strict=True)),
    ]
