"""What the tabs of a run's page show, from the run's rows and files."""

import json
from collections.abc import Iterable
from typing import Any

from django.utils import timezone

from distillhub.templatetags import ui
from projects.models import ModelVersion
from training import catalog
from training.charts import curves, fidelity
from training.models import Artifact, Run
from training.services import artifacts as files
from training.services import metrics
from training.worker import comparison

CHART_POINTS = 1000

#: What to do about each code of failure.
ADVICE = {
    "diverged": "The loss left the numbers. Lower the learning rate (a third is a good next try), "
    "or clip gradients harder, and clone the run.",
    "out_of_memory": "The machine ran out of memory. Halve the batch size and double the gradient "
    "accumulation: the result stays the same.",
    "killed": "The process was killed from outside, most often because memory ran out. Try a "
    "smaller batch, then resume from the last checkpoint.",
    "bad_configuration": "Something in the configuration cannot be trained. Clone the run; the "
    "form marks what to change.",
    "bad_data": "The dataset version cannot be used as it is. Its page lists what is wrong.",
    "bad_model": "The model could not be loaded. Its page says what was found in its files.",
    "dataset_changed": "The stored file is not what was recorded. Upload it once more.",
    "no_checkpoint": "There was nothing sound to resume from. Clone the run to begin again.",
    "upstream_failed": "The run it waits for did not finish. Mend that one, then clone this.",
    "worker_lost": "Its machine went away too often. Look at the workers, then resume.",
    "crashed": "This was a surprise. The trace below says where; the console has the lines before.",
}


def overview(run: Run, *, control: Run | None, teachers: list[ModelVersion]) -> dict[str, Any]:
    return {
        "cast": cast(run, control=control, teachers=teachers),
        "verdict": verdict(run),
        "speed_up": speed_up(run),
        "events": list(run.events.select_related("by")),
        "charts": charts(run, control=control, teachers=teachers)[:2],
    }


def cast(run: Run, *, control: Run | None, teachers: list[ModelVersion]) -> list[dict[str, Any]]:
    """Teacher, student and control, each with what is known of it so far."""
    summary = run.summary
    # A test's numbers may stand beside each other only when both come from the same split.
    split = summary.get("split", "test")
    players = []
    if teachers:
        measured = summary.get("teacher") or {
            "accuracy": run.metrics.get(f"teacher/{split}/accuracy")
        }
        players.append(
            {
                "role": "teacher",
                "name": " + ".join(str(teacher) for teacher in teachers),
                "model": teachers[0] if len(teachers) == 1 else None,
                "measured": measured,
                "live": run.metrics.get("teacher/val/accuracy"),
                "parameters": measured.get("parameters") or _sum(teachers, "parameters"),
                "size_bytes": measured.get("size_bytes") or _sum(teachers, "size_bytes"),
            }
        )
    players.append(_player("control" if run.control_of_id else "student", run, split))
    if control is not None:
        players.append(_player("control", control, split) | {"run": control})
    return players


def _player(role: str, run: Run, split: str) -> dict[str, Any]:
    measured = run.summary.get("student") or {"accuracy": run.metrics.get(f"{split}/accuracy")}
    made = run.output or run.student
    return {
        "role": role,
        "name": str(made) if made else run.config.get("student", ""),
        "model": made,
        "measured": measured,
        "live": run.metrics.get("val/accuracy"),
        "parameters": measured.get("parameters") or (made.parameters if made else None),
        "size_bytes": measured.get("size_bytes") or (made.size_bytes if made else None),
        "status": run.status,
    }


def speed_up(run: Run) -> float | None:
    """How many times faster than its teacher the student answers one input on this machine."""
    medians = [
        (run.summary.get(role) or {}).get("latency_ms", {}).get("1", {}).get("median")
        for role in ("teacher", "student")
    ]
    return float(medians[0] / medians[1]) if all(medians) else None


def verdict(run: Run) -> dict[str, Any] | None:
    """The comparison with the control, with its interval placed on a scale of 0 to 100."""
    found: dict[str, Any] | None = run.comparison
    if not found or not found.get("interval"):
        return found
    low, high = found["interval"]
    reach = max(abs(low), abs(high), 1e-6) * 1.25

    def place(value: float) -> float:
        return round(float((value + reach) / (2 * reach) * 100), 2)

    measure = comparison.MEASURES.get(found.get("metric", ""), comparison.ACCURACY)
    edges = [measure.difference(value).replace("-", "−") for value in (low, high)]
    middle = measure.difference(found["difference"]).replace("-", "−")
    return found | {
        "said": [f"{middle} {measure.unit}".strip(), *edges],
        "low_at": place(low),
        "high_at": place(high),
        "width": place(high) - place(low),
        "at": place(found["difference"]),
        "reach": reach,
    }


