"""Files of runs, logged models and versions, by the paths that clients have for them:

1/<run id>/artifacts/sub/a.txt          of a run of experiment 1
1/models/<model id>/artifacts/a.txt     of a logged model
registry/<name>/<number>/a.txt          of a version of a registered model; these are only read
"""

from collections.abc import Sequence
from typing import Any

from django.http.response import HttpResponseBase

from distillhub.lib import downloads, storage
from distillhub.lib.errors import Invalid, Missing
from projects.models import Project
from training.mlflow.answers import JSON
from training.mlflow.calls import Call
from training.mlflow.endpoint import written
from training.services import client_registry, networks, tracked_files
from training.services.tracked_files import Entry


def put(call: Call) -> HttpResponseBase:
    key, path = _owned(call.path["path"])
    tracked_files.put(project=call.project, key=key, path=path, stream=call.stream)
    return written({})


def get(call: Call) -> HttpResponseBase:
    path = call.path["path"]
    if version := _version(call.project, path):
        found, name = version
        file = networks.file(version=found, name=tracked_files.checked(name))
        stream, sha256, size = storage.open_blob(file["sha256"]), file["sha256"], file["bytes"]
    else:
        key, name = _owned(path)
        tracked_files.owner(project=call.project, key=key)
        tracked = tracked_files.find(project=call.project, key=key, path=name)
        stream, sha256, size = tracked_files.open_file(tracked), tracked.sha256, tracked.bytes
    return downloads.attachment(
        stream,
        name=name.rsplit("/", 1)[-1],
        media_type="application/octet-stream",
        size=size,
        sha256=sha256,
    )


def delete(call: Call) -> None:
    key, path = _owned(call.path["path"])
    tracked_files.remove(project=call.project, key=key, path=path)


def listing(call: Call) -> JSON:
    """What lies in a folder; nothing for a file, and for what is not there."""
    path = call.text("path", "")
    if version := _version(call.project, path):
        found, folder = version
        prefix = f"{tracked_files.checked(folder)}/" if folder.strip("/") else ""
        files = [(file["name"], file["bytes"]) for file in found.files]
        return _listed(tracked_files.entries(files, prefix))
    if not path.strip("/"):
        return {}
    key, folder = _owned(path, root_too=True)
    tracked_files.owner(project=call.project, key=key)
    return _listed(tracked_files.folder(project=call.project, key=key, path=folder))


def of_model(call: Call) -> JSON:
    """Of a logged model, by its id."""
    key, folder = call.path["key"], call.text("artifact_directory_path", "")
    tracked_files.owner(project=call.project, key=key)
    found = tracked_files.folder(project=call.project, key=key, path=folder)
    return _listed(found, folder)


def entries(project: Project, key: str, path: str) -> list[JSON]:
    return _shown(tracked_files.folder(project=project, key=key, path=path))


def _listed(found: Sequence[Entry], folder: str = "") -> JSON:
    if not found:
        return {}
    prefix = f"{folder.strip('/')}/" if folder.strip("/") else ""
    return {"files": [{**one, "path": f"{prefix}{one['path']}"} for one in _shown(found)]}


def _shown(found: Sequence[Entry]) -> list[JSON]:
    return [
        {"path": one.name, "is_dir": one.is_folder}
        | ({} if one.is_folder else {"file_size": one.bytes})
        for one in found
    ]


def _owned(path: str, *, root_too: bool = False) -> tuple[str, str]:
    """The id of a run or logged model, and the path beside it. Raises Invalid and Missing."""
    parts = path.strip("/").split("/")
    if not parts[0].isdecimal():
        raise Missing("There is no such place for files.")
    if len(parts) > 2 and parts[1] == "models":
        key, rest = parts[2], parts[3:]
    else:
        key, rest = (parts[1] if len(parts) > 1 else ""), parts[2:]
    if not key:
        raise Missing("There is no such place for files.")
    if rest[:1] != ["artifacts"]:
        raise Missing("There is no such place for files.")
    beside = "/".join(rest[1:])
    if not beside and not root_too:
        raise Invalid(f"Invalid path: '{path[:200]}' is a folder.")
    return key, beside


def _version(project: Project, path: str) -> tuple[Any, str] | None:
    parts = path.strip("/").split("/")
    if parts[0] != "registry" or len(parts) < 3:
        return None
    found = client_registry.find_version(project=project, name=parts[1], number=parts[2])
    return found, "/".join(parts[3:])
