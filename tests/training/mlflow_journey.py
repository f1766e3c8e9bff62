"""What a person's program does with MLflow's own client: run as a program, it knows nothing of
DistillHub but MLFLOW_TRACKING_URI and its token, and prints what it read as JSON."""

import json
import math
import sys
import tempfile
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.data.http_dataset_source import HTTPDatasetSource
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException

FOUND: dict[str, Any] = {}
META: Any = MetaDataset
OF_HTTP: Any = HTTPDatasetSource


def code_of(act: Any) -> str:
    """The word for what is refused."""
    try:
        act()
    except MlflowException as fault:
        return f"{fault.error_code}: {fault.message}"
    return "allowed"


def training(folder: Path) -> str:
    """The few lines that everybody writes."""
    mlflow.set_experiment("digits")
    with mlflow.start_run(run_name="first", description="A *note*.", tags={"who": "me"}) as run:
        mlflow.log_param("lr", 5e-05)
        mlflow.log_params({"epochs": 3, "net": "cnn", "dropout": 0.1, "none": None, "on": True})
        for step in range(3):
            mlflow.log_metric("train/loss", 1 / (step + 1), step=step)
        mlflow.log_metrics({"val/accuracy": 0.75, "bad": math.nan}, step=2)
        mlflow.log_metric("endless", math.inf)
        mlflow.set_tag("stage", "trying")
        mlflow.set_tag("gone", "soon")
        mlflow.delete_tag("gone")
        source = OF_HTTP("https://example.org/digits.csv")
        mlflow.log_input(META(source, name="digits", digest="abc"), context="training")
        (folder / "notes.txt").write_text("seven")
        (folder / "model.bin").write_bytes(b"\x00\xff" * 70_000)
        (folder / "MLmodel").write_text("flavors: {}")
        mlflow.log_artifact(str(folder / "notes.txt"))
        mlflow.log_artifacts(str(folder), artifact_path="sub/all")
        mlflow.log_dict({"a": 1}, "facts.json")
        mlflow.log_text("<b>bold</b>", "page.html")
        with mlflow.start_run(nested=True, run_name="child"):
            mlflow.log_metric("x", 1)
    return str(run.info.run_id)


def reading(client: MlflowClient, run_id: str, folder: Path) -> None:
    run: Any = client.get_run(run_id)
    FOUND["info"] = {
        "name": run.info.run_name,
        "status": run.info.status,
        "ended": run.info.end_time >= run.info.start_time,
        "stage": run.info.lifecycle_stage,
    }
    FOUND["params"] = run.data.params
    FOUND["metrics"] = {name: str(value) for name, value in run.data.metrics.items()}
    FOUND["tags"] = {
        name: value
        for name, value in run.data.tags.items()
        if name in ("who", "stage", "gone", "mlflow.note.content", "mlflow.runName")
    }
    FOUND["inputs"] = [
        [one.dataset.name, one.dataset.digest, [tag.value for tag in one.tags]]
        for one in run.inputs.dataset_inputs
    ]
    FOUND["history"] = [
        [one.step, one.value] for one in client.get_metric_history(run_id, "train/loss")
    ]
    FOUND["files"] = sorted(one.path for one in client.list_artifacts(run_id))
    FOUND["sub"] = sorted(
        [one.path, one.is_dir, one.file_size] for one in client.list_artifacts(run_id, "sub/all")
    )
    FOUND["of_a_file"] = client.list_artifacts(run_id, "notes.txt")
    got = client.download_artifacts(run_id, "sub", str(folder))
    FOUND["same"] = (Path(got) / "all/model.bin").read_bytes() == b"\x00\xff" * 70_000
    FOUND["text"] = mlflow.artifacts.load_text(f"runs:/{run_id}/page.html")


