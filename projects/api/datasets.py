"""Datasets, their versions, and the rows of a version."""

from typing import Any, ClassVar

from django.db.models import Prefetch, QuerySet
from django.http import FileResponse, HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import generics
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse
from rest_framework.utils.urls import remove_query_param, replace_query_param
from rest_framework.views import APIView

from distillhub.lib import downloads
from distillhub.lib.errors import Conflict, Invalid
from distillhub.lib.rest import Cursor, SafeJSONParser
from projects.api.base import ProjectMixin, idempotent, person
from projects.api.dataset_operations import operation_serializer
from projects.api.dataset_serializers import (
    DatasetSerializer,
    DownloadQuerySerializer,
    EstimateSerializer,
    NextVersionSerializer,
    RemovedSerializer,
    RowsQuerySerializer,
    RowsSerializer,
    UploadSerializer,
    VersionSerializer,
    VersionSummarySerializer,
)
from projects.models import Dataset, DatasetVersion, Project, Role
from projects.services import (
    datasets,
    hub_datasets,
    likeness,
    operations,
    removal,
    resumable,
    version_rows,
    written,
)

MOST_PIXELS = 1024  # on the longer side of a served picture


class ByNumber(Cursor):
    ordering = "-number"


@extend_schema_view(get=extend_schema(summary="Datasets of a project"))
class DatasetList(ProjectMixin, generics.ListAPIView[Dataset]):
    serializer_class = DatasetSerializer
    parser_classes = (MultiPartParser, SafeJSONParser)

    def get_queryset(self) -> QuerySet[Dataset]:
        newest = DatasetVersion.objects.newest_of_each().select_related("dataset", "created_by")
        return (
            Dataset.objects.filter(project=self.project())
            .select_related("created_by")
            .prefetch_related(Prefetch("versions", newest, to_attr="newest"))
        )

    @idempotent
    @extend_schema(
        request={"multipart/form-data": UploadSerializer, "application/json": UploadSerializer},
        responses={201: VersionSerializer},
        summary="Upload a dataset",
    )
    def post(self, request: Request, project_slug: str) -> Response:
        version = _uploaded(request, UploadSerializer(data=request.data), self.project())
        return Response(VersionSerializer(version).data, status=201)


class DatasetDetail(ProjectMixin, APIView):
    roles: ClassVar = {"DELETE": Role.OWNER}

    @extend_schema(responses=DatasetSerializer, summary="A dataset")
    def get(self, request: Request, project_slug: str, dataset_name: str) -> Response:
        dataset = datasets.get(project=self.project(), name=dataset_name)
        return Response(DatasetSerializer(dataset).data)

    @extend_schema(responses={200: RemovedSerializer}, summary="Delete a dataset that nobody uses")
    def delete(self, request: Request, project_slug: str, dataset_name: str) -> Response:
        dataset = datasets.get(project=self.project(), name=dataset_name)
        removed = removal.delete_dataset(dataset=dataset, by=person(request))
        return Response(RemovedSerializer(removed).data)


@extend_schema_view(get=extend_schema(summary="Versions of a dataset"))
class VersionList(ProjectMixin, generics.ListAPIView[DatasetVersion]):
    serializer_class = VersionSummarySerializer
    pagination_class = ByNumber
    parser_classes = (MultiPartParser, SafeJSONParser)

    def get_queryset(self) -> QuerySet[DatasetVersion]:
        if getattr(self, "swagger_fake_view", False):
            return DatasetVersion.objects.none()
        dataset = datasets.get(project=self.project(), name=self.kwargs["dataset_name"])
        return dataset.versions.select_related("dataset", "created_by")

    @idempotent
    @extend_schema(
        request={
            "multipart/form-data": NextVersionSerializer,
            "application/json": operation_serializer(),
        },
        responses={201: VersionSerializer},
        summary="Upload the next version, or make it of an earlier one",
    )
    def post(self, request: Request, project_slug: str, dataset_name: str) -> Response:
        dataset = datasets.get(project=self.project(), name=dataset_name)
        if "operation" in request.data or not _brings_a_file(request):
            return Response(VersionSerializer(self._changed(request, dataset)).data, status=201)
        version = _uploaded(
            request,
            NextVersionSerializer(data=request.data),
            self.project(),
            name=dataset.name,
            task=dataset.task,
            dataset=dataset,
        )
        return Response(VersionSerializer(version).data, status=201)

    def _changed(self, request: Request, dataset: Dataset) -> DatasetVersion:
        return operations.change(**_asked(request, dataset), by=person(request))


