"""Makers of rows for tests: real rows through the ORM, each with sensible defaults."""

import io
from datetime import timedelta
from itertools import count
from typing import Any
from uuid import uuid4

from django.utils import timezone
from PIL import Image

from projects.models import (
    Dataset,
    DatasetVersion,
    Membership,
    ModelVersion,
    Project,
    RegisteredModel,
    Role,
    User,
    Webhook,
)
from training.models import (
    AlertChannel,
    Experiment,
    Export,
    Incident,
    LogChunk,
    LoggedModel,
    Monitor,
    MonitorLook,
    Publication,
    Retraining,
    RowMap,
    Run,
    RunImport,
    Study,
    TeacherGate,
    TeacherOutputs,
    TeacherQuestion,
    Worker,
)
from training.services import retraining_policy
from training.worker import metrics

_numbers = count(1)


def user(username: str = "") -> User:
    username = username or f"person-{next(_numbers)}"
    return User.objects.create_user(username, f"{username}@example.org", "correct horse battery")


def project(
    name: str = "", *, owner: User, editor: User | None = None, viewer: User | None = None
) -> Project:
    name = name or f"project-{next(_numbers)}"
    made = Project.objects.create(name=name, slug=name, created_by=owner)
    roles = {Role.OWNER: owner, Role.EDITOR: editor, Role.VIEWER: viewer}
    for role, person in roles.items():
        if person is not None:
            Membership.objects.create(project=made, user=person, role=role)
    return made


def dataset_version(
    project: Project,
    name: str = "",
    *,
    task: str = "text-classification",
    labels: tuple[str, ...] = ("no", "yes"),
    **fields: Any,
) -> DatasetVersion:
    """The next version of a dataset, ready, as a row alone: it has no file."""
    dataset, _ = Dataset.objects.get_or_create(
        project=project,
        name=name or f"dataset-{next(_numbers)}",
        defaults={"task": task, "created_by": project.created_by},
    )
    splits = {
        split: {"rows": rows, "labelled": rows, "label_counts": {}}
        for split, rows in (("train", 80), ("validation", 10), ("test", 10))
    }
    defaults = {
        "status": DatasetVersion.Status.READY,
        "labels": list(labels),
        "splits": splits,
        "rows": 100,
        "fingerprint": "f" * 64,
        "created_by": project.created_by,
    }
    number = dataset.versions.count() + 1
    return DatasetVersion.objects.create(dataset=dataset, number=number, **defaults | fields)


def model_version(
    project: Project,
    name: str = "",
    *,
    role: str = "student",
    task: str = "text-classification",
    **fields: Any,
) -> ModelVersion:
    """The next version of a model, ready, as a row alone: an architecture without weights."""
    model, _ = RegisteredModel.objects.get_or_create(
        project=project,
        name=name or f"model-{next(_numbers)}",
        defaults={"role": role, "task": task, "created_by": project.created_by},
    )
    defaults = {
        "status": ModelVersion.Status.READY,
        "source": {"kind": "architecture", "architecture": "bag_of_embeddings"},
        "architecture": "bag_of_embeddings",
        "created_by": project.created_by,
    }
    number = model.versions.count() + 1
    return ModelVersion.objects.create(model=model, number=number, **defaults | fields)


def experiment(project: Project, **fields: Any) -> Experiment:
    """As MLflow's clients make one; Default, unless it has a number."""
    made, _ = Experiment.objects.get_or_create(
        project=project, number=fields.pop("number", 0), defaults={"name": "Default"} | fields
    )
    return made


def logged_model(project: Project, **fields: Any) -> LoggedModel:
    defaults = {"experiment": experiment(project), "key": f"m-{uuid4().hex}", "name": "logged"}
    return LoggedModel.objects.create(project=project, **defaults | fields)


