"""Reports: written, changed, shared."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from django.urls import reverse
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from projects.api.base import ProjectMixin, idempotent, person
from projects.models import Role
from training.models import Report
from training.services import reports


class ReportAskedShape(serializers.Serializer[Any]):
    title = serializers.CharField(
        max_length=reports.LONGEST_TITLE, required=False, help_text="Drafted where it is not given."
    )
    body = serializers.CharField(
        max_length=reports.LONGEST_BODY,
        required=False,
        allow_blank=True,
        trim_whitespace=False,
        help_text="Markdown, with lines such as {{ chart: run 12 loss }}; drafted where not given.",
    )
    study = serializers.IntegerField(
        required=False, min_value=1, max_value=10**9 - 1, help_text="Number of the study it is of."
    )
    run = serializers.IntegerField(
        required=False, min_value=1, max_value=10**9 - 1, help_text="Of the run to draft it from."
    )


class ReportEditShape(serializers.Serializer[Any]):
    title = serializers.CharField(max_length=reports.LONGEST_TITLE, required=False)
    body = serializers.CharField(
        max_length=reports.LONGEST_BODY, required=False, allow_blank=True, trim_whitespace=False
    )


class ReportShape(serializers.ModelSerializer[Report]):
    study = serializers.IntegerField(source="study.number", allow_null=True, default=None)
    created_by = serializers.CharField(source="created_by.username")
    is_shared = serializers.BooleanField(help_text="Whether a public link leads to it.")

    class Meta:
        model = Report
        fields: ClassVar = [
            "number", "title", "study", "is_shared", "created_by", "created_at", "changed_at",
        ]  # fmt: skip


class ReportWholeShape(ReportShape):
    class Meta(ReportShape.Meta):
        fields: ClassVar = [*ReportShape.Meta.fields, "body"]


class SharedShape(serializers.Serializer[Any]):
    link = serializers.CharField(help_text="Told once. Whoever has it reads the report.")


class ReportView(ProjectMixin):
    def report(self) -> Report:
        return reports.find(project=self.project(), number=self.kwargs["number"])


@extend_schema_view(get=extend_schema(summary="Reports of a project"))
class ReportList(ProjectMixin, generics.ListAPIView[Report]):
    serializer_class = ReportShape

    def get_queryset(self) -> QuerySet[Report]:
        if getattr(self, "swagger_fake_view", False):
            return Report.objects.none()
        return reports.listed(project=self.project()).defer("body")

    @idempotent
    @extend_schema(
        request=ReportAskedShape, responses={201: ReportWholeShape}, summary="Write a report"
    )
    def post(self, request: Request, project_slug: str) -> Response:
        shape = ReportAskedShape(data=request.data)
        shape.is_valid(raise_exception=True)
        made = reports.create(project=self.project(), by=person(request), **shape.validated_data)
        return Response(ReportWholeShape(made).data, status=201)


class ReportDetail(ReportView, APIView):
    roles: ClassVar = {"DELETE": Role.OWNER}

    @extend_schema(responses=ReportWholeShape, summary="One report")
    def get(self, request: Request, project_slug: str, number: int) -> Response:
        return Response(ReportWholeShape(self.report()).data)

    @extend_schema(request=ReportEditShape, responses=ReportWholeShape, summary="Change a report")
    def patch(self, request: Request, project_slug: str, number: int) -> Response:
        report = self.report()
        shape = ReportEditShape(data=request.data)
        shape.is_valid(raise_exception=True)
        changed = reports.edit(report=report, by=person(request), **shape.validated_data)
        return Response(ReportWholeShape(changed).data)

    @extend_schema(responses={204: None}, summary="Delete a report")
    def delete(self, request: Request, project_slug: str, number: int) -> Response:
        reports.remove(report=self.report())
        return Response(status=204)


class ReportShare(ReportView, APIView):
    roles: ClassVar = {"POST": Role.OWNER, "DELETE": Role.OWNER}

    @extend_schema(
        request=None,
        responses=SharedShape,
        summary="Make a public link to a report; an earlier one ends",
    )
    def post(self, request: Request, project_slug: str, number: int) -> Response:
        secret = reports.share(report=self.report(), by=person(request))
        address = reverse("training:report_shared", args=[secret])
        return Response({"link": request.build_absolute_uri(address)})

    @extend_schema(responses={204: None}, summary="End the public link of a report")
    def delete(self, request: Request, project_slug: str, number: int) -> Response:
        reports.stop_sharing(report=self.report())
        return Response(status=204)
