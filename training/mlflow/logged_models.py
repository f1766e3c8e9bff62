"""Models that clients log beside their runs."""

from training.mlflow import answers
from training.mlflow.answers import JSON
from training.mlflow.calls import Call, missing, token
from training.services import experiments, logged_models

RESULTS = 50


def create(call: Call) -> JSON:
    made = logged_models.create(
        experiment=experiments.find(project=call.project, number=call.text("experiment_id", "0")),
        name=call.text("name", ""),
        run_id=call.text("source_run_id", ""),
        params=call.pairs("params"),
        tags=call.pairs("tags"),
        model_type=call.text("model_type", ""),
    )
    return _read(call, made.key)


def get(call: Call) -> JSON:
    return _read(call, call.path["key"])


def finish(call: Call) -> JSON:
    made = logged_models.finish(
        project=call.project, key=call.path["key"], status=call.text("status")
    )
    return {"model": answers.logged_model(made)}


def delete(call: Call) -> None:
    logged_models.delete(project=call.project, key=call.path["key"])


def log_params(call: Call) -> None:
    logged_models.log_params(
        project=call.project, key=call.path["key"], params=call.pairs("params")
    )


def tag(call: Call) -> JSON:
    made = logged_models.tag(project=call.project, key=call.path["key"], tags=call.pairs("tags"))
    return {"model": answers.logged_model(made)}


def untag(call: Call) -> None:
    logged_models.untag(project=call.project, key=call.path["key"], tag=call.path["tag"])


def search(call: Call) -> JSON:
    start, most = call.start(), call.most(RESULTS)
    orders = []
    for one in call.entries("order_by"):
        name = one.get("field_name")
        if not isinstance(name, str):
            raise missing("field_name")
        orders.append((name, one.get("ascending") is not False))
    found = logged_models.search(
        project=call.project,
        experiments=[
            int(one)
            for one in call.texts("experiment_ids")
            if one.isascii() and one.isdigit() and len(one) < 10
        ],
        text=call.text("filter", ""),
        order_by=orders,
    )
    page = [answers.logged_model(one) for one in found[start : start + most]]
    more = {"next_page_token": token(start + most)} if len(found) > start + most else {}
    return {"models": page, **more} if page else {}


def _read(call: Call, key: str) -> JSON:
    return {"model": answers.logged_model(logged_models.find(project=call.project, key=key))}
