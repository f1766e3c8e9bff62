"""Maps of dataset versions: rows as vectors, and where they stand on a plane."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import remove_query_param, replace_query_param
from rest_framework.views import APIView

from distillhub.lib.errors import Conflict, Invalid
from projects.api.base import ProjectMixin, idempotent, person
from projects.models import DatasetVersion
from projects.services import datasets
from training.api.run_serializers import ErrorShape, ObjectField
from training.models import RowMap
from training.services import maps

MOST_POINTS = 10_000  # of one page


class NewMap(serializers.Serializer[Any]):
    model = serializers.CharField(
        max_length=200,
        required=False,
        allow_blank=True,
        allow_null=True,
        help_text="Who makes the vectors: a trained model that reads these rows, minilm@2; left "
        "out, the built-in way of texts, pictures, sounds or tables.",
    )
    plane = serializers.ChoiceField(
        choices=list(maps.PLANES),
        default="principal",
        help_text="principal: the two widest directions (PCA). neighbours: near stays near "
        "(t-SNE), which takes longer.",
    )


class MapShape(serializers.ModelSerializer[RowMap]):
    dataset = serializers.CharField(source="dataset_version.reference")
    made_by = serializers.CharField(help_text="A model's reference, or built-in.")
    error = ErrorShape(allow_null=True)
    report = ObjectField(
        allow_null=True,
        help_text="rows, width (numbers a row), made_by, plane, shares (of how rows differ, that "
        "the widest directions have) and seconds.",
    )
    reads_words = serializers.BooleanField(
        help_text="Whether rows can be sought by typed words: rows/?meaning=."
    )
    size_bytes = serializers.IntegerField()
    created_by = serializers.CharField(source="created_by.username")

    class Meta:
        model = RowMap
        fields: ClassVar = [
            "id", "dataset", "made_by", "plane", "status", "stage", "error", "report",
            "reads_words", "size_bytes", "created_by", "created_at", "finished_at",
        ]  # fmt: skip
        read_only_fields: ClassVar = fields


class PointsQuery(serializers.Serializer[Any]):
    limit = serializers.IntegerField(min_value=1, max_value=MOST_POINTS, default=1000)
    offset = serializers.IntegerField(min_value=0, max_value=2**53, default=0)


class PointsShape(serializers.Serializer[Any]):
    row_ids = serializers.ListField(child=serializers.IntegerField())
    x = serializers.ListField(child=serializers.FloatField())
    y = serializers.ListField(child=serializers.FloatField())
    count = serializers.IntegerField(help_text="How many rows there are.")
    next = serializers.CharField(allow_null=True)
    previous = serializers.CharField(allow_null=True)


class OfDataset(ProjectMixin):
    def version(self) -> DatasetVersion:
        """Of the address. Raises Missing."""
        return datasets.version_of(
            project=self.project(),
            name=self.kwargs["dataset_name"],
            number=self.kwargs["number"],
        )

    def found(self) -> RowMap:
        return maps.find(version=self.version(), map_id=self.kwargs["map_id"])


class MapList(OfDataset, generics.ListAPIView[RowMap]):
    """The maps of a version, newest first."""

    serializer_class = MapShape

    def get_queryset(self) -> QuerySet[RowMap]:
        if getattr(self, "swagger_fake_view", False):
            return RowMap.objects.none()
        return maps.listed(version=self.version())

    @extend_schema(operation_id="maps_list", summary="Maps of a version")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="maps_create",
        summary="Make a map",
        request=NewMap,
        responses={202: MapShape},
        description="Have a worker make a vector of each row and a point of each vector: ask for "
        "it until its status is `ready` or `failed`. One that is there is answered as it is. Rows "
        "can then be sought by meaning: `rows/?like=12`, `rows/?meaning=lost+card`.",
    )
    @idempotent
    def post(self, request: Request, project_slug: str, dataset_name: str, number: int) -> Response:
        version = self.version()
        if not isinstance(request.data, dict):
            raise Invalid("A map is an object with a model and a plane, both of which may be left.")
        body = NewMap(data=request.data)
        body.is_valid(raise_exception=True)
        made = maps.make(version=version, by=person(request), **body.validated_data)
        found = maps.find(version=version, map_id=made.pk)
        return Response(MapShape(found).data, status=status.HTTP_202_ACCEPTED)


class MapDetail(OfDataset, APIView):
    """One map."""

    @extend_schema(operation_id="maps_retrieve", summary="A map", responses=MapShape)
    def get(
        self, request: Request, project_slug: str, dataset_name: str, number: int, map_id: int
    ) -> Response:
        return Response(MapShape(self.found()).data)

    @extend_schema(
        operation_id="maps_destroy",
        summary="Remove a map, or stop making it",
        responses={204: None},
    )
    def delete(
        self, request: Request, project_slug: str, dataset_name: str, number: int, map_id: int
    ) -> Response:
        maps.remove(row_map=self.found())
        return Response(status=status.HTTP_204_NO_CONTENT)


class MapPoints(OfDataset, APIView):
    """Where the rows stand."""

    @extend_schema(
        operation_id="maps_points",
        summary="Where rows stand on a map",
        parameters=[PointsQuery],
        responses=PointsShape,
    )
    def get(
        self, request: Request, project_slug: str, dataset_name: str, number: int, map_id: int
    ) -> Response:
        query = PointsQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        offset, limit = query.validated_data["offset"], query.validated_data["limit"]
        row_map = self.found()
        if row_map.status != RowMap.Status.READY:
            raise Conflict(f"This map is {row_map.status}; there are no points.", code="not_ready")
        points = maps.points(row_map=row_map)
        here = points[offset : offset + limit]
        url = request.build_absolute_uri()
        before = max(0, offset - limit)
        return Response(
            {
                "row_ids": list(range(min(offset, len(points)), min(offset + limit, len(points)))),
                "x": here[:, 0].tolist(),
                "y": here[:, 1].tolist(),
                "count": len(points),
                "next": replace_query_param(url, "offset", offset + limit)
                if offset + limit < len(points)
                else None,
                "previous": None
                if not offset
                else replace_query_param(url, "offset", before)
                if before
                else remove_query_param(url, "offset"),
            }
        )
