"""The audit log: who did what, newest first, and as a file."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.views import APIView

from distillhub.lib.errors import Forbidden
from distillhub.lib.rest import Cursor, checked_query
from projects.api.base import ProjectMixin, person
from projects.models import AuditEntry, Project, Role
from projects.services import audit, audit_files


class AuditEntryShape(serializers.ModelSerializer[AuditEntry]):
    via = serializers.ChoiceField(choices=[(one, one) for one in audit.VIAS])
    detail = serializers.DictField(help_text="What was asked, shortened and without secrets.")

    class Meta:
        model = AuditEntry
        fields: ClassVar = [
            "number", "at", "actor_id", "actor", "via", "token", "address", "request_id", "action",
            "project_id", "project", "subject", "detail", "previous", "digest",
        ]  # fmt: skip
        read_only_fields: ClassVar = fields


class AuditQuery(serializers.Serializer[Any]):
    action = serializers.CharField(
        required=False, max_length=60, help_text="`run.cancel`, or `run` for all that is about runs"
    )
    actor = serializers.CharField(required=False, max_length=150, help_text="a username")
    via = serializers.ChoiceField(required=False, choices=[(one, one) for one in audit.VIAS])
    q = serializers.CharField(
        required=False, max_length=200, help_text="in what it was done to, or the project's name"
    )
    since = serializers.DateTimeField(required=False)
    until = serializers.DateTimeField(required=False)


class ListQuery(AuditQuery):
    limit = serializers.IntegerField(required=False, min_value=1)
    cursor = serializers.CharField(required=False)


class ExportQuery(AuditQuery):
    form = serializers.ChoiceField(
        required=False, default="jsonl", choices=[("jsonl", "jsonl"), ("csv", "csv")]
    )

    def get_fields(self) -> dict[str, Any]:
        """`as` is a word of Python's own."""
        fields: dict[str, Any] = super().get_fields()
        fields["as"] = fields.pop("form")
        return fields


class NewestFirst(Cursor):
    ordering = "-number"


class Everything(APIView):
    """For administrators."""

    def project(self) -> Project | None:
        if getattr(self, "swagger_fake_view", False):
            return None
        if not audit.may_see_all(person(self.request)):
            raise Forbidden("This needs an administrator. Owners see the log of their project.")
        return None


class OfProject(ProjectMixin):
    """For owners, also of a project that is archived."""

    roles: ClassVar = {"GET": Role.OWNER, "HEAD": Role.OWNER, "OPTIONS": Role.OWNER}
    archived_too: ClassVar = True


LISTED = extend_schema(parameters=[AuditQuery], summary="Who did what, newest first")
EXPORTED = extend_schema(
    parameters=[ExportQuery],
    summary="The audit log as a file, oldest first",
    responses={
        (200, "application/x-ndjson"): OpenApiResponse(OpenApiTypes.STR, "One entry a line."),
        (200, "text/csv"): OpenApiTypes.STR,
    },
)


class Listed(generics.ListAPIView[AuditEntry]):
    serializer_class = AuditEntryShape
    pagination_class = NewestFirst

    def get_queryset(self) -> QuerySet[AuditEntry]:
        if getattr(self, "swagger_fake_view", False):
            return AuditEntry.objects.none()
        asked = checked_query(self.request, ListQuery)
        asked = {name: value for name, value in asked.items() if name not in ("limit", "cursor")}
        return audit.found(project=self.project(), **asked)  # type: ignore[attr-defined]


@extend_schema_view(get=LISTED)
class AuditList(Everything, Listed): ...


@extend_schema_view(get=LISTED)
class ProjectAuditList(OfProject, Listed): ...


class Exported(APIView):
    def answer(self, request: Request) -> HttpResponseBase:
        asked = checked_query(request, ExportQuery)
        project: Project | None = self.project()  # type: ignore[attr-defined]
        return audit_files.download(form=asked.pop("as"), asked=asked, project=project)


class AuditExport(Everything, Exported):
    @EXPORTED
    def get(self, request: Request) -> HttpResponseBase:
        return self.answer(request)


class ProjectAuditExport(OfProject, Exported):
    @EXPORTED
    def get(self, request: Request, project_slug: str) -> HttpResponseBase:
        return self.answer(request)
