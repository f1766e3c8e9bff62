"""Runs, as clients begin, tell, find and end them."""

from collections.abc import Mapping
from typing import Any

from distillhub.lib.errors import Invalid
from training.mlflow import answers, calls, files
from training.mlflow.answers import JSON
from training.mlflow.calls import Call
from training.services import experiment_runs, experiment_search, experiments
from training.services.experiment_runs import Given
from training.worker.metrics import as_json

RESULTS = 1000
MOST_METRICS = 10_000  # at once; clients send 1 000
MOST_PAIRS = 2000  # and 100
HISTORY = 25_000  # points in an answer, where a client says how many
WHOLE_HISTORY = 1_000_000  # and where it does not


def create(call: Call) -> JSON:
    made = experiment_runs.begin(
        experiment=experiments.find(project=call.project, number=call.text("experiment_id", "0")),
        by=call.by,
        name=call.text("run_name", ""),
        user=call.text("user_id", ""),
        tags=call.pairs("tags"),
        started_at=call.moment("start_time"),
    )
    return {"run": answers.run(made)}


def get(call: Call) -> JSON:
    found = experiment_runs.find(project=call.project, key=call.run())
    return {"run": answers.run(found)}


def update(call: Call) -> JSON:
    changed = experiment_runs.change(
        project=call.project,
        key=call.run(),
        by=call.by,
        status=call.text("status", ""),
        ended_at=call.moment("end_time"),
        name=call.text("run_name", ""),
    )
    return {"run_info": answers.run_info(changed)}


def delete(call: Call) -> None:
    experiment_runs.delete(project=call.project, key=call.run())


def restore(call: Call) -> None:
    experiment_runs.restore(project=call.project, key=call.run())


def log_metric(call: Call) -> None:
    points = [calls.point(call.asked)]
    experiment_runs.log(project=call.project, key=call.run(), points=points)


def log_parameter(call: Call) -> None:
    key, value = calls.pair("params", call.asked)
    experiment_runs.log(project=call.project, key=call.run(), params={key: value})


def set_tag(call: Call) -> None:
    key, value = calls.pair("tags", call.asked)
    experiment_runs.log(project=call.project, key=call.run(), tags={key: value})


def delete_tag(call: Call) -> None:
    experiment_runs.untag(project=call.project, key=call.run(), tag=call.text("key"))


def log_batch(call: Call) -> None:
    experiment_runs.log(
        project=call.project,
        key=call.run(),
        points=[calls.point(one) for one in call.entries("metrics", MOST_METRICS)],
        params=call.pairs("params", MOST_PAIRS),
        tags=call.pairs("tags", MOST_PAIRS),
    )


def search(call: Call) -> JSON:
    start, most = call.start(), call.most(RESULTS)
    numbers = [
        int(one)
        for one in call.texts("experiment_ids")
        if one.isascii() and one.isdigit() and len(one) < 10
    ]
    found = experiment_search.search(
        project=call.project,
        experiments=numbers,
        text=call.text("filter", ""),
        order_by=call.texts("order_by"),
        view=call.text("run_view_type", "ACTIVE_ONLY"),
    )
    page = answers.of_runs(found[start : start + most + 1])
    more = {"next_page_token": calls.token(start + most)} if len(page) > most else {}
    return {"runs": answers.runs(page[:most]), **more}


def history(call: Call) -> JSON:
    run = experiment_runs.find(project=call.project, key=call.run()).run
    name, start = call.text("metric_key"), call.start()
    most = call.whole("max_results", WHOLE_HISTORY)
    if most < 1:
        raise Invalid("max_results must be at least 1.")
    most = min(most, HISTORY if "max_results" in call.asked else WHOLE_HISTORY)
    points, there_is_more = experiment_runs.history(run=run, name=name, start=start, most=most)
    found = [
        {"key": name, "value": as_json(value), "timestamp": round(at * 1000), "step": step}
        for step, value, at in zip(
            points.steps.tolist(), points.values.tolist(), points.times.tolist(), strict=True
        )
    ]
    more = {"next_page_token": calls.token(start + most)} if there_is_more else {}
    return {"metrics": found, **more}


def log_inputs(call: Call) -> None:
    given = [_given(one) for one in call.entries("datasets", experiment_runs.MOST_INPUTS)]
    experiment_runs.log_inputs(project=call.project, key=call.run(), inputs=given)
    if call.entries("models"):
        _outputs(call)


def log_outputs(call: Call) -> None:
    _outputs(call)


def _outputs(call: Call) -> None:
    models = {}
    for one in call.entries("models", experiment_runs.MOST_OUTPUTS):
        key = one.get("model_id")
        if not isinstance(key, str) or not key:
            raise calls.missing("model_id")
        models[key] = calls.whole("step", one.get("step") or 0)
    experiment_runs.log_outputs(project=call.project, key=call.run(), models=models)


def _given(one: Mapping[str, Any]) -> Given:
    dataset = one.get("dataset")
    if not isinstance(dataset, Mapping):
        raise calls.missing("dataset")
    told: dict[str, str] = {}
    for name in ("name", "digest", "source_type", "source", "schema", "profile"):
        value = dataset.get(name)
        if value is None:
            continue
        if not isinstance(value, str):
            raise Invalid(f"Invalid value for parameter 'dataset.{name}'. It must be a text.")
        told[name] = value
    tags = one.get("tags") or []
    if not isinstance(tags, list) or not all(isinstance(tag, Mapping) for tag in tags):
        raise Invalid("The tags of a dataset are a list of objects.")
    return Given(
        name=told.pop("name", ""),
        digest=told.pop("digest", ""),
        told=told,
        tags=dict(calls.pair("tags", tag) for tag in tags),
    )


def list_artifacts(call: Call) -> JSON:
    """What older clients ask of a run instead of the files' own service."""
    found = experiment_runs.find(project=call.project, key=call.run())
    root = answers.run_info(found)["artifact_uri"]
    path = call.text("path", "")
    entries = files.entries(call.project, found.key, path)
    prefix = f"{path.strip('/')}/" if path.strip("/") else ""
    return {
        "root_uri": root,
        "files": [{**one, "path": f"{prefix}{one['path']}"} for one in entries],
    }
