"""Slices: parts of a dataset's rows, told by conditions that are saved by name."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet

from distillhub.lib.errors import Conflict, Invalid, Missing
from projects.models import Dataset, DatasetVersion, Slice, User
from projects.operations import conditions as row_conditions
from projects.services import datasets, version_rows

MOST_SLICES = 100  # of a dataset


class Counted(NamedTuple):
    """A slice in one version."""

    slice: Slice
    rows: int | None  # None where the version knows its conditions no more
    told: str


def of_dataset(dataset: Dataset) -> QuerySet[Slice]:
    return dataset.slices.select_related("created_by")


@transaction.atomic
def create(*, version: DatasetVersion, name: str, conditions: Mapping[str, Any], by: User) -> Slice:
    """Save conditions that `version` knows.

    Raises NotReady, Conflict for a name that is taken, and Invalid for a name, for conditions that
    cannot be, that are none, or that mean other rows in the next version (numbers and issues).
    """
    datasets.require_ready(version)
    kept = {key: value for key, value in conditions.items() if value not in (None, False, [], "")}
    for key in ("row_ids", "issue"):
        if key in kept:
            sentence = "A slice is told by what rows are like, not by their numbers or issues."
            raise Invalid(sentence, fields={key: [sentence]})
    if row_conditions.filter_of(version, kept).is_empty:
        raise Invalid("Give at least one condition.", fields={"conditions": ["There is none."]})
    dataset = Dataset.objects.select_for_update().get(pk=version.dataset_id)
    made = Slice(dataset=dataset, name=name.strip(), conditions=kept, created_by=by)
    try:
        made.clean_fields()
    except ValidationError as error:
        raise Invalid(error.messages[0], fields={"name": list(error.messages)}) from None
    if dataset.slices.filter(name=made.name).exists():
        raise Conflict(f"{dataset.name} has a slice {made.name} already.")
    if dataset.slices.count() >= MOST_SLICES:
        raise Invalid(f"A dataset has at most {MOST_SLICES} slices. Delete one first.")
    made.save(force_insert=True)
    return made


def get(*, dataset: Dataset, name: str) -> Slice:
    """Raises Missing."""
    found = of_dataset(dataset).filter(name=name).first()
    if found is None:
        raise Missing(f"{dataset.name} has no slice {name}.")
    return found


def delete(*, dataset: Dataset, name: str) -> None:
    """Raises Missing."""
    get(dataset=dataset, name=name).delete()


def counted(version: DatasetVersion) -> list[Counted]:
    """Every slice of the dataset with its rows in this version. Raises NotReady."""
    datasets.require_ready(version)
    found = []
    for one in of_dataset(version.dataset):
        try:
            rows = version_rows.count(version=version, conditions=one.conditions)
        except Invalid:  # a column that was dropped, say
            rows = None
        found.append(Counted(one, rows, row_conditions.told(one.conditions)))
    return found