def batches(client: MlflowClient, experiment: str) -> str:
    made = client.create_run(experiment, tags={"mlflow.user": "robot"})
    run_id = str(made.info.run_id)
    points = [Metric("loss", 1 / (1 + step), 1000 + step, step) for step in range(1500)]
    many = [Param(f"p{place}", str(place)) for place in range(150)]
    client.log_batch(run_id, metrics=points, params=many, tags=[RunTag("a", "b")])
    client.log_batch(run_id, metrics=points[:5])  # what is sent again changes nothing
    client.log_metric(run_id, "late", 1.0, timestamp=50, step=9)
    client.log_metric(run_id, "late", 2.0, timestamp=40, step=9)
    client.log_metric(run_id, "late", 3.0, timestamp=60, step=3)
    client.set_terminated(run_id, "FAILED")
    client.update_run(run_id, name="batched")
    read = client.get_run(run_id)
    FOUND["batched"] = {
        "points": len(client.get_metric_history(run_id, "loss")),
        "params": len(read.data.params),
        "late": read.data.metrics["late"],
        "status": read.info.status,
        "name": read.info.run_name,
        "user": read.info.user_id,
    }
    with mlflow.start_run(run_id=run_id):  # it goes on
        FOUND["resumed"] = client.get_run(run_id).info.status
        FOUND["no_end"] = client.get_run(run_id).info.end_time
    FOUND["ended"] = client.get_run(run_id).info.status
    return run_id


def searching(client: MlflowClient, experiment: str) -> None:
    for place in range(5):
        with mlflow.start_run(run_name=f"trial {place}", experiment_id=experiment):
            mlflow.log_params({"lr": 10**-place, "even": place % 2 == 0})
            mlflow.log_metric("score", [0.1, math.nan, 0.5, math.inf, 0.3][place])
            if place:
                mlflow.set_tag("kind", f"Kind {place}")

    def names(text: str = "", order: list[str] | None = None, **more: Any) -> list[str]:
        found = client.search_runs([experiment], text, order_by=order, **more)
        return [str(one.info.run_name) for one in found]

    trial = "attributes.run_name LIKE 'trial%'"
    FOUND["found"] = {
        text: names(f"{text} and {trial}", ["attributes.run_name ASC"])
        for text in (
            "metrics.score > 0.2",
            "metrics.score != 0.5",
            "metrics.`score` <= 0.3",
            "params.lr = '0.01'",
            "params.lr != '1'",
            "params.even = 'True'",
            "tags.kind ILIKE 'kind %'",
            "tags.kind LIKE 'kind %'",
            "tags.kind IS NULL",
            "tags.`mlflow.runName` = 'trial 4'",
            "attributes.status = 'FINISHED'",
            "attributes.start_time > 0",
            "attributes.end_time < 1",
        )
    }
    FOUND["by_score"] = names(trial, ["metrics.score DESC"])
    FOUND["by_score_up"] = names(trial, ["metrics.score ASC"])
    FOUND["by_kind"] = names(trial, ["tags.kind DESC"])
    first = client.search_runs([experiment], trial, order_by=["attributes.run_name"], max_results=2)
    second = client.search_runs(
        [experiment],
        trial,
        order_by=["attributes.run_name"],
        max_results=2,
        page_token=first.token,
    )
    FOUND["paged"] = [one.info.run_name for one in [*first, *second]]
    FOUND["with_data"] = names("datasets.name = 'digits'")
    FOUND["bad_filter"] = code_of(lambda: names("foo bar"))
    FOUND["bad_order"] = code_of(lambda: names("", ["params.x SIDEWAYS"]))
    gone = client.search_runs([experiment], "attributes.run_name = 'trial 0'")[0].info.run_id
    client.delete_run(gone)
    FOUND["deleted"] = [
        len(client.search_runs([experiment], trial, view))
        for view in (ViewType.ACTIVE_ONLY, ViewType.DELETED_ONLY, ViewType.ALL)
    ]
    FOUND["write_to_deleted"] = code_of(lambda: client.log_metric(gone, "x", 1))
    client.restore_run(gone)
    FOUND["restored"] = client.get_run(gone).info.lifecycle_stage


def refusals(client: MlflowClient, run_id: str) -> None:
    FOUND["refused"] = {
        "param": code_of(lambda: client.log_param(run_id, "lr", 1)),
        "same_param": code_of(lambda: client.log_param(run_id, "lr", 5e-05)),
        "run": code_of(lambda: client.get_run("0" * 32)),
        "experiment": code_of(lambda: client.get_experiment("77")),
        "twice": code_of(lambda: client.create_experiment("digits")),
        "tag": code_of(lambda: client.delete_tag(run_id, "never")),
        "file": code_of(lambda: client.download_artifacts(run_id, "never.txt")),
    }
    FOUND["no_experiment"] = client.get_experiment_by_name("never")


