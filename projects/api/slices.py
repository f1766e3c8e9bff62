"""Slices of a dataset, and their rows in a version."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from projects.api.base import ProjectMixin, idempotent, person
from projects.api.datasets import OfVersion
from projects.models import Role, Slice
from projects.operations.conditions import Conditions
from projects.services import datasets, slices


class SliceSerializer(serializers.ModelSerializer[Slice]):
    created_by = serializers.CharField(source="created_by.username", read_only=True)

    class Meta:
        model = Slice
        fields: ClassVar = ["name", "conditions", "created_by", "created_at"]
        read_only_fields: ClassVar = fields


class NewSliceSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=100)
    conditions = Conditions(help_text="Without `row_ids` and `issue`.")
    version = serializers.IntegerField(
        min_value=1,
        max_value=2**31 - 1,
        required=False,
        help_text="That knows the conditions; the newest that is ready, if left out.",
    )


class CountedSliceSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(source="slice.name")
    told = serializers.CharField(help_text="The conditions in words.")
    rows = serializers.IntegerField(
        allow_null=True, help_text="Null where the version knows the conditions no more."
    )


class SliceList(ProjectMixin, APIView):
    @extend_schema(
        operation_id="dataset_slices_list",
        responses=SliceSerializer(many=True),
        summary="Slices of a dataset",
    )
    def get(self, request: Request, project_slug: str, dataset_name: str) -> Response:
        dataset = datasets.get(project=self.project(), name=dataset_name)
        return Response(SliceSerializer(slices.of_dataset(dataset), many=True).data)

    @idempotent
    @extend_schema(
        request=NewSliceSerializer, responses={201: SliceSerializer}, summary="Save a slice"
    )
    def post(self, request: Request, project_slug: str, dataset_name: str) -> Response:
        dataset = datasets.get(project=self.project(), name=dataset_name)
        body = NewSliceSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        asked = dict(body.validated_data)
        number = asked.pop("version", None)
        reference = dataset.name if number is None else f"{dataset.name}@{number}"
        version = datasets.resolve(project=self.project(), reference=reference)
        made = slices.create(version=version, **asked, by=person(request))
        return Response(SliceSerializer(made).data, status=201)


class SliceDetail(ProjectMixin, APIView):
    roles: ClassVar = {"DELETE": Role.EDITOR}

    @extend_schema(responses=SliceSerializer, summary="A slice")
    def get(
        self, request: Request, project_slug: str, dataset_name: str, slice_name: str
    ) -> Response:
        dataset = datasets.get(project=self.project(), name=dataset_name)
        return Response(SliceSerializer(slices.get(dataset=dataset, name=slice_name)).data)

    @extend_schema(responses={204: None}, summary="Delete a slice")
    def delete(
        self, request: Request, project_slug: str, dataset_name: str, slice_name: str
    ) -> Response:
        dataset = datasets.get(project=self.project(), name=dataset_name)
        slices.delete(dataset=dataset, name=slice_name)
        return Response(status=204)


class VersionSlices(OfVersion):
    @extend_schema(
        operation_id="dataset_version_slices_list",
        responses=CountedSliceSerializer(many=True),
        summary="How many rows of a version each slice has",
    )
    def get(self, request: Request, project_slug: str, dataset_name: str, number: int) -> Response:
        found = slices.counted(self.version())
        return Response(CountedSliceSerializer(found, many=True).data)
