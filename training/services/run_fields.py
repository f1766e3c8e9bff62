"""What is known of a run under the names that filters have for it, whatever kind of run it is.

metrics.val/accuracy                      the latest value of a series
summary.student.latency_ms.1.median       what the engine told when it had ended
config.losses.soft_targets.temperature    what was asked (a loss by its kind, a stage by name)
params.lr                                 what was told of a tracked run
seconds, step, number                     of the run itself
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.utils import timezone

from training.engine.export_config import FALLING
from training.models import Run

#: Words in the last part of a name that say which way is better. What has none of them is neither.
LESS = (*FALLING, "loss", "error", "kl", "teacher_rmse", "latency", "seconds", "nll", "wer", "cer")
MORE = (
    *("accuracy", "f1", "precision", "recall", "agreement", "retention", "r2", "spearman"),
    *("pearson", "auc", "neighbours", "preferred", "exact_match", "compression", "bleu", "rouge"),
    *("samples_per_second", "tokens_per_second"),
)
OWN = ("number", "step", "seconds", "parameters", "size_bytes")
UNTOLD = ("name",)  # of a configuration: what differs anyway, and says nothing of the training


def settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration by paths: `training.learning_rate`, `losses.soft_targets.temperature`,
    `stages.first.losses.hard_labels.weight`, `params.lr`. A list of plain values is one value."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        if name not in UNTOLD:
            _spread(value, str(name), found)
    return found


def _spread(value: Any, path: str, found: dict[str, Any]) -> None:
    if isinstance(value, Mapping) and value:
        for name, part in value.items():
            # A scheme is a word, or with options an object: both say the same of its kind.
            _spread(part, path if name == "kind" else f"{path}.{name}", found)
    elif isinstance(value, list) and any(isinstance(one, Mapping) for one in value):
        seen: dict[str, int] = {}
        for place, one in enumerate(value):
            named = one if isinstance(one, Mapping) else {"": one}
            by = next((key for key in ("kind", "name", "model") if key in named), "")
            name = str(named[by]) if by else str(place)
            seen[name] = seen.get(name, 0) + 1
            at = f"{path}.{name}" if seen[name] == 1 else f"{path}.{name}#{seen[name]}"
            rest = {key: part for key, part in named.items() if key != by or not key}
            if not rest:  # a loss of which nothing else is told is there all the same
                found[at] = True
            for key, part in rest.items():
                _spread(part, f"{at}.{key}" if key else at, found)
    else:
        found[path] = value


def seconds(run: Run) -> float | None:
    """How long it took, or has taken until now."""
    if run.started_at is None:
        return None
    ended = run.finished_at or (None if run.is_final else timezone.now())
    return (ended - run.started_at).total_seconds() if ended else None


def own(run: Run, name: str) -> Any:
    """A field that is neither measured nor asked."""
    if name == "seconds":
        return seconds(run)
    if name in ("parameters", "size_bytes"):
        return (run.summary.get("student") or {}).get(name)
    return getattr(run, name)


def all_of(run: Run) -> dict[str, Any]:
    """Every field of a run that has a value."""
    found = {name: value for name in OWN if (value := own(run, name)) is not None}
    found |= {f"metrics.{name}": value for name, value in run.metrics.items()}
    told: dict[str, Any] = {}
    for name, value in run.summary.items():
        if isinstance(value, Mapping | int | float | str):
            _spread(value, f"summary.{name}", told)
    found |= {name: value for name, value in told.items() if not isinstance(value, dict | list)}
    return found | {asked(name): value for name, value in settings(run.config).items()}


def asked(path: str) -> str:
    """The field of a path in a configuration."""
    return path if path.startswith("params.") else f"config.{path}"


def value_of(run: Run, name: str) -> Any:
    """None where the run has no such field."""
    kind, _, rest = name.partition(".")
    if kind == "metrics":
        return run.metrics.get(rest)
    if kind in ("config", "params"):
        return settings(run.config).get(rest if kind == "config" else name)
    return own(run, name) if name in OWN else all_of(run).get(name)


def number(value: Any) -> float | None:
    """A finite number; yes and no, words, NaN and infinities are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def numbers_of(runs: Iterable[Mapping[str, Any]]) -> list[str]:
    """Names of fields that are numbers in at least two of the runs (as `all_of` tells them), or in
    the only one: what people judge by first, then what was chosen, then the rest."""
    counts: dict[str, int] = {}
    many = 0
    for fields in runs:
        many += 1
        for name, value in fields.items():
            if number(value) is not None:
                counts[name] = counts.get(name, 0) + 1
    kept = [name for name, count in counts.items() if count >= min(2, many)]
    return sorted(kept, key=lambda name: (_rank(name), name))


def _rank(name: str) -> int:
    kind, _, rest = name.partition(".")
    if kind == "metrics":
        split = rest.split("/", 1)[0]
        return {"val": 0, "test": 1, "teacher": 4, "system": 9}.get(split, 3)
    return {"config": 2, "params": 2, "summary": 6}.get(kind, 5)


def differing(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names on which these differ, in the order in which they come. A whole number equals the same
    number with a point; yes equals no number."""
    names = dict.fromkeys(name for one in runs for name in one)
    return [name for name in names if len({_same(one, name) for one in runs}) > 1]


MISSING = ("missing",)


def _same(one: Mapping[str, Any], name: str) -> Any:
    return comparable(one[name]) if name in one else MISSING


def comparable(value: Any) -> Any:
    """Something that is equal for equal settings, and can be put into a set."""
    if isinstance(value, bool) or value is None:
        return (type(value).__name__, value)
    if isinstance(value, int | float):
        return ("number", float(value) if abs(value) < 2**53 else value)
    return (type(value).__name__, repr(value) if isinstance(value, list | dict) else value)


def falls(name: str) -> bool | None:
    """Whether less of it is better; None where nobody can say."""
    word = name.rsplit("/", 1)[-1].rsplit(".", 1)[-1].lower()
    if any(part in word for part in MORE):
        return False
    parts = word.split("_")
    if any(part == word or part in parts for part in LESS):
        return True
    return None
