"""Views of runs that a project keeps by name."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from distillhub.lib.rest import checked_query
from projects.api.base import ProjectMixin, idempotent, person
from projects.models import Role
from training.models import SavedView
from training.services import saved_views


class SavedViewShape(serializers.ModelSerializer[SavedView]):
    created_by = serializers.CharField(source="created_by.username", read_only=True)

    class Meta:
        model = SavedView
        fields: ClassVar = ["id", "page", "name", "query", "created_by", "created_at"]
        read_only_fields: ClassVar = fields


class NewViewShape(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=100)
    page = serializers.ChoiceField(SavedView.Page.choices, default=SavedView.Page.RUNS)
    query = serializers.CharField(
        max_length=saved_views.LONGEST,
        allow_blank=True,
        help_text="What stands behind the ? of the page's address.",
    )


class ViewsQuery(serializers.Serializer[Any]):
    page = serializers.ChoiceField(SavedView.Page.choices, required=False)


class SavedViewList(ProjectMixin, APIView):
    @extend_schema(
        operation_id="saved_views_list",
        parameters=[ViewsQuery],
        responses=SavedViewShape(many=True),
        summary="Saved views of runs",
    )
    def get(self, request: Request, project_slug: str) -> Response:
        found = saved_views.of_project(self.project(), **checked_query(request, ViewsQuery))
        return Response(SavedViewShape(found, many=True).data)

    @idempotent
    @extend_schema(request=NewViewShape, responses={201: SavedViewShape}, summary="Save a view")
    def post(self, request: Request, project_slug: str) -> Response:
        body = NewViewShape(data=request.data)
        body.is_valid(raise_exception=True)
        made = saved_views.create(project=self.project(), **body.validated_data, by=person(request))
        return Response(SavedViewShape(made).data, status=201)


class SavedViewDetail(ProjectMixin, APIView):
    roles: ClassVar = {"DELETE": Role.EDITOR}

    @extend_schema(responses=SavedViewShape, summary="A saved view")
    def get(self, request: Request, project_slug: str, view_id: int) -> Response:
        return Response(
            SavedViewShape(saved_views.get(project=self.project(), view_id=view_id)).data
        )

    @extend_schema(responses={204: None}, summary="Delete a saved view")
    def delete(self, request: Request, project_slug: str, view_id: int) -> Response:
        saved_views.delete(project=self.project(), view_id=view_id)
        return Response(status=204)
