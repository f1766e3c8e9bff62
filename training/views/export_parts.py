"""What the exports of a version's page show, in numbers that templates only have to write."""

from collections.abc import Mapping
from typing import Any

from distillhub.templatetags import ui
from projects.models import ModelVersion
from training import catalog
from training.engine.export_config import FALLING
from training.forms.exports import ExportDraft
from training.models import Export
from training.services import exports

SLOWER = 1.1  # times as long, from which a number is told as slower


def context(version: ModelVersion, draft: ExportDraft | None = None) -> dict[str, Any]:
    """For `_exports.html` and its parts."""
    listed = list(exports.listed(version=version)[:100])
    rows = [_row(export) for export in listed]
    judged = next((row["report"] for row in rows if row["report"]), None)
    return {
        "version": version,
        "model": version.model,
        "export_rows": rows,
        "as_it_is": _as_it_is(judged) if judged else None,
        "unfinished": any(not export.is_final for export in listed),
        "draft": draft or ExportDraft(version, {}),
    }


def _row(export: Export) -> dict[str, Any]:
    return {
        "export": export,
        "label": _label("exporters", export.format),
        "how": _label("compressors", export.compress["kind"]) if export.compress else "",
        "report": export.report,
        "is_folder": export.format == "safetensors" and export.compress is not None,
        "measured": _measured(export.report) if export.report else None,
    }


def _label(kind: str, key: str) -> str:
    found = catalog.find(kind, key)
    return found["label"] if found else key


def _measured(report: Mapping[str, Any]) -> dict[str, Any]:
    """The cells of a row; a tone says whether a number is better or worse than the model's."""
    metric = report["metric"]
    return {
        "size": report["size"]["after"],
        "share": report["size"]["share"],
        "latency": {
            size: {
                "milliseconds": report["latency_ms"]["after"][size]["median"],
                "p95": report["latency_ms"]["after"][size]["p95"],
                "times": report["speed_up"][size],
                "tone": _tone(report["speed_up"][size]),
            }
            for size in ("1", "32")
        },
        "agreement": report["agreement"],
        "metric": metric,
        "change": None if metric is None else _change(metric),
        "others": (report.get("metrics") or [])[1:],  # of texts that are written
    }


def _tone(times: float) -> str:
    if times >= SLOWER:
        return "good"
    return "bad" if times <= 1.0 / SLOWER else "even"


def _change(metric: Mapping[str, Any]) -> dict[str, Any]:
    is_share = ui.is_share(metric["name"])
    points = metric["change"] * (100.0 if is_share else 1.0)
    worse = points > 0 if metric["name"] in FALLING else points < 0
    even = abs(points) < (0.05 if is_share else 1e-6)
    written = f"{points:+.1f} points" if is_share else f"{points:+.3g}"
    return {
        "written": written.replace("-", "−"),
        "tone": "even" if even else "bad" if worse else "good",
    }


def _as_it_is(report: Mapping[str, Any]) -> dict[str, Any]:
    """The model itself, in PyTorch, as the newest report found it."""
    metric = report["metric"]
    return {
        "size": report["size"]["before"],
        "latency": {size: report["latency_ms"]["before"][size] for size in ("1", "32")},
        "metric": metric,
    }
