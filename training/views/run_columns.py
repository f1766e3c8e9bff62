"""Which columns the table of runs shows, by what it is sorted, and how it is grouped.

Besides the columns that every run has there are those of fields, by the names that filters have
for them: `metrics.val/macro_f1`, `config.training.learning_rate`, `params.lr`.
"""

import json
from collections.abc import Iterable
from typing import Any

from django.db.models import Case, CharField, F, OrderBy, Q, Value, When
from django.db.models.fields.json import KeyTransform
from django.db.models.functions import Cast, Coalesce, Concat, Now

from distillhub.lib.errors import Invalid
from distillhub.templatetags import ui
from projects.models import Project
from training import catalog
from training.engine.config import KNOWN
from training.services import run_fields, run_filters
from training.services.run_filters import METRIC, MOST_LOSSES, SEGMENT, Seconds

#: Columns that can be left out, and what they are called; all are shown unless some are chosen.
BUILT = {
    "verdict": "Verdict",
    "score": "Test score",
    "validation": "Best validation",
    "dataset": "Data",
    "student": "Student",
    "teacher": "Teacher",
    "agreement": "Agreement",
    "loss": "Loss",
    "parameters": "What differs",
    "duration": "Took",
    "by": "By",
    "created": "Created",
}
MOST_FIELDS = 30
LONGEST = 250  # characters of a field's name
MOST_GROUPS = 20  # settings to group by
MOST_OFFERED = 200  # fields in the menu

#: Parts of a configuration that have columns of their own, or say nothing of the training.
ELSEWHERE = {"name", "task", "dataset", "student", "teachers", "control", "resources", "exports"}

#: Columns that a person sorts by; besides them a run's score, on which split.
SCORES = {"score": "test", "validation": "val"} | {"accuracy": "test"}  # its name of old
ORDERS: dict[str, Any] = {
    "number": F("number"),
    "name": F("name"),
    "status": F("status"),
    "agreement": run_filters.metric("val/agreement"),
    "loss": run_filters.metric("train/loss"),
    "student": F("student__model__name"),
    "dataset": F("dataset_version__dataset__name"),
    "duration": Seconds(Coalesce(F("finished_at"), Now())) - Seconds(F("started_at")),
    "by": F("created_by__username"),
    "created": F("created_at"),
}
GROUPED: dict[str, Any] = {
    "dataset": Case(
        When(dataset_version=None, then=None),
        default=Concat(
            F("dataset_version__dataset__name"),
            Value("@"),
            Cast(F("dataset_version__number"), CharField()),
        ),
    ),
    "student": F("student__model__name"),
    "status": F("status"),
    "task": F("task"),
    "study": F("study__name"),
    "by": F("created_by__username"),
}
GROUPS = {
    "dataset": "Data",
    "student": "Student",
    "status": "Status",
    "task": "Task",
    "study": "Study",
    "by": "Person",
}


def chosen(asked: Iterable[str]) -> tuple[list[str], list[str]]:
    """(the columns of BUILT that are shown, the fields). Names that are neither are passed over: a
    saved view may be older than the columns."""
    names = list(dict.fromkeys(asked))
    fields = [name for name in names if len(name) < LONGEST and name_of(name)][:MOST_FIELDS]
    built = [name for name in BUILT if name in names]
    # Fields alone come beside all the others.
    return built or list(BUILT), fields


def name_of(field: str) -> str:
    """Of a field's name what comes behind its kind; empty where it is none."""
    kind, _, rest = field.partition(".")
    if kind in ("metrics", "params") and METRIC.fullmatch(rest):
        return rest
    if kind == "config" and rest and rest.split(".")[0] in KNOWN:
        return rest if all(SEGMENT.fullmatch(part) for part in rest.split(".")) else ""
    return ""


def expression(field: str) -> Any:
    """What a field is in the database, to sort and to group by; None where it is none."""
    kind, _, _ = field.partition(".")
    rest = name_of(field)
    if not rest:
        return None
    if kind == "metrics":
        return run_filters.metric(rest)
    if kind == "params":
        return KeyTransform(rest, KeyTransform("params", "config"))
    path = rest.split(".")
    if path[0] == "losses" and len(path) == 3:
        terms = [
            KeyTransform(str(at), KeyTransform("losses", "config")) for at in range(MOST_LOSSES)
        ]
        of_kind = [
            When(
                Q(**{f"config__losses__{at}__kind": path[1]}),
                then=KeyTransform(path[2], term),
            )
            for at, term in enumerate(terms)
        ]
        return Case(*of_kind, default=None)
    found: Any = "config"
    for part in path:
        found = KeyTransform(part, found)
    return found


def orders(order: str, project: Project) -> list[OrderBy]:
    """Scores of one kind stay together: accuracy and perplexity do not compare. Raises Invalid."""
    name = order.removeprefix("-")
    if name not in SCORES:
        return [_order(order, ORDERS.get(name))]
    by = run_filters.headline(SCORES[name], project)
    return [OrderBy(F("task")), OrderBy(run_filters.problem(project)), _order(order, by)]


