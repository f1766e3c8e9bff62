"""The web side's only door to the engine's methods: reads `catalog.json`, imports no torch.

The file is what `python -m training.engine methods` prints; a test proves that it is current.
"""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.engine import config, export_config, terms
from training.engine import options as engine_options
from training.engine.config import RunConfig
from training.engine.errors import ConfigError, Fault

JSON = dict[str, Any]
FILE = Path(__file__).parent / "catalog.json"


@functools.cache
def methods() -> JSON:
    """losses, schemes, tasks, architectures, optimizers, schedules, exporters, compressors,
    detectors, training, presets: each a list of plain descriptions. Shared: do not change it."""
    return json.loads(FILE.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def find(kind: str, key: str) -> JSON | None:
    """One method's description, or None."""
    return terms.find(methods(), kind, key)


def options(kind: str, key: str) -> list[JSON]:
    """The options of a method. Raises KeyError when there is none of that key."""
    found = find(kind, key)
    if found is None:
        raise KeyError(key)
    return list(found["options"])


def presets() -> list[JSON]:
    """Where a run can begin: scheme, losses, stages and training values, with words about them."""
    return list(methods()["presets"])


def preset_of(configuration: Mapping[str, Any], *, task: str, problem: str) -> JSON | None:
    """The preset of this task and problem that says the same of scheme, losses and stages."""
    wanted = _said(configuration, task, problem)
    for preset in presets():
        fits = task in preset["tasks"] and problem in preset["problems"]
        if fits and _said(preset, task, problem) == wanted:
            return preset
    return None


def _said(configuration: Mapping[str, Any], task: str, problem: str) -> Any:
    """Scheme, losses and stages with every default filled in."""
    faults: list[Fault] = []
    asked = configuration.get("scheme", "offline")
    scheme = terms.read_scheme(asked, methods(), task, faults)
    losses, stages = terms.read_terms(
        {"losses": configuration.get("losses"), "stages": configuration.get("stages")},
        methods(), task, scheme[0], True, problem, faults,
    )  # fmt: skip
    return scheme, stages or losses, faults


def tasks() -> list[JSON]:
    return list(methods()["tasks"])


def metrics_of(task: str, problem: str) -> list[str]:
    """What answers of this task are judged by, the headline first. Of a task without labels of its
    own, such as embeddings, whatever the problem is called."""
    found = find("tasks", task)
    judged: dict[str, list[str]] = found["metrics"] if found else {}
    return list(judged.get(problem) or next(iter(judged.values()), ["accuracy"]))


def problem_of(task: str, said: str) -> str:
    """What the labels are, as the engine calls it: what a dataset says, where its task knows it."""
    found = find("tasks", task)
    judged = list(found["metrics"]) if found else []
    return said if said in judged or not judged else str(judged[0])


def needs_column(kind: str) -> str:
    """The role of the dataset's column that a term learns from; empty for labels and teachers."""
    return terms.needs_column(methods(), kind)


def generations(scheme: str | Mapping[str, Any]) -> int:
    """How often a student begins anew after its first training; 0 of most schemes."""
    asked = {"kind": scheme} if isinstance(scheme, str) else scheme
    known = (find("schemes", asked["kind"]) or {"options": []})["options"]
    usual = next((one["default"] for one in known if one["name"] == "generations"), 0)
    return int(asked.get("generations", usual))


def scheme_metrics(scheme: str | Mapping[str, Any]) -> list[str]:
    """What a scheme's rows are judged by that no other shows."""
    kind = scheme if isinstance(scheme, str) else scheme["kind"]
    return list((find("schemes", kind) or {}).get("metrics", []))


def wanted(loss: Mapping[str, Any]) -> list[str]:
    """What a term (`{"kind", its options}`) looks at beside the logits: hidden, attention,
    relations, embedding."""
    method = find("losses", loss["kind"])
    if method is None:
        return []
    found = set(method["wants"])
    for option, by in method["wants_by"].items():
        found = set(by.get(str(loss.get(option)), found))
    return sorted(found)


def takes_inputs(configuration: Mapping[str, Any]) -> bool:
    """Whether a student without weights takes over how its teacher reads (tokens, sizes): what
    `engine/lesson.py` decides, of a run's configuration."""
    task = find("tasks", configuration["task"])
    if task is not None and task["unit"] == "token":
        return bool(configuration["teachers"])
    stages = configuration.get("stages") or [configuration]
    augments = configuration["training"].get("augmentation", "none") != "none"
    for losses in ([one for one in stage["losses"] if _counts(one)] for stage in stages):
        heard = any((find("losses", one["kind"]) or {}).get("needs_teacher") for one in losses)
        placed = any({"hidden", "attention", "relations"} & set(wanted(one)) for one in losses)
        if configuration["teachers"] and heard and (placed or augments):
            return True
    return False


def _counts(loss: Mapping[str, Any]) -> bool:
    return bool(loss.get("weight", 1.0)) or bool(loss.get("final_weight"))


def architectures(task: str) -> list[JSON]:
    """What can be trained for a task: the default first, small ones next, then transformers."""
    fitting = [one for one in methods()["architectures"] if task in one["tasks"]]
    return sorted(
        fitting, key=lambda one: (task not in one["default_for"], one["kind"], one["label"])
    )


def training_defaults(architecture: str | None = None, *, trained: bool = False) -> JSON:
    """Every training option's default, as a student of this architecture should begin."""
    defaults = {one["name"]: one["default"] for one in methods()["training"]}
    return {**defaults, **config.recommended(methods(), architecture, trained)}


def resolve(
    configuration: Any,
    *,
    architecture: str | None = None,
    trained: bool = False,
    problem: str = "single_label",
) -> RunConfig:
    """A run configuration with every default filled in; raises ConfigError with every fault.

    `architecture` and `trained` are the student's, whose recommended training options are the
    defaults. `problem` is the dataset's.
    """
    return config.parse(
        configuration, methods(), architecture=architecture, trained=trained, problem=problem
    )


def faults(configuration: Any) -> list[Fault]:
    """Everything wrong with a run configuration, each with its field; empty when it can run."""
    try:
        resolve(configuration)
    except ConfigError as error:
        return error.faults
    return []


def resolve_options(
    kind: str, key: str, values: Mapping[str, Any], at: str
) -> tuple[JSON, list[Fault]]:
    """A method's options with defaults filled in, and every fault, each under `at`. Raises
    KeyError when there is none of that key."""
    return engine_options.check(options(kind, key), values, at)


def resolve_export(wish: Mapping[str, Any], task: str) -> JSON:
    """What an export is asked to be, with every default filled in. Raises ConfigError."""
    return export_config.read(wish, methods(), task).as_dict()


def resolve_architecture(
    task: str, architecture: str, options: Mapping[str, Any]
) -> tuple[JSON, list[Fault]]:
    """An architecture's options with defaults filled in, and every fault (`config.dim`)."""
    return config.check_architecture(task, architecture, options, methods())
