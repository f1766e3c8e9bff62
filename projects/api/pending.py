"""Changes of rows that are pending: a person's own, of one version, until they make the next."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from projects.api.base import idempotent, person
from projects.api.dataset_serializers import VersionSerializer
from projects.api.datasets import OfVersion
from projects.models import Role
from projects.operations.editing import Change
from projects.services import pending

MOST_AT_ONCE = 500


class PendingChangeSerializer(serializers.Serializer[Any]):
    place = serializers.IntegerField(help_text="By which it is taken away.")
    change = Change()
    rows = serializers.CharField(help_text="Which rows, in words.")
    told = serializers.CharField(help_text="What becomes of them, in words.")


class PendingSerializer(serializers.Serializer[Any]):
    count = serializers.IntegerField()
    changes = PendingChangeSerializer(many=True)


class NewPendingSerializer(serializers.Serializer[Any]):
    changes = serializers.ListField(
        child=Change(),
        allow_empty=False,
        max_length=MOST_AT_ONCE,
        help_text="As the operation `edit` takes them. One of a `row_id` takes the place of the "
        "one before.",
    )


def _told(kept: pending.Pending) -> dict[str, Any]:
    lines = zip(kept.changes, kept.lines(), strict=True)
    changes = [
        {"place": place, "change": change, "rows": rows, "told": told}
        for place, (change, (rows, told)) in enumerate(lines)
    ]
    return {"count": len(changes), "changes": changes}


class PendingList(OfVersion):
    roles: ClassVar = {"GET": Role.EDITOR}

    @extend_schema(
        operation_id="dataset_pending_list",
        responses=PendingSerializer,
        summary="One's own changes of rows that are not yet a version",
    )
    def get(self, request: Request, project_slug: str, dataset_name: str, number: int) -> Response:
        return Response(_told(pending.of(version=self.version(), by=person(request))))

    @extend_schema(
        operation_id="dataset_pending_add",
        request=NewPendingSerializer,
        responses=PendingSerializer,
        summary="Change rows, pending until they become a version: all of these, or none",
    )
    def post(self, request: Request, project_slug: str, dataset_name: str, number: int) -> Response:
        version = self.version()
        body = NewPendingSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        changes = body.validated_data["changes"]
        return Response(_told(pending.add(version=version, changes=changes, by=person(request))))

    @extend_schema(
        operation_id="dataset_pending_discard",
        responses={204: None},
        summary="Forget all of one's pending changes",
    )
    def delete(
        self, request: Request, project_slug: str, dataset_name: str, number: int
    ) -> Response:
        pending.discard(version=self.version(), by=person(request))
        return Response(status=204)


class PendingDetail(OfVersion):
    @extend_schema(
        operation_id="dataset_pending_remove",
        responses={200: PendingSerializer},
        summary="Forget one pending change; those after it move up",
    )
    def delete(
        self, request: Request, project_slug: str, dataset_name: str, number: int, place: int
    ) -> Response:
        version = self.version()
        kept = pending.remove(version=version, by=person(request), place=place)
        return Response(_told(kept))


class PendingApply(OfVersion):
    @idempotent
    @extend_schema(
        operation_id="dataset_pending_apply",
        request=None,
        responses={201: VersionSerializer},
        summary="Make one version of one's pending changes",
    )
    def post(self, request: Request, project_slug: str, dataset_name: str, number: int) -> Response:
        made = pending.apply(version=self.version(), by=person(request))
        return Response(VersionSerializer(made).data, status=201)
