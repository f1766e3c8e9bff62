"""What the tabs of a run's page show, from the run's rows and files."""

import json
from collections.abc import Iterable
from typing import Any

from django.utils import timezone

from distillhub.templatetags import ui
from projects.models import ModelVersion
from training import catalog
from training.engine import terms as engine_terms
from training.forms import run_terms
from training.models import Artifact, Run
from training.services import queue, run_removal
from training.views import run_charts
from training.worker import comparison, failures

OF_A_PAIR = ("neighbours", "cosine")  # of a run's summary: said of student and teacher together


def overview(run: Run, *, control: Run | None, teachers: list[ModelVersion]) -> dict[str, Any]:
    return {
        "cast": cast(run, control=control, teachers=teachers),
        **judged_by(run),
        "verdict": verdict(run),
        "speed_up": speed_up(run),
        "method": method(run),
        "events": list(run.events.select_related("by")),
        "charts": run_charts.charts(run, control=control, teachers=teachers)[:2],
    }


def judged_by(run: Run) -> dict[str, str]:
    name = run_charts.headline(run)
    return {"headline": name, "headline_words": ui.measure(name)}


def cast(run: Run, *, control: Run | None, teachers: list[ModelVersion]) -> list[dict[str, Any]]:
    """Teacher, student and control, each with what is known of it so far."""
    summary, headline = run.summary, run_charts.headline(run)
    # A test's numbers may stand beside each other only when both come from the same split.
    split = summary.get("split", "test")
    players = []
    if teachers:
        measured = summary.get("teacher") or {
            headline: run.metrics.get(f"teacher/{split}/{headline}")
        }
        players.append(
            {
                "role": "teacher",
                "name": " + ".join(str(teacher) for teacher in teachers),
                "model": teachers[0] if len(teachers) == 1 else None,
                "measured": measured,
                "score": measured.get(headline),
                "live": run.metrics.get(f"teacher/val/{headline}"),
                "parameters": measured.get("parameters") or _sum(teachers, "parameters"),
                "size_bytes": measured.get("size_bytes") or _sum(teachers, "size_bytes"),
                "said": _said(teachers, summary, split),
            }
        )
    role = "control" if run.control_of_id else "student"
    players.append(_player(role, run, split, headline))
    if control is not None:
        players.append(_player("control", control, split, headline) | {"run": control})
    return players


def _said(teachers: list[ModelVersion], summary: dict[str, Any], split: str) -> str:
    """Of teachers that are nothing but recorded answers: where, and of how many rows."""
    if not all(one.is_recorded for one in teachers):
        return ""
    where = " and ".join(dict.fromkeys(one.source["dataset"] for one in teachers))
    spoken = (summary.get("teacher") or {}).get("rows")
    of = "" if spoken is None else f"; scored on {spoken} of {summary['rows']} {split} rows"
    return f"Nobody was asked: recorded in {where}{of}."


def _player(role: str, run: Run, split: str, headline: str) -> dict[str, Any]:
    measured = run.summary.get("student") or {headline: run.metrics.get(f"{split}/{headline}")}
    # Embeddings are judged by what they share with their teacher's: of the pair, not of one.
    pair = {name: run.summary[name] for name in OF_A_PAIR if name in run.summary}
    made = run.output or run.student
    return {
        "role": role,
        "name": str(made) if made else run.config.get("student", ""),
        "model": made,
        "measured": pair | measured,
        "score": measured.get(headline, pair.get(headline)),
        "live": run.metrics.get(f"val/{headline}"),
        "parameters": measured.get("parameters") or (made.parameters if made else None),
        "size_bytes": measured.get("size_bytes") or (made.size_bytes if made else None),
        "is_upper_bound": not measured.get("parameters") and bool(made and made.is_upper_bound),
        "status": run.status,
    }


def speed_up(run: Run) -> float | None:
    """How many times faster than its teacher the student answers one input on this machine."""
    medians = [
        (run.summary.get(role) or {}).get("latency_ms", {}).get("1", {}).get("median")
        for role in ("teacher", "student")
    ]
    return float(medians[0] / medians[1]) if all(medians) else None


def method(run: Run) -> str:
    """`soft targets, offline`: how it learns, in words of the catalog."""
    asked = run.config.get("scheme") or "offline"
    kind = asked if isinstance(asked, str) else asked.get("kind", "offline")
    if not run.config.get("teachers") and kind == "offline":
        return "fine-tuning"
    if kind == comparison.PREFERENCES:
        return "direct preference optimization"
    scheme = catalog.find("schemes", kind)
    return f"{scheme['label'].lower() if scheme else kind} distillation"


