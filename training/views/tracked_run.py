"""What the page of a tracked run shows: whatever it measures, like beside like."""

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from django.urls import reverse

from distillhub.templatetags import ui
from training.charts import curves
from training.models import ExperimentRun, MetricSeries, Run
from training.services import metrics, run_imports, tracked_files
from training.services.machine import MACHINE
from training.views.run_charts import CHART_POINTS, Chart

TABS = [
    ("overview", "Overview"),
    ("curves", "Curves"),
    ("logs", "Console"),
    ("configuration", "Parameters"),
    ("artifacts", "Files"),
]
FIRST = ("loss", "accuracy", "perplexity", "f1", "macro_f1", "rmse")  # what people look for
CHARTS = 4  # of the overview
MOST_CHARTS = 60
MOST_LINES = 8  # in a chart
MOST_ONCE = 60  # of what was measured once
STATS = 5
MOST_FILES = 500  # of one place, in its table
#: What programs put before the name of a metric to say on which rows it was measured.
SPLIT = re.compile(r"(?:train|training|val|valid|validation|eval|test)[/_.]", re.ASCII)

Group = tuple[str, list[str]]  # a measure, and its names on several splits


def overview(run: Run) -> dict[str, Any]:
    groups = grouped(run.metrics)
    drawn, once = _apart(run, groups)
    stats = _stats(run, groups)
    return {
        "stats": stats,
        "events": list(run.events.select_related("by")),
        "charts": _charts(run, drawn[:CHARTS]),
        "more_charts": max(0, len(drawn) - CHARTS),
        "origin": _origin(run),
        **_once(run, once, besides={one["name"] for one in stats}),
        **parameters(run),
    }


def _origin(run: Run) -> dict[str, Any] | None:
    """Where it was imported from."""
    found = run_imports.origin(run=run)
    if found is None:
        return None
    slug, import_id = run.project.slug, found.by_import_id
    return {
        "tracker": run_imports.tracker_of(found.key),
        "place": found.place,
        "page": reverse("training:import_detail", args=[slug, import_id]) if import_id else "",
        "about": [(name.replace("_", " ").capitalize(), v) for name, v in found.about.items()],
    }


def charts(run: Run) -> dict[str, Any]:
    drawn, once = _apart(run, grouped(run.metrics))
    return {
        "charts": _charts(run, drawn[:MOST_CHARTS]),
        "more_charts": max(0, len(drawn) - MOST_CHARTS),
        **_once(run, once),
    }


def grouped(names: Iterable[str]) -> dict[str, list[str]]:
    """Names of one measure on several splits together: `loss` of train/loss and eval_loss; what
    people look for first."""
    groups: dict[str, list[str]] = {}
    for name in sorted(names):
        if not name.startswith(MACHINE):
            groups.setdefault(bare(name), []).append(name)
    order = {name: place for place, name in enumerate(FIRST)}
    return dict(sorted(groups.items(), key=lambda item: (order.get(item[0], len(FIRST)), item[0])))


def bare(name: str) -> str:
    return SPLIT.sub("", name, count=1) or name


def _apart(run: Run, groups: Mapping[str, list[str]]) -> tuple[list[Group], list[Group]]:
    """What becomes a curve, and what a run that is over measured once: a chart of one point shows
    nothing that its number does not."""
    if not groups or not run.is_final:
        return list(groups.items()), []
    counts = MetricSeries.objects.filter(run=run, count__gt=1)
    curves_of = set(counts.values_list("name", flat=True))
    drawn: list[Group] = []
    once: list[Group] = []
    for key, names in groups.items():
        (drawn if curves_of.intersection(names) else once).append((key, names))
    return drawn, once


def _once(run: Run, groups: Sequence[Group], *, besides: Collection[str] = ()) -> dict[str, Any]:
    found = [
        (name, ui.metric(run.metrics[name], key))
        for key, names in groups
        for name in names
        if name not in besides
    ]
    return {"once": found[:MOST_ONCE], "more_once": max(0, len(found) - MOST_ONCE)}


def _charts(run: Run, groups: Iterable[tuple[str, list[str]]]) -> list[Chart]:
    """One query for the series of all, and a few for their points."""
    shown = [(key, names[:MOST_LINES], len(names)) for key, names in groups]
    wanted = [name for _, names, _ in shown for name in names]
    if not wanted:
        return []
    series = metrics.read(run=run, names=wanted, max_points=CHART_POINTS)["series"]
    made: list[Chart] = []
    for key, names, count in shown:
        is_share = ui.is_share(key) and all(_is_part(run.metrics.get(name)) for name in names)
        title = key.replace("_", " ").strip()
        made.append(
            {
                "name": key,
                "title": title[:1].upper() + title[1:],
                "note": f"{MOST_LINES} of {count}" if count > MOST_LINES else "",
                "figure": curves.alike(series, names=names, is_share=is_share),
            }
        )
    return made


def live_values(run: Run) -> dict[str, str]:
    return {one["name"]: one["value"] for one in _stats(run, grouped(run.metrics))}


def _stats(run: Run, groups: Mapping[str, list[str]]) -> list[dict[str, Any]]:
    """The latest of what people look for first, and of what was measured on held-out rows before
    what was measured in training."""
    found = []
    for key, names in list(groups.items())[:STATS]:
        held_out = [name for name in names if not name.startswith("train")]
        name = (held_out or names)[0]
        found.append({"label": name, "value": ui.metric(run.metrics[name], key), "name": name})
    return found


def files(run: Run) -> dict[str, Any]:
    """What MLflow's clients put beside it."""
    groups = []
    for label, rows in tracked_files.of_run(run):
        shown = rows[:MOST_FILES]
        groups.append(
            {
                "label": label,
                "files": shown,
                "count": len(rows),
                "bytes": sum(row.bytes for row in rows),
            }
        )
    return {"file_groups": groups}


def parameters(run: Run) -> dict[str, Any]:
    params: Mapping[str, Any] = run.config.get("params", {})
    plain = {
        name: json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value
        for name, value in params.items()
    }
    return {"params": sorted(plain.items()), **_told(run)}


def _told(run: Run) -> dict[str, Any]:
    """What MLflow's clients say of it: their own tags first, those that clients add last."""
    side: ExperimentRun | None = getattr(run, "experiment_run", None)
    if side is None:
        return {}
    tags = sorted(side.tags.items(), key=lambda tag: (tag[0].startswith("mlflow."), tag[0]))
    return {"told": tags, "experiment": side.experiment.name, "said_user": side.user}


def _is_part(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= value <= 1
