"""The same done to many runs at once."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from projects.api.base import ProjectMixin, idempotent, person
from training.services import run_bulk


class BulkShape(serializers.Serializer[Any]):
    runs = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=2**31 - 1),
        min_length=1,
        max_length=run_bulk.MOST,
        help_text="Numbers.",
    )
    action = serializers.ChoiceField(
        list(run_bulk.ACTIONS), help_text="`delete` is for owners of the project."
    )
    value = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=100,
        help_text="The tag of `tag` and `untag`, the colour of `colour`.",
    )


class RefusalShape(serializers.Serializer[Any]):
    run = serializers.IntegerField()
    code = serializers.CharField()
    detail = serializers.CharField()


class BulkDoneShape(serializers.Serializer[Any]):
    done = serializers.ListField(child=serializers.IntegerField())
    refused = RefusalShape(many=True)


class RunBulk(ProjectMixin, APIView):
    @idempotent
    @extend_schema(
        request=BulkShape,
        responses=BulkDoneShape,
        summary="Archive, restore, tag, colour, cancel or delete several runs",
        description="Each by itself: what refuses is told, and stops no other.",
    )
    def post(self, request: Request, project_slug: str) -> Response:
        body = BulkShape(data=request.data)
        body.is_valid(raise_exception=True)
        asked = body.validated_data
        said = run_bulk.apply(
            project=self.project(at_least=run_bulk.ACTIONS[asked["action"]].least),
            numbers=asked["runs"],
            action=asked["action"],
            value=asked.get("value", ""),
            by=person(request),
        )
        return Response(BulkDoneShape(said).data)
