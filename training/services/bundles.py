"""Bundles: the export of a version that runs by itself (engine/bundling.py)."""

from typing import Any

from projects.models import ModelVersion, User
from training import catalog
from training.models import Export
from training.services import exports

FORM = "bundle"


def newest(*, version: ModelVersion) -> Export | None:
    """The newest that is ready, else the newest."""
    found = list(exports.listed(version=version).filter(format=FORM)[:20])
    return next(
        (one for one in found if one.status == Export.Status.READY), next(iter(found), None)
    )


def refusal(*, version: ModelVersion) -> str:
    """Why there is no bundle of a version; empty where there may be one."""
    method = catalog.find("exporters", FORM)
    assert method is not None
    if version.model.task not in method["tasks"]:
        return f"There is no bundle of {version.model.task}. Export it as ONNX, or as safetensors."
    if not version.is_trained or version.status != ModelVersion.Status.READY:
        return f"{version.reference} has no trained weights, so there is nothing to ship."
    return ""


def make(*, version: ModelVersion, options: dict[str, Any] | None = None, by: User) -> Export:
    """Queue one, judged on the dataset of the run that made the version. Raises Invalid."""
    asked = {"format": FORM, "options": options or {}}
    return exports.make(version=version, asked=asked, by=by)
