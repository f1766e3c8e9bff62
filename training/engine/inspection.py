"""What a model is, without training it: `python -m training.engine inspect JOB_DIR`.

`config.json`: {"task", "source", "architecture", "config", "path"?, "teacher"?, "dataset"?}.
`source` of kind `hub` is fetched into JOB_DIR/model; of kind `derived`, {"method", "options"}, it
is made there of `teacher`, {"name", "path"}, by rows of the `dataset` where there is one; `path` is
a folder of an upload; with neither, an architecture is built on torch's meta device, where weights
take no memory. `result.json`: {"architecture", "config", "parameters", "size_bytes", "labels",
"tokenizer", "assumes", "folder", "revision", "files", "made"?}, or {"failed": {"code", "sentence"}}
and exit status 1.
"""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from training.engine import config as configs
from training.engine import job, job_config
from training.engine.errors import ConfigError, Fault, ModelError

JSON = dict[str, Any]
EXAMPLE_CLASSES = 10


def run(folder: Path) -> NoReturn:
    """Inspect as the folder says, write `result.json`, and end the process."""
    answer(folder, inspect)


def answer(folder: Path, work: Callable[[Path], JSON]) -> NoReturn:
    """Write what `work` finds, or why it could not, to `result.json`, and end the process."""
    job.die_with_parent()
    status = 0
    try:
        result = work(folder)
    except BaseException as error:  # whatever it is, the result must say so
        failed = job.explain(error)
        result, status = {"failed": {"code": failed.code, "sentence": failed.sentence}}, 1
    part = folder / ".result.json"
    part.write_text(json.dumps(result, ensure_ascii=False), encoding="utf-8")
    part.rename(folder / "result.json")
    job.leave(status)


def inspect(folder: Path) -> JSON:
    """Raises the errors of errors.py."""
    raw = job.read_config(folder)
    task, source = str(raw.get("task")), raw.get("source") or {}
    if source.get("kind") == "hub":
        from training.engine.teachers import hub  # noqa: PLC0415

        fetched = hub.fetch(
            str(source.get("id")),
            str(source.get("revision") or "main"),
            folder / "model",
            endpoint=os.environ.get("HF_ENDPOINT") or None,
        )
        return {**_folder(folder, "model", task), "revision": fetched.commit}
    if source.get("kind") == "derived":
        return _derived(folder, raw, task)
    if raw.get("path"):
        return _folder(folder, str(raw["path"]), task)
    return _architecture(task, str(raw.get("architecture")), raw.get("config") or {})


def _architecture(task: str, key: str, values: JSON) -> JSON:
    """An architecture drawn at random: counted for ten labels and a full vocabulary."""
    from training.engine import methods, preflight  # noqa: PLC0415
    from training.engine.students import ARCHITECTURES  # noqa: PLC0415
    from training.engine.tasks import TASKS  # noqa: PLC0415

    resolved, faults = configs.check_architecture(task, key, values, methods.describe())
    if faults:
        raise ConfigError(faults)
    architecture = ARCHITECTURES[key]
    classes = int(values.get("num_labels") or EXAMPLE_CLASSES)
    example = TASKS[task].example(architecture, resolved, classes)
    weights = preflight.parameters(key, resolved, example.shape)
    preflight.refuse_too_large(weights, "sgd", key)
    return {
        "architecture": key,
        "config": resolved,
        "parameters": weights,
        "size_bytes": weights * preflight.FLOAT,
        "labels": [],
        "problem": None,
        "tokenizer": example.tokenizer,
        "assumes": (
            f"{classes} labels and {example.assumes}"
            if TASKS[task].needs_labels
            else example.assumes
        ),
        "folder": None,
        "revision": None,
        "files": [],
    }


def _derived(folder: Path, raw: JSON, task: str) -> JSON:
    """A student made of a teacher's weights: `made` says what of it, and of how many weights."""
    from training.engine import derivations, networks, preflight  # noqa: PLC0415
    from training.engine.derivations import examples  # noqa: PLC0415
    from training.engine.teachers import folder as checkpoints  # noqa: PLC0415

    teacher, source, dataset = raw["teacher"], raw["source"], raw.get("dataset")
    home = folder / str(teacher["path"])
    checkpoints.refuse_unsafe(home)
    stored = sum(one.stat().st_size for one in home.glob("*.safetensors"))
    if 2 * stored > preflight.free_memory() * preflight.SHARE:
        raise ModelError(
            f"{teacher['name']} and its student take up to {2 * stored / 1e9:.1f} GB, more than "
            "this machine has."
        )
    known = networks.load(str(teacher["name"]), home, task)
    shown = []
    if dataset and derivations.DERIVATIONS[source["method"]].measures:
        faults: list[Fault] = []
        described = job_config.read_dataset(dataset, None, faults)
        if faults:
            raise ConfigError(faults)
        shown = examples.of(known, described, folder, home=folder / "shown")
    derived = derivations.derive(
        source["method"], source.get("options") or {}, known, name="The student", examples=shown
    )
    networks.save(derived.network, folder / "model")
    found = _folder(folder, "model", task)
    made = {"said": derived.said, "teacher_parameters": known.parameters, "rows": 0}
    made["rows"] = sum(len(next(iter(one.inputs.values()))) for one in shown)
    config = found["config"]
    if not known.config:  # of a checkpoint from elsewhere: shown as that one is
        config = checkpoints.plain_config(folder / "model") | config
    answers = found["labels"] if checkpoints.has_head(home) else []
    return {**found, "labels": answers, "config": config, "made": made}


def _folder(home: Path, path: str, task: str) -> JSON:
    """A folder with weights: checked, loaded once, and its files with their sha256."""
    from training.engine import networks, preflight  # noqa: PLC0415
    from training.engine.tasks import TASKS  # noqa: PLC0415
    from training.engine.teachers import folder as checkpoints  # noqa: PLC0415

    folder = home / path
    checkpoints.refuse_unsafe(folder)
    if task not in TASKS:
        raise ConfigError([Fault("task", f"There is no task called {task}.")])
    stored = sum(one.stat().st_size for one in folder.glob("*.safetensors"))
    if not stored:
        raise ModelError(
            "The folder holds no .safetensors weights. Save the model with "
            "save_pretrained(..., safe_serialization=True) and zip that folder."
        )
    if stored > preflight.free_memory() * preflight.SHARE:
        raise ModelError(f"Its weights take {stored / 1e9:.1f} GB, more than this machine has.")
    network = networks.load("The model", folder, task)
    return {
        "architecture": network.architecture,
        "config": network.config or checkpoints.plain_config(folder),
        "parameters": network.parameters,
        "size_bytes": stored,
        "labels": list(network.labels) if checkpoints.has_head(folder) else [],
        "problem": network.problem,
        "tokenizer": networks.tokenizer(network),
        "assumes": None,
        "folder": path,
        "revision": None,
        "files": [file_of(one, folder) for one in sorted(folder.rglob("*")) if one.is_file()],
    }


def file_of(path: Path, folder: Path) -> JSON:
    """Its name inside the folder, sha256 and bytes."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    name = str(path.relative_to(folder))
    return {"name": name, "sha256": sha256, "bytes": path.stat().st_size}
