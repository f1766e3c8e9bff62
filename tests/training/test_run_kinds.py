"""Runs of every kind of label and scheme, on their pages: what they are judged by, what moved them,
what came of them."""

import json
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
from django.test import Client
from django.urls import reverse

from distillhub.lib import storage
from projects.models import Project, User
from tests import make
from tests.conftest import signed_in
from training.models import Artifact, Run
from training.views import run_charts
from training.worker import metrics

LATENCY = {"1": {"median": 0.3, "p95": 0.4}, "32": {"median": 3.0, "p95": 4.0}}
SIZE = {"parameters": 25_000, "size_bytes": 100_000, "latency_ms": LATENCY}
PER_CLASS = [{"label": "a", "rows": 5, "precision": 0.9, "recall": 0.8, "f1": 0.85}]

#: By what a label is: task, the student's scores, its details, and words of its pages.
KINDS: dict[str, tuple[str, dict[str, Any], dict[str, Any], list[str]]] = {
    "multi_label": (
        "text-classification",
        {"macro_f1": 0.81, "micro_f1": 0.84, "accuracy": 0.6, "log_loss": 0.2},
        {"per_class": PER_CLASS},
        ["81.0 %", "macro F1", "Validation macro F1", "F1 per class"],
    ),
    "regression": (
        "tabular-classification",
        {"rmse": 2.5, "mae": 2.0, "r2": 0.7, "spearman": 0.8},
        {"truth": [1.0, 2.0, 3.0], "answers": [1.5, 2.5, 2.0]},
        ["2.5000", "RMSE", "R² 0.7000", "Answered and true", "Distance to the teacher"],
    ),
    "writing": (
        "text-generation",
        {
            "perplexity": 12.5, "bits_per_character": 1.9, "token_accuracy": 0.4,
            "exact_match": None, "tokens_per_second": 3200.0,
        },
        {},
        ["12.50", "perplexity", "Written side by side", "a red fox", "3.2k", "bits per character"],
    ),
}  # fmt: skip


@pytest.fixture
def veras(vera: User, project: Project) -> Client:
    return signed_in(vera)


def finished(project: Project, kind: str, folder: Path) -> Run:
    """A distillation with its evaluation, as a row and a file."""
    task, scores, details, _ = KINDS[kind]
    problem = "single_label" if kind == "writing" else kind
    version = make.dataset_version(
        project, task=task, labels=(), reading={"problem": problem}, columns=[]
    )
    student = make.model_version(project, task=task)
    teacher = make.model_version(project, role="teacher", task=task)
    headline = next(iter(scores))
    summary = {
        "steps": 100, "selection_metric": f"val/{headline}", "best_value": scores[headline],
        "student": {"name": "s", **scores, **SIZE}, "teacher": {"name": "t", **scores, **SIZE},
        "agreement": None, "kl": None, "retention": None, "compression": 10.0,
        "problem": problem, "headline": headline, "split": "test", "rows": 10,
        **({"teacher_rmse": 1.2} if kind == "regression" else {}),
    }  # fmt: skip
    run = make.run(
        project, task=task, status="finished", summary=summary, dataset_version=version,
        student=student, step=100, steps=100,
    )  # fmt: skip
    run.config |= {"task": task, "teachers": [teacher.reference]}
    run.save()
    run.teachers.add(teacher)
    run.metrics = metrics.append(
        run,
        [
            metrics.Measured(f"{split}/{name}", 10, value, 0.0)
            for split in ("val", "test")
            for name, value in scores.items()
            if value is not None
        ],
    )
    run.save()
    report = summary | {
        "labels": ["a"] if kind == "multi_label" else [],
        "student": summary["student"] | details,
        "teacher": summary["teacher"] | details,
        "examples": [example(kind)],
        **({"samples": [SAMPLE]} if kind == "writing" else {}),
    }
    path = folder / "evaluation.json"
    path.write_text(json.dumps(report))
    blob = storage.put(path)
    Artifact.objects.create(
        run=run, kind="evaluation", name=path.name, sha256=blob.sha256, bytes=blob.bytes
    )
    return run


SAMPLE = {
    "row_id": 3, "prompt": "a red", "reference": "a red fox", "student": " fog", "teacher": " fox"
}  # fmt: skip


def example(kind: str) -> dict[str, Any]:
    if kind == "writing":
        return {
            "row_id": 3, "input": "text", "student_nll": 1.5, "teacher_nll": 1.2, "tokens": 7,
            "kind": "lost",
        }  # fmt: skip
    return {
        "row_id": 3, "input": None, "label": "2", "student": "3", "student_confidence": None,
        "teacher": "2", "teacher_confidence": None, "kind": "lost",
    }  # fmt: skip


def page(client: Client, run: Run, tab: str = "overview") -> str:
    response = client.get(
        reverse("training:run_detail", args=[run.project.slug, run.number]), {"tab": tab}
    )
    assert response.status_code == 200
    return response.content.decode()


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_is_shown_by_what_it_is_judged_by(
    veras: Client, project: Project, tmp_path: Path, kind: str
) -> None:
    run = finished(project, kind, tmp_path)
    pages = "".join(page(veras, run, tab) for tab in ("overview", "curves", "evaluation"))
    for words in KINDS[kind][3]:
        assert words in pages
    assert "NaN" not in pages
    for chart in run_charts.charts(run, control=None, teachers=list(run.teachers.all())):
        go.Figure(chart["figure"])
    report = run_charts.evaluation(run)
    assert report is not None
    for name in ("confusion", "reliability", "per_class", "scatter"):
        if report.get(name):
            go.Figure(report[name])