def verdict(run: Run) -> dict[str, Any] | None:
    """The comparison with the control."""
    return placed(run.comparison)


def placed(found: dict[str, Any] | None) -> dict[str, Any] | None:
    """A comparison with its interval placed on a scale of 0 to 100."""
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


def configuration(run: Run) -> dict[str, Any]:
    config = run.config
    scheme = config.get("scheme", "offline")
    options = dict(scheme) if isinstance(scheme, dict) else {"kind": scheme}
    kind = options.pop("kind", "offline")
    return {
        "stages": _sums(run),
        "scheme": catalog.find("schemes", kind) or {"label": kind},
        "scheme_options": options,
        "training": config.get("training", {}),
        "resources": config.get("resources", {}),
        "json": json.dumps(config, indent=2, ensure_ascii=False),
    }


def _sums(run: Run) -> list[dict[str, Any]]:
    """What is minimised: one sum, or one a stage, each term with its options and its formula."""
    problem = catalog.problem_of(run.task, run.data.problem)
    sums = []
    for stage in run.config.get("stages") or [run.config]:
        losses = [run_terms.written(loss) for loss in stage.get("losses", [])]
        shown = run_terms.shown(catalog.methods(), losses, at="", problem=problem, faults={})
        own = {"kind", "weight", *engine_terms.SCHEDULED}
        sums.append(
            {
                "name": stage.get("name", "") if run.config.get("stages") else "",
                "epochs": stage.get("epochs"),
                "learning_rate": stage.get("learning_rate"),
                "terms": shown,
                "rows": [
                    (term, {name: value for name, value in loss.items() if name not in own})
                    for term, loss in zip(shown, stage.get("losses", []), strict=True)
                ],
            }
        )
    return sums


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


def failure(run: Run) -> dict[str, Any] | None:
    """What a failed run says of itself, with what to try; one that failed before such reports were
    written has the advice of its code."""
    if not run.error:
        return None
    error: dict[str, Any] = run.error
    found = failures.cause(error.get("code", ""), error.get("detail", ""))
    told = {"title": found.title, "advice": found.tries(run.config), "memory": {}} | error
    return told | {"said": "\n".join(error.get("last_lines", []))}


def losses(run: Run) -> str:
    """What is lost with the run when it is deleted, in words."""
    found = run_removal.losses(run=run)
    gone = ["its settings", "its console"]
    if found.series:
        gone.append(f"{ui.grouped(found.series)} curve{'s' * (found.series > 1)}")
    if found.files:
        files = f"{ui.grouped(found.files)} file{'s' * (found.files > 1)}"
        gone.append(f"{files} ({ui.filesize(found.bytes)})")
    gone += [f"its control, run {number}" for number in found.controls]
    stays = f" The model {run.output} that it made stays." if run.output else ""
    return f"Gone for good: {', '.join(gone)}.{stays}"


def _sum(versions: list[ModelVersion], name: str) -> int | None:
    known = [getattr(version, name) for version in versions]
    return sum(known) if all(known) else None


def live_values(run: Run, place: queue.Place | None = None) -> dict[str, str]:
    """Every number on the page that moves while the run is live, as it is written there; `place` is
    where it waits."""
    latest, headline = run.metrics, run_charts.headline(run)
    elapsed = None
    if run.started_at is not None:
        elapsed = (run.finished_at or timezone.now()) - run.started_at
    return {
        "stage": "pausing" if run.is_pausing else run.stage or ui.words(run.status),
        "queue": place.said if place is not None else "",
        "percent": f"{ui.progress_percent(run.fraction)} %",
        "eta": _left(run),
        "step": f"step {ui.grouped(run.step)} of {ui.grouped(run.steps)}" if run.steps else "",
        "elapsed": ui.duration(elapsed),
        "loss": ui.metric(latest.get("train/loss")),
        "validation": ui.metric(latest.get(f"val/{headline}"), headline),
        "agreement": ui.percent(latest.get("val/agreement")),
        "learning_rate": ui.metric(latest.get("train/learning_rate"), "learning_rate"),
        "speed": ui.compact(latest.get("train/samples_per_second")),
    }


def _left(run: Run) -> str:
    """How long it will train on; of a run that is being stopped, or rests, nobody can say."""
    if run.status not in Run.WORKING or run.is_pausing or run.eta_seconds is None:
        return ""
    return f"about {ui.duration(run.eta_seconds)} left"
