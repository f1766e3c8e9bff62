"""Datasets that a worker takes from the Hugging Face hub, or a mirror (projects/ingest/hub.py)."""

import re
from collections.abc import Mapping
from typing import Any

from django.db import transaction

from distillhub.lib.errors import Conflict, Invalid
from projects import jobs
from projects.ingest import registry
from projects.models import Dataset, DatasetVersion, Project, User
from projects.services import datasets

MOST_SPLITS = 20
MOST_NAME = 200  # characters of a configuration, a split, a revision

_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)
_REVISION = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)*", re.ASCII)


def take(
    *,
    project: Project,
    hub: Mapping[str, Any],
    name: str = "",
    task: str = "",
    dataset: Dataset | None = None,
    columns: Mapping[str, Any] | None = None,
    splits: Mapping[str, Any] | None = None,
    problem: str = "",
    reading: Mapping[str, Any] | None = None,
    description: str = "",
    by: User,
) -> DatasetVersion:
    """The next version of `dataset` (or version 1 of a new one called `name`), which a worker then
    fetches and reads. `hub` is {"id", "revision"?, "config"?, "splits"?}; the rest as of
    datasets.upload, but that the task must be told: nothing has been seen yet.

    Raises Invalid with `fields`, and Conflict when the name is taken.
    """
    said = asked_for(hub)
    said["asked"] = datasets.changes_of(dataset, columns, splits, problem, reading)
    if dataset is None and task not in tasks():
        known = ", ".join(tasks())
        sentence = f"Say what it is for: {known}."
        raise Invalid(sentence, fields={"task": [sentence]})
    with transaction.atomic():
        if dataset is None:
            dataset = datasets.dataset_called(
                project=project, name=name, task=task, description=description, by=by
            )
        return _awaited(dataset, {"hub": said}, by)


def again(*, version: DatasetVersion, by: User) -> DatasetVersion:
    """What could not be fetched is asked for once more, of the same commit; files that came are
    kept. Raises Conflict unless it failed so."""
    if version.status != DatasetVersion.Status.FAILED or not was_not_fetched(version):
        raise Conflict("Only what could not be fetched can be asked for again.")
    with transaction.atomic():
        return _awaited(version.dataset, version.reading, by)


def was_not_fetched(version: DatasetVersion) -> bool:
    """Whether the version's files did not all come, or are of no format."""
    return version.operation is None and "hub" in version.reading and not version.format


def tasks() -> list[str]:
    """What a dataset may be for."""
    found = (task for form in registry.formats().values() for task in form.tasks)
    return sorted(dict.fromkeys(found))


def asked_for(hub: Mapping[str, Any]) -> dict[str, Any]:
    """{"id", "revision", "config", "splits"}, complete. Raises Invalid with `fields`."""
    wrong: dict[str, list[str]] = {}
    repository = str(hub.get("id") or "").strip()
    repository = re.sub(r"^https?://[^/]+/datasets/", "", repository).strip("/")
    if not _ID.fullmatch(repository) or ".." in repository:
        wrong["hub.id"] = ["Give the id of a dataset, such as PolyAI/banking77."]
    revision = str(hub.get("revision") or "main").strip()
    if not _REVISION.fullmatch(revision) or ".." in revision or len(revision) > MOST_NAME:
        wrong["hub.revision"] = ["Give a branch, a tag or a commit, such as main."]
    config = str(hub.get("config") or "").strip()
    splits = [str(one).strip() for one in hub.get("splits") or () if str(one).strip()]
    for field, names in (("hub.config", [config]), ("hub.splits", splits)):
        if any(len(one) > MOST_NAME or not one.isprintable() for one in names):
            wrong[field] = [f"A name has at most {MOST_NAME} characters, which can be printed."]
    if len(splits) > MOST_SPLITS:
        wrong["hub.splits"] = [f"Name at most {MOST_SPLITS} splits."]
    if wrong:
        raise Invalid(next(iter(wrong.values()))[0], fields=wrong)
    splits = list(dict.fromkeys(splits))
    return {"id": repository, "revision": revision, "config": config, "splits": splits}


def _awaited(dataset: Dataset, reading: Mapping[str, Any], by: User) -> DatasetVersion:
    Dataset.objects.select_for_update().get(pk=dataset.pk)
    version = DatasetVersion.objects.create(
        dataset=dataset,
        number=dataset.next_number(),
        source_name=reading["hub"]["id"],
        reading=dict(reading),
        stage="Waiting for a worker",
        created_by=by,
    )
    transaction.on_commit(lambda: jobs.send_ingestion(version.pk))
    return version