class OperationEstimate(ProjectMixin, APIView):
    @extend_schema(
        request=operation_serializer(),
        responses=EstimateSerializer,
        summary="What a change that asks a teacher will take",
    )
    def post(self, request: Request, project_slug: str, dataset_name: str) -> Response:
        dataset = datasets.get(project=self.project(), name=dataset_name)
        found = operations.estimated(**_asked(request, dataset))
        return Response(EstimateSerializer(found or {}).data)


def _asked(request: Request, dataset: Dataset) -> dict[str, Any]:
    """What `{"operation", "version"?, ...options}` says, as services take it."""
    asked = dict(request.data) if isinstance(request.data, dict) else {}
    operation, number = asked.pop("operation", None), asked.pop("version", None)
    if not isinstance(operation, str):
        detail = "Name an operation, or send a file as multipart/form-data, in the part `file`."
        raise Invalid(detail, fields={"operation": [detail]})
    if number is not None and not (type(number) is int and 0 < number < 1 << 31):
        raise Invalid("A version is a number.", fields={"version": ["This is no version."]})
    reference = dataset.name if number is None else f"{dataset.name}@{number}"
    version = datasets.resolve(project=dataset.project, reference=reference)
    return {"version": version, "operation": operation, "options": asked}


class OfVersion(ProjectMixin, APIView):
    """Views of one version, by the address's dataset and number."""

    def version(self) -> DatasetVersion:
        return datasets.version_of(
            project=self.project(),
            name=self.kwargs["dataset_name"],
            number=self.kwargs["number"],
        )


class VersionDetail(OfVersion):
    roles: ClassVar = {"DELETE": Role.OWNER}

    @extend_schema(responses=VersionSerializer, summary="A version")
    def get(self, request: Request, project_slug: str, dataset_name: str, number: int) -> Response:
        return Response(VersionSerializer(self.version()).data)

    @extend_schema(responses={200: RemovedSerializer}, summary="Delete a version that nobody uses")
    def delete(
        self, request: Request, project_slug: str, dataset_name: str, number: int
    ) -> Response:
        removed = removal.delete_version(version=self.version(), by=person(request))
        return Response(RemovedSerializer(removed).data)


class VersionTryAgain(OfVersion):
    @idempotent
    @extend_schema(
        request=None,
        responses={201: VersionSerializer},
        summary="Try again what failed: an operation, or fetching from a hub",
        description="An uploaded file that could not be read is sent again, with `columns` that "
        "fit it.",
    )
    def post(self, request: Request, project_slug: str, dataset_name: str, number: int) -> Response:
        version = self.version()
        if version.operation is not None:
            made = operations.again(version=version, by=person(request))
        elif hub_datasets.was_not_fetched(version):
            made = hub_datasets.again(version=version, by=person(request))
        else:
            raise Conflict("Only an operation, or what came of a hub, is tried again.")
        return Response(VersionSerializer(made).data, status=201)


