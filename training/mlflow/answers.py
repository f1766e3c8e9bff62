"""What clients read: rows as MLflow writes them. Ids are texts, times milliseconds since 1970."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from projects.models import ModelVersion, RegisteredModel
from training.models import Experiment, ExperimentRun, LoggedModel, RegistryNote, Run, RunInput
from training.services import client_registry, experiment_runs, logged_models
from training.services.experiments import millis
from training.worker.metrics import Measured, as_json

JSON = dict[str, Any]


def pairs(found: Mapping[str, str]) -> list[JSON]:
    return [{"key": key, "value": value} for key, value in found.items()]


def stage(is_deleted: bool) -> str:
    return "deleted" if is_deleted else "active"


def experiment(one: Experiment) -> JSON:
    return {
        "experiment_id": str(one.number),
        "name": one.name,
        "artifact_location": f"mlflow-artifacts:/{one.number}",
        "lifecycle_stage": stage(one.deleted_at is not None),
        "creation_time": millis(one.created_at),
        "last_update_time": millis(one.changed_at),
        "tags": pairs(one.tags),
    }


def run_info(one: ExperimentRun) -> JSON:
    run, number = one.run, one.experiment.number
    found = {
        "run_id": one.key,
        "run_uuid": one.key,
        "run_name": run.name,
        "experiment_id": str(number),
        "user_id": one.user,
        "status": experiment_runs.status(one),
        "start_time": millis(run.started_at),
        "artifact_uri": f"mlflow-artifacts:/{number}/{one.key}/artifacts",
        "lifecycle_stage": stage(experiment_runs.is_deleted(one)),
    }
    if run.is_final:
        found["end_time"] = millis(run.finished_at)
    return found


def run(one: ExperimentRun) -> JSON:
    """Two queries."""
    return runs([one])[0]


def runs(found: Sequence[ExperimentRun]) -> list[JSON]:
    """Two queries, however many."""
    latest = experiment_runs.latest(one.run for one in found)
    inputs: dict[int, list[JSON]] = {}
    for given in RunInput.objects.filter(run__in=[one.pk for one in found]):
        inputs.setdefault(given.run_id, []).append(_input(given))
    return [
        {
            "info": run_info(one),
            "data": {
                "metrics": [point(measured) for measured in latest[one.pk]],
                "params": pairs(experiment_runs.params(one.run)),
                "tags": pairs(experiment_runs.tags(one)),
            },
            "inputs": {"dataset_inputs": inputs.get(one.pk, [])},
            "outputs": {"model_outputs": one.outputs},
        }
        for one in found
    ]


def of_runs(found: Iterable[Run]) -> list[ExperimentRun]:
    """Their other sides, each knowing its run."""
    sides = []
    for one in found:
        side = one.experiment_run
        side.run = one
        sides.append(side)
    return sides


def _input(given: RunInput) -> JSON:
    dataset = {"name": given.name, "digest": given.digest, **given.told}
    return {"dataset": dataset, "tags": pairs(given.tags)}


def point(measured: Measured) -> JSON:
    return {
        "key": measured.name,
        "value": as_json(measured.value),
        "timestamp": round(measured.time * 1000),
        "step": measured.step,
    }


def logged_model(one: LoggedModel) -> JSON:
    number = one.experiment.number
    tags = {key: value for key, value in one.tags.items() if key != logged_models.TYPE}
    info = {
        "model_id": one.key,
        "experiment_id": str(number),
        "name": one.name,
        "creation_timestamp_ms": millis(one.created_at),
        "last_updated_timestamp_ms": millis(one.changed_at),
        "artifact_uri": f"mlflow-artifacts:/{number}/models/{one.key}/artifacts",
        "status": one.status,
        "tags": pairs(tags),
    }
    if key := logged_models.run_key(one):
        info["source_run_id"] = key
    if kind := one.tags.get(logged_models.TYPE):
        info["model_type"] = kind
    return {"info": info, "data": {"params": pairs(dict(one.params))}}


def registered_model(
    one: RegisteredModel, note: RegistryNote | None, newest: Sequence[ModelVersion]
) -> JSON:
    changed = [client_registry.changed_at(version) for version in one.versions.all()]
    found = {
        "name": one.name,
        "creation_timestamp": millis(one.created_at),
        "last_updated_timestamp": millis(max([*changed, one.created_at])),
        "latest_versions": [version(each) for each in newest],
        "tags": pairs(note.tags if note is not None else {}),
        "aliases": [
            {"alias": alias.name, "version": str(alias.version.number)}
            for alias in one.aliases.all()
        ],
    }
    return {**found, "description": one.description} if one.description else found


def registered_models(found: Sequence[RegisteredModel]) -> list[JSON]:
    notes = client_registry.notes_on(found)
    return [registered_model(one, notes.get(one.pk), client_registry.latest(one)) for one in found]


def version(one: ModelVersion) -> JSON:
    note = client_registry.note_of(one)
    found = {
        "name": one.model.name,
        "version": str(one.number),
        "creation_timestamp": millis(one.created_at),
        "last_updated_timestamp": millis(client_registry.changed_at(one)),
        "current_stage": client_registry.stage_of(one),
        "description": note.description if note is not None else "",
        "source": client_registry.source(one),
        "run_id": str(one.source.get("run_id") or ""),
        "run_link": "",
        "status": STATES[ModelVersion.Status(one.status)],
        "tags": pairs(note.tags if note is not None else {}),
        "aliases": [alias.name for alias in one.aliases.all()],
    }
    if one.source.get("model_id"):
        found["model_id"] = one.source["model_id"]
    if one.status == ModelVersion.Status.FAILED:
        found["status_message"] = (one.error or {}).get("detail", "")
    return found


STATES = {
    ModelVersion.Status.READY: "READY",
    ModelVersion.Status.INSPECTING: "PENDING_REGISTRATION",
    ModelVersion.Status.FAILED: "FAILED_REGISTRATION",
}
