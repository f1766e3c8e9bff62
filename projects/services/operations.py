"""Operations on versions: checked and written down here, carried out by a worker."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.db import transaction
from rest_framework.exceptions import ValidationError

from distillhub.lib import storage
from distillhub.lib.errors import Conflict, DomainError, Invalid, Missing
from projects import jobs
from projects.models import Dataset, DatasetVersion, User
from projects.operations import registry, trying
from projects.operations.operation import Operation
from projects.services import datasets


def change(
    *,
    version: DatasetVersion,
    operation: str,
    options: Mapping[str, Any],
    by: User,
    told: str = "",
) -> DatasetVersion:
    """The next version of the dataset, which a worker then makes of `version`. `told` says better
    than the operation itself what was done.

    Raises NotReady for a version that has no rows (yet), Invalid with `fields` for an operation
    or options that cannot be, Missing for a version that was deleted meanwhile.
    """
    asked = prepared(version=version, operation=operation, options=options)
    asked["told"] = told or asked["told"]
    with transaction.atomic():
        Dataset.objects.select_for_update().filter(pk=version.dataset_id).first()
        sources = {version.pk, *asked["others"]}
        if DatasetVersion.objects.filter(pk__in=sources).count() < len(sources):
            raise Missing("A version that this is to be made of was deleted meanwhile.")
        made = DatasetVersion.objects.create(
            dataset=version.dataset,
            number=version.dataset.next_number(),
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


def again(*, version: DatasetVersion, by: User) -> DatasetVersion:
    """The operation of a version that failed, once more. Raises Conflict unless it failed, and
    what `change` raises."""
    if version.status != DatasetVersion.Status.FAILED or version.parent is None:
        raise Conflict("Only a change that failed can be tried again.")
    asked = version.operation or {}
    return change(
        version=version.parent, operation=asked["operation"], options=asked["options"], by=by
    )


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
    complete = found.pinned(version, dict(shape.validated_data))
    others = [
        datasets.resolve(project=version.dataset.project, reference=reference)
        for reference in found.others(complete)
    ]
    complete = found.naming(complete, [other.reference for other in others])
    for other in others:
        found.check_other(version, other, complete)
    found.check(version, complete)
    return {
        "operation": found.key,
        "options": complete,
        "told": found.told(complete),
        "others": [other.pk for other in others],
    }


def tried(
    *, version: DatasetVersion, operation: str, options: Mapping[str, Any]
) -> trying.Tried | None:
    """What the operation would do, looked at for about a second; None of one that cannot be tried.

    Raises NotReady, Invalid and Missing.
    """
    found = registry.get(operation)
    asked = prepared(version=version, operation=operation, options=options)
    if not found.can_be_tried:
        return None
    by_key = DatasetVersion.objects.select_related("dataset").in_bulk(asked["others"])
    versions = [version, *(by_key[pk] for pk in asked["others"])]
    try:
        return trying.tried(found, versions, asked["options"])
    except storage.Damaged as error:
        raise Missing(str(error)) from None


def estimated(
    *, version: DatasetVersion, operation: str, options: Mapping[str, Any]
) -> dict[str, Any] | None:
    """What the operation will take, of one that costs something; None of others.

    Raises NotReady, Invalid and Missing.
    """
    asked = prepared(version=version, operation=operation, options=options)
    try:
        return registry.get(operation).estimate(trying.Glimpse(version), asked["options"])
    except storage.Damaged as error:
        raise Missing(str(error)) from None


def offered(version: DatasetVersion) -> list[Operation]:
    """The operations that a page offers for a version."""
    return [one for one in registry.operations().values() if one.has_form and one.suits(version)]


class Remedy(NamedTuple):
    """What mends an issue with one click."""

    operation: str
    words: str  # on the button
    told: str  # in the past tense
    options: dict[str, Any]

    @property
    def query(self) -> str:
        """The options as the end of an address."""
        told = {
            name: str(value).lower() if isinstance(value, bool) else value
            for name, value in self.options.items()
        }
        return f"?{urlencode(told)}" if told else ""


def remedies(version: DatasetVersion) -> dict[str, list[Remedy]]:
    """{an issue's code: what mends it}, of the issues that this version has."""
    found: dict[str, list[Remedy]] = {}
    codes = {one["code"] for one in version.issues}
    for one in registry.operations().values():
        for code in codes & one.mends.keys():
            words, options = one.mends[code]
            try:
                asked = prepared(version=version, operation=one.key, options=options)
            except (Invalid, ValidationError):  # it does not suit this version
                continue
            remedy = Remedy(one.key, words, asked["told"], dict(options))
            found.setdefault(code, []).append(remedy)
    for code, remedy in _going_on(version):
        found.setdefault(code, []).insert(0, remedy)
    return found


def _going_on(version: DatasetVersion) -> Iterator[tuple[str, Remedy]]:
    """With the rows that the operation which made this version left undone."""
    done = version.operation
    if done is None:
        return
    left = registry.operations()[done["operation"]].goes_on
    for code in {one["code"] for one in version.issues} & left.keys():
        try:
            asked = prepared(
                version=version, operation=done["operation"], options=rest_of(version, code)
            )
        except (DomainError, ValidationError):  # its teacher is gone
            continue
        again = {"again": version.number, "issue": code}
        yield code, Remedy(done["operation"], left[code], asked["told"], again)


def rest_of(version: DatasetVersion, issue: str) -> dict[str, Any]:
    """The options of the operation that made a version, for the rows that an issue of it lists."""
    done: dict[str, Any] = (version.operation or {}).get("options", {})
    return {name: value for name, value in done.items() if name != "row_ids"} | {"issue": issue}


def _reading(version: DatasetVersion, asked: Mapping[str, Any]) -> dict[str, Any]:
    """How the next version is to be understood: as its parent, but of no file of its own."""
    own = ["files", "hub", "classes"]
    if version.labelled:  # from now on rows say which labels there are
        own.append("labels")
    reading = {key: value for key, value in version.reading.items() if key not in own}
    return reading | registry.get(asked["operation"]).reading(version, asked["options"])