class RowList(OfVersion):
    @extend_schema(
        parameters=[RowsQuerySerializer], responses=RowsSerializer, summary="Rows of a version"
    )
    def get(self, request: Request, project_slug: str, dataset_name: str, number: int) -> Response:
        version = self.version()
        query = RowsQuerySerializer(data=request.query_params)
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        like = likeness.asked(
            like=asked.pop("like", None),
            meaning=asked.pop("meaning", ""),
            by=asked.pop("map", ""),
        )
        rows, count = version_rows.rows_and_total(version=version, like=like, **asked)
        served = {"image": "api_dataset_image", "audio": "api_dataset_sound"}
        if route := served.get(version.input_column):
            for row in rows:
                parts = [project_slug, dataset_name, number, row["row_id"]]
                row[version.input_column] = reverse(route, parts, request=request)
        return Response({"results": rows, "count": count} | _links(request, asked, count))


class RowImage(OfVersion):
    @extend_schema(
        responses={(200, "image/png"): OpenApiTypes.BINARY}, summary="The picture of a row"
    )
    def get(
        self, request: Request, project_slug: str, dataset_name: str, number: int, row_id: int
    ) -> HttpResponse:
        picture = version_rows.picture(version=self.version(), row_id=row_id, size=MOST_PIXELS)
        return downloads.picture(picture)


class RowSound(OfVersion):
    @extend_schema(
        responses={(200, "audio/wav"): OpenApiTypes.BINARY},
        summary="The sound of a row: its first minute, as WAV",
    )
    def get(
        self, request: Request, project_slug: str, dataset_name: str, number: int, row_id: int
    ) -> HttpResponse:
        wav = version_rows.sound(version=self.version(), row_id=row_id)
        return downloads.sound(wav, asked=request.headers.get("Range", ""))


class Download(OfVersion):
    @extend_schema(
        responses={
            (200, "application/vnd.apache.parquet"): OpenApiResponse(OpenApiTypes.BINARY),
            (200, "text/csv"): OpenApiResponse(OpenApiTypes.BINARY),
            (200, "application/jsonl"): OpenApiResponse(OpenApiTypes.BINARY),
            (200, "application/zip"): OpenApiResponse(OpenApiTypes.BINARY),
        },
        parameters=[DownloadQuerySerializer],
        summary="The version's Parquet file, or its rows in another form",
    )
    def get(
        self, request: Request, project_slug: str, dataset_name: str, number: int
    ) -> FileResponse:
        query = DownloadQuerySerializer(data=request.query_params)
        query.is_valid(raise_exception=True)
        return written.download(version=self.version(), form=query.validated_data["as"])


def _brings_a_file(request: Request) -> bool:
    multipart = str(request.content_type).startswith("multipart/")
    return multipart or "upload" in request.data or "hub" in request.data


def _uploaded(
    request: Request, body: NextVersionSerializer, project: Project, **known: Any
) -> DatasetVersion:
    """The version that a file in the body becomes, or what is named there."""
    if not _brings_a_file(request):
        detail = (
            "Send the file as multipart/form-data, in the part `file`, or name an `upload`, or a "
            "dataset of the `hub`."
        )
        raise Invalid(detail, fields={"file": [detail]})
    body.is_valid(raise_exception=True)
    asked = known | body.validated_data
    if asked.get("hub"):
        return hub_datasets.take(project=project, **asked, by=person(request))
    upload_ids = asked.pop("upload", None)
    if not upload_ids:
        return datasets.upload(project=project, **asked, by=person(request))
    with resumable.files(upload_ids=upload_ids, by=person(request)) as files:
        return datasets.upload(
            project=project, file=files[0], more=files[1:], **asked, by=person(request)
        )


def _links(request: Request, asked: dict[str, Any], count: int) -> dict[str, str | None]:
    url = request.build_absolute_uri()
    offset, limit = asked["offset"], asked["limit"]
    following = offset + limit
    before = max(0, offset - limit)
    previous = replace_query_param(url, "offset", before)
    return {
        "next": replace_query_param(url, "offset", following) if following < count else None,
        "previous": None
        if not offset
        else (previous if before else remove_query_param(url, "offset")),
    }