def run(project: Project, **fields: Any) -> Run:
    """A queued run, as a row alone; give it a status to have it elsewhere in its life."""
    number = fields.pop("number", None) or project.runs.count() + 1
    version = fields.pop("dataset_version", None) or dataset_version(project)
    student = fields.pop("student", None) or model_version(project)
    config = {
        "name": f"run {number}",
        "task": "text-classification",
        "dataset": version.reference,
        "student": student.reference,
        "teachers": [],
        "scheme": "offline",
        "losses": [{"kind": "hard_labels", "weight": 1.0}],
        "training": {"epochs": 1, "batch_size": 16, "seed": 0, "selection_metric": "val/accuracy"},
        "teacher_outputs": "auto",
        "control": False,
        "exports": [],
        "resources": {"queue": "default", "gpus": 0},
    }
    defaults = {
        "name": config["name"],
        "task": "text-classification",
        "config": config,
        "dataset_version": version,
        "student": student,
        "created_by": project.created_by,
        "queued_at": timezone.now(),
    }
    return Run.objects.create(project=project, number=number, **defaults | fields)


def tracked(project: Project, **fields: Any) -> Run:
    """A run that is trained elsewhere, in training."""
    number = fields.pop("number", None) or project.runs.count() + 1
    defaults: dict[str, Any] = {
        "name": f"run {number}",
        "status": Run.Status.TRAINING,
        "origin": Run.Origin.TRACKED,
        "config": {"params": {}},
        "created_by": project.created_by,
        "started_at": timezone.now(),
        "heard_at": timezone.now(),
    }
    return Run.objects.create(project=project, number=number, **defaults | fields)


def distillation(project: Project, *, accuracy: float = 0.88, control: float = 0.85) -> Run:
    """A finished distillation with its control, scores, verdict, curves, console and timeline."""
    version = dataset_version(project)
    teacher = model_version(project, role="teacher", parameters=2_500_000, size_bytes=10_000_000)
    student = model_version(project, parameters=25_000, size_bytes=100_000)

    def scores(name: str, value: float, parameters: int, milliseconds: float) -> dict[str, Any]:
        latency = {"median": milliseconds, "p95": milliseconds * 1.2}
        return {
            "name": name,
            "accuracy": value,
            "macro_f1": value,
            "log_loss": 0.4,
            "ece": 0.03,
            "parameters": parameters,
            "size_bytes": parameters * 4,
            "latency_ms": {"1": latency, "32": latency},
            "samples_per_second": 4000.0,
        }

    summary = {
        "steps": 100,
        "epochs": 1,
        "best_step": 90,
        "selection_metric": "val/accuracy",
        "best_value": accuracy,
        "seconds": 60.0,
        "student": scores(student.reference, accuracy, 25_000, 0.3),
        "teacher": scores(teacher.reference, 0.9, 2_500_000, 4.2),
        "agreement": 0.9,
        "kl": 0.1,
        "retention": accuracy / 0.9,
        "compression": 100.0,
        "split": "test",
        "rows": 1000,
    }
    shared = {"dataset_version": version, "student": student, "status": Run.Status.FINISHED}
    now = timezone.now()
    times = {"started_at": now - timedelta(minutes=2), "finished_at": now, "fraction": 1.0}
    made = run(project, summary=summary, step=100, steps=100, **shared, **times)
    made.config |= {
        "teachers": [teacher.reference],
        "losses": [
            {"kind": "soft_targets", "weight": 0.9, "temperature": 4.0},
            {"kind": "hard_labels", "weight": 0.1},
        ],
    }
    made.teachers.add(teacher)
    alone = summary | {
        "student": scores(student.reference, control, 25_000, 0.3),
        "teacher": None,
    }
    other = run(project, summary=alone, control_of=made, **shared, **times)
    made.comparison = {
        "control": other.number,
        "metric": "accuracy",
        "split": "test",
        "rows": 1000,
        "student": accuracy,
        "control_value": control,
        "difference": accuracy - control,
        "interval": [accuracy - control - 0.01, accuracy - control + 0.01],
        "level": 0.95,
        "answer": "helped",
        "sentence": "The student beats its control by 3.0 points on the same 1000 rows.",
    }
    points = [
        metrics.Measured(name, step, value, now.timestamp())
        for step in range(10, 101, 10)
        for name, value in (
            ("train/loss", 4.0 / step),
            ("train/soft_targets", 3.0 / step),
            ("train/hard_labels", 5.0 / step),
            ("val/accuracy", accuracy * step / 100),
        )
    ]
    made.metrics = metrics.append(made, points) | {
        "teacher/val/accuracy": 0.91,
        "test/accuracy": accuracy,
    }
    made.save()
    line = {"n": 1, "time": now.timestamp(), "level": "info", "text": "epoch 1 of 1"}
    LogChunk.objects.create(run=made, index=0, first_line=1, count=1, lines=[line])
    made.tell("created", "Launched.", by=project.created_by)
    return made


