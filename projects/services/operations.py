"""Operations on versions: checked and written down here, carried out by a worker."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.db.models import Max

from projects import jobs
from projects.models import Dataset, DatasetVersion, User
from projects.operations import merging, registry
from projects.services import datasets


def change(
    *, version: DatasetVersion, operation: str, options: Mapping[str, Any], by: User
) -> DatasetVersion:
    """The next version of the dataset, which a worker then makes of `version`.

    Raises NotReady for a version that has no rows (yet), Invalid with `fields` for an operation
    or options that cannot be.
    """
    asked = prepared(version=version, operation=operation, options=options)
    with transaction.atomic():
        Dataset.objects.select_for_update().get(pk=version.dataset_id)
        newest = version.dataset.versions.aggregate(number=Max("number"))["number"] or 0
        made = DatasetVersion.objects.create(
            dataset=version.dataset,
            number=newest + 1,
            source_name=version.source_name,
            source_sha256=version.source_sha256,
            source_bytes=version.source_bytes,
            format=version.format,
            reading=_reading(version, asked),
            parent=version,
            operation=asked,
            stage="Waiting for a worker",
            created_by=by,
        )
        transaction.on_commit(lambda: jobs.send_ingestion(made.pk))
    return made


def prepared(
    *, version: DatasetVersion, operation: str, options: Mapping[str, Any]
) -> dict[str, Any]:
    """What is written down of an operation: {"operation", "options", "told", "others"}.

    Raises NotReady and Invalid.
    """
    datasets.require_ready(version)
    found = registry.get(operation)
    shape = found.Options(data=dict(options))
    shape.is_valid(raise_exception=True)
    complete = dict(shape.validated_data)
    others = [
        datasets.resolve(project=version.dataset.project, reference=reference)
        for reference in found.others(complete)
    ]
    for other in others:
        merging.refuse_unlike(version, other)
    found.check(version, complete)
    return {
        "operation": found.key,
        "options": complete,
        "told": found.told(complete),
        "others": [other.pk for other in others],
    }


def _reading(version: DatasetVersion, asked: Mapping[str, Any]) -> dict[str, Any]:
    """How the next version is to be understood: as its parent, but of no file of its own."""
    reading = {key: value for key, value in version.reading.items() if key != "files"}
    return reading | registry.get(asked["operation"]).reading(version, asked["options"])
