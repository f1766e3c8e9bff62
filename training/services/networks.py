"""Teachers and students: from what a person gives (a source) to a version in the registry.

A source is `{"kind": ...}`:

- `architecture {architecture, config, initialise_from?}`: a configuration whose weights are drawn
  by each run's seed, or taken from a version that has the same architecture and configuration;
- `hub {id, revision}`: safetensors of a Hugging Face repository; inspection pins the revision to a
  commit;
- `derived {from, method, options, dataset?}`: a smaller one made of another version's weights, as
  one of the catalog's `derivations` says; rows of the dataset say what to keep;
- `export {export}`: a model folder that was made smaller (an export of form safetensors);
- `upload`: a zipped model folder, sent beside;
- `api {api, base_url, model, key, ...}`: a service that is asked over HTTP (api_teachers.py);
- `run {run}`: what a finished run left;
- `column {dataset, column? | columns?}`: what was recorded in a dataset (recorded_teachers.py);
- `ensemble {members, weights?}`: several teachers that speak together (ensembles.py).

Everything but the last three is inspected by a worker, which builds the network once, in a child
process.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import IO, Any

from django.db import transaction

from distillhub.lib import storage
from distillhub.lib.errors import DomainError, Invalid, Missing
from projects.models import ModelVersion, Project, RegisteredModel, User
from projects.services import registry
from training import catalog
from training.models import Export, Run
from training.services import (
    api_teachers,
    derivations,
    ensembles,
    model_folders,
    recorded_teachers,
)
from training.services.references import TEACHES
from training.worker import networks as inspection

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)
REVISION = re.compile(r"[A-Za-z0-9][\w./-]{0,199}", re.ASCII)

#: What a version begins with: keyword arguments of `registry.add_version`.
Begun = dict[str, Any]


def register(
    *,
    project: Project,
    name: str,
    role: str,
    task: str,
    source: Mapping[str, Any],
    description: str = "",
    files: IO[bytes] | None = None,
    by: User,
) -> ModelVersion:
    """A new teacher or student with its version 1; `files` is the zip of an `upload`.

    Raises Invalid with `task`, `source.…`, `name` or `file` in its fields, and Conflict when the
    name is taken.
    """
    if task not in {one["key"] for one in catalog.methods()["tasks"]}:
        sentence = f"There is no task called {task}."
        raise Invalid(sentence, fields={"task": [sentence]})
    begun = _begin(project, task, source, files)
    _check_role(source, role)
    with transaction.atomic():
        version = registry.register(
            project=project,
            name=name,
            role=role,
            task=task,
            source=begun["source"],
            architecture=begun.get("architecture", ""),
            config=begun.get("config"),
            description=description,
            by=by,
        )
        _complete(version, begun)
        _keep_key(version, source, by)
        _inspect_later(version)
    return version


def add_version(
    *,
    model: RegisteredModel,
    source: Mapping[str, Any],
    files: IO[bytes] | None = None,
    by: User,
) -> ModelVersion:
    """The next version of a model, from any source; raises like `register`."""
    begun = _begin(model.project, model.task, source, files)
    _check_role(source, model.role)
    with transaction.atomic():
        version = registry.add_version(model=model, by=by, **begun)
        _keep_key(version, source, by)
        _inspect_later(version)
    return version


def _check_role(source: Mapping[str, Any], role: str) -> None:
    if source["kind"] in TEACHES and role != RegisteredModel.ModelRole.TEACHER:
        raise _wrong("kind", f"What {TEACHES[source['kind']]} can teach, but not be trained.")


def inspect_again(*, version: ModelVersion, by: User) -> ModelVersion:
    """Another try for a version that failed, when the hub or a worker was away; for one behind an
    API at any time."""
    over = [ModelVersion.Status.FAILED]
    if version.source.get("kind") == "api":
        over.append(ModelVersion.Status.READY)
    moved = ModelVersion.objects.filter(pk=version.pk, status__in=over).update(
        status=ModelVersion.Status.INSPECTING, error=None, times_lost=0
    )
    version.refresh_from_db()
    if moved:
        _inspect_later(version)
    return version


def files(*, version: ModelVersion) -> list[tuple[str, Callable[[], IO[bytes]]]]:
    """Of each file of a version its name and what opens it. Raises Missing when there are none."""
    if not version.files:
        raise Missing(
            f"{version.reference} has no files: its weights are drawn when it is trained."
        )
    return [(file["name"], partial(storage.open_blob, file["sha256"])) for file in version.files]


def file(*, version: ModelVersion, name: str) -> dict[str, Any]:
    """`{"name", "sha256", "bytes"}` of one file of a version. Raises Missing."""
    for one in version.files:
        if one["name"] == name:
            return dict(one)
    raise Missing(f"{version.reference} has no file called {name}.")


def _inspect_later(version: ModelVersion) -> None:
    if version.status == ModelVersion.Status.INSPECTING:
        inspection.WORK.wake(version)


def _keep_key(version: ModelVersion, source: Mapping[str, Any], by: User) -> None:
    if source["kind"] == "api":
        key = api_teachers.read_key(source.get("key", ""))
        api_teachers.keep_key(version=version, key=key, by=by)


def _complete(version: ModelVersion, begun: Begun) -> None:
    """Write what a source already knows of its version besides what `register` took."""
    known = {name: value for name, value in begun.items() if name not in {"source", "config"}}
    for name, value in known.items():
        setattr(version, name, value)
    if known:
        version.save(update_fields=list(known))


# One function a kind of source: what was sent -> what the version begins with ------------------


def _begin(
    project: Project, task: str, source: Mapping[str, Any], files: IO[bytes] | None
) -> Begun:
    kinds: dict[str, tuple[set[str], Callable[[], Begun]]] = {
        "api": (
            set(api_teachers.FIELDS),
            lambda: {"source": api_teachers.source(task=task, asked=source)},
        ),
        "architecture": (
            {"architecture", "config", "initialise_from"},
            lambda: _from_architecture(project, task, source),
        ),
        "column": (
            set(recorded_teachers.FIELDS),
            lambda: recorded_teachers.begun(project=project, task=task, asked=source),
        ),
        "derived": (
            derivations.KNOWN,
            lambda: {"source": derivations.source(project=project, task=task, asked=source)},
        ),
        "ensemble": (
            set(ensembles.FIELDS),
            lambda: ensembles.begun(project=project, task=task, asked=source),
        ),
        "export": ({"export"}, lambda: _from_export(project, task, source)),
        "hub": ({"id", "revision"}, lambda: _from_hub(source)),
        "upload": (set(), lambda: _from_upload(files)),
        "run": ({"run"}, lambda: _from_run(project, task, source)),
    }
    if not isinstance(source.get("kind"), str) or source["kind"] not in kinds:
        raise _wrong("kind", f"The kind of a source is one of {', '.join(kinds)}.")
    allowed, begin = kinds[source["kind"]]
    for name in source:
        if name not in allowed | {"kind"}:
            raise _wrong(name, f"A source of kind {source['kind']} has no {name}.")
    return begin()


def _from_architecture(project: Project, task: str, source: Mapping[str, Any]) -> Begun:
    key = source.get("architecture")
    resolved, faults = catalog.resolve_architecture(task, str(key), source.get("config") or {})
    if faults:
        fields = {f"source.{fault.field}": [fault.sentence] for fault in faults}
        raise Invalid(faults[0].sentence, fields=fields)
    assert isinstance(key, str)
    begun: Begun = {
        "source": {"kind": "architecture", "architecture": key, "config": resolved},
        "architecture": key,
        "config": resolved,
    }
    if source.get("initialise_from"):
        begun |= _weights_of(project, str(source["initialise_from"]), key, resolved)
        begun["source"]["initialise_from"] = begun.pop("reference")
    return begun


def _weights_of(project: Project, reference: str, key: str, config: dict[str, Any]) -> Begun:
    try:
        giver = registry.resolve(project=project, reference=reference)
    except DomainError as error:
        raise _wrong("initialise_from", error.detail) from None
    if not giver.files:
        raise _wrong("initialise_from", f"{giver.reference} has no weights to begin from.")
    if giver.architecture != key or giver.config != config:
        raise _wrong(
            "initialise_from",
            f"{giver.reference} has another architecture or configuration, so its weights do not "
            "fit.",
        )
    return {
        "reference": giver.reference,
        "files": giver.files,
        "labels": giver.labels,
        "problem": giver.problem,
        "tokenizer": giver.tokenizer,
    }


def _from_hub(source: Mapping[str, Any]) -> Begun:
    repository, revision = source.get("id"), source.get("revision") or "main"
    if not isinstance(repository, str) or not HUB_ID.fullmatch(repository) or ".." in repository:
        raise _wrong("id", "A Hugging Face id looks like google-bert/bert-base-uncased.")
    if not isinstance(revision, str) or not REVISION.fullmatch(revision) or ".." in revision:
        raise _wrong("revision", "A revision is a commit, a tag or a branch, such as main.")
    return {"source": {"kind": "hub", "id": repository, "revision": revision}}


def _from_upload(files: IO[bytes] | None) -> Begun:
    if files is None:
        sentence = "Send the zipped model folder as the file."
        raise Invalid(sentence, fields={"file": [sentence]})
    name = str(getattr(files, "name", "") or "model.zip").replace("\\", "/").split("/")[-1]
    return {
        "source": {"kind": "upload", "file": name[:255]},
        "files": model_folders.unzip(files),
    }


def _from_export(project: Project, task: str, source: Mapping[str, Any]) -> Begun:
    number = source.get("export")
    if isinstance(number, bool) or not isinstance(number, int):
        raise _wrong("export", "Give the id of an export.")
    exports = Export.objects.select_related("version__model")
    export = exports.filter(version__model__project=project, pk=number).first()
    if export is None:
        raise _wrong("export", f"There is no export {number} in this project.")
    if export.version.model.task != task:
        raise _wrong("export", f"It is for {export.version.model.task}, not {task}.")
    if export.format != "safetensors" or export.status != Export.Status.READY:
        raise _wrong("export", "Only a ready export of form safetensors is a model folder.")
    report = export.report or {}
    metric = report.get("metric") or {}
    return {
        "source": {
            "kind": "export",
            "export": number,
            "from": export.version.reference,
            "how": export.compress["kind"] if export.compress else None,
            "said": report.get("said", ""),
        },
        "files": export.files,
        "metrics": {f"val/{metric['name']}": metric["after"]} if metric else {},
    }


def _from_run(project: Project, task: str, source: Mapping[str, Any]) -> Begun:
    number = source.get("run")
    if isinstance(number, bool) or not isinstance(number, int):
        raise _wrong("run", "Give the number of a finished run.")
    run = Run.objects.select_related("output").filter(project=project, number=number).first()
    if run is None:
        raise _wrong("run", f"There is no run {number} in this project.")
    made = run.output
    if made is None or made.status != ModelVersion.Status.READY:
        raise _wrong("run", f"Run {number} has left no model (it is {run.status}).")
    if run.task != task:
        raise _wrong("run", f"Run {number} is about {run.task}, not {task}.")
    return {
        "source": {"kind": "run", "run": number},
        "architecture": made.architecture,
        "config": made.config,
        "labels": made.labels,
        "problem": made.problem,
        "tokenizer": made.tokenizer,
        "parameters": made.parameters,
        "size_bytes": made.size_bytes,
        "files": made.files,
        "metrics": made.metrics,
        "status": ModelVersion.Status.READY,
    }


def _wrong(name: str, sentence: str) -> Invalid:
    return Invalid(sentence, fields={f"source.{name}": [sentence]})