def strategies(project: Project, number: int = 1) -> Study:
    """A study of strategies that is over, with its conclusion, as rows alone."""
    compared: dict[str, Any] = {
        "arm": "distilled", "against": "control", "metric": "accuracy", "unit": "points",
        "difference": 0.05, "interval": [0.02, 0.08], "level": 0.95, "answer": "helped",
        "seeds": 2, "rows": 30, "sentence": "Distilling is better than training on labels alone.",
    }  # fmt: skip
    left_out = {"arm": "frozen", "label": "Frozen backbone", "sentence": "It has no weights yet."}
    conclusion = {"best": "distilled", "against": {"control": "helped"}}
    found = Study.objects.create(
        project=project,
        number=number,
        kind="strategies",
        name="Which way?",
        asked={"base": {}, "seeds": [0, 1], "left_out": [left_out]},
        status=Study.Status.FINISHED,
        report={
            "comparisons": [compared, compared | {"arm": "taught_by_tuned"}],
            "verdict": {name: compared[name] for name in compared if name != "rows"},
            "conclusion": conclusion | {"sentences": ["Distilling is best."]},
        },
        created_by=project.created_by,
    )
    first = project.runs.latest("-number")
    part = {"seconds": 12.0, "energy_wh": 0.05, "cost": 0.001}
    spent = dict.fromkeys(("training", "asking", "evaluating"), part)
    for arm, score in (("control", 0.8), ("distilled", 0.85), ("taught_by_tuned", 0.84)):
        for seed in (0, 1):
            told = {"headline": "accuracy", "student": {"accuracy": score + seed / 100}}
            run(
                project, status="finished", study=found, arm=arm, summary=told | {"spent": spent},
                dataset_version=first.data, student=first.student,
            )  # fmt: skip
    return found


def picture() -> bytes:
    """A small PNG."""
    out = io.BytesIO()
    Image.new("L", (4, 4), 128).save(out, "PNG")
    return out.getvalue()


def export(version: ModelVersion, dataset: DatasetVersion, **fields: Any) -> Export:
    """A ready export of a version with a report, as a row alone; `files` are not in storage."""
    latency = {"median": 0.3, "p95": 0.4}
    half = {"median": 0.15, "p95": 0.2}
    report = {
        "rows": 100,
        "split": "validation",
        "agreement": 0.99,
        "kl": 0.001,
        "difference": {"max": 0.1, "mean": 0.01},
        "metric": {"name": "accuracy", "before": 0.9, "after": 0.89, "change": -0.01},
        "said": "",
        "parameters": {"before": 1000, "after": 1000},
        "size": {"before": 4000, "after": 1100, "share": 0.275, "files": 2000, "packed": 1000},
        "latency_ms": {
            "before": {"1": latency, "32": latency},
            "after": {"1": half, "32": half},
        },
        "speed_up": {"1": 2.0, "32": 2.0},
        "threads": 1,
        "recommended": True,
        "sentence": "It is 2.0 times as fast.",
    }
    defaults = {
        "status": Export.Status.READY,
        "format": "onnx-int8",
        "options": {"opset": 20, "per_channel": True},
        "dataset_version": dataset,
        "report": report,
        "created_by": version.created_by,
        "finished_at": timezone.now(),
    }
    return Export.objects.create(version=version, **defaults | fields)