def experiments(client: MlflowClient) -> None:
    made = client.create_experiment("second", tags={"team": "a"})
    client.set_experiment_tag(made, "team", "b")
    client.rename_experiment(made, "renamed")
    found = client.get_experiment(made)
    FOUND["experiment"] = [found.name, found.tags, found.lifecycle_stage]
    FOUND["experiments"] = [one.name for one in client.search_experiments(order_by=["name ASC"])]
    FOUND["tagged"] = [
        one.name for one in client.search_experiments(filter_string="tags.team = 'b'")
    ]
    client.delete_experiment(made)
    FOUND["deleted_experiment"] = client.get_experiment(made).lifecycle_stage
    client.restore_experiment(made)
    with mlflow.start_run(experiment_id="0", run_name="unasked"):
        pass
    FOUND["default"] = client.get_experiment("0").name


def registry(client: MlflowClient, run_id: str) -> None:
    made = client.create_registered_model("student", tags={"a": "b"}, description="Small.")
    FOUND["model"] = [made.name, made.tags, made.description]
    version = mlflow.register_model(f"runs:/{run_id}/sub/all", "student", tags={"v": "1"})
    FOUND["version"] = [version.version, version.status, version.run_id == run_id]
    second = client.create_model_version("student", f"runs:/{run_id}/notes.txt", run_id)
    client.set_registered_model_alias("student", "production", "1")
    FOUND["at_alias"] = client.get_model_version_by_alias("student", "production").version
    client.set_registered_model_alias("student", "other", second.version)
    client.delete_registered_model_alias("student", "other")
    client.set_model_version_tag("student", "1", "seen", "yes")
    client.update_model_version("student", "1", "Good.")
    client.transition_model_version_stage("student", "2", "Production")
    FOUND["latest"] = [one.version for one in client.get_latest_versions("student", ["Production"])]
    found = client.get_registered_model("student")
    FOUND["aliases"] = found.aliases
    FOUND["versions"] = [
        [one.version, one.tags, one.description, one.current_stage]
        for one in client.search_model_versions("name = 'student'")
    ]
    FOUND["models"] = [one.name for one in client.search_registered_models()]
    with tempfile.TemporaryDirectory() as folder:
        got = mlflow.artifacts.download_artifacts("models:/student@production", dst_path=folder)
        FOUND["fetched"] = sorted(one.name for one in Path(got).iterdir())
    FOUND["model_twice"] = code_of(lambda: client.create_registered_model("student"))
    FOUND["no_alias"] = code_of(lambda: client.get_model_version_by_alias("student", "no"))
    FOUND["kept"] = code_of(lambda: client.delete_registered_model("student"))


def logged_models(client: MlflowClient, experiment: str) -> None:
    mlflow.set_experiment(experiment_id=experiment)
    with mlflow.start_run(run_name="with a model") as run:
        model = mlflow.initialize_logged_model(
            "checkpoint-4", params={"step": "4"}, tags={"t": "1"}
        )
        mlflow.log_model_params({"more": "5"}, model_id=model.model_id)
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "weights.safetensors").write_bytes(b"w" * 100)
            client.log_model_artifacts(model.model_id, folder)
        mlflow.finalize_logged_model(model.model_id, "READY")
    read = mlflow.get_logged_model(model.model_id)
    FOUND["logged"] = [
        read.name,
        str(read.status),
        read.params,
        read.tags["t"],
        read.source_run_id == run.info.run_id,
    ]
    found = mlflow.search_logged_models([experiment], "name = 'checkpoint-4'", output_format="list")
    FOUND["logged_found"] = [one.model_id == model.model_id for one in found]
    version = mlflow.register_model(f"models:/{model.model_id}", "checkpoints")
    FOUND["logged_version"] = version.version
    again: Any = client.get_run(run.info.run_id)
    FOUND["of_run"] = len(again.outputs.model_outputs)


def main() -> None:
    client = MlflowClient()
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        run_id = training(Path(one))
        reading(client, run_id, Path(other))
    FOUND["run_id"] = run_id
    experiment = str(client.get_run(run_id).info.experiment_id)
    batches(client, experiment)
    searching(client, experiment)
    refusals(client, run_id)
    experiments(client)
    registry(client, run_id)
    logged_models(client, experiment)
    json.dump(FOUND, sys.stdout)


if __name__ == "__main__":
    main()
