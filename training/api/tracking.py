"""Runs that are trained elsewhere: what trains them begins, tells and ends them."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from projects.api.base import ProjectMixin, idempotent, person
from training.api import run_representation
from training.api.run_serializers import ObjectField, RunShape, as_object
from training.services import runs, tracking


class TrackShape(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=runs.LONGEST_NAME, required=False)
    task = serializers.CharField(max_length=50, required=False, allow_blank=True)
    params = ObjectField(required=False, help_text="What it is trained with, by name.")
    tags = serializers.ListField(
        child=serializers.CharField(max_length=runs.LONGEST_TAG),
        max_length=runs.MOST_TAGS,
        required=False,
    )
    notes = serializers.CharField(
        max_length=runs.LONGEST_NOTES, required=False, allow_blank=True, trim_whitespace=False
    )
    started_at = serializers.DateTimeField(required=False, help_text="Now, where it is left out.")

    def validate_params(self, value: Any) -> dict[str, Any]:
        return as_object(value)


class EndShape(serializers.Serializer[Any]):
    status = serializers.ChoiceField(list(tracking.ENDS), default="finished")
    error = serializers.CharField(max_length=2000, required=False, allow_blank=True)
    finished_at = serializers.DateTimeField(required=False, help_text="Now, where it is left out.")


class RunTrack(ProjectMixin):
    @idempotent
    @extend_schema(
        request=TrackShape,
        responses={201: RunShape},
        summary="Begin a run that is trained elsewhere",
        examples=[
            OpenApiExample(
                "A run",
                {"name": "small, no teacher", "params": {"lr": 0.001, "epochs": 5}},
                request_only=True,
            )
        ],
    )
    def post(self, request: Request, project_slug: str) -> Response:
        body = TrackShape(data=request.data)
        body.is_valid(raise_exception=True)
        run = tracking.begin(project=self.project(), by=person(request), **body.validated_data)
        return Response(run_representation.one(run), status=201)


class RunEnd(ProjectMixin):
    @extend_schema(request=EndShape, responses=RunShape, summary="End a run trained elsewhere")
    def post(self, request: Request, project_slug: str, number: int) -> Response:
        body = EndShape(data=request.data)
        body.is_valid(raise_exception=True)
        run = tracking.end(
            project=self.project(), number=number, by=person(request), **body.validated_data
        )
        return Response(run_representation.one(run))