@pytest.mark.parametrize("kind", KINDS)
def test_lists_and_the_overview_show_it_too(
    veras: Client, project: Project, tmp_path: Path, kind: str
) -> None:
    run = finished(project, kind, tmp_path)
    shown = veras.get(reverse("training:run_list", args=[project.slug])).content.decode()
    overview = veras.get(reverse("training:project_overview", args=[project.slug]))
    for text in (shown, overview.content.decode()):
        assert run.name in text
    score = KINDS[kind][3][0]
    assert score in overview.content.decode()
    assert "Best result so far" in overview.content.decode()


def test_scores_of_several_kinds_stay_apart_and_say_what_they_are(
    veras: Client, project: Project, tmp_path: Path
) -> None:
    errors = finished(project, "regression", tmp_path)
    shares = [make.distillation(project, accuracy=value) for value in (0.7, 0.9)]
    address = reverse("training:run_list", args=[project.slug])
    page = veras.get(address, {"order": "-score"})
    table = page.context["table"]
    kinds = [row.metric for row in table.rows]
    assert sorted(kinds) == [*["accuracy"] * 4, "rmse"]
    assert kinds == sorted(kinds) or kinds == sorted(kinds, reverse=True)
    runs = [row.run for row in table.rows]
    assert runs.index(shares[1]) < runs.index(shares[0])
    assert errors in runs
    text = page.content.decode()
    assert '<span class="faint small">RMSE</span>' in text
    assert '90.0 % <span class="faint small">accuracy</span>' in text
    assert 'id="by-loss"' not in text  # sums of different terms do not compare
    Run.objects.filter(pk=errors.pk).update(tags=["numbers"])
    assert 'id="by-loss"' in veras.get(address, {"tag": "numbers"}).content.decode()


def test_the_table_orders_by_it_and_marks_the_best(
    veras: Client, project: Project, tmp_path: Path
) -> None:
    worse = finished(project, "regression", tmp_path)
    better = make.run(
        project, task=worse.task, status="finished", dataset_version=worse.dataset_version,
        student=worse.student, summary=worse.summary | {"best_value": 1.5},
    )  # fmt: skip
    better.metrics = metrics.append(better, [metrics.Measured("test/rmse", 10, 1.5, 0.0)])
    better.save()
    address = reverse("training:run_list", args=[project.slug])
    table = veras.get(address, {"order": "-score"}).context["table"]
    assert [row.run.number for row in table.rows] == [better.number, worse.number]
    assert "score" in table.rows[0].is_best
    assert table.test_label == "Test RMSE"
    assert veras.get(address, {"order": "-accuracy"}).status_code == 200  # an older link


# What moved the student ----------------------------------------------------------------------


STAGES = [
    {"name": "layers", "losses": [{"kind": "hidden_states", "weight": 1.0}], "epochs": 2},
    {
        "name": "predictions",
        "losses": [
            {"kind": "soft_targets", "weight": 0.9, "temperature": 4.0,
             "weight_schedule": "linear", "final_weight": 0.1},
            {"kind": "hard_labels", "weight": 0.1},
        ],
    },
]  # fmt: skip


@pytest.fixture
def staged(project: Project) -> Run:
    run = make.run(project, status="training")
    run.config |= {
        "scheme": {"kind": "staged", "combine": "mean", "route_column": ""}, "stages": STAGES
    }  # fmt: skip
    run.save()
    first = {"train/loss": 1.0, "train/hidden_states": 1.0}
    second = {
        "train/loss": 1.0, "train/soft_targets": 1.0, "train/hard_labels": 1.0,
        "train/soft_targets_share": 0.8, "train/hard_labels_share": 0.2,
        "train/soft_targets_weight": 0.5,
    }  # fmt: skip
    metrics.append(
        run,
        [
            metrics.Measured(name, step, value, 0.0)
            for step in range(1, 11)
            for name, value in (first if step < 6 else second).items()
        ],
    )
    return run


def test_every_term_of_every_stage_has_its_curve_and_stages_their_marks(staged: Run) -> None:
    charts = {one["name"]: one for one in run_charts.charts(staged, control=None, teachers=[])}
    lines = [trace["name"] for trace in charts["loss"]["figure"]["data"]]
    assert lines == [
        "total", "hidden states, squared difference", "soft targets, nats", "hard labels, nats",
        "validation",
    ]  # fmt: skip
    shares = charts["shares"]["figure"]["data"]
    assert {trace["stackgroup"] for trace in shares} == {"terms"}
    assert [trace["name"] for trace in charts["weights"]["figure"]["data"]] == ["soft targets"]
    marks = charts["loss"]["figure"]["layout"]["annotations"]
    assert [(mark["x"], mark["text"]) for mark in marks] == [(6, "predictions")]
    for chart in charts.values():
        go.Figure(chart["figure"])


def test_the_configuration_shows_stages_scheme_and_schedules(veras: Client, staged: Run) -> None:
    shown = page(veras, staged, "configuration")
    for words in ("layers", "2 epochs", "predictions", "0.9 → 0.1", "Staged", "combine mean"):
        assert words in shown


def test_one_term_drives_alone(project: Project) -> None:
    names = [one["name"] for one in run_charts.charts(make.run(project), control=None, teachers=[])]
    assert "shares" not in names
    assert "agreement" not in names
