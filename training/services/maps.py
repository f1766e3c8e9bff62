"""Maps of rows: asked for, found, and let go. A worker makes them; what they hold is stored."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from typing import IO, Any

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from distillhub.lib import storage
from distillhub.lib.errors import Conflict, DomainError, Invalid, Missing, Unavailable
from distillhub.lib.later import np
from projects.models import DatasetVersion, ModelVersion, User
from projects.services import datasets, registry
from training import catalog
from training.models import RowMap
from training.services import teacher_outputs
from training.worker import maps as making

BUILT_IN = "built-in"
PLANES = {
    "principal": "Widest directions (PCA), at once",
    "neighbours": "Neighbours together (t-SNE), a minute",
}
FORMAT = 1  # of what a map holds; raised where vectors come out otherwise
MOST_MODELS = 100  # offered
NOTED = timedelta(hours=6)  # between two notes that a map was used


class NoMap(Conflict):
    code = "no_map"


def make(*, version: DatasetVersion, model: Any = "", plane: Any = "principal", by: User) -> RowMap:
    """Have rows placed by a model (`minilm@2`) or, without one, in the built-in way of their kind.
    One that is there or under way is returned, one that failed is tried again; where the same rows
    were placed by the same model elsewhere, nothing is done again.

    Raises NotReady, and Invalid with the fault at its field.
    """
    datasets.require_ready(version)
    if plane not in PLANES:
        raise _invalid("plane", f"It must be one of {', '.join(PLANES)}.")
    placing = _model(version, model)
    key = _key(version, placing, plane)
    with transaction.atomic():
        twin = RowMap.objects.ready().filter(key=key).exclude(dataset_version=version).first()
        made = {"created_by": by, "version": placing, "plane": plane}
        if twin is not None:
            now = timezone.now()
            made |= {"status": "ready", "files": twin.files, "report": twin.report}
            made |= {"finished_at": now}
        try:
            with transaction.atomic():
                row_map = RowMap.objects.create(dataset_version=version, key=key, **made)
        except IntegrityError:
            row_map = listed(version=version).get(key=key)
            again = RowMap.objects.filter(pk=row_map.pk, status=RowMap.Status.FAILED)
            if not again.update(status=RowMap.CLAIMABLE, error=None, stage="", times_lost=0):
                return row_map
            row_map.status, row_map.error = RowMap.CLAIMABLE, None
        if not row_map.is_final:
            making.WORK.wake(row_map)
    return row_map


def listed(*, version: DatasetVersion) -> QuerySet[RowMap]:
    """Of a dataset version, newest first, with what their rows show."""
    return RowMap.objects.filter(dataset_version=version).select_related(
        "version__model", "dataset_version__dataset", "created_by"
    )


def find(*, version: DatasetVersion, map_id: int) -> RowMap:
    """Raises Missing."""
    found = listed(version=version).filter(pk=map_id).first()
    if found is None:
        raise Missing(f"{version.reference} has no map {map_id}.")
    return found


def ready(*, version: DatasetVersion, name: str = "", for_words: bool = False) -> RowMap:
    """The newest map of a version by a model of this reference, in the built-in way, or by any;
    `for_words`: one on which typed words can be placed. Raises NoMap."""
    every = list(listed(version=version).filter(status=RowMap.Status.READY))
    named = [one for one in every if not name or one.made_by == name]
    fitting = [one for one in named if one.reads_words or not for_words]
    if fitting:
        return fitting[0]
    if named and version.input_column == "text":
        raise NoMap(
            f"Typed words have a place on the built-in map only, which {version.reference} does "
            "not have yet. Make it on the tab Map."
        )
    if for_words and version.input_column != "text":
        raise NoMap("Words can be looked for in texts alone; take a row to find others like it.")
    by = f" by {name}" if name else ""
    raise NoMap(f"{version.reference} has no map{by} yet. Make one on its tab Map.")


def remove(*, row_map: RowMap) -> None:
    """Also of one that is being made: its worker lets go of it within seconds. The files go within
    a day after no other map has them."""
    row_map.delete()


def choices(*, version: DatasetVersion) -> list[ModelVersion]:
    """Trained models of the project that read these rows, the newest first."""
    fitting = [
        task["key"]
        for task in catalog.methods()["tasks"]
        if task["unit"] == "row" and task["column"] == version.input_column
    ]
    found = (
        ModelVersion.objects.ready()
        .filter(model__project=version.dataset.project_id, model__task__in=fitting)
        .select_related("model")
        .order_by("-pk")[:MOST_MODELS]
    )
    return [one for one in found if one.is_trained and one.files]


def open_file(*, row_map: RowMap, name: str) -> IO[bytes]:
    """One of its arrays, verified. Raises Missing, and Unavailable when storage has lost it."""
    file = row_map.file(name)
    if file is None:
        raise Missing(f"This map has no {name}.")
    try:
        return storage.open_blob(file["sha256"])
    except storage.Damaged:
        raise Unavailable(f"A file of the map of {row_map.dataset_version} is missing.") from None


def points(*, row_map: RowMap) -> np.ndarray[Any, Any]:
    """`[rows, 2]`, float32."""
    note_use(row_map)
    with open_file(row_map=row_map, name="points.npy") as stream:
        found: np.ndarray[Any, Any] = np.load(stream, allow_pickle=False)
    return found


def note_use(row_map: RowMap) -> None:
    """So that what is looked at stays. Now and then only: most looks write nothing."""
    before = timezone.now() - NOTED
    if row_map.last_used < before:
        RowMap.objects.filter(pk=row_map.pk, last_used__lt=before).update(last_used=timezone.now())


def _model(version: DatasetVersion, reference: Any) -> ModelVersion | None:
    """Raises Invalid."""
    if reference in (None, "", BUILT_IN):
        return None
    if not isinstance(reference, str):
        raise _invalid("model", "Name a model, as in minilm@2, or leave it out.")
    try:
        found = registry.resolve(project=version.dataset.project, reference=reference)
    except DomainError as error:
        raise _invalid("model", error.detail) from None
    task = catalog.find("tasks", found.model.task)
    if found.is_asked or task is None or task["unit"] != "row":
        raise _invalid("model", f"{found.reference} does not make one vector of a row.")
    if task["column"] != version.input_column:
        column = version.input_column or "columns"
        raise _invalid("model", f"{found.reference} does not read the {column} of these rows.")
    if not found.is_trained or found.status != ModelVersion.Status.READY:
        raise _invalid("model", f"{found.reference} has not been trained, so it knows no rows.")
    return found


def _key(version: DatasetVersion, model: ModelVersion | None, plane: str) -> str:
    by = BUILT_IN if model is None else teacher_outputs.digest(model)
    said = [FORMAT, version.fingerprint, version.input_column, version.features, by, plane]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def _invalid(at: str, sentence: str) -> Invalid:
    return Invalid(sentence, fields={at: [sentence]})
