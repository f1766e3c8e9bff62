"""The job folder of a run: what the engine reads and leaves.

DISTILLHUB_HOME/jobs/<run id>/
    config.json      resolved; no secrets
    inputs/          links to immutable files, verified by their sha256
    journal.jsonl    the engine's events
    console-N.log    what attempt N printed
    child.json       the process that works in here: pid and start time
    checkpoints/ output/
"""

import contextlib
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from django.conf import settings

from distillhub.lib import storage
from projects.models import DatasetVersion, ModelVersion
from training import catalog
from training.engine.config import TOP_K
from training.models import Run
from training.worker import machine

FORMAT = 1


def of(run_id: int) -> Path:
    return machine.home() / str(run_id)


def prepare(run: Run) -> Path:
    """Write `config.json` and place the inputs. Raises storage.Damaged when a stored file is not
    what it was; files that are already there from an earlier attempt are verified again."""
    folder = of(run.pk)
    folder.mkdir(parents=True, exist_ok=True)
    assert run.student is not None
    config = run.config
    write_json(
        folder / "config.json",
        {
            "format": FORMAT,
            "run": f"{run.project.slug}/{run.number}",
            "task": run.task,
            "dataset": place_dataset(run.data, folder),
            "student": _network(folder, run.student, "inputs/student")
            | _taken_over(folder, run, run.student),
            "teachers": _teachers(folder, run),
            "scheme": config["scheme"],
            "losses": config["losses"],
            "stages": config.get("stages", []),
            "training": config["training"],
            "teacher_outputs": {
                "mode": config["teacher_outputs"],
                "k": config.get("top_k", TOP_K),
                "runs": sharing(run),
                "store": str(Path(settings.DISTILLHUB_HOME) / "teacher-outputs"),
            },
            "threads": settings.DISTILLHUB_RUN_THREADS,
            "evaluate": config.get("evaluation", {}).get("test", True),
            "evaluation": config.get("evaluation", {}),
            "machine": machine_told(),
        },
    )
    return folder


def machine_told() -> dict[str, float | None]:
    """What the machine's owner says of it, for estimates."""
    return {
        "watts_per_core": settings.DISTILLHUB_WATTS_PER_CORE,
        "price_per_hour": settings.DISTILLHUB_PRICE_PER_HOUR,
    }


def sharing(run: Run) -> int:
    """How many runs of its study want what its teachers say: storing it pays the sooner."""
    asked = run.study.asked if run.study is not None else {}
    return int(asked.get("trials", len(asked.get("seeds", [])) or 1))


def place_dataset(version: DatasetVersion, folder: Path) -> dict[str, Any]:
    """Its rows, verified, among a folder's inputs; what `config.json` says of them. Raises
    storage.Damaged."""
    path = "inputs/dataset.parquet"
    _place(version.file_sha256, folder / path)
    weight = version.column_of("weight")
    return ({"weight": weight} if weight else {}) | {
        "path": path,
        "sha256": version.file_sha256,
        "fingerprint": version.fingerprint,
        "labels": version.labels,
        "problem": version.problem,
        "separator": version.separator,
        "columns": version.features,
    }


def place_files(version: ModelVersion, folder: Path) -> None:
    """A model version's files, verified. Raises storage.Damaged."""
    for file in version.files:
        _place(file["sha256"], folder / file["name"])


def recorded(version: ModelVersion) -> dict[str, Any]:
    """Where a recorded teacher's answers stand in the dataset, as the engine reads it."""
    return {
        name: version.source[name] for name in ("probabilities", "label") if name in version.source
    }


def store_files(told: Iterable[Mapping[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """Keep what the engine tells of in a folder: `{"name", "sha256", "bytes"}` of each file."""
    kept = []
    for file in told:
        blob = storage.put(folder / file["name"])
        kept.append({"name": file["name"], "sha256": blob.sha256, "bytes": blob.bytes})
    return kept


def clear(folder: Path, *, keep_record: bool = True) -> None:
    """Free the disk of a run that is over: its checkpoints, inputs and outputs are stored or
    worthless by now. The journal and consoles stay, unless `keep_record` is False."""
    if not keep_record:
        shutil.rmtree(folder, ignore_errors=True)
        return
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)


def write_json(path: Path, content: Any) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(content, ensure_ascii=False, indent=1))
    part.replace(path)


def read_json(path: Path) -> Any:
    """None when it is missing or torn."""
    with contextlib.suppress(OSError, ValueError):
        return json.loads(path.read_text())
    return None


def _network(folder: Path, version: ModelVersion, place: str) -> dict[str, Any]:
    place_files(version, folder / place)
    return {
        "name": version.reference,
        "architecture": version.architecture,
        "config": version.config,
        "path": place if version.files else None,
        "weights_sha256": [file["sha256"] for file in version.files],
    }


def _taken_over(folder: Path, run: Run, student: ModelVersion) -> dict[str, Any]:
    """A control without weights reads as the student that it is compared with does, which may take
    over its teacher's way (tokens, sizes): they differ in nothing but what they learn from."""
    if run.control_of is None or student.files or not catalog.takes_inputs(run.control_of.config):
        return {}
    made = [one.output for one in run.waits_for.select_related("output") if one.output is not None]
    named = [one for one in run.control_of.teachers.order_by("pk") if one.files]
    teacher = next(iter([*named, *made]), None)
    if teacher is None:
        return {}
    for file in teacher.files:
        if not file["name"].endswith(".safetensors"):
            _place(file["sha256"], folder / "inputs/tokens" / file["name"])
    return {"inputs_of": "inputs/tokens"}


def _teachers(folder: Path, run: Run) -> list[dict[str, Any]]:
    by_reference = {one.reference: one for one in run.teachers.select_related("model")}
    placed = []
    for index, asked in enumerate(run.config["teachers"]):
        reference = asked if isinstance(asked, str) else asked["model"]
        weight = 1.0 if isinstance(asked, str) else asked["weight"]
        version = by_reference[reference]
        if version.is_recorded:
            network = {"name": reference, "recorded": recorded(version)}
        else:
            network = _network(folder, version, f"inputs/teachers/{index}")
        placed.append(network | {"weight": weight})
    return placed


def _place(sha256: str, target: Path) -> None:
    """A copy of an earlier attempt that was damaged here is removed by the first try."""
    try:
        storage.local_copy(sha256, target)
    except storage.Damaged:
        storage.local_copy(sha256, target)