def charts(run: Run, *, control: Run | None, teachers: list[ModelVersion]) -> list[dict[str, Any]]:
    """Every curve of a run, the two that matter most first. Four queries with a control."""
    series = metrics.read(run=run, max_points=CHART_POINTS)["series"]
    beside = None
    if control is not None:
        found = metrics.read(run=control, names=["val/accuracy"], max_points=CHART_POINTS)
        beside = found["series"].get("val/accuracy")
    terms = [loss["kind"] for loss in run.config.get("losses", [])]
    made = [
        {
            "name": "loss",
            "title": "Loss",
            "figure": curves.losses(series, terms=terms),
        },
        {
            "name": "accuracy",
            "title": "Validation accuracy",
            "figure": curves.quality(
                series,
                teacher=run.metrics.get("teacher/val/accuracy"),
                teacher_name=str(teachers[0].model) if len(teachers) == 1 else "teachers",
                control=beside,
                with_control=control is not None,
            ),
        },
    ]
    if teachers:
        made += [
            {
                "name": "agreement",
                "title": "Agreement with the teacher",
                "note": "validation rows answered alike",
                "figure": curves.agreement(series),
            },
            {
                "name": "kl",
                "title": "Divergence from the teacher",
                "note": "KL in nats, validation",
                "figure": curves.divergence(series),
            },
        ]
    made += [
        {
            "name": "learning_rate",
            "title": "Learning rate",
            "figure": curves.learning_rate(series),
        },
        {
            "name": "throughput",
            "title": "Samples per second",
            "figure": curves.throughput(series),
        },
    ]
    return made


def evaluation(run: Run) -> dict[str, Any] | None:
    """The report of the test split with its figures, or None before there is one."""
    try:
        report = files.evaluation(run=run)
    except files.NotEvaluated:
        return None
    student, teacher = report["student"], report.get("teacher") or {}
    labels = report["labels"]
    return report | {
        "confusion": fidelity.confusion(labels, student["confusion"]),
        "confusion_height": max(440, min(680, 26 * len(labels) + 90)),
        "reliability": fidelity.reliability(student["reliability"], teacher.get("reliability")),
        "per_class": fidelity.per_class(student["per_class"], teacher.get("per_class")),
        "per_class_height": max(200, min(640, 22 * min(len(labels), 24) + 60)),
        "mixups": _mixups(labels, student["confusion"]),
        "examples": [
            (kind, label, [one for one in report.get("examples", []) if one["kind"] == kind])
            for kind, label in (
                ("lost", "Lost to the teacher"),
                ("beat", "Beat the teacher"),
                ("both_wrong", "Both wrong" if teacher else "Wrong answers"),
            )
        ],
    }


def configuration(run: Run) -> dict[str, Any]:
    known = {method["key"]: method for method in catalog.methods()["losses"]}
    terms = [
        {
            "weight": loss.get("weight", 1),
            "label": known.get(loss["kind"], {}).get("label", loss["kind"]),
            "formula": known.get(loss["kind"], {}).get("formula", ""),
            "options": {k: v for k, v in loss.items() if k not in {"kind", "weight"}},
        }
        for loss in run.config.get("losses", [])
    ]
    return {
        "terms": terms,
        "training": run.config.get("training", {}),
        "resources": run.config.get("resources", {}),
        "json": json.dumps(run.config, indent=2, ensure_ascii=False),
    }


def artifacts(rows: Iterable[Artifact]) -> list[tuple[str, list[Artifact]]]:
    """Files by kind, what people come for first."""
    labels = {
        "model": "Model",
        "evaluation": "Evaluation",
        "predictions": "Predictions",
        "checkpoint": "Checkpoints",
    }
    by_kind: dict[str, list[Artifact]] = {kind: [] for kind in labels}
    for row in rows:
        by_kind.setdefault(row.kind, []).append(row)
    return [(labels.get(kind, kind), files) for kind, files in by_kind.items() if files]


def advice(run: Run) -> str:
    code = (run.error or {}).get("code", "")
    return ADVICE.get(code, ADVICE["crashed"]) if run.error else ""


def _mixups(labels: list[str], counts: list[list[int]]) -> list[dict[str, Any]]:
    """The commonest wrong answers."""
    wrong: list[dict[str, Any]] = [
        {"true": labels[row], "answered": labels[column], "count": count, "of": sum(counts[row])}
        for row in range(len(labels))
        for column, count in enumerate(counts[row])
        if count and row != column
    ]
    return sorted(wrong, key=lambda one: one["count"], reverse=True)[:8]


def _sum(versions: list[ModelVersion], name: str) -> int | None:
    known = [getattr(version, name) for version in versions]
    return sum(known) if all(known) else None


def live_values(run: Run) -> dict[str, str]:
    """Every number on the page that moves while the run is live, as it is written there."""
    latest = run.metrics
    elapsed = None
    if run.started_at is not None:
        elapsed = (run.finished_at or timezone.now()) - run.started_at
    return {
        "stage": run.stage or ui.words(run.status),
        "percent": f"{ui.progress_percent(run.fraction)} %",
        "eta": f"about {ui.duration(run.eta_seconds)} left" if run.eta_seconds is not None else "",
        "step": f"step {ui.grouped(run.step)} of {ui.grouped(run.steps)}" if run.steps else "",
        "elapsed": ui.duration(elapsed),
        "loss": ui.metric(latest.get("train/loss")),
        "validation": ui.percent(latest.get("val/accuracy")),
        "agreement": ui.percent(latest.get("val/agreement")),
        "learning_rate": ui.metric(latest.get("train/learning_rate"), "learning_rate"),
        "speed": ui.compact(latest.get("train/samples_per_second")),
    }