def webhook(project: Project, name: str = "ci", **fields: Any) -> Webhook:
    """As a row alone: what is sealed in it opens nowhere."""
    columns = {"host": "hooks.example.com", "sealed": "x", "created_by": project.created_by}
    return Webhook.objects.create(project=project, name=name, **columns | fields)


def publication(version: ModelVersion, **fields: Any) -> Publication:
    """A publication that waits for a worker, as a row alone."""
    defaults = {
        "endpoint": "https://huggingface.co",
        "repository": "acme/small",
        "message": "small",
        "card": "# small\n",
        "created_by": version.created_by,
    }
    return Publication.objects.create(version=version, **defaults | fields)


def run_import(project: Project, **fields: Any) -> RunImport:
    """An import that waits for a worker, as a row alone."""
    defaults = {"kind": "file", "place": "metrics.csv", "created_by": project.created_by}
    return RunImport.objects.create(project=project, **defaults | fields)


def looked_into(project: Project) -> RunImport:
    """An import in which a worker found a run, and one of which something is left out."""
    one = {
        "tracker": "MLflow", "status": "finished", "started": 1.7e9, "series": 2, "points": 80,
        "params": 3, "files": 1, "left_out": [], "run": None,
    }  # fmt: skip
    found = [
        {**one, "key": f"mlflow:{'0' * 32}", "name": "small, no teacher"},
        {**one, "key": f"mlflow:{'1' * 32}", "name": "broken", "left_out": ["Points of loss."]},
    ]
    report = {"runs": 2, "points": 160, "known": 0, "left_out": ["Deleted runs (1)."]}
    return run_import(project, status="ready", report={**report, "found": found})


def gate(
    version: ModelVersion, dataset: DatasetVersion, *, accuracy: float = 0.9, **fields: Any
) -> TeacherGate:
    """A ready gate of a version with a report, as a row alone."""
    soft = [
        {"temperature": one, "entropy": 0.1 * one, "other_mass": 0.05 * one}
        for one in (1.0, 2.0, 4.0, 8.0)
    ]
    bins = [
        {"low": 0.8, "high": 0.9, "count": 6, "confidence": 0.85, "accuracy": 0.8},
        {"low": 0.9, "high": 1.0, "count": 4, "confidence": 0.95, "accuracy": 1.0},
    ]
    report = {
        "split": "validation",
        "rows": 10,
        "labelled": 10,
        "problem": "single_label",
        "metric": "accuracy",
        "metrics": {"accuracy": accuracy, "macro_f1": accuracy, "log_loss": 0.3, "ece": 0.02},
        "baseline": {"metric": "accuracy", "value": 0.5, "label": 0},
        "softness": soft,
        "proposed": soft[0],
        "reliability": bins,
        "stored": {"asked": 100, "found": 0},
        "rows_per_second": 900.0,
        "recommended": accuracy > 0.5,
        "sentence": f"It is right on {100 * accuracy:.1f} % of 10 validation rows.",
    }
    defaults = {
        "status": TeacherGate.Status.READY,
        "report": report,
        "created_by": version.created_by,
    }
    return TeacherGate.objects.create(version=version, dataset_version=dataset, **defaults | fields)


def row_map(dataset_version: DatasetVersion, **fields: Any) -> RowMap:
    """A map in the built-in way that waits for a worker, as a row alone."""
    defaults = {
        "plane": "principal",
        "key": f"{next(_numbers):064x}",
        "created_by": dataset_version.created_by,
    }
    return RowMap.objects.create(dataset_version=dataset_version, **defaults | fields)


def worker(name: str = "box:1", **fields: Any) -> Worker:
    """A worker that is there, as a row alone."""
    host, _, pid = name.partition(":")
    defaults = {
        "host": host,
        "pid": int(pid),
        "queues": ["default"],
        "capacity": 2,
        "machine": {"cpus": 4, "memory_bytes": 16 << 30, "gpus": [], "home": "0" * 36},
        "seen_at": timezone.now(),
    }
    return Worker.objects.create(name=name, **{**defaults, **fields})


