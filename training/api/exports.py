"""Exports: versions of models as they are shipped."""

from typing import Any

from django.db.models import QuerySet
from django.http.response import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework import generics, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from distillhub.lib import downloads
from distillhub.lib.errors import Invalid
from projects.api.base import idempotent, person
from training.api import export_serializers as shapes
from training.api.models import FILE, ModelMixin
from training.models import Export
from training.services import exports, model_cards


class ExportList(ModelMixin, generics.ListAPIView[Export]):
    """The exports of a version, newest first."""

    serializer_class = shapes.ExportShape

    def get_queryset(self) -> QuerySet[Export]:
        if getattr(self, "swagger_fake_view", False):
            return Export.objects.none()
        return exports.listed(version=self.version())

    @extend_schema(operation_id="exports_list", summary="The exports of a version")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="exports_create",
        summary="Ship a version",
        request=shapes.NewExport,
        responses={202: shapes.ExportShape},
        description="Queue an export. A worker writes it, opens it again, has it answer validation "
        "rows, and measures its size and speed: ask for it until its status is `ready` or "
        "`failed`. With `compress` the model is made smaller before.",
    )
    @idempotent
    def post(self, request: Request, project_slug: str, model_name: str, number: int) -> Response:
        version = self.version()
        if not isinstance(request.data, dict):
            raise Invalid("An export is an object with a format.")
        export = exports.make(version=version, asked=request.data, by=person(request))
        shape = shapes.ExportShape(export, context={"request": request})
        return Response(shape.data, status=status.HTTP_202_ACCEPTED)


class ExportMixin(ModelMixin):
    """For views under `exports/<id>/`."""

    def export(self) -> Export:
        return exports.find(version=self.version(), export_id=self.kwargs["export_id"])


class ExportDetail(ExportMixin, APIView):
    """One export."""

    @extend_schema(
        operation_id="exports_retrieve", summary="An export", responses=shapes.ExportShape
    )
    def get(
        self, request: Request, project_slug: str, model_name: str, number: int, export_id: int
    ) -> Response:
        return Response(shapes.ExportShape(self.export(), context={"request": request}).data)


class ExportDownload(ExportMixin, APIView):
    """All files of an export as one zip."""

    @extend_schema(
        operation_id="exports_download",
        summary="All files of an export, as one zip",
        responses={(200, "application/zip"): FILE},
    )
    def get(
        self, request: Request, project_slug: str, model_name: str, number: int, export_id: int
    ) -> HttpResponseBase:
        export = self.export()
        files = model_cards.beside(version=export.version, files=exports.files(export=export))
        return downloads.archive(files, name=exports.file_name(export=export))
