"""Slices in the evaluation of a run."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from training.api.runs import RunView
from training.models import RunSlice
from training.services import run_slices


class RunSliceShape(serializers.ModelSerializer[RunSlice]):
    scores = serializers.JSONField(
        allow_null=True,
        help_text='Null before it is evaluated: {"split", "rows", "labelled", "metric", "student", '
        '"teacher", "control", "agreement", "difference"}.',
    )

    class Meta:
        model = RunSlice
        fields: ClassVar = ["name", "conditions", "told", "scores"]
        read_only_fields: ClassVar = fields


class RunSlicesShape(serializers.Serializer[Any]):
    slices = RunSliceShape(many=True)
    further = serializers.ListField(
        child=serializers.CharField(),
        help_text="Slices that were saved since, or not scored yet: POST has them scored.",
    )


class RunSlices(RunView):
    @extend_schema(
        operation_id="run_slices_list",
        responses=RunSlicesShape,
        summary="What it is worth on the dataset's slices",
    )
    def get(self, request: Request, project_slug: str, number: int) -> Response:
        run = self.run()
        kept = run_slices.of(run)
        return Response({"slices": kept, "further": run_slices.further(run, kept)})

    @extend_schema(
        operation_id="run_slices_evaluate",
        request=None,
        responses=RunSlicesShape,
        summary="Evaluate it on slices that were saved since",
        description="From its stored predictions: nothing is trained or asked again.",
    )
    def post(self, request: Request, project_slug: str, number: int) -> Response:
        run = self.run()
        return Response({"slices": run_slices.evaluate(run=run), "further": []})