def teacher_outputs(
    dataset: DatasetVersion, teacher_name: str = "big@1", **fields: Any
) -> TeacherOutputs:
    """What a machine has stored of a teacher's answers to a dataset, as a row alone."""
    now = timezone.now()
    defaults = {
        "home": "0" * 36,
        "host": "machine",
        "key": f"{next(_numbers):064x}",
        "kind": "logits",
        "split": "train",
        "fingerprint": dataset.fingerprint,
        "teacher": "1" * 64,
        "teacher_name": teacher_name,
        "rows": 80,
        "bytes": 4000,
        "made_at": now,
        "last_used": now,
    }
    return TeacherOutputs.objects.create(**defaults | fields)


def incident(of: Monitor, **fields: Any) -> Incident:
    """One that is open since an hour, by two signals."""
    began = timezone.now() - timedelta(hours=1)
    told: dict[str, Any] = {"detector": "psi", "since": began.isoformat(), "closed_at": None}
    defaults: dict[str, Any] = {
        "number": 1,
        "severity": "serious",
        "signals": [
            {"signal": "described.length", "effect": 0.31, "severity": "critical", **told},
            {"signal": "prediction", "effect": 0.12, "severity": "serious", **told},
        ],
        "sentence": "Since 2 Mar 14:00 UTC the inputs' length and the predictions moved.",
        "since": began,
        "opened_at": began,
    }
    made = Incident.objects.create(project=of.project, monitor=of, **defaults | fields)
    made.events.create(kind="opened", sentence=made.sentence)
    return made


def alert_channel(project: Project, **fields: Any) -> AlertChannel:
    """E-mail to somebody."""
    defaults: dict[str, Any] = {
        "name": "ops",
        "kind": "email",
        "place": "ops@example.com",
        "created_by": project.created_by,
    }
    return AlertChannel.objects.create(project=project, **defaults | fields)


def monitor(version: ModelVersion, **fields: Any) -> Monitor:
    """Of a version, as a row alone: no worker was asked to take its reference."""
    defaults: dict[str, Any] = {
        "name": "live",
        "task": version.model.task,
        "labels": version.labels,
        "model": version.model,
        "version": version,
        "window_rows": 500,
        "salt": "salt",
        "created_by": version.created_by,
    }
    return Monitor.objects.create(project=version.model.project, **defaults | fields)


def retraining(of: Monitor, **fields: Any) -> Retraining:
    """One that is proposed, as a row alone."""
    sentence = "Incident 1: students and teacher agree less since 2 Mar 14:00 UTC."
    step = {"at": timezone.now().isoformat(), "sentence": sentence, "by": None}
    defaults: dict[str, Any] = {
        "number": 1,
        "policy": retraining_policy.of(of),
        "sentence": sentence,
        "steps": [{"was": "proposed", "status": "proposed", **step}],
        "champion": of.version,
        "created_by": of.created_by,
    }
    return Retraining.objects.create(project=of.project, monitor=of, **defaults | fields)


def monitor_look(version: ModelVersion, **fields: Any) -> MonitorLook:
    """Of a monitor of its own: each has one at a time."""
    watched = monitor(version, name=f"live-{Monitor.objects.count()}")
    return MonitorLook.objects.create(monitor=watched, created_by=version.created_by, **fields)


def teacher_question(version: ModelVersion, **fields: Any) -> TeacherQuestion:
    """About canaries of a monitor of its own, whose rows stand in the version's first file."""
    service = {"kind": "api", "api": "openai-chat", "base_url": "http://127.0.0.1:9/v1"}
    asked = model_version(version.model.project, role="teacher", source=service | {"model": "big"})
    watched = monitor(
        version,
        name=f"asked-{Monitor.objects.count()}",
        teacher=asked,
        reference={"canaries": ["1"]},
        reference_files=[{**version.files[0], "name": "reference_rows.parquet"}],
        fitted_at=timezone.now(),
    )
    defaults = {"kind": "canaries", "rows": 1, "created_by": version.created_by}
    return TeacherQuestion.objects.create(monitor=watched, version=asked, **defaults | fields)
