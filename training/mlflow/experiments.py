"""Experiments, as clients ask for them."""

from training.mlflow import answers
from training.mlflow.answers import JSON
from training.mlflow.calls import Call, token
from training.services import experiments

RESULTS = 1000


def get(call: Call) -> JSON:
    found = experiments.find(project=call.project, number=call.text("experiment_id"))
    return {"experiment": answers.experiment(found)}


def get_by_name(call: Call) -> JSON:
    found = experiments.by_name(project=call.project, name=call.text("experiment_name"))
    return {"experiment": answers.experiment(found)}


def create(call: Call) -> JSON:
    made = experiments.create(project=call.project, name=call.text("name"), tags=call.pairs("tags"))
    return {"experiment_id": str(made.number)}


def search(call: Call) -> JSON:
    start, most = call.start(), call.most(RESULTS)
    found = experiments.search(
        project=call.project,
        text=call.text("filter", ""),
        order_by=call.texts("order_by"),
        view=call.text("view_type", "ACTIVE_ONLY"),
    )
    page = [answers.experiment(one) for one in found[start : start + most]]
    more = {"next_page_token": token(start + most)} if len(found) > start + most else {}
    return {"experiments": page, **more}


def update(call: Call) -> None:
    found = experiments.find(project=call.project, number=call.text("experiment_id"))
    if name := call.text("new_name", ""):
        experiments.rename(experiment=found, name=name)


def tag(call: Call) -> None:
    found = experiments.find(project=call.project, number=call.text("experiment_id"))
    experiments.tag(experiment=found, key=call.text("key"), value=call.text("value", ""))


def untag(call: Call) -> None:
    found = experiments.find(project=call.project, number=call.text("experiment_id"))
    experiments.untag(experiment=found, key=call.text("key"))


def delete(call: Call) -> None:
    found = experiments.find(project=call.project, number=call.text("experiment_id"))
    experiments.delete(experiment=found)


def restore(call: Call) -> None:
    found = experiments.find(project=call.project, number=call.text("experiment_id"))
    experiments.restore(experiment=found)
