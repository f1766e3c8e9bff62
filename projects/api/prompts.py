"""Templates of prompts and their versions."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from distillhub.lib.rest import Cursor
from projects.api.base import ProjectMixin, idempotent, person
from projects.api.datasets import ByNumber
from projects.models import PromptTemplate, PromptTemplateVersion
from projects.operations.prompting import MOST_TEMPLATE, Template
from projects.services import prompts


class PromptVersionSerializer(serializers.ModelSerializer[PromptTemplateVersion]):
    version = serializers.IntegerField(source="number", read_only=True)
    reference = serializers.CharField(read_only=True)
    columns = serializers.SerializerMethodField(help_text="The columns that it reads.")
    created_by = serializers.CharField(source="created_by.username", read_only=True)

    class Meta:
        model = PromptTemplateVersion
        fields: ClassVar = [
            *("version", "reference", "text", "columns", "created_by", "created_at")
        ]
        read_only_fields: ClassVar = fields

    def get_columns(self, version: PromptTemplateVersion) -> list[str]:
        return Template(version.text).names


class PromptSerializer(serializers.ModelSerializer[PromptTemplate]):
    latest = serializers.IntegerField(read_only=True, help_text="The newest version.")
    created_by = serializers.CharField(source="created_by.username", read_only=True)

    class Meta:
        model = PromptTemplate
        fields: ClassVar = ["name", "description", "latest", "created_by", "created_at"]
        read_only_fields: ClassVar = fields


class PromptTextSerializer(serializers.Serializer[Any]):
    text = serializers.CharField(
        max_length=MOST_TEMPLATE,
        trim_whitespace=False,
        help_text="Names of columns in braces: `{question}`. A brace that is meant is written "
        "twice.",
    )


class NewPromptSerializer(PromptTextSerializer):
    name = serializers.CharField(max_length=100)
    description = serializers.CharField(max_length=2000, allow_blank=True, default="")


class ByName(Cursor):
    ordering = "name"


@extend_schema_view(get=extend_schema(summary="Templates of a project"))
class PromptList(ProjectMixin, generics.ListAPIView[PromptTemplate]):
    serializer_class = PromptSerializer
    pagination_class = ByName

    def get_queryset(self) -> QuerySet[PromptTemplate]:
        return prompts.of_project(self.project())

    @idempotent
    @extend_schema(
        request=NewPromptSerializer,
        responses={201: PromptVersionSerializer},
        summary="Write a template",
    )
    def post(self, request: Request, project_slug: str) -> Response:
        body = NewPromptSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        made = prompts.create(project=self.project(), **body.validated_data, by=person(request))
        return Response(PromptVersionSerializer(made).data, status=201)


class PromptDetail(ProjectMixin, APIView):
    @extend_schema(responses=PromptSerializer, summary="A template")
    def get(self, request: Request, project_slug: str, prompt_name: str) -> Response:
        found = prompts.get(project=self.project(), name=prompt_name)
        return Response(PromptSerializer(found).data)


@extend_schema_view(get=extend_schema(summary="Versions of a template"))
class PromptVersionList(ProjectMixin, generics.ListAPIView[PromptTemplateVersion]):
    serializer_class = PromptVersionSerializer
    pagination_class = ByNumber

    def get_queryset(self) -> QuerySet[PromptTemplateVersion]:
        if getattr(self, "swagger_fake_view", False):
            return PromptTemplateVersion.objects.none()
        found = prompts.get(project=self.project(), name=self.kwargs["prompt_name"])
        return found.versions.select_related("template", "created_by")

    @idempotent
    @extend_schema(
        request=PromptTextSerializer,
        responses={201: PromptVersionSerializer},
        summary="Write the next version of a template",
    )
    def post(self, request: Request, project_slug: str, prompt_name: str) -> Response:
        body = PromptTextSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        template = prompts.get(project=self.project(), name=prompt_name)
        made = prompts.write(
            template=template, text=body.validated_data["text"], by=person(request)
        )
        return Response(PromptVersionSerializer(made).data, status=201)
