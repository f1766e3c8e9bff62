"""Registered models, their versions and aliases."""

from typing import NoReturn

from distillhub.lib.errors import Invalid
from projects.models import ModelVersion, RegisteredModel
from projects.services import registry
from training.mlflow import answers
from training.mlflow.answers import JSON
from training.mlflow.calls import Call, token
from training.services import client_registry

RESULTS = 100
VERSIONS = 10_000


def _model(call: Call) -> RegisteredModel:
    return client_registry.find(project=call.project, name=call.text("name"))


def _version(call: Call) -> ModelVersion:
    return client_registry.find_version(
        project=call.project, name=call.text("name"), number=call.text("version")
    )


def _shown(model: RegisteredModel) -> JSON:
    return {"registered_model": answers.registered_models([model])[0]}


def create(call: Call) -> JSON:
    made = client_registry.create(
        project=call.project,
        name=call.text("name"),
        description=call.text("description", ""),
        tags=call.pairs("tags"),
        by=call.by,
    )
    return _shown(made)


def get(call: Call) -> JSON:
    return _shown(_model(call))


def search(call: Call) -> JSON:
    start, most = call.start(), call.most(RESULTS)
    found = client_registry.search(
        project=call.project, text=call.text("filter", ""), order_by=call.texts("order_by")
    )
    page = answers.registered_models(found[start : start + most])
    more = {"next_page_token": token(start + most)} if len(found) > start + most else {}
    return {"registered_models": page, **more}


def update(call: Call) -> JSON:
    changed = client_registry.describe(
        model=_model(call), description=call.text("description", ""), by=call.by
    )
    return _shown(changed)


def rename(call: Call) -> NoReturn:
    model = _model(call)
    raise Invalid(f"A model keeps its name here: references name it. {model.name} stays.")


def delete(call: Call) -> NoReturn:
    model = _model(call)
    raise Invalid(f"Models and their versions are kept for ever here. {model.name} stays.")


def latest(call: Call) -> JSON:
    found = client_registry.latest(_model(call), call.texts("stages"))
    return {"model_versions": [answers.version(one) for one in found]}


def tag(call: Call) -> None:
    client_registry.tag(model=_model(call), tags={call.text("key"): call.text("value", "")})


def untag(call: Call) -> None:
    client_registry.untag(model=_model(call), key=call.text("key"))


def at_alias(call: Call) -> JSON:
    found = client_registry.at_alias(
        project=call.project, name=call.text("name"), alias=call.text("alias")
    )
    return {"model_version": answers.version(found)}


def set_alias(call: Call) -> None:
    version = _version(call)
    registry.set_alias(model=version.model, name=call.text("alias"), version=version, by=call.by)


def remove_alias(call: Call) -> None:
    model, alias = _model(call), call.text("alias")
    if model.aliases.filter(name=alias).exists():  # gone already is as good, as MLflow has it
        registry.remove_alias(model=model, name=alias, by=call.by)


def create_version(call: Call) -> JSON:
    made = client_registry.create_version(
        project=call.project,
        name=call.text("name"),
        source=call.text("source"),
        run_id=call.text("run_id", ""),
        model_id=call.text("model_id", ""),
        description=call.text("description", ""),
        tags=call.pairs("tags"),
        by=call.by,
    )
    return {"model_version": answers.version(made)}


def get_version(call: Call) -> JSON:
    return {"model_version": answers.version(_version(call))}


def update_version(call: Call) -> JSON:
    client_registry.note(_version(call), description=call.text("description", ""))
    return {"model_version": answers.version(_version(call))}


def delete_version(call: Call) -> NoReturn:
    version = _version(call)
    raise Invalid(f"Versions are kept for ever here. {version.reference} stays.")


def search_versions(call: Call) -> JSON:
    start, most = call.start(), call.most(VERSIONS)
    found = client_registry.search_versions(
        project=call.project, text=call.text("filter", ""), order_by=call.texts("order_by")
    )
    page = [answers.version(one) for one in found[start : start + most]]
    more = {"next_page_token": token(start + most)} if len(found) > start + most else {}
    return {"model_versions": page, **more}


def download_uri(call: Call) -> JSON:
    return {"artifact_uri": client_registry.address(_version(call))}


def move(call: Call) -> JSON:
    alone = call.asked.get("archive_existing_versions") in (True, "true")
    moved = client_registry.move(version=_version(call), stage=call.text("stage"), alone=alone)
    return {"model_version": answers.version(moved)}


def tag_version(call: Call) -> None:
    client_registry.note(_version(call), tags={call.text("key"): call.text("value", "")})


def untag_version(call: Call) -> None:
    client_registry.note(_version(call), untag=call.text("key"))