def _order(order: str, by: Any) -> OrderBy:
    name = order.removeprefix("-")
    kind, _, setting = name.partition(".")
    if kind == "training" and setting in catalog.training_defaults():
        by = KeyTransform(setting, KeyTransform("training", "config"))
    if by is None and len(name) < LONGEST:
        by = expression(name)
    if by is None:
        raise Invalid(f"Runs cannot be ordered by {name!r}.", fields={"order": ["Unknown."]})
    return OrderBy(by, descending=order.startswith("-"), nulls_last=True)


def group(name: str) -> Any:
    """What runs are grouped by, in the database. Raises Invalid."""
    by = GROUPED.get(name)
    if by is None and len(name) < LONGEST and not name.startswith("metrics."):
        by = expression(name)
    if by is None:
        raise Invalid(f"Runs cannot be grouped by {name!r}.", fields={"group": ["Unknown."]})
    return by


def offered(runs: Iterable[Any]) -> list[tuple[str, str]]:
    """Fields that the runs of a page have, and what they are called: the metrics, then settings."""
    measured: dict[str, None] = {}
    asked: dict[str, None] = {}
    for run in runs:
        measured |= dict.fromkeys(run.metrics)
        asked |= dict.fromkeys(map(run_fields.asked, run_fields.settings(run.config)))
    rank = {"val": 0, "test": 1, "train": 2}
    first = sorted(measured, key=lambda name: (rank.get(name.split("/", 1)[0], 3), name))
    names = [f"metrics.{name}" for name in first] + sorted(asked)
    return [(name, said(name)) for name in names if name_of(name)][:MOST_OFFERED]


def settings(configs: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Fields of the settings on which these differ, and what they are called."""
    found = run_fields.differing([run_fields.settings(config) for config in configs])
    names = [name for name in map(run_fields.asked, found) if name_of(name)]
    return [(name, said(name).capitalize()) for name in names[:MOST_GROUPS]]


def said(field: str) -> str:
    """What a field is called: `learning rate`, `macro F1, validation`."""
    kind, _, rest = field.partition(".")
    if kind == "metrics":
        return ui.measured(rest)
    parts = rest.split(".")
    if kind == "config" and len(parts) > 1 and parts[0] in ("training", "losses"):
        parts = parts[1:]
    return ui.words(" ".join(parts))


def written(field: str, value: Any) -> str:
    kind, _, rest = field.partition(".")
    return ui.metric(value, rest) if kind == "metrics" else ui.setting(value)


def told(
    fields: list[str], values: list[Any], apart: dict[str, str] | None = None
) -> list[tuple[str, str]]:
    """Of each field its value as it is read, and how far it is from the pinned run's."""
    return [
        (written(name, value), (apart or {}).get(name, ""))
        for name, value in zip(fields, values, strict=True)
    ]


def apart(field: str, value: Any, base: Any) -> str:
    """A difference of two numbers as it is read; empty where they are none, or the same."""
    one, other = run_fields.number(value), run_fields.number(base)
    if one is None or other is None or one == other:
        return ""
    if ui.is_share(field):
        return ui.signed(one - other)
    return f"{one - other:+.3g}".replace("-", "−")


def flat(config: dict[str, Any], at: str = "") -> dict[str, Any]:
    """What was chosen, by short names: `learning_rate`, `soft_targets.temperature`; of a stage
    behind its name."""
    flattened: dict[str, Any] = {}
    for key, value in config.items():
        if key in ELSEWHERE or (key == "losses" and config.get("stages")):
            continue
        if key == "losses":
            for loss in value:
                kind = loss.get("kind", "?")
                own = {name: one for name, one in loss.items() if name != "kind"}
                flattened |= {f"{at}{kind}.{name}": one for name, one in own.items()}
        elif key == "stages":
            for stage in value:
                at = f"{stage.get('name', '?')}."
                flattened |= {f"{at}{name}": one for name, one in stage.items() if _plain(one)}
                flattened |= flat({"losses": stage.get("losses", [])}, at)
        elif key == "scheme" and isinstance(value, dict):
            kept = {name: one for name, one in value.items() if name != "kind"}
            flattened |= {"scheme": value.get("kind")}
            flattened |= {f"scheme.{name}": one for name, one in kept.items()}
        elif key in ("training", "params"):
            flattened |= {name: one for name, one in value.items() if not isinstance(one, dict)}
        elif _plain(value):
            flattened[key] = value
    return flattened


def _plain(value: Any) -> bool:
    return not isinstance(value, dict | list)


def differing(configs: list[dict[str, Any]]) -> list[str]:
    """Names of settings on which the listed runs differ. Of settings that differ in step, such as
    the two weights of a pair of losses, the first stands for all."""
    settings = [flat(config) for config in configs]
    kept: dict[tuple[int, ...], str] = {}
    for name in dict.fromkeys(name for one in settings for name in one):
        values = [json.dumps(one.get(name), sort_keys=True) for one in settings]
        pattern = tuple(values.index(value) for value in values)
        if any(pattern):
            kept.setdefault(pattern, name)
    return list(kept.values())


def short(names: list[str]) -> list[str]:
    """`soft_targets.temperature` as `temperature` where no other column would be called that."""
    ends = [name.rsplit(".", 1)[-1] for name in names]
    return [
        end if ends.count(end) == 1 and end != "weight" else name.replace(".", " ")
        for name, end in zip(names, ends, strict=True)
    ]
